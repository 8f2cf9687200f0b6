"""Answers to the exercises of lesson 13, right and mistaken, as a student writes them."""

import math

import torch
from scipy import stats
from torch.distributions import Normal

NATS = {"keras": 196, "two means": 98 + 30, "batch": 105, "bits": 81.51, "colour": 7452.7}
SIDES = {
    "elbo, q wide": "below",
    "elbo, q exact": "equal",
    "two draws, q wide": "below",
    "two draws, q exact": "equal",
    "kl afterwards": "above",
    "no kl": "above",
}
DIFFER = {"A": {"unit"}, "B": {"images"}, "C": {"estimate"}, "D": {"images", "network"}, "E": set()}


def half(ours, confidence, variance):
    return stats.t.ppf(0.5 + confidence / 2, len(ours) - 1) * math.sqrt(variance)


def interval(ours, theirs, confidence):
    n = len(ours)
    reach = half(ours, confidence, ours.var() * (1 + 1 / n))
    centre = ours.mean() - theirs
    return centre - reach, centre + reach


def interval_by_scipy(ours, theirs, confidence):
    n = len(ours)
    scale = ours.std().item() * math.sqrt(1 + 1 / n)
    return stats.t.interval(confidence, n - 1, loc=ours.mean().item() - theirs, scale=scale)


def interval_of_mean(ours, theirs, confidence):
    low, high = stats.t.interval(
        confidence, len(ours) - 1, loc=ours.mean().item(), scale=stats.sem(ours)
    )
    return low - theirs, high - theirs


def interval_theirs_only(ours, theirs, confidence):
    reach = half(ours, confidence, ours.var())
    return ours.mean() - theirs - reach, ours.mean() - theirs + reach


def interval_normal(ours, theirs, confidence):
    z = stats.norm.ppf(0.5 + confidence / 2)
    reach = z * (ours.var() * (1 + 1 / len(ours))).sqrt()
    return ours.mean() - theirs - reach, ours.mean() - theirs + reach


def interval_degrees(ours, theirs, confidence):
    n = len(ours)
    reach = stats.t.ppf(0.5 + confidence / 2, n) * (ours.var() * (1 + 1 / n)).sqrt()
    return ours.mean() - theirs - reach, ours.mean() - theirs + reach


def interval_biased(ours, theirs, confidence):
    reach = half(ours, confidence, ours.var(correction=0) * (1 + 1 / len(ours)))
    return ours.mean() - theirs - reach, ours.mean() - theirs + reach


def interval_reversed(ours, theirs, confidence):
    reach = half(ours, confidence, ours.var() * (1 + 1 / len(ours)))
    return theirs - ours.mean() - reach, theirs - ours.mean() + reach


def toy(x, noise):
    x = torch.tensor(x).double()
    posterior = Normal(x / (1 + noise**2), noise / math.sqrt(1 + noise**2))
    rate = torch.distributions.kl_divergence(posterior, Normal(0.0, 1.0))
    return x, posterior, rate, Normal(0.0, math.sqrt(1 + noise**2)).log_prob(x)


def excess(x, noise):
    x, posterior, rate, log_p = toy(x, noise)
    inside = Normal(posterior.mean, (posterior.variance + noise**2).sqrt()).log_prob(x)
    return inside - rate - log_p


def excess_on_grid(x, noise):
    x, posterior, rate, log_p = toy(x, noise)
    z = torch.linspace(-8, 8, 40_001).double()
    inside = torch.trapezoid(posterior.log_prob(z).exp() * Normal(z, noise).log_prob(x).exp(), z)
    return inside.log() - rate - log_p


def excess_under_prior(x, noise):
    x, _, rate, log_p = toy(x, noise)
    z = torch.linspace(-8, 8, 40_001).double()
    prior = Normal(0.0, 1.0).log_prob(z).exp()
    inside = torch.trapezoid(prior * Normal(z, noise).log_prob(x).exp(), z)
    return inside.log() - rate - log_p


def excess_without_kl(x, noise):
    return excess(x, noise) + toy(x, noise)[2]


def excess_not_compared(x, noise):
    return excess(x, noise) + toy(x, noise)[3]


def excess_at_mean(x, noise):
    x, posterior, rate, log_p = toy(x, noise)
    return Normal(posterior.mean, noise).log_prob(x) - rate - log_p


