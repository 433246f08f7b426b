r"""Kernels of gradient matching: one round of the active-set method in every group by eight launches.

A round takes an atom into the passive set P, or one out of it. With :math:`T^T T = (G_P + \lambda)^{-1}`, rows and
columns of T numbered by atoms and zero outside P, both need :math:`u = T^T T b`: for an atom that enters, b is its
column of the Gram matrix, and :math:`d = g - \sum_a u_a g_a` is what it brings; for one that leaves, b is its unit
vector. Either way the least squares z and what is left of the target, :math:`M = t - \sum_a z_a g_a`, move by a
multiple of u and d. Slopes that rounding has left to passive atoms go through T beside b: a refinement each round.
Gram matrices are not stored, and all sums are in float64. Groups in other states leave a kernel at once, so that the
same launches are right for any number of steps.
"""

from __future__ import annotations

import triton
import triton.language as tl

from acs_fast.ops.triton.matching_state import DONE, ENTERED, JOIN, LEAVE, NONE, NOTHING, POLISH


@triton.jit
def products_with(x_ptr, left, right, K, BN: tl.constexpr, BK: tl.constexpr):
    """[BN] inner products of vectors of length K that begin at elements left [BN] and right (a scalar) of x."""
    total = tl.zeros((BN, BK), dtype=tl.float64)
    for start in range(0, K, BK):
        k = start + tl.arange(0, BK)
        x = tl.load(x_ptr + left[:, None] + k[None, :], mask=k[None, :] < K, other=0.0).to(tl.float64)
        total += x * tl.load(x_ptr + right + k, mask=k < K, other=0.0).to(tl.float64)[None, :]
    return tl.sum(total, 1)


@triton.jit
def score_kernel(
    given, groups, samples, leaders, totals,
    R: tl.constexpr, BN: tl.constexpr, BC: tl.constexpr, BD: tl.constexpr,
):  # fmt: skip
    """Inner products of BN members with what is left of their group's target, and the best of them."""
    group, tile = tl.program_id(0), tl.program_id(1)
    state, first = tl.load(groups.state + group), tl.load(groups.offsets + group)
    n = (tl.load(groups.offsets + group + 1) - first).to(tl.int32)
    if (tile * BN >= n) | (state == DONE) | (state >= POLISH):
        return
    i = tile * BN + tl.arange(0, BN)
    sample = tl.load(given.members + first + tl.minimum(i, n - 1))
    matrix = totals.left + group.to(tl.int64) * given.C * totals.P
    total = tl.zeros((BN,), dtype=tl.float64)
    for a in range(R):
        row = sample * R + a
        for c_start in range(0, given.C, BC):
            c = c_start + tl.arange(0, BC)
            logits = tl.zeros((BN, BC), dtype=tl.float64)
            for start in range(0, given.D, BD):
                k = start + tl.arange(0, BD)
                h = tl.load(given.h + row[:, None] * given.D + k[None, :], mask=k[None, :] < given.D, other=0.0)
                there = (k < given.D)[:, None] & (c < given.C)[None, :]
                m = tl.load(matrix + c[None, :] * totals.P + k[:, None], mask=there, other=0.0)  # [BD, BC]
                logits = tl.dot(h.to(tl.float64), m, logits, out_dtype=tl.float64)
            logits += given.bias * tl.load(matrix + c * totals.P + given.D, mask=c < given.C, other=0.0)[None, :]
            r = tl.load(given.r + row[:, None] * given.C + c[None, :], mask=c[None, :] < given.C, other=0.0)
            total += tl.sum(logits * r.to(tl.float64), 1)
    inside = i < n
    tl.store(samples.correlation + first + i, total, mask=inside)
    total = tl.where(tl.load(samples.open + first + i, mask=inside, other=0) != 0, total, float("-inf"))
    best = tl.max(total, 0)
    place = group * leaders.tiles + tile
    tl.store(leaders.value + place, best)
    tl.store(leaders.number + place, tl.min(tl.where(total == best, i, NONE), 0))


