"""The networks against others that are written out here a second time."""

import math

import pytest
import torch
from torch import nn

from vae_helpers.models import GAN, VAE, Discriminator, Generator, TunedVAE
from vae_helpers.seeds import initial_weights


class StudyNetwork(nn.Module):
    """The study's network in its own order and with its own end: decode gives probabilities."""

    def __init__(self, activation=torch.relu):
        super().__init__()
        self.fc1 = nn.Linear(784, 400)
        self.fc2 = nn.Linear(400, 200)
        self.fc_mean = nn.Linear(200, 20)
        self.fc_logvar = nn.Linear(200, 20)
        self.fc3 = nn.Linear(20, 200)
        self.fc4 = nn.Linear(200, 400)
        self.fc5 = nn.Linear(400, 784)
        self.activation = activation

    def encode(self, x):
        h = self.activation(self.fc2(self.activation(self.fc1(x))))
        return self.fc_mean(h), self.fc_logvar(h)

    def decode(self, z):
        h = self.activation(self.fc4(self.activation(self.fc3(z))))
        return torch.sigmoid(self.fc5(h))


@torch.no_grad()
def study_network_like(vae, activation=torch.relu):
    """The study's network with the parameters of `vae`, handed over one by one in order."""
    study = StudyNetwork(activation)
    for theirs, ours in zip(study.parameters(), vae.parameters(), strict=True):
        assert theirs.shape == ours.shape
        theirs.copy_(ours)
    return study


@pytest.fixture
def vae():
    return VAE()


@pytest.fixture
def x():
    return torch.rand(6, 784)


def test_default_has_the_parameters_of_the_study(vae):
    assert sum(parameter.numel() for parameter in vae.parameters()) == 801_224


def test_parameters_come_in_the_order_of_the_study(vae):
    shapes = [tuple(parameter.shape) for parameter in vae.parameters()]
    layers = [(784, 400), (400, 200), (200, 20), (200, 20), (20, 200), (200, 400), (400, 784)]
    assert shapes == [shape for inp, out in layers for shape in ((out, inp), (out,))]


@pytest.mark.parametrize("name", ["relu", "tanh", "sigmoid"])
@torch.no_grad()
def test_outputs_are_those_of_the_study(name, x):
    vae = VAE(activation=name)
    study = study_network_like(vae, getattr(torch, name))
    z = torch.randn(6, 20)
    torch.testing.assert_close(vae.encode(x), study.encode(x))
    torch.testing.assert_close(torch.sigmoid(vae.decode(z)), study.decode(z))


def test_widths_and_latents_can_be_chosen():
    vae = VAE(hidden_dims=(30, 20, 10), latent_dim=2, input_dim=16)
    output = vae(torch.rand(5, 16))
    assert [tuple(tensor.shape) for tensor in output] == [(5, 16), (5, 2), (5, 2), (5, 2)]
    widths = [layer.out_features for layer in vae.modules() if isinstance(layer, nn.Linear)]
    assert widths == [30, 20, 10, 2, 2, 10, 20, 30, 16]


@torch.no_grad()
def test_mu_logvar_and_logits_are_unbounded_and_take_both_signs(vae, x):
    for name, parameter in vae.named_parameters():
        if name.endswith("bias"):
            parameter.zero_()
    z = torch.randn(6, 20)
    # Linear layers without bias and ReLU: a thousand times the input is as much more output.
    for small, large in zip(
        (*vae.encode(x), vae.decode(z)),
        (*vae.encode(1000 * x), vae.decode(1000 * z)),
        strict=True,
    ):
        torch.testing.assert_close(large, 1000 * small, rtol=1e-4, atol=1e-2)
        assert large.min() < -1
        assert large.max() > 1


@torch.no_grad()
def test_forward_decodes_the_sample_of_the_encoded_image(vae, x):
    eps = torch.randn(6, 20)
    logits, mu, logvar, z = vae(x, eps)
    torch.testing.assert_close((mu, logvar), vae.encode(x))
    torch.testing.assert_close(z, mu + torch.sqrt(torch.exp(logvar)) * eps)
    torch.testing.assert_close(logits, vae.decode(z))


