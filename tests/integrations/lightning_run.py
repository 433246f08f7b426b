"""A plain LightningModule on `CoresetData`; also a script for torchrun: `lightning_run.py FOLDER`."""

from __future__ import annotations

import sys
from pathlib import Path

import lightning
import torch
import torch.nn.functional as F
from torch.utils.data import DataLoader, TensorDataset

import acs_fast as acs
from acs_fast.integrations.lightning import CoresetData
from tests.helpers import images

N = 60


class Module(lightning.LightningModule):
    """Adversarial training in the five lines of the documentation; notes what it sees."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(7)
        self.net = torch.nn.Sequential(
            torch.nn.Flatten(), torch.nn.Linear(64, 16), torch.nn.ReLU(), torch.nn.Linear(16, 5)
        )
        self.seen, self.validated = {}, []

    def forward(self, x):
        return self.net(x)

    def training_step(self, batch, _):
        x, y, index = batch
        coreset = self.trainer.datamodule.coreset
        x_adv = coreset.objective.perturb(self.net, x, y)
        losses = coreset.objective.per_sample_loss(self.net, x, x_adv, y)
        self.seen.setdefault(self.current_epoch, []).extend(index.tolist())
        return acs.weighted_mean(losses, coreset.weights(index))

    def validation_step(self, batch, _):
        self.validated.append(self.current_epoch)
        self.log("loss", F.cross_entropy(self(batch[0]), batch[1]), sync_dist=True)

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), 0.05, momentum=0.9)


def data(module, **loader):
    def make(num_replicas, rank):
        return acs.AdversarialCoreset(
            module.net, TensorDataset(*images(N)), acs.PGD(0.1, 0.05, 2, seed=1), fraction=0.3, epochs=10, period=3,
            warm_start=0.4, num_replicas=num_replicas, rank=rank,
        )  # fmt: skip

    validation = DataLoader(TensorDataset(*images(20, seed=3)), batch_size=20)
    return CoresetData(make, val_dataloaders=validation, batch_size=16, **loader)


def trainer(folder, epochs=7, **options):
    quiet = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False, "accelerator": "cpu"}
    settings = {"max_epochs": epochs, "reload_dataloaders_every_n_epochs": 1, "devices": 1, **quiet, **options}
    return lightning.Trainer(default_root_dir=folder, **settings)


if __name__ == "__main__":
    module = Module()
    run = trainer(sys.argv[1], strategy="ddp", devices=2, enable_checkpointing=False)
    run.fit(module, datamodule=data(module))
    weights = [p.detach().clone() for p in module.parameters()]
    picks = run.datamodule.coreset.current.indices
    torch.save({"seen": module.seen, "weights": weights, "picks": picks}, Path(sys.argv[1]) / f"{run.global_rank}.pt")
