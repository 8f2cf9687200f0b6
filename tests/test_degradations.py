"""Each damage does what it says, in steps, and leaves images behind."""

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter

from vae_helpers import degradations, parameters
from vae_helpers.degradations import DEGRADATIONS
from vae_helpers.studies.tables import STUDIES, planned

DRAWN = ("noise", "holes", "overlaid", "without_classes")
STEPS = [(name, step) for name, it in DEGRADATIONS.items() for step in it.severities]


def rng(seed=0):
    return torch.Generator().manual_seed(seed)


def damaged(name, images, severity, *, labels=None, seed=0):
    labels = torch.zeros(len(images), dtype=torch.int64) if labels is None else labels
    return DEGRADATIONS[name].apply(images, labels, severity, rng(seed))


def numbered(n):
    """`n` images, each of one grey of its own, so that copies can be told."""
    return (torch.arange(n) / n)[:, None].expand(n, 784).contiguous()


def origin(images):
    """Which of the numbered images each of these is."""
    assert (images == images[:, :1]).all()
    return (images[:, 0] * len(images)).round().long()


# The list


def test_every_damage_has_a_name_that_a_parameter_may_have_and_there_are_no_others():
    assert tuple(DEGRADATIONS) == parameters.DEGRADATIONS


def test_a_damage_is_the_function_of_its_name():
    assert {name: it.apply.__name__ for name, it in DEGRADATIONS.items()} == {
        name: name for name in DEGRADATIONS
    }
    assert all(getattr(degradations, name) is it.apply for name, it in DEGRADATIONS.items())


def test_all_but_a_change_of_contrast_makes_worse_digits():
    same = [name for name, it in DEGRADATIONS.items() if not it.worsens]
    assert same == ["contrast", "rounded"]


@pytest.mark.parametrize(("name", "severity"), STEPS)
def test_a_damaged_set_is_a_set_of_as_many_images_and_the_given_ones_stay(digits, name, severity):
    images = digits.test_images.clone()
    found = damaged(name, images, severity, labels=digits.test_labels)
    assert (found.shape, found.dtype) == (images.shape, torch.float32)
    assert found.min() >= 0
    assert found.max() <= 1
    assert not torch.equal(found, images)
    assert torch.equal(images, digits.test_images)


@pytest.mark.parametrize("name", [name for name in DEGRADATIONS if name != "rounded"])
def test_the_severities_are_in_the_order_of_how_much_they_change(digits, name):
    images, labels = digits.test_images, digits.test_labels
    severities = DEGRADATIONS[name].severities
    assert len(severities) > 1
    assert list(severities) == sorted(severities)
    change = [
        (damaged(name, images, severity, labels=labels) - images).abs().mean().item()
        for severity in severities
        if name != "contrast" or severity > 1  # less contrast is another direction
    ]
    assert change == sorted(set(change))


@pytest.mark.parametrize("name", DEGRADATIONS)
def test_the_generator_decides_what_is_drawn_and_nothing_else(digits, name):
    images, labels = digits.test_images, digits.test_labels
    severity = DEGRADATIONS[name].severities[0]
    first = damaged(name, images, severity, labels=labels, seed=1)
    torch.manual_seed(99)
    assert torch.equal(damaged(name, images, severity, labels=labels, seed=1), first)
    other = damaged(name, images, severity, labels=labels, seed=2)
    assert torch.equal(other, first) == (name not in DRAWN)


# One by one


@pytest.mark.parametrize("gain", [0.5, 3.0, 10.0])
def test_contrast_multiplies_the_logits_within_those_of_1_and_254_of_255(gain):
    images = torch.rand(50, 784)
    images[0, :2] = torch.tensor([0.0, 1.0])
    x = np.clip(images.double().numpy(), 1 / 255, 254 / 255)
    expected = 1 / (1 + ((1 - x) / x) ** gain)
    found = damaged("contrast", images, gain).double().numpy()
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-6)


def test_rounded_images_are_white_from_one_half_on():
    images = torch.tensor([[0.0, 0.4999, 0.5, 1.0]])
    assert damaged("rounded", images, 1.0).tolist() == [[0, 0, 1, 1]]


@pytest.mark.parametrize(("sigma", "reach"), [(0.5, 2), (1.0, 3), (2.0, 6)])
def test_blur_is_that_of_scipy_with_this_standard_deviation_in_pixels(digits, sigma, reach):
    images = digits.test_images[:20]
    square = images.view(-1, 28, 28).double().numpy()
    expected = gaussian_filter(square, [0, sigma, sigma], mode="mirror", radius=[0, reach, reach])
    found = damaged("blur", images, sigma).view(-1, 28, 28).double().numpy()
    np.testing.assert_allclose(found, expected, atol=1e-5)


