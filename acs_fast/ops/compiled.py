"""The compiled module `acs_fast._C`: loaded once, with the reason for a missing part."""

from __future__ import annotations

import importlib
import importlib.util
from pathlib import Path
from types import ModuleType
from typing import Any


def load() -> ModuleType | None:
    """Import `acs_fast._C`; None when the package was installed without it.

    Raises:
        RuntimeError: the module is there but cannot be loaded.
    """
    if importlib.util.find_spec("acs_fast._C") is None:
        return None
    try:
        return importlib.import_module("acs_fast._C")
    except ImportError as error:
        raise RuntimeError(
            "the compiled module of acs_fast cannot be loaded; reinstall it with `pip install --force-reinstall "
            f"--no-deps acs_fast`, or without it by ACS_FAST_BUILD=none ({error})"
        ) from error


def of_dtype(name: str, dtype: Any) -> Any:
    """A function or class of the compiled module, which has one for float32 and one for float64 of torch and NumPy."""
    return getattr(MODULE, f"{name}_{str(dtype).removeprefix('torch.')}")


def why_missing(part: str) -> str | None:
    """None when the "cpu" or "cuda" kernels were compiled, else the reason recorded by the build."""
    marker = {"cpu": "facility_location", "cuda": "GreedyRun"}[part]
    if MODULE is not None and hasattr(MODULE, marker):
        return None
    try:
        missing: dict[str, str] = importlib.import_module("acs_fast._build").MISSING
    except (ImportError, AttributeError):
        missing = {}
    tree = Path(__file__).parents[2]
    if not missing and (tree / "csrc").is_dir():
        return (
            f"{tree} is a source tree that was not built: leave the folder, so that the installed acs_fast is found, "
            f"or pip install --editable {tree}"
        )
    reason = missing.get(part, "it is a pure-Python installation (ACS_FAST_BUILD=none, or a wheel without kernels)")
    return f"acs_fast was installed without {part.upper()} kernels: {reason}"


MODULE: Any = load()  # None without it
