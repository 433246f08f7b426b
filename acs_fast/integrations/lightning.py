"""Lightning: a data module with the coreset's training loader."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import lightning
from torch.utils.data import DataLoader

from acs_fast.adversarial_coreset import AdversarialCoreset


class CoresetData(lightning.LightningDataModule):
    """Training data of a `LightningModule`: selects when due, gives each process its share, resumes.

    The module's `training_step` gets batches (x, y, index) and weighs its losses by ``coreset.weights(index)``; the
    coreset is ``self.trainer.datamodule.coreset``. Train with ``Trainer(max_epochs=len(coreset.epochs),
    reload_dataloaders_every_n_epochs=1)``: Lightning counts the epochs that train. The coreset's state is part of
    Lightning's checkpoints.

    Args:
        make: called as make(num_replicas, rank) -> `AdversarialCoreset` once the trainer knows its processes.
        val_dataloaders: one or more loaders for validation, or None.
        loader: arguments of the training `DataLoader`, such as batch_size and num_workers.

    Raises:
        ValueError: when fitting starts, a trainer that does not reload its loaders, or more epochs than the schedule
            has.

    Example:
        >>> import torch, acs_fast as acs
        >>> from torch.utils.data import TensorDataset
        >>> net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(4, 2))
        >>> train = TensorDataset(torch.rand(8, 1, 2, 2), torch.arange(8) % 2)
        >>> data = CoresetData(
        ...     lambda num_replicas, rank: acs.AdversarialCoreset(
        ...         net, train, acs.FGSM(0.1), epochs=4, num_replicas=num_replicas, rank=rank
        ...     ),
        ...     batch_size=4,
        ... )
    """

    def __init__(
        self, make: Callable[[int, int], AdversarialCoreset], *, val_dataloaders: Any = None, **loader: Any
    ) -> None:
        super().__init__()
        self._make, self._loader, self._val_dataloaders = make, loader, val_dataloaders
        self._coreset: AdversarialCoreset | None = None

    @property
    def coreset(self) -> AdversarialCoreset:
        """The coreset. Raises RuntimeError before the trainer has called `setup`."""
        if self._coreset is None:
            raise RuntimeError("coreset is made when the trainer calls setup(); it has not yet")
        return self._coreset

    def setup(self, stage: str) -> None:
        """Make the coreset, and check the trainer's settings against it."""
        trainer: Any = self.trainer
        if self._coreset is None:
            self._coreset = self._make(trainer.world_size, trainer.global_rank)
        if stage != "fit":
            return
        if trainer.reload_dataloaders_every_n_epochs != 1:
            raise ValueError(
                "trainer must reload its loaders every epoch, since their lengths change: "
                "Trainer(reload_dataloaders_every_n_epochs=1)"
            )
        epochs = len(self.coreset.epochs)
        if not 0 <= (trainer.max_epochs if trainer.max_epochs is not None else -1) <= epochs:
            raise ValueError(
                f"trainer must have max_epochs of at most {epochs}, the epochs of the schedule that train; got "
                f"{trainer.max_epochs}"
            )

    def train_dataloader(self) -> DataLoader:
        """Begin the trainer's current epoch, and give it its loader."""
        trainer: Any = self.trainer
        self.coreset.sampler.set_epoch(trainer.current_epoch)
        return DataLoader(self.coreset.dataset, sampler=self.coreset.sampler, **self._loader)

    def val_dataloader(self) -> Any:
        """The given loaders."""
        return [] if self._val_dataloaders is None else self._val_dataloaders

    def state_dict(self) -> dict[str, Any]:
        """The coreset's state, for Lightning's checkpoints."""
        return self.coreset.state_dict()

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from a checkpoint."""
        self.coreset.load_state_dict(state_dict)
