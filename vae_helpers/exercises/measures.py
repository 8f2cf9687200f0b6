"""Exercises of lesson 12: contrast, the rule for measures, ranks, a coin, and neighbours."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import torch
from scipy.special import expit, logit
from scipy.stats import binom, kendalltau, norm, pearsonr, rankdata, spearmanr
from torch import Tensor

from vae_helpers.exercises.exercise import Exercise


def _images() -> list[tuple[Tensor, float]]:
    rng = torch.Generator().manual_seed(121)
    images = torch.rand(3, 8, generator=rng, dtype=torch.float64)
    images[:, 0], images[:, 1] = 0.0, 1.0  # as most pixels of MNIST are
    return [(images, 3.0), (images, 0.5)]


def _contrast(images: Tensor, factor: float) -> Tensor:
    return torch.from_numpy(expit(factor * logit(images.numpy())))


WITH_CONTRAST = Exercise(
    name="with_contrast",
    tries=_images,
    expected=_contrast,
    form="a tensor [B, P] from 0 to 1, in which black stays 0 and white stays 1",
    hint="With odds o = x / (1 - x), multiplying the logit is raising o to a power.",
    misconceptions={
        "The pixels are scaled about one half and cut off, which makes light greys all white: the "
        "factor belongs to the logits.": lambda images, factor: (
            0.5 + factor * (images - 0.5)
        ).clamp(0, 1),
        "The pixels themselves are multiplied: greys below one half come to lie above it.": (
            lambda images, factor: (factor * images).clamp(0, 1)
        ),
        "A power of the pixel moves it across one half, so rounding would see it.": (
            lambda images, factor: images**factor
        ),
        "The odds are multiplied, which adds to the logit: this is brightness.": (
            lambda images, factor: factor * images / (factor * images + 1 - images)
        ),
        "The logits are divided by the factor.": lambda images, factor: _contrast(
            images, 1 / factor
        ),
    },
)

Measure = dict[str, Any]


def _measure(
    recontrasted: tuple[float, ...] = (10.2, 9.9),
    tripled: tuple[float, float] = (31, 49),
    steps: tuple[float, ...] = (12, 18, 30),
    *,
    higher: bool = False,
) -> Measure:
    """A measure of which real digits have 10, the VAE 30 and the GAN 50; turned if more is good."""
    sign = -1 if higher else 1

    def turn(values: Iterable[float]) -> list[float]:
        return [sign * value for value in values]

    return {
        "higher is better": higher,
        "real": sign * 10,
        "real, other contrast": turn(recontrasted),
        "VAE": sign * 30,
        "VAE, tripled": sign * tripled[0],
        "GAN": sign * 50,
        "GAN, tripled": sign * tripled[1],
        "damages": {"blur": turn((13, 20, 40)), "holes": turn(steps)},
    }


def _measures() -> list[tuple[Measure]]:
    return [
        (_measure(),),
        (_measure(higher=True),),
        (_measure((10.2, 16.0)),),
        (_measure((10.1, 4.0)),),
        (_measure((10.5, 14.0)),),  # a fifth of the difference, and two fifths of the real value
        (_measure(tripled=(38, 50)),),
        (_measure(tripled=(30, 42)),),
        (_measure(steps=(14, 12, 30)),),
        (_measure(steps=(10, 18, 30)),),
        (_measure(steps=(9, 8, 5)),),
        (_measure(steps=(9, 8, 5), higher=True),),
    ]


def _rising(values: list[float]) -> bool:
    return bool((np.diff(values) > 0).all())


def _may_judge(
    measure: Measure,
    *,
    models: bool = True,
    size: Callable[[float], float] = abs,
    ends: bool = False,
    turn: bool = True,
    scale: str = "difference",
    enough: Callable[[Iterable[bool]], bool] = all,
) -> bool:
    real, vae, gan = (measure[it] for it in ("real", "VAE", "GAN"))
    changes = [value - real for value in measure["real, other contrast"]]
    if models:
        changes += [measure["VAE, tripled"] - vae, measure["GAN, tripled"] - gan]
    whole = abs(vae - gan) if scale == "difference" else abs(real)
    sign = -1 if turn and measure["higher is better"] else 1
    steps = [[sign * it for it in (real, *damage)] for damage in measure["damages"].values()]
    if ends:
        steps = [[values[0], values[-1]] for values in steps]
    still = max(map(size, changes)) < whole / 4
    return still and enough([_rising(values) for values in steps])


MAY_JUDGE = Exercise(
    name="may_judge",
    tries=_measures,
    expected=_may_judge,
    form="True or False",
    hint="List the three kinds of changes by contrast, and all steps of every damage, the step "
    "from the undamaged images included.",
    misconceptions={
        "Contrast is tried on real digits alone; the samples of both models were recontrasted, "
        "too.": lambda measure: _may_judge(measure, models=False),
        "A change counts in either direction: its size is missing.": lambda measure: _may_judge(
            measure, size=float
        ),
        "Only the first and the last value of a damage are compared; every step counts.": (
            lambda measure: _may_judge(measure, ends=True)
        ),
        "Some measures fall when images get worse: the direction is not looked at.": (
            lambda measure: _may_judge(measure, turn=False)
        ),
        "The change is compared with the value of real images, which has nothing to do with how "
        "far models are apart.": lambda measure: _may_judge(measure, scale="real"),
        "It is not enough that one damage is seen: every one has to be.": lambda measure: (
            _may_judge(measure, enough=any)
        ),
    },
)


def _pairs() -> list[tuple[Tensor, Tensor]]:
    rng = torch.Generator().manual_seed(123)
    a = torch.randint(0, 6, (15,), generator=rng).double()  # with ties
    noise = torch.randn(15, generator=rng, dtype=torch.float64)
    return [(a, (a / 2 + noise).exp()), (a, torch.randint(0, 4, (15,), generator=rng).double())]


def _by_squares(a: Tensor, b: Tensor) -> float:
    n = len(a)
    squares = (rankdata(a.numpy()) - rankdata(b.numpy())) ** 2
    return float(1 - 6 * squares.sum() / (n * (n**2 - 1)))


def _correlation(a: Tensor, b: Tensor) -> Tensor:
    return torch.corrcoef(torch.stack([a, b]).double())[0, 1]


RANK_CORRELATION = Exercise(
    name="rank_correlation",
    tries=_pairs,
    expected=lambda a, b: float(spearmanr(a.numpy(), b.numpy()).statistic),
    form="one number from -1 to 1",
    hint="Equal values share the mean of their places. What follows is the usual correlation.",
    misconceptions={
        "This is the correlation of the values: one far outlier decides it, and ranks were asked "
        "for.": lambda a, b: float(pearsonr(a.numpy(), b.numpy()).statistic),
        "One argsort gives which element comes first, second, third; the ranks are its "
        "inverse.": lambda a, b: _correlation(a.argsort(), b.argsort()),
        "Equal values get different ranks, by their place in the list.": lambda a, b: _correlation(
            a.argsort().argsort(), b.argsort().argsort()
        ),
        "The formula with 6 and squared differences holds only without equal values.": _by_squares,
        "This is Kendall's coefficient, which counts pairs in the same order.": lambda a, b: float(
            kendalltau(a.numpy(), b.numpy()).statistic
        ),
    },
)

CHANCE_BY_COIN = Exercise(
    name="chance_by_coin",
    tries=lambda: [(59, 100), (530, 1_000), (14, 20)],
    expected=lambda right, n: float(binom.sf(right - 1, n, 0.5)),
    form="a probability, from 0 to 1",
    hint="Of the 2^n equally probable sequences of right and wrong, count those that are at least "
    "as good.",
    misconceptions={
        "The number that was observed belongs to it: this is the probability of more.": (
            lambda right, n: float(binom.sf(right, n, 0.5))
        ),
        "This is the probability of exactly as many, which is small for every number.": (
            lambda right, n: float(binom.pmf(right, n, 0.5))
        ),
        "This is the probability of being as far off in either direction; a coin that is wrong too "
        "often does not tell samples from images.": lambda right, n: float(
            2 * binom.sf(right - 1, n, 0.5)
        ),
        "The normal curve lacks half a step: it gives too little, and for few images far "
        "too little.": (lambda right, n: float(norm.sf((right - n / 2) / (n / 4) ** 0.5))),
        "This is the other tail, the probability of at most as many.": (
            lambda right, n: float(binom.cdf(right, n, 0.5))
        ),
    },
)

NEIGHBOURS, SHARE = 5, 0.25


def _distances(a: Any, b: Any) -> Any:
    return np.linalg.norm(a[:, None] - b[None], axis=2)


def _radii(points: Any) -> Any:
    """Of each point's ball: the distance to its fifth neighbour, not counting itself."""
    return np.sort(_distances(points, points), axis=1)[:, NEIGHBOURS]


