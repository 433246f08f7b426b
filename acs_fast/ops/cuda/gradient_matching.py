r"""Gradient matching for all groups at once: tensor operations only, without waits for the host.

Each round moves every unfinished group by one operation of the active-set method: an atom joins, an atom returns to
the passive set, or one leaves it. Each is one rank-1 update of :math:`H = (G_P + \lambda)^{-1}`, kept with zeros
outside the passive set P, so that groups in different states share one instruction stream. The host looks at the state
only every `LOOK_EVERY` rounds. The same search as `acs_fast.ops.reference.gradient_matching`, in float64.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from acs_fast.ops.problems import Problems
from acs_fast.ops.reference.gradient_matching import TOLERANCE as PICK_TOLERANCE
from acs_fast.ops.reference.nnls import DEPENDENT, TOLERANCE

LOOK_EVERY = 32  # rounds between two looks of the host
GROW_BY = 256  # atoms
REFRESH_EVERY = 256  # rounds after which H is computed anew
PICK, RETURN, LEAVE, DONE = range(4)
HOST_BYTES = 4 << 30  # that a wave may take where there is no GPU to ask


@dataclass
class Samples:
    """Groups padded to one length, float64."""

    r: Tensor  # [G, n, R, C]
    h: Tensor  # [G, n, R, D]
    bias: bool

    def correlations(self, target: Tensor) -> Tensor:
        """[G, n] inner products with targets [G, C, D (+1)]."""
        d = self.h.shape[-1]
        logits = self.h.flatten(1, 2) @ target[..., :d].mT  # [G, n R, C]
        if self.bias:
            logits = logits + target[:, None, :, d]
        return self._by_sample((logits * self.r.flatten(1, 2)).sum(2))

    def total(self, weights: Tensor) -> Tensor:
        """[G, C, D (+1)] weighted sums for weights [G, n]."""
        r = (self.r * weights[:, :, None, None]).flatten(1, 2)
        total = r.mT @ self.h.flatten(1, 2)
        return torch.cat([total, r.sum(1)[:, :, None]], 2) if self.bias else total

    def inner_products(self, r: Tensor, h: Tensor) -> Tensor:
        """[G, n] with one gradient per group, [G, R, C] and [G, R, D]."""
        classes = self.r.flatten(1, 2) @ r.mT  # [G, n R, R]
        features = self.h.flatten(1, 2) @ h.mT + float(self.bias)
        return self._by_sample((classes * features).sum(2))

    def _by_sample(self, x: Tensor) -> Tensor:
        """[G, n] sums over the R head passes of [G, n R]."""
        return x.view(*self.r.shape[:3]).sum(2)


def gradient_matching(
    residuals: Tensor, features: Tensor, bias: bool, problems: Problems, targets: Tensor, ridge: float
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """As the reference; groups in waves, as many as fit in the free memory with factors and Gram matrices."""
    members, offsets, budgets, budget = problems
    device = residuals.device
    indices = torch.full((budget,), -1, dtype=torch.int64, device=device)
    weights = torch.zeros(budget, dtype=torch.float64, device=device)
    gains, counts = torch.zeros_like(weights), []
    first = 0
    for a, b in _waves(residuals, features, offsets, budgets):
        shares = budgets[a:b].to(device)
        samples, numbers, inside = _padded(residuals, features, bias, members, offsets[a : b + 1])
        search = _Search(samples, inside, shares, targets[a:b].to(torch.float64), ridge)
        search.run()
        slots, found, gained = search.result()
        used = found > 0
        place = (shares.cumsum(0) - shares + first)[:, None] + used.cumsum(1) - 1
        place = torch.where(used, place, budget)  # the rest goes to one place past the end
        for out, values in ((indices, numbers.gather(1, slots)), (weights, found), (gains, gained)):
            out.copy_(torch.cat([out, out[:1]]).scatter(0, place.flatten(), values.flatten())[:-1])
        counts.append(used.sum(1))
        first += int(budgets[a:b].sum())
    return indices, weights, gains, torch.cat(counts).to(budgets)


def workspace_bytes(device: torch.device) -> int:
    """Memory of one wave of groups in bytes: half of the GPU's free memory."""
    return torch.cuda.mem_get_info(device)[0] // 2 if device.type == "cuda" else HOST_BYTES


