"""The usual training loop of a VAE, to be compared with: a DataLoader, `.item()` after each step.

The network is the course's, 784-400-200-20-200-400-784, written as most examples write it.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import DataLoader

from vae_helpers.data import unpacked

Batches = DataLoader[tuple[Tensor, Tensor]]


def loaders(batch_size: int = 128) -> tuple[Batches, Batches]:
    """Training and test images as the examples load them, one by one."""
    from torchvision import datasets, transforms  # here, because it takes seconds to import

    root, to_tensor = unpacked("MNIST"), transforms.ToTensor()
    return (
        DataLoader(datasets.MNIST(root, True, to_tensor), batch_size, shuffle=True),
        DataLoader(datasets.MNIST(root, False, to_tensor), batch_size),
    )


class BaselineVAE(nn.Module):
    """The network of the study; its decoder ends in a sigmoid."""

    def __init__(self) -> None:
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(784, 400), nn.Linear(400, 200)
        self.fc_mu, self.fc_logvar = nn.Linear(200, 20), nn.Linear(200, 20)
        self.fc3, self.fc4, self.fc5 = nn.Linear(20, 200), nn.Linear(200, 400), nn.Linear(400, 784)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """`x` `[B, 784]` to the Bernoulli means `[B, 784]`, mu and logvar `[B, 20]`."""
        hidden = F.relu(self.fc2(F.relu(self.fc1(x))))
        mu, logvar = self.fc_mu(hidden), self.fc_logvar(hidden)
        z = mu + torch.exp(0.5 * logvar) * torch.randn_like(mu)
        return torch.sigmoid(self.fc5(F.relu(self.fc4(F.relu(self.fc3(z)))))), mu, logvar


class Baseline:
    """A network and an optimiser; each call of `train` is one more epoch."""

    def __init__(self) -> None:
        self.model = BaselineVAE()
        self.optimizer = torch.optim.Adam(self.model.parameters(), lr=1e-3)

    def loss(self, x: Tensor) -> Tensor:
        """BCE and KL of `[B, 784]`, summed over the mini-batch, in nats."""
        made, mu, logvar = self.model(x)
        bce = F.binary_cross_entropy(made, x, reduction="sum")
        return bce - 0.5 * torch.sum(1 + logvar - mu.pow(2) - logvar.exp())

    def train(self, batches: Batches) -> float:
        """One epoch; the sum of the losses of all images."""
        total = 0.0
        for x, _ in batches:
            self.optimizer.zero_grad()
            loss = self.loss(x.view(-1, 784))
            loss.backward()
            total += loss.item()
            self.optimizer.step()
        return total

    @torch.no_grad()
    def evaluate(self, batches: Batches) -> float:
        """The sum of the losses of images that are not trained on."""
        return sum(self.loss(x.view(-1, 784)).item() for x, _ in batches)
