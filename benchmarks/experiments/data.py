"""Where Fashion-MNIST is, on any machine."""

from __future__ import annotations

import os
from pathlib import Path

VARIABLE = "ACS_FAST_FASHION_MNIST"
SYSTEM = Path("/usr/share/datasets/fashion-mnist")  # Debian's package dataset-fashion-mnist


def source(given: str | None) -> tuple[str, str]:
    """What to load, and the name under which it stands in results.

    Args:
        given: a folder, or "digits"; None for the folder that the environment variable names, or the system's.

    Raises:
        ValueError: there is no such folder.
    """
    if given == "digits":
        return "digits", "digits"
    folder = Path(given or os.environ.get(VARIABLE) or SYSTEM).expanduser()
    if not folder.is_dir():
        raise ValueError(
            f"--data must be 'digits' or a folder with the IDX files of Fashion-MNIST (or set {VARIABLE}, or install "
            f"Debian's dataset-fashion-mnist); got {folder}"
        )
    return str(folder.resolve()), "fashion-mnist"
