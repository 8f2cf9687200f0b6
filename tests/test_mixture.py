"""Mixtures of normals: as scikit-learn has them, and as the formula says."""

import math

import pytest
import torch
from sklearn.mixture import GaussianMixture
from torch.distributions import Categorical, MixtureSameFamily, MultivariateNormal

from vae_helpers import mixture


@pytest.fixture(scope="module")
def codes():
    noise = torch.randn(600, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    return torch.cat(
        [noise[:200] @ torch.tensor([[1.0, 0.5], [0.0, 0.3]]).double(), noise[200:] + 6]
    )


@pytest.fixture(scope="module")
def two(codes):
    return mixture.fit(codes, components=2, seed=3)


def test_two_clouds_are_found_with_their_shares_and_places(two, codes):
    order = two.means[:, 0].argsort()
    torch.testing.assert_close(
        two.weights[order], torch.tensor([1 / 3, 2 / 3]).double(), atol=0.01, rtol=0
    )
    for own, part in zip(order, (codes[:200], codes[200:]), strict=True):
        torch.testing.assert_close(two.means[own], part.mean(dim=0), atol=0.02, rtol=0)
        expected = torch.cov(part.T, correction=0)
        torch.testing.assert_close(two.covariances[own], expected, atol=0.02, rtol=0)


def test_the_score_is_the_mean_log_density_of_the_formula(two, codes):
    normals = MultivariateNormal(two.means, two.covariances)
    density = MixtureSameFamily(Categorical(two.weights), normals)
    assert math.isclose(mixture.score(two, codes), density.log_prob(codes).mean(), rel_tol=1e-9)


def test_fit_score_and_draws_are_those_of_scikit_learn_to_the_bit(codes):
    near = codes / 3  # three for two clouds: no step of the fit is the last by itself
    theirs = GaussianMixture(
        3, init_params="k-means++", tol=1e-2, max_iter=300, random_state=3
    ).fit(near.numpy())
    ours = mixture.fit(near, components=3, seed=3)
    assert (ours.means.numpy() == theirs.means_).all()
    assert mixture.score(ours, near) == theirs.score(near.numpy())
    draws = torch.from_numpy(theirs.sample(50)[0]).float()
    assert torch.equal(mixture.sample(ours, 50, seed=3), draws)
