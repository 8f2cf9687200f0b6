"""The measures of likelihood: their errors, their conventions, and each model's own weights."""

import math

import pytest
import torch
from toy_digits import few_digits

from vae_helpers import (
    adversarial,
    annealing,
    evaluation,
    flows,
    measures,
    stochastic_layers,
    training,
)
from vae_helpers.adversarial import GANConfig
from vae_helpers.flows import FlowConfig
from vae_helpers.measures import (
    MEASURES,
    Subject,
    amortization,
    annealed,
    bound_curve,
    bounds,
    likelihood,
    parzen,
    static_draws,
)
from vae_helpers.methods import METHODS
from vae_helpers.models import VAE
from vae_helpers.objective import bce
from vae_helpers.parameters import MEASURES as NAMES
from vae_helpers.parameters import RULES
from vae_helpers.parzen import log_densities
from vae_helpers.stochastic_layers import Gaussian, LayeredConfig
from vae_helpers.training import TrainConfig

IMAGES = few_digits(test=8)


def model_of(name):
    """A model whose log-weights differ by about a nat from draw to draw."""
    if name == "vae":
        model = training.new_model(TrainConfig(hidden_dims=(16,), latent_dim=3))
    elif name == "flow":
        model = flows.new_model(FlowConfig(hidden_dims=(16,), latent_dim=3, flow_length=4))
    else:
        layers = int(name.removeprefix("layers "))
        config = LayeredConfig(stochastic_layers=layers)
        model = stochastic_layers.new_model(config, IMAGES.train_images)
    with torch.no_grad():
        for weight in model.parameters():
            weight.add_(0.05 * torch.randn(weight.shape))
        (model.vae if name == "flow" else model).to_logits.weight.mul_(0.2)
        for part in model.modules():
            if isinstance(part, Gaussian):
                for weight in (*part.to_mu.parameters(), *part.to_log_std.parameters()):
                    weight.mul_(0.06)
    return model.eval()


WEIGHTS = {
    "vae": evaluation.log_weights,
    "flow": flows.log_weights,
    "layers 1": stochastic_layers.log_weights,
    "layers 2": stochastic_layers.log_weights,
}


def subject(model, **others):
    settings = {"likelihood_images": 5, "num_samples": 50, "seed": 3} | others
    return Subject(
        samples=IMAGES.train_images,
        real=IMAGES.test_images,
        train_images=IMAGES.train_images,
        extractors={},
        real_features={},
        model=model,
        **settings,
    )


@pytest.fixture(params=WEIGHTS)
def name(request):
    return request.param


def test_names_are_those_that_parameters_know():
    assert tuple(MEASURES) == NAMES
    assert {*METHODS, "images"} == set(RULES["model"].words)


# Bounds


def test_bounds_go_up_to_num_samples_in_every_convention(name):
    found = bounds(subject(model_of(name)))
    expected = {
        f"minus_bound_{convention}_{k}{what}"
        for convention in ("grey", "dynamic", "static")
        for k in (1, 5, 50)
        for what in ("", "_error", "_spread")
    }
    assert found.keys() == expected
    assert all(map(math.isfinite, found.values()))
    assert min(found.values()) > 0


def test_bounds_use_the_models_own_weights_and_the_convention(name):
    model = model_of(name)
    found = bounds(subject(model))
    for convention in ("grey", "dynamic", "static"):
        x = evaluation.targets(
            IMAGES.test_images[:5],
            convention,
            rng=measures.new_rng(3, f"pixels, {convention}"),
        )
        values = []
        for _ in range(60):
            eps = torch.randn(50, 5, model.latent_dim)
            log_w = WEIGHTS[name](model, x, eps).double()
            values.append(log_w.logsumexp(dim=0).mean().item() - math.log(50))
        values = torch.tensor(values)
        error = found[f"minus_bound_{convention}_50_error"]
        assert found[f"minus_bound_{convention}_50"] == pytest.approx(
            -values.mean().item(), abs=5 * values.std().item()
        )
        assert 0.5 < error / values.std().item() < 1.6


