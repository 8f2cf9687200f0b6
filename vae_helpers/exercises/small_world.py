"""Exercises of lesson 03: gaps, mixtures for q, and collapse."""

from __future__ import annotations

import math
from statistics import NormalDist
from typing import Any

import numpy as np
import torch
from scipy.integrate import quad
from scipy.optimize import minimize
from torch import Tensor
from torch.distributions import MultivariateNormal, Normal, kl_divergence

from vae_helpers.exercises.comparison import ANY
from vae_helpers.exercises.exercise import Exercise

GAPS = Exercise(
    name="gaps",
    expected={"whole": 1.14, "approximation": 0.72, "amortisation": 0.42},
    form="a dictionary with the numbers 'whole', 'approximation' and 'amortisation', in nats, each "
    "at least 0",
    hint="Put the three values on a line. Which step would a better encoder make shorter?",
    misconceptions={
        "The two parts are exchanged: what no Gaussian can reach is not lost by the encoder.": {
            "approximation": 0.42,
            "amortisation": 0.72,
        },
        "This is measured from log p(x); amortisation is what the encoder loses against "
        "the best q of its family.": {"amortisation": 1.14},
        "A gap is never negative: the bound lies below.": {"whole": -1.14},
    },
    tolerance=0.005,
)


def _mixture_kl(mu: Tensor, std: Tensor) -> float:
    """KL of the equal mixture to N(0, 1) by an adaptive rule."""
    parts = [NormalDist(*each) for each in zip(mu.tolist(), std.tolist(), strict=True)]
    prior = NormalDist()

    def integrand(z: float) -> float:
        q = sum(part.pdf(z) for part in parts) / len(parts)
        return q * math.log(q / prior.pdf(z)) if q > 0 else 0.0

    return float(quad(integrand, -9, 9, points=sorted(mu.tolist()), epsabs=1e-8, limit=400)[0])


def _each_kl(mu: Tensor, std: Tensor) -> Tensor:
    return kl_divergence(Normal(mu, std), Normal(0.0, 1.0))


def _moments_kl(mu: Tensor, std: Tensor) -> Tensor:
    variance = (std**2 + mu**2).mean() - mu.mean() ** 2
    return kl_divergence(Normal(mu.mean(), variance.sqrt()), Normal(0.0, 1.0))


MIXTURE_KL = Exercise(
    name="mixture_kl",
    tries=lambda: [
        (torch.tensor([-1.6, 1.6]).double(), torch.tensor([0.3, 0.3]).double()),
        (torch.tensor([-0.5, 0.8]).double(), torch.tensor([0.4, 0.7]).double()),
    ],
    expected=_mixture_kl,
    form="one number, nats, at least 0",
    hint="The logarithm of a sum does not split. Put q and log q on a fine grid.",
    misconceptions={
        "This is the average of the two closed forms. The KL is convex in q, so the average is too "
        "large.": lambda mu, std: _each_kl(mu, std).mean(),
        "This is the KL of the one Gaussian with the mixture's mean and variance.": _moments_kl,
        "The components are added and not averaged, so that q integrates to 2.": (
            lambda mu, std: 2 * (_mixture_kl(mu, std) + math.log(2))
        ),
        "This is minus the KL.": lambda mu, std: -_mixture_kl(mu, std),
        "This is minus the entropy of q: log p(z) is missing.": lambda mu, std: (
            _mixture_kl(mu, std)
            - 0.5 * math.log(2 * math.pi)
            - 0.5 * (std**2 + mu**2).mean().item()
        ),
    },
    tolerance=1e-3,
)


def _posteriors() -> list[tuple[Tensor, Tensor]]:
    mean = torch.tensor([0.5, -1.0, 0.2], dtype=torch.float64)
    root = torch.tensor([[1.0, 0, 0], [0.8, 0.5, 0], [0.3, -0.6, 0.7]], dtype=torch.float64)
    return [(mean, root @ root.T)]


