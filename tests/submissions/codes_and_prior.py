"""Answers to the exercises of lesson 08, right and mistaken, as a student writes them."""

import torch
from scipy.stats import chi, chi2, norm
from torch.distributions import MultivariateNormal

COMPONENTS = {"held out": 20, "too many": 320, "evidence": "no"}
LENGTHS = {
    "prior": 4.472,
    "codes": 22.36,
    "at the origin": "almost none",
    "samples look": "unlike digits",
}


def share(radius, *, latents):
    return torch.from_numpy(chi(latents).cdf(radius.numpy()))


def share_not_squared(radius, *, latents):
    return torch.from_numpy(chi2(latents).cdf(radius.numpy()))


def share_cube(radius, *, latents):
    return (2 * torch.special.ndtr(radius) - 1) ** latents


def share_one(radius, *, latents):
    return torch.from_numpy(norm.cdf(radius.numpy()) - norm.cdf(-radius.numpy()))


def share_outside(radius, *, latents):
    return torch.from_numpy(chi2(latents).sf(radius.numpy() ** 2))


def variance(mu, logvar):
    second = (mu**2 + logvar.exp()).mean(0)
    return second - mu.mean(0) ** 2


def variance_of_means(mu, logvar):
    return ((mu - mu.mean(0)) ** 2).mean(0)


def variance_of_widths(mu, logvar):
    return torch.exp(logvar).sum(0) / len(mu)


def variance_log_mean(mu, logvar):
    return mu.var(0, unbiased=False) + torch.exp(logvar.mean(0))


def variance_of_stds(mu, logvar):
    return mu.var(0, unbiased=False) + torch.exp(0.5 * logvar).mean(0)


def variance_unbiased(mu, logvar):
    return torch.var(mu, dim=0) + torch.exp(logvar).mean(0)


def gaussian(mean, covariance, *, n, rng):
    values, vectors = torch.linalg.eigh(covariance)
    eps = torch.randn((n, len(mean)), generator=rng)
    return (eps * values.sqrt()) @ vectors.T + mean


def gaussian_by_torch(mean, covariance, *, n, rng):
    torch.manual_seed(rng.initial_seed())
    return MultivariateNormal(mean, covariance).sample((n,))


def gaussian_no_root(mean, covariance, *, n, rng):
    eps = torch.randn((n, len(mean)), generator=rng)
    return mean + torch.einsum("nd,ed->ne", eps, covariance)


def gaussian_wrong_side(mean, covariance, *, n, rng):
    lower = torch.linalg.cholesky(covariance)
    return mean + torch.randn(n, len(mean), generator=rng) @ lower


def gaussian_independent(mean, covariance, *, n, rng):
    eps = torch.randn((n, len(mean)), generator=rng)
    return mean + covariance.diagonal().sqrt() * eps


def gaussian_centred(mean, covariance, *, n, rng):
    eps = torch.randn((n, len(mean)), generator=rng)
    return eps @ torch.linalg.cholesky(covariance, upper=True)


def gaussian_variances(mean, covariance, *, n, rng):
    eps = torch.randn((n, len(mean)), generator=rng)
    return mean + covariance.diagonal() * eps


def pick(weights, n, rng):
    return torch.searchsorted(weights.cumsum(0), torch.rand(n, generator=rng))


def noise(n, means, rng):
    return torch.randn(n, means.shape[1], generator=rng, dtype=means.dtype)


def mixture(weights, means, stds, *, n, rng):
    counts = torch.bincount(pick(weights, n, rng), minlength=len(weights)).tolist()
    parts = [means[k] + stds[k] * noise(count, means, rng) for k, count in enumerate(counts)]
    return torch.cat(parts)[torch.randperm(n, generator=rng)]


def mixture_averaged(weights, means, stds, *, n, rng):
    z = torch.zeros(n, means.shape[1])
    for weight, mean, std in zip(weights, means, stds, strict=True):
        z = z + weight * (mean + std * noise(n, means, rng))
    return z


def mixture_equal(weights, means, stds, *, n, rng):
    k = torch.randint(len(weights), (n,), generator=rng)
    return means[k] + stds[k] * noise(n, means, rng)


def mixture_of_means(weights, means, stds, *, n, rng):
    return means[pick(weights, n, rng)]


def mixture_in_order(weights, means, stds, *, n, rng):
    counts = (weights * n).round().int().tolist()
    parts = [means[k] + stds[k] * noise(count, means, rng) for k, count in enumerate(counts)]
    return torch.cat(parts)


def mixture_variances(weights, means, stds, *, n, rng):
    k = pick(weights, n, rng)
    return means[k] + stds[k] ** 2 * noise(n, means, rng)


ALTERNATIVES = {
    "share_inside": [share],
    "aggregate_variance": [variance],
    "sample_gaussian": [gaussian, gaussian_by_torch],
    "sample_mixture": [mixture],
    "components": [COMPONENTS],
    "lengths": [LENGTHS],
}
MISTAKEN = {
    "share_inside": {
        "The chi-squared distribution": share_not_squared,
        "This is the share of a cube": share_cube,
        "This is the share of one coordinate": share_one,
        "This is the share outside": share_outside,
    },
    "aggregate_variance": {
        "The widths of q are forgotten": variance_of_means,
        "The spread of the means": variance_of_widths,
        "Variances are averaged": variance_log_mean,
        "The mean of sigma is added": variance_of_stds,
        "The mixture is made of these": variance_unbiased,
    },
    "sample_gaussian": {
        "The covariance multiplies": gaussian_no_root,
        "The root is multiplied": gaussian_wrong_side,
        "Only the variances": gaussian_independent,
        "The mean is missing": gaussian_centred,
        "Variances are used": gaussian_variances,
    },
    "sample_mixture": {
        "Every draw is an average": mixture_averaged,
        "The weights are not used": mixture_equal,
        "The widths are not used": mixture_of_means,
        "The draws come component": mixture_in_order,
        "The widths are squared": mixture_variances,
    },
    "components": {
        "Training codes favour": COMPONENTS | {"held out": 320},
        "The smallest difference": COMPONENTS | {"held out": 1},
        "A mixture is too large": COMPONENTS | {"too many": 80},
        "A difference of half": COMPONENTS | {"evidence": "yes"},
    },
    "lengths": {
        "The density is highest": LENGTHS | {"at the origin": "most"},
        "This is the size of one coordinate of a code": LENGTHS | {"codes": 5},
        "This is the root mean square of": LENGTHS | {"prior": 1},
        "These are mean squared lengths": LENGTHS | {"prior": 20, "codes": 500},
        "The decoder was not trained where the": LENGTHS | {"samples look": "like digits"},
    },
}
