"""Samplers of the current epoch."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from torch.utils.data import Dataset, DistributedSampler

from acs_fast._util import processes
from acs_fast._util.checks import check_count
from acs_fast.data.plan import Plan


def replicas(num_replicas: int | None, rank: int | None) -> tuple[int, int]:
    """The number of processes and this one's rank: as given, else what `torch.distributed` says, else 1 and 0.

    Raises:
        ValueError: a rank that is not below the number of processes.
    """
    num_replicas = processes.world_size() if num_replicas is None else num_replicas
    rank = processes.rank() if rank is None else rank
    check_count("num_replicas", num_replicas, 1)
    if check_count("rank", rank) >= num_replicas:
        raise ValueError(f"rank must be below num_replicas, {num_replicas}; got {rank}")
    return num_replicas, rank


class CoresetSampler(DistributedSampler):
    """The samples of the current epoch, in an order of the seed and the epoch alone.

    A `DistributedSampler`, so that frameworks leave it in place: it already gives each process its share.

    Args:
        dataset: the indexed data set.
        plan: of the coreset.
        begin: called with the number k of an epoch that trains (0, 1, 2, ...) before it begins.
    """

    def __init__(self, dataset: Dataset, plan: Plan, begin: Callable[[int], object]) -> None:
        super().__init__(dataset, plan.num_replicas, plan.rank, seed=plan.seed)
        self._plan, self._begin = plan, begin

    def set_epoch(self, epoch: int) -> None:
        """Begin the epoch-th training epoch, with a selection when one is due. Never goes back to an earlier one."""
        self._begin(epoch)

    def __len__(self) -> int:
        plan = self._plan
        if plan.batches is not None:
            return sum(map(len, plan.fixed_batches()))
        return plan.share(len(plan.indices))

    def __iter__(self) -> Iterator[int]:
        if self._plan.epoch < 0:
            self._begin(0)
        return iter(self._plan.samples().tolist())


class CoresetBatchSampler(CoresetSampler):
    """Mini-batches of the current epoch: those of the coreset where it consists of such, else shuffled samples.

    Where the coreset decides what is attacked, a mini-batch holds members of it only, or none, as long as there are
    enough of both, so that it costs one kind of attack.

    Args:
        dataset, plan, begin: see `CoresetSampler`.
        batch_size: B, of mini-batches that are not the coreset's own.
    """

    drop_last = False

    def __init__(self, dataset: Dataset, plan: Plan, begin: Callable[[int], object], batch_size: int) -> None:
        super().__init__(dataset, plan, begin)
        self.batch_size = check_count("batch_size", batch_size, 1)
        self.sampler = CoresetSampler(dataset, plan, begin)

    def __len__(self) -> int:
        plan = self._plan
        if plan.batches is not None:
            return plan.share(len(plan.batches))
        if plan.grouped:
            return -(-len(plan.batched_samples(self.batch_size)) // self.batch_size)
        return -(-plan.share(len(plan.indices)) // self.batch_size)

    def __iter__(self) -> Iterator[list[int]]:  # type: ignore[override]
        if self._plan.epoch < 0:
            self._begin(0)
        if self._plan.batches is not None:
            return iter([batch.tolist() for batch in self._plan.fixed_batches()])
        order = self._plan.batched_samples(self.batch_size)
        return iter([batch.tolist() for batch in order.split(self.batch_size)] if len(order) else [])
