"""Attacks and objectives from elsewhere, taken in as objectives."""

from __future__ import annotations

import inspect
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from acs_fast._util.checks import as_tensors
from acs_fast._util.randomness import preserved_random_state
from acs_fast._util.settings import described, load_state, state_of
from acs_fast.objectives.base import Attack, Loss, Objective, ObjectiveWrapper
from acs_fast.objectives.cross_entropy import Vanilla
from acs_fast.objectives.model_state import untouched

logger = logging.getLogger("acs_fast")

FAR = 0.5  # outside [0, 1]: more than noise that is not clipped, less than normalised images


class CallableAttack(Attack):
    """An attack in the form of torchattacks; see `WithAttack`."""

    def __init__(self, attack: Callable[[Tensor, Tensor], Tensor], seed: int | None = None) -> None:
        super().__init__(seed)
        if not callable(attack):
            raise TypeError(f"attack must be callable as attack(x, y); got {type(attack).__name__}")
        self._attack, self._calls = attack, 0

    def __call__(
        self, model: nn.Module, x: Tensor, y: Tensor, *, start: Tensor | None = None, index: Tensor | None = None
    ) -> Tensor:
        if start is not None:
            raise TypeError("start needs an attack of acs_fast; a callable attack(x, y) begins where it likes")
        seed = int(torch.randint(1 << 62, (), generator=self.generator(torch.device("cpu"))))
        with untouched(model, keep_buffers=True), preserved_random_state(), torch.enable_grad(), self._watched(model):
            torch.manual_seed(seed)
            x_adv = as_tensors(model, x_adv=self._attack(x, y))[0]
        if not isinstance(x_adv, Tensor) or x_adv.shape != x.shape:
            got = list(x_adv.shape) if isinstance(x_adv, Tensor) else type(x_adv).__name__
            raise ValueError(f"attack must return images of shape {list(x.shape)}; got {got}")
        if not bool(((x_adv >= 0) & (x_adv <= 1)).all()):
            raise ValueError("attack must return pixels in [0, 1]; set it up for unnormalised inputs")
        return x_adv.detach()

    @contextmanager
    def _watched(self, model: nn.Module) -> Iterator[None]:
        """Inside, on the first call: warn where the attack gives the model images that it has normalised itself."""
        self._calls += 1
        if self._calls > 1:
            yield
            return
        seen: list[tuple[Tensor, Tensor]] = []
        hook = model.register_forward_pre_hook(lambda _, given: seen.append(given[0].detach().aminmax()))
        try:
            yield
        finally:
            hook.remove()
        low, high = min((float(s[0]) for s in seen), default=0.0), max((float(s[1]) for s in seen), default=1.0)
        if low < -FAR or high > 1.0 + FAR:
            logger.warning(
                "the attack calls the model with values in [%.3g, %.3g], as if it normalised images; the library "
                "calls it with pixels in [0, 1]: make normalisation a part of the model, its first layer",
                low,
                high,
            )


class WithAttack(ObjectiveWrapper):
    """Another objective's loss with an attack from elsewhere.

    Args:
        attack: callable (x, y) -> x_adv, the form of torchattacks. It runs with the model's state and the global
            random state preserved; its random numbers come from this objective's own generator.
        objective: gives the loss; by default cross-entropy at the adversarial example.
        seed: of the attack's random numbers; by default torch's initial seed.

    Raises:
        TypeError: the attack is not callable, or `perturb` is given a start.
        ValueError: from `perturb`, when the attack's result has another shape than x or leaves [0, 1].
    """

    def __init__(
        self,
        attack: Callable[[Tensor, Tensor], Tensor],
        objective: Any = None,
        *,
        seed: int | None = None,
    ) -> None:
        super().__init__(CallableAttack(attack, seed), Vanilla() if objective is None else as_objective(objective))


class ForeignObjective(Objective):
    """An object with `perturb` and `per_sample_loss` of its own, called as it is.

    Args:
        inner: `perturb(model, x, y)`, which may also take `start` and `index`, and `per_sample_loss(model, x, x_adv,
            y)`; `state_dict` and `load_state_dict` are used where it has them.
    """

    def __init__(self, inner: Any) -> None:
        super().__init__(Attack(), Loss())
        self.inner = inner
        parameters = inspect.signature(inner.perturb).parameters.values()
        anything = any(p.kind is p.VAR_KEYWORD for p in parameters)
        self._understood = {name for name in ("start", "index") if anything or name in {p.name for p in parameters}}

    def perturb(
        self, model: nn.Module, x: Tensor, y: Tensor, *, start: Tensor | None = None, index: Tensor | None = None
    ) -> Tensor:
        """Attack with the inner object; `start` and `index` are passed on if it takes them.

        Raises:
            TypeError: a start for an object that takes none.
        """
        if start is not None and "start" not in self._understood:
            raise TypeError(f"start needs an objective whose perturb takes it; got {type(self.inner).__name__}")
        options = {"start": start, "index": index}
        options = {name: value for name, value in options.items() if value is not None and name in self._understood}
        x_adv: Tensor = self.inner.perturb(model, x, y, **options)
        return x_adv

    def per_sample_loss(self, model: nn.Module, x: Tensor, x_adv: Tensor, y: Tensor) -> Tensor:
        """[B] losses of the inner object."""
        losses: Tensor = self.inner.per_sample_loss(model, x, x_adv, y)
        return losses

    def state_dict(self) -> dict[str, Any]:
        """The inner object's state, or an empty one."""
        return dict(state_of(self.inner))

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from what `state_dict` returned."""
        load_state(self.inner, state)

    def __repr__(self) -> str:
        return described(self.inner)


def as_objective(objective: Any) -> Objective:
    """An objective of whatever may stand for one.

    Args:
        objective: an `Objective`; an object with `perturb(model, x, y)` and `per_sample_loss(model, x, x_adv, y)`; or
            a callable attack (x, y) -> x_adv, with cross-entropy at its result.

    Raises:
        TypeError: anything else.

    Example:
        >>> as_objective(lambda x, y: x).closed_form
        True
    """
    if isinstance(objective, Objective):
        return objective
    if all(callable(getattr(objective, name, None)) for name in ("perturb", "per_sample_loss")):
        return ForeignObjective(objective)
    if callable(objective):
        return WithAttack(objective)
    raise TypeError(
        "objective must have perturb(model, x, y) and per_sample_loss(model, x, x_adv, y), or be a callable "
        f"attack(x, y); got {type(objective).__name__}"
    )
