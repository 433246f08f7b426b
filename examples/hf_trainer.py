"""Hugging Face datasets and Trainer: keep the sample numbers, and give the Trainer the coreset's loader."""

import tempfile

import datasets
import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.utils.data import DataLoader
from transformers import Trainer, TrainingArguments
from transformers.modeling_outputs import ImageClassifierOutput

import acs_fast as acs


class Classifier(nn.Module):
    """A model of the form that the Trainer expects."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(1, 16, 3), nn.ReLU(), nn.Flatten())
        self.head = nn.Linear(16 * 36, 10)

    def forward(self, pixel_values):
        return ImageClassifierOutput(logits=self.head(self.body(pixel_values)))


class CoresetLoader(DataLoader):
    """A loader that passes on the Trainer's epochs: with it the coreset selects when due."""

    def set_epoch(self, epoch: int) -> None:
        self.sampler.set_epoch(epoch)


class CoresetTrainer(Trainer):
    """A Trainer that trains on the coreset."""

    def __init__(self, coreset: acs.AdversarialCoreset, **options) -> None:
        super().__init__(**options)
        self.coreset = coreset

    def get_train_dataloader(self):
        return CoresetLoader(self.coreset.dataset, batch_size=64, sampler=self.coreset.sampler)

    def compute_loss(self, model, inputs, return_outputs=False, num_items_in_batch=None):
        x, y, index = inputs["pixel_values"], inputs["label"], inputs["index"]
        x_adv = self.coreset.objective.perturb(model, x, y)
        losses = self.coreset.objective.per_sample_loss(model, x, x_adv, y)
        return acs.weighted_mean(losses, self.coreset.weights(index))


def main() -> None:
    torch.manual_seed(0)
    digits = load_digits()
    images = (digits.images[:600, None] / 16.0).astype("float32")
    data = datasets.Dataset.from_dict({"pixel_values": images, "label": digits.target[:600]}).with_format("torch")
    model, objective = Classifier(), acs.PGD(eps=0.1, alpha=0.025, steps=5, seed=0)
    coreset = acs.AdversarialCoreset(model, data, objective, "craig", 0.5, epochs=6, period=2)
    with tempfile.TemporaryDirectory() as folder:
        arguments = TrainingArguments(
            folder, num_train_epochs=len(coreset.epochs), learning_rate=0.05, lr_scheduler_type="constant",
            remove_unused_columns=False, report_to=[], save_strategy="no", disable_tqdm=True, use_cpu=True,
        )  # fmt: skip
        trainer = CoresetTrainer(coreset, model=model, args=arguments, train_dataset=data)
        trainer.train()
    print(f"{trainer.state.global_step} steps, as many as the schedule's {coreset.total_steps(64)}")
    for selection in coreset.history:
        print(f"epoch {selection['epoch']}: gradient error {selection['relative_gradient_error']:.3f}")


if __name__ == "__main__":
    main()
