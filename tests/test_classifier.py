"""The reference classifier: its weights, what it reads, its training, and that it orders damage."""

import copy
import dataclasses
import hashlib
import math

import pytest
import torch
import torch.nn.functional as F
from safetensors import safe_open
from torchvision.transforms.functional import gaussian_blur

from vae_helpers import classifier
from vae_helpers.classifier import (
    CHECKSUM,
    COMMITTED,
    WEIGHTS,
    Classifier,
    ClassifierConfig,
    ReferenceClassifierError,
    accuracy,
    committed,
    read,
    reference,
    vary_contrast,
    weights_file,
)
from vae_helpers.sample_quality import frechet_distance
from vae_helpers.training import train

SMALL = ClassifierConfig(epochs=2, batch_size=32)


@pytest.fixture(scope="module")
def few(mnist):
    """500 training and 100 test images."""
    return mnist.first(500, 100)


def fit(config, data):
    """The trained classifier and its history."""
    fitted = train(config.trainer(data), epochs=config.epochs)
    return fitted.model, fitted.history


def state(model):
    return dict(model.state_dict())


def assert_same_weights(one, other):
    torch.testing.assert_close(state(one), state(other), rtol=0, atol=0)


# The committed weights


def test_committed_weights_have_the_published_checksum_and_are_small():
    content = WEIGHTS.read_bytes()
    assert hashlib.sha256(content).hexdigest() == CHECKSUM
    assert len(content) < 1_000_000


def test_the_reference_recognises_at_least_988_of_1000_test_images(mnist):
    digits = torch.cat([read(x).digits for x in mnist.test_images.split(5_000)])
    assert (digits == mnist.test_labels).double().mean() >= 0.988


def test_the_reference_holds_the_committed_weights_and_is_not_trained_any_more():
    with safe_open(WEIGHTS, framework="pt") as file:
        committed = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    torch.testing.assert_close(state(reference()), committed, rtol=0, atol=0)
    assert not any(parameter.requires_grad for parameter in reference().parameters())


def altered(content):
    middle = len(content) // 2
    return content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :]


@pytest.mark.parametrize(
    ("change", "found"),
    [(altered, "found [0-9a-f]{16}"), (lambda content: b"", "found e3b0"), (None, "found no file")],
)
def test_altered_or_missing_weights_are_refused_with_what_to_do(tmp_path, change, found):
    path = tmp_path / "classifier.safetensors"
    if change is not None:
        path.write_bytes(change(WEIGHTS.read_bytes()))
    with pytest.raises(ReferenceClassifierError, match=found) as caught:
        reference(path)
    assert str(path) in str(caught.value)
    assert CHECKSUM[:16] in str(caught.value)
    assert "`git checkout -- data/classifier.safetensors`" in str(caught.value)


def test_a_copy_of_the_committed_weights_is_as_good(tmp_path):
    path = tmp_path / "copy.safetensors"
    path.write_bytes(WEIGHTS.read_bytes())
    assert_same_weights(reference(path), reference())


# The three that are committed


def test_three_classifiers_are_committed_and_two_differ_from_the_reference_in_one_word():
    plain = ClassifierConfig()
    assert {name: it.config for name, it in COMMITTED.items()} == {
        "classifier": plain,
        "varied": dataclasses.replace(plain, contrast=True),
        "reseeded": dataclasses.replace(plain, seed=1),
    }
    assert COMMITTED["classifier"][:2] == (WEIGHTS, CHECKSUM)


def test_each_committed_classifier_has_its_own_file_with_its_checksum():
    for name, (path, checksum, _) in COMMITTED.items():
        assert hashlib.sha256(path.read_bytes()).hexdigest() == checksum, name
        assert hashlib.sha256(weights_file(committed(name))).hexdigest() == checksum, name
    assert len({checksum for _, checksum, _ in COMMITTED.values()}) == 3


@pytest.mark.parametrize("name", COMMITTED)
def test_a_committed_classifier_recognises_more_than_98_of_100_test_images(mnist, name):
    data = mnist.first(1, 2_000)
    assert accuracy(committed(name), data.test_images, data.test_labels) > 0.98


@pytest.mark.parametrize("gain", [0.5, 4.0, 16.0, None])
def test_the_varied_classifier_recognises_as_many_when_the_contrast_is_changed(mnist, gain):
    data = mnist.first(1, 2_000)
    images = data.test_images.round()
    if gain is not None:
        images = torch.sigmoid(gain * torch.logit(data.test_images, eps=1 / 255))
    assert accuracy(committed("varied"), images, data.test_labels) > 0.98