@triton.jit
def column_kernel(given, groups, samples, atoms, R: tl.constexpr, BN: tl.constexpr, BC: tl.constexpr, BD: tl.constexpr):
    """What goes through T, for BN atoms: the Gram column or unit vector, and the slopes that should be zero."""
    group, tile = tl.program_id(0), tl.program_id(1)
    state, size = tl.load(groups.state + group), tl.load(groups.size + group)
    if (state < POLISH) | (tile * BN > size):
        return
    slot, first = tl.load(groups.slot + group), tl.load(groups.offsets + group)
    base = group.to(tl.int64) * atoms.K
    a = tile * BN + tl.arange(0, BN)
    there, at = (a <= size) & (a < atoms.K), base + a
    member = tl.load(atoms.member + at, mask=there, other=0)
    column = tl.where((a == slot) & (state == LEAVE), 1.0, 0.0).to(tl.float64)
    if state >= JOIN:
        own = tl.load(given.members + first + member) * R
        new = tl.load(given.members + first + tl.load(atoms.member + base + slot)) * R
        for pair in range(R * R):
            i, j = own + pair // R, new + pair % R
            of_r = products_with(given.r, i * given.C, j * given.C, given.C, BN, BC)
            column += of_r * (products_with(given.h, i * given.D, j * given.D, given.D, BN, BD) + given.bias)
    settled = (tl.load(atoms.passive + at, mask=there, other=0) != 0) & (state != LEAVE)
    slope = tl.load(samples.correlation + first + member, mask=there, other=0.0)
    slope -= tl.load(groups.ridge + group) * tl.load(atoms.z + at, mask=there, other=0.0)
    tl.store(atoms.column + at, column, mask=there)
    tl.store(atoms.slope + at, tl.where(settled, slope, 0.0), mask=there)


@triton.jit
def forward_kernel(groups, atoms, inverse_ptr, BM: tl.constexpr, BN: tl.constexpr):
    """y = T column and v = T slope, BM rows."""
    group, tile = tl.program_id(0), tl.program_id(1)
    size = tl.load(groups.size + group)
    if (tl.load(groups.state + group) < POLISH) | (tile * BM >= size):
        return
    base = group.to(tl.int64) * atoms.K
    i = tile * BM + tl.arange(0, BM)
    length = tl.load(atoms.length + base + i, mask=i < size, other=0)
    longest = tl.max(length, 0)
    y, v = tl.zeros((BM, BN), dtype=tl.float64), tl.zeros((BM, BN), dtype=tl.float64)
    for start in range(0, longest, BN):
        j = start + tl.arange(0, BN)
        places = inverse_ptr + (base + i)[:, None] * atoms.K + j[None, :]
        t = tl.load(places, mask=j[None, :] < length[:, None], other=0.0)
        y += t * tl.load(atoms.column + base + j, mask=j < longest, other=0.0)[None, :]
        v += t * tl.load(atoms.slope + base + j, mask=j < longest, other=0.0)[None, :]
    tl.store(atoms.y + base + i, tl.sum(y, 1), mask=i < size)
    tl.store(atoms.v + base + i, tl.sum(v, 1), mask=i < size)


@triton.jit
def backward_kernel(groups, atoms, inverse_ptr, BM: tl.constexpr, BN: tl.constexpr):
    """u = T'y and shift = T'v, BN columns; and what they hold of the row that leaves."""
    group, tile = tl.program_id(0), tl.program_id(1)
    state, size = tl.load(groups.state + group), tl.load(groups.size + group)
    if (state < POLISH) | (tile * BN >= size):
        return
    base = group.to(tl.int64) * atoms.K
    j = tile * BN + tl.arange(0, BN)
    u, shift = tl.zeros((BM, BN), dtype=tl.float64), tl.zeros((BM, BN), dtype=tl.float64)
    for start in range(0, size, BM):
        i = start + tl.arange(0, BM)
        length = tl.load(atoms.length + base + i, mask=i < size, other=0)
        places = inverse_ptr + (base + i)[:, None] * atoms.K + j[None, :]
        t = tl.load(places, mask=j[None, :] < length[:, None], other=0.0)
        u += t * tl.load(atoms.y + base + i, mask=i < size, other=0.0)[:, None]
        shift += t * tl.load(atoms.v + base + i, mask=i < size, other=0.0)[:, None]
    tl.store(atoms.u + base + j, tl.sum(u, 0), mask=j < size)
    tl.store(atoms.shift + base + j, tl.sum(shift, 0), mask=j < size)
    if state == LEAVE:
        slot = tl.load(groups.slot + group)
        length = tl.load(atoms.length + base + slot)
        row = tl.load(inverse_ptr + (base + slot) * atoms.K + j, mask=j < length, other=0.0)
        tl.store(atoms.row + base + j, row, mask=j < size)


