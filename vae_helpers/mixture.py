"""Mixtures of normals, fitted to the codes of an autoencoder by scikit-learn.

A mixture is plain tensors, so that it can be kept and read again.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from sklearn.mixture import GaussianMixture
from threadpoolctl import threadpool_limits
from torch import Tensor


class Mixture(NamedTuple):
    """K normals in D dimensions, in float64.

    Attributes:
        weights: `[K]`, sum to 1.
        means: `[K, D]`.
        covariances: `[K, D, D]`.
        precisions_cholesky: `[K, D, D]`, the Cholesky factors of the inverse covariances.
    """

    weights: Tensor
    means: Tensor
    covariances: Tensor
    precisions_cholesky: Tensor


def fit(codes: Tensor, *, components: int, seed: int = 0) -> Mixture:
    """A mixture of normals with full covariances, fitted by expectation maximisation.

    Args:
        codes: `[N, D]` float64, N much larger than `components`.
        components: K.
        seed: of the starting points.
    """
    with threadpool_limits(1):  # matrices of 20 x 20: more threads get in each other's way
        fitted = GaussianMixture(
            components, init_params="k-means++", tol=1e-2, max_iter=300, random_state=seed
        ).fit(codes.numpy())
    return Mixture(*(torch.from_numpy(getattr(fitted, f"{name}_")) for name in Mixture._fields))


def score(mixture: Mixture, codes: Tensor) -> float:
    """Mean log density of codes `[N, D]`, in nats per code."""
    return float(_estimator(mixture).score(codes.numpy()))


def sample(mixture: Mixture, n: int, *, seed: int = 0) -> Tensor:
    """n draws `[n, D]` float32, those of one component after those of another."""
    draws, _ = _estimator(mixture, seed).sample(n)
    return torch.from_numpy(draws).float()


def _estimator(mixture: Mixture, seed: int = 0) -> GaussianMixture:
    estimator = GaussianMixture(len(mixture.weights), random_state=seed)
    for name, values in mixture._asdict().items():
        setattr(estimator, f"{name}_", values.numpy())
    return estimator
