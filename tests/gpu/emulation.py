"""The CUDA greedy's own sources with an emulation of CUDA around them, to be compiled for the host."""

from __future__ import annotations

import shutil
from pathlib import Path

from tests.gpu.requirements import ROOT


def copy_sources(folder: Path, *passage: str) -> Path:
    """`emulator` and `cuda` in `folder`, with one passage replaced (to see that a test would notice): old, new."""
    shutil.copytree(Path(__file__).parent / "emulator", folder / "emulator")
    shutil.copytree(ROOT / "csrc/cuda", folder / "cuda")
    main = folder / "emulator/greedy.cpp"
    main.write_text(main.read_text().replace("../../../csrc/cuda", str(folder / "cuda")))
    if passage:
        old, new = passage
        (file,) = (p for p in folder.rglob("*.*") if old in p.read_text())
        file.write_text(file.read_text().replace(old, new))
    return folder / "emulator"