def test_the_error_of_one_draw_is_that_of_repetitions(name):
    model = model_of(name)
    found = bounds(subject(model, num_samples=1))
    x = IMAGES.test_images[:5]
    eps = torch.randn(4_000, 5, model.latent_dim)
    values = WEIGHTS[name](model, x, eps).double()
    expected = values.mean(dim=1).std().item()
    assert found["minus_bound_grey_1_error"] == pytest.approx(expected, rel=0.5)
    assert found["minus_bound_grey_1"] == pytest.approx(-values.mean().item(), abs=5 * expected)


def test_the_spread_is_the_standard_error_over_images():
    model = model_of("vae")
    found = bounds(subject(model))
    x = evaluation.targets(IMAGES.test_images[:5], "static", rng=measures.new_rng(3, "any"))
    rng = measures.new_rng(3, "likelihood noise")
    values = evaluation.log_likelihood(model, x, num_samples=50, rng=rng)
    expected = values.double().std().item() / math.sqrt(5)
    assert found["minus_bound_static_50_spread"] == pytest.approx(expected)


def test_more_draws_tighten_the_bound():
    model = model_of("vae")
    with torch.no_grad():
        model.to_mu.bias.add_(3.0)  # q is off by three deviations of the prior
    found = bounds(subject(model))
    assert found["minus_bound_dynamic_1"] > found["minus_bound_dynamic_50"]


def test_of_a_vae_bounds_say_what_likelihood_says():
    about = subject(model_of("vae"))
    found, known = bounds(about), likelihood(about)
    assert {key: found[key] for key in known} == pytest.approx(known)


def test_the_curve_is_a_part_of_the_bounds(name):
    about = subject(model_of(name))
    found, whole = bound_curve(about), bounds(about)
    assert {key for key in found if key[-1].isdigit()} == {
        f"minus_bound_curve_{convention}_{k}" for convention in ("grey", "dynamic") for k in (1, 50)
    }
    assert not found.keys() & whole.keys()  # a sheet takes each name once
    assert {key: whole[key.replace("_curve", "")] for key in found} == found


def test_a_gan_has_no_bound():
    gan = adversarial.new_model(GANConfig(hidden_dims=(8,), latent_dim=3))
    for measure in (bounds, bound_curve, static_draws, annealed, amortization):
        with pytest.raises(ValueError, match="got GAN; leave the measure out"):
            measure(subject(gan))


# Static draws


def test_five_static_draws_differ_by_their_pixels_alone(name):
    model = model_of(name)
    found = static_draws(subject(model))
    values = torch.tensor([found[f"minus_bound_static_draw_{n}_50"] for n in range(1, 6)])
    assert len(set(values.tolist())) == 5
    assert found["static_draws_50_deviation"] == pytest.approx(values.std().item(), rel=1e-4)
    white = IMAGES.test_images.round()  # nothing is left to draw
    of_white = static_draws(subject(model)._replace(real=white))
    assert of_white["static_draws_50_deviation"] == pytest.approx(0, abs=1e-9)
    other = static_draws(subject(model, seed=4))  # the files are the same, the noise is not
    assert other["minus_bound_static_draw_1_50"] == pytest.approx(
        found["minus_bound_static_draw_1_50"], abs=10 * found["minus_bound_static_draw_1_50_error"]
    )


# Annealing


@pytest.fixture
def short(monkeypatch):
    monkeypatch.setattr(measures, "TEMPERATURES", 40)
    monkeypatch.setattr(measures, "CHAINS", 4)
    monkeypatch.setattr(measures, "ANNEALED_IMAGES", 4)


def test_annealing_agrees_with_many_draws_where_q_is_good(short, name):
    model = model_of(name)
    with torch.no_grad():  # a decoder that says little, so that the prior is nearly the posterior
        last = (model.vae if name == "flow" else model).to_logits
        last.weight.mul_(0.05)
    found = annealed(subject(model, num_samples=2_000))
    assert found["annealed_gain"] == pytest.approx(0, abs=0.1)
    assert found["annealed_gap"] == pytest.approx(0, abs=0.1)
    assert found["minus_annealed_simulated_low"] == pytest.approx(
        found["minus_annealed_simulated_high"] - found["annealed_gap"]
    )
    assert 0.3 < found["annealed_acceptance"] <= 1
    assert all(map(math.isfinite, found.values()))


