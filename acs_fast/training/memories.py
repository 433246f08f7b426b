"""Memories of samples from all processes, brought together."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from acs_fast.training import processes


def merged(state: Any, visited: Tensor) -> Any:
    """One state for all processes, with each sample's row from its latest visitor.

    All processes must call it with states of the same structure.

    Args:
        state: a state dict; pairs [rows [N, ...], known [N]] in it are memories of samples.
        visited: [M] the samples that this process has visited since the last time.
    """
    if isinstance(state, dict):
        return {key: merged(value, visited) for key, value in state.items()}
    if _is_memory(state):
        return _merged_rows(state[0], state[1], visited)
    return state


def _is_memory(state: Any) -> bool:
    pair = isinstance(state, (list, tuple)) and len(state) == 2 and all(isinstance(t, Tensor) for t in state)
    return pair and state[1].dtype == torch.bool


def _merged_rows(rows: Tensor, known: Tensor, visited: Tensor) -> list[Tensor]:
    own = visited.to(rows.device)
    own = own[own < len(rows)]
    own = own[known[own]]
    parts = processes.gathered((own.cpu(), rows[own].cpu()))
    size = max([len(rows), *(int(index.max()) + 1 for index, _ in parts if len(index))])
    like = next((values for _, values in parts if len(values)), rows)
    grown = rows.new_zeros(size, *like.shape[1:])
    seen = known.new_zeros(size)
    if len(rows):
        grown[: len(rows)], seen[: len(rows)] = rows, known
    for index, values in parts:
        grown[index.to(rows.device)] = values.to(rows)
        seen[index.to(rows.device)] = True
    return [grown, seen]
