"""Exercises of lesson 07: distances between images and between sets of images."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from scipy.linalg import sqrtm
from scipy.spatial.distance import cdist
from sklearn.neighbors import NearestNeighbors
from torch import Tensor

from vae_helpers.exercises.comparison import ANY
from vae_helpers.exercises.exercise import Exercise


def _pairs() -> list[tuple[Tensor, Tensor]]:
    rng = torch.Generator().manual_seed(71)
    a, b = (torch.rand(5, 8, generator=rng, dtype=torch.float64) for _ in range(2))
    return [(a, b)]


def _nearest_multiple(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    """By least squares with one column per image."""
    fits = [np.linalg.lstsq(u[:, None], v) for u, v in zip(a.numpy(), b.numpy(), strict=True)]
    return torch.tensor([it[0][0] for it in fits]), torch.tensor([it[1][0] for it in fits])


BEST_CONTRAST = Exercise(
    name="best_contrast",
    tries=_pairs,
    expected=_nearest_multiple,
    form="a pair of tensors [N]: the factor, and the squared distance that is left",
    hint="The squared distance is a parabola in the factor. Where is its lowest point, and how "
    "high is it there?",
    misconceptions={
        "The factor is divided by the squared length of the wrong image: this one would bring b "
        "close to a.": lambda a, b: ((a * b).sum(dim=1) / b.square().sum(dim=1), ANY),
        "This is the cosine of the angle, which is the factor only if both lengths are equal.": (
            lambda a, b: (torch.cosine_similarity(a, b, dim=1), ANY)
        ),
        "This makes both lengths equal. Unless the two are parallel, a shorter vector is "
        "nearer.": lambda a, b: (b.norm(dim=1) / a.norm(dim=1), ANY),
        "The distance is not squared.": lambda a, b: (ANY, _nearest_multiple(a, b)[1].sqrt()),
        "This is the squared distance with a factor of one.": lambda a, b: (
            ANY,
            (a - b).square().sum(dim=1),
        ),
        "What is taken from the squared length of b lacks its division by that of a.": (
            lambda a, b: (ANY, b.square().sum(dim=1) - (a * b).sum(dim=1).square())
        ),
    },
)


def _moments() -> list[tuple[Tensor, ...]]:
    rng = torch.Generator().manual_seed(72)

    def trial(size: int) -> tuple[Tensor, ...]:
        means = torch.randn(2, size, generator=rng, dtype=torch.float64)
        roots = torch.randn(2, size, size + 2, generator=rng, dtype=torch.float64)
        covariances = roots @ roots.mT / size
        return means[0], covariances[0], means[1], covariances[1]

    return [trial(2), trial(4)]


def _root(matrix: Tensor) -> Tensor:
    return torch.from_numpy(np.real(sqrtm(matrix.numpy())))


def _frechet(
    mean_a: Tensor, cov_a: Tensor, mean_b: Tensor, cov_b: Tensor, *, root: Tensor | None = None
) -> Tensor:
    """By scipy's root of the product, which is not symmetric."""
    root = _root(cov_a @ cov_b) if root is None else root
    return (mean_a - mean_b).square().sum() + (cov_a + cov_b - 2 * root).trace()


FRECHET_SYMMETRIC = Exercise(
    name="frechet_symmetric",
    tries=_moments,
    expected=_frechet,
    form="one number, at least 0",
    hint="M N and N M have the same eigenvalues. Put a symmetric root of the first covariance on "
    "either side of the second.",
    misconceptions={
        "The root of a product is not the product of the roots, unless the two "
        "commute.": lambda m, c, n, d: _frechet(m, c, n, d, root=_root(c) @ _root(d)),
        "The trace of a root is the sum of the roots of the eigenvalues; these are the "
        "eigenvalues as they are.": lambda m, c, n, d: _frechet(m, c, n, d, root=c @ d),
        "Only the variances are compared; the correlations of the features are lost.": (
            lambda m, c, n, d: _frechet(m, torch.diag(c.diag()), n, torch.diag(d.diag()))
        ),
        "The distance of the means is not squared.": lambda m, c, n, d: (
            (m - n).norm() + _frechet(0 * m, c, 0 * n, d)
        ),
        "The root is taken off once; it comes twice, as the middle term of a square.": (
            lambda m, c, n, d: _frechet(m, c, n, d) + _root(c @ d).trace()
        ),
        "This is the root of the result; the usual measure is squared.": (
            lambda *args: _frechet(*args).sqrt()
        ),
    },
    tolerance=1e-5,
)


