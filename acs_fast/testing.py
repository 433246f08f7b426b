"""Backends for tests, here and in other packages."""

from __future__ import annotations

import os

import pytest
import torch

from acs_fast.ops import backends

COMPILED = ("cpu", "triton", "cuda")


def require_backend(backend: str) -> torch.device:
    """The device of `backend`; skips the test where it is absent, or fails it if ACS_FAST_REQUIRE names it.

    ACS_FAST_REQUIRE is a list of backends separated by commas.
    """
    reason = backends.why_missing(backend)
    if reason is not None:
        required = os.environ.get("ACS_FAST_REQUIRE", "").split(",")
        (pytest.fail if backend in required else pytest.skip)(f"backend {backend!r}: {reason}")
    return torch.device("cuda" if backend in ("cuda", "triton") else "cpu")
