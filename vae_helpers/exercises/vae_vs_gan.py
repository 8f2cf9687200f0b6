"""Exercises of lesson 16: differences by seed, verdicts, arithmetic, levels, and searches."""

from __future__ import annotations

import itertools
import math
import statistics
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from scipy.stats import norm, t, ttest_ind, ttest_rel
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from vae_helpers.exercises.exercise import Exercise

Seeds = dict[int, float]
Pair = tuple[float, float]


def _seeds() -> list[tuple[Seeds, Seeds, float]]:
    first = {0: 38.0, 1: 41.5, 2: 36.2, 3: 39.9, 4: 44.0}
    second = {3: 28.1, 0: 27.5, 7: 90.0, 2: 24.0, 4: 33.5}  # another order, other seeds
    return [(first, second, 0.95), (first, {it: first[it] - it for it in (4, 2, 1)}, 0.99)]


def _paired(first: Seeds, second: Seeds, confidence: float) -> Pair:
    both = sorted(first.keys() & second.keys())
    test = ttest_rel([first[it] for it in both], [second[it] for it in both])
    low, high = test.confidence_interval(confidence)
    return (low + high) / 2, (high - low) / 2


def _unpaired(first: Seeds, second: Seeds, confidence: float) -> Pair:
    both = first.keys() & second.keys()
    test = ttest_ind([first[it] for it in both], [second[it] for it in both], equal_var=False)
    low, high = test.confidence_interval(confidence)
    return (low + high) / 2, (high - low) / 2


def _by_place(first: Seeds, second: Seeds, confidence: float) -> Pair:
    pairs = list(zip(first.values(), second.values(), strict=False))
    in_order = (dict(enumerate(values)) for values in zip(*pairs, strict=True))
    return _paired(next(in_order), next(in_order), confidence)


def _scaled(factor: Callable[[int, float], float]) -> Callable[..., Pair]:
    """The half-width multiplied by a factor of the number of seeds."""

    def answer(first: Seeds, second: Seeds, confidence: float) -> Pair:
        mean, half = _paired(first, second, confidence)
        return mean, half * factor(len(first.keys() & second.keys()), confidence)

    return answer


def _normal_for_t(n: int, confidence: float) -> float:
    level = (1 + confidence) / 2
    return float(norm.ppf(level) / t.ppf(level, n - 1))


PAIRED_INTERVAL = Exercise(
    name="paired_interval",
    tries=_seeds,
    expected=_paired,
    form="a pair of numbers: the mean difference, first minus second, and the half-width",
    hint="Take one difference per seed that both have. What follows is the interval of one mean.",
    misconceptions={
        "The seeds are not used: this is the interval of a difference of two independent "
        "means.": _unpaired,
        "Values are paired by their place; what belongs together has the same seed.": _by_place,
        "The quantile is that of a normal distribution; with few seeds Student's is wider.": (
            _scaled(_normal_for_t)
        ),
        "This is about single differences: the division by the root of their number is "
        "missing.": _scaled(lambda n, confidence: math.sqrt(n)),
        "The squares are divided by n; the mean was estimated from the same numbers.": _scaled(
            lambda n, confidence: math.sqrt((n - 1) / n)
        ),
        "The sign is that of second minus first.": lambda *args: (
            -_paired(*args)[0],
            _paired(*args)[1],
        ),
    },
)

MEASURES = ("FCD", "KID", "coverage", "told apart")
HIGHER = {"coverage"}
Intervals = dict[str, Pair]


def _intervals(fcd: Pair, kid: Pair, coverage: Pair, told: Pair) -> Intervals:
    return dict(zip(MEASURES, (fcd, kid, coverage, told), strict=True))


