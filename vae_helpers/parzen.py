"""Parzen windows: the density of images guessed from a Gaussian around each of some samples.

Goodfellow et al. 2014 judged generative models by it, since it asks for nothing but samples, and
said that it "does not perform well in high dimensional spaces".
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

SIGMAS = tuple(10 ** (-1 + step / 9) for step in range(10))
"""numpy.logspace(-1, 0, 10), the widths that Goodfellow et al. 2014 choose from (their code)."""

CHUNK = 500
"""Images whose distances to all samples are held at one time."""


class Estimate(NamedTuple):
    """What the windows say of a set of images.

    Attributes:
        value: mean over the images of the log-density, in nats, higher is better.
        standard_error: of that mean, by the spread over the images; the samples are taken as given.
        sigma: the width.
    """

    value: float
    standard_error: float
    sigma: float


def log_densities(images: Tensor, samples: Tensor, *, sigmas: Sequence[float]) -> Tensor:
    """log of (1/N) sum_n Normal(x; sample_n, sigma^2 I) for each width and image.

    The exponentials are added up in their logarithms, in float64: far from all samples each of
    them is zero to any machine.

    Args:
        images: `[B, P]`.
        samples: `[N, P]`, the centres of the windows.
        sigmas: S widths, > 0; the distances are computed once for all of them.

    Returns:
        `[S, B]` float64, in nats.
    """
    centres = samples.double()
    squares = centres.square().sum(dim=1)
    found = []
    for x in images.double().split(CHUNK):
        distances = x.square().sum(dim=1)[:, None] + squares - 2 * x @ centres.T  # [b, N], squared
        distances = distances.clamp(min=0)
        found.append(
            torch.stack([(-0.5 * distances / sigma**2).logsumexp(dim=1) for sigma in sigmas])
        )
    dimensions = images.shape[1]
    norms = [
        math.log(len(samples)) + dimensions * math.log(s * math.sqrt(2 * math.pi)) for s in sigmas
    ]
    return torch.cat(found, dim=1) - torch.tensor(norms, dtype=torch.float64)[:, None].to(
        images.device
    )


def choose_sigma(held_out: Tensor, samples: Tensor, *, sigmas: Sequence[float] = SIGMAS) -> float:
    """The width by which images that are not judged are most probable on average.

    Args:
        held_out: `[B, P]`.
        samples: `[N, P]`.
        sigmas: to choose from.
    """
    means = log_densities(held_out, samples, sigmas=sigmas).mean(dim=1)
    return sigmas[int(means.argmax())]


def estimate(
    images: Tensor, samples: Tensor, *, held_out: Tensor, sigmas: Sequence[float] = SIGMAS
) -> Estimate:
    """The protocol of Goodfellow et al. 2014: sigma by `held_out`, then the mean over `images`.

    Args:
        images: `[B, P]`, at least two, of which the density is asked.
        samples: `[N, P]` of the model, as they are.
        held_out: `[M, P]`, images that are neither among `images` nor among the samples. If the
            samples are training images, and these were among them, the narrowest width would win.
        sigmas: to choose from.
    """
    sigma = choose_sigma(held_out, samples, sigmas=sigmas)
    (values,) = log_densities(images, samples, sigmas=[sigma])
    error = values.std(correction=0).item() / math.sqrt(len(values))
    return Estimate(values.mean().item(), error, sigma)