# Reading


def test_features_and_digits_are_those_of_the_equations(few):
    weights = [tensor.double() for _, tensor in sorted(state(reference()).items())]
    b1, w1, b2, w2, bf, wf, bl, wl = weights
    x = few.test_images.double().view(-1, 1, 28, 28)
    x = F.max_pool2d(F.conv2d(x, w1, b1, padding=1).clamp(min=0), 2)
    x = F.max_pool2d(F.conv2d(x, w2, b2, padding=1).clamp(min=0), 2)
    expected = (x.flatten(1) @ wf.T + bf).clamp(min=0)
    found = read(few.test_images)
    torch.testing.assert_close(found.features.double(), expected, rtol=1e-4, atol=1e-4)
    assert torch.equal(found.digits, (expected @ wl.T + bl).argmax(dim=1))


def test_reading_is_64_finite_features_not_below_zero_and_a_digit(few):
    found = read(torch.cat([few.test_images, torch.rand(20, 784)]))
    assert found.features.shape == (120, 64)
    assert found.features.isfinite().all()
    assert found.features.min() == 0
    assert found.features.max() > 1
    assert (found.digits.shape, found.digits.dtype) == ((120,), torch.int64)
    assert 0 <= found.digits.min() <= found.digits.max() <= 9


def test_reading_does_not_depend_on_the_company(mnist):
    images = mnist.test_images[:1_103]
    together = read(images)
    for part in (slice(0, 1), slice(995, 1_005), slice(1_100, 1_103)):
        alone = read(images[part])
        torch.testing.assert_close(alone.features, together.features[part], rtol=1e-4, atol=1e-4)
        assert torch.equal(alone.digits, together.digits[part])


def test_another_classifier_can_be_read_and_keeps_its_mode_and_gradients(few):
    model = Classifier().train()
    found = read(few.test_images, model=model)
    assert not found.features.requires_grad
    assert not torch.equal(found.features, read(few.test_images).features)
    assert model.training
    assert all(parameter.requires_grad for parameter in model.parameters())


@pytest.mark.parametrize(
    ("images", "says"),
    [
        (torch.linspace(-4, 4, 784)[None], "got -4 to 4; .* take their sigmoid"),
        (torch.arange(784.0)[None] % 256, r"expected values in \[0, 1\], got 0 to 255"),
        (torch.full((1, 784), math.nan), r"expected values in \[0, 1\], got nan"),
        (torch.rand(2, 28, 28), r"expected \[N, 784\], got \[2, 28, 28\]"),
        (torch.rand(784), r"expected \[N, 784\], got \[784\]"),
        (torch.rand(0, 784), r"expected \[N, 784\], got \[0, 784\]"),
    ],
)
def test_reading_refuses_what_are_no_images(images, says):
    with pytest.raises(ValueError, match=says):
        read(images)


def test_accuracy_is_the_share_of_right_digits(few):
    digits = read(few.test_images).digits
    wrong = digits.clone()
    wrong[:25] = (digits[:25] + 1) % 10
    assert accuracy(reference(), few.test_images, digits) == 1
    assert accuracy(reference(), few.test_images, wrong) == pytest.approx(0.75)


# Training


@pytest.fixture
def unshifted(monkeypatch):
    """Training images stay where they are."""

    def shift(images, *, rng):
        return images

    monkeypatch.setattr(classifier, "shift", shift)


def test_an_epoch_states_the_mean_loss_of_all_images_and_the_accuracy(few, unshifted):
    data = few.first(70, 10)  # the last batch has 6 images
    model, history = fit(ClassifierConfig(epochs=1, batch_size=32, learning_rate=1e-8), data)
    with torch.no_grad():
        log_p = torch.log_softmax(model(data.train_images).double(), dim=1)
    expected = -log_p[torch.arange(70), data.train_labels].mean().item()
    assert history[0]["train_loss"] == pytest.approx(expected, rel=1e-6)
    share = (model(data.test_images).argmax(dim=1) == data.test_labels).double().mean().item()
    assert history[0]["test_accuracy"] == pytest.approx(share)


