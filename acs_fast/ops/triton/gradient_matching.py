"""Gradient matching for all groups at once: eight launches a round, on a GPU many rounds as one CUDA graph.

The host looks at the device once in `ROUNDS` rounds: whether every group is done, and whether atoms need more room.
The same search as `acs_fast.ops.reference.gradient_matching`, in float64; `matching_products` says how.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import triton
from torch import Tensor

from acs_fast._util.dtypes import accumulable
from acs_fast.ops.problems import Problems
from acs_fast.ops.reference.gradient_matching import TOLERANCE
from acs_fast.ops.triton import matching_products as products
from acs_fast.ops.triton import matching_steps as steps
from acs_fast.ops.triton.centred import block_sizes
from acs_fast.ops.triton.factors import Given
from acs_fast.ops.triton.matching_state import AGAIN, DONE, Atoms, Groups, Leaders, Samples, Totals

ROUNDS = 32  # between two looks of the host
GROW_BY = 256  # atoms
ALIGNMENT = 16  # elements; of rows of matrices
HOST_BYTES = 4 << 30  # that a wave may take where there is no GPU to ask
MEMBERS, ATOMS, SCAN = 64, 32, 1024  # sizes of blocks
DIRECTION_CLASSES = 16  # of a tile of directions: two sums of 32 classes are more than the registers hold


def gradient_matching(
    residuals: Tensor, features: Tensor, bias: bool, problems: Problems, targets: Tensor, ridge: float
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """As the reference; groups in waves, as many as fit in the free memory with what is kept of them."""
    members, offsets, budgets, budget = problems
    residuals, features = accumulable(residuals).contiguous(), accumulable(features).contiguous()
    device = residuals.device
    indices = torch.full((budget,), -1, dtype=torch.int64, device=device)
    weights = torch.zeros(budget, dtype=torch.float64, device=device)
    gains, counts = torch.zeros_like(weights), torch.zeros_like(budgets)
    first = 0
    for a, b in waves(residuals, features, offsets, budgets):
        own = members[offsets[a] : offsets[b]]
        if not len(own):
            continue
        given = Given(residuals, features, own, residuals.shape[2], features.shape[2], float(bias))
        search = Search(given, offsets[a : b + 1] - offsets[a], budgets[a:b], targets[a:b], ridge)
        search.run()
        number, found, gained = search.result()
        used, shares = found > 0, budgets[a:b].to(device)
        place = (shares.cumsum(0) - shares + first)[:, None] + used.cumsum(1) - 1
        place = torch.where(used, place, budget).flatten()  # the rest goes to one place past the end
        for out, values in ((indices, own[number]), (weights, found), (gains, gained)):
            out.copy_(torch.cat([out, out.new_zeros(1)]).scatter(0, place, values.flatten())[:-1])
        counts[a:b] = used.sum(1)
        first += int(budgets[a:b].sum())
    return indices, weights, gains, counts


def workspace_bytes(device: torch.device) -> int:
    """Memory of one wave of groups in bytes: half of the GPU's free memory."""
    return torch.cuda.mem_get_info(device)[0] // 2 if device.type == "cuda" else HOST_BYTES


def waves(residuals: Tensor, features: Tensor, offsets: Tensor, budgets: Tensor) -> list[tuple[int, int]]:
    """First and last group (exclusive) of each wave."""
    room = workspace_bytes(residuals.device)
    totals = 3 * residuals.shape[2] * _aligned(features.shape[2] + 1)
    sizes, found, start = offsets.diff().tolist(), [], 0
    longest = deepest = 0
    for i, (n, k) in enumerate(zip(sizes, budgets.tolist(), strict=True)):
        longest, deepest = max(longest, n), max(deepest, first_room(n, k))
        needed = 8 * (i + 1 - start) * (3 * longest + deepest * (deepest + 14) + totals)
        if i > start and needed > room:
            found.append((start, i))
            start, longest, deepest = i, n, first_room(n, k)
    return [*found, (start, len(sizes))] if sizes else []


def first_room(size: int, budget: int) -> int:
    """Atoms that there is room for at first, in a group of `size`: some are dropped and do not count as picks."""
    return _aligned(max(1, min(size, budget + GROW_BY)))