def _neighbour_measures(real: Any, samples: Any) -> dict[str, float]:
    apart = _distances(real, samples)  # [real, samples]
    in_real, in_samples = apart <= _radii(real)[:, None], apart <= _radii(samples)[None]
    return {
        "precision": in_real.any(axis=0).mean(),
        "recall": in_samples.any(axis=1).mean(),
        "coverage": in_real.any(axis=1).mean(),
    }


def _which_fall() -> dict[str, set[str]]:
    """Ten classes on a circle in the plane, forty points each."""
    rng = np.random.default_rng(125)
    turns = np.arange(10) * 2 * np.pi / 10

    def clusters(spread: float, shift: float = 0.0) -> Any:
        centres = 30 * np.stack([np.cos(turns + shift), np.sin(turns + shift)], axis=1)
        return centres[:, None] + spread * rng.standard_normal((10, 40, 2))

    real, fresh, between = clusters(1.0), clusters(1.0), clusters(0.2, np.pi / 10)
    samples = {
        "as real": fresh,
        "missing classes": fresh[:5],
        "between classes": np.concatenate([fresh, between]),
        "all typical": clusters(0.15),
        "copies": real,
    }
    found = {
        name: _neighbour_measures(real.reshape(-1, 2), it.reshape(-1, 2))
        for name, it in samples.items()
    }
    best = found.pop("as real")
    return {
        name: {it for it in best if best[it] - values[it] > SHARE} for name, values in found.items()
    }


WHICH_FALL = Exercise(
    name="which_fall",
    expected=_which_fall(),
    form="a dictionary from the four cases to sets of 'precision', 'recall' and 'coverage'; set() "
    "where none of them falls",
    hint="Say for each share what it counts, samples or real images, and in whose balls they have "
    "to lie.",
    misconceptions={
        "Every sample of the classes that are left is like a real image: a share of samples cannot "
        "see what is not there.": {"missing classes": {"precision", "recall", "coverage"}},
        "Real images of the classes that are not drawn have no sample near them, in either "
        "sense.": {"missing classes": {"precision"}},
        "All real images still have good samples near them; what is bad are the others.": {
            "between classes": {"precision", "recall", "coverage"}
        },
        "Each of these samples is a good one; what they lack is variety.": {
            "all typical": {"precision"}
        },
        "Copied images are perfect neighbours: these shares do not ask where samples come from.": {
            "copies": {"precision", "recall", "coverage"}
        },
    },
)

EXERCISES = (WITH_CONTRAST, MAY_JUDGE, RANK_CORRELATION, CHANCE_BY_COIN, WHICH_FALL)
