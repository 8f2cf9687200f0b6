"""Exercises of lesson 01: entropy, batches, means and pixels."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from itertools import islice, product
from typing import Any

import torch
from scipy.optimize import minimize_scalar
from scipy.special import entr, xlogy
from torch import Tensor

from vae_helpers.exercises.comparison import ANY, FormError, numbers, shown, written
from vae_helpers.exercises.exercise import Exercise


def _grey() -> Tensor:
    rng = torch.Generator().manual_seed(11)
    x = torch.rand(5, 8, generator=rng, dtype=torch.float64)
    x[:, 0], x[:, 1] = 0, 1  # a pixel that is always black, one that is always white
    return x


def _entropy(x: Tensor) -> Tensor:
    return torch.from_numpy(entr(x.numpy()) + entr(1 - x.numpy()))


FLOOR = Exercise(
    name="floor",
    tries=lambda: [(_grey(),)],
    expected=lambda x: _entropy(x).sum(dim=1),
    form="a tensor [B], nats per image, at least 0 and never NaN",
    hint="Try a black pixel by hand. What should 0 times the logarithm of 0 be here?",
    misconceptions={
        "A black or a white pixel gives NaN: 0 times the logarithm of 0 is computed as it "
        "stands.": lambda x: -(x * x.log() + (1 - x) * (1 - x).log()).sum(dim=1),
        "This is the mean over the pixels; nats per image are their sum.": lambda x: _entropy(
            x
        ).mean(dim=1),
        "The unit is bits: the logarithm has base 2.": lambda x: (
            _entropy(x).sum(dim=1) / math.log(2)
        ),
        "Only the case of a white pixel is counted; a pixel may also come out black.": lambda x: (
            -torch.special.xlogy(x, x).sum(dim=1)
        ),
        "This is minus the entropy, which is never negative.": lambda x: -_entropy(x).sum(dim=1),
    },
)


def _least_constant_loss(x: Tensor) -> float:
    """The minimum over each pixel's constant, by a search that takes no derivative."""

    def loss(p: float, pixel: Any) -> float:
        return float(-(xlogy(pixel, p) + xlogy(1 - pixel, 1 - p)).mean())

    found = (
        minimize_scalar(loss, args=(pixel,), bounds=(1e-9, 1 - 1e-9), method="bounded")
        for pixel in x.T.numpy()
    )
    return sum(float(each.fun) for each in found)


def _of_constant(x: Tensor, p: Tensor) -> Tensor:
    loss: Tensor = torch.special.xlogy(x, p) + torch.special.xlogy(1 - x, 1 - p)
    return -loss.mean(dim=0).sum()


BEST_CONSTANT = Exercise(
    name="best_constant",
    tries=lambda: [(_grey(),)],
    expected=_least_constant_loss,
    form="one number, nats per image: the mean over the images of the sum over the pixels",
    hint="Set the derivative of one pixel's mean loss to zero. The constant may differ per pixel.",
    misconceptions={
        "One constant serves all pixels here; each pixel may have its own.": lambda x: _of_constant(
            x, x.mean()
        ),
        "This is the mean entropy of the images, the floor that no model passes; a constant "
        "does worse.": lambda x: _entropy(x).sum(dim=1).mean(),
        "This is the mean over the pixels; nats per image are their sum.": lambda x: (
            _of_constant(x, x.mean(dim=0)) / x.shape[1]
        ),
        "A pixel that is black in every image gives NaN: 0 times the logarithm of 0 is computed as "
        "it stands.": lambda x: x.sum() * math.nan,
        "The constant is rounded to black or white, so every grey pixel has an infinite "
        "loss.": lambda x: _of_constant(x, x.mean(dim=0).round()),
    },
    tolerance=1e-4,
)

N, BATCH = 1_000, 64


