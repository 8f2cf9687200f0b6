"""What is measured of images and of models, against scipy and cases worked out by hand."""

import copy
import math
import re

import numpy as np
import pytest
import torch
from scipy import linalg, stats

from vae_helpers import evaluation, features, measures, parameters, sample_quality
from vae_helpers.features import EXTRACTORS, RENDERINGS, extract, extractor
from vae_helpers.measures import MEASURES, Subject, name_of, rendered_real
from vae_helpers.models import GAN, VAE, Discriminator, Generator
from vae_helpers.sample_quality import frechet_distance
from vae_helpers.seeds import new_rng
from vae_helpers.two_sample import two_sample_accuracy

N = 400
QUALITY = ("kid", "precision", "recall", "density", "coverage")
NAMES = {
    "fcd": {"fcd"},
    "frechet": {f"frechet_{how}_{by}" for how in RENDERINGS for by in EXTRACTORS},
    "neighbours": {f"{name}_{how}" for name in QUALITY for how in ("means", "rounded")},
    "two_sample": {f"two_sample_{how}" for how in RENDERINGS},
    "digits": {"digit_entropy", "pixel_entropy"},
    "copies": {"copies"},
    "likelihood": {f"minus_bound_{how}_{k}" for how in ("grey", "dynamic") for k in (1, 3)},
    "codes": {"rate", "active_units", "kl_of_dimension_1", "kl_of_dimension_2"},
    "units": {
        *("dead_generator_units", "dead_discriminator_units", "d_fake", "generator_gradient"),
    },
}


def small_gan(*, slope=0.0):
    generator = Generator((4, 3), 2, batch_norm=False, slope=slope)
    return GAN(generator, Discriminator((5, 3), slope=slope)).eval()


@pytest.fixture(scope="module")
def networks(digits):
    return {name: extractor(name, digits.train_images) for name in EXTRACTORS}


@pytest.fixture(scope="module")
def subject(digits, networks):
    """Real images against others that were made greyer and a little brighter."""
    real = digits.test_images[:N]
    known = {
        name_of(how, by): extract(network, rendered_real(real, how))
        for by, network in networks.items()
        for how in RENDERINGS
    }
    samples = 0.15 + 0.6 * digits.train_images[-N:]
    return Subject(
        samples, real, digits.train_images, networks, known, likelihood_images=40, num_samples=3
    )


def by_scipy(a, b):
    """Squared distance between normals with the means and covariances of two sets."""
    a, b = a.double().numpy(), b.double().numpy()
    ridge = 1e-10 * np.eye(a.shape[1])  # a feature that is never on makes a covariance singular
    cov_a, cov_b = np.cov(a.T) + ridge, np.cov(b.T) + ridge
    root = linalg.sqrtm(cov_a @ cov_b).real
    return np.square(a.mean(0) - b.mean(0)).sum() + np.trace(cov_a + cov_b - 2 * root)


# The list


def test_every_measure_has_a_name_that_a_parameter_may_have_and_there_are_no_others():
    assert tuple(MEASURES) == parameters.MEASURES
    assert {name: it.__name__ for name, it in MEASURES.items()} == {name: name for name in MEASURES}


@pytest.mark.parametrize("name", NAMES)
def test_a_measure_gives_the_numbers_that_it_promises_and_no_others(subject, name):
    models = {"likelihood": VAE((8,), 2), "codes": VAE((8,), 2), "units": small_gan()}
    found = MEASURES[name](subject._replace(model=models.get(name)))
    assert found.keys() == NAMES[name]
    assert all(isinstance(it, (int, float)) and math.isfinite(it) for it in found.values())
    # names in the docstring, with the subject's number of draws; other words there are none
    words = re.findall(r"`(\w+)`", MEASURES[name].__doc__)
    assert {it for it in words if it != "num_samples"} <= {
        *found,
        *("frechet_means_pixels", "two_sample_means"),
        *("minus_bound_grey_1", "minus_bound_dynamic_1"),
    } & found.keys()


