"""Meetings of the processes of a group: every meeting and byte counted, a clear error when a process is missing."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor

from acs_fast._util.blocks import block_bytes, blocks, put
from acs_fast._util.processes import is_distributed

_ALL_GATHER = getattr(dist, "all_gather_single", None) or dist.all_gather_into_tensor  # its name before torch 2.13

T = TypeVar("T")


class Exchange:
    """The collective operations of a selection, on a process group or on this process alone.

    Tensors may lie on any device; they travel on the one that the group's backend wants and come back to theirs.

    Args:
        group: a `torch.distributed` group, by default the whole world; without an initialised process group this
            process alone, and every meeting is its own answer.
        alone: this process alone, whatever group there is.

    Attributes:
        rank, size: of this process in the group, and W.
        meetings: how many collective operations have been entered.
        bytes_sent: payload that this rank has sent in them, by the ring algorithms: (W - 1) s for an all-gather of s
            bytes a rank, 2 (W - 1) / W s for an all-reduce of s bytes, and what goes to others in an all-to-all.
    """

    def __init__(self, group: Any = None, alone: bool = False) -> None:
        self._there = is_distributed() and not alone
        self.group = group
        self.rank = dist.get_rank(group) if self._there else 0
        self.size = dist.get_world_size(group) if self._there else 1
        self.meetings, self.bytes_sent = 0, 0
        on_gpu = self._there and dist.get_backend(group) == "nccl"
        self.device = torch.device("cuda", torch.cuda.current_device()) if on_gpu else torch.device("cpu")

    def report(self) -> dict[str, int]:
        """What it took so far: `world_size`, `meetings`, `bytes_sent`."""
        return {"world_size": self.size, "meetings": self.meetings, "bytes_sent": self.bytes_sent}

    def maximum(self, value: Tensor) -> Tensor:
        """Elementwise maximum over the ranks."""
        return self._reduced(value, "max")

    def sum(self, value: Tensor) -> Tensor:
        """Elementwise sum over the ranks; of integers independent of W."""
        return self._reduced(value, "sum")

    def gather(self, value: Tensor) -> Tensor:
        """[W, ...]: the tensors of all ranks, which have one shape."""
        if self.size == 1:
            return value[None]
        own = value.to(self.device).contiguous()
        out = own.new_empty(self.size, *own.shape)
        with self._meeting((self.size - 1) * own.nbytes):
            _ALL_GATHER(out.view(-1), own.view(-1), group=self.group)
        return out.to(value.device)

    def gather_rows(self, *columns: Tensor, room: int = 0) -> list[Tensor]:
        """The rows [n_r, ...] of all ranks one after the other, for several tensors that have the same n_r.

        Args:
            room: rows that travel along with the counts: one meeting in place of two, as long as no rank has more.
        """
        if self.size == 1:
            return list(columns)
        head = torch.zeros(8 + block_bytes(columns, room), dtype=torch.uint8, device=self.device)
        own = len(columns[0])
        head[:8] = torch.tensor([own]).view(torch.uint8)
        for column, block in zip(columns, blocks(head[8:], columns, room), strict=True):
            put(column[:room], block[: min(own, room)])
        every = self.gather(head)
        counts = every[:, :8].contiguous().view(torch.int64).flatten().tolist()
        if max(counts) > room:
            return [torch.cat(x) for x in zip(*self.gather_parts(*columns, counts=counts), strict=True)]
        parts = [[b[:n] for b in blocks(every[r, 8:], columns, room)] for r, n in enumerate(counts)]
        return [torch.cat(x).to(c.device) for x, c in zip(zip(*parts, strict=True), columns, strict=True)]

    def gather_parts(self, *columns: Tensor, counts: Sequence[int]) -> list[list[Tensor]]:
        """The rows [n_r, ...] of every rank by itself, for several tensors that have the same n_r.

        Args:
            counts: n_r of every rank.
        """
        if self.size == 1:
            return [list(columns)]
        most = max(counts)
        packed = torch.empty(block_bytes(columns, most), dtype=torch.uint8, device=self.device)
        for column, block in zip(columns, blocks(packed, columns, most), strict=True):
            put(column, block[: len(column)])
        return [
            [b[:n].to(c.device) for b, c in zip(blocks(every, columns, most), columns, strict=True)]
            for every, n in zip(self.gather(packed), counts, strict=True)
        ]

    def swap(self, sent: Tensor, sizes_out: Sequence[int], sizes_in: Sequence[int], arrived: Tensor) -> list[Tensor]:
        """Send some numbers to every rank, and take some from each.

        Args:
            sent: what goes to the ranks, one after the other, `sizes_out` [W] numbers each, none to this rank itself.
            sizes_in: [W] how many come.
            arrived: where they go, as many.

        Returns:
            the numbers of every rank, parts of `arrived`.
        """
        moving, landing = sent.to(self.device), arrived.to(self.device)
        with self._meeting(moving.nbytes):
            dist.all_to_all_single(landing, moving, list(sizes_in), list(sizes_out), group=self.group)
        if landing is not arrived:
            arrived.copy_(landing)
        return list(arrived.split(list(sizes_in)))

    def sum_of_parts(self, value: Tensor, sizes: Sequence[int]) -> Tensor:
        """Sum over the ranks of this rank's part of their tensors; of integers independent of W.

        Args:
            value: the parts of the ranks, one after the other, `sizes` [W] numbers each.
        """
        parts: tuple[Tensor, ...] = value.split(list(sizes))
        own, others = parts[self.rank], [part[:0] if r == self.rank else part for r, part in enumerate(parts)]
        if self.size == 1:
            return own
        coming = [0 if r == self.rank else len(own) for r in range(self.size)]
        found = self.swap(torch.cat(others), [len(part) for part in others], coming, value.new_empty(sum(coming)))
        return torch.stack([own, *(part for r, part in enumerate(found) if r != self.rank)]).sum(0)

    def passed_along(self, value: Tensor, step: Callable[[Tensor], Tensor]) -> Tensor:
        """What becomes of a value that every rank takes one step further, in the order of the ranks; on every rank."""
        if self.size == 1:
            return step(value)
        moving = value.to(self.device, copy=True).contiguous()
        if self.rank > 0:
            with self._meeting(0):
                dist.recv(moving, group=self.group, group_src=self.rank - 1)
        moving = step(moving.to(value.device)).to(self.device).contiguous()
        last = self.rank + 1 == self.size
        if not last:
            with self._meeting(moving.nbytes):
                dist.send(moving, group=self.group, group_dst=self.rank + 1)
        with self._meeting(moving.nbytes if last else 0):
            dist.broadcast(moving, group=self.group, group_src=self.size - 1)
        return moving.to(value.device)

    @contextmanager
    def together(self, what: str) -> Iterator[None]:
        """Run the body on every rank; where it raises on one, all raise.

        Raises:
            RuntimeError: the body failed on another rank; says on which, and why. The rank itself raises its own error.
        """
        failed: Exception | None = None
        try:
            yield
        except Exception as error:
            failed = error
        if self.size > 1 and int(self.maximum(torch.tensor(int(failed is not None)))):
            reasons = self.objects(None if failed is None else f"{type(failed).__name__}: {failed}")
            if failed is None:
                rank, reason = next((r, reason) for r, reason in enumerate(reasons) if reason is not None)
                raise RuntimeError(f"{what} failed on rank {rank}: {reason}")
        if failed is not None:
            raise failed

    def check_equal(self, facts: Mapping[str, Any]) -> None:
        """Refuse to go on with ranks that differ.

        Args:
            facts: by name, what must have the same `repr` on every rank.

        Raises:
            ValueError: names every fact that differs, with the first ranks that differ in it.
        """
        own = {name: repr(value) for name, value in facts.items()}
        every = self.objects(own)
        problems = []
        for name in sorted(set().union(*every)):
            values = [facts_.get(name, "nothing") for facts_ in every]
            other = next((r for r, v in enumerate(values) if v != values[0]), None)
            if other is not None:
                problems.append(f"{name} (rank 0: {values[0]}, rank {other}: {values[other]})")
        if problems:
            raise ValueError(f"ranks must agree, since they select together; they differ in {'; '.join(problems)}")

    def from_first(self, what: str, work: Callable[[], T]) -> T:
        """What rank 0 makes, on every rank; where it raises, all raise as in `together`.

        The result must be picklable, with its tensors on the CPU; for results, never while selecting.
        """
        with self.together(what):
            made: list[Any] = [work() if self.rank == 0 else None]
        if self.size > 1:
            with self._meeting(0):
                dist.broadcast_object_list(made, group=self.group, group_src=0)
        return made[0]  # type: ignore[no-any-return]

    def objects(self, value: T) -> list[T]:
        """Any picklable value of every rank, by rank; for results and refusals, never while selecting."""
        if self.size == 1:
            return [value]
        found: list[Any] = [None] * self.size
        with self._meeting(0):
            dist.all_gather_object(found, value, group=self.group)
        return found

    def _reduced(self, value: Tensor, how: str) -> Tensor:
        if self.size == 1:
            return value
        out = value.to(self.device, copy=True).contiguous()
        with self._meeting(2 * (self.size - 1) * out.nbytes // self.size):
            dist.all_reduce(out, dist.ReduceOp.MAX if how == "max" else dist.ReduceOp.SUM, group=self.group)
        return out.to(value.device)

    @contextmanager
    def _meeting(self, sent: int) -> Iterator[None]:
        self.meetings += 1
        self.bytes_sent += sent
        try:
            yield
        except RuntimeError as error:
            raise RuntimeError(
                f"rank {self.rank} of {self.size} waited in vain at meeting {self.meetings}: another process has "
                "ended, hangs, or has lost its connection. Nothing was changed; start all of them again from the last "
                f"checkpoint ({str(error).splitlines()[0]})"
            ) from error
