"""What images are compared by: five networks that each turn an image into 64 numbers.

A distance between sets of images is one between their features, and depends on who made these. So
there are several: the reference classifier; the same trained with contrast and sharpness varied;
the same from another seed; the same untrained; and the leading principal components of the pixels,
which know nothing of digits.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from vae_helpers import classifier
from vae_helpers.classifier import Classifier
from vae_helpers.data import binarize_images
from vae_helpers.seeds import initial_weights

NUM_FEATURES = 64

EXTRACTORS = ("classifier", "varied", "reseeded", "random", "pixels")
"""By name, in the order of tables."""

RENDERINGS = ("means", "draws", "rounded")
"""What is shown to an extractor: see `rendered`."""


def rendered(images: Tensor, rendering: str, *, rng: torch.Generator) -> Tensor:
    """Images as they are to be compared, generated and real ones alike.

    Args:
        images: `[N, 784]` in [0, 1].
        rendering: "means" leaves them as they are; "draws" draws each pixel black or white with the
            image's value as probability; "rounded" makes pixels of 1/2 and more white and all
            others black, so that nothing but the shapes counts.
        rng: for "draws", on the CPU.

    Raises:
        ValueError: the rendering is none of these.
    """
    if rendering == "means":
        return images
    if rendering == "draws":
        return binarize_images(images.cpu(), rng=rng).to(images.device)
    if rendering == "rounded":
        return (images >= 0.5).to(images.dtype)
    raise ValueError(f"rendering: expected one of {', '.join(RENDERINGS)}, got {rendering!r}")


def rounded(images: Tensor) -> Tensor:
    """`images` `[N, 784]` in black and white: 1/2 and more is white, as rendered for the FCD."""
    return rendered(images, "rounded", rng=torch.Generator())  # which draws nothing here


class Pixels(nn.Module):
    """The leading principal components of some images, exact and in float64.

    Args:
        images: `[N, 784]`, whose mean and covariance are taken.
    """

    mean: Tensor
    components: Tensor

    def __init__(self, images: Tensor) -> None:
        super().__init__()
        covariance = torch.cov(images.T.double())
        vectors = torch.linalg.eigh(covariance).eigenvectors  # in the order of their variance
        self.register_buffer("mean", images.mean(dim=0))
        self.register_buffer("components", vectors[:, -NUM_FEATURES:].to(images.dtype))

    def features(self, x: Tensor) -> Tensor:
        """`x` `[B, 784]` to the components `[B, 64]`."""
        return (x - self.mean) @ self.components


def extractor(name: str, train_images: Tensor) -> nn.Module:
    """One of `EXTRACTORS` for MNIST, ready to use.

    Args:
        name: of the extractor.
        train_images: `[N, 784]`, whose principal components are taken.

    Raises:
        ValueError: the name is none of these.
        ReferenceClassifierError: committed weights are missing or altered.
    """
    if name in classifier.COMMITTED:
        return classifier.committed(name)
    if name == "random":
        with initial_weights(0):
            return Classifier().requires_grad_(False)
    if name == "pixels":
        return Pixels(train_images)
    raise ValueError(f"extractor: expected one of {', '.join(EXTRACTORS)}, got {name!r}")


@torch.no_grad()
def extract(network: nn.Module, images: Tensor) -> Tensor:
    """Features of images `[N, 784]`: `[N, 64]`, on their device.

    Args:
        network: an extractor; it has a method `features`.
        images: in [0, 1].
    """
    network = network.to(images.device)
    read: Callable[[Tensor], Tensor] = network.features  # type: ignore[assignment]
    return torch.cat([read(x) for x in images.split(250)])
