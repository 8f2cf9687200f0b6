"""Exercises of lesson 10: what codes tell, how they fill the space, and what their axes mean."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from scipy.special import logsumexp
from scipy.stats import entropy, norm
from torch import Tensor
from torch.distributions import (
    Categorical,
    Independent,
    MixtureSameFamily,
    MultivariateNormal,
    Normal,
    kl_divergence,
)

from vae_helpers.exercises.exercise import Exercise


def _drawn() -> list[tuple[Tensor, ...]]:
    rng = torch.Generator().manual_seed(101)
    mu, spread, eps = torch.randn(3, 6, 2, generator=rng, dtype=torch.float64)
    logvar = 0.5 * spread - 1
    far = 120 * mu  # exp of each log density between two of them is 0
    return [(it + (logvar / 2).exp() * eps, it, logvar) for it in (mu, far)]


def _mixture(mu: Tensor, logvar: Tensor) -> MixtureSameFamily:
    parts = Independent(Normal(mu, (logvar / 2).exp()), 1)
    return MixtureSameFamily(Categorical(logits=torch.zeros(len(mu), dtype=mu.dtype)), parts)


def _of_others(z: Tensor, mu: Tensor, logvar: Tensor) -> Tensor:
    """One of torch's mixtures per code, without the posterior of its own image."""
    found = []
    for i, code in enumerate(z):
        others = [j for j in range(len(mu)) if j != i]
        found.append(_mixture(mu[others], logvar[others]).log_prob(code))
    return torch.stack(found)


def _each(z: Tensor, mu: Tensor, logvar: Tensor) -> Tensor:
    """log q(z_i|x_j), [N, N]."""
    parts = Independent(Normal(mu, (logvar / 2).exp()), 1)
    return parts.log_prob(z[:, None])  # type: ignore[no-any-return]


def _without_own(each: Tensor, value: float) -> Tensor:
    return each.masked_fill(torch.eye(len(each), dtype=torch.bool), value)


LOG_OTHERS = Exercise(
    name="log_others",
    tries=_drawn,
    expected=_of_others,
    form="a tensor [N], in nats, finite",
    hint="Which log density does a term have that adds nothing to a sum of densities? And how "
    "many terms are left?",
    misconceptions={
        "The posterior of a code's own image is still in the mixture.": lambda z, mu, logvar: (
            _mixture(mu, logvar).log_prob(z)
        ),
        "One image is left out, and the mean is still taken over all of them.": (
            lambda z, mu, logvar: _of_others(z, mu, logvar) + math.log((len(mu) - 1) / len(mu))
        ),
        "A logarithm of 0 stands for a density of 1: the own posterior is not gone.": (
            lambda z, mu, logvar: (
                _without_own(_each(z, mu, logvar), 0.0).logsumexp(dim=1) - math.log(len(mu) - 1)
            )
        ),
        "exp is taken as it stands, so that a code far from all others gets a density of 0: take "
        "out the largest first.": lambda z, mu, logvar: (
            _without_own(_each(z, mu, logvar), -math.inf).exp().sum(dim=1) / (len(mu) - 1)
        ).log(),
        "This is the mean of the log densities; a mixture averages densities.": (
            lambda z, mu, logvar: _without_own(_each(z, mu, logvar), 0.0).sum(dim=1) / (len(mu) - 1)
        ),
    },
)


def _one_dimension() -> list[tuple[Tensor, Tensor]]:
    rng = torch.Generator().manual_seed(102)
    spread = torch.randn(5, generator=rng, dtype=torch.float64)
    clusters = torch.tensor([-1.6, -1.4, 0.2, 1.2, 1.5], dtype=torch.float64)
    return [(clusters, 0.3 * spread - 2), (0.3 * clusters + 1, 0.3 * spread - 1)]


def _integral(f: Callable[[np.ndarray[Any, Any]], np.ndarray[Any, Any]]) -> float:
    """By Gauss and Legendre's rule on 36 pieces of [-9, 9]; f takes `[P]`."""
    nodes, weights = np.polynomial.legendre.leggauss(8)
    centres = np.arange(-8.75, 9, 0.5)
    z = (centres[:, None] + nodes / 4).ravel()
    return float(np.tile(weights / 4, len(centres)) @ f(z))


