"""Reference: non-negative least squares in Gram space over a growing set of atoms (Lawson and Hanson, warm-started)."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import pad

DEPENDENT = 1e-10  # an atom whose squared pivot is below this part of its squared norm adds no direction
TOLERANCE = 1e-12  # of the dual, relative to the largest right-hand side


class NonNegativeLeastSquares:
    r"""Minimise :math:`w^T G w - 2 c^T w + \lambda \|w\|^2` over ``w >= 0``.

    Keeps a Cholesky factor of the passive set. Atoms are appended one at a time; `solve` then moves from the last
    solution to the new optimum over all of them.
    """

    def __init__(self, ridge: float, capacity: int, like: Tensor) -> None:
        self.ridge = ridge
        self.size = 0
        self.passive: list[int] = []  # atoms with a positive weight, in the order of the factor's rows
        self._gram = like.new_zeros(capacity, capacity)
        self._factor = like.new_zeros(capacity, capacity)
        self._rhs = like.new_zeros(capacity)
        self._weights = like.new_zeros(capacity)

    @property
    def weights(self) -> Tensor:
        return self._weights[: self.size]

    @property
    def gram(self) -> Tensor:
        return self._gram[: self.size, : self.size]

    def append(self, cross: Tensor, diagonal: Tensor, rhs: Tensor) -> bool:
        """Add an atom with inner products `cross` [size] to the others; False when it depends on the passive ones."""
        if self.size == len(self._rhs):
            self._grow()
        m = self.size
        self._gram[m, :m] = cross
        self._gram[:m, m] = cross
        self._gram[m, m] = diagonal
        self._rhs[m] = rhs
        self._weights[m] = 0.0
        self.size += 1
        if self._activate(m):
            return True
        self.size -= 1
        return False

    def solve(self) -> None:
        """Move to the optimum over all atoms appended so far."""
        tolerance = TOLERANCE * float(self._rhs[: self.size].abs().max()) if self.size else 0.0
        for _ in range(3 * self.size + 10):  # Lawson and Hanson end long before; a bound against rounding cycles
            self._descend()
            dual = self._rhs[: self.size] - self.gram @ self.weights
            dual[self.passive] = -torch.inf
            entering = int(dual.argmax())
            if float(dual[entering]) <= tolerance or not self._activate(entering):
                return

    def _descend(self) -> None:
        """Least squares on the passive set, stepping back and dropping atoms until all its weights are positive."""
        while self.passive:
            p = torch.tensor(self.passive, device=self._rhs.device)
            m = len(p)
            z = torch.cholesky_solve(self._rhs[p, None], self._factor[:m, :m])[:, 0]
            if bool((z > 0).all()):
                self._weights[p] = z
                return
            w = self._weights[p]
            ratio = torch.where(z <= 0, w / (w - z).clamp_min(torch.finfo(w.dtype).tiny), torch.inf)
            w = w + float(ratio.min()) * (z - w)
            leaving = (ratio <= ratio.min()) | (w <= 0)
            self._weights[p] = torch.where(leaving, torch.zeros_like(w), w)
            self.passive = p[~leaving].tolist()
            self._refactor()

    def _activate(self, atom: int) -> bool:
        """Append a row to the factor; False when the atom depends on the passive ones."""
        p = torch.tensor(self.passive, dtype=torch.int64, device=self._rhs.device)
        m = len(p)
        row = torch.linalg.solve_triangular(self._factor[:m, :m], self._gram[p, atom, None], upper=False)[:, 0]
        diagonal = self._gram[atom, atom] + self.ridge
        pivot = diagonal - row @ row
        if float(pivot) <= DEPENDENT * float(diagonal):
            return False
        self._factor[m, :m] = row
        self._factor[m, m] = pivot.sqrt()
        self.passive.append(atom)
        return True

    def _refactor(self) -> None:
        p = torch.tensor(self.passive, dtype=torch.int64, device=self._rhs.device)
        m = len(p)
        system = self._gram[p[:, None], p] + self.ridge * torch.eye(m, dtype=self._rhs.dtype, device=p.device)
        self._factor[:m, :m] = torch.linalg.cholesky(system)

    def _grow(self) -> None:
        more = len(self._rhs) + 8
        self._gram, self._factor = (pad(x, (0, more, 0, more)) for x in (self._gram, self._factor))
        self._rhs, self._weights = (pad(x, (0, more)) for x in (self._rhs, self._weights))