@pytest.mark.parametrize("share", [0.003, 0.05, 1.0])
def test_noise_inverts_this_share_of_the_pixels_and_leaves_the_others(share):
    images = 0.4 * torch.rand(1_000, 784)  # no pixel is its own inverse
    found = damaged("noise", images, share)
    hit = found != images
    assert torch.equal(found[hit], 1 - images[hit])
    error = (share * (1 - share) / hit.numel()) ** 0.5
    assert abs(hit.double().mean().item() - share) <= 4 * error


def test_a_hole_is_a_black_square_of_5_x_5_pixels_around_a_bright_one():
    for row, column in ((10, 14), (0, 0), (27, 13)):  # a square is cut off at the edge
        image = torch.full((28, 28), 0.3)
        image[row, column] = 0.9
        expected = image.clone()
        expected[max(row - 2, 0) : row + 3, max(column - 2, 0) : column + 3] = 0
        found = damaged("holes", image.view(1, 784), 1)
        assert torch.equal(found.view(28, 28), expected)


def test_so_many_holes_are_around_so_many_bright_pixels_none_of_them_twice():
    places = [(4, 4), (4, 20), (14, 12), (23, 5), (23, 22)]
    image = torch.full((28, 28), 0.3)
    for row, column in places:
        image[row, column] = 1.0
    for count in (1, 2, 4, 5):
        found = damaged("holes", image.view(1, 784).repeat(200, 1), count).view(-1, 28, 28)
        gone = torch.stack([found[:, row, column] == 0 for row, column in places], dim=1)
        assert (gone.sum(dim=1) == count).all()
        assert ((found == 0).sum(dim=(1, 2)) == 25 * count).all()
        assert gone.double().mean(dim=0).min() >= 0.5 * count / 5  # any of them may be hit


def test_holes_of_digits_lie_on_their_ink(digits):
    images = digits.test_images
    found = damaged("holes", images, 1)
    ink = (images > 0.5).sum(dim=1) - (found > 0.5).sum(dim=1)
    assert (ink >= 1).all()
    assert ((found == images) | (found == 0)).all()


def test_an_image_without_bright_pixels_has_holes_as_well():
    found = damaged("holes", torch.full((50, 784), 0.3), 1)
    assert ((found == 0).sum(dim=1) >= 9).all()  # a corner leaves 3 x 3


def test_overlaid_images_are_the_brighter_of_themselves_and_another_pixel_by_pixel():
    images = torch.rand(30, 784)
    found = damaged("overlaid", images, 1.0)
    pairs = torch.maximum(images[:, None], images)  # [30, 30, 784]
    assert (found[:, None] == pairs).all(dim=2).any(dim=1).all()
    assert (found != images).any(dim=1).sum() >= 25  # hardly any image is laid over itself


@pytest.mark.parametrize("share", [0.03, 0.3])
def test_this_share_of_the_images_is_overlaid_and_the_others_stay(share):
    images = torch.rand(4_000, 784)
    hit = (damaged("overlaid", images, share) != images).any(dim=1)
    error = (share * (1 - share) / len(images)) ** 0.5
    assert abs(hit.double().mean().item() - share) <= 4 * error


@pytest.mark.parametrize("count", [1, 2, 5])
def test_images_of_the_last_classes_become_copies_of_others_and_the_others_stay(count):
    labels = torch.randint(10, (2_000,), generator=rng(5))
    came_from = origin(damaged("without_classes", numbered(2_000), count, labels=labels))
    assert labels[came_from].max() == 9 - count
    keep = labels < 10 - count
    assert torch.equal(came_from[keep], torch.arange(2_000)[keep])
    drawn = came_from[~keep]
    assert len(drawn.unique()) > 0.55 * min(len(drawn), int(keep.sum()))  # at random
    assert set(labels[drawn].tolist()) == set(range(10 - count))


@pytest.mark.parametrize("times", [10, 30, 100])
def test_repeated_images_are_shown_so_many_times_and_the_others_never(times):
    count = origin(damaged("repeated", numbered(3_000), times)).bincount(minlength=3_000)
    assert set(count.tolist()) == {0, times}


def test_at_least_one_image_is_repeated():
    assert len(damaged("repeated", numbered(30), 100).unique(dim=0)) == 1


def test_every_step_of_every_damage_is_an_arm_of_the_study_and_there_are_no_others():
    arms = planned(STUDIES)["degradations"]["arms"].values()
    tried = [(arm["degradation"], arm["severity"]) for arm in arms if arm]
    assert sorted(tried) == sorted(STEPS)
