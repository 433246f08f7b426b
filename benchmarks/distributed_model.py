"""A model of what a selection across processes sends, holds and computes, and its curve for ImageNet-1k.

`python -m benchmarks.distributed_model` writes the table into docs/distributed.md.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from acs_fast._util.delivery import BYTES_AT_ONCE
from acs_fast.selection.distributed import columns
from acs_fast.selection.distributed.global_greedy import CANDIDATES_OF_A_PICK
from acs_fast.selection.distributed.shard import rows_at_once
from benchmarks import ROOT, markdown

PAGE = ROOT / "docs" / "distributed.md"
BEGIN, END = "<!-- model -->", "<!-- /model -->"
COLUMNS = (
    "problem", "ranks", "meetings", "sent by a rank", "held by a rank", "attack pass", "kernels", "network", "meetings",
    "limit",
)  # fmt: skip
FLOAT, INTEGER = 4, 8
PICKS_A_ROUND = 100.0  # of 20,000 samples 2,000 picks took 20 rounds
WITH_OTHERS = 4.0  # entries of all candidates looked at, over those of the picks


@dataclass(frozen=True)
class Problem:
    """N samples in G classes of one size, C logits, D features, R head passes, k picks."""

    n: int
    classes: int
    width: int
    budget: int
    passes: int = 1
    logits: int = 0

    @property
    def factor_numbers(self) -> int:
        return self.passes * ((self.logits or self.classes) + self.width)

    @property
    def factor_bytes(self) -> int:
        return FLOAT * self.factor_numbers

    @property
    def gradient_numbers(self) -> int:
        return (self.logits or self.classes) * (self.width + 1)


@dataclass(frozen=True)
class Machine:
    """Assumptions about one rank, all of them printed with the table."""

    products_per_s: float = 16 * 43e9  # 16 cores, each as measured on the machine of the benchmarks
    bytes_per_s: float = 25e9
    meeting_s: float = 30e-6  # for each doubling of the ranks
    memory_bytes: float = 64e9
    attack_s: float = 0.33e-3  # of one sample: one step and the pass for the factors, ResNet-50 at 224 x 224


@dataclass(frozen=True)
class Cost:
    """Of one selection, by one rank."""

    meetings: float
    sent_bytes: float
    held_bytes: float
    products: float

    def seconds(self, machine: Machine, ranks: int) -> dict[str, float]:
        return {
            "kernels": self.products / machine.products_per_s,
            "network": self.sent_bytes / machine.bytes_per_s,
            "meetings": self.meetings * machine.meeting_s * math.ceil(math.log2(max(2, ranks))),
        }


def delivery(p: Problem, ranks: int, labelled: bool) -> tuple[float, float]:
    """Meetings and bytes of bringing every sample to its owner."""
    row = p.factor_bytes + INTEGER * (1 + labelled)
    pieces = max(1, math.ceil(p.n / ranks * (ranks - 1) / ranks * row / BYTES_AT_ONCE))
    return 3 + pieces, p.n / ranks * row * (ranks - 1) / ranks


def per_class(p: Problem, ranks: int) -> Cost:
    """Classes dealt out; a rank holds its own samples' factors and the matrix of one class at a time."""
    meetings, sent = delivery(p, ranks, labelled=True)
    others = ranks - 1
    sent += others * 2 * INTEGER * p.classes  # sizes of the classes
    sent += others * INTEGER * ranks  # rows that go to each rank
    own_classes = math.ceil(p.classes / ranks)
    sent += others * 4 * INTEGER * own_classes + others * 3 * INTEGER * own_classes * p.budget / p.classes  # the picks
    sent += 2 * others / ranks * 2 * 8 * p.gradient_numbers  # the gradient error
    size = p.n / p.classes
    held = own_classes * size * p.factor_bytes + FLOAT * size * size
    return Cost(11 + meetings, sent, held, own_classes * size * size / 2 * p.factor_numbers)