def test_annealing_bounds_the_convention_of_dynamic_pixels(short):
    model = model_of("vae")
    with torch.no_grad():
        model.to_logits.weight.zero_()  # p(x) is p(x|z) whatever z
    x = evaluation.targets(
        IMAGES.test_images[:5], "dynamic", rng=measures.new_rng(3, "pixels, dynamic")
    )
    expected = bce(model.decode(torch.zeros(4, 3)), x[:4]).mean().item()
    found = annealed(subject(model))
    assert found["minus_annealed_real"] == pytest.approx(expected, rel=1e-5)
    assert found["minus_bound_real"] == pytest.approx(expected, abs=1.0)


def test_generation_from_noise_is_what_two_layers_sample():
    model = model_of("layers 2")
    eps = torch.randn(6, 150)
    mu, log_std = model.down[0](eps[:, 100:])
    expected = model.decode(mu + log_std.exp() * eps[:, :100])
    torch.testing.assert_close(model.generate(eps), expected)
    drawn = torch.randn(6, 150, generator=torch.Generator().manual_seed(2))
    sampled = model.sample(6, torch.Generator().manual_seed(2))
    torch.testing.assert_close(sampled, torch.sigmoid(model.generate(drawn)))


# Amortisation


def test_one_layer_as_a_vae_has_the_same_log_weights():
    model = model_of("layers 1")
    same = stochastic_layers.as_vae(model)
    x, eps = IMAGES.test_images, torch.randn(3, 8, 50)
    expected = stochastic_layers.log_weights(model, x, eps)
    assert isinstance(same, VAE)
    torch.testing.assert_close(evaluation.log_weights(same, x, eps), expected)
    assert model.up[0].to_log_std.weight.data_ptr() != same.to_logvar.weight.data_ptr()
    with pytest.raises(ValueError, match="expected one stochastic layer, got 2"):
        stochastic_layers.as_vae(model_of("layers 2"))


@pytest.mark.parametrize("name", ["vae", "layers 1"])
def test_refitting_gains_and_the_parts_add_up(name, monkeypatch):
    refit = annealing.amortization_gap
    seen = []

    def short(model, x, *, rng):
        seen.append(x)
        return refit(model, x, steps=60, draws=5, evaluation_draws=100, rng=rng)

    monkeypatch.setattr(annealing, "amortization_gap", short)
    model = model_of(name)
    with torch.no_grad():
        (model if name == "vae" else model.up[0]).to_mu.bias.add_(1.0)  # an encoder that is off
    found = amortization(subject(model))
    assert found["amortization_gap"] > 5 * found["amortization_gap_error"] > 0
    assert found["amortization_gap"] == pytest.approx(
        found["minus_elbo_encoder"] - found["minus_elbo_refitted"]
    )
    assert set(seen[0].unique().tolist()) == {0.0, 1.0}


@pytest.mark.parametrize("name", ["flow", "layers 2"])
def test_a_q_that_is_no_gaussian_of_the_encoder_has_no_amortisation_gap(name):
    with pytest.raises(ValueError, match="expected a Gaussian"):
        amortization(subject(model_of(name)))


# Parzen windows


def test_parzen_judges_images_by_which_no_width_was_chosen():
    real, samples = torch.rand(30, 784), torch.rand(50, 784)
    found = parzen(subject(None)._replace(real=real, samples=samples))
    sigma = found["parzen_sigma"]
    scores = log_densities(real[:3], samples, sigmas=[sigma])
    others = log_densities(real[:3], samples, sigmas=[sigma * 10 ** (1 / 9), sigma / 10 ** (1 / 9)])
    assert (scores.mean() > others.mean(dim=1)).all()
    values = log_densities(real[3:], samples, sigmas=[sigma])[0]
    assert found["parzen"] == pytest.approx(values.mean().item())
    assert found["parzen_error"] == pytest.approx(
        values.std(correction=0).item() / math.sqrt(27), rel=1e-6
    )


def test_parzen_chooses_the_width_by_a_thousand_images_at_most(monkeypatch):
    monkeypatch.setattr(measures, "PARZEN_HELD_OUT", 4)
    real, samples = torch.rand(60, 784), torch.rand(50, 784)
    found = parzen(subject(None)._replace(real=real, samples=samples))
    values = log_densities(real[4:], samples, sigmas=[found["parzen_sigma"]])
    assert found["parzen"] == pytest.approx(values.mean().item())
