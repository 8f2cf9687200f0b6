"""Distances between sets of features against scipy, scikit-learn, prdc and closed forms."""

import math
from functools import partial

import numpy as np
import pytest
import torch
from prdc import compute_prdc
from scipy import linalg, stats
from sklearn.neighbors import NearestNeighbors

from vae_helpers import sample_quality
from vae_helpers.sample_quality import (
    Quality,
    compare,
    copies,
    digit_histogram,
    entropy,
    frechet_distance,
    kernel_distance,
    nearest,
    precision_recall_density_coverage,
)


def correlated(n, features=8):
    """`[n, features]` float32 with unequal variances and correlations, off zero."""
    mix = torch.linspace(-1, 1, features * features).reshape(features, features) + torch.eye(
        features
    )
    return torch.randn(n, features) @ mix + torch.linspace(0, 3, features)


def with_moments(mean, std, n=200):
    """Points whose sample mean and unbiased covariance are exactly these, uncorrelated."""
    points = torch.randn(n, len(mean), dtype=torch.float64)
    q = torch.linalg.qr(points - points.mean(dim=0)).Q * math.sqrt(n - 1)
    return q * torch.tensor(std) + torch.tensor(mean)


# Fréchet distance


@pytest.mark.parametrize(("n", "m"), [(300, 300), (150, 400)])
def test_frechet_distance_is_that_of_scipy(n, m):
    a, b = correlated(n).double().numpy(), (1.5 * correlated(m) + 0.5).double().numpy()
    cov_a, cov_b = np.cov(a.T), np.cov(b.T)
    root = linalg.sqrtm(cov_a @ cov_b).real
    expected = np.square(a.mean(0) - b.mean(0)).sum() + np.trace(cov_a + cov_b - 2 * root)
    found = frechet_distance(torch.tensor(a).float(), torch.tensor(b).float())
    assert found == pytest.approx(expected, rel=1e-5)


def test_frechet_distance_of_uncorrelated_features_is_the_closed_form():
    a, b = (
        with_moments([0.0, 1.0, 2.0], [1.0, 2.0, 0.5]),
        with_moments([1.0, 1.0, 0.0], [3.0, 2, 1]),
    )
    # |m - m'|^2 + sum (s - s')^2
    assert frechet_distance(a, b) == pytest.approx((1 + 0 + 4) + (4 + 0 + 0.25), rel=1e-9)


def test_frechet_distance_of_a_set_to_itself_is_zero_and_not_below():
    a = correlated(300).relu()
    a[:, 0] = 0  # a feature that is never on makes the covariance singular
    assert 0 <= frechet_distance(a, a) < 1e-3


def test_frechet_distance_is_symmetric():
    a, b = correlated(200), 2 * correlated(300)
    assert frechet_distance(a, b) == pytest.approx(frechet_distance(b, a), rel=1e-5)


def test_frechet_distance_of_two_samples_of_one_distribution_falls_with_their_size():
    def mean_of_halves(n):
        return np.mean([frechet_distance(torch.randn(n, 8), torch.randn(n, 8)) for _ in range(10)])

    few, more, many = (mean_of_halves(n) for n in (50, 200, 800))
    assert few > 2 * more > 4 * many  # hence one number of images everywhere


# Kernel distance


def u_statistic(a, b):
    """Unbiased squared MMD with the kernel (x.y / F + 1)^3."""
    a, b = a.double().numpy(), b.double().numpy()
    n, m = len(a), len(b)

    def kernel(x, y):
        return (x @ y.T / x.shape[1] + 1) ** 3

    within_a = (kernel(a, a).sum() - np.trace(kernel(a, a))) / (n * (n - 1))
    within_b = (kernel(b, b).sum() - np.trace(kernel(b, b))) / (m * (m - 1))
    return within_a + within_b - 2 * kernel(a, b).mean()


def test_kernel_distance_of_all_points_is_the_unbiased_cubic_mmd():
    a, b = torch.randn(150, 8), torch.randn(150, 8) + 0.5
    for size in (150, 1_000):
        found = kernel_distance(a, b, subset_size=size)
        assert found == pytest.approx(u_statistic(a, b), rel=1e-4)


def test_kernel_distance_of_subsets_is_about_that_of_all_points():
    a, b = torch.randn(400, 8), torch.randn(400, 8) + 0.5
    values = [kernel_distance(a, b, subset_size=100, seed=seed) for seed in range(5)]
    assert np.mean(values) == pytest.approx(u_statistic(a, b), rel=0.1)
    assert len(set(values)) == 5


def test_kernel_distance_of_two_samples_of_one_distribution_is_around_zero():
    values = np.array(
        [kernel_distance(torch.randn(50, 8), torch.randn(50, 8), seed=seed) for seed in range(40)]
    )
    assert abs(values.mean()) < 4 * values.std() / math.sqrt(len(values))
    assert values.min() < 0 < values.max()
    assert kernel_distance(torch.randn(50, 8), torch.randn(50, 8) + 1) > values.max()


