"""Lightning: a data module makes the coreset, the module weighs its losses."""

import lightning
import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import acs_fast as acs
from acs_fast.integrations.lightning import CoresetData


class Robust(lightning.LightningModule):
    """Adversarial training of a small network."""

    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Conv2d(1, 16, 3), nn.ReLU(), nn.Flatten(), nn.Linear(16 * 36, 10))
        self.objective = acs.PGD(eps=0.1, alpha=0.025, steps=5, seed=0)

    def training_step(self, batch, _):
        x, y, index = batch
        x_adv = self.objective.perturb(self.net, x, y)
        losses = self.objective.per_sample_loss(self.net, x, x_adv, y)
        return acs.weighted_mean(losses, self.trainer.datamodule.coreset.weights(index))

    def validation_step(self, batch, _):
        x, y = batch
        accuracy = (self.net(x).argmax(1) == y).float().mean()
        print(f"epoch {self.trainer.datamodule.coreset.epochs[self.current_epoch]}: validation accuracy {accuracy:.3f}")

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), 0.05, momentum=0.9)


def main() -> None:
    lightning.seed_everything(0)
    digits = load_digits()
    x, y = torch.tensor(digits.images[:, None] / 16.0).float(), torch.tensor(digits.target)
    train, validation = TensorDataset(x[:600], y[:600]), TensorDataset(x[600:800], y[600:800])
    module, schedule = Robust(), acs.Schedule.published(epochs=6, fraction=0.5, period=2)

    def make(num_replicas, rank):
        return acs.AdversarialCoreset(
            module.net, train, module.objective, "craig", 0.5, schedule=schedule, num_replicas=num_replicas, rank=rank
        )

    data = CoresetData(make, val_dataloaders=DataLoader(validation, batch_size=200), batch_size=64)
    trainer = lightning.Trainer(
        max_epochs=len(schedule.epochs), reload_dataloaders_every_n_epochs=1, accelerator="cpu", logger=False,
        enable_checkpointing=False, enable_progress_bar=False, num_sanity_val_steps=0,
    )  # fmt: skip
    trainer.fit(module, datamodule=data)


if __name__ == "__main__":
    main()