def test_an_epoch_goes_down_the_gradient_of_the_mean_loss_of_each_batch(few, unshifted):
    data = few.first(30, 10)
    model = Classifier()
    before = [parameter.detach().clone() for parameter in model.parameters()]
    loss = F.nll_loss(torch.log_softmax(model(data.train_images), dim=1), data.train_labels)
    slopes = torch.autograd.grad(loss, list(model.parameters()))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    classifier.train_epoch(model, optimizer, data, config=ClassifierConfig(), epoch=1)
    for parameter, start, slope in zip(model.parameters(), before, slopes, strict=True):
        torch.testing.assert_close(parameter, start - 0.1 * slope)


def test_shifts_move_each_image_by_up_to_two_pixels_on_black():
    images = torch.rand(3, 784).repeat(400, 1)
    shifted = classifier.shift(images, rng=torch.Generator().manual_seed(0))
    assert shifted.shape == images.shape
    square = images[:3].view(3, 28, 28)
    offsets = [(down, right) for down in range(-2, 3) for right in range(-2, 3)]
    moved = torch.zeros(len(offsets), 3, 28, 28)
    for number, (down, right) in enumerate(offsets):
        rows, columns = (
            slice(max(down, 0), 28 + min(down, 0)),
            slice(max(right, 0), 28 + min(right, 0)),
        )
        ink = square.roll((down, right), dims=(1, 2))
        moved[number, :, rows, columns] = ink[:, rows, columns]
    same = (shifted.view(400, 1, 3, 784) == moved.flatten(2)).all(dim=3)  # [400, 25, 3]
    assert (same.sum(dim=1) == 1).all()
    counts = same.sum(dim=(0, 2))  # 1200 images over 25 offsets, 48 each
    assert counts.min() > 48 - 5 * 7
    assert counts.max() < 48 + 5 * 7


def test_shifts_depend_on_seed_and_epoch(few, monkeypatch):
    seen = []

    def look(images, *, rng):
        seen.append(rng.get_state())
        return images

    monkeypatch.setattr(classifier, "shift", look)
    model = Classifier()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.0)
    for seed, epoch in ((0, 1), (0, 1), (0, 2), (1, 1)):
        config = ClassifierConfig(seed=seed)
        classifier.train_epoch(model, optimizer, few.first(10, 1), config=config, epoch=epoch)
    assert len(seen) == 4
    first, again, later, other = seen
    assert torch.equal(first, again)
    assert not torch.equal(first, later)
    assert not torch.equal(first, other)


VARIED = 300  # calls of vary_contrast that are looked at


@pytest.fixture(scope="module")
def varied():
    """Grey images with one white pixel in the middle, and what they become at every call."""
    images = torch.linspace(0.05, 0.95, 784).repeat(40, 1)
    images[:, 14 * 28 + 14] = 0.95
    images[:, [0, 1]] = torch.tensor([0.0, 1.0])
    rng = torch.Generator().manual_seed(0)
    return images, [vary_contrast(images, rng=rng) for _ in range(VARIED)]


def slopes(images, found):
    """By which number an image's logits were multiplied, for each image and grey pixel."""
    grey = slice(100, 300)
    return torch.logit(found[:, grey].double()) / torch.logit(images[:, grey].double())


def test_varied_images_stay_in_0_and_1_and_the_given_ones_are_left(varied):
    images, found = varied
    assert torch.equal(images[:, 2], torch.full((40,), images[0, 2].item()))
    for one in found:
        assert one.shape == images.shape
        assert one.min() >= 0
        assert one.max() <= 1


def is_rounded(found):
    return ((found == 0) | (found == 1)).all(dim=1)  # a sigmoid of logits within 16 x 5.5 is not


def test_a_quarter_of_the_images_is_rounded_to_black_and_white_each_for_itself(varied):
    shares = torch.stack([is_rounded(one).double().mean() for one in varied[1]])
    assert abs(shares.mean().item() - 0.25) < 4 * math.sqrt(0.25 * 0.75 / (40 * VARIED))
    assert 0 < shares.median() < 1  # not whole batches


def is_blurred(images, found):
    """Whether a batch was blurred: the white pixel in the middle has given to its neighbours."""
    at = 14 * 28 + 14
    one = found[~is_rounded(found)][0].double()
    return not torch.isclose(
        torch.logit(one[at + 1]) / torch.logit(one[at - 3]),
        torch.logit(images[0, at + 1].double()) / torch.logit(images[0, at - 3].double()),
        rtol=0.01,
    )


def test_half_of_the_batches_are_blurred(varied):
    images, found = varied
    count = sum(is_blurred(images, one) for one in found)
    assert abs(count - VARIED / 2) < 4 * math.sqrt(VARIED / 4)