def test_kernel_distance_depends_on_its_seed_and_leaves_the_global_generator():
    a, b = torch.randn(60, 8), torch.randn(60, 8)
    before = torch.get_rng_state()
    first = kernel_distance(a, b, subset_size=20, seed=1)
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(99)
    assert kernel_distance(a, b, subset_size=20, seed=1) == first
    assert kernel_distance(a, b, subset_size=20, seed=2) != first
    seed_0 = kernel_distance(a, b, subset_size=20, seed=0)
    assert kernel_distance(a, b, subset_size=20) == seed_0 != first


# Precision, recall, density, coverage


def pypi_prdc(features, reference, k):
    found = compute_prdc(reference.double().numpy(), features.double().numpy(), nearest_k=k)
    return [found[name] for name in ("precision", "recall", "density", "coverage")]


@pytest.mark.parametrize("k", [1, 5])
@pytest.mark.parametrize(("n", "m"), [(37, 60), (60, 60), (250, 110), (20, 100), (100, 7)])
def test_prdc_is_that_of_the_published_package_in_whatever_chunks(monkeypatch, n, m, k):
    monkeypatch.setattr(sample_quality, "CHUNK", 50)
    features, reference = 1.2 * torch.randn(n, 4) + 0.8, torch.randn(m, 4)
    expected = pypi_prdc(features, reference, k)
    found = precision_recall_density_coverage(features, reference, k=k)
    assert found == pytest.approx(expected, rel=1e-9)
    if n >= 37 and m >= 60:  # partial overlap: four numbers that cannot stand for one another
        assert len({round(number, 4) for number in found}) == 4
        assert all(number > 0 for number in found)


def test_prdc_of_sets_larger_than_a_chunk_is_that_of_the_published_package():
    features, reference = torch.randn(1_130, 4) + 0.5, torch.randn(1_050, 4)
    expected = pypi_prdc(features, reference, 5)
    found = precision_recall_density_coverage(features, reference)
    assert found == pytest.approx(expected, rel=1e-9)


def test_prdc_is_exact_far_from_the_origin():
    features, reference = torch.randn(60, 4) + 1_000.3, torch.randn(60, 4) + 1_000
    expected = pypi_prdc(features, reference, 5)
    found = precision_recall_density_coverage(features, reference)
    assert found == pytest.approx(expected, rel=1e-9)


def test_prdc_of_a_set_with_itself_is_one():
    a = correlated(120)
    assert precision_recall_density_coverage(a, a) == pytest.approx((1, 1, 1, 1))


def test_prdc_of_sets_far_apart_is_zero():
    a = torch.randn(120, 4)
    assert precision_recall_density_coverage(a, a + 100) == (0, 0, 0, 0)


def test_images_of_one_mode_are_precise_and_recall_little():
    reference = torch.cat([torch.randn(100, 4), torch.randn(100, 4) + 20])
    one_mode = torch.randn(200, 4)
    precision, recall, density, coverage = precision_recall_density_coverage(one_mode, reference)
    assert precision > 0.9
    assert density > 0.8
    assert recall <= 0.5
    assert 0.4 < coverage <= 0.5


# Nearest neighbours, digits


@pytest.mark.parametrize(("n", "m"), [(1, 9), (249, 30), (601, 300)])
def test_nearest_distances_are_those_of_scikit_learn(n, m):
    images, references = torch.rand(n, 20), torch.rand(m, 20)
    there = NearestNeighbors(n_neighbors=1).fit(references.double().numpy())
    expected = there.kneighbors(images.double().numpy())[0].flatten()
    assert nearest(images, references).tolist() == pytest.approx(expected, rel=1e-5)


def test_memorised_images_have_distance_zero():
    references = torch.rand(300, 784)
    images = torch.cat([torch.rand(20, 784), references[100:140]])
    distance = nearest(images, references)
    assert (distance[20:] == 0).all()
    assert (distance[:20] > 5).all()


# Copies of training images


@pytest.fixture(scope="module")
def known():
    """Features of 3,000 training images."""
    return torch.randn(3_000, 16, generator=torch.Generator().manual_seed(1))


@pytest.fixture(scope="module")
def in_components(mnist):
    """All training images and 500 test images, in 64 principal components of the former."""
    x = mnist.train_images
    some = x[::6].double()
    axes = torch.linalg.eigh(torch.cov(some.T)).eigenvectors[:, -64:].float()
    return x @ axes, mnist.test_images[::20] @ axes


def test_ten_copies_among_a_thousand_images_are_counted_exactly(known):
    images = torch.cat([torch.randn(990, 16), known[torch.randperm(3_000)[:10]]])
    assert copies(images[:990], known) == 0
    assert copies(images[torch.randperm(1_000)], known) == 10


def test_copies_of_one_training_image_count_one_by_one(known):
    assert copies(known[5].repeat(10, 1), known) == 10


def test_a_copy_counts_also_if_the_training_set_has_its_image_twice(known):
    images = torch.cat([torch.randn(90, 16), known[:10]])
    assert copies(images, torch.cat([known, known[:5]])) == 10


