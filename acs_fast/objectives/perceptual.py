"""Perceptual adversarial training: attacks bounded by the distance of a network's activations."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from acs_fast._util.checks import as_tensors, check_count, check_number
from acs_fast._util.dtypes import accumulable
from acs_fast.objectives.ascent import input_gradient
from acs_fast.objectives.balls import per_image, unfilled
from acs_fast.objectives.base import Attack, Objective, given
from acs_fast.objectives.cross_entropy import CrossEntropy
from acs_fast.objectives.model_state import logits_of, untouched, unwrapped

Distance = Callable[[Tensor, Tensor], Tensor]

START_NOISE = 0.01  # standard deviation of the start, in pixels: at x itself the distance has no slope
PROBE = 0.1  # length of the difference by which a step is measured
CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)


class PerceptualDistance:
    r"""The distance between the normalised activations of two images in a network.

    .. math:: d(x, x') = \|\phi(x) - \phi(x')\|_2, \qquad \phi(x) = \Big(\frac{a_l(x)}{\sqrt{|S_l|}}\Big)_l

    where a_l are the activations of layer l, of length 1 over the channels at each of its positions S_l. This is LPIPS
    with all channels weighted alike; for learned weights pass a callable of the packages `lpips` or `torchmetrics` to
    `PerceptualAT` in its place.

    Args:
        network: any module that takes the images.
        layers: dotted names of its modules with output [B, C, ...]; by default the last convolution at each
            resolution.

    Raises:
        ValueError: a layer that does not exist or is not run, or a network without convolutions.
        TypeError: network is no module.

    Example:
        >>> d = PerceptualDistance(nn.Conv2d(3, 4, 3))
        >>> d(torch.rand(2, 3, 8, 8), torch.rand(2, 3, 8, 8)).shape
        torch.Size([2])

    Source: Zhang et al., "The Unreasonable Effectiveness of Deep Features as a Perceptual Metric", CVPR 2018;
    Laidlaw, Singla, Feizi, "Perceptual Adversarial Robustness", ICLR 2021.
    """

    def __init__(self, network: nn.Module, layers: Sequence[str] | None = None) -> None:
        if not isinstance(network, nn.Module):
            raise TypeError(f"network must be an nn.Module; got {type(network).__name__}")
        self.network = unwrapped(network)
        self._layers = None if layers is None else {name: _module(self.network, name) for name in layers}

    def __call__(self, x: Tensor, other: Tensor) -> Tensor:
        """[B] distances, differentiable."""
        return _between(self.outputs(x)[1], self.outputs(other)[1])

    def outputs(self, x: Tensor) -> tuple[Any, Tensor]:
        """The network's output for x, and phi(x) [B, P] of the same pass."""
        found: dict[Any, Tensor] = {}
        with ExitStack() as stack:
            for key, layer in self._watched():
                stack.callback(layer.register_forward_hook(_keeping(found, key)).remove)
            out = self.network(*as_tensors(self.network, x=x))
        if not found or (self._layers is not None and len(found) < len(self._layers)):
            missing = "a convolution" if self._layers is None else ", ".join(self._layers.keys() - found.keys())
            raise ValueError(f"layers must name modules that the network runs; it did not run {missing}")
        return out, torch.cat([_normalised(a) for a in found.values()], 1)

    def _watched(self) -> list[tuple[str | None, nn.Module]]:
        if self._layers is not None:
            return list(self._layers.items())
        return [(None, module) for module in self.network.modules() if isinstance(module, CONVOLUTIONS)]

    def __repr__(self) -> str:
        layers = "" if self._layers is None else f", layers={list(self._layers)!r}"
        return f"PerceptualDistance({type(self.network).__name__}{layers})"


