"""The latent space: arcs, grids, and how far the codes of all images are from the prior."""

import itertools
import math

import numpy as np
import pytest
import torch
from scipy.integrate import quad
from scipy.spatial import geometric_slerp
from scipy.stats import norm
from torch.distributions import (
    Categorical,
    Independent,
    MixtureSameFamily,
    Normal,
    kl_divergence,
)

from vae_helpers import latent
from vae_helpers.evaluation import Posteriors


def random(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def two_places(n):
    """n images in one dimension, whose posteriors are N(-1, 0.5^2) and N(1, 0.5^2) in turn."""
    mu = torch.tensor([-1.0, 1.0], dtype=torch.float64).repeat(n // 2)[:, None]
    return Posteriors(mu, torch.full_like(mu, 2 * math.log(0.5)))


def density_of_two_places(z):
    return (norm.pdf(z, -1, 0.5) + norm.pdf(z, 1, 0.5)) / 2


# Ways


def test_quantiles_are_the_middles_of_parts_of_equal_mass():
    expected = norm.ppf([0.1, 0.3, 0.5, 0.7, 0.9])
    np.testing.assert_allclose(latent.quantiles(5).numpy(), expected, atol=1e-6)
    assert latent.quantiles(4).isfinite().all()


def test_the_plane_is_read_as_a_picture_is():
    low, high = norm.ppf([1 / 6, 5 / 6])
    rows = [[(z_1, z_2) for z_1 in (low, 0, high)] for z_2 in (high, 0, low)]
    expected = list(itertools.chain(*rows))
    np.testing.assert_allclose(latent.plane(3).numpy(), expected, atol=1e-6)
    assert latent.plane(3).shape == (9, 2)


def test_a_traversal_changes_one_number_of_the_code():
    found = latent.traversals(torch.tensor([1.0, 2.0]), torch.tensor([-5.0, 0.0, 5.0]))
    assert found.tolist() == [
        [[-5.0, 2.0], [0.0, 2.0], [5.0, 2.0]],
        [[1.0, -5.0], [1.0, 0.0], [1.0, 5.0]],
    ]


def test_an_arc_between_unit_vectors_is_scipys():
    a, b = (it / it.norm() for it in random(2, 7))
    t = np.linspace(0, 1, 9)
    expected = geometric_slerp(a.numpy(), b.numpy(), t)
    found = latent.slerp(a, b, torch.from_numpy(t)[:, None])
    np.testing.assert_allclose(found.numpy(), expected, atol=1e-12)
    assert not np.allclose(found.numpy(), torch.lerp(a, b, torch.from_numpy(t)[:, None]).numpy())


def test_vectors_of_other_lengths_have_the_weights_of_their_directions():
    a, b, angle = torch.tensor([2.0, 0.0]), torch.tensor([3.0, 3.0]), math.pi / 4
    weight_a, weight_b = (math.sin(t * angle) / math.sin(angle) for t in (0.7, 0.3))
    expected = [2 * weight_a + 3 * weight_b, 3 * weight_b]
    assert latent.slerp(a, b, 0.3).tolist() == pytest.approx(expected, abs=1e-6)


def test_equal_directions_are_joined_by_a_straight_line():
    a = torch.tensor([3.0, -4.0])
    found = latent.slerp(a, 3 * a, torch.tensor([[0.0], [0.5], [1.0]]))
    assert found.tolist() == [pytest.approx(x) for x in ([3, -4], [6, -8], [9, -12])]


def test_every_pair_has_an_arc_of_its_own():
    a, b = random(2, 4, 3)
    found = latent.slerp(a, b, 0.25)
    for i in range(4):
        assert torch.allclose(found[i], latent.slerp(a[i], b[i], 0.25))


# The aggregate posterior


def test_the_aggregate_is_torchs_mixture(monkeypatch):
    monkeypatch.setattr(latent, "CHUNK", 7)
    q = Posteriors(random(30, 4), random(30, 4, seed=1))
    z = 2 * random(25, 4, seed=2)
    normals = Independent(Normal(q.mu, torch.exp(0.5 * q.logvar)), 1)
    expected = MixtureSameFamily(Categorical(torch.ones(30).double()), normals).log_prob(z)
    assert torch.allclose(latent.log_aggregate(z, q), expected, atol=1e-10)
    assert torch.allclose(latent.log_each(z, q), normals.log_prob(z[:, None]), atol=1e-10)


def test_the_split_agrees_with_quadrature_where_codes_overlap():
    n = 4_000
    q = two_places(n)
    found = latent.split(q.mu + 0.5 * random(n, 1), q)

    def of_each(z):
        return norm.pdf(z, 1, 0.5) * (norm.logpdf(z, 1, 0.5) - np.log(density_of_two_places(z)))

    def of_all(z):
        density = density_of_two_places(z)
        return density * (np.log(density) - norm.logpdf(z))

    information, surplus = (quad(it, -7, 7, limit=200)[0] for it in (of_each, of_all))
    rate = kl_divergence(Normal(1.0, 0.5), Normal(0.0, 1.0)).item()
    assert 0.5 < information < math.log(2)
    assert found.information == pytest.approx(information, abs=0.01)
    assert found.surplus == pytest.approx(surplus, abs=0.03)
    assert found.surplus_below == pytest.approx(surplus, abs=0.03)
    assert found.rate == pytest.approx(rate, abs=0.03)


def test_codes_far_apart_tell_all_there_is_to_tell():
    mu = 50 * torch.arange(12.0).double()[:, None]
    found = latent.split(mu + random(12, 1), Posteriors(mu, torch.zeros_like(mu)))
    assert found.information == pytest.approx(math.log(12))
    assert found.information + found.surplus == pytest.approx(found.rate)


def test_the_lower_surplus_leaves_each_code_s_own_image_out(monkeypatch):
    monkeypatch.setattr(latent, "CHUNK", 4)
    q, z = Posteriors(random(11, 2), random(11, 2, seed=1)), random(11, 2, seed=2)
    ratios = []
    for i in range(11):
        others = [
            norm.pdf(z[i], q.mu[j], torch.exp(0.5 * q.logvar[j])).prod()
            for j in range(11)
            if j != i
        ]
        ratios.append(math.log(np.mean(others)) - norm.logpdf(z[i]).sum())
    assert latent.split(z, q).surplus_below == pytest.approx(np.mean(ratios))


def test_the_surplus_of_a_dimension_is_that_of_a_normal_if_all_posteriors_are_the_same():
    mu = torch.tensor([[0.0, 1.5, 30.0]]).repeat(20, 1)
    std = torch.tensor([[1.0, 0.2, 2.0]]).repeat(20, 1)
    expected = kl_divergence(Normal(mu[0].double(), std[0].double()), Normal(0.0, 1.0))
    found = latent.surplus_per_dimension(Posteriors(mu, 2 * std.log()))
    assert torch.allclose(found, expected, atol=1e-4)
    assert found[0].item() == pytest.approx(0, abs=1e-6)


def test_the_surplus_of_a_dimension_is_that_of_the_mixture():
    def integrand(z):
        density = density_of_two_places(z)
        return density * (np.log(density) - norm.logpdf(z))

    expected = quad(integrand, -7, 7, limit=200)[0]
    assert latent.surplus_per_dimension(two_places(40)).item() == pytest.approx(expected, abs=1e-5)


# Readers


def chessboard(seed):
    """Points in four fields of a square, whose labels are those of a chessboard."""
    points = torch.rand(200, 2, generator=torch.Generator().manual_seed(seed))
    points = 2 * points - 1
    points += 0.2 * points.sign()  # a gap between the fields
    return points, (points[:, 0] * points[:, 1] > 0).long()


def test_neighbours_read_a_chessboard_and_a_straight_cut_does_not():
    shown, asked = chessboard(0), chessboard(1)
    assert latent.neighbour_accuracy(*shown, *asked) == 1.0
    assert latent.linear_accuracy(*shown, *asked) < 0.7


def test_a_straight_cut_reads_what_a_line_divides():
    (shown, _), (asked, _) = chessboard(0), chessboard(1)
    labels = [(points[:, 0] > 0).long() for points in (shown, asked)]
    assert latent.linear_accuracy(shown, labels[0], asked, labels[1]) == 1.0
    assert latent.linear_accuracy(shown, labels[0], asked, 1 - labels[1]) == 0.0


def test_k_neighbours_vote():
    shown = torch.tensor([[0.0], [0.1], [0.2], [5.0]])
    labels = torch.tensor([1, 0, 0, 1])
    asked = torch.tensor([[-0.1]])
    of_one, of_three = (
        latent.neighbour_accuracy(shown, labels, asked, torch.tensor([1]), k=k) for k in (1, 3)
    )
    assert (of_one, of_three) == (1.0, 0.0)