def _tables() -> list[tuple[Intervals, set[str]]]:
    tables = [
        _intervals((12, 4), (0.8, 0.2), (-0.10, 0.02), (0.05, 0.01)),
        _intervals((-9, 2), (-0.3, 0.1), (0.05, 0.01), (-0.03, 0.02)),
        _intervals((12, 4), (0.8, 0.2), (-0.10, 0.02), (-0.05, 0.01)),
        _intervals((12, 4), (0.8, 0.2), (-0.10, 0.02), (0.05, 0.06)),
        _intervals((12, 4), (0.8, 0.2), (0.10, 0.02), (0.05, 0.01)),
        _intervals((1, 4), (0.1, 0.2), (0.01, 0.02), (0.01, 0.03)),
        _intervals((-9, 20), (-0.3, 0.1), (0.05, 0.01), (-0.03, 0.02)),
        _intervals((-9, 2), (-0.3, 0.1), (-0.01, 0.03), (-0.03, 0.02)),
    ]
    return [(it, HIGHER) for it in tables]


def _votes(intervals: Intervals, higher: set[str], *, sure: bool = True) -> list[int]:
    """Per measure +1 for the second, -1 for the first, 0 for neither."""
    return [
        0 if sure and abs(mean) <= half else int(np.sign(mean)) * (-1 if name in higher else 1)
        for name, (mean, half) in intervals.items()
    ]


def _named(total: float) -> str:
    return "second" if total > 0 else "first" if total < 0 else "no verdict"


def _unanimous(votes: list[int]) -> str:
    return _named(votes[0]) if set(votes) in ({1}, {-1}) else "no verdict"


VERDICT = Exercise(
    name="verdict",
    tries=_tables,
    expected=lambda intervals, higher: _unanimous(_votes(intervals, higher)),
    form="'first', 'second' or 'no verdict'",
    hint="Let each measure speak for one of the two, or for neither, and look at what they say "
    "together.",
    misconceptions={
        "A majority decides here; the rule asks all measures to say the same.": (
            lambda intervals, higher: _named(sum(_votes(intervals, higher)))
        ),
        "A measure that decides nothing is passed over; it does not say what the others "
        "say.": lambda intervals, higher: _unanimous(
            [it for it in _votes(intervals, higher) if it] or [0]
        ),
        "The intervals are not used: a difference that may be chance counts.": (
            lambda intervals, higher: _unanimous(_votes(intervals, higher, sure=False))
        ),
        "The direction of measures where more is better is not turned.": (
            lambda intervals, higher: _unanimous(_votes(intervals, set()))
        ),
        "The first measure decides alone.": lambda intervals, higher: _named(
            _votes(intervals, higher)[0]
        ),
        "The two are mistaken for each other: with a larger distance the first is the worse "
        "one.": lambda intervals, higher: _unanimous([-it for it in _votes(intervals, higher)]),
    },
)


def _stack(widths: list[int]) -> nn.Sequential:
    layers: list[nn.Module] = []
    for pair in pairwise(widths):
        layers += [nn.Linear(*pair), nn.LeakyReLU(0.2)]
    return nn.Sequential(*layers)


def _widths() -> list[tuple[list[int], list[int]]]:
    return [([3, 5, 4, 12], [12, 6, 3, 1]), ([2, 7, 9], [9, 8, 1])]


def _counted(generator: list[int], discriminator: list[int]) -> float:
    """By PyTorch's counter, while one step of each network is carried out."""
    images = 4
    with torch.random.fork_rng(devices=[]):
        g, d = _stack(generator), _stack(discriminator)
        z, x = torch.randn(images, generator[0]), torch.rand(images, discriminator[0])
    with FlopCounterMode(display=False) as counter:
        fake = g(z)
        loss = F.softplus(-d(x)) + F.softplus(d(fake.detach()))
        loss.mean().backward()
        d.requires_grad_(False)
        F.softplus(-d(fake)).mean().backward()
    return float(counter.get_total_flops() / images)


def _products(widths: list[int]) -> int:
    """Twice the weights: the operations of one way through, of one image."""
    return 2 * sum(m * n for m, n in pairwise(widths))


def _first(widths: list[int]) -> int:
    return 2 * widths[0] * widths[1]


