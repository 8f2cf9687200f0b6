"""Exercises of lesson 06: the weight of the KL, and the importance-weighted bound."""

from __future__ import annotations

import math

import torch
from scipy.special import logsumexp
from torch import Tensor
from torch.distributions import Normal

from vae_helpers.exercises.exercise import Exercise

EFFECTIVE_BETA = Exercise(
    name="effective_beta",
    expected={"sum, sum": 1, "mean, sum": 784, "sum, mean": 1 / 20, "mean, mean": 784 / 20},
    form="a dictionary from the four reductions to numbers above 0",
    hint="Multiply the whole loss by a constant until its bce is a sum. What stands before the KL?",
    misconceptions={
        "This is upside down: a mean over the pixels makes the bce small and the KL heavy.": {
            "mean, sum": 1 / 784
        },
        "The two means divide by different numbers, so they do not cancel.": {"mean, mean": 1},
        "A mean over the latents makes the KL lighter, not heavier.": {"sum, mean": 20},
        "Both factors count here: one from the pixels, one from the latents.": {"mean, mean": 784},
    },
    tolerance=1e-3,
)


def _curve() -> list[tuple[Tensor, Tensor]]:
    rate = torch.tensor([2.0, 5.0, 9.0, 14.0, 24.0], dtype=torch.float64)
    return [(rate, 205 - 9 * rate + 0.15 * rate.square())]


def _slope_of_curve(rate: Tensor, distortion: Tensor) -> Tensor:
    """Of the parabola on which the points lie: its chords have the slope of their middles."""
    middle = (rate[1:] + rate[:-1]) / 2
    return 9 - 0.3 * middle


BETA_BETWEEN = Exercise(
    name="beta_between",
    tries=_curve,
    expected=_slope_of_curve,
    form="a tensor [N - 1], above 0",
    hint="At the minimum of D + beta R a small step along the curve changes nothing.",
    misconceptions={
        "The sign is wrong: bce falls where the kl rises, and beta is above zero.": (
            lambda rate, distortion: distortion.diff() / rate.diff()
        ),
        "This is upside down: beta says how much bce one nat of kl is worth.": (
            lambda rate, distortion: -rate.diff() / distortion.diff()
        ),
        "This is the ratio of the values; the ratio of their changes was asked for.": (
            lambda rate, distortion: (distortion / rate)[1:]
        ),
        "The changes are not divided by those of the kl, whose points are not one nat "
        "apart.": lambda rate, distortion: -distortion.diff(),
    },
)


def _samples() -> list[tuple[Tensor, ...]]:
    rng = torch.Generator().manual_seed(63)
    mu, logvar = (torch.randn(6, 3, generator=rng, dtype=torch.float64) for _ in range(2))
    eps = torch.randn(6, 6, 3, generator=rng, dtype=torch.float64)
    bce = 100 + 3 * torch.randn(6, 6, generator=rng, dtype=torch.float64)
    z = mu + (logvar / 2).exp() * eps
    return [(bce, z, mu, logvar), (bce + 900, z, mu, logvar)]


def _log_weights(
    bce: Tensor, z: Tensor, mu: Tensor, logvar: Tensor, *, prior: float = 1, q: float = 1
) -> Tensor:
    log_prior = Normal(0.0, 1.0).log_prob(z).sum(dim=2)
    log_q = Normal(mu, (logvar / 2).exp()).log_prob(z).sum(dim=2)
    weights: Tensor = -bce + prior * log_prior - q * log_q
    return weights


def _iwae(log_weights: Tensor) -> Tensor:
    weights = log_weights.numpy()
    return -torch.from_numpy(logsumexp(weights, axis=0, b=1 / len(weights)))


IWAE_LOSS = Exercise(
    name="iwae_loss",
    tries=_samples,
    expected=lambda *args: _iwae(_log_weights(*args)),
    form="a tensor [B], nats per image",
    hint="A weight is p(x|z) p(z) / q(z|x), and samples come first: [K, B]. Stay with logarithms.",
    misconceptions={
        "This is the mean of the log weights: the ELBO with K samples, which is looser.": (
            lambda *args: -_log_weights(*args).mean(dim=0)
        ),
        "log K is missing: the weights are added up and not averaged.": lambda *args: (
            _iwae(_log_weights(*args)) - math.log(len(args[0]))
        ),
        "The average runs over the images, not over the samples.": lambda *args: _iwae(
            _log_weights(*args).T
        ),
        "This is the bound; the loss is minus it.": lambda *args: -_iwae(_log_weights(*args)),
        "The prior is missing from the weights.": lambda *args: _iwae(_log_weights(*args, prior=0)),
        "q multiplies the weights; it has to divide them.": lambda *args: _iwae(
            _log_weights(*args, q=-1)
        ),
        "q is missing from the weights.": lambda *args: _iwae(_log_weights(*args, q=0)),
    },
)

WIDTH_KL = 0.5 * (9 + 0.01**2 - 1 - 2 * math.log(0.01))

KL_WITHOUT_WEIGHT = Exercise(
    name="kl_without_weight",
    expected={
        "kl": 20 * WIDTH_KL,
        "rise": 20 * (math.log(10) + 0.5 * (1e-6 - 1e-4)),
        "limit": "infinity",
    },
    form="a dictionary with the numbers 'kl' and 'rise' in nats per image, and 'limit', which is "
    "'zero', 'one' or 'infinity'",
    hint="Put mean square and width into the closed form. Which term grows as a width shrinks?",
    misconceptions={
        "A term with weight 0 is not 0: it is free to grow.": {"kl": 0.0},
        "This is the KL of one latent; there are twenty.": {"kl": WIDTH_KL},
        "A tenth of the width is a hundredth of the variance; this is half of the rise.": {
            "rise": 10 * math.log(10)
        },
        "Narrow posteriors are what bce alone rewards, so the KL does not vanish.": {
            "limit": "zero"
        },
        "The means are missing: this is the KL of the widths alone.": {"kl": 20 * (WIDTH_KL - 4.5)},
    },
    tolerance=2e-3,
)

WHICH_BOUND = Exercise(
    name="which_bound",
    expected={"0": "no", "0.5": "no", "1": "yes", "4": "yes", "tightest": 1, "best samples": "no"},
    form="a dictionary from '0', '0.5', '1', '4' and 'best samples' to 'yes' or 'no', and "
    "from 'tightest' to one of the four weights, as a number",
    hint="Compare bce + beta kl with bce + kl. Both terms are at least 0.",
    misconceptions={
        "A larger loss is still above minus log p(x): it is a bound, and a looser one.": {
            "4": "no"
        },
        "With less weight on the KL the loss may fall below minus log p(x).": {"0.5": "yes"},
        "More weight moves the loss away from minus log p(x), not towards it.": {"tightest": 4},
        "Without the KL nothing keeps the loss above minus log p(x): it can go to zero.": {
            "0": "yes"
        },
        "A bound on log p(x) does not say how samples look.": {"best samples": "yes"},
    },
)

EXERCISES = (EFFECTIVE_BETA, BETA_BETWEEN, IWAE_LOSS, KL_WITHOUT_WEIGHT, WHICH_BOUND)
