"""Vectors of the user's in the place of gradients."""

from __future__ import annotations

from typing import Any

from acs_fast._util.checks import check_finite, check_floating, check_integers
from acs_fast._util.settings import digest
from acs_fast.gradients.factored import LastLayerGradients
from acs_fast.gradients.source import Extraction, GradientSource


class Vectors(GradientSource):
    """Gradient source: given vectors, such as pixels or the embeddings of a pretrained network.

    They need no attack and no pass of the model, and stay as they are for the whole training. The gradient error in a
    coreset's stats is then that of their weighted sum.

    Args:
        x: [N, ...] floating point, a vector for each sample in the order of the training data.
        labels: [N] integers.

    Raises:
        TypeError: x is not of floating point, or labels are no integers.
        ValueError: no samples, more or fewer labels than vectors, or a vector with NaN or infinity.

    Example:
        >>> images, labels = torch.rand(8, 1, 2, 2), torch.arange(8) % 2
        >>> Vectors(images, labels)(seed=0).gradients.dense().shape
        torch.Size([8, 4])
    """

    def __init__(self, x: Any, labels: Any) -> None:
        given, numbers = check_floating("x", x).detach(), check_integers("labels", labels).cpu()
        if given.dim() < 2 or not len(given) or len(numbers) != len(given):
            raise ValueError(
                f"x must be a vector for each sample, [N, ...], with as many labels; got shape {list(given.shape)} and "
                f"{len(numbers)} labels"
            )
        check_finite("x", given)
        self._taken = Extraction(LastLayerGradients.from_vectors(given.flatten(1)), numbers, constant=True)
        self._fingerprint = digest([given, numbers])[:12]

    def __call__(self, seed: int) -> Extraction:
        """The vectors, whatever the seed."""
        return self._taken

    def __len__(self) -> int:
        return len(self._taken.gradients)

    def __repr__(self) -> str:
        return f"Vectors({list(self._taken.gradients.features.shape)}, {self._fingerprint})"