class Replayed:
    """Launches that are the same every time: one by one at first, which compiles them, then on a GPU as one graph."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._ready = False
        self._graph: torch.cuda.CUDAGraph | None = None

    def __call__(self, work: Callable[[], None]) -> None:
        """Do `work`, the same as in the first call; kept here, it would keep its owner alive in a cycle."""
        if self._graph is None and self._ready and self._device.type == "cuda":
            self._graph = captured(work, self._device)
        if self._graph is not None:
            return self._graph.replay()
        self._ready = True
        return work()


def captured(work: Callable[[], None], device: torch.device) -> torch.cuda.CUDAGraph:
    """Launches as a graph. The capture has a stream of its own, and does not stop other threads."""
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.device(device):
        stream = torch.cuda.Stream(device)
        stream.wait_stream(torch.cuda.current_stream(device))
        with torch.cuda.stream(stream):
            graph.capture_begin(capture_error_mode="thread_local")
            try:
                work()
            finally:
                graph.capture_end()
    return graph


class Search:
    """The active-set method in every group of a wave. `room` is how many atoms there is room for."""

    def __init__(self, given: Given, offsets: Tensor, budgets: Tensor, targets: Tensor, ridge: float) -> None:
        self.given, device = given, given.r.device
        sizes = offsets.diff()
        self.longest, count = int(sizes.max()), len(budgets)
        (_, passes, c), d = given.r.shape, given.h.shape[2]
        blocks = block_sizes(given.r, given.h)
        self.blocks = {"R": passes, "BC": blocks[0], "BD": blocks[1]}
        self.direction_blocks = {**self.blocks, "BC": DIRECTION_CLASSES}

        def numbers(*shape: int, dtype: torch.dtype = torch.float64) -> Tensor:
            return torch.zeros(*shape, dtype=dtype, device=device)

        def counts() -> Tensor:
            return numbers(count, dtype=torch.int32)

        n, tiles = len(given.members), triton.cdiv(self.longest, MEMBERS)
        self.samples = Samples(numbers(n), numbers(n), torch.ones(n, dtype=torch.int32, device=device))
        self.leaders = Leaders(numbers(count, tiles), numbers(count, tiles, dtype=torch.int32), tiles)
        across = triton.cdiv(d + 1, blocks[1]) * triton.cdiv(c, DIRECTION_CLASSES)
        shape = (count, c, _aligned(d + 1))
        self.totals = Totals(
            numbers(*shape), numbers(*shape), numbers(*shape), numbers(count, across), shape[2], across
        )  # fmt: skip
        self.totals.left[:, :, : targets.shape[2]] = targets
        self.groups = Groups(
            offsets.to(device), budgets.to(device, torch.int32), numbers(count) + ridge, numbers(count),
            counts() + AGAIN.value, counts(), counts(), counts(), numbers(count), counts(), counts(), numbers(count),
            numbers(count),
        )  # fmt: skip
        self._make(max(first_room(n, k) for n, k in zip(sizes.tolist(), budgets.tolist(), strict=True)))

    def run(self) -> None:
        """Rounds until every group is done."""
        self.score()
        self.samples.to_target.copy_(self.samples.correlation)
        sizes = self.groups.offsets.diff()
        of = torch.arange(len(sizes), device=sizes.device).repeat_interleave(sizes, output_size=len(self.samples.open))
        self.groups.floor.scatter_reduce_(0, of, TOLERANCE * self.samples.to_target.abs(), "amax")
        self.decide()
        size, running = 0, True
        while running:
            if self.room < min(size + ROUNDS + 1, self.longest):
                self.grow(_aligned(min(self.longest, size + ROUNDS + 1 + GROW_BY)))
            self.rounds(self._rounds)
            left = (self.groups.state != DONE.value).sum()
            running, size = torch.stack([left, self.groups.size.max().long()]).tolist()

    def round(self) -> None:
        """One operation of every group that is not done: an atom in or out, and what comes next."""
        groups, atoms, blocks = self.groups, self.atoms, self.blocks
        count = len(groups.state)
        few, many = triton.cdiv(self.room, ATOMS), triton.cdiv(self.room, MEMBERS)
        products.column_kernel[(count, many)](self.given, groups, self.samples, atoms, **blocks, BN=MEMBERS)
        products.forward_kernel[(count, few)](groups, atoms, self.inverse, BM=ATOMS, BN=MEMBERS)
        products.backward_kernel[(count, few)](groups, atoms, self.inverse, BM=MEMBERS, BN=ATOMS)
        products.direction_kernel[(count, self.totals.tiles)](
            self.given, groups, atoms, self.totals, **self.direction_blocks, BN=MEMBERS
        )
        steps.settle_kernel[(count,)](groups, self.samples, atoms, self.totals, BLOCK=SCAN)
        products.update_kernel[(count, few)](
            groups, atoms, self.totals, self.inverse, self.given.C, BM=ATOMS, BN=MEMBERS, BLOCK=SCAN
        )
        self.score()
        self.decide()

    def score(self) -> None:
        """Inner products of all members with what is left of the target, in settled groups."""
        products.score_kernel[(len(self.groups.state), self.leaders.tiles)](
            self.given, self.groups, self.samples, self.leaders, self.totals, **self.blocks, BN=MEMBERS
        )

    def decide(self) -> None:
        """What every settled group does next."""
        steps.decide_kernel[(len(self.groups.state),)](
            self.groups, self.samples, self.leaders, self.atoms, BN=MEMBERS, BLOCK=SCAN
        )

    def grow(self, room: int) -> None:
        """Make room for atoms; what is known of the present ones stays."""
        old, inverse, known = self.atoms, self.inverse, self.room
        self._make(room)
        for before, after in zip(old[:-1], self.atoms[:-1], strict=True):
            after[:, :known] = before
        self.inverse[:, :known, :known] = inverse

    def _make(self, room: int) -> None:
        """No atoms, and room for `room`."""
        count, device = len(self.groups.state), self.groups.state.device
        whole = ("member", "passive", "leaving", "length")
        types = (torch.int32 if name in whole else torch.float64 for name in Atoms._fields[:-1])
        self.room = room
        self.atoms = Atoms._make([*(torch.zeros(count, room, dtype=dtype, device=device) for dtype in types), room])
        self.inverse = torch.zeros(count, room, room, dtype=torch.float64, device=device)
        self.rounds = Replayed(device)

    def _rounds(self) -> None:
        for _ in range(ROUNDS):
            self.round()

    def result(self) -> tuple[Tensor, Tensor, Tensor]:
        """Of each atom its place among the members of all groups, its weight and its gain, [G, K] each."""
        place = self.groups.offsets[:-1, None] + self.atoms.member
        return place.clamp_(max=len(self.samples.open) - 1), self.atoms.best, self.atoms.gain


def _aligned(size: int) -> int:
    return triton.cdiv(size, ALIGNMENT) * ALIGNMENT