class PerceptualAttack(Attack):
    """The fast Lagrangian perceptual attack; arguments as in `PerceptualAT`."""

    lengths = ("bound",)

    def __init__(self, bound: float, steps: int, distance: Distance | None, *, seed: int | None) -> None:
        super().__init__(seed)
        self.bound = check_number("bound", bound, low=0.0)
        self.steps = check_count("steps", steps, low=1)
        if distance is not None and not callable(distance):
            raise TypeError(f"distance must be callable as distance(x, x_adv); got {type(distance).__name__}")
        self._distance = distance

    def __call__(
        self, model: nn.Module, x: Tensor, y: Tensor, *, start: Tensor | None = None, index: Tensor | None = None
    ) -> Tensor:
        noise = unfilled(x).normal_(0.0, START_NOISE, generator=self.generator(x.device))
        with untouched(model), _frozen(self._distance), torch.inference_mode(False), torch.no_grad():
            x = x.clone() if x.is_inference() else x
            moved = given(start, x + noise).clamp(0.0, 1.0)
            space = _OwnActivations(model, x) if self._distance is None else _Given(model, x, self._distance)
            for t in range(1, self.steps + 1):
                weight, length = 10.0 ** (t / self.steps), self.bound * 0.1 ** (t / self.steps)
                direction = _unit(input_gradient(partial(self._climbed, space, y, weight), moved))
                speed = space.between(moved, moved + PROBE * direction) / PROBE
                moved = (moved + per_image(_far(length, speed, x.dtype), x) * direction).clamp_(0.0, 1.0)
        return moved

    def _climbed(self, space: _OwnActivations | _Given, y: Tensor, weight: float, moved: Tensor) -> Tensor:
        logits, distance = space.evaluate(moved)
        best, right = (logits.gather(1, k[:, None])[:, 0] for k in (_runner_up(logits, y), y))
        return (best - right - weight * (distance - self.bound).clamp_min(0.0)).sum()


class PerceptualAT(Objective):
    r"""Cross-entropy at the result of the fast Lagrangian perceptual attack.

    The attack climbs ``max_{k != y} z_k - z_y - 10^{t/T} max(0, d(x', x) - bound)`` in T steps; step t goes
    ``bound 0.1^{t/T}`` far, measured by d itself. The distance is held near the bound by its growing weight and not by
    a projection, so it may end a little above. No pixel leaves [0, 1]; otherwise there is no ball.

    Args:
        bound: radius in units of the distance, >= 0.
        steps: number of steps T, >= 1. Each takes one pass with gradient and one without.
        distance: callable (x [B, ...], x' [B, ...]) -> [B], differentiable and symmetric, such as a
            `PerceptualDistance` of another network, an `lpips.LPIPS(...)` module (with ``normalize=True`` bound to it,
            since images are in [0, 1]), or a torchmetrics functional without reduction. By default the
            `PerceptualDistance` of the model that is attacked ("self-bounded").
        label_smoothing: see `CrossEntropy`.
        seed: of the random starts; by default torch's initial seed.

    Raises:
        ValueError: bound < 0, steps < 1, or label_smoothing outside [0, 1]; from `perturb`, a distance that is not one
            number an image.
        TypeError: the distance is not callable.

    Source: Laidlaw, Singla, Feizi, "Perceptual Adversarial Robustness: Defense Against Unseen Threat Models", ICLR
    2021, Fast-LPA.
    """

    def __init__(
        self,
        bound: float = 0.5,
        steps: int = 10,
        distance: Distance | None = None,
        *,
        label_smoothing: float = 0.0,
        seed: int | None = None,
    ) -> None:
        super().__init__(PerceptualAttack(bound, steps, distance, seed=seed), CrossEntropy(label_smoothing))


class _OwnActivations:
    """The attacked model's own distance: one pass gives logits and activations."""

    def __init__(self, model: nn.Module, x: Tensor) -> None:
        self._measure = PerceptualDistance(model)
        self._origin = self._measure.outputs(x)[1]
        self._last: Tensor = self._origin

    def evaluate(self, moved: Tensor) -> tuple[Tensor, Tensor]:
        """Logits [B, C] of `moved`, and its distances [B] from x."""
        phi: list[Tensor] = []

        def network(images: Tensor) -> Any:
            out, activations = self._measure.outputs(images)
            phi.append(activations)
            return out

        logits = accumulable(logits_of(network, moved))
        self._last = phi[0].detach()
        return logits, _between(phi[0], self._origin)

    def between(self, a: Tensor, b: Tensor) -> Tensor:
        """[B] distances from `a`, the latest point evaluated."""
        return _between(self._last, self._measure.outputs(b)[1])


