"""Answers to the exercises of lesson 10, right and mistaken, as a student writes them."""

import math

import torch
from torch.distributions import Normal

KNOWN = {
    "information": 6.9078,
    "surplus": 7.5922,
    "surplus of 100,000": 2.9871,
    "each twice": 6.9078,
}
BOTH = {"likelihood", "bound"}
STAYS = {
    "order": BOTH,
    "signs": BOTH,
    "rotation": {"likelihood"},
    "scale": set(),
    "encoder": {"likelihood"},
}


def table(z, mu, logvar):
    """log q(z_i|x_j), [N, N]."""
    return Normal(mu, torch.exp(0.5 * logvar)).log_prob(z.unsqueeze(1)).sum(2)


def others(z, mu, logvar):
    rows = table(z, mu, logvar)
    n = len(rows)
    kept = rows[~torch.eye(n, dtype=torch.bool)].view(n, n - 1)
    largest = kept.max(1, keepdim=True).values
    return largest[:, 0] + (kept - largest).exp().mean(1).log()


def others_and_own(z, mu, logvar):
    return torch.logsumexp(table(z, mu, logvar), 1) - math.log(len(z))


def others_over_all(z, mu, logvar):
    rows = table(z, mu, logvar)
    rows[range(len(z)), range(len(z))] = -math.inf
    return torch.logsumexp(rows, 1) - math.log(len(z))


def others_zeroed(z, mu, logvar):
    rows = table(z, mu, logvar) * (1 - torch.eye(len(z)))
    return torch.logsumexp(rows, 1) - math.log(len(z) - 1)


def others_underflow(z, mu, logvar):
    densities = table(z, mu, logvar).exp()
    return torch.log((densities.sum(1) - densities.diagonal()).clamp(min=0) / (len(z) - 1))


def others_mean_of_logs(z, mu, logvar):
    rows = table(z, mu, logvar)
    return (rows.sum(1) - rows.diagonal()) / (len(z) - 1)


GRID = torch.arange(-10, 10, 0.001, dtype=torch.float64)


def density(mu, logvar):
    std = torch.exp(logvar / 2)
    bells = torch.exp(-0.5 * ((GRID - mu[:, None]) / std[:, None]) ** 2)
    return (bells / (std[:, None] * math.sqrt(2 * math.pi))).mean(0)


def normal():
    return torch.exp(-(GRID**2) / 2) / math.sqrt(2 * math.pi)


def kl_on_grid(q, p):
    terms = q * (q.clamp(min=1e-300) / p.clamp(min=1e-300)).log()
    return terms.sum() * 0.001


def surplus(mu, logvar):
    return kl_on_grid(density(mu, logvar), normal())


def surplus_rate(mu, logvar):
    return torch.mean(0.5 * (mu**2 + logvar.exp() - 1 - logvar))


def surplus_moments(mu, logvar):
    mean = mu.mean()
    var = (mu**2 + logvar.exp()).mean() - mean**2
    return 0.5 * (mean**2 + var - 1 - var.log())


def surplus_reversed(mu, logvar):
    return kl_on_grid(normal(), density(mu, logvar))


def surplus_geometric(mu, logvar):
    log_q = Normal(mu, torch.exp(0.5 * logvar)).log_prob(GRID[:, None]).mean(1)
    return ((log_q - normal().log()) * density(mu, logvar)).sum() * 0.001


def surplus_negative(mu, logvar):
    return -surplus(mu, logvar)


def information(each, labels):
    gains = []
    for row, label in zip(each, labels, strict=True):
        own = row[labels == label]
        in_class = torch.logsumexp(own, 0) - math.log(len(own))
        gains.append(in_class - torch.logsumexp(row, 0) + math.log(len(row)))
    return sum(gains) / len(gains)


def class_sums(each, labels):
    """log of the sum of densities over the images of each code's own digit."""
    return each.where(labels[:, None] == labels, -math.inf).logsumexp(1)


def information_on_image(each, labels):
    return (each.diagonal() - each.logsumexp(1)).mean() + math.log(len(each))