def _waves(residuals: Tensor, features: Tensor, offsets: Tensor, budgets: Tensor) -> list[tuple[int, int]]:
    """First and last group (exclusive) of each wave."""
    room = workspace_bytes(residuals.device)
    width = residuals[0].numel() + features[0].numel() if len(residuals) else 0
    sizes, waves, start = offsets.diff().tolist(), [], 0
    longest = deepest = 0
    for i, (n, k) in enumerate(zip(sizes, budgets.tolist(), strict=True)):
        longest, deepest = max(longest, n), max(deepest, k + GROW_BY)
        needed = 8 * (i + 1 - start) * ((2 * longest + deepest) * width + 4 * deepest * deepest)
        if i > start and needed > room:
            waves.append((start, i))
            start, longest, deepest = i, n, k + GROW_BY
    return [*waves, (start, len(sizes))]


def _padded(
    residuals: Tensor, features: Tensor, bias: bool, members: Tensor, offsets: Tensor
) -> tuple[Samples, Tensor, Tensor]:
    """Samples, their numbers [G, n] and which are real [G, n]."""
    sizes = offsets.diff()
    position = torch.arange(int(sizes.max()))
    inside = (position < sizes[:, None]).to(members.device)
    place = (offsets[:-1, None] + torch.minimum(position, sizes[:, None] - 1)).to(members.device)
    numbers = members[place]
    r = residuals[numbers].to(torch.float64) * inside[:, :, None, None]
    return Samples(r, features[numbers].to(torch.float64), bias), numbers, inside


