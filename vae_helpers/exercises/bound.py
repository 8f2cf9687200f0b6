"""Exercises of lesson 02: the KL, the bound, and gradients through a draw."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from scipy.integrate import quad
from scipy.special import logsumexp
from torch import Tensor
from torch.distributions import Normal, kl_divergence

from vae_helpers.exercises.comparison import ANY, numbers
from vae_helpers.exercises.exercise import Exercise


def _normals() -> list[tuple[Tensor, ...]]:
    rng = torch.Generator().manual_seed(21)
    return [tuple(torch.randn(4, 3, generator=rng, dtype=torch.float64) for _ in range(4))]


def _kl(mu: Tensor, logvar: Tensor, prior_mu: Tensor, prior_logvar: Tensor) -> Tensor:
    q, p = Normal(mu, (logvar / 2).exp()), Normal(prior_mu, (prior_logvar / 2).exp())
    return kl_divergence(q, p)  # [B, D]


KL_GENERAL = Exercise(
    name="kl_general",
    tries=_normals,
    expected=lambda *args: _kl(*args).sum(dim=1),
    form="a tensor [B], nats per image, at least 0",
    hint="Write down log q(z) - log p(z) in one dimension and take the average under q.",
    misconceptions={
        "This is minus the KL, which is never negative.": lambda *args: -_kl(*args).sum(dim=1),
        "The prior's mean and variance are not used: this is the KL to N(0, I).": (
            lambda mu, logvar, m, s: _kl(mu, logvar, 0 * m, 0 * s).sum(dim=1)
        ),
        "The average is taken under the prior: this is KL(p || q).": (
            lambda mu, logvar, m, s: _kl(m, s, mu, logvar).sum(dim=1)
        ),
        "This is the mean over the latents, which makes beta 1/D.": (
            lambda *args: _kl(*args).mean(dim=1)
        ),
        "The factor 1/2 is missing.": lambda *args: 2 * _kl(*args).sum(dim=1),
        "logvar is used as the logarithm of the standard deviation.": (
            lambda mu, logvar, m, s: _kl(mu, 2 * logvar, m, 2 * s).sum(dim=1)
        ),
    },
)


def _kl_slopes(mu: Tensor, logvar: Tensor) -> tuple[Tensor, ...]:
    mu, logvar = mu.clone().requires_grad_(), logvar.clone().requires_grad_()
    divergence = kl_divergence(Normal(mu, (logvar / 2).exp()), Normal(0.0, 1.0)).sum()
    return torch.autograd.grad(divergence, (mu, logvar))


KL_GRADIENTS = Exercise(
    name="kl_gradients",
    tries=lambda: [_normals()[0][:2]],
    expected=_kl_slopes,
    form="a pair of tensors [B, D]: the derivative in mu, the derivative in logvar",
    hint="Both are zero where q is the prior. Use autograd on torch's own KL to compare.",
    misconceptions={
        "The derivative in logvar lacks its factor 1/2.": lambda mu, logvar: (
            ANY,
            logvar.exp() - 1,
        ),
        "This is the derivative in the variance; the chain rule to its logarithm is missing.": (
            lambda mu, logvar: (ANY, (1 - 1 / logvar.exp()) / 2)
        ),
        "This is the derivative in the standard deviation.": (
            lambda mu, logvar: (ANY, (logvar / 2).exp() - (-logvar / 2).exp())
        ),
        "The derivative of a square brings a 2, which the factor 1/2 takes away.": (
            lambda mu, logvar: (2 * mu, ANY)
        ),
        "Both signs are those of minus the KL.": lambda mu, logvar: (
            -mu,
            (1 - logvar.exp()) / 2,
        ),
    },
)

CENTRES = np.linspace(-1.5, 1.5, 6)


def _log_likelihood(x: Any, z: float) -> float:
    """log p(x|z) of the toy of six pixels, as a product of probabilities."""
    logits = 5 * np.exp(-((z - CENTRES) ** 2) / (2 * 0.4**2)) - 2.5
    on = 1 / (1 + np.exp(-logits))
    return float(np.log(np.where(x == 1, on, 1 - on)).sum())


def _average(f: Callable[[float], float], mu: float, std: float) -> float:
    """E[f(z)] under N(mu, std^2), by an adaptive rule."""

    def integrand(eps: float) -> float:
        return f(mu + std * eps) * math.exp(-(eps**2) / 2) / math.sqrt(2 * math.pi)

    return float(quad(integrand, -8, 8, epsabs=1e-8, epsrel=1e-8, limit=300)[0])


def _terms(x: Tensor, mu: float, std: float) -> tuple[float, float]:
    """E_q[log p(x|z)] and the KL to N(0, 1)."""
    inside = _average(lambda z: _log_likelihood(x.numpy(), z), mu, std)
    q, prior = Normal(torch.tensor(mu).double(), torch.tensor(std).double()), Normal(0.0, 1.0)
    return inside, kl_divergence(q, prior).item()


def _images() -> list[tuple[Tensor, float, float]]:
    one_spot, two_ends = [0, 0, 0, 1, 0, 0], [1, 0, 0, 0, 0, 1]
    images = (torch.tensor(pixels, dtype=torch.float64) for pixels in (one_spot, two_ends))
    return [(x, *q) for x, q in zip(images, ((0.5, 0.3), (-1.0, 0.7)), strict=True)]


TOY_ELBO = Exercise(
    name="toy_elbo",
    tries=_images,
    expected=lambda *args: _terms(*args)[0] - _terms(*args)[1],
    form="one number, nats, below zero",
    hint="With z = mu + std * eps the average is one over N(0, 1), on a fixed grid.",
    misconceptions={
        "The KL is missing: this is the reconstruction term alone.": lambda *args: _terms(*args)[0],
        "The KL is added; the bound subtracts it.": lambda *args: sum(_terms(*args)),
        "This is minus the ELBO.": lambda *args: _terms(*args)[1] - _terms(*args)[0],
        "The logarithm is taken after the average over q; the bound averages the logarithm.": (
            lambda x, mu, std: (
                math.log(_average(lambda z: math.exp(_log_likelihood(x.numpy(), z)), mu, std))
                - _terms(x, mu, std)[1]
            )
        ),
        "The average is taken over the prior, not over q.": lambda x, mu, std: (
            _terms(x, 0.0, 1.0)[0] - _terms(x, mu, std)[1]
        ),
    },
    tolerance=1e-3,
)


def _log_likelihoods() -> list[tuple[Tensor]]:
    rng = torch.Generator().manual_seed(24)
    small = 3 * torch.randn(6, 6, generator=rng, dtype=torch.float64)
    return [(small - 5,), (10 * small - 1_000,)]  # exp(-1000) is 0 in double precision


PRIOR_ESTIMATE = Exercise(
    name="prior_estimate",
    tries=_log_likelihoods,
    expected=lambda rows: torch.from_numpy(
        logsumexp(rows.numpy(), axis=0, b=1 / len(rows))  # b weights each term
    ),
    form="a tensor [B], nats per image, finite",
    hint="p(x) is the average of exp(log p(x|z)) over the K draws. exp(-1000) is 0 on a computer.",
    misconceptions={
        "This is the mean of the logarithms, not the logarithm of the mean: it lies too "
        "low.": lambda rows: rows.mean(dim=0),
        "exp is taken as it stands, so that every probability of the second case is 0 and its "
        "logarithm minus infinity: subtract the largest log-likelihood first.": (
            lambda rows: rows.exp().mean(dim=0).log()
        ),
        "This is the sum over the draws; their mean is smaller by log K.": (
            lambda rows: rows.logsumexp(dim=0)
        ),
        "The average runs over the images; the samples come first, [K, B].": (
            lambda rows: rows.logsumexp(dim=1) - math.log(rows.shape[1])
        ),
        "Only the largest draw is kept.": lambda rows: rows.amax(dim=0),
    },
)

MU, STD, DRAWS = -0.7, 0.8, 200_000


def _f(z: Any) -> Any:
    return torch.sin(2 * z) + z**2 if isinstance(z, Tensor) else math.sin(2 * z) + z**2


def _slope(z: Tensor) -> Tensor:
    return 2 * torch.cos(2 * z) + 2 * z


def _exact(mu: float, logvar: float) -> float:
    return _average(_f, mu, math.exp(logvar / 2))


def _exact_slopes() -> tuple[float, float]:
    """By central differences of the quadrature."""
    step, logvar = 1e-4, 2 * math.log(STD)
    return (
        (_exact(MU + step, logvar) - _exact(MU - step, logvar)) / (2 * step),
        (_exact(MU, logvar + step) - _exact(MU, logvar - step)) / (2 * step),
    )


def _noise() -> Tensor:
    rng = torch.Generator().manual_seed(25)
    return torch.randn(DRAWS, generator=rng, dtype=torch.float64)


def _mean_of_draws(answer: Callable[..., Any], *args: Any) -> Tensor:
    return numbers(answer(*args), shape=(DRAWS,)).mean()


SCORE_GRADIENT = Exercise(
    name="score_gradient",
    tries=lambda: [(_f, MU, STD, MU + STD * _noise())],
    observe=_mean_of_draws,
    expected=lambda *args: _exact_slopes()[0],
    form="a tensor [N], one estimate per draw, whose mean is the derivative",
    hint="Differentiate log q(z) in mu and multiply it by what is averaged.",
    misconceptions={
        "The score of a Gaussian divides by the variance, not by the standard deviation.": (
            lambda f, mu, std, z: f(z) * (z - mu) / std
        ),
        "f is missing: the average of the score alone is zero.": (
            lambda f, mu, std, z: (z - mu) / std**2
        ),
        "The sign is wrong: this is the derivative of log q in z, not in mu.": (
            lambda f, mu, std, z: -f(z) * (z - mu) / std**2
        ),
        "The division by the variance is missing.": lambda f, mu, std, z: f(z) * (z - mu),
    },
    tolerance=0.05,
)


def _means_of_draws(answer: Callable[..., Any], *args: Any) -> tuple[Tensor, ...]:
    pair = answer(*args)
    if not isinstance(pair, (tuple, list)) or len(pair) != 2:
        return (numbers(pair, shape=(2, DRAWS)),)
    return tuple(numbers(it, shape=(DRAWS,)).mean() for it in pair)


PATH_GRADIENT = Exercise(
    name="path_gradient",
    tries=lambda: [(_slope, MU, STD, _noise())],
    observe=_means_of_draws,
    expected=lambda *args: _exact_slopes(),
    form="a pair of tensors [N]: per draw the derivative in mu, and that in logvar",
    hint="z = mu + exp(logvar / 2) * eps. Use the chain rule through z.",
    misconceptions={
        "The factor 1/2 is missing: this is the derivative in the logarithm of std.": (
            lambda slope, mu, std, eps: (slope(mu + std * eps), slope(mu + std * eps) * std * eps)
        ),
        "This is the derivative in std; the chain rule to logvar is missing.": (
            lambda slope, mu, std, eps: (slope(mu + std * eps), slope(mu + std * eps) * eps)
        ),
        "The derivative in logvar lacks the noise.": lambda slope, mu, std, eps: (
            slope(mu + std * eps),
            slope(mu + std * eps) * std / 2,
        ),
        "The noise is cut off: z is taken as mu, so the width has no gradient.": (
            lambda slope, mu, std, eps: (slope(mu + 0 * eps), 0 * eps)
        ),
    },
    tolerance=0.03,
)


WHICH_KL = Exercise(
    name="which_kl",
    expected={
        "in the bound": "q to prior",
        "the gap": "q to posterior",
        "the encoder's aim": "q to posterior",
        "zero after a collapse": "q to prior",
        "punishes missing a peak": "posterior to q",
    },
    form="a dictionary from the five keys to 'q to prior', 'q to posterior' or 'posterior to q'",
    hint="Under which distribution is each average taken, and which of them can be computed?",
    misconceptions={
        "That KL is a term of the bound; the gap compares q with another distribution.": {
            "the gap": "q to prior"
        },
        "The average that gives the gap is taken under q.": {"the gap": "posterior to q"},
        "That would leave the reconstruction out, and the encoder is trained on both terms.": {
            "the encoder's aim": "q to prior"
        },
        "A q on one of two peaks loses little in this direction, because it has no draws at the "
        "other peak.": {"punishes missing a peak": "q to posterior"},
    },
)

EXERCISES = (
    KL_GENERAL,
    KL_GRADIENTS,
    TOY_ELBO,
    PRIOR_ESTIMATE,
    SCORE_GRADIENT,
    PATH_GRADIENT,
    WHICH_KL,
)