def together(p: Problem, ranks: int, picks_a_round: float, touched: float = 5.0, dense: bool = True) -> Cost:
    """One problem over all samples, distances shared.

    Args:
        picks_a_round: measured.
        touched: rows that pay less, summed over the run, relative to N; measured at 3.1 to 5.1.
        dense: whether the distances are held, else they are computed again from factors that travel.
    """
    others, rounds = ranks - 1, p.budget / picks_a_round
    everything = others / ranks * p.n * p.factor_bytes
    looked_at = CANDIDATES_OF_A_PICK * picks_a_round
    sent = rounds * others * (2 * INTEGER * (looked_at + 1) + INTEGER)
    sent += others / ranks * (2 * INTEGER + FLOAT) * WITH_OTHERS * touched * p.n
    sent += 2 * others / ranks * 2 * 8 * p.gradient_numbers
    own = p.n / ranks
    if dense:
        gains = (rounds + 1) * others / ranks * p.n * INTEGER
        gatherings = math.ceil(own / rows_at_once(p.factor_bytes + INTEGER, ranks))
        return Cost(
            8 + gatherings + 3 * rounds, sent + everything + others * own * INTEGER + gains,
            2 * p.n * p.factor_bytes + FLOAT * own * p.n, own * p.n / 2 * p.factor_numbers,
        )  # fmt: skip
    meetings, delivered = delivery(p, ranks, labelled=False)
    passes = 2.0 + touched
    sent += delivered + passes * everything + rounds * looked_at * others / ranks * p.factor_bytes
    rows = passes * p.n / columns.ROWS_AT_ONCE + rounds
    return Cost(
        meetings + 9 + 3 * rounds + rows, sent, own * p.factor_bytes + 2 * FLOAT * columns.ROWS_AT_ONCE * own,
        passes * own * p.n * p.factor_numbers,
    )  # fmt: skip


def table(machine: Machine, picks_a_round: float) -> str:
    """Markdown: ImageNet-1k, a tenth selected."""
    p = Problem(1_281_167, 1000, 2048, 128_116)
    lines = []
    for ranks in (8, 64, 1024):
        attack = p.n / ranks * machine.attack_s
        lines.append(_row("per class", ranks, attack, per_class(p, ranks), machine))
        dense = together(p, ranks, picks_a_round)
        fits = dense.held_bytes <= machine.memory_bytes
        cost = dense if fits else together(p, ranks, picks_a_round, dense=False)
        lines.append(_row(f"global, {'dense' if fits else 'matrix-free'}", ranks, attack, cost, machine))
    return markdown.table(markdown.line(COLUMNS), lines)


def _row(name: str, ranks: int, attack_s: float, cost: Cost, machine: Machine) -> str:
    seconds = {"attack pass": attack_s, **cost.seconds(machine, ranks)}
    limit = max(seconds, key=lambda part: seconds[part])
    cells = [f"{s:.3g} s" for s in seconds.values()]
    sizes = [f"{cost.meetings:,.0f}", f"{cost.sent_bytes / 2**30:.3g} GiB", f"{cost.held_bytes / 2**30:.3g} GiB"]
    return markdown.line([name, f"{ranks:,}", *sizes, *cells, limit])


def assumptions(machine: Machine, picks_a_round: float) -> str:
    return (
        f"N = 1,281,167, C = 1,000, D = 2,048, k = N / 10; a rank multiplies {machine.products_per_s:.3g} numbers and "
        f"sends {machine.bytes_per_s / 1e9:g} GB a second, a meeting takes {machine.meeting_s * 1e6:g} µs for each "
        f"doubling of the ranks, {machine.memory_bytes / 1e9:g} GB may be held, the attack takes "
        f"{machine.attack_s * 1e3:g} ms a sample, and a round decides {picks_a_round:g} picks."
    )


def main() -> None:
    machine, picks_a_round = Machine(), PICKS_A_ROUND
    text = PAGE.read_text()
    before, after = text.split(BEGIN)[0], text.split(END)[1]
    block = f"{BEGIN}\n{assumptions(machine, picks_a_round)}\n\n{table(machine, picks_a_round)}\n{END}"
    PAGE.write_text(before + block + after)


if __name__ == "__main__":
    main()