def _log_densities(z: np.ndarray[Any, Any], mu: Tensor, logvar: Tensor) -> np.ndarray[Any, Any]:
    """log q(z|x) of every image, [P, N]."""
    return np.asarray(norm.logpdf(z[:, None], mu.numpy(), (logvar / 2).exp().numpy()))


def _log_mixture(z: np.ndarray[Any, Any], mu: Tensor, logvar: Tensor) -> np.ndarray[Any, Any]:
    return np.asarray(logsumexp(_log_densities(z, mu, logvar), axis=1, b=1 / len(mu)))


def _surplus(mu: Tensor, logvar: Tensor) -> float:
    def integrand(z: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        log_q = _log_mixture(z, mu, logvar)
        return np.asarray(np.exp(log_q) * (log_q - norm.logpdf(z)))

    return _integral(integrand)


def _reversed_surplus(mu: Tensor, logvar: Tensor) -> float:
    return _integral(lambda z: norm.pdf(z) * (norm.logpdf(z) - _log_mixture(z, mu, logvar)))


def _mean_of_logs(mu: Tensor, logvar: Tensor) -> float:
    return _integral(
        lambda z: (
            np.exp(_log_mixture(z, mu, logvar))
            * (_log_densities(z, mu, logvar).mean(axis=1) - norm.logpdf(z))
        )
    )


def _rate(mu: Tensor, logvar: Tensor) -> Tensor:
    q, prior = Normal(mu, (logvar / 2).exp()), Normal(0.0, 1.0)
    return kl_divergence(q, prior).mean()


def _of_two_moments(mu: Tensor, logvar: Tensor) -> Tensor:
    mixture = _mixture(mu[:, None], logvar[:, None])
    fitted = Normal(mixture.mean, mixture.variance.sqrt())
    return kl_divergence(fitted, Normal(0.0, 1.0)).sum()


SURPLUS_OF_DIMENSION = Exercise(
    name="surplus_of_dimension",
    tries=_one_dimension,
    expected=_surplus,
    form="one number, nats, at least 0",
    hint="First the mixture's log density on a fine grid, from all posteriors at once. The average "
    "of a log ratio comes last.",
    misconceptions={
        "This is the mean KL of the single posteriors, the rate, which holds the information as "
        "well.": _rate,
        "This is the KL of one Gaussian with the mean and the variance of all codes: it cannot see "
        "clusters and holes.": _of_two_moments,
        "The average is taken under the prior; codes are drawn from q(z).": _reversed_surplus,
        "The density of a mixture is the mean of the densities, not of their logarithms.": (
            _mean_of_logs
        ),
        "This is minus the KL.": lambda mu, logvar: -_surplus(mu, logvar),
    },
    tolerance=1e-4,
)


def _read() -> list[tuple[Tensor, Tensor]]:
    rng = torch.Generator().manual_seed(103)
    labels = torch.tensor([0, 1, 2, 0, 1, 0, 2, 0])
    mu = 2 * labels[:, None] + torch.randn(8, 2, generator=rng, dtype=torch.float64)
    z = mu + torch.randn(8, 2, generator=rng, dtype=torch.float64)
    return [(_each(z, mu, torch.zeros_like(mu)), labels), (30 * _each(z, mu, 0 * mu), labels)]


def _by_scipy(each: Tensor, labels: Tensor) -> tuple[Tensor, ...]:
    """log q(z_i|y_i), log q(z_i), and the log share of each class, one per code."""
    same = (labels[:, None] == labels).numpy()
    count = same.sum(axis=1)
    in_class = logsumexp(each.numpy(), axis=1, b=same / count[:, None])
    overall = logsumexp(each.numpy(), axis=1, b=1 / len(labels))
    return tuple(torch.from_numpy(it) for it in (in_class, overall, np.log(count / len(labels))))


def _digit_information(each: Tensor, labels: Tensor) -> Tensor:
    in_class, overall, _ = _by_scipy(each, labels)
    return (in_class - overall).mean()


def _conditional_entropy(each: Tensor, labels: Tensor) -> Tensor:
    in_class, overall, share = _by_scipy(each, labels)
    return (overall - in_class - share).mean()


def _mean_logs_in_class(each: Tensor, labels: Tensor) -> Tensor:
    same = labels[:, None] == labels
    logs = (each * same).sum(dim=1) / same.sum(dim=1)
    return (logs - _by_scipy(each, labels)[1]).mean()


DIGIT_INFORMATION = Exercise(
    name="digit_information",
    tries=_read,
    expected=_digit_information,
    form="one number, nats",
    hint="All images of one digit have a mixture of their own. Compare its density at a code with "
    "that of the mixture of all.",
    misconceptions={
        "This is what a code tells about the image, not about its digit: the own posterior stands "
        "where the mixture of the digit belongs.": lambda each, labels: (
            each.diag() - _by_scipy(each, labels)[1]
        ).mean(),
        "The sum over a digit's images is divided by the number of all images: this is the joint "
        "density of code and digit, and the result is never above 0.": lambda each, labels: (
            -_conditional_entropy(each, labels)
        ),
        "This is what remains unknown about the digit when the code is known.": (
            _conditional_entropy
        ),
        "The sum over a digit's images is not divided by their number.": lambda each, labels: (
            _digit_information(each, labels)
            + (_by_scipy(each, labels)[2] + math.log(len(labels))).mean()
        ),
        "The log densities are averaged within a digit; a mixture averages densities.": (
            _mean_logs_in_class
        ),
        "This is minus the information.": lambda each, labels: -_digit_information(each, labels),
    },
)


def _which_of(n: int) -> float:
    """Nats in a choice out of n, each equally likely."""
    return float(entropy(np.full(n, 1 / n)))


RATE = 14.5

KNOWN_IMAGES = Exercise(
    name="known_images",
    expected={
        "information": _which_of(1_000),
        "surplus": RATE - _which_of(1_000),
        "surplus of 100,000": RATE - _which_of(100_000),
        "each twice": _which_of(1_000),
    },
    form="a dictionary with the numbers 'information', 'surplus', 'surplus of 100,000' and 'each "
    "twice', in nats",
    hint="What is the most that anybody can learn by being told which image it was? The rate is a "
    "sum of two parts.",
    misconceptions={
        "The rate is the information and the surplus together; no code can tell that much.": {
            "information": RATE
        },
        "The unit is bits; the logarithm in nats has another base.": {
            "information": math.log2(1_000)
        },
        "Not all of the rate is surplus.": {"surplus": RATE},
        "With more images that do not overlap a code tells more, and the rate stays: less is "
        "left.": {"surplus of 100,000": RATE - _which_of(1_000)},
        "Two equal images have the same posterior, so no code can tell which of the two it was.": {
            "each twice": _which_of(2_000)
        },
    },
    tolerance=2e-3,
)


def _rotations() -> list[tuple[Tensor, Tensor]]:
    rng = torch.Generator().manual_seed(105)
    logvar = torch.randn(5, 3, generator=rng, dtype=torch.float64) - 1
    square = torch.randn(3, 3, generator=rng, dtype=torch.float64)
    return [(logvar, torch.linalg.qr(square).Q)]


def _between(logvar: Tensor, rotation: Tensor, *, backwards: bool = False) -> Tensor:
    """torch's KL of two Gaussians, with the best diagonal found from the inverse covariance."""
    found = []
    for row in logvar:
        covariance = rotation @ torch.diag(row.exp()) @ rotation.T
        best = torch.diag(1 / torch.linalg.inv(covariance).diag())
        pair = [MultivariateNormal(torch.zeros_like(row), it) for it in (best, covariance)]
        found.append(kl_divergence(*(pair[::-1] if backwards else pair)))
    return torch.stack(found)


def _same_variances(logvar: Tensor, rotation: Tensor) -> Tensor:
    found = []
    for row in logvar:
        covariance = rotation @ torch.diag(row.exp()) @ rotation.T
        fitted = torch.diag(covariance.diag())
        pair = [MultivariateNormal(torch.zeros_like(row), it) for it in (fitted, covariance)]
        found.append(kl_divergence(*pair))
    return torch.stack(found)


ROTATION_COST = Exercise(
    name="rotation_cost",
    tries=_rotations,
    expected=_between,
    form="a tensor [B], nats, at least 0",
    hint="With the best variances one part of the KL is just D. What is left are two log "
    "determinants, and a rotation changes none.",
    misconceptions={
        "These variances are those of the rotated covariance. The least KL(q || p) has the "
        "diagonal of its inverse.": _same_variances,
        "The rotation is used the wrong way round: it belongs to z -> R z.": (
            lambda logvar, rotation: _between(logvar, rotation.T)
        ),
        "The factor 1/2 is missing.": lambda logvar, rotation: 2 * _between(logvar, rotation),
        "The average is taken under the rotated posterior: this is the KL the other way "
        "round.": lambda logvar, rotation: _between(logvar, rotation, backwards=True),
        "This is minus the KL.": lambda logvar, rotation: -_between(logvar, rotation),
    },
)


def _world() -> tuple[Tensor, ...]:
    """Images [4, 5], and decoder matrix [5, 3], encoder matrix [3, 5] and variances [3]."""
    rng = torch.Generator().manual_seed(106)
    x, into = torch.randn(4, 5, generator=rng), torch.randn(5, 3, generator=rng)
    back = torch.randn(3, 5, generator=rng) / 3
    return x.double(), into.double(), back.double(), torch.tensor([0.2, 0.5, 0.9]).double()


def _judged(x: Tensor, into: Tensor, back: Tensor, var: Tensor) -> dict[str, Tensor]:
    """log p(x) and the bound of x = into z + N(0, I), exactly, one value per image."""
    pixels = torch.eye(into.shape[0], dtype=x.dtype)
    likelihood = MultivariateNormal(0 * x[0], into @ into.T + pixels).log_prob(x)
    mu = x @ back.T
    inside = Independent(Normal(mu @ into.T, 1.0), 1).log_prob(x)
    inside = inside - 0.5 * (into.square().sum(dim=0) * var).sum()
    kl = kl_divergence(Normal(mu, var.sqrt()), Normal(0.0, 1.0)).sum(dim=1)
    return {"likelihood": likelihood, "bound": inside - kl}


def _unchanged() -> dict[str, set[str]]:
    """By a linear world, in which everything is known in closed form."""
    x, into, back, var = _world()
    order, signs = torch.tensor([2, 0, 1]), torch.tensor([1.0, -1.0, -1.0]).double()
    rng = torch.Generator().manual_seed(107)
    rotation = torch.linalg.qr(torch.randn(3, 3, generator=rng, dtype=torch.float64)).Q
    best = 1 / (rotation.square() @ (1 / var))
    cases = {
        "order": (into[:, order], back[order], var[order]),
        "signs": (into * signs, signs[:, None] * back, var),
        "rotation": (into @ rotation.T, rotation @ back, best),
        "scale": (into / 2, 2 * back, 4 * var),
        "encoder": (into, back.flip(0), var),
    }
    before = _judged(x, into, back, var)
    return {
        name: {it for it, value in _judged(x, *case).items() if torch.allclose(value, before[it])}
        for name, case in cases.items()
    }


WHAT_STAYS = Exercise(
    name="what_stays",
    expected=_unchanged(),
    form="a dictionary from the five cases to sets of 'likelihood' and 'bound'; set() where "
    "neither stays",
    hint="Ask of each change: is the prior the same afterwards, what does the decoder make of its "
    "draws, and has every posterior an equal one in the new coordinates?",
    misconceptions={
        "A rotated Gaussian with independent dimensions has dependent ones, and no encoder with a "
        "diagonal covariance can return it.": {"rotation": {"likelihood", "bound"}},
        "A rotation of N(0, I) is N(0, I) again, and the decoder undoes it.": {"rotation": set()},
        "The decoder undoes the factor for codes, but draws from the prior are not doubled with "
        "them.": {"scale": {"likelihood", "bound"}},
        "No image is drawn with the encoder: it is no part of the model.": {"encoder": set()},
        "The noise is symmetric, so a change of sign leaves each posterior what it was.": {
            "signs": {"likelihood"}
        },
    },
)

EXERCISES = (
    LOG_OTHERS,
    SURPLUS_OF_DIMENSION,
    DIGIT_INFORMATION,
    KNOWN_IMAGES,
    ROTATION_COST,
    WHAT_STAYS,
)