GAN_FLOPS = Exercise(
    name="gan_flops",
    tries=_widths,
    expected=_counted,
    form="one whole number, for one real and one generated image",
    hint="List what each layer multiplies: forwards, back to its weights, back to its input. Then "
    "strike out what nobody asks for.",
    misconceptions={
        "A multiplication and the addition after it count as two.": lambda g, d: _counted(g, d) / 2,
        "The way back costs two products per layer, one for its weights and one for its "
        "input.": lambda g, d: (
            _counted(g, d) - 2 * _products(d) - _products(g) + _first(g) + 2 * _first(d)
        ),
        "The discriminator works on real images and on samples in its own step; the generator's "
        "step uses it once more.": lambda g, d: _counted(g, d) - 2 * _products(d),
        "The weights of a frozen discriminator need no gradient: only the way to its input is "
        "computed.": lambda g, d: _counted(g, d) + _products(d),
        "Nobody asks for the gradient at the input of the first layer, noise, image or detached "
        "sample: it is not computed.": lambda g, d: _counted(g, d) + _first(g) + 2 * _first(d),
        "The samples are made once and used in both steps.": lambda g, d: (
            _counted(g, d) + _products(g)
        ),
    },
)

EPOCHS = torch.tensor([1, 2, 3, 5, 8, 10, 15, 20, 30])


def _curves() -> list[tuple[Tensor, Tensor, float]]:
    curves = torch.tensor(
        [
            [350, 120, 90, 70, 60, 50, 45, 42, 41],
            [300, 100, 80, 48, 55, 52, 49, 47, 44],
            [400, 200, 150, 120, 110, 90, 80, 70, 60],
        ],
        dtype=torch.float64,
    )
    return [(EPOCHS, curves, 50.0), (EPOCHS, curves, 42.0)]


def _first_epochs(epochs: Tensor, curves: Tensor, level: float) -> Tensor:
    """Run by run, in plain Python."""
    found = []
    for run in curves.tolist():
        there = [e for e, value in zip(epochs.tolist(), run, strict=True) if value <= level]
        found.append(float(min(there, default=math.inf)))
    return torch.tensor(found)


def _lasting(epochs: Tensor, curves: Tensor, level: float) -> Tensor:
    """The first epoch from which on a run stays at or below a level."""
    found = []
    for run in curves.tolist():
        above = [i for i, value in enumerate(run) if value > level]
        after = above[-1] + 1 if above else 0
        found.append(float(epochs[after]) if after < len(run) else math.inf)
    return torch.tensor(found)


FIRST_EPOCH = Exercise(
    name="first_epoch",
    tries=_curves,
    expected=_first_epochs,
    form="a tensor [S] of epochs, infinite for a run that never gets there",
    hint="Take care of the run that stays above the level: what does argmax give if nothing is "
    "true?",
    misconceptions={
        "argmax of a row without a True is 0: a run that never gets there seems to be there after "
        "the first epoch.": lambda epochs, curves, level: epochs[
            (curves <= level).int().argmax(dim=1)
        ],
        "This is the place in the list, not the epoch that stands there.": (
            lambda epochs, curves, level: torch.where(
                (curves <= level).any(dim=1), (curves <= level).int().argmax(dim=1), math.inf
            )
        ),
        "A value equal to the level counts as reached; this asks for a lower "
        "one.": lambda epochs, curves, level: _first_epochs(epochs, curves, level - 1e-9),
        "A run that never gets there is given the last epoch, and looks merely slow.": (
            lambda epochs, curves, level: _first_epochs(epochs, curves, level).clamp(
                max=float(epochs[-1])
            )
        ),
        "This is the epoch from which a run stays there; the rule asks for the first "
        "time.": _lasting,
    },
)


def _searches() -> list[tuple[Tensor, int]]:
    values = torch.tensor([35.0, 50.0, 41.0, 900.0, 38.0, 44.0, 600.0], dtype=torch.float64)
    return [(values, 1), (values, 3), (values, 7)]


