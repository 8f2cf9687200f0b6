"""Answers to the exercises of lesson 02, right and mistaken, as a student writes them."""

import math

import torch
import torch.nn.functional as F

KLS = {
    "in the bound": "q to prior",
    "the gap": "q to posterior",
    "the encoder's aim": "q to posterior",
    "zero after a collapse": "q to prior",
    "punishes missing a peak": "posterior to q",
}


def general(mu, logvar, prior_mu, prior_logvar):
    var, prior_var = logvar.exp(), prior_logvar.exp()
    terms = torch.log(prior_var / var) + (var + (mu - prior_mu).pow(2)) / prior_var - 1
    return terms.sum(-1) / 2


def general_negative(mu, logvar, prior_mu, prior_logvar):
    var, prior_var = logvar.exp(), prior_logvar.exp()
    return 0.5 * (1 + logvar - prior_logvar - (var + (mu - prior_mu) ** 2) / prior_var).sum(1)


def general_standard(mu, logvar, prior_mu, prior_logvar):
    return -0.5 * torch.sum(1 + logvar - mu.pow(2) - logvar.exp(), dim=1)


def general_reversed(mu, logvar, prior_mu, prior_logvar):
    terms = logvar - prior_logvar - 1
    terms = terms + (prior_logvar.exp() + (prior_mu - mu) ** 2) / logvar.exp()
    return 0.5 * terms.sum(1)


def general_mean(mu, logvar, prior_mu, prior_logvar):
    return general(mu, logvar, prior_mu, prior_logvar) / mu.shape[1]


def general_no_half(mu, logvar, prior_mu, prior_logvar):
    square = (mu - prior_mu) ** 2 + logvar.exp()
    return (prior_logvar - logvar + square / prior_logvar.exp() - 1).sum(1)


def general_log_std(mu, log_std, prior_mu, prior_log_std):
    var, prior_var = log_std.exp() ** 2, prior_log_std.exp() ** 2
    terms = prior_log_std - log_std + (var + (mu - prior_mu) ** 2) / (2 * prior_var) - 0.5
    return terms.sum(1)


def slopes(mu, logvar):
    return mu, 0.5 * torch.expm1(logvar)


def slopes_no_half(mu, logvar):
    return mu, torch.expm1(logvar)


def slopes_in_variance(mu, logvar):
    return mu, 0.5 - 0.5 * torch.exp(-logvar)


def slopes_in_std(mu, logvar):
    std = torch.exp(0.5 * logvar)
    return mu, std - 1 / std


def slopes_twice_mu(mu, logvar):
    return 2 * mu, 0.5 * (logvar.exp() - 1)


def slopes_negative(mu, logvar):
    return tuple(-slope for slope in slopes(mu, logvar))


def decode(z):
    centres = torch.linspace(-1.5, 1.5, 6).double()
    return 5 * torch.exp(-((z[:, None] - centres) ** 2) / 0.32) - 2.5


def parts(x, mu, std):
    """log p(x|z) on a grid of z, q on that grid, and the KL."""
    z = torch.linspace(-9, 9, 20_001, dtype=torch.float64)
    log_likelihood = -F.binary_cross_entropy_with_logits(
        decode(z), x.expand(len(z), 6), reduction="none"
    ).sum(1)
    q = torch.distributions.Normal(mu, std).log_prob(z).exp() * (z[1] - z[0])
    return log_likelihood, q, (mu**2 + std**2 - 1 - math.log(std**2)) / 2


def bound(x, mu, std):
    log_likelihood, q, kl = parts(x, mu, std)
    return (log_likelihood * q).sum().item() - kl


def bound_without_kl(x, mu, std):
    log_likelihood, q, _ = parts(x, mu, std)
    return (log_likelihood * q).sum()


def bound_kl_added(x, mu, std):
    log_likelihood, q, kl = parts(x, mu, std)
    return (log_likelihood * q).sum() + kl


def bound_negative(x, mu, std):
    log_likelihood, q, kl = parts(x, mu, std)
    return kl - (log_likelihood * q).sum()


def bound_log_outside(x, mu, std):
    log_likelihood, q, kl = parts(x, mu, std)
    return (log_likelihood.exp() * q).sum().log() - kl


def bound_under_prior(x, mu, std):
    kl = parts(x, mu, std)[2]
    return bound_without_kl(x, 0.0, 1.0) - kl


