"""Exercises of lesson 09: walks, lengths, latents in use, and the plane of two latents."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from scipy.spatial import geometric_slerp
from scipy.stats import norm
from sklearn.feature_selection import VarianceThreshold
from torch import Tensor

from vae_helpers.exercises.exercise import Exercise


def _ends() -> list[tuple[Tensor, Tensor, float]]:
    rng = torch.Generator().manual_seed(91)
    a, b = torch.randn(2, 4, 6, generator=rng, dtype=torch.float64)
    return [(a, 3 * b, 0.3), (a, 3 * b, 0.75)]


def _lengths(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    return a.norm(dim=1, keepdim=True), b.norm(dim=1, keepdim=True)


def _turned(a: Tensor, b: Tensor, t: float) -> Tensor:
    """The direction at t, by scipy's arc on the unit sphere."""
    starts, ends = (it / it.norm(dim=1, keepdim=True) for it in (a, b))
    rows = zip(starts.numpy(), ends.numpy(), strict=True)
    return torch.from_numpy(np.stack([geometric_slerp(*pair, t) for pair in rows]))


def _arc(a: Tensor, b: Tensor, t: float) -> Tensor:
    of_a, of_b = _lengths(a, b)
    return (of_a + t * (of_b - of_a)) * _turned(a, b, t)


def _plain_slerp(a: Tensor, b: Tensor, t: float) -> Tensor:
    angle = torch.acos(torch.cosine_similarity(a, b, dim=1))[:, None]
    return (((1 - t) * angle).sin() * a + (t * angle).sin() * b) / angle.sin()


def _stretched_line(a: Tensor, b: Tensor, t: float) -> Tensor:
    of_a, of_b = _lengths(a, b)
    line = torch.nn.functional.normalize((1 - t) * a + t * b, dim=1)
    return (of_a + t * (of_b - of_a)) * line


EVEN_ARC = Exercise(
    name="even_arc",
    tries=_ends,
    expected=_arc,
    form="a tensor [N, D]",
    hint="Separate direction and length, let each of them go its own way, and multiply at the end.",
    misconceptions={
        "The direction does not turn evenly: the formula was given vectors of different "
        "lengths, and it expects equal ones.": _plain_slerp,
        "This is the straight line, stretched to the right length: its direction turns fastest "
        "where the line is nearest to the origin.": _stretched_line,
        "The length is one everywhere.": _turned,
        "The length of a is kept all the way; at the end it has to be that of b.": (
            lambda a, b, t: _lengths(a, b)[0] * _turned(a, b, t)
        ),
        "The walk runs backwards: at t = 0 it is at b.": lambda a, b, t: _arc(b, a, t),
    },
)


def _steps() -> list[tuple[Tensor, int, float]]:
    t = torch.linspace(0, 1, 6, dtype=torch.float64)
    return [(t, 20, 0.4), (t, 3, -0.7)]


def _of_step(answer: Callable[..., Any], t: Tensor, latents: int, correlation: float) -> Any:
    return answer(t, latents=latents, correlation=correlation)


def _squared_length(t: Tensor, latents: int, correlation: float) -> Tensor:
    """The trace of the walk's covariance matrix, from that of both ends together."""
    ends = np.kron([[1, correlation], [correlation, 1]], np.eye(latents))
    found = []
    for step in t.tolist():
        onto = np.kron([[1 - step, step]], np.eye(latents))
        found.append(np.trace(onto @ ends @ onto.T))
    return torch.tensor(found, dtype=torch.float64)


def _cross(t: Tensor, latents: int, correlation: float) -> Tensor:
    return latents * correlation * t * (1 - t)