def test_copies_are_counted_in_whatever_chunks(monkeypatch, known):
    images = torch.cat([torch.randn(90, 16), known[::300], torch.randn(90, 16), known[:7]])
    monkeypatch.setattr(sample_quality, "CHUNK", 50)
    assert copies(images, known) == 10 + 7


def test_the_count_is_that_of_the_ratio_of_two_distances_of_scikit_learn(known):
    noise = torch.linspace(0, 4, 600)[:, None] * torch.randn(600, 16)
    images = known[:600] + 0.2 * noise
    there = NearestNeighbors(n_neighbors=2).fit(known.numpy())
    distance, index = there.kneighbors(images.numpy(), n_neighbors=1)
    own = there.kneighbors(known.numpy())[0][index[:, 0], 1]
    for nearness in (0.1, 0.4, 1.0):
        expected = int((distance[:, 0] < nearness * own).sum())
        assert copies(images, known, nearness=nearness) == expected
        assert 0 < expected < 600
    assert copies(images, known) == copies(images, known, nearness=0.4)


def test_copies_with_some_noise_are_found_and_with_much_noise_are_none(known):
    noise = torch.randn(500, 16) / 4  # of length 1, about half of the distance between neighbours
    found = [copies(known[:500] + amount * noise, known) for amount in (0.1, 0.3, 3.0)]
    assert found[0] == 500
    assert found[1] > 450
    assert found[2] < 5


def test_held_out_digits_are_no_copies_and_training_images_are(in_components):
    train, test = in_components
    assert copies(test, train) == 0
    assert copies(train[:100], train) == 100


def test_copies_of_digits_with_noise_are_found(in_components):
    train, _ = in_components
    noise = 0.4 * torch.nn.functional.normalize(torch.randn(100, 64))
    assert copies(train[:100] + noise, train) > 90


def test_one_per_cent_of_copies_is_counted_where_a_median_distance_sees_nothing(known):
    images = torch.randn(1_000, 16)
    planted = torch.cat([images[:990], known[:10]])
    before, after = (nearest(them, known).median().item() for them in (images, planted))
    assert after == pytest.approx(before, rel=0.01)
    assert (copies(images, known), copies(planted, known)) == (0, 10)


def test_histogram_is_the_share_of_each_of_ten_digits():
    shares = digit_histogram(torch.tensor([0, 3, 3, 8]))
    assert shares.tolist() == [0.25, 0, 0, 0.5, 0, 0, 0, 0, 0.25, 0]


def test_entropy_is_that_of_scipy():
    shares = torch.rand(10, dtype=torch.float64)
    shares[3] = 0
    shares /= shares.sum()
    assert entropy(shares) == pytest.approx(stats.entropy(shares.numpy()))


def test_entropy_is_log_ten_for_all_digits_alike_and_zero_for_one_digit():
    assert entropy(digit_histogram(torch.arange(10))) == pytest.approx(math.log(10))
    assert entropy(digit_histogram(torch.full((5,), 9))) == 0


# Everything together


def test_comparison_holds_each_statistic_under_its_name():
    features, reference = 1.2 * torch.randn(70, 4) + 0.8, torch.randn(70, 4)
    names = ("precision", "recall", "density", "coverage")
    expected = dict(zip(names, pypi_prdc(features, reference, 5), strict=True)) | {
        "fcd": frechet_distance(features, reference),
        "kid": u_statistic(features, reference),
    }
    found = compare(features, reference)
    assert isinstance(found, Quality)
    assert found._asdict() == pytest.approx(expected, rel=1e-4)
    assert len({round(number, 3) for number in found}) == 6


def test_comparison_depends_on_the_seed_in_the_kernel_distance_alone(monkeypatch):
    few = partial(kernel_distance, subset_size=20)
    monkeypatch.setattr(sample_quality, "kernel_distance", few)
    features, reference = torch.randn(70, 4) + 0.8, torch.randn(70, 4)
    first, again, other = (compare(features, reference, seed=seed) for seed in (1, 1, 2))
    assert first == again
    assert first.kid != other.kid
    assert compare(features, reference) == compare(features, reference, seed=0)
    assert first._replace(kid=0) == other._replace(kid=0)


@pytest.mark.parametrize(
    ("features", "reference", "says"),
    [
        (torch.rand(20, 4), torch.rand(21, 4), r"of one size .* \[20, 4\] and \[21, 4\]"),
        (torch.rand(20, 4), torch.rand(20, 5), r"of one size .* \[20, 4\] and \[20, 5\]"),
        (torch.rand(9, 4), torch.rand(9, 4), r"N >= 10, got \[9, 4\]"),
        (torch.rand(20), torch.rand(20), r"\[N, F\] of one size .* \[20\]"),
        (torch.rand(20, 4), torch.full((20, 4), math.nan), "expected finite features"),
        (torch.full((20, 4), math.inf), torch.rand(20, 4), "expected finite features"),
    ],
)
def test_comparison_refuses_sets_that_cannot_be_compared(features, reference, says):
    with pytest.raises(ValueError, match=says):
        compare(features, reference)


def test_ten_images_are_enough_to_be_compared():
    assert all(math.isfinite(number) for number in compare(torch.rand(10, 4), torch.rand(10, 4)))
