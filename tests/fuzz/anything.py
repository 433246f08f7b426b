"""Strategies: tensors of every layout, dtype, device and kind of values, and what else callers hand over."""

from __future__ import annotations

import os
from typing import Any

import numpy as np
import torch
from hypothesis import HealthCheck, Phase, register_random, settings
from hypothesis import strategies as st
from torch import Tensor

import acs_fast as acs


class TorchRandomness:
    """The random numbers of torch as hypothesis takes them in hand: begun afresh for every example."""

    seed = staticmethod(torch.manual_seed)
    getstate = staticmethod(torch.get_rng_state)
    setstate = staticmethod(torch.set_rng_state)


register_random(RANDOMNESS := TorchRandomness())
EXAMPLES = os.environ.get("ACS_FAST_FUZZ_EXAMPLES")  # so many of each test, new ones each time; else a few and the same
FUZZED = settings(
    max_examples=int(EXAMPLES or 20),
    derandomize=EXAMPLES is None,
    deadline=None,
    phases=[Phase.explicit, Phase.reuse, Phase.generate],  # what is drawn is small as it is
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
    print_blob=True,
)
HALF, FULL = (torch.float16, torch.bfloat16), (torch.float32, torch.float64)
FLOATING = (*FULL, *HALF)
OTHER = (torch.int64, torch.int32, torch.uint8, torch.bool, torch.complex64, torch.float8_e4m3fn)
ORDINARY = ("normal", "integers", "zeros", "few", "scales")  # values that every function must take
WILD = ("denormal", "huge", "largest", "nan", "inf", "minus inf")
LAYOUTS = ("contiguous", "transposed", "every other", "repeated", "offset", "reversed", "tracked", "parameter")
BACKENDS = ("auto", "auto", "auto", "reference", "cpu")
SEEDS = st.integers(0, 2**32)
NUMBERS = st.one_of(
    st.integers(-3, 12), st.floats(), st.sampled_from([2**31, 2**63, 10**30, True, None, "3", np.int64(2), 1e-320])
)


def values(kind: str, shape: tuple[int, ...], seed: int) -> Tensor:
    """float64 entries of one kind; single ones that are wild stand among ordinary ones."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(shape, generator=generator, dtype=torch.float64)
    if kind == "integers":
        return x.mul(2).round()
    if kind == "zeros":
        return torch.zeros_like(x)
    if kind == "few" and x.dim() and len(x):  # many equal rows
        return x[torch.randint(max(1, len(x) // 4), (len(x),), generator=generator)]
    if kind == "scales":
        return x * 10.0 ** torch.empty_like(x).uniform_(-6, 3, generator=generator)
    if kind in ("denormal", "huge"):
        return x * {"denormal": 1e-42, "huge": 1e18}[kind]
    if kind in ("largest", "nan", "inf", "minus inf") and x.numel():
        poked = {"largest": 3e38, "nan": torch.nan, "inf": torch.inf, "minus inf": -torch.inf}[kind]
        x.view(-1)[int(torch.randint(x.numel(), (1,), generator=generator))] = poked
    return x


def laid_out(x: Tensor, layout: str) -> Any:
    """The same entries in memory of another layout; "repeated" makes all rows the first."""
    if layout == "transposed" and x.dim() > 1:
        return x.transpose(0, -1).contiguous().transpose(0, -1)
    if layout == "every other":
        return torch.stack([x, torch.full_like(x, 7)], -1)[..., 0]
    if layout == "repeated" and x.dim() and len(x):
        return x[:1].expand_as(x)
    if layout == "offset":
        return torch.cat([x.new_zeros(3), x.reshape(-1)])[3:].view(x.shape)
    if layout == "reversed" and x.dtype not in (torch.bfloat16, torch.float8_e4m3fn):
        return x.detach().numpy()[::-1]  # negative strides
    if layout == "tracked" and x.is_floating_point():
        return x.clone().requires_grad_()
    if layout == "parameter" and x.is_floating_point():
        return torch.nn.Parameter(x)
    return x


def plain(x: Any) -> Tensor:
    """A detached tensor of the same entries, whatever `laid_out` made of them."""
    return torch.from_numpy(x.copy()) if isinstance(x, np.ndarray) else x.detach()


@st.composite
def tensors(draw: Any, *shape: int, kinds: tuple[str, ...] = ORDINARY, dtypes: tuple[Any, ...] = FLOATING) -> Any:
    """A tensor or array of this shape."""
    x = values(draw(st.sampled_from(kinds)), shape, draw(SEEDS)).to(draw(st.sampled_from(dtypes)))
    return laid_out(x, draw(st.sampled_from(LAYOUTS)))


@st.composite
def gradients(draw: Any, kinds: tuple[str, ...] = ORDINARY, most: int = 40) -> acs.LastLayerGradients:
    """Factored gradients; every combination of sizes, layouts and values."""
    n, r, c, d = (draw(st.integers(1, high)) for high in (most, 3, 6, 9))
    dtype = (draw(st.sampled_from(FLOATING)),)
    residuals = draw(tensors(n, r, c, kinds=kinds, dtypes=dtype))
    features = draw(tensors(n, r, d, kinds=kinds, dtypes=dtype))
    return acs.LastLayerGradients(plain(residuals), features if torch.is_tensor(features) else plain(features),
                                  draw(st.booleans()))  # fmt: skip


@st.composite
def junk(draw: Any) -> Any:
    """What should have been a tensor: of a wrong dtype, shape, layout or device, or no tensor at all."""
    shape = draw(st.lists(st.integers(0, 4), max_size=4).map(tuple))
    kind = draw(st.sampled_from(("tensor", "sparse", "meta", "object array", "other")))
    if kind == "other":
        return draw(st.sampled_from([None, 3, 1.5, "x", [[1.0, 2.0]], (1, 2), {}, object()]))
    x = values(draw(st.sampled_from((*ORDINARY, *WILD))), shape, draw(SEEDS))
    if kind == "object array":
        return x.numpy().astype(draw(st.sampled_from([object, ">f8", "U3", "M8[s]", np.float32, np.longdouble])))
    x = x.to(draw(st.sampled_from((*FLOATING, *OTHER))))
    if kind == "sparse":
        return x.to_sparse() if x.dtype in FULL else x
    return x.to("meta") if kind == "meta" else x


@st.composite
def groups_of(draw: Any, n: int) -> Any:
    """Integer ids for n samples, few or many, also far apart and negative; or None."""
    if draw(st.booleans()):
        return None
    most = draw(st.integers(1, n))
    ids = torch.randint(most, (n,), generator=torch.Generator().manual_seed(draw(SEEDS)))
    moved = ids * draw(st.sampled_from([1, -3, 2**40])) + draw(st.sampled_from([0, -7, 2**50]))
    return laid_out(moved, draw(st.sampled_from(LAYOUTS[:6])))


@st.composite
def budgets_for(draw: Any, n: int, groups: Any) -> int | float:
    """A budget in range for n samples."""
    least = 1 if groups is None else len(torch.unique(plain(groups)))
    if draw(st.booleans()):
        return draw(st.integers(least, n))
    return draw(st.floats(least / n, 1.0)) if int(least / n * n) >= least else 1.0