SQUARED_LENGTH = Exercise(
    name="squared_length",
    tries=_steps,
    observe=_of_step,
    expected=_squared_length,
    form="a tensor as long as t",
    hint="Take one coordinate, square the weighted sum, and average each of the three terms.",
    misconceptions={
        "The weights are not squared: this would keep the length of both ends.": (
            lambda t, *, latents, correlation: torch.full_like(t, latents)
        ),
        "The covariance is missing: this is right for independent ends only.": (
            lambda t, *, latents, correlation: (
                _squared_length(t, latents, correlation) - 2 * _cross(t, latents, correlation)
            )
        ),
        "The mixed term of a square comes twice.": lambda t, *, latents, correlation: (
            _squared_length(t, latents, correlation) - _cross(t, latents, correlation)
        ),
        "This is one coordinate's part; the squared length has one from each latent.": (
            lambda t, *, latents, correlation: _squared_length(t, latents, correlation) / latents
        ),
        "This is the root of the result.": lambda t, *, latents, correlation: _squared_length(
            t, latents, correlation
        ).sqrt(),
    },
)


def _posteriors() -> list[tuple[Tensor, Tensor]]:
    rng = torch.Generator().manual_seed(93)
    raw = torch.randn(200, 11, generator=rng, dtype=torch.float64)
    raw = (raw - raw.mean(dim=0)) / raw.std(dim=0)
    variances = torch.tensor([0.9, 0.9, 0.8, 0.5, 0.02, 4e-4, 4e-4, 5e-3, 1e-6, 1e-6, 1e-6])
    offsets = torch.tensor([0, 0, 0, 0, 0, 0, 0, 0, 0.5, 0, 0])
    widths = torch.tensor([0.1, 0.1, 0.2, 0.5, 0.7, 1, 1, 0.6, 1, 1, 1], dtype=torch.float64)
    return [(raw * variances.sqrt() + offsets, widths.log().expand(200, 11).clone())]


def _active(mu: Tensor, logvar: Tensor) -> int:
    """By scikit-learn's selection of features that vary."""
    return int(VarianceThreshold(threshold=0.01).fit(mu.numpy()).get_support().sum())


def _informative(mu: Tensor, logvar: Tensor) -> int:
    kl = 0.5 * (mu.square() + logvar.exp() - 1 - logvar)
    return int((kl.mean(dim=0) > 0.01).sum())


COUNT_ACTIVE = Exercise(
    name="count_active",
    tries=_posteriors,
    expected=_active,
    form="one whole number, from 0 to D",
    hint="A latent is in use if its mean moves with the image. One of the two arguments is not "
    "needed.",
    misconceptions={
        "This looks at the mean of the variances of q, which is largest where a latent is not "
        "used; the rule is about the variance of the means.": lambda mu, logvar: int(
            (logvar.exp().mean(dim=0) > 0.01).sum()
        ),
        "The squares are not taken about the mean: a latent that has the same mean for every image "
        "says nothing about any.": lambda mu, logvar: int((mu.square().mean(dim=0) > 0.01).sum()),
        "The limit is one for the variance, not for the standard deviation.": lambda mu, logvar: (
            int((mu.std(dim=0) > 0.01).sum())
        ),
        "This takes the kl for the criterion; by the definition it is the variance of the means.": (
            _informative
        ),
        "The variance runs over the latents of each image, so that images are counted.": (
            lambda mu, logvar: int((mu.var(dim=1) > 0.01).sum())
        ),
    },
)


def _points() -> list[tuple[Tensor, int]]:
    rng = torch.Generator().manual_seed(94)
    z = torch.randn(300, 2, generator=rng, dtype=torch.float64)
    return [(z, 6), (z, 9)]


def _of_side(answer: Callable[..., Any], z: Tensor, side: int) -> Any:
    return answer(z, side=side)


def _tile(z: Tensor, side: int) -> tuple[Tensor, Tensor]:
    """By the borders between the parts."""
    borders = norm.ppf(np.arange(1, side) / side)
    column, up = (np.searchsorted(borders, z[:, d].numpy()) for d in (0, 1))
    return torch.from_numpy(side - 1 - up), torch.from_numpy(column)


def _nearest_tile(z: Tensor, *, side: int) -> tuple[Tensor, Tensor]:
    middles = torch.from_numpy(norm.ppf((np.arange(side) + 0.5) / side))
    column, up = ((z[:, d, None] - middles).abs().argmin(dim=1) for d in (0, 1))
    return side - 1 - up, column


