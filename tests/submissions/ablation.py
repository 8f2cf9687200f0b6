"""Answers to the exercises of lesson 06, right and mistaken, as a student writes them."""

import math

import torch
from torch.distributions import Independent, Normal

BETAS = {"sum, sum": 1, "mean, sum": 784, "sum, mean": 0.05, "mean, mean": 39.2}
FREE = {"kl": 172.1, "rise": 46.05, "limit": "infinity"}
BOUNDS = {
    "0": "no",
    "0.5": "no",
    "1": "yes",
    "4": "yes",
    "tightest": 1,
    "best samples": "no",
}


def between(rate, distortion):
    return (distortion[:-1] - distortion[1:]) / (rate[1:] - rate[:-1])


def between_sign(rate, distortion):
    return (distortion[1:] - distortion[:-1]) / (rate[1:] - rate[:-1])


def between_upside_down(rate, distortion):
    return (rate[1:] - rate[:-1]) / (distortion[:-1] - distortion[1:])


def between_ratio(rate, distortion):
    return distortion[1:] / rate[1:]


def between_differences(rate, distortion):
    return distortion[:-1] - distortion[1:]


def parts(z, mu, logvar):
    c = math.log(2 * math.pi)
    log_p = -0.5 * (z**2 + c).sum(-1)
    log_q = -0.5 * ((z - mu) ** 2 * torch.exp(-logvar) + logvar + c).sum(-1)
    return log_p, log_q


def log_mean_exp(values, dim=0):
    m = values.max(dim, keepdim=True).values
    return m.squeeze(dim) + (values - m).exp().mean(dim).log()


def iwae(bce, z, mu, logvar):
    q = Independent(Normal(mu, logvar.mul(0.5).exp()), 1)
    p = Independent(Normal(torch.zeros_like(mu), 1.0), 1)
    return -log_mean_exp(p.log_prob(z) - q.log_prob(z) - bce)


def iwae_elbo(bce, z, mu, logvar):
    log_p, log_q = parts(z, mu, logvar)
    return (bce - log_p + log_q).mean(0)


def iwae_summed(bce, z, mu, logvar):
    log_p, log_q = parts(z, mu, logvar)
    return -torch.logsumexp(log_p - log_q - bce, 0)


def iwae_over_images(bce, z, mu, logvar):
    log_p, log_q = parts(z, mu, logvar)
    return -log_mean_exp(log_p - log_q - bce, dim=1)


def iwae_bound(bce, z, mu, logvar):
    log_p, log_q = parts(z, mu, logvar)
    return log_mean_exp(log_p - log_q - bce)


def iwae_no_prior(bce, z, mu, logvar):
    return -log_mean_exp(-bce - parts(z, mu, logvar)[1])


def iwae_q_times(bce, z, mu, logvar):
    log_p, log_q = parts(z, mu, logvar)
    return -log_mean_exp(log_p + log_q - bce)


def iwae_no_q(bce, z, mu, logvar):
    return -log_mean_exp(parts(z, mu, logvar)[0] - bce)


ALTERNATIVES = {
    "effective_beta": [BETAS],
    "beta_between": [between],
    "iwae_loss": [iwae],
    "kl_without_weight": [FREE],
    "which_bound": [BOUNDS],
}
MISTAKEN = {
    "effective_beta": {
        "This is upside down": BETAS | {"mean, sum": 1 / 784},
        "The two means divide": BETAS | {"mean, mean": 1},
        "A mean over the latents": BETAS | {"sum, mean": 20},
        "Both factors count": BETAS | {"mean, mean": 784},
    },
    "beta_between": {
        "The sign": between_sign,
        "This is upside down": between_upside_down,
        "This is the ratio": between_ratio,
        "The changes are not divided": between_differences,
    },
    "iwae_loss": {
        "This is the mean of the log weights": iwae_elbo,
        "log K is missing": iwae_summed,
        "The average runs over the images": iwae_over_images,
        "This is the bound": iwae_bound,
        "The prior is missing": iwae_no_prior,
        "q multiplies": iwae_q_times,
        "q is missing": iwae_no_q,
    },
    "kl_without_weight": {
        "A term with weight 0": FREE | {"kl": 0},
        "This is the KL of one latent": FREE | {"kl": 8.605},
        "A tenth of the width": FREE | {"rise": 23.03},
        "Narrow posteriors": FREE | {"limit": "zero"},
        "The means are missing": FREE | {"kl": 20 * (0.5 * (0.0001 - 1) - math.log(0.01))},
    },
    "which_bound": {
        "A larger loss is still": BOUNDS | {"4": "no"},
        "With less weight": BOUNDS | {"0.5": "yes"},
        "More weight moves": BOUNDS | {"tightest": 4},
        "Without the KL nothing": BOUNDS | {"0": "yes"},
        "A bound on log p(x)": BOUNDS | {"best samples": "yes"},
    },
}
