"""Exact greedy facility location over all ranks: several certain picks at each meeting.

In a round the ranks find the candidates with the largest gains, and exchange which samples would pay less at each of
them. With that every rank can replay greedy among the candidates by itself: their exact gains after each pick follow
from those samples, and no other candidate's gain can have grown. The replay goes on until the best candidate left falls
behind the best of all others before the round. Then gains follow what was decided.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from acs_fast._util.dtypes import accumulable_dtype
from acs_fast._util.exchange import Exchange
from acs_fast.ops.reference.greedy import quantised, scale_exponent
from acs_fast.ops.replay import replay
from acs_fast.selection.distributed.columns import Columns

LEAST_CANDIDATES, MOST_CANDIDATES = 48, 1024  # in a round
CANDIDATES_OF_A_PICK = 3  # in a round, for each pick of the last one
OFFERS_OF_A_SAMPLE = 3  # in a round, that are worth sending
NEVER = -2  # below the gain of any candidate, picked ones being at -1


@dataclass(frozen=True)
class Round:
    """Candidates, and the samples that would pay less at them.

    Attributes:
        numbers, gains: [M] int64 the candidates, by number; `bound` is (gain, number) of the best that is none.
        candidate: [E] which candidate an entry is about, sample: [E] which sample, price: [E] what it would pay there.
    """

    numbers: np.ndarray
    gains: np.ndarray
    bound: tuple[int, int]
    candidate: np.ndarray
    sample: np.ndarray
    price: np.ndarray


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
    """Result: picks [k] in order, their gains [k] float64, how many samples each serves [k], the objective.

    Attributes:
        rounds: in which the picks were decided.
        meetings_saved: how many more the ranks would have had with a round for every pick.
    """

    picks: Tensor
    gains: Tensor
    sizes: Tensor
    objective: float
    rounds: int
    meetings_saved: int


def global_greedy(columns: Columns, n: int, budget: int, exchange: Exchange) -> Greedy:
    """The picks of `acs_fast.ops.reference.greedy` on the whole matrix of n samples."""
    search, met = _Search(columns, n, exchange), exchange.meetings
    width, rounds = 1, 0
    picks: list[int] = []
    gains: list[int] = []
    while len(picks) < budget:
        seen = search.look(min(width, budget - len(picks)))
        moves = decide(seen, search.level.numpy(), search.scale)
        search.apply(moves, len(picks))
        picks += moves.picks
        gains += moves.gains
        width = min(MOST_CANDIDATES, next_width(seen, len(moves.picks), n))
        rounds += 1
    saved = (exchange.meetings - met) * (budget - rounds) // rounds
    return search.result(picks, gains, rounds, saved)


def next_width(last: Round, picks: int, n: int) -> int:
    """How many candidates the next round looks at: twice the picks of the last one, or more where few samples care."""
    affordable = OFFERS_OF_A_SAMPLE * n * len(last.numbers) // max(1, len(last.price))
    return max(2 * picks, min(max(LEAST_CANDIDATES, CANDIDATES_OF_A_PICK * picks), affordable))


def decide(r: Round, level: np.ndarray, scale: float) -> Moves:
    """Greedy among the candidates, as long as it is certain that greedy over all would pick the same.

    Args:
        level: [N] what every sample pays.
    """
    place = np.zeros(len(level), dtype=np.int64)
    place[r.sample] = 1
    samples = place.nonzero()[0]
    place[samples] = np.arange(len(samples))
    before = level[samples]
    picks, gains, after, server = replay(
        r.numbers, r.gains, r.bound, r.candidate, place[r.sample], r.price, before, scale
    )
    m = after < before
    return Moves(r.numbers[picks].tolist(), gains.tolist(), samples[m], after[m], before[m], server[m])


class _Search:
    """What every sample pays, and the gains of this rank's candidates."""

    def __init__(self, columns: Columns, n: int, exchange: Exchange) -> None:
        self.columns, self.n, self.exchange = columns, n, exchange
        d_max = columns.largest()
        self.scale = 2.0 ** scale_exponent(d_max, n)
        self.level = torch.full((n,), d_max, dtype=accumulable_dtype(columns.held.gradients.dtype))
        self.server = torch.zeros(n, dtype=torch.int64)
        self.gains = -columns.gain_changes(torch.arange(n), torch.zeros_like(self.level), self.level, self.scale)
        self.room = 64

    def look(self, width: int) -> Round:
        """The candidates of a round, and what they would change."""
        numbers, gains = self._leaders(width + 1)
        bound = (int(gains[width]), int(numbers[width])) if len(gains) > width else (NEVER, self.n)
        numbers, gains = numbers[:width], gains[:width]
        numbers, gains = numbers[gains >= 0], gains[gains >= 0]
        order = np.argsort(numbers)
        numbers, gains = numbers[order], gains[order]
        offers = self.columns.offers(torch.from_numpy(numbers), self.level, self.scale)
        found = [x.numpy() for x in self.exchange.gather_rows(*offers, room=self.room)]
        self.room = max(64, 2 * len(found[0]) // self.exchange.size)
        return Round(numbers, gains, bound, *found)

    def apply(self, moves: Moves, step: int) -> None:
        """Take the accepted picks, `step` of which came before."""
        self.gains[torch.isin(self.columns.own, torch.tensor(moves.picks))] -= 1  # they end at -1, below all others
        samples, low, high, server = (torch.from_numpy(x) for x in (moves.samples, moves.low, moves.high, moves.server))
        if len(samples):
            self.gains += self.columns.gain_changes(samples, low, high, self.scale)
        self.level[samples] = low
        self.server[samples] = server + step

    def result(self, picks: list[int], gains: list[int], rounds: int, saved: int) -> Greedy:
        sizes = torch.bincount(self.server, minlength=len(picks))
        paid, unit = int(quantised(self.level, self.scale).sum()), 1.0 / self.scale
        values = torch.tensor(gains, dtype=torch.float64) * unit
        return Greedy(torch.tensor(picks), values, sizes, float(paid) * unit, rounds, saved)

    def _leaders(self, count: int) -> tuple[np.ndarray, np.ndarray]:
        """Numbers and gains of the candidates with the largest gains of all, the lowest numbers first among equals."""
        pairs = torch.tensor([[NEVER, self.n]]).repeat(count, 1)
        gains = self.gains.numpy()
        best = _largest(gains, min(count, len(gains)))
        pairs[: len(best)] = torch.stack([self.gains[best], self.columns.own[best]], 1)
        every = self.exchange.gather(pairs).flatten(0, 1).numpy()
        order = np.lexsort((every[:, 1], -every[:, 0]))[:count]
        return every[order, 1], every[order, 0]


def _largest(values: np.ndarray, count: int) -> np.ndarray:
    """Positions of the largest values, the lowest positions first where equal ones compete for the last places."""
    if count in (0, len(values)):
        return np.arange(count)
    last = np.partition(values, len(values) - count)[len(values) - count]
    above, equal = np.flatnonzero(values > last), np.flatnonzero(values == last)
    return np.concatenate([above, equal[: count - len(above)]])