class _Given:
    """A distance of the user's, called as `_OwnActivations`."""

    def __init__(self, model: nn.Module, x: Tensor, distance: Distance) -> None:
        self._model, self._x, self._distance = model, x, distance

    def evaluate(self, moved: Tensor) -> tuple[Tensor, Tensor]:
        return accumulable(logits_of(self._model, moved)), self.between(self._x, moved)

    def between(self, a: Tensor, b: Tensor) -> Tensor:
        found = self._distance(a, b)
        if not isinstance(found, Tensor) or found.numel() != len(a) or (found.dim() == 0):
            got = f"shape {list(found.shape)}" if isinstance(found, Tensor) else type(found).__name__
            raise ValueError(f"distance must return one number an image, [{len(a)}]; got {got}")
        return accumulable(found.flatten())


@contextmanager
def _frozen(distance: Distance | None) -> Iterator[None]:
    """The distance's network, if it has one, in eval mode and without gradients of its weights."""
    network = distance.network if isinstance(distance, PerceptualDistance) else distance
    with ExitStack() as stack:
        if isinstance(network, nn.Module):
            stack.enter_context(untouched(network))
        yield


def _runner_up(scores: Tensor, y: Tensor) -> Tensor:
    """[B] the class of the highest score [B, C] other than y. Raises ValueError where there is only one class."""
    if scores.shape[1] < 2:
        raise ValueError(f"logits must have at least two classes for a margin; got {scores.shape[1]}")
    right = torch.zeros_like(scores, dtype=torch.bool).scatter(1, y[:, None], True)
    return scores.detach().masked_fill(right, -torch.inf).argmax(1)


def _module(network: nn.Module, name: str) -> nn.Module:
    try:
        return network.get_submodule(name)
    except AttributeError:
        names = ", ".join(n for n, _ in network.named_modules() if n)
        raise ValueError(f"layers must name modules of the network; got {name!r}. It has: {names}") from None


def _keeping(found: dict[Any, Tensor], key: str | None) -> Callable[[nn.Module, Any, Tensor], None]:
    """A forward hook to keep the last output, by name or else by resolution."""

    def hook(module: nn.Module, _: Any, output: Tensor) -> None:
        found[tuple(output.shape[2:]) if key is None else key] = output

    return hook


def _normalised(activations: Tensor) -> Tensor:
    """[B, P]: length 1 over the channels of [B, C, ...], divided by the root of the number of positions."""
    a = accumulable(activations)
    norms: Tensor = torch.linalg.vector_norm(a, dim=1, keepdim=True).clamp_min(torch.finfo(a.dtype).tiny)
    positions = max(1, a[0, 0].numel())
    normalised: Tensor = a / norms / positions**0.5
    return normalised.flatten(1)


def _far(length: float, speed: Tensor, dtype: torch.dtype) -> Tensor:
    """[B] how far to go for a length, a number in the speed's dtype and in this one also where there is no speed."""
    far = length / speed.clamp_min(torch.finfo(speed.dtype).tiny)
    return far.clamp_max(min(torch.finfo(speed.dtype).max, torch.finfo(dtype).max))


def _between(phi: Tensor, other: Tensor) -> Tensor:
    distances: Tensor = torch.linalg.vector_norm(phi - other, dim=1)
    return distances


def _unit(gradient: Tensor) -> Tensor:
    """Each image's gradient at length 1, or 0 where it is 0."""
    flat = gradient.flatten(1)
    flat = flat / flat.abs().amax(1).clamp_min(torch.finfo(flat.dtype).tiny)[:, None]  # no square underflows
    norms: Tensor = torch.linalg.vector_norm(flat, dim=1).clamp_min(torch.finfo(flat.dtype).tiny)
    return (flat / norms[:, None]).view_as(gradient)