@torch.no_grad()
def test_each_of_k_samples_is_decoded_by_itself(vae, x):
    eps = torch.randn(3, 6, 20)
    together = vae(x, eps)
    assert together.logits.shape == (3, 6, 784)
    assert together.mu.shape == together.logvar.shape == (6, 20)
    for k in range(3):
        alone = vae(x, eps[k])
        torch.testing.assert_close(together.z[k], alone.z)
        torch.testing.assert_close(together.logits[k], alone.logits, rtol=1e-4, atol=1e-6)


def test_reparameterize_samples_the_approximate_posterior(vae):
    n = 100_000
    mu = torch.tensor([-1.0, 0.0, 2.0])
    logvar = torch.tensor([-2.0, 0.5, 1.5])
    std = torch.tensor([math.exp(-1.0), math.exp(0.25), math.exp(0.75)])
    z = vae.reparameterize(mu.expand(n, 3), logvar.expand(n, 3))
    # Five standard errors: std / sqrt(n) of the mean, std / sqrt(2n) of the standard deviation.
    assert ((z.mean(dim=0) - mu).abs() < 5 * std / math.sqrt(n)).all()
    assert ((z.std(dim=0) - std).abs() < 5 * std / math.sqrt(2 * n)).all()


def test_reparameterize_scales_the_given_noise_by_the_standard_deviation(vae):
    mu, logvar = torch.tensor([[1.0, -2.0]]), torch.tensor([[math.log(4.0), math.log(0.25)]])
    z = vae.reparameterize(mu, logvar, torch.tensor([[1.5, -1.0]]))
    torch.testing.assert_close(z, torch.tensor([[1 + 2 * 1.5, -2 - 0.5 * 1.0]]))


def test_without_given_noise_every_call_draws_its_own(vae, x):
    assert not torch.equal(vae(x).z, vae(x).z)


def test_gradients_pass_through_the_sample_to_mu_and_logvar(vae):
    mu, logvar = torch.randn(4, 3, requires_grad=True), torch.randn(4, 3, requires_grad=True)
    eps = torch.randn(4, 3)
    vae.reparameterize(mu, logvar, eps).sum().backward()
    torch.testing.assert_close(mu.grad, torch.ones(4, 3))
    torch.testing.assert_close(logvar.grad, eps * torch.exp(logvar.detach() / 2) / 2)


def test_every_parameter_gets_a_gradient_from_the_logits_alone(vae, x):
    vae(x).logits.square().sum().backward()
    assert all(parameter.grad.abs().max() > 0 for parameter in vae.parameters())


def test_sampled_images_are_decoded_from_standard_normal_noise(vae):
    images = vae.sample(9, torch.Generator().manual_seed(5))
    z = torch.randn(9, 20, generator=torch.Generator().manual_seed(5))
    torch.testing.assert_close(images, study_network_like(vae).decode(z))


def test_samples_are_grey_levels_without_a_gradient(vae):
    images = vae.sample(9)
    assert images.shape == (9, 784)
    assert images.min() >= 0
    assert images.max() <= 1
    assert not images.requires_grad