def test_a_blur_reaches_up_to_one_pixel_and_not_beyond(monkeypatch):
    sigmas = []

    def look(images, kernel, sigma):
        sigmas.extend(sigma)
        return images

    monkeypatch.setattr(classifier, "gaussian_blur", look)
    rng = torch.Generator().manual_seed(0)
    for _ in range(400):
        vary_contrast(torch.zeros(1, 784), rng=rng)
    assert 0.1 <= min(sigmas) < 0.12
    assert 0.98 < max(sigmas) <= 1.0


def test_contrast_is_multiplied_by_one_number_per_image_between_a_half_and_sixteen(varied):
    images, found = varied
    gains = []
    for one in found:
        if not is_blurred(images, one):
            slope = slopes(images, one)[~is_rounded(one)]
            middle = slope.median(dim=1).values
            exact = slope[:, -40:]  # far from 0 the logits are too coarse in float32
            torch.testing.assert_close(exact, middle[:, None].expand_as(exact), rtol=0.02, atol=0)
            gains.append(middle)
    gains = torch.cat(gains)
    assert gains.min() >= 0.5 * 0.99
    assert gains.min() < 0.52
    assert gains.max() <= 16 * 1.01
    assert gains.max() > 15
    # even on the scale of powers of two, from -1 to 4
    error = 5 / math.sqrt(12 * len(gains))
    assert abs(gains.log2().mean().item() - 1.5) < 4 * error
    assert abs((gains < 2).double().mean().item() - 0.4) < 4 * math.sqrt(0.24 / len(gains))


def test_black_and_white_have_the_logits_of_1_and_254_of_255_before_they_are_multiplied(varied):
    images, found = varied
    ends = []
    for one in found:
        if not is_blurred(images, one):
            kept = ~is_rounded(one)
            gain = slopes(images, one)[kept].median(dim=1).values
            mild = gain < 1.5
            ends.append(torch.logit(one[kept][mild][:, :2].double()) / gain[mild][:, None])
    ends = torch.cat(ends)
    expected = math.log(254) * torch.tensor([-1.0, 1.0], dtype=torch.float64).expand_as(ends)
    torch.testing.assert_close(ends, expected, rtol=0.01, atol=0)


def test_the_generator_decides_how_contrast_varies_and_nothing_else():
    images = torch.rand(8, 784)
    first, again, other = (
        vary_contrast(images, rng=torch.Generator().manual_seed(seed)) for seed in (1, 1, 2)
    )
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


@pytest.mark.parametrize("contrast", [False, True])
def test_contrast_varies_in_training_if_and_only_if_the_configuration_says_so(
    few, monkeypatch, contrast
):
    seen, learnt = [], []
    monkeypatch.setattr(classifier, "shift", lambda images, *, rng: images + 2)
    monkeypatch.setattr(
        classifier, "vary_contrast", lambda images, *, rng: (seen.append(images), images - 1)[1]
    )
    model = Classifier()
    model.register_forward_pre_hook(lambda module, given: learnt.extend(given))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.0)
    config = ClassifierConfig(contrast=contrast)
    classifier.train_epoch(model, optimizer, few.first(10, 1), config=config, epoch=1)
    assert len(seen) == contrast
    assert all(images.min() >= 2 for images in seen)  # they were shifted before
    assert learnt[0].min() == (1 if contrast else 2)


def test_a_configuration_cannot_be_changed_after_it_was_checked():
    with pytest.raises(dataclasses.FrozenInstanceError):
        ClassifierConfig().epochs = 0


def test_step_size_falls_by_the_same_amount_every_epoch_towards_zero(few, monkeypatch):
    sizes = []

    def look(model, optimizer, data, *, config, epoch):
        sizes.extend(group["lr"] for group in optimizer.param_groups)
        return 0.0

    monkeypatch.setattr(classifier, "train_epoch", look)
    fit(ClassifierConfig(epochs=4, learning_rate=0.4), few.first(10, 10))
    assert sizes == pytest.approx([0.4, 0.3, 0.2, 0.1])


def test_order_of_the_images_depends_on_seed_and_epoch(few, monkeypatch):
    visited = []

    def look(logits, labels):
        visited.extend(labels.tolist())
        return logits.sum() * 0

    monkeypatch.setattr(classifier.F, "cross_entropy", look)

    def order(epoch, seed=0):
        model = Classifier()
        visited.clear()
        optimizer = torch.optim.SGD(model.parameters(), lr=0.0)
        config = ClassifierConfig(seed=seed)
        classifier.train_epoch(model, optimizer, few, config=config, epoch=epoch)
        return list(visited)

    assert order(1) == order(1)
    assert order(1) != order(2)
    assert order(1) != order(1, seed=1)
    assert sorted(order(1)) == sorted(few.train_labels.tolist())


