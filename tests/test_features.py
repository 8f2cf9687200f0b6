"""What images are compared by: how they are shown, the five networks, and batches of features."""

import hashlib

import pytest
import torch
from sklearn.decomposition import PCA
from torch import nn

from vae_helpers import classifier
from vae_helpers import features as of_features
from vae_helpers.classifier import Classifier, ReferenceClassifierError
from vae_helpers.features import EXTRACTORS, RENDERINGS, Pixels, extract, extractor, rendered


def rng(seed=0):
    return torch.Generator().manual_seed(seed)


# Renderings


def test_means_are_the_images_as_they_are(digits):
    assert torch.equal(rendered(digits.test_images, "means", rng=rng()), digits.test_images)


def test_rounded_pixels_are_white_from_one_half_on_and_black_below():
    below = torch.nextafter(torch.tensor(0.5), torch.tensor(0.0)).item()
    images = torch.tensor([[0.0, 0.2, below, 0.5, 0.7, 1.0]])
    for found in (rendered(images, "rounded", rng=rng()), of_features.rounded(images)):
        assert found.tolist() == [[0, 0, 0, 1, 1, 1]]
        assert found.dtype == images.dtype


@pytest.mark.parametrize("gain", [0.3, 3.0, 20.0])
def test_rounded_images_do_not_change_when_all_logits_are_multiplied(gain):
    logits = 3 * torch.randn(200, 784)
    logits[0, 0] = 0.0
    once, more = (
        rendered(torch.sigmoid(it), "rounded", rng=rng()) for it in (logits, gain * logits)
    )
    assert torch.equal(once, more)
    assert 0.4 < once.mean() < 0.6


def test_draws_are_white_as_often_as_the_images_value_says():
    images = torch.linspace(0, 1, 784).repeat(4_000, 1)
    found = rendered(images, "draws", rng=rng())
    assert ((found == 0) | (found == 1)).all()
    error = (images[0] * (1 - images[0]) / len(images)).sqrt()
    assert ((found.mean(dim=0) - images[0]).abs() <= 5 * error).all()


def test_draws_depend_on_the_generator_and_on_nothing_else():
    images = torch.rand(20, 784)
    first = rendered(images, "draws", rng=rng(1))
    torch.manual_seed(99)
    assert torch.equal(rendered(images, "draws", rng=rng(1)), first)
    assert not torch.equal(rendered(images, "draws", rng=rng(2)), first)


def test_an_unknown_rendering_is_refused_with_those_that_there_are():
    with pytest.raises(ValueError, match="expected one of means, draws, rounded, got 'round'"):
        rendered(torch.rand(2, 784), "round", rng=rng())
    assert RENDERINGS == ("means", "draws", "rounded")


# Principal components


def test_pixels_are_the_64_leading_principal_components_of_scikit_learn(digits):
    images, others = digits.train_images[:1_000], digits.test_images
    expected = PCA(64, svd_solver="full").fit(images.double().numpy()).transform(others.numpy())
    found = Pixels(images).features(others).double()
    expected = torch.tensor(expected.copy()).flip(1)  # the largest variance is last here
    signs = torch.sign((found * expected).sum(dim=0))
    torch.testing.assert_close(found, signs * expected, rtol=1e-3, atol=1e-3)


def test_pixels_of_the_images_themselves_are_uncorrelated_with_mean_zero(digits):
    images = digits.train_images
    features = Pixels(images).features(images).double()
    assert features.mean(dim=0).abs().max() < 1e-4
    correlation = torch.corrcoef(features.T) - torch.eye(64)
    assert correlation.abs().max() < 1e-3


# The five networks


@pytest.mark.parametrize("name", ["classifier", "varied", "reseeded"])
def test_an_extractor_with_committed_weights_has_those_of_its_own_file(name):
    path, checksum, _ = classifier.COMMITTED[name]
    assert hashlib.sha256(path.read_bytes()).hexdigest() == checksum
    network = extractor(name, torch.empty(0))
    assert hashlib.sha256(classifier.weights_file(network)).hexdigest() == checksum
    assert not any(weight.requires_grad for weight in network.parameters())