def test_same_rng_state_gives_the_same_samples(vae):
    first, again, other = (vae.sample(4, torch.Generator().manual_seed(s)) for s in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_given_noise_or_rng_leaves_the_global_generator_untouched(vae, x):
    before = torch.get_rng_state()
    vae.sample(4, torch.Generator().manual_seed(1))
    vae(x, torch.randn(6, 20, generator=torch.Generator().manual_seed(1)))
    assert torch.equal(torch.get_rng_state(), before)


# The generator and the discriminator


def by_hand(network, x, slope, *, statistics=None):
    """Two hidden layers with leaky ReLU, in double precision, up to the last layer's outputs.

    `statistics` are the running means and variances of batch normalisation, layer by layer.
    """
    weights = iter([parameter.detach().double() for parameter in network.parameters()])
    h = x.double()
    for layer in range(2):
        h = h @ next(weights).T + next(weights)
        if statistics:
            mean, variance = (numbers.double() for numbers in statistics[layer])
            h = (h - mean) / torch.sqrt(variance + 1e-5) * next(weights) + next(weights)
        h = torch.where(h > 0, h, slope * h)
    return h @ next(weights).T + next(weights)


def normalised(network):
    """Give batch normalisation statistics and weights as after some training, and return these."""
    layers = [layer for layer in network.modules() if isinstance(layer, nn.BatchNorm1d)]
    with torch.no_grad():
        for layer in layers:
            layer.running_mean.copy_(torch.randn(layer.num_features))
            layer.running_var.copy_(0.1 + torch.rand(layer.num_features))
            layer.weight.copy_(torch.randn(layer.num_features))
            layer.bias.copy_(torch.randn(layer.num_features))
    return [(layer.running_mean.clone(), layer.running_var.clone()) for layer in layers]


def test_generator_has_the_sizes_of_the_decoder():
    weights = 20 * 200 + 200 + 200 * 400 + 400 + 400 * 784 + 784
    sizes = {flag: Generator(batch_norm=flag).parameters() for flag in (False, True)}
    counts = {flag: sum(p.numel() for p in own) for flag, own in sizes.items()}
    assert counts == {False: weights, True: weights + 2 * 200 + 2 * 400}
    linear = [layer for layer in Generator().modules() if isinstance(layer, nn.Linear)]
    assert [(layer.in_features, layer.out_features) for layer in linear] == [
        (20, 200),
        (200, 400),
        (400, 784),
    ]


def test_discriminator_has_the_sizes_of_the_encoder():
    network = Discriminator()
    count = sum(parameter.numel() for parameter in network.parameters())
    assert count == 784 * 400 + 400 + 400 * 200 + 200 + 200 + 1
    linear = [layer for layer in network.modules() if isinstance(layer, nn.Linear)]
    assert [(layer.in_features, layer.out_features) for layer in linear] == [
        (784, 400),
        (400, 200),
        (200, 1),
    ]


def test_both_networks_leak_a_fifth_and_leave_nothing_out_unless_told_otherwise():
    for network in (Generator(), Discriminator()):
        kinds = {
            kind: [it for it in network.hidden if isinstance(it, kind)]
            for kind in (nn.LeakyReLU, nn.Dropout)
        }
        assert [layer.negative_slope for layer in kinds[nn.LeakyReLU]] == [0.2, 0.2]
        assert all(layer.p == 0 for layer in kinds[nn.Dropout])


@pytest.mark.parametrize("slope", [0.0, 0.2])
@pytest.mark.parametrize("batch_norm", [False, True])
def test_generator_s_images_are_those_computed_by_hand(batch_norm, slope):
    network = Generator((9, 7), 3, batch_norm=batch_norm, slope=slope)
    statistics = normalised(network)
    with torch.no_grad():
        network.to_logits.weight.mul_(10)  # images with black and white in them
    z = torch.randn(6, 3)
    expected = torch.sigmoid(by_hand(network, z, slope, statistics=statistics))
    images = network.eval()(z)
    assert images.shape == (6, 784)
    torch.testing.assert_close(images.double(), expected, rtol=1e-5, atol=1e-6)
    assert images.min() < 0.2
    assert images.max() > 0.8
    assert (images > 0).all()
    assert (images < 1).all()


@pytest.mark.parametrize("slope", [0.0, 0.2])
def test_discriminator_s_logits_are_those_computed_by_hand_without_a_sigmoid(slope, x):
    network = Discriminator((9, 7), slope=slope).eval()
    with torch.no_grad():
        network.to_logit.weight.mul_(100)
        x = torch.cat([10 * x, -10 * x])
        logits = network(x)
    assert logits.shape == (12,)
    expected = by_hand(network, x, slope)[:, 0]
    torch.testing.assert_close(logits.double(), expected, rtol=1e-4, atol=1e-3)
    assert logits.min() < -1
    assert logits.max() > 1


def test_logit_of_one_image_is_still_a_vector():
    assert Discriminator((5,))(torch.rand(1, 784)).shape == (1,)


@torch.no_grad()
def test_dropout_leaves_units_out_in_training_alone():
    network, x = Discriminator(dropout=0.5), torch.rand(1, 784).expand(2_000, 784)
    hidden = network.hidden(x[:200])
    # Of the last hidden layer half the units are zero, and the others twice as large.
    assert (hidden == 0).double().mean() == pytest.approx(0.5, abs=0.02)
    assert network(x).std() > 1e-3
    logits = network.eval()(x)
    torch.testing.assert_close(logits, logits[:1].expand(2_000))
    assert Discriminator(dropout=0.0)(x).std() < 1e-6


@pytest.fixture
def gan():
    """A small GAN as after some training. Noise of 16 numbers is drawn image by image."""
    model = GAN(Generator((9, 7), 16), Discriminator((9, 7)))
    normalised(model.generator)
    return model.eval()


def drawn(gan, n, seed=5):
    return gan.sample(n, torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("training", [True, False])
def test_gan_samples_with_the_running_statistics_and_leaves_mode_and_statistics(gan, training):
    gan.train(training)
    before = {name: numbers.clone() for name, numbers in gan.state_dict().items()}
    layers = [gan.generator.hidden[1], gan.generator.hidden[4]]
    statistics = [(layer.running_mean.clone(), layer.running_var.clone()) for layer in layers]
    images = drawn(gan, 8)
    z = torch.randn(8, 16, generator=torch.Generator().manual_seed(5))
    expected = torch.sigmoid(by_hand(gan.generator, z, 0.2, statistics=statistics))
    torch.testing.assert_close(images.double(), expected, rtol=1e-5, atol=1e-6)
    assert all(module.training is training for module in gan.modules())
    torch.testing.assert_close(dict(gan.state_dict()), before, rtol=0, atol=0)


@pytest.mark.parametrize("training", [True, False])
def test_an_image_alone_is_the_image_that_it_is_in_company(gan, training):
    gan.train(training)
    company = drawn(gan, 8)
    torch.testing.assert_close(drawn(gan, 4), company[:4])
    torch.testing.assert_close(drawn(gan, 1), company[:1])


def test_mode_of_the_generator_is_restored_when_sampling_fails(gan):
    gan.train()
    with pytest.raises(RuntimeError):
        gan.sample(-1)
    gan.generator.latent_dim = 17
    with pytest.raises(RuntimeError):
        gan.sample(4)
    assert gan.generator.training


@pytest.mark.parametrize("n", [1, 7])
def test_gan_s_samples_are_as_many_as_asked_for_grey_and_without_a_gradient(gan, n):
    images = gan.sample(n)
    assert images.shape == (n, 784)
    assert images.min() > 0
    assert images.max() < 1
    assert not images.requires_grad


def test_same_rng_state_gives_the_same_samples_of_the_gan(gan):
    before = torch.get_rng_state()
    assert torch.equal(drawn(gan, 4, seed=1), drawn(gan, 4, seed=1))
    assert not torch.equal(drawn(gan, 4, seed=1), drawn(gan, 4, seed=2))
    assert torch.equal(torch.get_rng_state(), before)


def test_noise_of_the_samples_is_drawn_where_the_rng_is(gan):
    rng = torch.Generator("cpu").manual_seed(1)
    before = rng.get_state()
    images = gan.to("meta").sample(4, rng)  # a device without numbers
    assert images.device.type == "meta"
    assert images.shape == (4, 784)
    assert not torch.equal(rng.get_state(), before)


# The VAE with what the networks of a GAN may have

TUNED = {"batch_norm": True, "slope": 0.2, "dropout": 0.5}


def test_layers_of_the_tuned_vae_come_in_order_with_dropout_in_the_encoder_only():
    vae = TunedVAE((9, 7), 3, **TUNED)
    hidden = [nn.Linear, nn.BatchNorm1d, nn.LeakyReLU]
    assert [type(layer) for layer in vae.encoder] == [*hidden, nn.Dropout] * 2
    assert [type(layer) for layer in vae.decoder] == hidden * 2
    linear = [layer for layer in vae.modules() if isinstance(layer, nn.Linear)]
    assert [(layer.in_features, layer.out_features) for layer in linear] == [
        *[(784, 9), (9, 7), (7, 3), (7, 3)],
        *[(3, 7), (7, 9), (9, 784)],
    ]
    leaky = [layer for layer in vae.modules() if isinstance(layer, nn.LeakyReLU)]
    assert [layer.negative_slope for layer in leaky] == [0.2] * 4
    assert [layer.p for layer in vae.modules() if isinstance(layer, nn.Dropout)] == [0.5] * 2


@pytest.mark.parametrize("option", TUNED)
def test_tuned_vae_has_only_those_layers_that_are_asked_for(option):
    vae = TunedVAE((9, 7), 3, **{option: TUNED[option]})
    kinds = {type(layer) for layer in (*vae.encoder, *vae.decoder)}
    assert (nn.BatchNorm1d in kinds) == (option == "batch_norm")
    assert (nn.Dropout in kinds) == (option == "dropout")
    slopes = {layer.negative_slope for layer in vae.modules() if isinstance(layer, nn.LeakyReLU)}
    assert slopes == {0.2 if option == "slope" else 0.0}


@pytest.mark.parametrize("slope", [0.0, 0.2])
@pytest.mark.parametrize("batch_norm", [False, True])
@torch.no_grad()
def test_tuned_vae_s_outputs_are_those_computed_by_hand(batch_norm, slope, x):
    vae = TunedVAE((9, 7), 3, batch_norm=batch_norm, slope=slope, dropout=0.5).eval()
    parts = {
        "mu": nn.Sequential(vae.encoder, vae.to_mu),
        "logvar": nn.Sequential(vae.encoder, vae.to_logvar),
        "logits": nn.Sequential(vae.decoder, vae.to_logits),
    }
    normalised(vae)
    logits, mu, logvar, z = vae(x, torch.randn(6, 3))
    found, inputs = {"mu": mu, "logvar": logvar, "logits": logits}, {"logits": z}
    for name, network in parts.items():
        layers = [layer for layer in network.modules() if isinstance(layer, nn.BatchNorm1d)]
        statistics = [(layer.running_mean, layer.running_var) for layer in layers]
        expected = by_hand(network, inputs.get(name, x), slope, statistics=statistics)
        torch.testing.assert_close(found[name].double(), expected, rtol=1e-4, atol=1e-5)


@torch.no_grad()
def test_tuned_vae_begins_with_the_weights_of_the_plain_one_and_is_it_without_options(x):
    with initial_weights(3):
        plain = VAE((9, 7), 3)
    with initial_weights(3):
        tuned = TunedVAE((9, 7), 3)
    with initial_weights(3):
        all_of_it = TunedVAE((9, 7), 3, **TUNED)
    eps = torch.randn(6, 3)
    torch.testing.assert_close(tuple(tuned(x, eps)), tuple(plain(x, eps)), rtol=0, atol=0)
    linear = [
        [layer.weight for layer in vae.modules() if isinstance(layer, nn.Linear)]
        for vae in (plain, all_of_it)
    ]
    assert all(torch.equal(*pair) for pair in zip(*linear, strict=True))


@torch.no_grad()
def test_tuned_vae_leaves_units_of_the_encoder_out_in_training_alone():
    vae = TunedVAE((200, 100), 3, **TUNED)
    x, z = torch.rand(400, 784), torch.randn(400, 3)
    # No unit is zero by itself: where the leaky ReLU leaks, zeros are those left out.
    assert (vae.encoder(x) == 0).double().mean() == pytest.approx(0.5, abs=0.02)
    torch.testing.assert_close(vae.decode(z), vae.decode(z), rtol=0, atol=0)
    assert (vae.decoder(z) == 0).sum() == 0
    vae.eval()
    assert (vae.encoder(x) == 0).sum() == 0
    torch.testing.assert_close(vae.encode(x), vae.encode(x), rtol=0, atol=0)


@torch.no_grad()
def test_tuned_vae_normalises_over_the_batch_in_training_and_by_memory_in_evaluation(x):
    vae = TunedVAE((9, 7), 3, batch_norm=True)
    normalised(vae)
    company, alone = vae.encode(x)[0], vae.encode(x[:3])[0]
    assert (company[:3] - alone).abs().max() > 1e-3
    vae.eval()
    torch.testing.assert_close(vae.encode(x)[0][:3], vae.encode(x[:3])[0])
    z = torch.randn(6, 3)
    torch.testing.assert_close(vae.decode(z)[:1], vae.decode(z[:1]))


def test_networks_are_made_of_torch_s_own_layers():
    for network in (VAE(), TunedVAE(**TUNED), GAN(Generator(), Discriminator(dropout=0.3))):
        layers = [type(module) for module in network.modules() if not [*module.children()]]
        assert {layer.__module__.split(".")[0] for layer in layers} == {"torch"}
        assert nn.Linear in layers


@pytest.mark.parametrize("batch_norm", [False, True])
def test_tuned_vae_decodes_several_samples_per_image_as_it_decodes_each(batch_norm):
    vae = TunedVAE((5, 5), 3, batch_norm=batch_norm, slope=0.2)
    vae.decode(torch.randn(9, 3))  # so that units are normalised by different numbers
    vae.eval()
    z = torch.randn(4, 5, 3)  # [K, B, D], B equal to a width: batch norm must not take it for units
    torch.testing.assert_close(vae.decode(z), torch.stack([vae.decode(one) for one in z]))
