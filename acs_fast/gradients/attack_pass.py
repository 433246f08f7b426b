"""Gradients of every sample at its adversarial example, by an attack on all of them."""

from __future__ import annotations

import logging
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from acs_fast._util.checks import check_count
from acs_fast._util.exchange import Exchange
from acs_fast.data import BatchAdapter, is_random, unpack
from acs_fast.gradients.extract import FeaturesFn, extract
from acs_fast.gradients.source import Extraction, GradientSource
from acs_fast.objectives import as_objective
from acs_fast.objectives.model_state import buffers_of_first

logger = logging.getLogger("acs_fast")


class AttackPass(GradientSource):
    """Gradient source: attack every sample and take its last-layer gradient.

    Args:
        model: the model being trained; see `last_layer_gradients`.
        dataset: map-style, N samples (x, y) in [0, 1], in the order of the training data and without augmentation,
            which would leak into the selection.
        objective: the attack, and the loss to take gradients of; see `last_layer_gradients`. Usually the training
            objective, or the same with fewer attack steps.
        head, features_fn, batch_adapter: see `last_layer_gradients`.
        batch_size, num_workers: of the pass.
        show_progress: draw a progress bar when it takes longer than a few seconds.

    Raises:
        TypeError, ValueError: an argument of the wrong kind or outside its range.

    Example:
        >>> from torch.utils.data import TensorDataset
        >>> import torch, acs_fast as acs
        >>> data = TensorDataset(torch.rand(8, 1, 2, 2), torch.arange(8) % 2)
        >>> model = nn.Sequential(nn.Flatten(), nn.Linear(4, 2))
        >>> len(AttackPass(model, data, acs.FGSM(0.1))(seed=0).gradients)
        8
    """

    def __init__(
        self,
        model: nn.Module,
        dataset: Any,
        objective: Any,
        *,
        head: nn.Module | str | None = None,
        features_fn: FeaturesFn | None = None,
        batch_adapter: BatchAdapter | None = None,
        batch_size: int = 128,
        num_workers: int = 0,
        show_progress: bool = True,
    ) -> None:
        self.model, self.dataset, self.objective = model, dataset, as_objective(objective)
        self.batch_size = check_count("batch_size", batch_size, 1)
        self.num_workers = check_count("num_workers", num_workers)
        self._options: dict[str, Any] = {
            "head": head, "features_fn": features_fn, "batch_adapter": batch_adapter, "show_progress": show_progress,
        }  # fmt: skip
        if is_random(dataset, batch_adapter or unpack):
            logger.warning(
                "the dataset gives another image each time it is read: random augmentation leaks into the selection. "
                "Pass gradients=AttackPass(model, plain_dataset, objective), the same samples without augmentation"
            )

    def __call__(self, seed: int) -> Extraction:
        """Attack all samples; what is random in it depends on the seed and the number of the batch alone.

        Raises:
            ValueError: the batches do not give every sample once; see also `last_layer_gradients`.
        """
        return self._attacked(seed, list(range(self._batches)))

    def shard(self, seed: int, exchange: Exchange) -> tuple[Extraction, Tensor]:
        """This process's part of the pass: batch b is attacked by rank b mod W, and comes out as it does on any other.

        All of them attack the first one's model: parameters are the same, buffers may differ and are its own.

        Returns:
            what came of its batches, and the numbers [n_r] of their samples.
        """
        own = list(range(exchange.rank, self._batches, exchange.size))
        with buffers_of_first(self.model, exchange), exchange.together("the attack pass"):
            taken = self._attacked(seed, own or [0])
        index = torch.tensor([i for b in own for i in self._members(b)], dtype=torch.int64)
        if not own:  # the widths of the factors are those of any batch
            taken = Extraction(taken.gradients[:0], taken.labels[:0], taken.seconds)
        return taken, index

    @property
    def _batches(self) -> int:
        return -(-len(self.dataset) // self.batch_size)

    def _members(self, batch: int) -> range:
        return range(batch * self.batch_size, min(len(self.dataset), (batch + 1) * self.batch_size))

    def _attacked(self, seed: int, numbers: list[int]) -> Extraction:
        batches = [list(self._members(b)) for b in numbers]
        loader = DataLoader(self.dataset, batch_sampler=batches, num_workers=self.num_workers)
        taken = extract(self.model, loader, self.objective, seed=seed, numbers=numbers, **self._options)
        wanted = sum(map(len, batches))
        if len(taken.gradients) != wanted:
            raise ValueError(f"batches must give every sample once: {wanted} samples, {len(taken.gradients)} came")
        return taken

    def __len__(self) -> int:
        return len(self.dataset)

    def __repr__(self) -> str:
        return f"AttackPass({self.objective!r})"
