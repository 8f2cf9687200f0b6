"""Exercises of lesson 17: tests that find a mistake, walls, second opinions, and a ward."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.distributions import Normal, kl_divergence

from vae_helpers.exercises.comparison import truth
from vae_helpers.exercises.exercise import Exercise

Implementation = Callable[..., Any]


def _verdicts(test: Implementation, implementations: Mapping[str, Implementation]) -> Any:
    """What a test says of each implementation; a failed `assert` says that it is wrong."""
    found = {}
    for name, it in implementations.items():
        try:
            found[name] = truth(test(it))
        except AssertionError:
            found[name] = False
    return found


def _kl(mu: Tensor, logvar: Tensor) -> Tensor:
    return kl_divergence(Normal(mu, (logvar / 2).exp()), Normal(0.0, 1.0))  # [B, D]


KLS: dict[str, Implementation] = {
    "right": lambda mu, logvar: 0.5 * (mu**2 + logvar.exp() - 1 - logvar).sum(dim=1),
    "right, by torch": lambda mu, logvar: _kl(mu, logvar).sum(dim=1),
    "no half": lambda mu, logvar: 2 * _kl(mu, logvar).sum(dim=1),
    "minus": lambda mu, logvar: -_kl(mu, logvar).sum(dim=1),
    "no 1": lambda mu, logvar: (_kl(mu, logvar) + 0.5).sum(dim=1),
    "mean over latents": lambda mu, logvar: _kl(mu, logvar).mean(dim=1),
    "mean over images": lambda mu, logvar: _kl(mu, logvar).sum(dim=1).mean(dim=0, keepdim=True),
    "log of the deviation": lambda mu, logvar: _kl(mu, 2 * logvar).sum(dim=1),
    "no logvar": lambda mu, logvar: (_kl(mu, logvar) + logvar / 2).sum(dim=1),
}


def _close(a: Tensor, b: Tensor) -> bool:
    return a.shape == b.shape and torch.allclose(a, b)


def _at(mu: Tensor, logvar: Tensor) -> Callable[[Implementation], bool]:
    """A test that looks at given means and log-variances alone."""
    return lambda kl: _close(kl(mu, logvar), _kl(mu, logvar).sum(dim=1))


def _numbers(*size: int) -> Tensor:
    rng = torch.Generator().manual_seed(171)
    return torch.randn(*size, generator=rng, dtype=torch.float64)


KL_TEST = Exercise(
    name="kl_test",
    tries=lambda: [(KLS,)],
    observe=_verdicts,
    expected=lambda kls: {name: name.startswith("right") for name in kls},
    form="True for a right implementation and False for a wrong one",
    hint="Compare with a result that was found in another way, at numbers where no term vanishes "
    "and no two factors are equal.",
    misconceptions={
        "At the prior alone nearly all mistakes give 0 as well: the test needs other numbers, "
        "too.": lambda kl: bool((kl(torch.zeros(3, 2), torch.zeros(3, 2)).abs() < 1e-6).all()),
        "A KL that is at least 0 need not be the right one.": lambda kl: bool(
            (kl(_numbers(3, 2), _numbers(3, 2)) >= 0).all()
        ),
        "The right shape may hold wrong numbers.": lambda kl: (
            kl(_numbers(3, 2), _numbers(3, 2)).shape == (3,)
        ),
        "With all variances at 1 mistakes in the variance stay hidden.": _at(
            _numbers(3, 2), torch.zeros(3, 2).double()
        ),
        "With a single latent its mean and its sum are the same number.": _at(
            _numbers(3, 1), _numbers(3, 1).flip(0)
        ),
        "With a single image its value and the mean over images are the same number.": _at(
            _numbers(1, 3), _numbers(1, 3).flip(1)
        ),
    },
)


def _generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def _batches(n: int, size: int, seed: int) -> list[Tensor]:
    return list(torch.randperm(n, generator=_generator(seed)).split(size))


def _batches_by_numpy(n: int, size: int, seed: int) -> list[Tensor]:
    order = torch.from_numpy(np.random.default_rng(seed).permutation(n))
    return [order[start : start + size] for start in range(0, n, size)]


def _filled_up(n: int, size: int, seed: int) -> list[Tensor]:
    order = torch.randperm(n, generator=_generator(seed))
    return list(torch.cat([order, order[: -n % size]]).split(size))


BATCHES: dict[str, Implementation] = {
    "right": _batches,
    "right, by numpy": _batches_by_numpy,
    "last batch dropped": lambda n, size, seed: [
        it for it in _batches(n, size, seed) if len(it) == size
    ],
    "last batch filled up": _filled_up,
    "drawn with return": lambda n, size, seed: list(
        torch.randint(n, (n,), generator=_generator(seed)).split(size)
    ),
    "not shuffled": lambda n, size, seed: list(torch.arange(n).split(size)),
    "one order for all seeds": lambda n, size, seed: _batches(n, size, 0),
}


def _each_once(batches: Implementation, n: int, size: int) -> bool:
    return sorted(torch.cat(batches(n, size, 3)).tolist()) == list(range(n))


def _orders_differ(batches: Implementation) -> bool:
    return not torch.equal(torch.cat(batches(30, 8, 1)), torch.cat(batches(30, 8, 2)))


def _sizes(batches: Implementation) -> bool:
    return [len(it) for it in batches(30, 8, 1)] == [8, 8, 8, 6]


BATCHES_TEST = Exercise(
    name="batches_test",
    tries=lambda: [(BATCHES,)],
    observe=_verdicts,
    expected=lambda ways: {name: name.startswith("right") for name in ways},
    form="True for a right implementation and False for a wrong one",
    hint="Take sizes that do not divide the number of images, and count how often each index "
    "comes. What should another seed change?",
    misconceptions={
        "As many indices as images are not yet every image once.": lambda batches: (
            _sizes(batches) and _orders_differ(batches)
        ),
        "With a size that divides the number of images the last batch is like all others.": (
            lambda batches: _each_once(batches, 32, 8) and _orders_differ(batches)
        ),
        "Every image comes once, but nothing was asked about the order.": lambda batches: (
            _each_once(batches, 30, 8) and _sizes(batches)
        ),
        "A set of indices does not see that some of them come twice.": lambda batches: (
            set(torch.cat(batches(30, 8, 3)).tolist()) == set(range(30)) and _orders_differ(batches)
        ),
        "A right implementation is refused: nothing was said about which order a seed "
        "gives.": lambda batches: all(
            torch.equal(torch.cat(batches(30, 8, it)), torch.cat(_batches(30, 8, it)))
            for it in (1, 2)
        ),
        "It is not enough that the order is not 0, 1, 2: another seed has to give "
        "another one.": lambda batches: (
            _each_once(batches, 30, 8)
            and _sizes(batches)
            and not torch.equal(torch.cat(batches(30, 8, 1)), torch.arange(30))
        ),
    },
)


def _greys() -> list[tuple[Tensor]]:
    rng = _generator(173)
    images = torch.rand(3, 9, generator=rng, dtype=torch.float64)
    images[:, :3], images[:, 3] = 0.0, 1.0
    return [(images,)]


def _walled(images: Tensor) -> Tensor:
    """By trying 20,001 outputs of the decoder for every pixel."""
    first = torch.linspace(-40, 40, 20_001, dtype=torch.float64).sigmoid()
    costs = F.softplus(first) - images[..., None] * first
    return costs.amin(dim=-1).sum(dim=1)


def _cross_entropy(images: Tensor, means: Tensor) -> Tensor:
    return F.binary_cross_entropy(means, images, reduction="none").sum(dim=1)


MOST = 1 / (1 + math.exp(-1))

LOWEST_BCE = Exercise(
    name="lowest_bce",
    tries=_greys,
    expected=_walled,
    form="a tensor [B], nats per image",
    hint="Which means can the second sigmoid reach, if what goes in lies between 0 and 1?",
    misconceptions={
        "One half everywhere is the best for black pixels; light ones can do better.": (
            lambda images: torch.full_like(images[:, 0], images.shape[1] * math.log(2))
        ),
        "This is the floor without the second sigmoid: a mean near 0 is out of reach.": (
            lambda images: _cross_entropy(images, images)
        ),
        "The means reach from one half to 1 here; the second sigmoid stops well below 1.": (
            lambda images: _cross_entropy(images, images.clamp(min=0.5))
        ),
        "This is what the pixels themselves cost as logits; the decoder is free to choose "
        "better.": lambda images: _cross_entropy(images, images.sigmoid()),
        "This is the mean over the pixels.": lambda images: _walled(images) / images.shape[1],
    },
    tolerance=1e-4,
)


class _Tiny(nn.Module):
    """Six pixels, two latents, no hidden layer."""

    def __init__(self) -> None:
        super().__init__()
        self.heads = nn.Linear(6, 4)
        self.to_logits = nn.Linear(2, 6)


def _reading(
    model: _Tiny,
    x: Tensor,
    eps: Tensor,
    *,
    beta: float = 1.0,
    noise: bool = True,
    pixel_mean: bool = False,
    half: bool = True,
) -> tuple[Tensor, Tensor]:
    """The mean of what is minimised, and of what is reported: bce + kl."""
    mu, logvar = model.heads(x).chunk(2, dim=1)
    logits = model.to_logits(mu + (logvar / 2).exp() * eps * noise)
    bce = F.binary_cross_entropy_with_logits(logits, x, reduction="none").sum(dim=1)
    bce = bce / x.shape[1] if pixel_mean else bce
    kl = _kl(mu, logvar).sum(dim=1) * (1 if half else 2)
    return (bce + beta * kl).mean(), (bce + kl).mean().detach()


def _opinions() -> dict[str, str]:
    """Train a patient with its own code, read it with its own code and with the healthy one."""
    rng = _generator(174)
    train, test = torch.bernoulli(torch.full((2, 20, 6), 0.4), generator=rng)
    eps = torch.randn(20, 2, generator=rng)
    start = [torch.randn(it.shape, generator=rng) for it in _fresh().parameters()]

    def opinion(lr: float = 0.1, batch: int = 20, own: Tensor = test, **mistakes: Any) -> str:
        model = _fresh()
        with torch.no_grad():
            for weight, value in zip(model.parameters(), start, strict=True):
                weight.copy_(value)
        for _ in range(5):
            loss = _reading(model, train[:batch], eps[:batch], **mistakes)[0]
            slopes = torch.autograd.grad(loss, list(model.parameters()))
            with torch.no_grad():
                for weight, slope in zip(model.parameters(), slopes, strict=True):
                    weight.sub_(lr * slope)
        reported = _reading(model, own, eps, **mistakes)[1]
        again = _reading(model, test, eps)[1]
        return "same" if torch.allclose(reported, again) else "differs"

    return {
        "no kl in what is minimised": opinion(beta=0.0),
        "no half in the kl": opinion(half=False),
        "no noise in the draw": opinion(noise=False),
        "long steps": opinion(lr=1.0),
        "mean over pixels": opinion(pixel_mean=True),
        "last batch dropped": opinion(batch=15),
        "training images as test images": opinion(own=train),
    }


def _fresh() -> _Tiny:
    with torch.random.fork_rng(devices=[]):  # an import draws nothing that a reader would miss
        return _Tiny()


SECOND_OPINION = Exercise(
    name="second_opinion",
    expected=_opinions(),
    form="a dictionary from the seven mistakes to 'same' or 'differs'",
    hint="Ask of each line whether it is run when the patient's own code evaluates, or only while "
    "it trains.",
    misconceptions={
        "What is reported still holds bce and kl, both computed rightly: the training is ill, and "
        "the meter is not.": {"no kl in what is minimised": "differs"},
        "The function of the kl is the one that reports it, too.": {"no half in the kl": "same"},
        "The patient's own evaluation draws without noise as well; the healthy one does not.": {
            "no noise in the draw": "same"
        },
        "A badly trained model is measured by both in one way, and both find it bad.": {
            "long steps": "differs"
        },
        "Both readings are of one set of weights, but the units are not those of one meter.": {
            "mean over pixels": "same"
        },
        "Which images were trained on is no part of an evaluation.": {
            "last batch dropped": "differs"
        },
    },
)

READ_WARD = Exercise(
    name="read_ward",
    expected={
        "A": "codes of other images",
        "B": "mean over latents",
        "C": "no step",
        "D": "no half in the kl",
        "E": "pixels to 255",
    },
    form="a dictionary from 'A' to 'E' to names from the list",
    hint="First ask whether a value is possible, then whether it moves, then whether the two "
    "meters agree, and by which factor they do not.",
    misconceptions={
        "The bce comes to rest at the best constant while the kl was well above zero at first: "
        "what the codes say is of no use to this decoder.": {"A": "kl dropped"},
        "The kl would run away if nothing held it; here two meters differ by the number of "
        "latents.": {"B": "kl dropped"},
        "The bce is above that of one half everywhere, and equal at all times: nothing was "
        "learned at all.": {"C": "codes of other images"},
        "Compare the two readings of the kl: the healthy meter reads exactly one half.": {
            "D": "mean over latents"
        },
        "A cross-entropy of an image between black and white cannot be negative.": {
            "E": "kl dropped"
        },
    },
)

EXERCISES = (KL_TEST, BATCHES_TEST, LOWEST_BCE, SECOND_OPINION, READ_WARD)
