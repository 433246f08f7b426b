"""Device functions on factors: Gram tiles, and distances from the difference of two samples.

Sizes of blocks stay arguments of their own: in Triton 3.6 a field of a constexpr tuple is none any more in a function
that the tuple is passed on to ("not a constexpr" of `tl.static_range`).
"""

from __future__ import annotations

from typing import Any, NamedTuple

import triton
import triton.language as tl


class Given(NamedTuple):
    """Factors as they came: r [N, R, C], h [N, R, D], members [n]; on a device, their pointers."""

    r: Any
    h: Any
    members: Any
    C: Any
    D: Any
    bias: Any


class Moved(NamedTuple):
    """The factors of the members, moved towards zero: q [n, R, C] and p [n, R, D], C and D padded.

    own [n, 2, R, R] (u and v), means [G, 2, R, R] (mm and kk), norms [n, 2] (norms and limits) as in the reference's
    `Centred`.
    """

    q: Any
    p: Any
    own: Any
    means: Any
    norms: Any
    C: Any
    D: Any
    bias: Any


@triton.jit
def load_group(groups_ptr, group):
    """First member, size, first element of the matrix, row stride."""
    row = groups_ptr + group * 4
    return tl.load(row), tl.load(row + 1), tl.load(row + 2), tl.load(row + 3)


@triton.jit
def gram_tile(x_ptr, rows, columns, K, BM: tl.constexpr, BN: tl.constexpr, BK: tl.constexpr, PRECISION: tl.constexpr):
    """[BM, BN] inner products of vectors of length K that begin at elements `rows` [BM] and `columns` [BN] of x."""
    total = tl.zeros((BM, BN), dtype=tl.float32)
    for start in range(0, K, BK):
        k = start + tl.arange(0, BK)
        left = tl.load(x_ptr + rows[:, None] + k[None, :], mask=k[None, :] < K, other=0.0)  # [BM, BK]
        right = tl.load(x_ptr + columns[None, :] + k[:, None], mask=k[:, None] < K, other=0.0)  # [BK, BN]
        if PRECISION == "bf16":
            total = tl.dot(left.to(tl.bfloat16), right.to(tl.bfloat16), total)
        elif left.dtype == tl.float32:
            total = tl.dot(left, right, total, input_precision=PRECISION)
        else:  # products of half-precision numbers are exact in float32
            total = tl.dot(left, right, total)
    return total


@triton.jit
def inner_product_tile(
    moved, group, i, j,
    R: tl.constexpr, BM: tl.constexpr, BN: tl.constexpr, BC: tl.constexpr, BD: tl.constexpr, CENTRED: tl.constexpr,
    PRECISION: tl.constexpr,
):  # fmt: skip
    """[BM, BN] inner products of the moved gradients of members i [BM] and j [BN], both int64, of one group."""
    C, D = moved.C, moved.D
    total = tl.zeros((BM, BN), dtype=tl.float32)
    for pair in range(R * R):  # no static_range: unrolled, it spills registers
        a, b = pair // R, pair % R
        qq = gram_tile(moved.q, (i * R + a) * C, (j * R + b) * C, C, BM, BN, BC, PRECISION)
        pp = gram_tile(moved.p, (i * R + a) * D, (j * R + b) * D, D, BM, BN, BD, PRECISION)
        if CENTRED:
            table = moved.means + group.to(tl.int64) * (2 * R * R) + a * R + b
            of_i, of_j = moved.own + i * (2 * R * R) + a * R + b, moved.own + j * (2 * R * R) + b * R + a
            u, v = tl.load(of_i)[:, None], tl.load(of_i + R * R)[:, None]
            u_, v_ = tl.load(of_j)[None, :], tl.load(of_j + R * R)[None, :]
            total += (qq + (v + v_ + tl.load(table))) * pp + qq * (u + u_ + tl.load(table + R * R)) + v * u_ + v_ * u
        else:
            total += qq * (pp + moved.bias)
    return total


