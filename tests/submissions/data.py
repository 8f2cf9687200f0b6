"""Answers to the exercises of lesson 01, right and mistaken, as a student writes them."""

import math
import random

import torch

PICTURES = {"A": "normalised", "B": "drawn", "C": "bytes", "D": "rounded", "E": "grey"}
LAST = {"batches": 196, "last": 80, "weight": 3.2}
BYTES = {"untrained": 543.43, "all_one": -25_077.6, "limit": "minus infinity"}


def floor_by_cases(x):
    inside = torch.where((x > 0) & (x < 1), x, torch.full_like(x, 0.5))
    h = -inside * inside.log() - (1 - inside) * (1 - inside).log()
    return torch.where((x > 0) & (x < 1), h, torch.zeros_like(h)).sum(1)


def floor_nan(x):
    black = (1 - x) * torch.log(1 - x)
    white = x * torch.log(x)
    return -(black + white).sum(-1)


def floor_mean(x):
    return torch.special.entr(x).mean(1) + torch.special.entr(1 - x).mean(1)


def floor_bits(x):
    p = x.clamp(1e-12, 1 - 1e-12)
    return -(p * p.log2() + (1 - p) * (1 - p).log2()).sum(1)


def floor_white_only(x):
    return torch.special.entr(x).sum(1)


def floor_negative(x):
    p = x.clamp(1e-12, 1 - 1e-12)
    return torch.sum(p * torch.log(p) + (1 - p) * torch.log(1 - p), dim=1)


def constant_by_entropy(x):
    p = x.mean(0)
    return (torch.special.entr(p) + torch.special.entr(1 - p)).sum().item()


def one_constant(x):
    p = x.mean().item()
    return -x.shape[1] * (p * math.log(p) + (1 - p) * math.log(1 - p))


def constant_floor(x):
    return floor_by_cases(x).mean()


def constant_pixel_mean(x):
    return constant_by_entropy(x) / x.size(1)


def constant_nan(x):
    p = x.mean(dim=0)
    return torch.sum(-x * p.log() - (1 - x) * (1 - p).log(), dim=1).mean()


def constant_rounded(x):
    p = (x.mean(dim=0) > 0.5).to(x.dtype)
    loss = torch.where(p == 1, torch.xlogy(1 - x, 1 - p), torch.xlogy(x, p))
    return -loss.sum(1).mean()


def batches_by_slices(n, *, batch_size, rng):
    order = torch.argsort(torch.rand(n, generator=rng)).tolist()
    for start in range(0, n, batch_size):
        yield torch.tensor(order[start : start + batch_size])


def batches_dropped(n, *, batch_size, rng):
    order = torch.randperm(n, generator=rng)
    for i in range(n // batch_size):
        yield order[i * batch_size : (i + 1) * batch_size]


def batches_replaced(n, *, batch_size, rng):
    left = n
    while left > 0:
        size = min(batch_size, left)
        yield torch.randint(0, n, (size,), generator=rng)
        left -= size


def batches_in_order(n, *, batch_size, rng):
    for start in range(0, n, batch_size):
        yield torch.arange(start, min(start + batch_size, n))


def batches_global(n, *, batch_size, rng):
    order = list(range(n))
    random.shuffle(order)
    for start in range(0, n, batch_size):
        yield torch.tensor(order[start : start + batch_size])


def batches_of_neighbours(n, *, batch_size, rng):
    starts = torch.arange(0, n - batch_size + 1, batch_size)
    for start in starts[torch.randperm(len(starts), generator=rng)].tolist():
        yield torch.arange(start, start + batch_size)
    if n % batch_size:
        yield torch.arange(n - n % batch_size, n)


def moments_by_parts(logits, x):
    off = torch.log1p(torch.exp(logits))
    on = off - logits
    mean = x * on + (1 - x) * off
    variance = x * on**2 + (1 - x) * off**2 - mean**2
    return [mean.sum(1), variance.sum(1)]


def moments_rounded(logits, x):
    b = (x > 0.5).to(x.dtype)
    mean = torch.log1p(logits.exp()) - b * logits
    return mean.sum(1), (x * (1 - x) * logits**2).sum(1)


def moments_without_factor(logits, x):
    return moments_by_parts(logits, x)[0], (x - x**2).sum(1)


def moments_std(logits, x):
    mean, variance = moments_by_parts(logits, x)
    return mean, torch.sqrt(variance)


def moments_not_squared(logits, x):
    return moments_by_parts(logits, x)[0], (x * (1 - x) * abs(logits)).sum(1)


ALTERNATIVES = {
    "floor": [floor_by_cases],
    "best_constant": [constant_by_entropy],
    "epoch_batches": [batches_by_slices],
    "last_batch": [LAST, {"weight": torch.tensor(256 / 80), "last": 80.0, "batches": 196}],
    "binarised_loss": [moments_by_parts],
    "bytes_loss": [BYTES, BYTES | {"limit": " Minus infinity"}],
    "which_pixels": [PICTURES],
}
MISTAKEN = {
    "floor": {
        "A black or a white pixel gives NaN": floor_nan,
        "This is the mean over the pixels": floor_mean,
        "The unit is bits": floor_bits,
        "Only the case of a white pixel": floor_white_only,
        "This is minus the entropy": floor_negative,
    },
    "best_constant": {
        "One constant serves all pixels": one_constant,
        "This is the mean entropy of the images": constant_floor,
        "This is the mean over the pixels": constant_pixel_mean,
        "A pixel that is black in every image": constant_nan,
        "The constant is rounded": constant_rounded,
    },
    "epoch_batches": {
        "The ragged last batch": batches_dropped,
        "Indices are drawn with replacement": batches_replaced,
        "The images come in the order of the file": batches_in_order,
        "The order is drawn by a global": batches_global,
        "Only the batches are shuffled": batches_of_neighbours,
    },
    "last_batch": {
        "The ragged batch is not counted": LAST | {"batches": 50_000 // 256},
        "The weight is upside down": LAST | {"weight": 0.3125},
        "An image counts the same everywhere": LAST | {"weight": 1.0},
        "This is the number that is missing": LAST | {"last": 176},
    },
    "binarised_loss": {
        "The images are rounded": moments_rounded,
        "This is the variance of the pixels;": moments_without_factor,
        "The second result is the standard deviation": moments_std,
        "The factor of each pixel must be squared": moments_not_squared,
    },
    "bytes_loss": {
        "The loss is not 255 times as": BYTES | {"untrained": 138_575},
        "This is the mean over the pixels;": BYTES | {"untrained": 0.6931},
        "A cross-entropy is at least zero for": BYTES | {"limit": "zero"},
        "This is the loss of pixels that": BYTES | {"all_one": 927.2},
    },
    "which_pixels": {
        "Rounding gives the same image": PICTURES | {"B": "rounded", "D": "drawn"},
        "Pixels as probabilities lie in [0, 1];": PICTURES | {"A": "grey"},
        "Division by 255 keeps": PICTURES | {"C": "grey"},
    },
}