def _best_q(mean: Tensor, covariance: Tensor) -> tuple[Tensor, Tensor]:
    """By a numerical search for the least KL(q || posterior)."""
    posterior, size = MultivariateNormal(mean, covariance), len(mean)

    def divergence(values: Any) -> tuple[float, Any]:
        free = torch.tensor(values, dtype=torch.float64, requires_grad=True)
        q = MultivariateNormal(free[:size], torch.diag(free[size:].exp()))
        loss = kl_divergence(q, posterior)
        (slope,) = torch.autograd.grad(loss, free)
        return loss.item(), slope.numpy()

    found = minimize(divergence, np.zeros(2 * size), jac=True, tol=1e-12).x
    return torch.from_numpy(found[:size]), torch.from_numpy(np.exp(found[size:]))


BEST_INDEPENDENT_Q = Exercise(
    name="best_independent_q",
    tries=_posteriors,
    expected=_best_q,
    form="a pair of tensors [D]: the mean of q, and its variances, above 0",
    hint="Each variance is in two terms, and mu in the last one only. Set the derivative in each "
    "of them to zero.",
    misconceptions={
        "These are the posterior's own variances. They belong to the KL in the other direction; "
        "this one gives less.": lambda mean, covariance: (ANY, covariance.diagonal()),
        "These are the precisions; a variance is one over a precision.": (
            lambda mean, covariance: (ANY, covariance.inverse().diagonal())
        ),
        "These are standard deviations; variances were asked for.": lambda mean, covariance: (
            ANY,
            covariance.inverse().diagonal().rsqrt(),
        ),
        "The prior's variances are no answer: q follows the posterior.": (
            lambda mean, covariance: (ANY, torch.ones_like(mean))
        ),
    },
    tolerance=1e-4,
)


def _entropy(p: float) -> float:
    return -p * math.log(p) - (1 - p) * math.log(1 - p)


COLLAPSED = Exercise(
    name="collapsed",
    expected={"kl": 0.0, "bce": 6 * _entropy(1 / 6), "gap": 0.0, "best": math.log(6)},
    form="a dictionary with the numbers 'kl', 'bce', 'gap' and 'best', nats per image, each at "
    "least 0",
    hint="A decoder that ignores z can only give each pixel one probability. If x says nothing "
    "about z, what is the posterior?",
    misconceptions={
        "This is the loss of a model in which exactly one pixel is on; independent constants "
        "cannot express that.": {"bce": math.log(6)},
        "A pixel is on in one image of six, not in every second one.": {"bce": 6 * math.log(2)},
        "This is the mean over the pixels; nats per image are their sum.": {"bce": _entropy(1 / 6)},
        "This is the distance to the best possible model; the gap is the distance from the bound "
        "to this model's own log p(x).": {"gap": 6 * _entropy(1 / 6) - math.log(6)},
        "This is the entropy of two equally probable images; there are six.": {"best": math.log(2)},
    },
    tolerance=2e-3,
)

WHAT_HAPPENED = Exercise(
    name="what_happened",
    expected={"A": "healthy", "B": "collapse", "C": "no kl", "D": "decoder ignores z"},
    form="a dictionary from 'A', 'B', 'C' and 'D' to 'healthy', 'collapse', 'no kl' or 'decoder "
    "ignores z'",
    hint="Compare bce with that of a constant, and the loss with the least possible one.",
    misconceptions={
        "A loss below the least possible one cannot be a full bound: a term is not counted.": {
            "C": "healthy"
        },
        "A KL above zero says that q is not the prior, not that the decoder uses z.": {
            "D": "healthy"
        },
        "In a full collapse q is the prior for every image, and here it is not.": {"D": "collapse"},
        "No nats are left in the KL, so nothing can pass from x to z.": {"B": "healthy"},
    },
)

EXERCISES = (GAPS, MIXTURE_KL, BEST_INDEPENDENT_Q, COLLAPSED, WHAT_HAPPENED)
