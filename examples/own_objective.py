"""An objective of one's own: MART (Wang et al., ICLR 2020), composed of the library's attack and a loss.

The loss names the images that pass through the model and its value; the gradients for the selection follow from these.
"""

import torch
import torch.nn.functional as F
from sklearn.datasets import load_digits
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import acs_fast as acs


class MARTLoss(acs.Loss):
    """Cross-entropy with a margin, and a divergence that weighs more where the clean sample is misclassified.

    -log q_y - log(1 - max_{k != y} q_k) + beta (1 - p_y) KL(p || q), with p and q the clean and adversarial softmax.
    """

    def __init__(self, beta: float) -> None:
        self.beta = beta

    def views(self, x, x_adv):
        return x, x_adv

    def value(self, logits, y):
        log_p, log_q = (z.log_softmax(-1) for z in logits)
        right = F.one_hot(y, log_q.shape[-1]).bool()
        runner_up = log_q.masked_fill(right, -torch.inf).amax(-1)
        wrong = 1.0 - log_p.exp()[right]
        divergence = (log_p.exp() * (log_p - log_q)).sum(-1)
        return -log_q[right] - torch.log1p(-runner_up.exp()) + self.beta * wrong * divergence


def main() -> None:
    torch.manual_seed(0)
    digits = load_digits()
    x, y = torch.tensor(digits.images[:600, None] / 16.0).float(), torch.tensor(digits.target[:600])
    model = nn.Sequential(nn.Conv2d(1, 16, 3), nn.ReLU(), nn.Flatten(), nn.Linear(16 * 36, 10))
    optimizer = torch.optim.SGD(model.parameters(), 0.05, momentum=0.9)

    objective = acs.Objective(acs.PGD(eps=0.1, alpha=0.025, steps=5, seed=0).attack, MARTLoss(beta=5.0))
    coreset = acs.AdversarialCoreset(model, TensorDataset(x, y), objective, "craig", 0.5, epochs=6, period=2)
    loader = DataLoader(coreset.dataset, batch_size=64, sampler=coreset.sampler)
    for epoch in coreset.epochs:
        coreset.step(epoch)
        for x, y, index in loader:
            x_adv = objective.perturb(model, x, y)
            losses = objective.per_sample_loss(model, x, x_adv, y)
            loss = acs.weighted_mean(losses, coreset.weights(index))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        print(f"epoch {epoch}: loss {loss:.3f}")


if __name__ == "__main__":
    main()