class _Search:
    """The state of the active-set method in every group. `K` is how many atoms there is room for."""

    def __init__(self, samples: Samples, inside: Tensor, budgets: Tensor, targets: Tensor, ridge: float) -> None:
        self.samples, self.budgets, self.targets, self.ridge = samples, budgets, targets, ridge
        self.groups = torch.arange(len(budgets), device=targets.device)
        self.open = inside.clone()
        to_target = samples.correlations(targets)
        self.floor = PICK_TOLERANCE * to_target.abs().amax(1)
        self.to_target = to_target
        g, passes = len(budgets), samples.r.shape[2]
        empty = targets.new_zeros
        self.atoms = Samples(
            empty(g, 0, passes, samples.r.shape[3]), empty(g, 0, passes, samples.h.shape[3]), samples.bias
        )
        self.slots = torch.zeros(g, 0, dtype=torch.int64, device=targets.device)
        self.gram, self.inverse = empty(g, 0, 0), empty(g, 0, 0)
        self.rhs, self.weights, self.best, self.gains = (empty(g, 0) for _ in range(4))
        self.passive = torch.zeros(g, 0, dtype=torch.bool, device=targets.device)
        self.leaving = self.passive.clone()
        self.state = torch.full((g,), PICK, device=targets.device)
        self.returning, self.size, self.returns = (torch.zeros_like(self.state) for _ in range(3))
        self.objective = empty(g)

    def run(self) -> None:
        """Rounds until every group is done."""
        limit = self.samples.r.shape[1]
        rounds, size = 0, 0
        while True:
            if size + LOOK_EVERY > self.slots.shape[1] < limit:
                self._grow(min(limit, self.slots.shape[1] + GROW_BY))
            for _ in range(LOOK_EVERY):
                self._round()
                rounds += 1
                if rounds % REFRESH_EVERY == 0:
                    self._refresh()
            running, size = torch.stack([(self.state != DONE).sum(), self.size.max()]).tolist()
            if not running:
                return

    def _round(self) -> None:
        picking = self.state == PICK
        sample, found = self._choose()
        self.state = torch.where(picking & ~found, DONE, self.state)
        picking = picking & found
        self._join(picking, sample)
        entering = torch.where(picking, self.size - 1, self.returning)
        entered, refused = self._update_inverse(picking, entering)
        self.size = self.size - (picking & refused).to(self.size.dtype)
        finished = (self.state == RETURN) & refused
        settled, z, slopes = self._solve(entered | (self.state == LEAVE))
        self._finish_step(settled | finished, settled, z, slopes)

    def _choose(self) -> tuple[Tensor, Tensor]:
        """The sample with the largest inner product with what is left of the target, and whether it is of use."""
        left = self.targets - self.atoms.total(self.weights)
        correlation = self.samples.correlations(left).masked_fill(~self.open, -torch.inf)
        value, sample = correlation.max(1)
        sample = (correlation == value[:, None]).to(torch.int8).argmax(1)  # the lowest among equals
        return sample, value > self.floor

    def _join(self, picking: Tensor, sample: Tensor) -> None:
        """Take the sample in as an atom, in the first free slot."""
        g, slot = self.groups, torch.where(picking, self.size, 0).clamp_(max=self.slots.shape[1] - 1)
        r, h = self.samples.r[g, sample], self.samples.h[g, sample]

        def put(to: Tensor, value: Tensor) -> None:
            mask = picking.view(-1, *[1] * (value.dim() - 1))
            to[g, slot] = torch.where(mask, value, to[g, slot])

        put(self.atoms.r, r)
        put(self.atoms.h, h)
        put(self.slots, sample)
        put(self.rhs, self.to_target[g, sample])
        put(self.weights, torch.zeros_like(self.floor))
        known = torch.arange(self.slots.shape[1], device=slot.device) <= slot[:, None]
        cross = self.atoms.inner_products(r, h) * known
        put(self.gram, cross)
        put(self.gram.mT, cross)
        self.open[g, sample] &= ~picking
        self.size = self.size + picking.to(self.size.dtype)

    def _update_inverse(self, picking: Tensor, entering: Tensor) -> tuple[Tensor, Tensor]:
        """One atom into or out of the passive set of every group. Returns who took one in, and who refused one."""
        g = self.groups
        wants = picking | (self.state == RETURN)
        column = self.gram[g, :, entering]  # [G, K]
        u = _times(self.inverse, column * self.passive)
        diagonal = column.gather(1, entering[:, None])[:, 0] + self.ridge
        mirrored = (_times(self.gram, u) + self.ridge * u) * self.passive
        pivot = diagonal - (u * (2.0 * column * self.passive - mirrored)).sum(1)  # errors of u enter squared
        enters = wants & (pivot > DEPENDENT * diagonal)
        gone = self.leaving.to(torch.int8).argmax(1)
        leaves = (self.state == LEAVE) & self.leaving.any(1)
        taken = self.inverse[g, :, gone]
        u = u.scatter(1, entering[:, None], -1.0)
        vector = torch.where(enters[:, None], u, torch.where(leaves[:, None], taken, 0.0))
        corner = taken.gather(1, gone[:, None])[:, 0]
        factor = torch.where(enters, 1.0 / pivot, torch.where(leaves, -1.0 / corner, 0.0))
        self.inverse.baddbmm_((vector * factor[:, None])[:, :, None], vector[:, None, :])
        cleared = leaves[:, None] & (torch.arange(vector.shape[1], device=g.device) == gone[:, None])
        self.inverse.masked_fill_(cleared[:, :, None] | cleared[:, None, :], 0.0)
        added = enters[:, None] & (torch.arange(vector.shape[1], device=g.device) == entering[:, None])
        self.passive = (self.passive & ~cleared) | added
        self.leaving = self.leaving & ~cleared
        return enters, wants & ~enters

    def _solve(self, active: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Least squares on the passive set where nothing waits to leave it; a step back where a weight would be <= 0.

        Returns who settled, the solution [G, K] and rhs - gram @ solution [G, K].
        """
        active = active & ~self.leaving.any(1)
        z = _times(self.inverse, self.rhs * self.passive)
        error = (self.rhs - _times(self.gram, z) - self.ridge * z) * self.passive
        z = (z + _times(self.inverse, error)) * self.passive
        settled = active & ((z > 0) | ~self.passive).all(1)
        back = active & ~settled
        w = self.weights
        ratio = torch.where(self.passive & (z <= 0), w / (w - z).clamp_min(torch.finfo(w.dtype).tiny), torch.inf)
        step = ratio.amin(1, keepdim=True)
        moved = torch.where(back[:, None] & self.passive, w + torch.where(back[:, None], step, 0.0) * (z - w), w)
        leaving = back[:, None] & self.passive & ((ratio <= step) | (moved <= 0))
        self.weights = torch.where(settled[:, None], z, moved.masked_fill(leaving, 0.0))
        self.leaving = self.leaving | leaving
        self.state = torch.where(back, LEAVE, self.state)
        return settled, z, self.rhs - _times(self.gram, self.weights)

    def _finish_step(self, idle: Tensor, settled: Tensor, z: Tensor, slopes: Tensor) -> None:
        """After a solution: an atom whose slope is positive returns, or the step is over and the next pick is due."""
        atoms = torch.arange(self.slots.shape[1], device=z.device) < self.size[:, None]
        candidates = slopes.masked_fill(~atoms | self.passive, -torch.inf)
        value, atom = candidates.max(1)
        tolerance = TOLERANCE * (self.rhs * atoms).abs().amax(1)
        returns = settled & (value > tolerance) & (self.returns < 3 * self.size + 10)
        self.returning = torch.where(returns, atom, self.returning)
        self.returns = torch.where(returns, self.returns + 1, self.returns)
        over = idle & ~returns
        w, used = self.weights, self.passive.sum(1)
        objective = (w * (-slopes - self.rhs + self.ridge * w)).sum(1)
        fits = over & (used <= self.budgets)
        last = (self.size - 1).clamp_min(0)[:, None]
        fell = torch.where(fits, self.objective - objective, self.gains.gather(1, last)[:, 0])
        self.gains.scatter_(1, last, fell[:, None])
        self.objective = torch.where(fits, objective, self.objective)
        self.best = torch.where(fits[:, None], w, self.best)
        self.returns = torch.where(over, 0, self.returns)
        ended = over & (used >= self.budgets)
        self.state = torch.where(returns, RETURN, torch.where(ended, DONE, torch.where(over, PICK, self.state)))

    def _refresh(self) -> None:
        """The inverse anew from the Gram matrix, where that can be factored."""
        both = self.passive[:, :, None] & self.passive[:, None, :]
        system = torch.where(both, self.gram, 0.0)
        system.diagonal(dim1=1, dim2=2).add_(torch.where(self.passive, self.ridge, 1.0))
        factor, failed = torch.linalg.cholesky_ex(system)
        fresh = torch.where(both, torch.cholesky_inverse(factor), 0.0)
        self.inverse = torch.where((failed == 0)[:, None, None], fresh, self.inverse)

    def _grow(self, size: int) -> None:
        more = size - self.slots.shape[1]

        def pad(x: Tensor, *dimensions: int) -> Tensor:
            for dimension in dimensions:
                shape = list(x.shape)
                shape[dimension] = more
                x = torch.cat([x, x.new_zeros(shape)], dimension)
            return x

        self.atoms = Samples(pad(self.atoms.r, 1), pad(self.atoms.h, 1), self.atoms.bias)
        self.gram, self.inverse = pad(self.gram, 1, 2), pad(self.inverse, 1, 2)
        for name in ("slots", "rhs", "weights", "best", "gains", "passive", "leaving"):
            setattr(self, name, pad(getattr(self, name), 1))

    def result(self) -> tuple[Tensor, Tensor, Tensor]:
        """Sample of each atom, its weight after one step of iterative refinement, and its gain, [G, K] each."""
        w = self.best
        used = w > 0
        left = self.targets - self.atoms.total(w)
        gradient = torch.where(used, self.atoms.correlations(left) - self.ridge * w, 0.0)
        both = used[:, :, None] & used[:, None, :]
        system = torch.where(both, self.gram, 0.0)
        system.diagonal(dim1=1, dim2=2).add_(torch.where(used, self.ridge, 1.0))
        factor, failed = torch.linalg.cholesky_ex(system)
        refined = w + torch.where(used, torch.cholesky_solve(gradient[:, :, None], factor)[:, :, 0], 0.0)
        sound = (failed == 0) & ((refined > 0) | ~used).all(1)
        return self.slots, torch.where(sound[:, None], refined, w), self.gains


def _times(matrices: Tensor, vectors: Tensor) -> Tensor:
    return (matrices @ vectors[:, :, None])[:, :, 0]
