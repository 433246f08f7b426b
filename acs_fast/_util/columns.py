"""Rows of text as aligned columns."""

from __future__ import annotations

from collections.abc import Sequence


def columns(rows: Sequence[Sequence[str]]) -> str:
    """Lines of text: a heading, a rule and the other rows, aligned."""
    heading, *lines = aligned(rows)
    return "\n".join([heading, "-" * len(heading), *lines])


def aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    """A line of text for every row, the first column flush left and the others right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = []
    for first, *others in rows:
        cells = [first.ljust(widths[0]), *(c.rjust(w) for c, w in zip(others, widths[1:], strict=True))]
        lines.append("  ".join(cells).rstrip())
    return lines