@triton.jit
def difference_products(x_ptr, i_a, i_b, j_a, j_b, K, BN: tl.constexpr, BK: tl.constexpr):
    """For x_i^a, x_i^b (scalars: where they begin) and x_j^a, x_j^b [BN]: products of the differences x_i - x_j.

    Returns [BN] each: <dx^a, dx^b>, <dx^a, x_j^b>, <x_i^a, dx^b>, <x_j^a, x_j^b>; and the scalar <x_i^a, x_i^b>; all
    in float64, since the terms of a distance can cancel.
    """
    dd = tl.zeros((BN,), dtype=tl.float64)
    dj = tl.zeros((BN,), dtype=tl.float64)
    id_ = tl.zeros((BN,), dtype=tl.float64)
    jj = tl.zeros((BN,), dtype=tl.float64)
    ii = tl.zeros((BK,), dtype=tl.float64)
    for start in range(0, K, BK):
        k = start + tl.arange(0, BK)
        inside = k < K
        xi_a = tl.load(x_ptr + i_a + k, mask=inside, other=0.0).to(tl.float64)
        xi_b = tl.load(x_ptr + i_b + k, mask=inside, other=0.0).to(tl.float64)
        xj_a = tl.load(x_ptr + j_a[:, None] + k[None, :], mask=inside[None, :], other=0.0).to(tl.float64)
        xj_b = tl.load(x_ptr + j_b[:, None] + k[None, :], mask=inside[None, :], other=0.0).to(tl.float64)
        da = xi_a[None, :] - xj_a
        db = xi_b[None, :] - xj_b
        dd += tl.sum(da * db, 1)
        dj += tl.sum(da * xj_b, 1)
        id_ += tl.sum(xi_a[None, :] * db, 1)
        jj += tl.sum(xj_a * xj_b, 1)
        ii += xi_a * xi_b
    return dd, dj, id_, jj, tl.sum(ii, 0)


@triton.jit
def squared_distance_row(given, i, j, R: tl.constexpr, BN: tl.constexpr, BC: tl.constexpr, BD: tl.constexpr):
    """[BN] ||g_i - g_j||^2 of sample i and samples j [BN] (int64) from g_i - g_j = dr (x) h_i + r_j (x) dh.

    Exactly zero for identical samples, and accurate where the expansion into norms has lost its digits.
    """
    C, D = given.C, given.D
    total = tl.zeros((BN,), dtype=tl.float64)
    for a in tl.static_range(R):
        for b in tl.static_range(R):
            dr_dr, dr_rj, _a, rj_rj, _b = difference_products(
                given.r, (i * R + a) * C, (i * R + b) * C, (j * R + a) * C, (j * R + b) * C, C, BN, BC
            )
            dh_dh, _c, hi_dh, _d, hi_hi = difference_products(
                given.h, (i * R + a) * D, (i * R + b) * D, (j * R + a) * D, (j * R + b) * D, D, BN, BD
            )
            total += dr_dr * (hi_hi + given.bias) + 2.0 * dr_rj * hi_dh + rj_rj * dh_dh
    return tl.maximum(total, 0.0).to(tl.float32)


@triton.jit
def row_products(x_ptr, left, y_ptr, right, K, BN: tl.constexpr, BK: tl.constexpr):
    """[BN] inner products of vectors of length K that begin at elements left [BN] of x and right [BN] of y."""
    total = tl.zeros((BN, BK), dtype=tl.float32)
    for start in range(0, K, BK):
        k = start + tl.arange(0, BK)
        x = tl.load(x_ptr + left[:, None] + k[None, :], mask=k[None, :] < K, other=0.0).to(tl.float32)
        y = tl.load(y_ptr + right[:, None] + k[None, :], mask=k[None, :] < K, other=0.0).to(tl.float32)
        total += x * y
    return tl.sum(total, 1)


@triton.jit
def measured_tile(
    moved, given, group, first, n, i, j,
    R: tl.constexpr, BM: tl.constexpr, BN: tl.constexpr, BC: tl.constexpr, BD: tl.constexpr, SQUARED: tl.constexpr,
    CENTRED: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    """[BM, BN] distances from the factors between members i and j of a group; close pairs from their difference."""
    member_i, member_j = first + tl.minimum(i, n - 1), first + tl.minimum(j, n - 1)
    inner = inner_product_tile(moved, group, member_i, member_j, R, BM, BN, BC, BD, CENTRED, PRECISION)
    norm_i, norm_j = moved.norms + 2 * member_i, moved.norms + 2 * member_j
    d = tl.maximum(tl.load(norm_i)[:, None] + tl.load(norm_j)[None, :] - 2.0 * inner, 0.0)
    limit = tl.load(norm_i + 1)[:, None] + tl.load(norm_j + 1)[None, :]
    close = (d <= limit) & (limit > 0.0) & (i[:, None] != j[None, :]) & (i < n)[:, None] & (j < n)[None, :]
    if tl.max(tl.max(close.to(tl.int32), 1), 0) > 0:
        sample_i, sample_j = tl.load(given.members + member_i), tl.load(given.members + member_j)
        for row in range(BM):
            here = tl.arange(0, BM) == row
            if tl.max(tl.max((close & here[:, None]).to(tl.int32), 1), 0) > 0:
                sample = tl.sum(tl.where(here, sample_i, 0), 0)
                again = squared_distance_row(given, sample, sample_j, R, BN, BC, BD)
                d = tl.where(close & here[:, None], again[None, :], d)
    d = tl.where(i[:, None] == j[None, :], 0.0, d)
    return d if SQUARED else tl.sqrt_rn(d)
