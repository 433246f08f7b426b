"""The samples that a selection chooses from, and what an attack pass over them finds."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Subset

from acs_fast._util.randomness import derived_generator
from acs_fast.gradients.extract import Extraction, extract
from acs_fast.objectives.memory_bank import SampleMemory
from acs_fast.selection.groups import partition


@dataclass(frozen=True)
class Candidates:
    """M of N samples, and how many samples each of them stands for."""

    members: Tensor
    scale: Tensor

    @classmethod
    def everyone(cls, n: int) -> Candidates:
        return cls(torch.arange(n), torch.ones(n, dtype=torch.float64))

    @classmethod
    def drawn(cls, n: int, size: int, labels: Tensor | None, seed: int) -> Candidates:
        """A random sub-pool, in ascending order; with labels the same share of every class."""
        if size >= n:
            return cls.everyone(n)
        problems = partition(labels, n, torch.device("cpu"))
        shares = problems.share(size)
        generator = derived_generator("pool", seed)
        parts = [
            members[torch.randperm(len(members), generator=generator)[:m]]
            for members, m in zip(problems, shares.tolist(), strict=True)
        ]
        members, order = torch.cat(parts).sort()
        scale = (problems.sizes.double() / shares).repeat_interleave(shares)[order]
        return cls(members, scale)

    def __len__(self) -> int:
        return len(self.members)

    def fraction(self, budget: int) -> float:
        """The fraction of these samples that comes out as `budget` when it is rounded down."""
        return min(1.0, (budget + 0.5) / len(self))


class AttackPass:
    """Takes the gradients of candidates at adversarial examples.

    Args:
        model, objective, options: see `last_layer_gradients`.
        view: the data as the selection sees it.
        perturbations: where attacks begin, by sample number, and where their results are kept; None for attacks that
            begin anew each time.
        input_norms: see `extract`.
    """

    def __init__(
        self,
        model: nn.Module,
        view: Any,
        objective: Any,
        options: dict[str, Any],
        *,
        batch_size: int,
        num_workers: int,
        perturbations: SampleMemory | None = None,
        input_norms: bool = False,
    ) -> None:
        self.model, self.view, self.objective, self.options = model, view, objective, options
        self.batch_size, self.num_workers = batch_size, num_workers
        self.perturbations, self.input_norms = perturbations, input_norms

    def __call__(self, candidates: Candidates, seed: int | None = None) -> Extraction:
        """Attack the candidates; a seed alone decides what is random in it, whatever was attacked before."""
        whole = len(candidates) == len(self.view)
        view = self.view if whole else Subset(self.view, candidates.members.tolist())
        loader = DataLoader(view, batch_size=self.batch_size, num_workers=self.num_workers)
        attack = None if self.perturbations is None else self._continuing(candidates.members, self.perturbations)
        taken = extract(
            self.model, loader, self.objective, attack=attack, input_norms=self.input_norms, seed=seed, **self.options
        )
        if len(taken.gradients) != len(candidates):
            raise ValueError(
                f"batches must give every sample once: {len(candidates)} samples, {len(taken.gradients)} came"
            )
        return taken

    def _continuing(self, members: Tensor, memory: SampleMemory) -> Callable[[nn.Module, Tensor, Tensor, int], Tensor]:
        def attack(model: nn.Module, x: Tensor, y: Tensor, before: int) -> Tensor:
            index = members[before : before + len(x)]
            delta = memory.read(index, torch.full_like(x, torch.nan))
            x_adv: Tensor = self.objective.perturb_from(model, x, y, delta)
            memory.write(index, x_adv - x)
            return x_adv

        return attack
