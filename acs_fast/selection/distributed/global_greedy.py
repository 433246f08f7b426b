"""Exact greedy facility location over all ranks: several picks at each meeting, where they are certain.

A round is two meetings. In the first the ranks find the candidates with the largest gains, in the second they exchange
which samples would pay less at each of them. With that every rank can replay greedy among the candidates by itself:
their exact gains after each pick follow from those samples, and no other candidate's gain can have grown. The replay
goes on until the best candidate left falls behind the best of all others before the round.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from acs_fast.ops.column_block import lower_entries, lower_gains, quantised
from acs_fast.ops.reference.greedy import scale_exponent
from acs_fast.ops.replay import replay
from acs_fast.selection.distributed.columns import Columns

LEAST_CANDIDATES, MOST_CANDIDATES = 16, 1024  # in a round
CANDIDATES_OF_A_PICK = 3  # in a round, for each pick of the last one
NEVER = -2  # below the gain of any candidate, picked ones being at -1


@dataclass(frozen=True)
class Round:
    """Candidates, and the samples that would pay less at them.

    Attributes:
        numbers, gains: [M] int64 the candidates, by number; `bound` is (gain, number) of the best that is none.
        candidate: [E] which candidate an entry is about, sample: [E] which sample, price: [E] what it would pay there,
            level: [E] what it pays now.
    """

    numbers: np.ndarray
    gains: np.ndarray
    bound: tuple[int, int]
    candidate: np.ndarray
    sample: np.ndarray
    price: np.ndarray
    level: np.ndarray


@dataclass(frozen=True)
class Moves:
    """What a round decides.

    Attributes:
        picks, gains: accepted candidates in pick order, and their gains in integers.
        samples: [T] those that pay less now, `low` and `high` [T] what they pay now and did before, `server` [T] which
            of the picks serves each.
    """

    picks: list[int]
    gains: list[int]
    samples: np.ndarray
    low: np.ndarray
    high: np.ndarray
    server: np.ndarray


@dataclass(frozen=True)
class Greedy:
    """Result: picks [k] in order, their gains [k] float64, how many samples each serves [k], the objective."""

    picks: Tensor
    gains: Tensor
    sizes: Tensor
    objective: float
    rounds: int


def global_greedy(columns: Columns, budget: int, candidates: int = MOST_CANDIDATES) -> Greedy:
    """The picks of `acs_fast.ops.reference.greedy` on the whole matrix.

    Args:
        candidates: how many are looked at in a round at most; 1 for one pick a round.
    """
    search = _Search(columns)
    width, rounds = 1, 0
    picks: list[int] = []
    gains: list[int] = []
    while len(picks) < budget:
        seen = search.look(min(width, budget - len(picks)))
        moves = decide(seen, search.scale)
        search.apply(moves, len(picks))
        picks += moves.picks
        gains += moves.gains
        width = min(candidates, next_width(seen, len(moves.picks), columns.n))
        rounds += 1
    return search.result(picks, gains, rounds)


def next_width(last: Round, picks: int, n: int) -> int:
    """How many candidates the next round looks at: twice the picks of the last one, or more where few samples care."""
    affordable = n * len(last.numbers) // max(1, len(last.price))  # whose entries are about one for each sample
    return max(2 * picks, min(max(LEAST_CANDIDATES, CANDIDATES_OF_A_PICK * picks), affordable))


def decide(r: Round, scale: float) -> Moves:
    """Greedy among the candidates, as long as it is certain that greedy over all would pick the same."""
    samples, place = np.unique(r.sample, return_inverse=True)
    before = np.empty(len(samples), dtype=r.price.dtype)
    before[place] = r.level
    picks, gains, level, server = replay(r.numbers, r.gains, r.bound, r.candidate, place, r.price, before, scale)
    m = level < before
    return Moves(r.numbers[picks].tolist(), gains.tolist(), samples[m], level[m], before[m], server[m])


class _Search:
    """This rank's gains and what its samples pay."""

    def __init__(self, columns: Columns) -> None:
        self.columns, self.exchange = columns, columns.exchange
        n, device = columns.n, columns.device
        d_max = columns.largest()
        self.scale = 2.0 ** scale_exponent(d_max, n)
        self.level = torch.full((columns.width,), d_max, dtype=columns.dtype, device=device)
        self.server = torch.zeros(columns.width, dtype=torch.int64, device=device)
        self.gains = torch.zeros(columns.width, dtype=torch.int64, device=device)
        high = torch.full((n,), d_max, dtype=columns.dtype, device=device)
        self._lower(torch.arange(n), torch.zeros_like(high), high)
        self.gains.neg_()
        self.room = 64

    def look(self, width: int) -> Round:
        """The candidates of a round, and what they would change."""
        numbers, gains = self._leaders(width + 1)
        bound = (int(gains[width]), int(numbers[width])) if len(gains) > width else (NEVER, self.columns.n)
        numbers, gains = numbers[:width], gains[:width]
        numbers, gains = numbers[gains >= 0], gains[gains >= 0]
        order = np.argsort(numbers)
        numbers, gains = numbers[order], gains[order]
        entries = self._touched(torch.from_numpy(numbers))
        return Round(numbers, gains, bound, *entries)

    def apply(self, moves: Moves, step: int) -> None:
        """Take the accepted picks, `step` of which came before."""
        begin, end = self.columns.begin, self.columns.end
        own = [p - begin for p in moves.picks if begin <= p < end]
        self.gains[own] -= 1  # they end at -1, below all others
        device = self.columns.device
        samples, low, high, server = (torch.from_numpy(x) for x in (moves.samples, moves.low, moves.high, moves.server))
        if len(samples):
            self._lower(samples, low.to(device), high.to(device))
        here = (samples >= begin) & (samples < end)
        place = (samples[here] - begin).to(device)
        self.level[place] = low[here].to(device)
        self.server[place] = server[here].to(device) + step

    def result(self, picks: list[int], gains: list[int], rounds: int) -> Greedy:
        sizes = self.exchange.sum(torch.bincount(self.server, minlength=len(picks)))
        paid = int(self.exchange.sum(quantised(self.level, self.scale).sum()))
        unit = 1.0 / self.scale
        return Greedy(
            torch.tensor(picks), torch.tensor(gains, dtype=torch.float64) * unit, sizes, float(paid) * unit, rounds
        )

    def _leaders(self, count: int) -> tuple[np.ndarray, np.ndarray]:
        """Numbers and gains of the candidates with the largest gains of all, the lowest numbers first among equals."""
        pairs = torch.tensor([[NEVER, self.columns.n]]).repeat(count, 1)
        gains = self.gains.cpu().numpy()
        best = _largest(gains, min(count, len(gains)))
        pairs[: len(best)] = torch.from_numpy(np.stack([gains[best], best + self.columns.begin], 1))
        every = self.exchange.gather(pairs).flatten(0, 1).numpy()
        order = np.lexsort((every[:, 1], -every[:, 0]))[:count]
        return every[order, 1], every[order, 0]

    def _touched(self, numbers: Tensor) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """The samples of all ranks that would pay less at each candidate."""
        parts = []
        for part, matrix, index in self.columns.rows(numbers):
            which, sample, price = lower_entries(matrix, index, self.level, self.scale)
            parts.append((part.to(which.device)[which], sample + self.columns.begin, price, self.level[sample]))
        which, sample, price, level = (torch.cat(x).cpu() for x in zip(*parts, strict=True))
        found = [x.numpy() for x in self.exchange.gather_rows(which, sample, price, level, room=self.room)]
        self.room = max(64, 2 * len(found[0]) // self.exchange.size)
        return found[0], found[1], found[2], found[3]

    def _lower(self, samples: Tensor, low: Tensor, high: Tensor) -> None:
        for part, matrix, index in self.columns.rows(samples):
            p = part.to(low.device)
            lower_gains(self.gains, matrix, index, low[p].contiguous(), high[p].contiguous(), self.scale)


def _largest(values: np.ndarray, count: int) -> np.ndarray:
    """Positions of the largest values, the lowest positions first where equal ones compete for the last places."""
    if count in (0, len(values)):
        return np.arange(count)
    last = np.partition(values, len(values) - count)[len(values) - count]
    above, equal = np.flatnonzero(values > last), np.flatnonzero(values == last)
    return np.concatenate([above, equal[: count - len(above)]])
