"""Print versions, devices and backends, and why a backend is missing."""

from __future__ import annotations

import argparse
import importlib.metadata
import platform
import sys

import torch

import acs_fast
from acs_fast.ops import backends, compiled
from acs_fast.ops.schemas import SCHEMAS

OPTIONAL = ("triton", "scikit-learn", "matplotlib", "torchvision", "scipy", "pyautoattack")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """No options."""


def run(arguments: argparse.Namespace) -> int:
    """Print the report; the status is 0 as long as the reference path works."""
    print(f"acs_fast   {acs_fast.__version__}")
    print(f"python     {sys.version.split()[0]} on {platform.platform()}")
    print(f"torch      {torch.__version__}, CUDA {torch.version.cuda or 'none'}, {torch.get_num_threads()} threads")
    for name in OPTIONAL:
        print(f"{name:<12} {_version(name)}")
    print("\ndevices")
    print(f"  cpu      {torch.backends.cpu.get_cpu_capability()}")
    for i in range(torch.cuda.device_count()):
        properties = torch.cuda.get_device_properties(i)
        print(f"  cuda:{i}   {properties.name}, {properties.total_memory / 2**30:.0f} GiB")
    print("\nbackends")
    for name in backends.BACKENDS[1:]:
        reason = backends.why_missing(name)
        print(f"  {name:<10} {'ready' if reason is None else f'missing: {reason}'}")
    if compiled.MODULE is not None:
        facts = compiled.MODULE.build_info()
        print("\ncompiled module\n" + "\n".join(f"  {key:<10} {value}" for key, value in facts.items()))
    for place in ("cpu", "cuda") if torch.cuda.is_available() else ("cpu",):
        print(f"\nwhat backend='auto' runs on {'the CPU' if place == 'cpu' else 'a GPU'}")
        for op in SCHEMAS:
            name = backends.chosen(op, "auto", torch.device(place))
            print(f"  {op:<23} {backends.explain(op, name, torch.device(place))}")
    return 0


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"
