"""Answers to the exercises of lesson 03, right and mistaken, as a student writes them."""

import math

import torch
from scipy.integrate import quad
from scipy.stats import norm

GAPS = {"whole": 1.14, "approximation": 0.72, "amortisation": 0.42}
COLLAPSED = {"kl": 0, "bce": 2.703, "gap": 0, "best": 1.792}
STATES = {"A": "healthy", "B": "collapse", "C": "no kl", "D": "decoder ignores z"}


def density(z, mu, std):
    return torch.exp(-((z - mu) ** 2) / (2 * std**2)) / (std * math.sqrt(2 * math.pi))


def on_a_grid(mu, std, *, weight=0.5, prior=True):
    step = 0.002
    z = torch.arange(-12, 12, step, dtype=torch.float64)
    q = weight * (density(z, mu[0], std[0]) + density(z, mu[1], std[1])) + 1e-300
    p = density(z, 0.0, 1.0) + 1e-300
    return (q * (q.log() - prior * p.log())).sum().item() * step


def mixture(mu, std):
    return on_a_grid(mu, std)


def mixture_quad(mu, std):
    def integrand(z):
        q = sum(norm.pdf(z, m, s) for m, s in zip(mu.tolist(), std.tolist(), strict=True)) / 2
        return q * (math.log(q) + z**2 / 2 + math.log(2 * math.pi) / 2) if q > 0 else 0

    return quad(integrand, -8, 8, limit=200)[0]


def closed(mu, std):
    return (mu**2 + std**2 - 1) / 2 - std.log()


def mixture_average(mu, std):
    return 0.5 * closed(mu[0], std[0]) + 0.5 * closed(mu[1], std[1])


def mixture_moments(mu, std):
    mean = mu.mean()
    second = (mu**2 + std**2).mean()
    return closed(mean, (second - mean**2).sqrt())


def mixture_not_averaged(mu, std):
    return on_a_grid(mu, std, weight=1.0)


def mixture_negative(mu, std):
    return -on_a_grid(mu, std)


def mixture_no_prior(mu, std):
    return on_a_grid(mu, std, prior=False)


def best(mean, covariance):
    # condition each dimension on the others
    found = []
    for d in range(len(mean)):
        rest = [i for i in range(len(mean)) if i != d]
        c = covariance[d, rest]
        found.append(covariance[d, d] - c @ torch.linalg.solve(covariance[rest][:, rest], c))
    return mean, torch.stack(found)


def best_marginals(mean, covariance):
    return mean, torch.diag(covariance)


def best_precisions(mean, covariance):
    return mean, torch.diag(torch.linalg.pinv(covariance))


def best_stds(mean, covariance):
    return mean, best(mean, covariance)[1].sqrt()


def best_prior(mean, covariance):
    return mean, torch.ones(len(mean))


ALTERNATIVES = {
    "gaps": [GAPS, {name: torch.tensor(value) for name, value in GAPS.items()}],
    "mixture_kl": [mixture, mixture_quad],
    "best_independent_q": [best],
    "collapsed": [COLLAPSED],
    "what_happened": [STATES],
}
MISTAKEN = {
    "gaps": {
        "The two parts are exchanged": GAPS | {"approximation": 0.42, "amortisation": 0.72},
        "This is measured from log p(x)": GAPS | {"amortisation": -4.96 + 6.10},
        "A gap is never negative": GAPS | {"whole": -6.10 + 4.96},
    },
    "mixture_kl": {
        "This is the average of the two closed forms": mixture_average,
        "This is the KL of the one Gaussian": mixture_moments,
        "The components are added": mixture_not_averaged,
        "This is minus the KL": mixture_negative,
        "This is minus the entropy of q": mixture_no_prior,
    },
    "best_independent_q": {
        "These are the posterior's own variances": best_marginals,
        "These are the precisions": best_precisions,
        "These are standard deviations": best_stds,
        "The prior's variances": best_prior,
    },
    "collapsed": {
        "This is the loss of a model": COLLAPSED | {"bce": math.log(6)},
        "A pixel is on in one image": COLLAPSED | {"bce": 4.159},
        "This is the mean over the pixels": COLLAPSED | {"bce": 0.4506},
        "This is the distance to the best": COLLAPSED | {"gap": 2.703 - 1.792},
        "This is the entropy of two equally": COLLAPSED | {"best": 0.6931},
    },
    "what_happened": {
        "A loss below the least": STATES | {"C": "healthy"},
        "A KL above zero says": STATES | {"D": "healthy"},
        "In a full collapse": STATES | {"D": "collapse"},
        "No nats are left": STATES | {"B": "healthy"},
    },
}
