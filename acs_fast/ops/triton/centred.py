"""Factors as deviations from the means of their group, in the order of the members, for the tiles.

As the reference's `Centred`, for all groups at once. Half-precision factors stay as they are: their products are exact
in float32, those of rounded deviations would not be.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import triton
import triton.language as tl
from torch import Tensor

from acs_fast.ops.reference.pairwise_distances import LOST
from acs_fast.ops.triton.factors import Given, Moved, load_group, row_products

EPSILON = {"ieee": 2.0**-23, "tf32x3": 2.0**-23, "tf32": 2.0**-11, "bf16": 2.0**-8}
DEFAULT_PRECISION = "ieee" if torch.version.hip else "tf32x3"  # equally accurate; AMD has no tf32x3
ROWS = 32  # members that one program takes at once
WIDTH_ALIGNMENT = 16  # elements; what loads of 16 bytes, and copies to shared memory ahead of the products, need


@triton.jit
def means_kernel(x_ptr, members_ptr, groups_ptr, out_ptr, K, PADDED, BN: tl.constexpr, BK: tl.constexpr):
    """out [G, R, PADDED] float32: the mean of x [N, R, K] over the members of each group, always in the same order."""
    group, a, passes = tl.program_id(0), tl.program_id(2), tl.num_programs(2)
    first, n, _matrix, _stride = load_group(groups_ptr, group)
    k = tl.program_id(1) * BK + tl.arange(0, BK)
    total = tl.zeros((BN, BK), dtype=tl.float32)
    for start in range(0, n, BN):
        i = start + tl.arange(0, BN).to(tl.int64)
        sample = tl.load(members_ptr + first + i, mask=i < n, other=0)
        there = (i < n)[:, None] & (k < K)[None, :]
        total += tl.load(x_ptr + (sample[:, None] * passes + a) * K + k[None, :], mask=there, other=0.0)
    out = out_ptr + (group.to(tl.int64) * passes + a) * PADDED + k
    tl.store(out, tl.sum(total, 0) / n.to(tl.float32), mask=k < PADDED)


@triton.jit
def gather_kernel(
    x_ptr, members_ptr, group_of_ptr, means_ptr, out_ptr, N, K, PADDED,
    BN: tl.constexpr, BK: tl.constexpr, CENTRED: tl.constexpr,
):  # fmt: skip
    """out [n, R, PADDED]: x [N, R, K] of every member, less the mean of its group when centred; zeros past K."""
    i = tl.program_id(0).to(tl.int64) * BN + tl.arange(0, BN)
    k = tl.program_id(1) * BK + tl.arange(0, BK)
    a, passes = tl.program_id(2), tl.num_programs(2)
    there = (i < N)[:, None] & (k < K)[None, :]
    sample = tl.load(members_ptr + i, mask=i < N, other=0)
    x = tl.load(x_ptr + (sample[:, None] * passes + a) * K + k[None, :], mask=there, other=0.0)
    if CENTRED:
        group = tl.load(group_of_ptr + i, mask=i < N, other=0)
        x -= tl.load(means_ptr + (group[:, None] * passes + a) * PADDED + k[None, :], mask=there, other=0.0)
    tl.store(
        out_ptr + (i[:, None] * passes + a) * PADDED + k[None, :], x, mask=(i < N)[:, None] & (k < PADDED)[None, :]
    )


@triton.jit
def moments_kernel(
    q_ptr, p_ptr, mean_r_ptr, mean_h_ptr, group_of_ptr, means_ptr, own_ptr, norms_ptr, N, C, D, bias, threshold, lost,
    R: tl.constexpr, BN: tl.constexpr, BC: tl.constexpr, BD: tl.constexpr, CENTRED: tl.constexpr,
):  # fmt: skip
    """norms [n, 2]: squared norm and limit of every moved gradient; own [n, 2, R, R]: its u and v.

    A limit is the larger of `threshold` times the norm and `lost` times the square of all terms that may cancel in it.
    """
    i = tl.program_id(0).to(tl.int64) * BN + tl.arange(0, BN)
    member = tl.minimum(i, N - 1)
    group = tl.load(group_of_ptr + member)
    total = tl.zeros((BN,), dtype=tl.float32)
    whole = tl.zeros((BN,), dtype=tl.float32)
    for a in tl.static_range(R):
        for b in tl.static_range(R):
            qq = row_products(q_ptr, (member * R + a) * C, q_ptr, (member * R + b) * C, C, BN, BC)
            pp = row_products(p_ptr, (member * R + a) * D, p_ptr, (member * R + b) * D, D, BN, BD)
            if CENTRED:
                v = row_products(q_ptr, (member * R + a) * C, mean_r_ptr, (group * R + b) * C, C, BN, BC)
                u = row_products(p_ptr, (member * R + a) * D, mean_h_ptr, (group * R + b) * D, D, BN, BD)
                table = means_ptr + group * (2 * R * R) + a * R + b
                mm, kk = tl.load(table), tl.load(table + R * R)
                if a == b:
                    v_, u_ = v, u
                    whole += (tl.sqrt_rn(qq) + tl.sqrt_rn(mm)) * (tl.sqrt_rn(pp) + tl.sqrt_rn(kk))
                else:
                    v_ = row_products(q_ptr, (member * R + b) * C, mean_r_ptr, (group * R + a) * C, C, BN, BC)
                    u_ = row_products(p_ptr, (member * R + b) * D, mean_h_ptr, (group * R + a) * D, D, BN, BD)
                total += (qq + v + v_ + mm) * pp + qq * (u + u_ + kk) + 2.0 * v * u_
                place = own_ptr + i * (2 * R * R) + a * R + b
                tl.store(place, u, mask=i < N)
                tl.store(place + R * R, v, mask=i < N)
            else:
                total += qq * (pp + bias)
                if a == b:
                    whole += tl.sqrt_rn(qq) * tl.sqrt_rn(pp + bias)
    total = tl.maximum(total, 0.0)
    tl.store(norms_ptr + 2 * i, total, mask=i < N)
    tl.store(norms_ptr + 2 * i + 1, tl.maximum(threshold * total, lost * whole * whole), mask=i < N)


@dataclass(frozen=True)
class Factors:
    """The factors behind the distances, as they came and centred by group.

    r, h: [N, R, C] and [N, R, D], contiguous, as they came; members: [n].
    q, p: the same in the order of the members, centred by group when `centred`, C and D padded with zeros to multiples
        of `WIDTH_ALIGNMENT`.
    own, means, norms: [n, 2, R, R], [G, 2, R, R] and [n, 2] float32, as in `Moved`.
    precision: of their products, as in `packed_distances`.
    """

    r: Tensor
    h: Tensor
    bias: bool
    members: Tensor
    q: Tensor
    p: Tensor
    own: Tensor
    means: Tensor
    norms: Tensor
    centred: bool
    precision: str

    @classmethod
    def of(
        cls, r: Tensor, h: Tensor, bias: bool, members: Tensor, layout: Tensor, precision: str = DEFAULT_PRECISION
    ) -> Factors:
        """From factors, members and the [G, 4] layout of the groups on the CPU, as `packed_layout` returns it."""
        r, h = r.contiguous(), h.contiguous()
        n, passes, device, moved = len(members), r.shape[1], r.device, r.dtype == torch.float32
        groups = layout.to(device, non_blocking=True)
        group_of = torch.arange(len(layout), device=device).repeat_interleave(groups[:, 1], output_size=n)
        (m, q), (k, p) = (_gathered(x, members, groups, group_of, moved) for x in (r, h))
        means = torch.stack([_products(m), _products(k) + float(bias)], 1) if moved else torch.zeros(0, device=device)
        own = torch.empty(n if moved else 0, 2, passes, passes, dtype=torch.float32, device=device)
        norms = torch.empty(n, 2, dtype=torch.float32, device=device)
        exact = not moved and precision != "bf16"  # products of half-precision numbers are, in float32
        c_block, d_block = block_sizes(r, h)
        if n:
            moments_kernel[(triton.cdiv(n, ROWS),)](
                q, p, m, k, group_of, means, own, norms, n, q.shape[2], p.shape[2], float(bias),
                close_threshold("ieee" if exact else precision), LOST * EPSILON["ieee"],
                R=passes, BN=ROWS, BC=c_block, BD=d_block, CENTRED=moved,
            )  # fmt: skip
        return cls(r, h, bias, members, q, p, own, means, norms, moved, precision)

    def given(self) -> Given:
        """For the kernels: what differences are measured with."""
        return Given(self.r, self.h, self.members, self.r.shape[2], self.h.shape[2], float(self.bias))

    def moved(self) -> Moved:
        """For the kernels: what tiles are made of."""
        sizes = self.q.shape[2], self.p.shape[2], float(self.bias)
        return Moved(self.q, self.p, self.own, self.means, self.norms, *sizes)


def _gathered(x: Tensor, members: Tensor, groups: Tensor, group_of: Tensor, centred: bool) -> tuple[Tensor, Tensor]:
    """Means [G, R, K] of the groups of x [N, R, K], and the members less them [n, R, K], K padded; else no means."""
    passes, width = x.shape[1:]
    n, padded = len(members), triton.cdiv(width, WIDTH_ALIGNMENT) * WIDTH_ALIGNMENT
    means = torch.empty(len(groups) if centred else 0, passes, padded, dtype=torch.float32, device=x.device)
    out = torch.empty(n, passes, padded, dtype=x.dtype, device=x.device)
    block = min(32, max(16, triton.next_power_of_2(padded)))
    if n and padded:
        across = triton.cdiv(padded, block)
        if centred:
            grid = (len(groups), across, passes)
            means_kernel[grid](x, members, groups, means, width, padded, BN=2 * ROWS, BK=block)
        gather_kernel[(triton.cdiv(n, ROWS), across, passes)](
            x, members, group_of, means, out, n, width, padded, BN=ROWS, BK=block, CENTRED=centred
        )
    return means, out


def _products(means: Tensor) -> Tensor:
    """[G, R, R] inner products of the means [G, R, K], in full precision whatever torch is told about products."""
    return (means[:, :, None] * means[:, None]).sum(3)


def close_threshold(precision: str) -> float:
    """As `acs_fast.ops.reference.pairwise_distances.close_threshold`, for the precision of the products."""
    return 3.0 * math.sqrt(EPSILON[precision])


def block_sizes(r: Tensor, h: Tensor) -> tuple[int, int]:
    """Widths of C and D in one step of a product."""
    c_block, d_block = (min(32, max(16, triton.next_power_of_2(x.shape[2]))) for x in (r, h))
    return c_block, d_block
