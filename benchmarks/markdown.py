"""Pieces of Markdown that all sections of the report share."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

START, END = "<!-- benchmarks -->", "<!-- /benchmarks -->"


def table(head: str, lines: Iterable[str]) -> str:
    """Under a line of headings."""
    return "\n".join([head, "|---" * (head.count("|") - 1) + "|", *lines])


def line(cells: Iterable[str]) -> str:
    """Of a table."""
    return f"| {' | '.join(cells)} |"


def folded(summary: str, text: str) -> str:
    """What a reader opens with a click."""
    return f"<details>\n<summary>{summary}</summary>\n\n{text}\n\n</details>"


def image(path: Path, base: Path) -> str:
    """A picture as a document in the folder `base` refers to it."""
    return f"![{path.stem}]({Path(os.path.relpath(path.resolve(), base)).as_posix()})"


def origin(machine: dict[str, Any], commit: dict[str, Any], date: str) -> str:
    """Where and when, in one clause."""
    gpu = f", {machine['gpu']['name']} with {machine['gpu']['memory_gib']} GiB" if machine.get("gpu") else ""
    changed = " with local changes" if commit["dirty"] else ""
    return (
        f"Measured {date[:10]} at commit {commit['sha']}{changed} on {machine['cpu']} ({machine['simd']}), "
        f"{machine['cores']} cores, {machine['memory_gib']} GiB{gpu}"
    )


def publish(readme: Path, text: str) -> bool:
    """Put text between the README's markers; False, and the text is printed, where there are none."""
    content = readme.read_text() if readme.exists() else ""
    head, opened, rest = content.partition(START)
    _, closed, tail = rest.partition(END)
    if not (opened and closed):
        print(f"{readme} has no {START} ... {END} markers", file=sys.stderr)
        print(text)
        return False
    updated = f"{head}{START}\n{text}\n{END}{tail}"
    if updated != content:
        readme.write_text(updated)
    return True
