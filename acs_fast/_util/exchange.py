"""Meetings of the processes of a group: every meeting and byte counted, a clear error when a process is missing."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

_ALL_GATHER = getattr(dist, "all_gather_single", None) or dist.all_gather_into_tensor  # its name before torch 2.13
BYTES_AT_ONCE = 1 << 25  # that a rank sends in one meeting where rows move; bounds the buffers


class Exchange:
    """The collective operations of a selection, on a process group or on this process alone.

    Tensors may lie on any device; they travel on the one that the group's backend wants and come back to theirs.

    Args:
        group: a `torch.distributed` group, by default the whole world; without an initialised process group this
            process alone, and every meeting is its own answer.

    Attributes:
        rank, size: of this process in the group, and W.
        meetings: how many collective operations have been entered.
        bytes_sent: payload that this rank has sent in them, by the ring algorithms: (W - 1) s for an all-gather of s
            bytes a rank, 2 (W - 1) / W s for an all-reduce of s bytes, and what goes to others in an all-to-all.
    """

    def __init__(self, group: Any = None) -> None:
        self._there = dist.is_available() and dist.is_initialized()
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

    def gather_rows(self, *columns: Tensor, counts: Sequence[int] | None = None, room: int = 0) -> list[Tensor]:
        """The rows [n_r, ...] of all ranks one after the other, for several tensors that have the same n_r.

        Args:
            counts: n_r of every rank where they are known.
            room: rows that travel along with the counts where these are not known: one meeting in place of two, as long
                as no rank has more.
        """
        if self.size == 1:
            return list(columns)
        packed = _packed(columns)
        if counts is None:
            first = packed.new_zeros(8 + room * packed.shape[1])
            first[:8] = torch.tensor([len(packed)]).view(torch.uint8)
            first[8 : 8 + min(room, len(packed)) * packed.shape[1]] = packed[:room].flatten()
            every = self.gather(first)
            counts = every[:, :8].contiguous().view(torch.int64).flatten().tolist()
            if max(counts) <= room:
                rows = every[:, 8:].unflatten(1, (room, packed.shape[1]))
                return _unpacked(torch.cat([rows[r, :n] for r, n in enumerate(counts)]), columns)
        padded = packed.new_zeros(max(counts), packed.shape[1])
        padded[: len(packed)] = packed
        every = self.gather(padded)
        return _unpacked(torch.cat([every[r, :n] for r, n in enumerate(counts)]), columns)

    def swap(self, blocks: Sequence[Tensor], shapes: Sequence[Sequence[int]]) -> list[Tensor]:
        """A tensor to every rank, and one from each.

        Args:
            blocks: W tensors of one dtype; the one for this rank itself is not sent.
            shapes: W shapes of what comes, that of this rank itself being any of no elements.
        """
        if self.size == 1:
            return [blocks[0].new_empty(*shapes[0])]
        sent = torch.cat([b.reshape(-1) for b in blocks]).to(self.device)
        sizes_out, sizes_in = [b.numel() for b in blocks], [math.prod(shape) for shape in shapes]
        arrived = sent.new_empty(sum(sizes_in))
        with self._meeting(sent.nbytes):
            dist.all_to_all_single(arrived, sent, sizes_in, sizes_out, group=self.group)
        parts = zip(arrived.split(sizes_in), shapes, strict=True)
        return [part.view(*shape).to(blocks[0].device) for part, shape in parts]

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

    def deliver(self, owner: Tensor, *columns: Tensor) -> list[Tensor]:
        """Send every row to its owner; the rows that come arrive by sender, in the sender's order.

        Args:
            owner: [n] the rank to which each row goes.
            columns: [n, ...] tensors whose rows travel together.
        """
        if self.size == 1:
            return list(columns)
        order = torch.argsort(owner, stable=True).cpu()
        sent = torch.bincount(owner.cpu(), minlength=self.size)
        received = self.gather(sent)[:, self.rank]
        row_bytes = sum(c[0].numel() * c.element_size() if len(c) else 0 for c in columns)
        widest = int(self.maximum(torch.tensor(row_bytes * int(sent.max()))))
        pieces = max(1, -(-widest * self.size // BYTES_AT_ONCE))
        outs = [c.new_empty(int(received.sum()), *c.shape[1:]) for c in columns]
        starts_out, starts_in = (torch.cat([x.new_zeros(1), x.cumsum(0)])[:-1] for x in (sent, received))
        for piece in range(pieces):
            self._deliver_piece(order, columns, outs, _part(sent, starts_out, piece, pieces),
                                _part(received, starts_in, piece, pieces))  # fmt: skip
        return outs

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
            reasons = self._objects(None if failed is None else f"{type(failed).__name__}: {failed}")
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
        every = self._objects(own)
        problems = []
        for name in sorted(set().union(*every)):
            values = [facts_.get(name, "nothing") for facts_ in every]
            other = next((r for r, v in enumerate(values) if v != values[0]), None)
            if other is not None:
                problems.append(f"{name} (rank 0: {values[0]}, rank {other}: {values[other]})")
        if problems:
            raise ValueError(f"ranks must agree, since they select together; they differ in {'; '.join(problems)}")

    def of_first(self, value: Any) -> Any:
        """Rank 0's value, which must be picklable with its tensors on the CPU; for results, never while selecting."""
        return self._objects(value if self.rank == 0 else None)[0]

    def _objects(self, value: Any) -> list[Any]:
        """Any picklable value of every rank; for refusals, never while selecting."""
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

    def _deliver_piece(
        self, order: Tensor, columns: Sequence[Tensor], outs: Sequence[Tensor], going: list[slice], coming: list[slice]
    ) -> None:
        rows = torch.cat([order[part] for part in going])
        packed = _packed([c[rows.to(c.device)] for c in columns]).to(self.device)
        width = packed.shape[1]
        sizes_in, sizes_out = ([(s.stop - s.start) * width for s in parts] for parts in (coming, going))
        arrived = packed.new_empty(sum(sizes_in))
        with self._meeting(sum(sizes_out) - sizes_out[self.rank]):
            dist.all_to_all_single(arrived, packed.view(-1), sizes_in, sizes_out, group=self.group)
        for part, chunk in zip(coming, arrived.split(sizes_in), strict=True):
            for out, values in zip(outs, _unpacked(chunk.view(-1, width), columns), strict=True):
                out[part] = values

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


def _part(counts: Tensor, starts: Tensor, piece: int, pieces: int) -> list[slice]:
    """Of each rank's run of rows, the slice that belongs to one of several meetings."""
    begin, end = (starts + counts * p // pieces for p in (piece, piece + 1))
    return [slice(a, b) for a, b in zip(begin.tolist(), end.tolist(), strict=True)]


def _packed(columns: Sequence[Tensor]) -> Tensor:
    """[n, bytes] uint8: the rows of several tensors side by side."""
    return torch.cat([c.contiguous().flatten(1).view(torch.uint8) if c.dim() > 1 else
                      c.contiguous()[:, None].view(torch.uint8) for c in columns], 1)  # fmt: skip


def _unpacked(packed: Tensor, like: Sequence[Tensor]) -> list[Tensor]:
    widths = [c.element_size() * c.shape[1:].numel() for c in like]
    parts = zip(packed.split(widths, 1), like, strict=True)
    return [
        p.clone(memory_format=torch.contiguous_format).view(c.dtype).view(len(packed), *c.shape[1:]).to(c.device)
        for p, c in parts
    ]