def excess_of_elbo(x, noise):
    x, posterior, rate, log_p = toy(x, noise)
    eps = torch.linspace(-9, 9, 40_001).double()
    weights = torch.softmax(Normal(0.0, 1.0).log_prob(eps), dim=0)
    z = posterior.mean + posterior.stddev * eps
    return weights @ Normal(z, noise).log_prob(x) - rate - log_p


def windows(x, samples, width):
    rows = Normal(samples[:, None], width).log_prob(x[None]).sum(-1)
    return rows.logsumexp(0) - math.log(len(samples))


def windows_by_hand(x, samples, width):
    squares = ((x[:, None] - samples) ** 2).sum(-1) / (2 * width**2)
    least = squares.min(dim=1, keepdim=True).values
    mean = torch.exp(least - squares).mean(dim=1)
    return mean.log() - least[:, 0] - x.shape[1] / 2 * math.log(2 * math.pi * width**2)


def windows_without_constant(x, samples, width):
    squares = ((x[:, None] - samples) ** 2).sum(-1) / (2 * width**2)
    return torch.logsumexp(-squares, dim=1) - math.log(len(samples))


def windows_sum(x, samples, width):
    return Normal(samples[:, None], width).log_prob(x[None]).sum(-1).logsumexp(0)


def windows_variance(x, samples, width):
    rows = Normal(samples[:, None], width**0.5).log_prob(x[None]).sum(-1)
    return rows.logsumexp(0) - math.log(len(samples))


def windows_one_dimension(x, samples, width):
    return windows_without_constant(x, samples, width) - math.log(width * math.sqrt(2 * math.pi))


def windows_mean_of_logs(x, samples, width):
    return Normal(samples[:, None], width).log_prob(x[None]).sum(-1).mean(0)


def windows_underflow(x, samples, width):
    return Normal(samples[:, None], width).log_prob(x[None]).sum(-1).exp().mean(0).log()


ALTERNATIVES = {
    "to_nats": [NATS],
    "conditions_differ": [DIFFER],
    "difference_interval": [interval, interval_by_scipy],
    "is_it_a_bound": [SIDES],
    "too_good": [excess, excess_on_grid],
    "parzen": [windows, windows_by_hand],
}
MISTAKEN = {
    "to_nats": {
        "This is still a mean": NATS | {"keras": 0.25},
        "The second mean": NATS | {"two means": 784 * (0.125 + 1.5)},
        "The KL was a mean": NATS | {"two means": 98 + 1.5},
        "The sum over a batch": NATS | {"batch": 17.14},
        "From bits to nats": NATS | {"bits": 784 * 0.15 * math.log2(math.e)},
        "A colour pixel": NATS | {"colour": 3.5 * 1_024 * 0.6931},
    },
    "conditions_differ": {
        "The loss is the same": DIFFER | {"A": {"estimate"}},
        "The number was averaged over": DIFFER | {"B": set()},
        "Minus the ELBO is often called NLL": DIFFER | {"C": set()},
        "There are two differences": DIFFER | {"D": {"images"}},
        "The name NLL": DIFFER | {"E": {"estimate"}},
    },
    "difference_interval": {
        "Their number is one training": interval_of_mean,
        "Our mean varies": interval_theirs_only,
        "The quantile is that of a normal": interval_normal,
        "The quantile has n": interval_degrees,
        "The squares are divided": interval_biased,
        "The signs are those": interval_reversed,
    },
    "is_it_a_bound": {
        "The gap of the ELBO": SIDES | {"elbo, q wide": "equal"},
        "A bound need not be": SIDES | {"elbo, q exact": "below"},
        "With any finite number": SIDES | {"two draws, q wide": "equal"},
        "Each weight is p(x)": SIDES | {"two draws, q exact": "below"},
        "The first term grows": SIDES | {"kl afterwards": "equal"},
        "A term that only": SIDES | {"no kl": "below"},
    },
    "too_good": {
        "The average is taken over the prior": excess_under_prior,
        "The KL is missing": excess_without_kl,
        "log p(x) is not subtracted": excess_not_compared,
        "The posterior's variance": excess_at_mean,
        "The mean of the logarithms": excess_of_elbo,
    },
    "parzen": {
        "The constant of the Gaussian": windows_without_constant,
        "This is the sum of the windows": windows_sum,
        "The width is a standard deviation": windows_variance,
        "The constant is that of one": windows_one_dimension,
        "This is the mean of the logarithms": windows_mean_of_logs,
        "The windows are computed": windows_underflow,
    },
}
