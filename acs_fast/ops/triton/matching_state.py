"""State of gradient matching on the device: numbers of each group, member, tile and atom, and totals of each group."""

from __future__ import annotations

from typing import Any, NamedTuple

import triton.language as tl

DONE, SETTLED, AGAIN, OVER, POLISH, LEAVE, JOIN, RETURN = (tl.constexpr(i) for i in range(8))  # states of a group
NOTHING, ENTERED, LEFT = (tl.constexpr(i) for i in range(3))  # what a round has done to the passive set
NONE = tl.constexpr(2**31 - 1)


class Groups(NamedTuple):
    """Of each group [G]: the span of its members (offsets [G + 1]), its limits, and where its search stands.

    slot: the atom that enters or leaves. action, moved, step, pivot: what the round did, to which atom, how far z went
    along u, and the pivot of T's new row, or the squared norm of the column that leaves.
    """

    offsets: Any
    budgets: Any
    ridge: Any
    floor: Any
    state: Any
    size: Any
    slot: Any
    returns: Any
    objective: Any
    action: Any
    moved: Any
    step: Any
    pivot: Any


class Samples(NamedTuple):
    """Of each member [n]: inner products with what is left and with the target itself; whether it has not joined."""

    correlation: Any
    to_target: Any
    open: Any


class Leaders(NamedTuple):
    """Of each tile of members [G, tiles]: the largest correlation of an open one, and its number in the group."""

    value: Any
    number: Any
    tiles: Any


class Atoms(NamedTuple):
    """Of each atom [G, K]: its member, its inner product with the target, solutions, state, and vectors of a round.

    length: T's row has no entries from there on. row: T's row of the atom that leaves.
    """

    member: Any
    rhs: Any
    z: Any
    weight: Any
    best: Any
    gain: Any
    passive: Any
    leaving: Any
    length: Any
    column: Any
    slope: Any
    y: Any
    v: Any
    u: Any
    shift: Any
    row: Any
    K: Any


class Totals(NamedTuple):
    """[G, C, P] each, P >= D + 1, the bias in column D: M, d and the refinement's part; norms [G, tiles] of d."""

    left: Any
    direction: Any
    shift: Any
    norms: Any
    P: Any
    tiles: Any