def estimate(rows):
    largest = rows.max(dim=0).values
    return largest + (rows - largest).exp().mean(dim=0).log()


def estimate_mean_of_logs(rows):
    return rows.sum(0) / len(rows)


def estimate_underflow(rows):
    return torch.log(torch.exp(rows).sum(0) / rows.shape[0])


def estimate_sum(rows):
    largest = rows.max(dim=0).values
    return largest + (rows - largest).exp().sum(dim=0).log()


def estimate_over_images(rows):
    return estimate(rows.T)


def estimate_best(rows):
    return rows.max(dim=0).values


def score(f, mu, std, z):
    m = torch.full_like(z, mu).requires_grad_()
    log_q = torch.distributions.Normal(m, std).log_prob(z)
    (slope,) = torch.autograd.grad(log_q.sum(), m)
    return f(z) * slope


def score_baseline(f, mu, std, z):
    values = f(z)
    return (values - values.mean()) * (z - mu) / std**2


def score_std(f, mu, std, z):
    return f(z) * ((z - mu) / std)


def score_alone(f, mu, std, z):
    return (z - mu) / (std * std)


def score_sign(f, mu, std, z):
    return f(z) * (mu - z) / std**2


def score_undivided(f, mu, std, z):
    return (z - mu) * f(z)


def path(slope, mu, std, eps):
    logvar = torch.full_like(eps, 2 * math.log(std)).requires_grad_()
    z = mu + torch.exp(logvar / 2) * eps
    (in_logvar,) = torch.autograd.grad(z, logvar, slope(z.detach()))
    return slope(z.detach()), in_logvar


def path_log_std(slope, mu, std, eps):
    z = mu + std * eps
    return slope(z), slope(z) * (z - mu)


def path_std(slope, mu, std, eps):
    z = mu + std * eps
    return slope(z), eps * slope(z)


def path_no_noise(slope, mu, std, eps):
    z = mu + std * eps
    return slope(z), slope(z) * 0.5 * std


def path_at_the_mean(slope, mu, std, eps):
    z = torch.full_like(eps, mu)
    return slope(z), torch.zeros_like(eps)


ALTERNATIVES = {
    "kl_general": [general],
    "kl_gradients": [slopes],
    "toy_elbo": [bound],
    "prior_estimate": [estimate],
    "score_gradient": [score, score_baseline],
    "path_gradient": [path],
    "which_kl": [KLS],
}
MISTAKEN = {
    "kl_general": {
        "This is minus the KL": general_negative,
        "The prior's mean and variance are not used": general_standard,
        "The average is taken under the prior": general_reversed,
        "This is the mean over the latents": general_mean,
        "The factor 1/2 is missing": general_no_half,
        "logvar is used as": general_log_std,
    },
    "kl_gradients": {
        "The derivative in logvar lacks": slopes_no_half,
        "This is the derivative in the variance": slopes_in_variance,
        "This is the derivative in the standard deviation": slopes_in_std,
        "The derivative of a square": slopes_twice_mu,
        "Both signs": slopes_negative,
    },
    "toy_elbo": {
        "The KL is missing": bound_without_kl,
        "The KL is added": bound_kl_added,
        "This is minus the ELBO": bound_negative,
        "The logarithm is taken after": bound_log_outside,
        "The average is taken over the prior": bound_under_prior,
    },
    "prior_estimate": {
        "This is the mean of the logarithms": estimate_mean_of_logs,
        "exp is taken as it stands": estimate_underflow,
        "This is the sum over the draws": estimate_sum,
        "The average runs over the images": estimate_over_images,
        "Only the largest draw": estimate_best,
    },
    "score_gradient": {
        "The score of a Gaussian divides": score_std,
        "f is missing": score_alone,
        "The sign is wrong": score_sign,
        "The division by the variance is missing": score_undivided,
    },
    "path_gradient": {
        "The factor 1/2 is missing": path_log_std,
        "This is the derivative in std": path_std,
        "The derivative in logvar lacks the noise": path_no_noise,
        "The noise is cut off": path_at_the_mean,
    },
    "which_kl": {
        "That KL is a term of the": KLS | {"the gap": "q to prior"},
        "The average that gives the gap": KLS | {"the gap": "posterior to q"},
        "That would leave the reconstruction out, and": KLS | {"the encoder's aim": "q to prior"},
        "A q on one of two peaks": KLS | {"punishes missing a peak": "q to posterior"},
    },
}