def information_joint(each, labels):
    return (class_sums(each, labels) - math.log(len(each)) - mixture(each)).mean()


def mixture(each):
    return each.logsumexp(1) - math.log(len(each))


def information_left(each, labels):
    given = class_sums(each, labels) - each.logsumexp(1)  # log q(y|z)
    return -given.mean()


def information_summed(each, labels):
    return (class_sums(each, labels) - mixture(each)).mean()


def information_mean_of_logs(each, labels):
    within = each.where(labels[:, None] == labels, math.nan).nanmean(1)
    return (within - mixture(each)).mean()


def information_negative(each, labels):
    return -information(each, labels)


def covariances(logvar, rotation):
    return rotation @ torch.diag_embed(logvar.exp()) @ rotation.T


def cost(logvar, rotation):
    precision = torch.linalg.inv(covariances(logvar, rotation))
    log_var = -precision.diagonal(dim1=1, dim2=2).log()
    return (torch.logdet(covariances(logvar, rotation)) - log_var.sum(1)) / 2


def cost_same_variances(logvar, rotation):
    covariance = covariances(logvar, rotation)
    variances = covariance.diagonal(dim1=1, dim2=2)
    precision = torch.linalg.inv(covariance).diagonal(dim1=1, dim2=2)
    terms = precision * variances - 1 - variances.log() + logvar
    return 0.5 * terms.sum(1)


def cost_wrong_way(logvar, rotation):
    return 0.5 * (((-logvar).exp() @ rotation**2).log() + logvar).sum(1)


def cost_no_half(logvar, rotation):
    return (((-logvar).exp() @ rotation.T**2).log() + logvar).sum(1)


def cost_reversed(logvar, rotation):
    precision = (-logvar).exp() @ rotation.T**2
    variances = logvar.exp() @ rotation.T**2
    return 0.5 * (precision * variances - 1 - precision.log() - logvar).sum(1)


def cost_negative(logvar, rotation):
    return -cost(logvar, rotation)


ALTERNATIVES = {
    "log_others": [others],
    "surplus_of_dimension": [surplus],
    "digit_information": [information],
    "known_images": [KNOWN],
    "rotation_cost": [cost],
    "what_stays": [STAYS],
}
MISTAKEN = {
    "log_others": {
        "The posterior of a code's own": others_and_own,
        "One image is left out": others_over_all,
        "A logarithm of 0": others_zeroed,
        "exp is taken as it stands": others_underflow,
        "This is the mean of the log": others_mean_of_logs,
    },
    "surplus_of_dimension": {
        "This is the mean KL": surplus_rate,
        "This is the KL of one Gaussian": surplus_moments,
        "The average is taken under": surplus_reversed,
        "The density of a mixture": surplus_geometric,
        "This is minus": surplus_negative,
    },
    "digit_information": {
        "This is what a code tells": information_on_image,
        "The sum over a digit's images is divided": information_joint,
        "This is what remains": information_left,
        "The sum over a digit's images is not": information_summed,
        "The log densities are averaged": information_mean_of_logs,
        "This is minus": information_negative,
    },
    "known_images": {
        "The rate is": KNOWN | {"information": 14.5},
        "The unit is bits": KNOWN | {"information": 9.966},
        "Not all of the rate": KNOWN | {"surplus": 14.5},
        "With more images": KNOWN | {"surplus of 100,000": 7.592},
        "Two equal images": KNOWN | {"each twice": 7.601},
    },
    "rotation_cost": {
        "These variances": cost_same_variances,
        "The rotation is used": cost_wrong_way,
        "The factor 1/2": cost_no_half,
        "The average is taken under": cost_reversed,
        "This is minus": cost_negative,
    },
    "what_stays": {
        "A rotated Gaussian": STAYS | {"rotation": BOTH},
        "A rotation of N": STAYS | {"rotation": set()},
        "The decoder undoes": STAYS | {"scale": BOTH},
        "No image is drawn": STAYS | {"encoder": set()},
        "The noise is symmetric": STAYS | {"signs": {"likelihood"}},
    },
}