def test_names_of_numbers_stand_for_one_measure_each():
    names = [name for of in NAMES.values() for name in of]
    assert len(names) == len(set(names))


# Codes


def test_codes_are_the_kl_of_torch_by_dimension_and_those_that_move_with_the_image(subject):
    model = VAE((8,), 3).eval()
    with torch.no_grad():
        model.to_mu.weight[1] *= 30
        model.to_mu.weight[2] = 0.0  # its mean is the same for every image
        model.to_logvar.bias[2] = -3.0
        mu, logvar = model.encode(subject.real)
    q = torch.distributions.Normal(mu.double(), logvar.double().exp().sqrt())
    prior = torch.distributions.Normal(0.0, 1.0)
    parts = torch.distributions.kl_divergence(q, prior).mean(dim=0)
    found = measures.codes(subject._replace(model=model))
    assert found["rate"] == pytest.approx(parts.sum().item(), rel=1e-5)
    for place, part in enumerate(sorted(parts.tolist(), reverse=True), 1):
        assert found[f"kl_of_dimension_{place}"] == pytest.approx(part, rel=1e-4)
    moves = [float(np.var(mu[:, i].numpy(), ddof=1)) > 0.01 for i in range(3)]
    assert found["active_units"] == sum(moves)
    assert moves[1:] == [True, False]


def test_images_of_nobody_and_of_a_gan_have_no_codes(subject):
    for model, name in ((None, "NoneType"), (small_gan(), "GAN")):
        with pytest.raises(ValueError, match=f"expected a Gaussian .* got {name}; leave the meas"):
            measures.codes(subject._replace(model=model))


def test_targets_are_drawn_from_the_first_real_images_and_the_seed(subject):
    drawn = subject._replace(seed=3).targets("dynamic")
    own = torch.bernoulli(subject.real[:40], generator=new_rng(3, "pixels, dynamic"))
    assert torch.equal(drawn, own)
    assert torch.equal(subject.targets("grey"), subject.real[:40])


# Distances


def test_fcd_is_the_frechet_distance_of_rounded_images_by_the_reference_classifier(subject):
    network = subject.extractors["classifier"]
    rounded = [(images >= 0.5).float() for images in (subject.samples, subject.real)]
    expected = by_scipy(*(network.features(images) for images in rounded))
    assert measures.fcd(subject)["fcd"] == pytest.approx(expected, rel=1e-3)
    grey = by_scipy(*(network.features(images) for images in (subject.samples, subject.real)))
    assert abs(grey - expected) > 0.1 * expected  # rounding matters here


def test_tripled_logits_leave_fcd_where_it_was_and_move_the_distance_of_means(subject):
    logits = torch.logit(subject.samples)
    once, thrice = (
        subject._replace(samples=torch.sigmoid(gain * logits), extractors=only(subject))
        for gain in (1, 3)
    )
    assert measures.fcd(thrice) == measures.fcd(once)
    before, after = (measures.frechet(it)["frechet_means_classifier"] for it in (once, thrice))
    assert abs(after - before) > 0.1 * before


def only(subject, *names):
    """Some of the extractors, so that nothing else is computed; the reference if none is named."""
    return {name: subject.extractors[name] for name in names or ("classifier",)}


def test_each_frechet_distance_is_of_its_own_rendering_and_extractor(subject):
    found = measures.frechet(subject)
    shown = {"means": lambda images: images, "rounded": lambda images: (images >= 0.5).float()}
    for name, network in subject.extractors.items():
        for how, show in shown.items():
            made, real = (network.features(show(it)) for it in (subject.samples, subject.real))
            expected = frechet_distance(made, real)
            assert found[f"frechet_{how}_{name}"] == pytest.approx(expected, rel=1e-3), (how, name)
    assert len(set(found.values())) == len(found)


