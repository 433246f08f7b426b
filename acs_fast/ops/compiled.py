"""The compiled module `acs_fast._C`: loaded once; its absence is quiet, a module that cannot load is an error."""

from __future__ import annotations

import importlib
import importlib.util
from types import ModuleType

import torch


def load() -> ModuleType | None:
    """Import `acs_fast._C`, which registers its operators; None when the package was installed without it.

    Raises:
        RuntimeError: the module is there but cannot be loaded, usually because torch was changed after the build.
    """
    if importlib.util.find_spec("acs_fast._C") is None:
        return None
    try:
        return importlib.import_module("acs_fast._C")
    except ImportError as error:
        raise RuntimeError(
            f"acs_fast was compiled against torch {_torch_at_build()} and cannot be loaded with torch "
            f"{torch.__version__}: reinstall it with `pip install --no-build-isolation --force-reinstall --no-deps "
            f"acs_fast` ({error})"
        ) from error


def _torch_at_build() -> str:
    try:
        return str(importlib.import_module("acs_fast._build").TORCH_VERSION)
    except (ImportError, AttributeError):
        return "of an unknown version"


MODULE = load()
