"""The samples of an epoch, their weights and their order, shared by all samplers of a coreset."""

from __future__ import annotations

import logging
from typing import Any

import torch
from torch import Tensor

from acs_fast._util.checks import as_integers
from acs_fast._util.randomness import derived_generator
from acs_fast.coreset import Coreset

SKIPPED_SAMPLES = 128

logger = logging.getLogger("acs_fast")


class Plan:
    """The samples of the current epoch, their weights and their order; shared by all samplers of a coreset.

    Args:
        n: N, the size of the data set.
        seed: of the order.
        num_replicas, rank: the processes that share an epoch, and this one.
        settled: give a process the same samples in every epoch, as far as shares of one size allow; for what each
            process remembers of its samples. Else samples are dealt out anew.

    Attributes:
        epoch: the current epoch number; -1 before the first.
        indices: [M] the epoch's samples.
        weights: [N], NaN for samples outside the epoch.
        members: [N] bool, the samples of the coreset (all, where there is none).
        batches: fixed mini-batches, or None.
        grouped: whether mini-batches should hold members only or none.
    """

    def __init__(self, n: int, seed: int, num_replicas: int, rank: int, settled: bool = False) -> None:
        self.n, self.seed, self.num_replicas, self.rank = n, seed, num_replicas, rank
        self._homes: Tensor | None = None
        if settled and num_replicas > 1:
            self._homes = torch.randperm(n, generator=derived_generator("homes", seed)) % num_replicas
        self.epoch = -1
        self._on_device: dict[tuple[str, torch.device], Tensor] = {}
        self._skips_are_told = rank > 0
        self.announce(n)

    def announce(self, size: int) -> None:
        """Set the size of the first epoch, so that loaders have a length before it begins."""
        self._set(torch.arange(size), torch.ones(size))

    def begin(self, epoch: int, kind: str, coreset: Coreset | None) -> None:
        """Go over to an epoch.

        Args:
            epoch: its number.
            kind: see `Schedule`. A skipped epoch holds a few random samples, so that loops which visit it anyway find
                something to average.
            coreset: the current one, if any.
        """
        self.epoch = epoch
        if kind == "skipped":
            self._tell_of_skips(min(SKIPPED_SAMPLES, self.n))
            few = torch.randperm(self.n, generator=derived_generator("skipped", self.seed, epoch))[:SKIPPED_SAMPLES]
            self._set(few, torch.ones(len(few)))
        elif kind == "full" or coreset is None:
            self._set(torch.arange(self.n), torch.ones(self.n))
        elif kind == "selective":
            self._set(torch.arange(self.n), torch.ones(self.n), members=coreset.indices)
        else:
            self._set(coreset.indices, coreset.weights / coreset.weights.mean(), batches=coreset.batches)

    def _tell_of_skips(self, size: int) -> None:
        if not self._skips_are_told:
            logger.warning(
                "the schedule skips epoch %d, so it holds %d random samples only: loop over coreset.epochs to leave "
                "such epochs out (told once)", self.epoch, size,
            )  # fmt: skip
        self._skips_are_told = True

    def weights_of(self, index: Any) -> Tensor:
        """[B] weights of samples on the device of `index`; NaN for samples outside the epoch on a GPU.

        Raises:
            ValueError: an index on the CPU of a sample outside the epoch.
        """
        index = as_integers("index", index)
        found = self._on("weights", index.device)[index]
        if index.device.type == "cpu" and bool(torch.isnan(found).any()):
            missing = int(index[torch.isnan(found)][0])
            raise ValueError(
                f"index must come from this coreset's sampler; sample {missing} is not part of epoch {self.epoch}"
            )
        return found

    def contains(self, index: Any) -> Tensor:
        """[B] bool on the device of `index`, True for members."""
        index = as_integers("index", index)
        return self._on("members", index.device)[index]

    def order(self, n: int) -> Tensor:
        """This process's share of the epoch's order of n things; short shares are padded from the beginning."""
        return self._padded_order(n)[self.rank :: self.num_replicas]

    def shuffled(self, samples: Tensor) -> Tensor:
        """This process's share of some samples in the epoch's order."""
        if self._homes is None:
            return samples[self.order(len(samples))]
        samples = samples[self._padded_order(len(samples))]
        return samples[placed(self._homes[samples], self.num_replicas) == self.rank]

    def _padded_order(self, n: int) -> Tensor:
        order = torch.randperm(n, generator=derived_generator("order", self.seed, self.epoch))
        missing = -n % self.num_replicas
        return torch.cat([order, order.repeat(-(-missing // n))[:missing]]) if missing and n else order

    def share(self, n: int) -> int:
        return -(-n // self.num_replicas)

    def samples(self) -> Tensor:
        """This process's samples in the epoch's order."""
        if self.batches is not None:
            return torch.cat(self.fixed_batches())
        return self.shuffled(self.indices)

    def fixed_batches(self) -> list[Tensor]:
        """This process's share of the fixed mini-batches, in the epoch's order."""
        batches = self.batches or []
        return [batches[i] for i in self.order(len(batches)).tolist()]

    def batched_samples(self, batch_size: int) -> Tensor:
        """This process's samples so that consecutive mini-batches hold members only, or none, while they last.

        Whole mini-batches come first, then what is left of both kinds. All processes have the same kind at a time.
        """
        if not self.grouped:
            return self.samples()
        mask = self.members[self.indices]
        parts = [self.shuffled(part) for part in (self.indices[mask], self.indices[~mask])]
        whole = torch.cat([part[: len(part) // batch_size * batch_size] for part in parts])
        left = torch.cat([part[len(part) // batch_size * batch_size :] for part in parts])
        batches = whole.view(-1, batch_size)
        order = torch.randperm(len(batches), generator=derived_generator("batches", self.seed, self.epoch))
        return torch.cat([batches[order].flatten(), left])

    def _on(self, name: str, device: torch.device) -> Tensor:
        """`weights` or `members` on a device, copied there once an epoch."""
        key = (name, device)
        if key not in self._on_device:
            self._on_device[key] = getattr(self, name).to(device)
        return self._on_device[key]

    def _set(
        self, indices: Tensor, weights: Tensor, members: Tensor | None = None, batches: list[Tensor] | None = None
    ) -> None:
        self.indices, self.batches, self.grouped = indices, batches, members is not None
        self.weights = torch.full((self.n,), torch.nan)
        self.weights[indices] = weights
        self.members = torch.zeros(self.n, dtype=torch.bool)
        self.members[indices if members is None else members] = True
        self._on_device.clear()


def placed(homes: Tensor, ranks: int) -> Tensor:
    """[n] a rank for each of n things, all ranks having as many: its home, while there is room.

    Args:
        homes: [n], n a multiple of the ranks.

    Example:
        >>> placed(torch.tensor([1, 0, 1, 1]), 2).tolist()
        [1, 0, 1, 0]
    """
    room, sizes = len(homes) // ranks, torch.bincount(homes, minlength=ranks)
    by_home = torch.argsort(homes, stable=True)
    nth = torch.empty_like(homes)
    nth[by_home] = torch.arange(len(homes)) - (sizes.cumsum(0) - sizes)[homes[by_home]]
    found = homes.clone()
    found[nth >= room] = torch.repeat_interleave(torch.arange(ranks), (room - sizes).clamp_min(0))
    return found
