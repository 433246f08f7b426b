"""Plans that confirm, committed before they were run: fresh seeds, and test images that no earlier one has seen.

All earlier plans were judged on the first 4,000 test images; these are judged on the 6,000 behind them. Settings are
those of E8c and E11b, untouched. E8f has all named controls of E8 and the oracle. Its candidate and that of E8g, which
shares its runs, are the two ways of clustering that are recommended, so that each is to be read at half of the usual
level. E11d has the selector that `acs-fast train` ships, one order of a quarter in turn for each seed, where E11b had
another one, and the two controls of E11 that E11b left out.
"""

from __future__ import annotations

from typing import Any

from benchmarks.experiments.targets import (
    ATTACKED,
    CLUSTERED,
    CLUSTERS,
    GENTLE,
    GENTLY,
    HIDDEN,
    IN_TURN,
    NAMED,
    ORACLE,
    POOL,
    planned,
    variants,
)

UNSEEN: dict[str, Any] = {"test_from": 4000, "test_limit": 6000}
UNSEEN_DIGITS: dict[str, Any] = {"limit": 600, "passes": 30_000, "test_from": 0, "test_limit": 200,
                                 "validation_limit": 100}  # fmt: skip
PIXELS = "clusters of pixels, equal shares"
KINDS = {**HIDDEN, PIXELS: {**CLUSTERED, "seen": "pixels"}}
KINDS_BASE = {**POOL, **GENTLE, **UNSEEN, "pairing": 1}
LEFT_OUT = ("new attacks for all", "new attacks for a quarter, the stalest")
SHIPPED = {**GENTLY, **{label: ATTACKED[label] for label in LEFT_OUT}}

CONFIRMING = (
    planned(
        "E8f", "One label, two kinds: every control, unseen test images",
        "Do clusters of gradients with equal shares make the rare kinds more robust than every control of E8, where "
        "all networks learn, on fresh seeds and test images that no plan has seen?",
        35, variants(KINDS), base=KINDS_BASE, first_seed=11_000, candidate=CLUSTERS, controls=NAMED, oracle=ORACLE,
        threshold=2.0, digits=UNSEEN_DIGITS,
    ),
    planned(
        "E8g", "One label, two kinds: clusters of pixels, unseen test images",
        "Do clusters of plain pixels, the best of E8d's variants, do so as well?",
        0, variants(KINDS), base=KINDS_BASE, first_seed=11_000, candidate=PIXELS, controls=NAMED, oracle=ORACLE,
        threshold=2.0, digits=UNSEEN_DIGITS,
    ),
    planned(
        "E11d", "Attack a part: the shipped selector, unseen test images",
        "Is a quarter in turn, in a third of the passes, within a point of full PGD training and of everything else "
        "that these passes buy?",
        60, variants(SHIPPED), figure=("robust", "average"), candidate=IN_TURN,
        controls=tuple(label for label in SHIPPED if label != IN_TURN), threshold=-1.0, first_seed=12_000,
        base={**POOL, **GENTLE, **UNSEEN, "method": "full", "steps": 5, "fraction": 0.25, "passes": 832_000},
        digits=UNSEEN_DIGITS,
    ),
)  # fmt: skip