@pytest.mark.parametrize("name", ["classifier", "varied", "reseeded"])
def test_an_extractor_whose_weights_were_altered_is_refused(name, tmp_path, monkeypatch):
    entry = classifier.COMMITTED[name]
    content = bytearray(entry.path.read_bytes())
    content[-1] ^= 1
    altered = tmp_path / entry.path.name
    altered.write_bytes(content)
    monkeypatch.setattr(classifier, "COMMITTED", {name: entry._replace(path=altered)})
    with pytest.raises(ReferenceClassifierError, match=f"git checkout -- data/{altered.name}"):
        extractor(name, torch.empty(0))


def test_the_random_extractor_is_an_untrained_classifier_and_the_same_at_every_call(digits):
    before = torch.get_rng_state()
    network = extractor("random", digits.train_images)
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(99)
    again = extractor("random", digits.train_images)
    torch.testing.assert_close(network.state_dict(), again.state_dict(), rtol=0, atol=0)
    assert isinstance(network, Classifier)
    assert not any(weight.requires_grad for weight in network.parameters())
    right = network(digits.test_images).argmax(dim=1) == digits.test_labels
    assert right.double().mean() < 0.3
    # torch's own start: uniform within 1 / sqrt(fan-in)
    assert network.to_features.weight.abs().max() == pytest.approx(1_568**-0.5, rel=1e-3)


def test_the_pixels_extractor_knows_the_images_that_it_is_given(digits):
    one, other = (
        extractor("pixels", digits.train_images[part]) for part in (slice(500), slice(900))
    )
    assert torch.equal(one.mean, digits.train_images[:500].mean(dim=0))
    assert not torch.equal(one.mean, other.mean)


def test_every_extractor_gives_64_features_and_no_two_the_same(digits):
    made = [
        extract(extractor(name, digits.train_images[:500]), digits.test_images)
        for name in EXTRACTORS
    ]
    assert all(features.shape == (500, 64) and features.isfinite().all() for features in made)
    for number, features in enumerate(made):
        assert not any(torch.allclose(features, other) for other in made[:number])


def test_an_unknown_extractor_is_refused_with_those_that_there_are():
    known = "classifier, varied, reseeded, random, pixels"
    with pytest.raises(ValueError, match=f"expected one of {known}, got 'vary'"):
        extractor("vary", torch.rand(100, 784))
    assert ", ".join(EXTRACTORS) == known


# Batches


@pytest.mark.parametrize("n", [1, 250, 251, 617])
def test_features_of_a_set_are_those_of_its_images_one_by_one_in_their_order(mnist, n):
    network, images = extractor("classifier", torch.empty(0)), mnist.test_images[:n]
    features = extract(network, images)
    assert features.shape == (n, 64)
    for at in {0, n // 2, n - 1}:
        alone = network.features(images[at : at + 1])[0]
        torch.testing.assert_close(features[at], alone, rtol=1e-4, atol=1e-4)


def test_no_more_than_250_images_are_read_at_one_time():
    class Looks(nn.Module):
        def features(self, x):
            self.most = max(getattr(self, "most", 0), len(x))
            return x[:, :64]

    network, images = Looks(), torch.rand(1_001, 784)
    assert torch.equal(extract(network, images), images[:, :64])
    assert network.most == 250


def test_features_carry_no_gradient_even_of_a_network_that_can_be_trained():
    network = Classifier()
    assert not extract(network, torch.rand(3, 784)).requires_grad
    assert all(weight.requires_grad for weight in network.parameters())


def test_pixels_are_drawn_on_the_cpu_wherever_the_images_are(monkeypatch):
    seen = []

    def noted(images, *, rng):
        seen.append((images.device.type, rng.device.type))
        return images

    class Elsewhere(torch.Tensor):
        """Stands for images of a GPU, which have to be fetched."""

        def cpu(self):
            seen.append("fetched")
            return self.as_subclass(torch.Tensor)

    monkeypatch.setattr(of_features, "binarize_images", noted)
    images = torch.rand(2, 784).as_subclass(Elsewhere)
    rendered(images, "draws", rng=torch.Generator())
    assert seen == ["fetched", ("cpu", "cpu")]