def _rounded_tile(z: Tensor, *, side: int) -> tuple[Tensor, Tensor]:
    share = torch.from_numpy(norm.cdf(z.numpy()))
    return side - 1 - (side * share[:, 1]).round(), (side * share[:, 0]).round()


TILE_OF = Exercise(
    name="tile_of",
    tries=_points,
    observe=_of_side,
    expected=_tile,
    form="a pair of tensors [N] of whole numbers from 0 to side - 1: the row, then the column",
    hint="The distribution function turns a coordinate into a share of the mass. Which share "
    "belongs to the top row?",
    misconceptions={
        "The picture is upside down: the top row has the largest values of the second "
        "latent.": lambda z, *, side: (side - 1 - _tile(z, side)[0], _tile(z, side)[1]),
        "Row and column are swapped: the first latent runs to the right.": (
            lambda z, *, side: _tile(z, side)[::-1]
        ),
        "These are the tiles with the nearest z. The borders lie halfway in mass, not in z.": (
            _nearest_tile
        ),
        "Shares are rounded to the nearest whole number; a part begins at one, and ends before "
        "the next.": _rounded_tile,
        "The tiles are counted from one.": lambda z, *, side: tuple(
            it + 1 for it in _tile(z, side)
        ),
    },
)


def _root_mean_square(weights: list[float], latents: int) -> float:
    """Of a weighted sum of independent draws, from the product of the weights with themselves."""
    return math.sqrt(float(np.dot(weights, weights)) * latents)


BETWEEN_DRAWS = Exercise(
    name="between_draws",
    expected={
        "halfway": _root_mean_square([0.5, 0.5], 50),
        "ten": _root_mean_square(10 * [0.1], 50),
        "difference": _root_mean_square([1, -1], 50),
        "arc": _root_mean_square([math.sqrt(0.5), math.sqrt(0.5)], 50),
        "angle": 90.0,
    },
    form="a dictionary with the numbers 'halfway', 'ten', 'difference', 'arc' and 'angle'",
    hint="Find the variance of one coordinate. The squared length has as many of them as there are "
    "latents.",
    misconceptions={
        "The mean of two draws is no draw: in its variance the weights are squared.": {
            "halfway": math.sqrt(50)
        },
        "Both draws add to the variance of the mean, a quarter each; here only one is counted.": {
            "halfway": math.sqrt(50) / 2
        },
        "The length of a mean of independent draws falls with the root of their number.": {
            "ten": math.sqrt(50) / 10
        },
        "In a difference of independent numbers the variances add up as well.": {
            "difference": math.sqrt(50)
        },
        "These are squared lengths; a root is missing.": {
            "halfway": 25.0,
            "ten": 5.0,
            "difference": 100.0,
            "arc": 50.0,
        },
        "The arc does not cut the corner, as the straight line does.": {"arc": 5.0},
    },
    tolerance=5e-3,
)

WHICH_WALK = Exercise(
    name="which_walk",
    expected={"A": "spherical", "B": "straight", "C": "stretched", "D": "one point"},
    form="a dictionary from 'A', 'B', 'C' and 'D' to 'straight', 'spherical', 'stretched' or 'one "
    "point'",
    hint="Shorter z lie nearer to an average digit, longer ones at the rim. What does either do "
    "to fidelity, and what to variety?",
    misconceptions={
        "Shorter vectors make the images more alike: the variety goes down, not up.": {
            "C": "straight"
        },
        "What lies too far out loses fidelity; B has gained some.": {"B": "stretched"},
        "Nothing has changed in A, although the ends are left behind: its z must be as long as "
        "draws are.": {"A": "straight"},
        "Halfway between many pairs there are many different images; D has a single one.": {
            "D": "straight"
        },
    },
)

EXERCISES = (EVEN_ARC, SQUARED_LENGTH, COUNT_ACTIVE, TILE_OF, BETWEEN_DRAWS, WHICH_WALK)