def _batches(answer: Callable[..., Iterator[Any]]) -> dict[str, bool]:
    """Properties of an epoch, which hold whatever the order is."""

    def epoch(seed: int) -> list[Tensor]:
        rng = torch.Generator().manual_seed(seed)
        batches = answer(N, batch_size=BATCH, rng=rng)
        written(batches)
        found = [numbers(it) for it in islice(batches, N + 1)]  # one that has no end is cut
        if len(found) > N:
            raise FormError("expected the batches of one epoch, got more batches than images")
        if not found or any(batch.ndim != 1 for batch in found):
            raise FormError(f"expected batches of indices [B], got {shown(found[:1] or found)}")
        return found

    first, again, other = epoch(0), epoch(0), epoch(1)
    order = torch.cat(first)
    neighbours = (order.diff() == 1).double().mean().item()
    same_length = len(order) == len(torch.cat(again)) == len(torch.cat(other))
    return {
        "every image comes": set(order.tolist()) == set(range(N)),
        "none comes twice": len(set(order.tolist())) == len(order),
        "batches have the size": all(len(it) == BATCH for it in first[:-1])
        and 0 < len(first[-1]) <= BATCH,
        "neighbours are separated": neighbours < 0.1,
        "the order depends on rng": same_length and not torch.equal(order, torch.cat(other)),
        "and on nothing else": same_length and torch.equal(order, torch.cat(again)),
    }


def _shuffled(n: int, batch_size: int, rng: torch.Generator | None) -> list[Tensor]:
    return list(torch.randperm(n, generator=rng).split(batch_size))


