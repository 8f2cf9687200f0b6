"""Answers to the exercises of lesson 04, right and mistaken, as a student writes them."""

import math
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import nn

FIRST = {"bce": 543.4, "kl": 0, "colour": 2129.3, "gaussian": 1568}
PARTS = {
    "sample": {"encoder", "to_mu", "to_logvar"},
    "sample + kl": set(),
    "mean": {"to_logvar"},
    "frozen decoder": {"decoder"},
}


def bce(logits, x):
    return -(x * F.logsigmoid(logits) + (1 - x) * F.logsigmoid(-logits)).sum(1)


def bce_by_torch(logits, x):
    return F.binary_cross_entropy_with_logits(logits, x, reduction="none").sum(1)


def bce_naive(logits, x):
    p = 1 / (1 + torch.exp(-logits))
    return -torch.sum(x * torch.log(p) + (1 - x) * torch.log(1 - p), dim=-1)


def bce_clipped(logits, x):
    p = logits.sigmoid()
    return torch.stack(
        [F.binary_cross_entropy(a, b, reduction="sum") for a, b in zip(p, x, strict=True)]
    )


def bce_mean(logits, x):
    return F.binary_cross_entropy_with_logits(logits, x, reduction="none").mean(1)


def bce_negative(logits, x):
    return (x * F.logsigmoid(logits) + (1 - x) * F.logsigmoid(-logits)).sum(1)


def bce_twice(logits, x):
    p = logits.sigmoid()
    return F.binary_cross_entropy_with_logits(p, x, reduction="none").sum(1)


def gauss(mean, log_std, x):
    var = torch.exp(2 * log_std)
    return -F.gaussian_nll_loss(mean, x, var, full=True, reduction="none").sum(1)


def gauss_no_width(mean, log_std, x):
    square = (x - mean) ** 2 / torch.exp(2 * log_std)
    return -(square / 2 + math.log(2 * math.pi) / 2).sum(1)


def gauss_no_half(mean, log_std, x):
    square = (x - mean) ** 2 / torch.exp(log_std) ** 2
    return -(square + log_std + math.log(2 * math.pi) / 2).sum(1)


def gauss_std_for_variance(mean, log_std, x):
    square = (x - mean) ** 2 / (2 * log_std.exp())
    return -(square + log_std + math.log(math.sqrt(2 * math.pi))).sum(1)


def gauss_logvar(mean, logvar, x):
    square = (x - mean) ** 2 / logvar.exp()
    return -0.5 * (square + logvar + math.log(2 * math.pi)).sum(1)


def gauss_no_constant(mean, log_std, x):
    square = (x - mean) ** 2 / (2 * torch.exp(2 * log_std))
    return -(square + log_std).sum(1)


def gauss_negative(mean, log_std, x):
    return F.gaussian_nll_loss(mean, x, log_std.exp() ** 2, full=True, reduction="none").sum(1)


def stack(widths):
    return nn.Sequential(*[nn.Linear(m, n) for m, n in pairwise(widths)])


def size(*modules):
    return sum(p.numel() for module in modules for p in module.parameters())


def count(*, pixels, hidden, latents):
    heads = [nn.Linear(hidden[-1], latents) for _ in range(2)]
    return size(stack([pixels, *hidden]), *heads, stack([latents, *hidden[::-1], pixels]))


def count_weights(*, pixels, hidden, latents):
    total, widths = 0, [pixels, *hidden]
    for m, n in pairwise(widths):
        total += 2 * m * n
    return total + 3 * hidden[-1] * latents


def count_one_head(*, pixels, hidden, latents):
    return size(stack([pixels, *hidden, latents]), stack([latents, *hidden[::-1], pixels]))


def count_encoder(*, pixels, hidden, latents):
    return size(stack([pixels, *hidden])) + 2 * (hidden[-1] * latents + latents)


def count_doubled(*, pixels, hidden, latents):
    return 2 * size(stack([pixels, *hidden]), *[nn.Linear(hidden[-1], latents) for _ in range(2)])


def draw(mu, logvar, eps):
    return torch.addcmul(mu, logvar.exp().sqrt(), eps)


def draw_variance(mu, logvar, eps):
    return mu + eps * torch.exp(logvar)


def draw_raw(mu, logvar, eps):
    std = logvar
    return mu + eps * std


@torch.no_grad()
def draw_detached(mu, logvar, eps):
    return mu + eps * torch.exp(0.5 * logvar)


def draw_width_detached(mu, logvar, eps):
    std = torch.exp(0.5 * logvar.data)
    return mu + std * eps


def draw_mean(mu, logvar, eps):
    return mu


ALTERNATIVES = {
    "bce_from_logits": [bce, bce_by_torch],
    "gaussian_log_likelihood": [gauss],
    "count_parameters": [count],
    "first_loss": [FIRST],
    "reparameterize": [draw],
    "no_gradient": [PARTS],
}
MISTAKEN = {
    "bce_from_logits": {
        "The sigmoid of a large logit": bce_naive,
        "PyTorch's function of probabilities": bce_clipped,
        "This is the mean over the pixels": bce_mean,
        "This is the log-likelihood": bce_negative,
        "The sigmoid is taken twice": bce_twice,
    },
    "gaussian_log_likelihood": {
        "log sigma is missing": gauss_no_width,
        "The squares lack": gauss_no_half,
        "The squares are divided by the standard deviation": gauss_std_for_variance,
        "log_std is used as": gauss_logvar,
        "The constant with 2 pi": gauss_no_constant,
        "This is minus the log-likelihood": gauss_negative,
    },
    "count_parameters": {
        "The biases are not counted": count_weights,
        "There is one head": count_one_head,
        "The decoder is not counted": count_encoder,
        "The decoder is counted as a second": count_doubled,
    },
    "first_loss": {
        "This is the mean over the pixels": FIRST | {"bce": 0.693},
        "This is the probability": FIRST | {"bce": 784 / 2},
        "The unit is bits": FIRST | {"bce": 784},
        "The closed form has a 1": FIRST | {"kl": 20 / 2},
        "The squares are not divided": FIRST | {"gaussian": 784 * 0.25 / 2},
        "The squares are divided by sigma": FIRST | {"gaussian": 784 * 0.25 / (2 * 0.25)},
    },
    "reparameterize": {
        "This is the variance": draw_variance,
        "logvar is used as": draw_raw,
        "The values are right": draw_detached,
        "The width is detached": draw_width_detached,
        "The noise is not used": draw_mean,
    },
    "no_gradient": {
        "The decoder comes after": PARTS | {"sample": {"encoder", "to_mu", "to_logvar", "decoder"}},
        "The KL does not pass": PARTS | {"sample + kl": {"encoder", "to_mu", "to_logvar"}},
        "Without noise": PARTS | {"mean": set()},
        "A part whose weights are fixed": PARTS
        | {"frozen decoder": {"encoder", "to_mu", "to_logvar", "decoder"}},
    },
}
