"""What an objective is: an attack, a per-sample loss, and that loss's gradient at the logits."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from acs_fast._util.checks import UnitIntervalCheck, check_label_shape, check_labels
from acs_fast._util.randomness import derived_seed
from acs_fast.objectives.model_state import logits_of, without_ddp
from acs_fast.residuals import cross_entropy_residuals


class Objective:
    """Base of all objectives: cross-entropy at the adversarial example unless a subclass says otherwise.

    A subclass gives `attack`, and where the loss is another one `views` (which images pass through the model) and
    `loss_from_logits`; `residuals` then follows by autograd at the logits, or in closed form where it is overridden.
    """

    takes_start = False  # whether `attack` begins at `begun(x, its own start)`
    _delta: Tensor | None = None

    def __init__(self, seed: int | None = None) -> None:
        self._seed = seed
        self._generators: dict[str, torch.Generator] = {}

    def attack(self, model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
        """The adversarial examples of x; labels and range are already checked."""
        raise NotImplementedError(f"{type(self).__name__} must define attack(model, x, y)")

    def views(self, x: Tensor, x_adv: Tensor) -> tuple[Tensor, ...]:
        """The R batches of images that pass through the model, in the order of `loss_from_logits`."""
        return (x_adv,)

    def loss_from_logits(self, logits: tuple[Tensor, ...], y: Tensor) -> Tensor:
        """[B] losses from R tensors of logits [B, C]."""
        return F.cross_entropy(logits[0], y, reduction="none")

    def residuals(self, logits: tuple[Tensor, ...], y: Tensor) -> Tensor:
        """[B, R, C] gradients of each sample's loss at its logits, in float32 or wider."""
        with torch.enable_grad():
            leaves = tuple(widened(z).detach().requires_grad_() for z in logits)
            gradients = torch.autograd.grad(self.loss_from_logits(leaves, y).sum(), leaves, materialize_grads=True)
        return torch.stack(gradients, 1)

    @property
    def has_own_loss(self) -> bool:
        """Whether `per_sample_loss` was overridden without residuals to match: then only running it gives them."""
        return _depth(self, "per_sample_loss") < _depth(self, "residuals")

    def selection_residuals(self, logits: tuple[Tensor, ...], y: Tensor) -> Tensor:
        """`residuals`, or autograd at the logits where a subclass changed the loss but kept the closed form."""
        changed = min(_depth(self, "loss_from_logits"), _depth(self, "views"))
        if _depth(self, "residuals") <= changed:
            return self.residuals(logits, y)
        return Objective.residuals(self, logits, y)

    def perturb(self, model: nn.Module, x: Tensor, y: Tensor, *, index: Tensor | None = None) -> Tensor:
        """Adversarial examples of x within [0, 1], and within the objective's ball where it has one.

        Leaves the model's flags, statistics and gradients and the global random state as they were.

        Args:
            model: takes pixels of [0, 1] (normalisation is part of it) and returns logits [B, C].
            x: [B, ...] floating, in [0, 1].
            y: [B] labels.
            index: [B] sample numbers, for objectives that remember something of each sample; the others ignore it.

        Raises:
            ValueError: x leaves [0, 1], or y is not one label per image. On a CUDA device, which is not waited for,
                this may come a few calls late (`UnitIntervalCheck`).
            TypeError: x is no floating tensor.
        """
        if not x.dtype.is_floating_point:
            raise TypeError(f"x must be a floating tensor with pixels in [0, 1]; got {x.dtype}: divide bytes by 255")
        self.__dict__.setdefault("_pixels", UnitIntervalCheck())("x", x)
        check_label_shape(y, len(x))
        return self.attack(without_ddp(model), x, y)

    def perturb_from(self, model: nn.Module, x: Tensor, y: Tensor, delta: Tensor) -> Tensor:
        """`perturb` that goes on from given perturbations, cut to the ball, in place of the attack's own start.

        Args:
            delta: [B, ...] like x; rows of NaN for samples that begin as usual.

        Raises:
            TypeError: the objective's attack has no start to choose (`takes_start`).
            ValueError: as `perturb`, or delta has another shape than x.
        """
        if not self.takes_start:
            raise TypeError(f"objective must have an attack with a start, such as PGD or TRADES; got {self!r}")
        if delta.shape != x.shape:
            raise ValueError(f"delta must have the shape of x, {list(x.shape)}; got {list(delta.shape)}")
        self._delta = delta
        try:
            return self.perturb(model, x, y)
        finally:
            self._delta = None

    def begun(self, x: Tensor, start: Tensor) -> Tensor:
        """The attack's own `start`, or x moved by what `perturb_from` was given; not yet cut to the ball."""
        return start if self._delta is None else torch.where(self._delta.isnan(), start, x + self._delta)

    def per_sample_loss(self, model: nn.Module, x: Tensor, x_adv: Tensor, y: Tensor) -> Tensor:
        """[B] losses, differentiable with respect to the model's parameters."""
        logits = tuple(widened(logits_of(model, view)) for view in self.views(x, x_adv))
        if y.device.type == "cpu":  # elsewhere the check would wait for the device
            check_labels(y, logits[0].shape[1], len(x))
        return self.loss_from_logits(logits, y)

    def generator(self, device: torch.device) -> torch.Generator:
        """The objective's own random numbers, seeded at first use by `seed` or torch's initial seed."""
        generators: dict[str, torch.Generator] = self.__dict__.setdefault("_generators", {})
        if str(device) not in generators:
            seed = self.__dict__.get("_seed")
            seed = torch.initial_seed() if seed is None else seed  # derived: not the stream of torch.rand itself
            generators[str(device)] = torch.Generator(device).manual_seed(derived_seed("attack", seed))
        return generators[str(device)]

    @contextmanager
    def seeded(self, seed: int) -> Iterator[None]:
        """Inside, attacks draw from generators of this seed; afterwards the objective's own go on where they were."""
        kept = {name: self.__dict__.get(name) for name in ("_seed", "_generators")}
        self._seed, self._generators = seed, {}
        try:
            yield
        finally:
            self._seed, self._generators = kept["_seed"], kept["_generators"] or {}

    def state_dict(self) -> dict[str, Any]:
        """The random state of the attack, for bit-identical resumption."""
        return {name: g.get_state() for name, g in self.__dict__.get("_generators", {}).items()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        for name, value in state.items():
            self.generator(torch.device(name)).set_state(value.cpu())

    def __repr__(self) -> str:
        public = ", ".join(f"{k}={v!r}" for k, v in vars(self).items() if not k.startswith("_"))
        return f"{type(self).__name__}({public})"


class CrossEntropy(Objective):
    """Cross-entropy at the adversarial example; its residual is softmax(z) - onehot(y)."""

    def residuals(self, logits: tuple[Tensor, ...], y: Tensor) -> Tensor:
        return cross_entropy_residual(logits[0], y)[:, None]


def _depth(objective: Objective, name: str) -> int:
    """How far up the classes of `objective` the method was last defined."""
    return next(i for i, kind in enumerate(type(objective).__mro__) if name in vars(kind))


def cross_entropy_residual(logits: Tensor, y: Tensor) -> Tensor:
    """[B, C] = softmax(z) - onehot(y)."""
    return cross_entropy_residuals(logits, y)[0]


def widened(z: Tensor) -> Tensor:
    """In float32 or wider: losses of half-precision logits are taken in single precision."""
    return z.to(torch.promote_types(z.dtype, torch.float32))