def _blocks(n: int, *, batch_size: int, rng: torch.Generator) -> list[Tensor]:
    parts = torch.arange(n).split(batch_size)
    full, rest = parts[: n // batch_size], parts[n // batch_size :]
    order = torch.randperm(len(full), generator=rng).tolist()
    return [full[i] for i in order] + list(rest)


EPOCH_BATCHES = Exercise(
    name="epoch_batches",
    tries=lambda: [()],
    observe=_batches,
    expected=lambda: dict.fromkeys(
        (
            "every image comes",
            "none comes twice",
            "batches have the size",
            "neighbours are separated",
            "the order depends on rng",
            "and on nothing else",
        ),
        True,
    ),
    form="a generator of index tensors [B], each of batch_size indices but for the last",
    hint="Draw one permutation of all indices with rng, then cut it.",
    misconceptions={
        "The ragged last batch is left out, or other indices from 0 to n - 1 never come.": (
            lambda n, *, batch_size, rng: _shuffled(n, batch_size, rng)[: n // batch_size]
        ),
        "Indices are drawn with replacement: some images come twice and others "
        "never.": lambda n, *, batch_size, rng: torch.randint(n, (n,), generator=rng).split(
            batch_size
        ),
        "The images come in the order of the file in every epoch.": (
            lambda n, *, batch_size, rng: torch.arange(n).split(batch_size)
        ),
        "The order is drawn by a global generator, not by rng.": (
            lambda n, *, batch_size, rng: _shuffled(n, batch_size, None)
        ),
        "Only the batches are shuffled; each one holds neighbours of the file.": _blocks,
    },
)

LAST_BATCH = Exercise(
    name="last_batch",
    expected={"batches": 196, "last": 80, "weight": 256 / 80},
    form="a dictionary with the numbers 'batches', 'last' and 'weight'",
    hint="In a mean of batch means each batch counts the same. What does one of its images count?",
    misconceptions={
        "The ragged batch is not counted among the batches.": {"batches": 195},
        "The weight is upside down: an image of a small batch shares its mean with fewer others.": {
            "weight": 80 / 256
        },
        "An image counts the same everywhere only if all batches have one size.": {"weight": 1},
        "This is the number that is missing from the last batch, not the number in it.": {
            "last": 176
        },
    },
    tolerance=2e-3,
)


def _loss_of(logits: Tensor, x: Tensor) -> Tensor:
    return (torch.nn.functional.softplus(logits) - x * logits).sum(dim=-1)


def _moments(logits: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and variance over all black-and-white images, one by one."""
    every = torch.tensor(list(product((0.0, 1.0), repeat=x.shape[1])), dtype=x.dtype)[:, None]
    share = torch.where(every == 1, x, 1 - x).prod(dim=2)  # [2^P, B]
    loss = -torch.where(every == 1, logits.sigmoid(), 1 - logits.sigmoid()).log().sum(dim=2)
    mean = (share * loss).sum(dim=0)
    return mean, (share * (loss - mean).square()).sum(dim=0)


def _tries_moments() -> list[tuple[Tensor, Tensor]]:
    rng = torch.Generator().manual_seed(13)
    x = torch.rand(3, 5, generator=rng, dtype=torch.float64)
    return [(2 * torch.randn(3, 5, generator=rng, dtype=torch.float64), x)]


BINARISED_LOSS = Exercise(
    name="binarised_loss",
    tries=_tries_moments,
    expected=_moments,
    form="a pair of tensors [B]: the mean in nats, the variance in nats squared",
    hint="The bce is linear in every pixel, and the pixels are independent.",
    misconceptions={
        "The images are rounded at one half before the loss; they are to be drawn.": (
            lambda logits, x: (_loss_of(logits, x.round()), ANY)
        ),
        "This is the variance of the pixels; the factor by which a pixel enters the loss "
        "is missing.": lambda logits, x: (ANY, (x * (1 - x)).sum(dim=1)),
        "The second result is the standard deviation; the variance was asked for.": (
            lambda logits, x: (ANY, (x * (1 - x) * logits**2).sum(dim=1).sqrt())
        ),
        "The factor of each pixel must be squared in a variance.": (
            lambda logits, x: (ANY, (x * (1 - x) * logits.abs()).sum(dim=1))
        ),
    },
)

BYTES = Exercise(
    name="bytes_loss",
    expected={
        "untrained": 784 * math.log(2),
        "all_one": 784 * (math.log(1 + math.e) - 33.3),
        "limit": "minus infinity",
    },
    form="a dictionary with the numbers 'untrained' and 'all_one' in nats per image, and "
    "'limit', which is 'zero', 'infinity' or 'minus infinity'",
    hint="Write the bce of one pixel as log(1 + exp(l)) - x l and put in the logit.",
    misconceptions={
        "The loss is not 255 times as large: at a logit of zero it does not depend on the pixel.": {
            "untrained": 255 * 784 * math.log(2)
        },
        "This is the mean over the pixels; nats per image are their sum.": {
            "untrained": math.log(2)
        },
        "A cross-entropy is at least zero for targets in [0, 1] only, and these are larger.": {
            "limit": "zero"
        },
        "This is the loss of pixels that were divided by 255; here the division was forgotten.": {
            "all_one": 784 * (math.log(1 + math.e) - 33.3 / 255)
        },
    },
    tolerance=1e-3,
)

WHICH_PIXELS = Exercise(
    name="which_pixels",
    expected={"A": "normalised", "B": "drawn", "C": "bytes", "D": "rounded", "E": "grey"},
    form="a dictionary from 'A', 'B', 'C', 'D' and 'E' to 'grey', 'bytes', 'normalised', "
    "'rounded' or 'drawn'",
    hint="First look at the range, then count the values, then compare two visits.",
    misconceptions={
        "Rounding gives the same image at every visit; only draws differ.": {
            "B": "rounded",
            "D": "drawn",
        },
        "Pixels as probabilities lie in [0, 1]; a value below zero has another cause.": {
            "A": "grey"
        },
        "Division by 255 keeps pixels in [0, 1]; it cannot have happened here.": {"C": "grey"},
    },
)

EXERCISES = (
    FLOOR,
    BEST_CONSTANT,
    EPOCH_BATCHES,
    LAST_BATCH,
    BINARISED_LOSS,
    BYTES,
    WHICH_PIXELS,
)
