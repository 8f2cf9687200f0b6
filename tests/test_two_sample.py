"""A network that tells generated images from real ones: what it says of sets that are known."""

import math

import pytest
import torch

from vae_helpers.two_sample import two_sample_accuracy


def standard_error(n):
    return 0.5 / math.sqrt(n)


def bars(n, row):
    """`n` noisy images with a white bar in this row."""
    images = 0.3 * torch.rand(n, 28, 28)
    images[:, row : row + 3] += 0.7
    return images.flatten(1)


@pytest.mark.parametrize("seed", [1, 2])
def test_two_halves_of_one_set_cannot_be_told_apart(digits, seed):
    images = digits.train_images[torch.randperm(2_000)[:1_600]]
    found = two_sample_accuracy(images[:800], images[800:], seed=seed)
    assert abs(found - 0.5) <= 3 * standard_error(800)


def test_other_images_are_told_apart_nearly_always(digits):
    images = digits.test_images[:200]
    assert two_sample_accuracy(1 - images, images) > 0.98
    assert two_sample_accuracy(images, 1 - images) > 0.98


def test_a_part_of_other_images_is_told_apart_by_about_its_share(digits):
    images = digits.train_images[torch.randperm(2_000)[:1_600]]
    mixed = images[:800].clone()
    mixed[:400] = 1 - mixed[:400]
    found = two_sample_accuracy(mixed, images[800:])
    assert abs(found - 0.75) <= 4 * standard_error(800)


def test_learning_the_images_by_heart_does_not_help():
    samples, real = torch.rand(100, 784), torch.rand(100, 784)
    found = two_sample_accuracy(samples, real, epochs=40)
    assert abs(found - 0.5) <= 3 * standard_error(100)


def test_the_halves_are_drawn_at_random_from_either_set():
    # with halves in the order of the images the two kinds would change sides
    upper, lower = bars(100, 5), bars(100, 20)
    found = two_sample_accuracy(torch.cat([upper, lower]), torch.cat([lower, upper]))
    assert abs(found - 0.5) <= 4 * standard_error(200)


def test_the_seed_decides_and_the_global_generator_is_left_alone():
    samples, real = torch.rand(60, 784), 0.97 * torch.rand(60, 784)
    before = torch.get_rng_state()
    first = [two_sample_accuracy(samples, real, seed=seed) for seed in range(4)]
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(99)
    assert [two_sample_accuracy(samples, real, seed=seed) for seed in range(4)] == first
    assert len(set(first)) > 1
    assert two_sample_accuracy(samples, real) == first[0]


def test_an_accuracy_is_a_share_of_all_held_out_images():
    samples, real = torch.rand(2, 784), torch.rand(2, 784)
    assert two_sample_accuracy(samples, real) in (0.0, 0.5, 1.0)


@pytest.mark.parametrize(
    ("samples", "real"),
    [((20, 784), (22, 784)), ((21, 784), (21, 784)), ((0, 784), (0, 784)), ((20, 784), (20, 64))],
)
def test_sets_that_differ_in_size_or_cannot_be_halved_are_refused(samples, real):
    with pytest.raises(ValueError, match="of one even size, got") as refusal:
        two_sample_accuracy(torch.rand(samples), torch.rand(real))
    assert f"{list(samples)} and {list(real)}" in str(refusal.value)
