"""Answers to the exercises of lesson 05, right and mistaken, as a student writes them."""

import math

import torch
from torch import nn
from torch.distributions import Bernoulli

CURVES = {
    "A": "healthy",
    "B": "overfitting",
    "C": "collapse",
    "D": "no kl",
    "E": "mean over pixels",
}
FACTORS = {"sgd": 128, "adam": 1}


def terms(model, x, eps):
    logits, mu, logvar = model(x, eps)
    bce = -Bernoulli(logits=logits).log_prob(x).sum(-1)
    kl = -0.5 * (1 + logvar - mu.pow(2) - logvar.exp()).sum(-1)
    return bce, kl


def step(model, optimizer, x, eps):
    bce, kl = terms(model, x, eps)
    loss = bce.mean() + kl.mean()
    model.zero_grad()
    loss.backward()
    optimizer.step()
    return loss.item()


def step_without_clearing(model, optimizer, x, eps):
    bce, kl = terms(model, x, eps)
    torch.mean(bce + kl).backward()
    optimizer.step()


def step_summed(model, optimizer, x, eps):
    optimizer.zero_grad()
    bce, kl = terms(model, x, eps)
    (bce.sum() + kl.sum()).backward()
    optimizer.step()


def step_bce(model, optimizer, x, eps):
    optimizer.zero_grad()
    logits, *_ = model(x, eps)
    loss = nn.BCEWithLogitsLoss(reduction="sum")(logits, x) / len(x)
    loss.backward()
    optimizer.step()


def step_wrong_sign(model, optimizer, x, eps):
    optimizer.zero_grad()
    logits, mu, logvar = model(x, eps)
    bce = nn.BCEWithLogitsLoss(reduction="sum")(logits, x) / len(x)
    kl = 0.5 * torch.sum(1 + logvar - mu**2 - logvar.exp()) / len(x)
    (bce + kl).backward()
    optimizer.step()


def step_pixel_mean(model, optimizer, x, eps):
    optimizer.zero_grad()
    logits = model(x, eps)[0]
    _, kl = terms(model, x, eps)
    (nn.BCEWithLogitsLoss()(logits, x) + kl.mean()).backward()
    optimizer.step()


def step_forgotten(model, optimizer, x, eps):
    optimizer.zero_grad()
    bce, kl = terms(model, x, eps)
    (bce + kl).mean().backward()


def epoch(batches):
    return torch.cat(batches).mean()


def epoch_of_means(batches):
    return torch.stack([losses.mean() for losses in batches]).mean().item()


def epoch_first_size(batches):
    total = sum(losses.sum().item() for losses in batches)
    return total / (len(batches) * batches[0].numel())


def epoch_dropped(batches):
    full = [losses for losses in batches if len(losses) == len(batches[0])]
    return torch.cat(full).mean()


def epoch_summed(batches):
    return sum(losses.sum().item() for losses in batches)


def adam(gradient, *, lr, eps):
    m, v = 0.1 * gradient, 0.001 * gradient**2
    return -lr * (m / (1 - 0.9)) / (torch.sqrt(v / (1 - 0.999)) + eps)


def adam_uncorrected(gradient, *, lr, eps):
    m, v = 0.1 * gradient, 0.001 * gradient**2
    return -lr * m / (v.sqrt() + eps)


def adam_as_sgd(gradient, *, lr, eps):
    return -(lr * gradient)


def adam_uphill(gradient, *, lr, eps):
    return lr * gradient / (torch.sqrt(gradient**2) + eps)


def adam_sign(gradient, *, lr, eps):
    return -lr * torch.sign(gradient)


def adam_normalised(gradient, *, lr, eps):
    return -lr * gradient / (math.sqrt((gradient**2).sum().item()) + eps)


def momentum_sum(gradients, *, lr, momentum):
    steps = len(gradients)
    # gradient t is in the steps t to T, smaller by the momentum each time
    weights = [sum(momentum**k for k in range(steps - t)) for t in range(steps)]
    return -lr * (torch.tensor(weights, dtype=gradients.dtype)[:, None] * gradients).sum(0)


def momentum_none(gradients, *, lr, momentum):
    return -lr * gradients.sum(0)


def momentum_average(gradients, *, lr, momentum):
    u, total = 0.0, 0.0
    for g in gradients:
        u = u * momentum + g * (1 - momentum)
        total = total - lr * u
    return total


def momentum_nesterov(gradients, *, lr, momentum):
    u, total = 0.0, 0.0
    for g in gradients:
        u = u * momentum + g
        total = total - lr * (g + momentum * u)
    return total


def momentum_last(gradients, *, lr, momentum):
    u = 0.0
    for g in gradients:
        u = u * momentum + g
    return -lr * u


ALTERNATIVES = {
    "train_step": [step],
    "epoch_mean": [epoch],
    "adam_first_step": [adam],
    "momentum_change": [momentum_sum],
    "sum_for_mean": [FACTORS, {"sgd": 128.0, "adam": torch.tensor(1.0)}],
    "read_curves": [CURVES, {name: word.title() for name, word in CURVES.items()}],
}
MISTAKEN = {
    "train_step": {
        "The first step is right": step_without_clearing,
        "The loss is the sum": step_summed,
        "The KL is missing": step_bce,
        "The KL has the wrong sign": step_wrong_sign,
        "The bce is a mean over the pixels": step_pixel_mean,
        "The weights do not change": step_forgotten,
    },
    "epoch_mean": {
        "This is the mean of the batch means": epoch_of_means,
        "The sum is divided as if": epoch_first_size,
        "The last batch is left out": epoch_dropped,
        "This is the sum over the images": epoch_summed,
    },
    "adam_first_step": {
        "The moving averages are not corrected": adam_uncorrected,
        "This is a step of plain SGD": adam_as_sgd,
        "The step has the sign of the": adam_uphill,
        "eps is not used": adam_sign,
        "The gradient is divided by the length": adam_normalised,
    },
    "momentum_change": {
        "No velocity is carried": momentum_none,
        "The velocity is an average": momentum_average,
        "This is Nesterov's form": momentum_nesterov,
        "This is the last step": momentum_last,
    },
    "sum_for_mean": {
        "Adam does not step in proportion": {"sgd": 128, "adam": 128},
        "The factor is upside down": {"sgd": 1 / 128, "adam": 1},
        "SGD's step is proportional": {"sgd": 1, "adam": 1},
    },
    "read_curves": {
        "A gap of one nat": CURVES | {"A": "overfitting"},
        "A training loss that falls": CURVES | {"B": "healthy"},
        "The bce stays near": CURVES | {"C": "healthy"},
        "A kl that grows": CURVES | {"D": "healthy"},
        "The first bce shows that the unit": CURVES | {"E": "collapse"},
    },
}