def _clouds() -> list[tuple[Tensor, Tensor, int]]:
    rng = torch.Generator().manual_seed(73)
    real, samples = (torch.randn(n, 2, generator=rng, dtype=torch.float64) for n in (40, 60))
    samples = samples * torch.tensor([0.6, 1.5]) + torch.tensor([1.2, 0.3])
    return [(samples, real, 3), (1.5 * real[:25], samples[:50], 2)]


def _of_neighbours(answer: Callable[..., Any], samples: Tensor, real: Tensor, k: int) -> Any:
    return answer(samples, real, k=k)


def _radii(points: Tensor, k: int) -> np.ndarray[Any, Any]:
    """Distance to the k-th nearest other point, by scikit-learn's search."""
    found = NearestNeighbors(n_neighbors=k).fit(points.numpy()).kneighbors()
    return np.asarray(found[0])[:, -1]


def _shares(
    distances: np.ndarray[Any, Any],
    real_radii: np.ndarray[Any, Any],
    sample_radii: np.ndarray[Any, Any],
) -> dict[str, float]:
    """Distances [samples, real]."""
    in_real, in_samples = distances <= real_radii, distances <= sample_radii[:, None]
    return {
        "precision": float(in_real.any(axis=1).mean()),
        "recall": float(in_samples.any(axis=0).mean()),
        "coverage": float(in_real.any(axis=0).mean()),
    }


def _neighbourhoods(samples: Tensor, real: Tensor, k: int) -> dict[str, float]:
    distances = cdist(samples.numpy(), real.numpy())
    return _shares(distances, _radii(real, k), _radii(samples, k))


def _own_balls(samples: Tensor, real: Tensor, *, k: int) -> dict[str, float]:
    inside = cdist(samples.numpy(), real.numpy()) <= _radii(samples, k)[:, None]
    return {"precision": float(inside.any(axis=1).mean())}


def _swapped(samples: Tensor, real: Tensor, *, k: int) -> dict[str, float]:
    found = _neighbourhoods(samples, real, k)
    return {"precision": found["recall"], "recall": found["precision"]}


def _other_set(samples: Tensor, real: Tensor, *, k: int) -> dict[str, float]:
    distances = cdist(samples.numpy(), real.numpy())
    ordered = np.sort(distances, axis=0)[k - 1], np.sort(distances, axis=1)[:, k - 1]
    return _shares(distances, *ordered)


NEIGHBOURHOODS = Exercise(
    name="neighbourhoods",
    tries=_clouds,
    observe=_of_neighbours,
    expected=_neighbourhoods,
    form="a dictionary with the shares 'precision', 'recall' and 'coverage'",
    hint="Make one table of distances, samples by real points. For each share ask two things: "
    "whose balls, and the share of what?",
    misconceptions={
        "Precision and recall are swapped.": _swapped,
        "A point is the nearest neighbour of itself, at a distance of zero: the balls are one "
        "neighbour too small.": lambda samples, real, *, k: _neighbourhoods(samples, real, k - 1),
        "For the precision a sample is judged by its own ball; a sample in an empty place has a "
        "large one.": _own_balls,
        "This coverage is the recall: for the coverage the balls are those of the real points.": (
            lambda samples, real, *, k: {"coverage": _neighbourhoods(samples, real, k)["recall"]}
        ),
        "The precision is a share of the samples, not of the balls that hold one.": (
            lambda samples, real, *, k: {"precision": _neighbourhoods(samples, real, k)["coverage"]}
        ),
        "The balls reach to neighbours in the other set, so that they always hold some of "
        "it.": _other_set,
    },
)


def _features() -> list[tuple[Tensor, Tensor]]:
    rng = torch.Generator().manual_seed(74)
    a = torch.randn(7, 5, generator=rng, dtype=torch.float64)
    return [(a, torch.randn(6, 5, generator=rng, dtype=torch.float64) + 0.7)]


def _kernel_means(a: Tensor, b: Tensor, *, scale: int) -> tuple[float, float, float, float, float]:
    """Means of the kernel, pair by pair: within a and b without own pairs, with them, between."""

    def kernel(u: Tensor, v: Tensor) -> float:
        return (math.fsum((u * v).tolist()) / scale + 1) ** 3

    def within(points: Tensor) -> tuple[float, float]:
        others = [kernel(u, v) for i, u in enumerate(points) for v in points[:i]]
        own = [kernel(u, u) for u in points]
        return sum(others) / len(others), (2 * sum(others) + sum(own)) / len(points) ** 2

    between = sum(kernel(u, v) for u in a for v in b) / (len(a) * len(b))
    return (*within(a), *within(b), between)


def _kernel_distance(a: Tensor, b: Tensor) -> float:
    first, _, second, _, between = _kernel_means(a, b, scale=a.shape[1])
    return first + second - 2 * between


def _with_own_pairs(a: Tensor, b: Tensor) -> float:
    _, first, _, second, between = _kernel_means(a, b, scale=a.shape[1])
    return first + second - 2 * between


