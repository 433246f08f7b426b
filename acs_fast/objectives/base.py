"""The bases of attacks, losses and objectives."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from copy import copy
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import Tensor, nn

from acs_fast._util.checks import (
    FLOATING,
    UnitIntervalCheck,
    as_tensors,
    check_floating,
    check_images,
    check_label_shape,
    check_labels,
    check_number,
)
from acs_fast._util.dtypes import accumulable
from acs_fast._util.randomness import derived_seed
from acs_fast.objectives.model_state import logits_of, without_ddp

if TYPE_CHECKING:
    from typing_extensions import Self


class Attack:
    """Base of attacks: a subclass defines `__call__` and draws its random numbers from `generator`.

    Args:
        seed: of the random numbers; by default torch's initial seed.

    Attributes:
        lengths: names of the attributes that `scaled` multiplies, such as the radius and the step size.
        remembers: whether it keeps something of each sample from one visit to the next.
    """

    lengths: ClassVar[tuple[str, ...]] = ()
    remembers: ClassVar[bool] = False

    def __init__(self, seed: int | None = None) -> None:
        self._seed = seed
        self._generators: dict[str, torch.Generator] = {}

    def __call__(
        self, model: nn.Module, x: Tensor, y: Tensor, *, start: Tensor | None = None, index: Tensor | None = None
    ) -> Tensor:
        """Adversarial examples [B, ...] of x; arguments as in `Objective.perturb`, checked there."""
        raise NotImplementedError(f"{type(self).__name__} must define __call__(model, x, y, *, start, index)")

    def scaled(self, factor: float) -> Self:
        """The same attack at another size: `lengths` times a factor in [0, 1]; random numbers and memory are shared.

        Raises:
            TypeError: the attack names no `lengths`.
            ValueError: a factor outside [0, 1].
        """
        if not self.lengths:
            raise TypeError(f"attack must have a radius to be scaled; {type(self).__name__} names no lengths")
        check_number("factor", factor, low=0.0, high=1.0)
        other = copy(self)
        for name in self.lengths:
            setattr(other, name, factor * getattr(self, name))
        return other

    def generator(self, device: torch.device) -> torch.Generator:
        """The attack's own random numbers, seeded at first use by `seed` or torch's initial seed."""
        if str(device) not in self._generators:
            seed = torch.initial_seed() if self._seed is None else self._seed
            # derived: not the stream of torch.rand itself
            self._generators[str(device)] = torch.Generator(device).manual_seed(derived_seed("attack", seed))
        return self._generators[str(device)]

    @contextmanager
    def seeded(self, seed: int) -> Iterator[None]:
        """Inside, draw from generators of this seed; afterwards the attack's own go on where they were."""
        kept = self._seed, self._generators
        self._seed, self._generators = seed, {}
        try:
            yield
        finally:
            self._seed, self._generators = kept

    def state_dict(self) -> dict[str, Any]:
        """The random state, for bit-identical resumption."""
        return {name: generator.get_state() for name, generator in self._generators.items()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from what `state_dict` returned."""
        for name, value in state.items():
            self.generator(torch.device(name)).set_state(value.cpu())

    def __repr__(self) -> str:
        return _described(self, vars(self))


class Loss:
    """Base of losses: a subclass defines `value`, and `views` if it looks at more than the adversarial example.

    `residuals` is autograd at the logits, or a closed form in a class that declares it by ``class Own(Loss,
    closed_form=True)``. The declaration is not inherited: a subclass has autograd again, unless it declares its own.
    Residuals without it are a TypeError.
    """

    def __init_subclass__(cls, closed_form: bool = False, **options: Any) -> None:
        super().__init_subclass__(**options)
        if not closed_form and "residuals" in vars(cls):
            raise TypeError(f"{cls.__name__}.residuals must be declared: class {cls.__name__}(..., closed_form=True)")
        if not closed_form:
            cls.residuals = Loss.residuals  # type: ignore[method-assign]

    def views(self, x: Tensor, x_adv: Tensor) -> tuple[Tensor, ...]:
        """The R batches of images for the model, in the order of the logits."""
        return (x_adv,)

    def value(self, logits: tuple[Tensor, ...], y: Tensor) -> Tensor:
        """[B] losses from R tensors of logits [B, C]."""
        raise NotImplementedError(f"{type(self).__name__} must define value(logits, y)")

    def residuals(self, logits: tuple[Tensor, ...], y: Tensor) -> Tensor:
        """[B, R, C] gradients of each sample's loss at its logits, in float32 or wider."""
        with torch.enable_grad():
            leaves = tuple(accumulable(z).detach().requires_grad_() for z in logits)
            gradients = torch.autograd.grad(self.value(leaves, y).sum(), leaves, materialize_grads=True)
        return torch.stack(gradients, 1)

    def __repr__(self) -> str:
        return _described(self, vars(self))


class Objective:
    """An attack and a loss, composed.

    Args:
        attack: makes the adversarial examples.
        loss: is taken of them.

    Example:
        >>> from acs_fast.objectives import PGD
        >>> class Certainty(Loss):
        ...     def value(self, logits, y):
        ...         return logits[0].logsumexp(-1)
        >>> objective, model, x = Objective(PGD(0.1, 0.02, 5).attack, Certainty()), nn.Linear(4, 3), torch.rand(2, 4)
        >>> objective.perturb(model, x, torch.tensor([0, 2])).shape
        torch.Size([2, 4])
    """

    attack: Attack

    def __init__(self, attack: Attack, loss: Loss) -> None:
        self.attack = attack
        self.loss = loss
        self._pixels = UnitIntervalCheck()

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        for name in ("attack", "loss_from_logits", "views", "residuals"):
            if callable(vars(cls).get(name)):
                raise TypeError(
                    f"{cls.__name__}.{name} would be ignored, since an objective is composed of an attack and a loss: "
                    "override perturb or per_sample_loss, or pass an Attack and a Loss to Objective"
                )

    @property
    def closed_form(self) -> bool:
        """Whether `loss` alone tells a sample's cost; an overridden `per_sample_loss` must be run to know."""
        return type(self).per_sample_loss is Objective.per_sample_loss

    @property
    def remembers(self) -> bool:
        """Whether the attack keeps something of each sample from one visit to the next."""
        return self.attack.remembers

    def perturb(
        self, model: nn.Module, x: Tensor, y: Tensor, *, start: Tensor | None = None, index: Tensor | None = None
    ) -> Tensor:
        """Adversarial examples of x within [0, 1] and, unless the attack has none, its ball.

        Leaves the model's flags, statistics and gradients and the global random state as they were.

        Args:
            model: takes pixels of [0, 1] (normalisation is part of it) and returns logits [B, C].
            x: [B, ...] floating, in [0, 1]. An array, here and below, comes to the model's device and dtype.
            y: [B] labels.
            start: [B, ...] images to begin the attack at, projected to the ball; NaN where it is to begin as usual.
            index: [B] sample numbers, for attacks with a memory; the others ignore it.

        Raises:
            ValueError: x leaves [0, 1], y is not one label per image, or start has another shape than x. On a CUDA
                device, which is not waited for, the first may come a few calls late (`UnitIntervalCheck`).
            TypeError: x or start is no floating tensor of 16 bits or more.
        """
        x, y, start, index = as_tensors(model, x=x, y=y, start=start, index=index)
        if check_images("x", x).dtype not in FLOATING:
            raise TypeError(f"x must be a floating tensor with pixels in [0, 1]; got {x.dtype}: divide bytes by 255")
        self._pixels("x", x)
        y = check_label_shape(y, len(x))
        if start is not None and check_floating("start", start).shape != x.shape:
            raise ValueError(f"start must have the shape of x, {list(x.shape)}; got {list(start.shape)}")
        return self.attack(without_ddp(model), x, y, start=start, index=index)

    def per_sample_loss(self, model: nn.Module, x: Tensor, x_adv: Tensor, y: Tensor) -> Tensor:
        """[B] losses, differentiable with respect to the model's parameters."""
        x, x_adv, y = as_tensors(model, x=x, x_adv=x_adv, y=y)
        y = check_label_shape(y, len(check_images("x", x)))
        check_images("x_adv", x_adv)
        logits = tuple(accumulable(logits_of(model, view)) for view in self.loss.views(x, x_adv))
        if y.device.type == "cpu":  # elsewhere the check would wait for the device
            check_labels(y, logits[0].shape[1], len(x))
        return self.loss.value(logits, y)

    def scaled(self, factor: float) -> Self:
        """The same objective with `attack.scaled(factor)`."""
        other = copy(self)
        other.attack = self.attack.scaled(factor)
        return other

    @contextmanager
    def seeded(self, seed: int) -> Iterator[None]:
        """Inside, the attack draws from generators of this seed; afterwards its own go on where they were."""
        with self.attack.seeded(seed):
            yield

    def state_dict(self) -> dict[str, Any]:
        """The state of the attack, for bit-identical resumption."""
        return self.attack.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from what `state_dict` returned."""
        self.attack.load_state_dict(state)

    def __repr__(self) -> str:
        own = {name: value for name, value in vars(self).items() if name not in ("attack", "loss")}
        return _described(self, {**vars(self.attack), **vars(self.loss), **own})


class ObjectiveWrapper(Objective):
    """Base of objectives with another one's loss.

    Args:
        attack: in place of the other objective's.
        objective: whose loss is taken.
    """

    def __init__(self, attack: Attack, objective: Objective) -> None:
        super().__init__(attack, objective.loss)
        self._objective = objective

    @property
    def closed_form(self) -> bool:
        """As the objective says."""
        return self._objective.closed_form

    @property
    def remembers(self) -> bool:
        """Whether one of both attacks does."""
        return self.attack.remembers or self._objective.remembers

    def per_sample_loss(self, model: nn.Module, x: Tensor, x_adv: Tensor, y: Tensor) -> Tensor:
        """[B] losses of the objective."""
        return self._objective.per_sample_loss(model, x, x_adv, y)

    def scaled(self, factor: float) -> Self:
        """The same objective with the attack scaled, and with it the loss."""
        other = super().scaled(factor)
        other._objective = self._objective.scaled(factor)
        return other


def given(start: Tensor | None, own: Tensor) -> Tensor:
    """[B, ...] starts of an attack: the caller's, with the attack's own in place of None and NaN."""
    return own if start is None else torch.where(start.isnan(), own, start)


def _described(thing: Any, settings: dict[str, Any]) -> str:
    public = ", ".join(f"{k}={v!r}" for k, v in settings.items() if not k.startswith("_"))
    return f"{type(thing).__name__}({public})"