def _best_of(values: Tensor, k: int) -> float:
    """By going through all choices of k trials."""
    return statistics.fmean(min(chosen) for chosen in itertools.combinations(values.tolist(), k))


def _with_return(values: Tensor, k: int) -> float:
    return statistics.fmean(
        min(chosen) for chosen in itertools.product(values.tolist(), repeat=min(k, 5))
    )


BEST_OF_TRIALS = Exercise(
    name="best_of_trials",
    tries=_searches,
    expected=_best_of,
    form="one number",
    hint="Sort the results. In how many choices of k is the i-th smallest the best?",
    misconceptions={
        "This is the mean of the trials: a search keeps the best one.": (
            lambda values, k: values.mean()
        ),
        "This is the best of all trials, however few were paid for.": lambda values, k: (
            values.min()
        ),
        "The largest of the k was kept; a smaller distance is better.": lambda values, k: (
            -_best_of(-values, k)
        ),
        "Trials are drawn with return here: the same setting would be tried twice.": (
            lambda values, k: math.fsum(
                v * (((7 - i) / 7) ** k - ((6 - i) / 7) ** k)
                for i, v in enumerate(sorted(values.tolist()))
            )
        ),
        "Failed trials were left out; they were paid for, and a search may hit nothing "
        "else.": lambda values, k: _best_of(values[values < 500], min(k, 5)),
    },
)

SPREAD = 0.5
GRID = np.linspace(-12, 12, 8_001)
CODES = (norm.pdf(GRID, -2, SPREAD) + norm.pdf(GRID, 2, SPREAD)) / 2
"""Density of codes in two clusters, at -2 and 2."""


def _moments(density: Any) -> Pair:
    mean = np.trapezoid(GRID * density, GRID)
    return float(mean), float(np.trapezoid((GRID - mean) ** 2 * density, GRID))


def _distance(density: Any) -> float:
    """The Frechet distance to the codes, in one dimension."""
    (m, v), (n, w) = _moments(density), _moments(CODES)
    return round((m - n) ** 2 + (math.sqrt(v) - math.sqrt(w)) ** 2, 6)


def _told_apart(density: Any) -> float:
    """How often the best test is right: half the mass of the larger density everywhere."""
    return float(np.trapezoid(np.maximum(density, CODES) / 2, GRID))


def _samplers() -> dict[str, Any]:
    one_normal = norm.pdf(GRID, 0, math.sqrt(_moments(CODES)[1]))
    return {
        "distance, prior": _distance(norm.pdf(GRID)),
        "distance, one normal": _distance(one_normal),
        "told apart, one normal": _told_apart(one_normal) > 0.6,
        "told apart, mixture": _told_apart(CODES),
    }


WHERE_Z_IS_DRAWN = Exercise(
    name="where_z_is_drawn",
    expected=_samplers(),
    form="a dictionary with three numbers, and True or False at 'told apart, one normal'",
    hint="Compute mean and variance of the codes first: the variance between the clusters counts.",
    misconceptions={
        "The variance of the codes is that within a cluster plus that between the two.": {
            "distance, prior": 0.25
        },
        "The two variances enter by their roots; this is the difference of the variances.": {
            "distance, prior": 3.25
        },
        "This distance sees the mean and the covariance alone, and here both are right.": {
            "distance, one normal": 1.0
        },
        "A normal puts much of its mass between the clusters, where there are no codes: a test "
        "that looks at more than two moments finds it.": {"told apart, one normal": False},
        "Without any difference the best test is a coin, and a coin is not always wrong.": {
            "told apart, mixture": 0.0
        },
    },
    tolerance=2e-3,
)

EXERCISES = (
    PAIRED_INTERVAL,
    VERDICT,
    GAN_FLOPS,
    FIRST_EPOCH,
    BEST_OF_TRIALS,
    WHERE_Z_IS_DRAWN,
)