def _too_many_pairs(a: Tensor, b: Tensor) -> float:
    first, _, second, _, between = _kernel_means(a, b, scale=a.shape[1])
    n, m = len(a), len(b)
    return first * (n - 1) / n + second * (m - 1) / m - 2 * between


def _one_between(a: Tensor, b: Tensor) -> float:
    return _kernel_distance(a, b) + _kernel_means(a, b, scale=a.shape[1])[4]


def _not_scaled(a: Tensor, b: Tensor) -> float:
    first, _, second, _, between = _kernel_means(a, b, scale=1)
    return first + second - 2 * between


KERNEL_DISTANCE = Exercise(
    name="kernel_distance",
    tries=_features,
    expected=_kernel_distance,
    form="one number, which may be slightly below 0",
    hint="Three tables of kernel values. Which entries of the first two have to be left out, and "
    "how many are left?",
    misconceptions={
        "The pairs of a vector with itself are averaged as well, which makes the result too large "
        "for few images.": _with_own_pairs,
        "The own pairs are left out of the sums, but still counted in the number of pairs.": (
            _too_many_pairs
        ),
        "The mean between the sets is taken off once; it comes twice, as the middle term of a "
        "square.": _one_between,
        "The scalar product is not divided by the number of features.": _not_scaled,
        "This is the root of the result, which has none where the estimate falls below zero.": (
            lambda a, b: math.sqrt(_kernel_distance(a, b))
        ),
    },
)


def _expected_distance(n: int, m: int, *, total: float) -> float:
    """The squared distance of two means: weights of the n + m images, and their variance."""
    weights = np.concatenate([np.full(n, 1 / n), np.full(m, -1 / m)])
    return float(weights @ weights) * total


TOTAL = 96.0

DISTANCE_OF_MEANS = Exercise(
    name="distance_of_means",
    expected={
        "small": _expected_distance(200, 200, total=TOTAL),
        "large": _expected_distance(10_000, 10_000, total=TOTAL),
        "mixed": _expected_distance(200, 10_000, total=TOTAL),
        "enough": 19_200,
        "perfect model": "at the floor",
    },
    form="a dictionary with the numbers 'small', 'large', 'mixed' and 'enough', and with 'perfect "
    "model', which is 'at zero', 'below the floor' or 'at the floor'",
    hint="The variance of a mean of n images is that of one image divided by n. What is the "
    "variance of the difference of two such means?",
    misconceptions={
        "Both means are estimates, and the errors of both count.": {
            "small": TOTAL / 200,
            "large": TOTAL / 10_000,
        },
        "The standard error falls with the root of the number of images; the squared distance is "
        "one of variances.": {
            "small": 2 * TOTAL / math.sqrt(200),
            "large": 2 * TOTAL / math.sqrt(10_000),
        },
        "Two sets of different sizes are not like two of the average size: the variances of both "
        "means add up, and the smaller set has nearly all of it.": {"mixed": 2 * TOTAL / 5_100},
        "The larger set does not decide: the error of the smaller one remains.": {
            "mixed": 2 * TOTAL / 10_000
        },
        "This many images are enough if only one of the two means is an estimate.": {
            "enough": 9_600
        },
        "Even samples from the very distribution of real images are finitely many.": {
            "perfect model": "at zero"
        },
    },
    tolerance=2e-3,
)

WHICH_FAULT = Exercise(
    name="which_fault",
    expected={
        "A": "copies",
        "B": "soft greys",
        "C": "missing digits",
        "D": "little variety",
        "E": "scribbles",
    },
    form="a dictionary from 'A' to 'E' to 'copies', 'soft greys', 'missing digits', 'little "
    "variety', 'scribbles' or 'nothing wrong'",
    hint="Compare each row with the row of training images, column by column. What changes when "
    "images are rounded, and what does each of the last two columns alone notice?",
    misconceptions={
        "By all measures but one A is as good as real images. What does the last column say?": {
            "A": "nothing wrong"
        },
        "Once B is rounded, it is close to the floor: its shapes are good.": {"B": "scribbles"},
        "The recall of C is low, and so is its entropy: ten equally frequent classes would have "
        "more.": {"C": "little variety"},
        "The entropy of D is that of ten equally frequent classes, so all of them are there.": {
            "D": "missing digits"
        },
        "E reaches nearly all real images. Which share of its own lies among them?": {
            "E": "little variety"
        },
    },
)

EXERCISES = (
    BEST_CONTRAST,
    FRECHET_SYMMETRIC,
    NEIGHBOURHOODS,
    KERNEL_DISTANCE,
    DISTANCE_OF_MEANS,
    WHICH_FAULT,
)