@triton.jit
def direction_kernel(
    given, groups, atoms, totals, R: tl.constexpr, BN: tl.constexpr, BC: tl.constexpr, BD: tl.constexpr
):
    """[BC, BD] of d, what the atom that enters brings less u times the others, and of the sum of shift times them."""
    group, tile = tl.program_id(0), tl.program_id(1)
    state, size = tl.load(groups.state + group), tl.load(groups.size + group)
    if state < POLISH:
        return
    first, base = tl.load(groups.offsets + group), group.to(tl.int64) * atoms.K
    across = tl.cdiv(given.D + 1, BD)
    c, k = tile // across * BC + tl.arange(0, BC), tile % across * BD + tl.arange(0, BD)
    minus, shift = tl.zeros((BC, BD), dtype=tl.float64), tl.zeros((BC, BD), dtype=tl.float64)
    for start in range(0, size, BN):
        a = start + tl.arange(0, BN)
        there, at = a < size, base + a
        sample = tl.load(given.members + first + tl.load(atoms.member + at, mask=there, other=0))
        u, s = tl.load(atoms.u + at, mask=there, other=0.0), tl.load(atoms.shift + at, mask=there, other=0.0)
        for b in range(R):
            row = sample * R + b
            h = tl.load(given.h + row[:, None] * given.D + k[None, :], mask=k[None, :] < given.D, other=0.0)
            h = tl.where(k[None, :] == given.D, given.bias, h.to(tl.float64))
            r = tl.load(given.r + row[None, :] * given.C + c[:, None], mask=c[:, None] < given.C, other=0.0)
            minus = tl.dot(r.to(tl.float64) * u[None, :], h, minus, out_dtype=tl.float64)
            shift = tl.dot(r.to(tl.float64) * s[None, :], h, shift, out_dtype=tl.float64)
    direction = -minus
    if state >= JOIN:
        new = tl.load(given.members + first + tl.load(atoms.member + base + tl.load(groups.slot + group))) * R
        for b in range(R):
            h = tl.load(given.h + (new + b) * given.D + k, mask=k < given.D, other=0.0).to(tl.float64)
            h = tl.where(k == given.D, given.bias, h)
            r = tl.load(given.r + (new + b) * given.C + c, mask=c < given.C, other=0.0).to(tl.float64)
            direction += r[:, None] * h[None, :]
    place = (group.to(tl.int64) * given.C + c)[:, None] * totals.P + k[None, :]
    there = (c < given.C)[:, None] & (k < totals.P)[None, :]
    tl.store(totals.direction + place, direction, mask=there)
    tl.store(totals.shift + place, shift, mask=there)
    tl.store(totals.norms + group * totals.tiles + tile, tl.sum(tl.sum(direction * direction, 1), 0))


@triton.jit
def update_kernel(groups, atoms, totals, inverse_ptr, C, BM: tl.constexpr, BN: tl.constexpr, BLOCK: tl.constexpr):
    """M and T after the step: T has a new row, or a reflection puts a column into its row, and both are dropped."""
    group, tile = tl.program_id(0), tl.program_id(1)
    action = tl.load(groups.action + group)
    if action == NOTHING:
        return
    step, pivot, moved = tl.load(groups.step + group), tl.load(groups.pivot + group), tl.load(groups.moved + group)
    matrix = group.to(tl.int64) * C * totals.P
    for start in range(tile * BLOCK, C * totals.P, tl.num_programs(1) * BLOCK):
        e = start + tl.arange(0, BLOCK)
        there = e < C * totals.P
        left = tl.load(totals.left + matrix + e, mask=there, other=0.0)
        left -= step * tl.load(totals.direction + matrix + e, mask=there, other=0.0)
        left -= tl.load(totals.shift + matrix + e, mask=there, other=0.0)
        tl.store(totals.left + matrix + e, left, mask=there)
    size, base = tl.load(groups.size + group), group.to(tl.int64) * atoms.K
    if tile * BM >= size:
        return
    root = tl.sqrt(pivot)
    if action == ENTERED:
        if moved // BM == tile:
            for start in range(0, size, BN):
                j = start + tl.arange(0, BN)
                u = tl.where(j == moved, -1.0, tl.load(atoms.u + base + j, mask=j < size, other=0.0))
                tl.store(inverse_ptr + (base + moved) * atoms.K + j, -u / root, mask=j < size)
            tl.store(atoms.length + base + moved, size)
    else:
        i = tile * BM + tl.arange(0, BM)
        length = tl.load(atoms.length + base + i, mask=i < size, other=0)
        y, own = tl.load(atoms.y + base + i, mask=i < size, other=0.0), tl.load(atoms.y + base + moved)
        factor, sign = y / (root + tl.abs(own)), tl.where(own >= 0.0, -1.0, 1.0).to(tl.float64)
        touched = (y != 0.0) & (i != moved)
        for start in range(0, size, BN):
            j = start + tl.arange(0, BN)
            row = tl.load(atoms.u + base + j, mask=j < size, other=0.0) / root
            row -= sign * tl.load(atoms.row + base + j, mask=j < size, other=0.0)
            places = inverse_ptr + (base + i)[:, None] * atoms.K + j[None, :]
            t = tl.load(places, mask=j[None, :] < length[:, None], other=0.0) - factor[:, None] * row[None, :]
            t = tl.where(j[None, :] == moved, 0.0, t)
            tl.store(places, t, mask=touched[:, None] & (j < size)[None, :])
        tl.debug_barrier()  # all have read the lengths
        tl.store(atoms.length + base + i, tl.where(i == moved, 0, tl.where(touched, size, length)), mask=i < size)