def test_distances_of_draws_are_those_of_one_draw_of_either_set(subject):
    network = subject.extractors["classifier"]
    expected = np.mean(
        [
            frechet_distance(*(network.features(it.bernoulli()) for it in subject[:2]))
            for _ in range(10)
        ]
    )
    found = measures.frechet(subject._replace(extractors=only(subject)))
    assert found["frechet_draws_classifier"] == pytest.approx(expected, rel=0.1)


def test_the_real_features_that_are_given_are_those_that_are_compared_with(subject):
    other = subject.real_features | {"rounded_classifier": torch.rand(N, 64)}
    assert measures.fcd(subject._replace(real_features=other)) != measures.fcd(subject)


def test_draws_of_real_images_and_of_samples_are_independent(subject):
    grey = torch.full((20, 784), 0.5)
    made, real = subject._replace(samples=grey).rendered("draws"), rendered_real(grey, "draws")
    error = 0.5 / math.sqrt(grey.numel())
    assert abs((made == real).double().mean().item() - 0.5) <= 4 * error


def test_draws_of_samples_depend_on_the_seed_and_those_of_real_images_do_not(subject):
    torch.manual_seed(99)
    first, again, other = (subject._replace(seed=it).rendered("draws") for it in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert torch.equal(rendered_real(subject.real, "draws"), rendered_real(subject.real, "draws"))


def test_neighbours_are_compared_in_each_rendering_by_the_reference_classifier(subject):
    found = measures.neighbours(subject)
    network = subject.extractors["classifier"]
    for how in ("means", "rounded"):
        made, real = (
            features.extract(network, features.rendered(it, how, rng=torch.Generator()))
            for it in subject[:2]
        )
        expected = sample_quality.compare(made, real)
        for name in QUALITY:
            assert found[f"{name}_{how}"] == pytest.approx(getattr(expected, name)), (name, how)
    assert found["kid_means"] != found["kid_rounded"]


def test_a_network_tells_samples_from_real_images_in_each_rendering(subject):
    found = measures.two_sample(subject)
    for how, show in {"means": torch.clone, "rounded": lambda it: (it >= 0.5).float()}.items():
        expected = two_sample_accuracy(show(subject.samples), show(subject.real))
        assert found[f"two_sample_{how}"] == expected
    assert found["two_sample_means"] > 0.95  # no sample is black anywhere
    other = measures.two_sample(subject._replace(seed=1))
    assert other != found


# Digits and copies


def test_digit_entropy_is_that_of_the_digits_that_the_reference_reads(subject, digits):
    found = measures.digits(subject._replace(samples=digits.test_images))["digit_entropy"]
    shares = digits.test_labels.bincount(minlength=10).double() / len(digits.test_labels)
    assert found == pytest.approx(stats.entropy(shares.numpy()), abs=0.01)
    one = digits.test_images[digits.test_labels == 1][:20]
    assert measures.digits(subject._replace(samples=one))["digit_entropy"] < 0.25


def test_pixel_entropy_is_that_of_independent_pixels_in_nats_per_image(subject):
    p = torch.rand(50, 784)
    p[:, :9] = torch.tensor([0.0, 1.0, 0.5] * 3)
    q = p.double().numpy()
    expected = stats.entropy(np.stack([q, 1 - q])).sum(axis=1).mean()
    found = measures.digits(subject._replace(samples=p))["pixel_entropy"]
    assert found == pytest.approx(expected, rel=1e-4)
    grey = torch.full((9, 784), 0.5)
    found = measures.digits(subject._replace(samples=grey))["pixel_entropy"]
    assert found == pytest.approx(784 * math.log(2))


def test_planted_training_images_are_counted_and_held_out_ones_are_not(subject, digits):
    held_out = digits.test_images[:300]
    assert measures.copies(subject._replace(samples=held_out)) == {"copies": 0}
    planted = torch.cat([held_out, digits.train_images[1_000:1_007]])
    assert measures.copies(subject._replace(samples=planted)) == {"copies": 7}


# Likelihood


def constant_vae(logits, *, variance=1.0):
    """Whatever z is, it decodes to these logits; q(z|x) is N(0, variance)."""
    model = VAE((3,), 2)
    with torch.no_grad():
        for layer in (model.to_mu, model.to_logvar, model.to_logits):
            layer.weight.zero_()
            layer.bias.zero_()
        model.to_logvar.bias.fill_(math.log(variance))
        model.to_logits.bias.copy_(logits)
    return model.eval()


def test_minus_bound_is_the_cross_entropy_of_grey_images_and_of_draws_if_q_is_the_prior(subject):
    logits = torch.linspace(-3, 3, 784)
    found = measures.likelihood(subject._replace(model=constant_vae(logits)))
    x, logits = subject.real[:40].double(), logits.double()
    grey = (logits.exp().log1p() - x * logits).sum(dim=1).mean().item()
    for k in (1, 3):
        assert found[f"minus_bound_grey_{k}"] == pytest.approx(grey, rel=1e-5)
    # black and white pixels: the same on average, with the spread of 40 draws of each
    error = (x * (1 - x) * logits.square()).sum().sqrt().item() / 40
    assert 0 < abs(found["minus_bound_dynamic_1"] - grey) < 4 * error
    assert found["minus_bound_dynamic_3"] == pytest.approx(found["minus_bound_dynamic_1"], rel=1e-5)


def test_likelihood_takes_the_images_of_each_convention_and_the_numbers_that_are_asked_for(
    subject, monkeypatch
):
    asked = []

    def look(model, images, *, num_samples, rng):
        asked.append((images, num_samples, rng.get_state()))
        return torch.tensor([-100.0, -104.0])

    monkeypatch.setattr(evaluation, "log_likelihood", look)
    found = measures.likelihood(subject._replace(model=VAE((3,), 2), num_samples=50))
    assert found == {f"minus_bound_{how}_{k}": 102 for how in ("grey", "dynamic") for k in (1, 50)}
    assert [k for _, k, _ in asked] == [1, 50, 1, 50]
    real = subject.real[:40]
    grey, _, drawn, again = (images for images, _, _ in asked)
    assert torch.equal(grey, real)
    assert ((drawn == 0) | (drawn == 1)).all()
    assert torch.equal(drawn[(real == 0) | (real == 1)], real[(real == 0) | (real == 1)])
    assert torch.equal(drawn, again)
    assert not torch.equal(drawn, real.round())
    assert all(torch.equal(state, asked[0][2]) for _, _, state in asked)


def test_more_draws_tighten_the_bound(subject):
    model = constant_vae(torch.zeros(784), variance=4.0)
    found = measures.likelihood(subject._replace(model=model, num_samples=200))
    exact = 784 * math.log(2)  # the decoder does not look at z
    assert found["minus_bound_grey_1"] > exact + 0.3
    assert found["minus_bound_grey_200"] == pytest.approx(exact, abs=0.05)


def test_a_bound_is_asked_of_a_vae_and_units_of_a_gan(subject):
    with pytest.raises(AssertionError):
        measures.likelihood(subject._replace(model=small_gan()))
    with pytest.raises(AssertionError):
        measures.units(subject._replace(model=VAE((3,), 2)))


# Hidden units of a GAN


def bias(layer, *values):
    with torch.no_grad():
        layer.weight.zero_()
        layer.bias.copy_(torch.tensor(values))


def test_dead_units_are_the_share_of_all_hidden_units_that_give_zero_throughout(subject):
    gan = small_gan()
    bias(gan.generator.hidden[0], 1.0, -1.0, -1.0, 2.0)
    bias(gan.generator.hidden[2], -1.0, 1.0, 1.0)
    bias(gan.discriminator.hidden[0], 1.0, -1.0, 1.0, 1.0, 1.0)
    bias(gan.discriminator.hidden[3], -1.0, -1.0, -1.0)
    found = measures.units(subject._replace(model=gan))
    assert found["dead_generator_units"] == pytest.approx(3 / 7)
    assert found["dead_discriminator_units"] == pytest.approx(4 / 8)


def test_a_unit_that_a_single_image_of_the_first_thousand_wakes_is_not_dead(subject):
    gan = small_gan()
    bias(gan.discriminator.hidden[0], 1.0, 1.0, 1.0, 1.0, 0.0)
    bias(gan.discriminator.hidden[3], 1.0, 1.0, 1.0)
    with torch.no_grad():
        gan.discriminator.hidden[0].weight[4, 0] = 1.0  # the last unit looks at the first pixel
    dark = torch.zeros(1_001, 784)
    for at, share in ((None, 1 / 8), (1_000, 1 / 8), (999, 0), (0, 0)):
        real = dark.clone()
        if at is not None:
            real[at, 0] = 1.0
        found = measures.units(subject._replace(model=gan, real=real))
        assert found["dead_discriminator_units"] == pytest.approx(share), at


def test_a_unit_that_some_z_wake_is_not_dead(subject):
    gan = small_gan()
    bias(gan.generator.hidden[0], 0.0, 0.0, -1.0, -1.0)
    bias(gan.generator.hidden[2], 1.0, 1.0, 1.0)
    with torch.no_grad():
        gan.generator.hidden[0].weight[0, 0] = 1.0  # on for half of the z
    found = measures.units(subject._replace(model=gan))
    assert found["dead_generator_units"] == pytest.approx(3 / 7)


def test_leaky_units_are_never_dead(subject):
    found = measures.units(subject._replace(model=small_gan(slope=0.2)))
    assert (found["dead_generator_units"], found["dead_discriminator_units"]) == (0, 0)


def test_d_fake_and_the_gradient_of_the_generator_are_those_worked_out_by_hand(subject):
    gan = GAN(Generator((1,), 1, batch_norm=False), Discriminator((1,))).eval()
    b, a = 0.4, -1.7  # one image for all z, sigmoid(b) everywhere; its logit is a times its mean
    bias(gan.generator.hidden[0], 1.0)
    bias(gan.generator.to_logits, *[b] * 784)
    bias(gan.discriminator.hidden[0], 0.0)
    bias(gan.discriminator.to_logit, 0.0)
    with torch.no_grad():
        gan.discriminator.hidden[0].weight.fill_(1 / 784)
        gan.discriminator.to_logit.weight.fill_(a)
    found = measures.units(subject._replace(model=gan))
    s = 1 / (1 + math.exp(-b))
    d = 1 / (1 + math.exp(-a * s))
    assert found["d_fake"] == pytest.approx(d, rel=1e-5)
    # the loss is -log D; 784 biases and as many weights behind a unit that gives 1 move alike
    slope = -(1 - d) * a * s * (1 - s) / 784
    assert found["generator_gradient"] == pytest.approx(math.sqrt(2 * 784) * abs(slope), rel=1e-4)


def test_the_gradient_is_that_of_minus_log_d_by_all_weights_of_the_generator_and_no_others(subject):
    gan, seen = small_gan(slope=0.2), []
    watch = gan.generator.register_forward_pre_hook(lambda module, given: seen.extend(given))
    found = measures.units(subject._replace(model=gan, seed=7))
    watch.remove()
    assert all(weights.grad is None for weights in gan.parameters())
    (z,) = seen
    assert z.shape == (1_000, 2)
    twin = copy.deepcopy(gan).double()
    (-torch.sigmoid(twin.discriminator(twin.generator(z.double()))).log()).mean().backward()
    slopes = torch.cat([weights.grad.flatten() for weights in twin.generator.parameters()])
    assert found["generator_gradient"] == pytest.approx(slopes.norm().item(), rel=1e-4)
    assert measures.units(subject._replace(model=gan, seed=8)) != found
