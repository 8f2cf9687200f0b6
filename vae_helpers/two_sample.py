"""The classifier two-sample test: can a network tell generated images from real ones?

A small network is trained to tell them apart, and tried on images that it was not trained on. If
the two sets come from one distribution it is right half of the time; how much more often it is
right is a measure that no feature extractor was chosen for (Lopez-Paz & Oquab 2017).
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn, optim

from vae_helpers.data import SIDE, batches
from vae_helpers.seeds import initial_weights, new_rng


def two_sample_accuracy(
    samples: Tensor, real: Tensor, *, seed: int = 0, epochs: int = 5, batch_size: int = 100
) -> float:
    """The share of held-out images of which a network says rightly whether they are generated.

    It is trained on one half of either set, drawn at random, and tried on the other. For equal
    distributions the share is 1/2 with a standard error of 0.5 / sqrt(N), N = len(samples).

    Args:
        samples: `[N, 784]` in [0, 1], N even and at least 2.
        real: `[N, 784]`, which no model was trained on, or the test would miss memorised ones.
        seed: of the halves, of the network's initial weights and of the order.
        epochs: passes over the first halves.
        batch_size: images per step.

    Raises:
        ValueError: the sets differ in size, or cannot be halved.
    """
    if samples.shape != real.shape or len(samples) % 2 or len(samples) < 2:
        raise ValueError(
            "expected two sets [N, 784] of one even size, got "
            f"{list(samples.shape)} and {list(real.shape)}"
        )
    half, device = len(samples) // 2, samples.device
    halves = new_rng(seed, "halves")  # MNIST's first 5,000 test images are not like the others
    samples, real = (it[torch.randperm(2 * half, generator=halves)] for it in (samples, real))
    with initial_weights(seed):
        network = _network().to(device)
    optimizer = optim.Adam(network.parameters(), lr=1e-3, fused=True)
    images = torch.cat([samples[:half], real[:half]])
    labels = torch.cat([torch.ones(half), torch.zeros(half)]).to(device)
    numbers = torch.arange(len(images), device=device)
    for epoch in range(1, epochs + 1):
        order = new_rng(seed, "order", epoch=epoch)
        for index in batches(numbers, batch_size=batch_size, rng=order):
            logits = network(images[index]).squeeze(dim=1)
            loss = F.binary_cross_entropy_with_logits(logits, labels[index])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    with torch.no_grad():
        right = sum(
            int(((network(x).squeeze(dim=1) > 0) == generated).sum())
            for those, generated in ((samples[half:], True), (real[half:], False))
            for x in those.split(500)
        )
    return right / (2 * half)


def _network() -> nn.Sequential:
    """Two strided convolutions and a logit: is this image generated?"""
    return nn.Sequential(
        nn.Unflatten(1, (1, SIDE, SIDE)),
        nn.Conv2d(1, 16, 5, stride=2, padding=2),
        nn.ReLU(),  # [B, 16, 14, 14]
        nn.Conv2d(16, 32, 5, stride=2, padding=2),
        nn.ReLU(),  # [B, 32, 7, 7]
        nn.Flatten(),
        nn.Linear(32 * (SIDE // 4) ** 2, 1),
    )
