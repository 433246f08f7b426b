"""Kernels for the next step of each group of gradient matching, one program for a group."""

from __future__ import annotations

import triton
import triton.language as tl

from acs_fast.ops.reference.nnls import DEPENDENT as PIVOT
from acs_fast.ops.reference.nnls import TOLERANCE as SLOPE
from acs_fast.ops.triton.matching_state import (
    AGAIN,
    DONE,
    ENTERED,
    JOIN,
    LEAVE,
    LEFT,
    NONE,
    NOTHING,
    OVER,
    POLISH,
    RETURN,
    SETTLED,
)

DEPENDENT, TOLERANCE = tl.constexpr(PIVOT), tl.constexpr(SLOPE)


@triton.jit
def decide_kernel(groups, samples, leaders, atoms, BN: tl.constexpr, BLOCK: tl.constexpr):
    """After a solution: a dropped atom with a positive slope returns, or the step is over and the next pick is due."""
    group = tl.program_id(0)
    state, size = tl.load(groups.state + group), tl.load(groups.size + group)
    if (state == DONE) | (state >= POLISH):
        return
    first, base = tl.load(groups.offsets + group), group.to(tl.int64) * atoms.K
    n = (tl.load(groups.offsets + group + 1) - first).to(tl.int32)
    objective, largest = tl.full((), 0.0, tl.float64), tl.full((), 0.0, tl.float64)
    ridge = tl.load(groups.ridge + group)
    slope, atom, used = tl.full((), float("-inf"), tl.float64), tl.full((), 0, tl.int32), tl.full((), 0, tl.int32)
    for start in range(0, size, BLOCK):
        a = start + tl.arange(0, BLOCK)
        there, at = a < size, base + a
        w, rhs = tl.load(atoms.weight + at, mask=there, other=0.0), tl.load(atoms.rhs + at, mask=there, other=0.0)
        member = tl.load(atoms.member + at, mask=there, other=0)
        correlation = tl.load(samples.correlation + first + member, mask=there, other=0.0)
        passive = tl.load(atoms.passive + at, mask=there, other=0) != 0
        objective -= tl.sum(w * (rhs + correlation - ridge * w), 0)  # w'(G + ridge)w - 2 rhs'w
        largest = tl.maximum(largest, tl.max(tl.abs(rhs), 0))
        used += tl.sum(passive.to(tl.int32), 0)
        rising = tl.where(there & (passive == 0), correlation, float("-inf"))
        top = tl.max(rising, 0)
        atom = tl.where(top > slope, tl.min(tl.where(rising == top, a, NONE), 0), atom)
        slope = tl.maximum(slope, top)
    returns, budget = tl.load(groups.returns + group), tl.load(groups.budgets + group)
    back = (state == SETTLED) & (slope > TOLERANCE * largest) & (returns < 3 * size + 10)
    fits = (state != AGAIN) & (back == 0) & (used <= budget)
    if fits:
        tl.store(atoms.gain + base + size - 1, tl.load(groups.objective + group) - objective)
        tl.store(groups.objective + group, objective)
        for start in range(0, size, BLOCK):
            a = start + tl.arange(0, BLOCK)
            tl.store(atoms.best + base + a, tl.load(atoms.weight + base + a, mask=a < size, other=0.0), mask=a < size)
    value, pick = tl.full((), float("-inf"), tl.float64), tl.full((), 0, tl.int32)
    for start in range(0, tl.cdiv(n, BN), BLOCK):
        tile = start + tl.arange(0, BLOCK)
        there, place = tile < tl.cdiv(n, BN), group * leaders.tiles + tile
        values = tl.load(leaders.value + place, mask=there, other=float("-inf"))
        numbers = tl.load(leaders.number + place, mask=there, other=NONE)
        top = tl.max(values, 0)
        pick = tl.where(top > value, tl.min(tl.where(values == top, numbers, NONE), 0), pick)
        value = tl.maximum(value, top)
    joins = (back == 0) & (used < budget) & (value > tl.load(groups.floor + group))
    if joins:
        tl.store(atoms.member + base + size, pick)
        tl.store(atoms.rhs + base + size, tl.load(samples.to_target + first + pick))
        tl.store(samples.open + first + pick, 0)
    end = tl.where((used <= budget) & (size > 0), POLISH, DONE)
    tl.store(groups.state + group, tl.where(back, RETURN, tl.where(joins, JOIN, end)))
    tl.store(groups.slot + group, tl.where(back, atom, size))
    tl.store(groups.returns + group, tl.where(back, returns + 1, 0))


@triton.jit
def moved_atoms(atoms, base, a, size, slot, enters, leaves, share, step):
    """z, and who is in P and who still has to leave it, of atoms a after the step."""
    here, there, at = a == slot, a < size, base + a
    z = tl.load(atoms.z + at, mask=there, other=0.0) + share * tl.load(atoms.shift + at, mask=there, other=0.0)
    z -= step * tl.load(atoms.u + at, mask=there, other=0.0)
    z = tl.where(here & enters, step, tl.where(here & leaves, 0.0, z))
    passive = tl.load(atoms.passive + at, mask=there, other=0) != 0
    leaving = (tl.load(atoms.leaving + at, mask=there, other=0) != 0) & ((here & leaves) == 0)
    return z, (passive | (here & enters)) & ((here & leaves) == 0), leaving


