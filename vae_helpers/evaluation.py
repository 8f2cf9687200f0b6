"""How good a trained VAE is on images that it was not trained on, and what its latents do.

Likelihoods are in nats per image and belong to one convention of the targets, see `targets`;
numbers of different conventions must not stand in one table.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.distributions import Normal, kl_divergence

from vae_helpers import acceleration
from vae_helpers.data import binarize_images
from vae_helpers.models import VAE
from vae_helpers.objective import bce
from vae_helpers.progress import Progress
from vae_helpers.seeds import new_rng

CONVENTIONS = ("grey", "dynamic", "static")


def targets(images: Tensor, convention: str, *, rng: torch.Generator) -> Tensor:
    """Images as a convention wants to have them.

    Args:
        images: `[N, 784]` grey levels in [0, 1].
        convention: "grey" leaves them; "dynamic" draws each pixel anew from `rng`; "static"
            draws them once and for all, the same for everybody who has the same images.
        rng: on the device of `images`, used by "dynamic" only.

    Raises:
        ValueError: the convention is none of these, or a value is outside [0, 1].
    """
    if not (images.min() >= 0 and images.max() <= 1):  # NaN is in no interval
        raise ValueError(
            f"images: expected values in [0, 1], got {images.min():.4g} to {images.max():.4g}"
        )
    if convention == "grey":
        return images
    if convention == "dynamic":
        return binarize_images(images, rng=rng)
    if convention == "static":
        fixed = new_rng(0, "static binarisation")  # on the CPU: a GPU would draw other numbers
        return binarize_images(images.cpu(), rng=fixed).to(images.device)
    raise ValueError(
        f"convention: expected one of {', '.join(CONVENTIONS)}, got {convention!r}; see "
        "evaluation.targets for what they mean"
    )


def log_weights(model: VAE, x: Tensor, eps: Tensor) -> Tensor:
    """log of p(x|z) p(z) / q(z|x) at z = mu + std * eps.

    The mean of these over draws is the ELBO; the log of the mean of their exponentials is the
    importance-weighted bound (Burda et al. 2016, equation 8).

    Args:
        model: the VAE.
        x: `[B, 784]` in [0, 1].
        eps: `[K, B, D]` standard normal noise.

    Returns:
        `[K, B]`, in nats.
    """
    mu, logvar = model.encode(x)
    z = mu + torch.exp(0.5 * logvar) * eps  # [K, B, D]
    log_p_x = -bce(model.decode(z), x)
    log_p_z = -0.5 * z.square().sum(dim=2)  # without the log(2 pi) D / 2
    log_q_z = -0.5 * (eps.square() + logvar).sum(dim=2)  # that both would have
    return log_p_x + log_p_z - log_q_z


LogWeights = Callable[[Any, Tensor, Tensor], Tensor]
"""`log_weights`, or that of another model: model, `x` and `eps` to `[K, B]`."""


class LogLikelihood(NamedTuple):
    """The importance-weighted bound of some images and how far it may be off by chance.

    Attributes:
        value: `[B]`, in nats.
        standard_error: `[B]`, in nats, of the value as an estimate of what it tends to when K
            draws are repeated without end: delta method, NaN for K = 1.
    """

    value: Tensor
    standard_error: Tensor


def log_likelihood(
    model: Any,
    images: Tensor,
    *,
    num_samples: int,
    rng: torch.Generator,
    weights: LogWeights | None = None,
    image_batch: int = 50,
    sample_batch: int = 20,
    accelerate: str = "auto",
    title: str | None = None,
) -> Tensor:
    """The importance-weighted bound log (1/K) sum_k w_k <= log p(x) in expectation, per image.

    K = 1 is the ELBO with one draw of z; the bound does not fall with K and tends to log p(x)
    (Burda et al. 2016, theorem 1). Each image has noise of its own, so that the value does not
    depend on how images and samples are batched.

    Args:
        model: a `VAE`, or another one with a `latent_dim`; left as it is.
        images: `[B, 784]` in [0, 1], under one convention (`targets`).
        num_samples: K, exactly so many draws of z for each image.
        rng: on the CPU; one seed an image is drawn from it, whatever the batches.
        weights: of another model than a `VAE`, in place of `log_weights`.
        image_batch, sample_batch: images and draws decoded at one time; they bound the memory.
        accelerate: "auto", or "off" for PyTorch as it is (`acceleration.applied`).
        title: of the line that shows the progress; none if None.

    Returns:
        `[B]` float32, nats per image, on the device of `images`.

    Raises:
        ValueError: a number is not at least 1, or there is no image.
    """
    return log_likelihood_and_error(
        model,
        images,
        num_samples=num_samples,
        rng=rng,
        weights=weights,
        image_batch=image_batch,
        sample_batch=sample_batch,
        accelerate=accelerate,
        title=title,
    ).value


@torch.no_grad()
def log_likelihood_and_error(
    model: Any,
    images: Tensor,
    *,
    num_samples: int,
    rng: torch.Generator,
    weights: LogWeights | None = None,
    image_batch: int = 50,
    sample_batch: int = 20,
    accelerate: str = "auto",
    title: str | None = None,
) -> LogLikelihood:
    """The value of `log_likelihood` and its Monte-Carlo standard error, `[B]` each.

    With S1 and S2 the sums of w_k and w_k^2, the error of log(S1 / K) is about
    sqrt((S2 / S1^2 - 1 / K) K / (K - 1)). It is a guess from the draws themselves: if one draw
    outweighs all others it is too small.
    """
    for name, number in {
        "num_samples": num_samples,
        "image_batch": image_batch,
        "sample_batch": sample_batch,
        "images": len(images),
    }.items():
        if number < 1:
            raise ValueError(f"{name}: expected at least 1, got {number}")
    seeds = torch.randint(2**53, (len(images),), generator=rng).tolist()
    own = torch.Generator()
    sums, sums_of_squares = [], []
    batches = math.ceil(len(images) / image_batch)
    with Progress(title, total=batches) as progress, acceleration.applied(accelerate):
        for first in range(0, len(images), image_batch):
            x = images[first : first + image_batch]
            noise = [
                torch.randn(num_samples, model.latent_dim, generator=own.manual_seed(seed))
                for seed in seeds[first : first + image_batch]
            ]  # an image's noise depends on its own seed alone, and not on the batches
            log_sum = torch.full((len(x),), -math.inf, dtype=torch.float64, device=x.device)
            log_sum_of_squares = log_sum.clone()
            for eps in torch.stack(noise, dim=1).split(sample_batch):
                log_w = (weights or log_weights)(model, x, eps.to(x.device)).double()
                log_sum = torch.logaddexp(log_sum, log_w.logsumexp(dim=0))
                log_sum_of_squares = torch.logaddexp(
                    log_sum_of_squares, (2 * log_w).logsumexp(dim=0)
                )
            sums.append(log_sum)
            sums_of_squares.append(log_sum_of_squares)
            progress.step()
    total = torch.cat(sums)
    ratio = (torch.cat(sums_of_squares) - 2 * total).exp()  # 1/K if all weights are equal
    variance = (ratio - 1 / num_samples).clamp(min=0) * num_samples / max(num_samples - 1, 1)
    error = variance.sqrt() if num_samples > 1 else torch.full_like(total, math.nan)
    return LogLikelihood((total - math.log(num_samples)).float(), error.float())


class Posteriors(NamedTuple):
    """q(z|x) of some images.

    Attributes:
        mu: `[N, D]` means.
        logvar: `[N, D]` log-variances.
    """

    mu: Tensor
    logvar: Tensor


@torch.no_grad()
def posteriors(model: VAE, images: Tensor) -> Posteriors:
    """Mean and log-variance of q(z|x) for images `[N, 784]`."""
    parts = [model.encode(x) for x in images.split(1_000)]
    mu, logvar = zip(*parts, strict=True)
    return Posteriors(torch.cat(mu), torch.cat(logvar))


def kl_per_dimension(q: Posteriors) -> Tensor:
    """Nats that each latent dimension carries on average over the images: `[D]`, >= 0.

    Their sum is the rate, the mean of `objective.kl`. A dimension near zero says nothing about the
    image: there q(z|x) is the prior.
    """
    std = torch.exp(0.5 * q.logvar)
    return kl_divergence(Normal(q.mu, std), Normal(0.0, 1.0)).mean(dim=0)


def active_units(q: Posteriors, *, threshold: float = 0.01) -> int:
    """How many dimensions move with the image: variance of mu over images above the threshold.

    Burda et al. 2016, section 5.2 ("A_u > 10^-2").
    """
    return int((q.mu.var(dim=0) > threshold).sum())


def aggregate_moments(q: Posteriors) -> tuple[Tensor, Tensor]:
    """Mean `[D]` and covariance `[D, D]` of the aggregate posterior, the mixture of all q(z|x).

    The covariance is that of the means plus the mean of the widths squared, on the diagonal. The
    prior has mean zero and covariance I.
    """
    covariance = torch.cov(q.mu.T, correction=0).reshape(q.mu.shape[1], -1)
    return q.mu.mean(dim=0), covariance + torch.diag(q.logvar.exp().mean(dim=0))


def energy_distance(a: Tensor, b: Tensor) -> float:
    """How unlike two samples are: 2 E|a - b| - E|a - a'| - E|b - b'| (Székely & Rizzo 2013).

    Zero in expectation if and only if the distributions are equal; estimated without bias, so that
    two samples of one distribution give a number around zero, which may be negative.

    Args:
        a, b: `[N, D]` and `[M, D]`.
    """

    def mean_distance(left: Tensor, right: Tensor, pairs: int) -> float:
        parts = left.double().split(1_000)
        return sum(torch.cdist(part, right.double()).sum().item() for part in parts) / pairs

    n, m = len(a), len(b)
    within = mean_distance(a, a, n * (n - 1)) + mean_distance(b, b, m * (m - 1))
    return 2 * mean_distance(a, b, n * m) - within