def test_a_few_epochs_on_500_digits_reduce_the_loss_and_beat_guessing(few):
    history = fit(ClassifierConfig(epochs=3, batch_size=8), few)[1]
    assert [numbers["epoch"] for numbers in history] == [1, 2, 3]
    loss = [numbers["train_loss"] for numbers in history]
    assert math.log(10) > loss[0] > loss[1] > loss[2]
    assert loss[2] < 1.3  # three seeds end at 0.9
    assert history[2]["test_accuracy"] > 0.5


def test_training_is_reproducible_to_the_bit_and_leaves_the_global_generator(few):
    before = torch.get_rng_state()
    first, history = fit(SMALL, few)
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(99)
    second, again = fit(SMALL, few)
    assert_same_weights(first, second)
    assert history == again
    other = fit(dataclasses.replace(SMALL, epochs=1, seed=1), few)[1]
    assert other[0]["train_loss"] != history[0]["train_loss"]


def test_a_training_that_goes_on_from_its_state_ends_as_one_that_was_never_stopped(few):
    whole, first, second = (SMALL.trainer(few) for _ in range(3))
    numbers = [whole.epoch(1), whole.epoch(2)]
    assert first.epoch(1) == numbers[0]
    second.load_state_dict(copy.deepcopy(first.state_dict()))
    assert second.epoch(2) == numbers[1]
    assert_same_weights(second.model, whole.model)


def test_what_shapes_an_epoch_is_the_whole_configuration_with_the_number_of_epochs():
    shape = SMALL.shape()
    assert (shape["device"], shape["products"]) == ("cpu", "off")
    assert shape["config"]["seed"] == 0
    assert shape != dataclasses.replace(SMALL, epochs=3).shape()  # the step sizes are others


def test_weights_come_back_as_they_were_written(few, tmp_path, monkeypatch):
    model, path = Classifier(), tmp_path / "weights.safetensors"
    path.write_bytes(weights_file(model))
    monkeypatch.setattr(classifier, "CHECKSUM", hashlib.sha256(path.read_bytes()).hexdigest())
    assert_same_weights(reference(path), model)
    found = read(few.test_images, model=reference(path)).features
    assert torch.equal(found, read(few.test_images, model=model).features)


# Distances by the reference classifier measure damage

STEPS = 3
SHOWN = 2_000


def blurred(images, step):
    """Blur with a standard deviation of 0.5, 1 and 1.5 pixels."""
    square = images.view(-1, 1, 28, 28)
    return gaussian_blur(square, 9, 0.5 * step).clamp(0, 1).flatten(1)


def noisy(images, step):
    return (images + 0.15 * step * torch.randn_like(images)).clamp(0, 1)


def blanked(images, step):
    """One, two and three tenths of the images are replaced by black ones."""
    kept = torch.arange(len(images)) % 10 >= step
    return images * kept[:, None]


def mixed(images, step):
    """A share of each image, 0.1 to 0.3, is another image."""
    return (1 - 0.1 * step) * images + 0.1 * step * images.roll(1, dims=0)


@pytest.fixture(scope="module")
def from_training_images(mnist):
    """Frechet distance of images to training images, and that of undamaged test images."""
    reference = read(mnist.train_images[:SHOWN]).features

    def distance(images):
        return frechet_distance(read(images).features, reference)

    held_out = mnist.test_images[torch.arange(SHOWN) * 5]  # from all writers
    return distance, held_out, distance(held_out)


@pytest.mark.parametrize("damage", [blurred, noisy, blanked, mixed])
def test_distance_from_training_images_grows_with_damage(from_training_images, damage):
    distance, images, undamaged = from_training_images
    levels = [undamaged, *(distance(damage(images, step)) for step in range(1, STEPS + 1))]
    assert levels == sorted(levels)
    assert levels[-1] > 4 * undamaged


def test_undamaged_images_are_much_nearer_than_noise_or_blanks(from_training_images):
    distance, images, undamaged = from_training_images
    for others in (torch.rand(SHOWN, 784), torch.zeros(SHOWN, 784), 1 - images):
        assert distance(others) > 20 * undamaged