@triton.jit
def boundary(w, z, passive):
    """How far weights w may go towards z, in shares of the way."""
    bounded = passive & (z <= 0.0)
    way = tl.where(bounded, tl.maximum(w - z, 2.2250738585072014e-308), 1.0)
    return tl.where(bounded, w / way, float("inf"))


@triton.jit
def settle_kernel(groups, samples, atoms, totals, BLOCK: tl.constexpr):
    """The step along u, unless the atom depends on P; where weights are not all positive, back to the boundary."""
    group = tl.program_id(0)
    state, size, slot = tl.load(groups.state + group), tl.load(groups.size + group), tl.load(groups.slot + group)
    tl.store(groups.action + group, NOTHING)
    if state < POLISH:
        return
    base, ridge = group.to(tl.int64) * atoms.K, tl.load(groups.ridge + group)
    of_u, of_y, along = tl.full((), 0.0, tl.float64), tl.full((), 0.0, tl.float64), tl.full((), 0.0, tl.float64)
    norm = tl.full((), 0.0, tl.float64)
    for start in range(0, size, BLOCK):
        a = start + tl.arange(0, BLOCK)
        there, at = a < size, base + a
        u, y = tl.load(atoms.u + at, mask=there, other=0.0), tl.load(atoms.y + at, mask=there, other=0.0)
        column = tl.load(atoms.column + at, mask=there, other=0.0)
        of_u += tl.sum(u * u, 0)
        of_y += tl.sum(y * y, 0)
        along += tl.sum(column * tl.load(atoms.shift + at, mask=there, other=0.0), 0)
    for start in range(0, totals.tiles, BLOCK):
        tile = start + tl.arange(0, BLOCK)
        norm += tl.sum(tl.load(totals.norms + group * totals.tiles + tile, mask=tile < totals.tiles, other=0.0), 0)
    pivot = norm + ridge * (1.0 + of_u)
    enters = (state >= JOIN) & (pivot > DEPENDENT * (tl.load(atoms.column + base + slot) + ridge))
    refused, leaves = (state >= JOIN) & (enters == 0), state == LEAVE
    first = tl.load(groups.offsets + group)
    correlation = tl.load(samples.correlation + first + tl.load(atoms.member + base + slot))
    length = tl.where(enters, pivot, tl.where(leaves, of_y, 1.0))
    step = tl.where(enters, correlation - along, tl.where(leaves, tl.load(atoms.z + base + slot), 0.0)) / length
    share = tl.where(refused, 0.0, 1.0).to(tl.float64)
    size += (enters & (state == JOIN)).to(tl.int32)
    bound = tl.full((), float("inf"), tl.float64)
    waiting, bad, negative = tl.full((), 0, tl.int32), tl.full((), 0, tl.int32), tl.full((), 0, tl.int32)
    for start in range(0, size, BLOCK):
        a = start + tl.arange(0, BLOCK)
        z, passive, leaving = moved_atoms(atoms, base, a, size, slot, enters, leaves, share, step)
        w = tl.load(atoms.weight + base + a, mask=a < size, other=0.0)
        bound = tl.minimum(bound, tl.min(boundary(w, z, passive), 0))
        waiting += tl.sum(leaving.to(tl.int32), 0)
        bad += tl.sum((passive & ((z > 0.0) == 0)).to(tl.int32), 0)
        negative += tl.sum((passive & ((z >= 0.0) == 0)).to(tl.int32), 0)
    settles = (waiting == 0) & (bad == 0) & (refused == 0)
    steps_back = (waiting == 0) & (bad > 0) & (refused == 0)
    bound = tl.where(steps_back, bound, 0.0)
    polished = (state == POLISH) & (negative == 0)
    next_ = tl.full((), NONE, tl.int32)
    for start in range(0, size, BLOCK):
        a = start + tl.arange(0, BLOCK)
        there, at = a < size, base + a
        z, passive, leaving = moved_atoms(atoms, base, a, size, slot, enters, leaves, share, step)
        w = tl.load(atoms.weight + at, mask=there, other=0.0)
        to = w + bound * (z - w)
        leaving = leaving | (steps_back & passive & ((boundary(w, z, passive) <= bound) | (to <= 0.0)))
        w = tl.where(settles, z, tl.where(steps_back & passive, tl.where(leaving, 0.0, to), w))
        tl.store(atoms.z + at, z, mask=there)
        tl.store(atoms.weight + at, w, mask=there)
        tl.store(atoms.passive + at, passive.to(tl.int32), mask=there)
        tl.store(atoms.leaving + at, leaving.to(tl.int32), mask=there)
        if polished:
            tl.store(atoms.best + at, z, mask=there)
        next_ = tl.minimum(next_, tl.min(tl.where(leaving, a, NONE), 0))
    found = next_ < size  # not so where numbers are none
    after = tl.where(settles, SETTLED, tl.where(found, LEAVE, DONE))
    after = tl.where(refused, tl.where(state == JOIN, AGAIN, OVER), after)
    tl.store(groups.state + group, tl.where(state == POLISH, DONE, after))
    tl.store(groups.slot + group, tl.where(found, next_, slot))
    tl.store(groups.size + group, size)
    tl.store(groups.action + group, tl.where(enters, ENTERED, tl.where(leaves, LEFT, NOTHING)))
    tl.store(groups.moved + group, slot)
    tl.store(groups.step + group, step)
    tl.store(groups.pivot + group, length)
