"""Exercises of lesson 13: units, intervals, bounds, and likelihoods from samples."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from scipy.stats import norm, t
from sklearn.neighbors import KernelDensity
from torch import Tensor

from vae_helpers.exercises.exercise import Exercise

TO_NATS = Exercise(
    name="to_nats",
    expected={
        "keras": 0.25 * 784,
        "two means": 0.125 * 784 + 1.5 * 20,
        "batch": 13_440 / 128,
        "bits": 0.15 * 784 * math.log(2),
        "colour": 3.5 * 3 * 32**2 * math.log(2),
    },
    form="a dictionary with the five numbers, nats per image",
    hint="Undo each mean by the number of things that it was taken over. A bit is less than a nat.",
    misconceptions={
        "This is still a mean over the pixels.": {"keras": 0.25},
        "The second mean was taken over the latents, not over the pixels.": {
            "two means": 0.125 * 784 + 1.5 * 784
        },
        "The KL was a mean as well.": {"two means": 0.125 * 784 + 1.5},
        "The sum over a batch is not a sum over pixels: these were summed already.": {
            "batch": 13_440 / 784
        },
        "From bits to nats the number gets smaller: this is divided where it should be "
        "multiplied.": {"bits": 0.15 * 784 / math.log(2)},
        "A colour pixel has three dimensions, and the number is given per dimension.": {
            "colour": 3.5 * 32**2 * math.log(2)
        },
    },
    tolerance=2e-3,
)


def _trainings() -> list[tuple[Tensor, float, float]]:
    ours = torch.tensor([104.1, 103.8, 104.6, 104.0, 103.9], dtype=torch.float64)
    return [(ours, 104.5, 0.95), (ours[:3], 101.0, 0.99)]


def _interval(
    ours: Tensor,
    theirs: float,
    confidence: float,
    *,
    theirs_vary: bool = True,
    ours_vary: bool = True,
    ddof: int = 1,
    quantile: Callable[[float, int], float] = lambda level, n: float(t(df=n - 1).ppf(level)),
) -> tuple[float, float]:
    values = ours.numpy()
    n = len(values)
    variance = values.var(ddof=ddof) * (ours_vary / n + theirs_vary)
    half = quantile((1 + confidence) / 2, n) * variance**0.5
    return values.mean() - theirs - half, values.mean() - theirs + half


DIFFERENCE_INTERVAL = Exercise(
    name="difference_interval",
    tries=_trainings,
    expected=_interval,
    form="a pair of numbers, the lower end first, nats",
    hint="The variance of a difference of independent numbers is the sum of their variances. Which "
    "variance has a mean of n, and which a single number?",
    misconceptions={
        "Their number is one training, too, and varies: this is the interval of our mean.": (
            lambda *args: _interval(*args, theirs_vary=False)
        ),
        "Our mean varies, too, with a variance that is smaller by n.": lambda *args: _interval(
            *args, ours_vary=False
        ),
        "The quantile is that of a normal distribution; with few trainings the standard deviation "
        "is uncertain itself.": lambda *args: _interval(
            *args, quantile=lambda level, n: float(norm.ppf(level))
        ),
        "The quantile has n degrees of freedom; one is used up by the mean.": (
            lambda *args: _interval(*args, quantile=lambda level, n: float(t.ppf(level, n)))
        ),
        "The squares are divided by n, which makes the spread of few trainings too small.": (
            lambda *args: _interval(*args, ddof=0)
        ),
        "The signs are those of theirs minus ours.": lambda *args: tuple(
            -it for it in reversed(_interval(*args))
        ),
    },
)

NOISE, X = 0.5, 1.2


NODES, WEIGHTS = np.polynomial.hermite_e.hermegauss(80)
WEIGHTS = WEIGHTS / WEIGHTS.sum()


def _normal_mean(f: Callable[[Any], Any], q: Any) -> float:
    """E[f(z)] under a normal distribution, by the rule of Gauss and Hermite."""
    return float(WEIGHTS @ f(q.mean() + q.std() * NODES))


def _log_p(x: float, noise: float) -> float:
    return float(norm.logpdf(x, 0, math.sqrt(1 + noise**2)))


def _posterior(x: float, noise: float) -> Any:
    return norm(x / (1 + noise**2), noise / math.sqrt(1 + noise**2))


def _rate(q: Any) -> float:
    return _normal_mean(lambda z: q.logpdf(z) - norm.logpdf(z), q)


def _reconstruction(q: Any) -> float:
    return _normal_mean(lambda z: norm.logpdf(X, z, NOISE), q)


def _of_two_draws(q: Any) -> float:
    """The mean of the bound from two draws, by the same rule in both of them."""
    z = q.mean() + q.std() * NODES
    log_w = norm.logpdf(X, z, NOISE) + norm.logpdf(z) - q.logpdf(z)
    bound = np.logaddexp(log_w[:, None], log_w[None]) - math.log(2)
    return float(WEIGHTS @ bound @ WEIGHTS)


def _sides() -> dict[str, str]:
    exact, best, wide = _log_p(X, NOISE), _posterior(X, NOISE), norm(X / 2, 0.8)
    values = {
        "elbo, q wide": _reconstruction(wide) - _rate(wide),
        "elbo, q exact": _reconstruction(best) - _rate(best),
        "two draws, q wide": _of_two_draws(wide),
        "two draws, q exact": _of_two_draws(best),
        "kl afterwards": math.log(_normal_mean(lambda z: norm.pdf(X, z, NOISE), best))
        - _rate(best),
        "no kl": _reconstruction(best),
    }
    return {
        name: "equal" if abs(it - exact) < 1e-6 else "below" if it < exact else "above"
        for name, it in values.items()
    }


IS_IT_A_BOUND = Exercise(
    name="is_it_a_bound",
    expected=_sides(),
    form="a dictionary from the six estimates to 'below', 'equal' or 'above'",
    hint="log p(x) is the ELBO plus KL(q || posterior). The logarithm of a mean is at least the "
    "mean of the logarithms.",
    misconceptions={
        "The gap of the ELBO is the KL to the posterior, which is not zero for this q.": {
            "elbo, q wide": "equal"
        },
        "A bound need not be loose: with the posterior itself nothing is lost.": {
            "elbo, q exact": "below"
        },
        "With any finite number of draws the logarithm of their mean still falls short, on "
        "average.": {"two draws, q wide": "equal"},
        "Each weight is p(x) itself here, so it does not matter how many are averaged.": {
            "two draws, q exact": "below"
        },
        "The first term grows with the draws and the KL does not, so it overtakes log p(x).": {
            "kl afterwards": "equal"
        },
        "A term that only ever lowers the number has been left out.": {"no kl": "below"},
    },
)


def _observed_x() -> list[tuple[float, float]]:
    return [(1.2, 0.5), (-0.4, 0.8), (0.0, 0.3)]


def _excess(x: float, noise: float) -> float:
    q = _posterior(x, noise)
    inside = _normal_mean(lambda z: norm.pdf(x, z, noise), q)
    return math.log(inside) - _rate(q) - _log_p(x, noise)


def _predictive(x: float, noise: float) -> float:
    """log of the mean likelihood of x under its own posterior."""
    q = _posterior(x, noise)
    return float(norm.logpdf(x, q.mean(), math.sqrt(q.var() + noise**2)))


TOO_GOOD = Exercise(
    name="too_good",
    tries=_observed_x,
    expected=_excess,
    form="one number, nats, above zero",
    hint="A Gaussian whose mean is Gaussian is a Gaussian again, and the two variances add.",
    misconceptions={
        "The average is taken over the prior: then the first term is log p(x) itself.": (
            lambda x, noise: -_rate(_posterior(x, noise))
        ),
        "The KL is missing: it is still subtracted, once.": lambda x, noise: (
            _predictive(x, noise) - _log_p(x, noise)
        ),
        "log p(x) is not subtracted: this is the estimate, not what it is too good by.": (
            lambda x, noise: _predictive(x, noise) - _rate(_posterior(x, noise))
        ),
        "The posterior's variance is not added: this is the likelihood at its mean alone.": (
            lambda x, noise: (
                float(norm.logpdf(x, _posterior(x, noise).mean(), noise))
                - _rate(_posterior(x, noise))
                - _log_p(x, noise)
            )
        ),
        "The mean of the logarithms is taken: that is the ELBO, which exceeds nothing.": (
            lambda x, noise: 0.0
        ),
    },
)


def _clouds() -> list[tuple[Tensor, Tensor, float]]:
    rng = torch.Generator().manual_seed(134)
    samples = torch.rand(20, 3, generator=rng, dtype=torch.float64)
    x = torch.rand(4, 3, generator=rng, dtype=torch.float64)
    return [(x, samples, 0.3), (x + 4, samples, 0.1)]  # the second underflows without care


def _parzen(x: Tensor, samples: Tensor, width: float) -> Tensor:
    windows = KernelDensity(kernel="gaussian", bandwidth=width)
    return torch.from_numpy(windows.fit(samples.numpy()).score_samples(x.numpy()))


def _constant(samples: Tensor, width: float) -> float:
    return samples.shape[1] * math.log(width * math.sqrt(2 * math.pi))


def _exponents(x: Tensor, samples: Tensor, width: float) -> Tensor:
    return -torch.cdist(samples, x).square() / (2 * width**2)  # [N, B]


PARZEN = Exercise(
    name="parzen",
    tries=_clouds,
    expected=_parzen,
    form="a tensor [B], nats per image, finite",
    hint="The density is the mean of N Gaussian densities. Take its logarithm without computing "
    "any of them.",
    misconceptions={
        "The constant of the Gaussian is missing, so widths cannot be compared.": (
            lambda x, samples, width: _parzen(x, samples, width) + _constant(samples, width)
        ),
        "This is the sum of the windows; their mean is smaller by log N.": (
            lambda x, samples, width: _parzen(x, samples, width) + math.log(len(samples))
        ),
        "The width is a standard deviation; here it is used as the variance.": (
            lambda x, samples, width: _parzen(x, samples, math.sqrt(width))
        ),
        "The constant is that of one dimension; there is one factor per pixel.": (
            lambda x, samples, width: (
                _parzen(x, samples, width) + _constant(samples, width) * (1 - 1 / samples.shape[1])
            )
        ),
        "This is the mean of the logarithms: one far sample would ruin every density.": (
            lambda x, samples, width: (
                _exponents(x, samples, width).mean(dim=0) - _constant(samples, width)
            )
        ),
        "The windows are computed before their logarithm and are 0 far away.": (
            lambda x, samples, width: (
                _exponents(x, samples, width).exp().mean(dim=0).log() - _constant(samples, width)
            )
        ),
    },
)

LABELS = {
    "ours": ("grey, test", "minus ELBO, one draw", "784-400-20, Adam, 15 epochs", "nats, summed"),
    "A": ("grey, test", "minus ELBO, one draw", "784-400-20, Adam, 15 epochs", "nats, mean"),
    "B": ("grey, training", "minus ELBO, one draw", "784-400-20, Adam, 15 epochs", "nats, summed"),
    "C": ("grey, test", "bound, 500 draws", "784-400-20, Adam, 15 epochs", "nats, summed"),
    "D": ("static, test", "minus ELBO, one draw", "784-500-20, Adam, 15 epochs", "nats, summed"),
    "E": ("grey, test", "minus ELBO, one draw", "784-400-20, Adam, 15 epochs", "nats, summed"),
}
CONDITIONS = ("images", "estimate", "network", "unit")


def _differing(label: tuple[str, ...]) -> set[str]:
    pairs = zip(CONDITIONS, label, LABELS["ours"], strict=True)
    return {name for name, theirs, own in pairs if theirs != own}


CONDITIONS_DIFFER = Exercise(
    name="conditions_differ",
    expected={name: _differing(label) for name, label in LABELS.items() if name != "ours"},
    form="a dictionary from 'A' to 'E' to sets of 'images', 'estimate', 'network' and 'unit'; "
    "set() where all is the same",
    hint="Take the four questions of the lesson one by one. What does the name NLL not tell?",
    misconceptions={
        "The loss is the same; it is only divided by the number of pixels.": {"A": {"estimate"}},
        "The number was averaged over what the weights were fitted to.": {"B": set()},
        "Minus the ELBO is often called NLL too, but theirs takes the logarithm of a mean over "
        "draws.": {"C": set()},
        "There are two differences: the width of the hidden layer is the second.": {
            "D": {"images"}
        },
        "The name NLL proves nothing; the code says that it is the same sum.": {"E": {"estimate"}},
    },
)

EXERCISES = (
    TO_NATS,
    CONDITIONS_DIFFER,
    DIFFERENCE_INTERVAL,
    IS_IT_A_BOUND,
    TOO_GOOD,
    PARZEN,
)
