"""Operations and bytes against PyTorch's counter and counts by hand."""

import pytest
import torch
import torch.nn.functional as F
from torch.utils.flop_counter import FlopCounterMode

from vae_helpers import adversarial, roofline, training
from vae_helpers.adversarial import GANConfig
from vae_helpers.roofline import Layer, Machine
from vae_helpers.training import TrainConfig

WIDTHS = [((400, 200), 20), ((100,), 7)]


@pytest.mark.parametrize(("hidden_dims", "latent_dim"), WIDTHS)
@pytest.mark.parametrize("rows", [4, 33])
def test_operations_of_a_step_are_those_that_pytorch_counts(hidden_dims, latent_dim, rows):
    widths = {"hidden_dims": hidden_dims, "latent_dim": latent_dim}
    x, noise = torch.rand(rows, 784), torch.Generator()
    vae, gan = TrainConfig(**widths, device="cpu"), GANConfig(**widths, device="cpu")
    with FlopCounterMode(display=False) as of_vae:
        model = training.new_model(vae)
        training.train_step(model, training.new_optimizer(vae, model), x, beta=1.0, noise=noise)
    with FlopCounterMode(display=False) as of_gan:
        model = adversarial.new_model(gan)
        optimizers = adversarial.new_optimizers(gan, model)
        adversarial.train_step(model, optimizers, x, noise=noise, real_label=1.0)
    counted = of_vae.get_total_flops(), of_gan.get_total_flops()
    layers = (
        roofline.vae_layers(hidden_dims, latent_dim, rows=rows),
        roofline.gan_layers(hidden_dims, latent_dim, rows=rows),
    )
    assert tuple(sum(layer.flops for layer in several) for several in layers) == counted


def test_operations_of_decoding_are_two_for_each_weight_and_row():
    layers = roofline.decoder_layers(rows=50)
    assert sum(layer.flops for layer in layers) == 2 * 50 * (20 * 200 + 200 * 400 + 400 * 784)


def test_each_product_moves_its_three_matrices_once():
    forward_only = Layer(3, 5, rows=7, for_input=False, for_weights=False)
    assert forward_only.bytes == 4 * (7 * 3 + 3 * 5 + 7 * 5)
    assert Layer(3, 5, rows=7).bytes == 3 * forward_only.bytes


def test_the_floor_multiplies_at_the_shapes_of_the_step_and_no_more_often():
    done = []

    def multiply(a, b):
        done.append((*a.shape, len(b)))
        return F.linear(a, b)

    layers = [Layer(3, 5, rows=7, for_input=False), Layer(5, 2, rows=7)]
    roofline.products_alone(layers, multiply)()
    assert done == [
        (7, 3, 5),
        (7, 5, 2),  # forward
        (7, 2, 5),
        (2, 7, 5),  # the second layer's input and weights
        (5, 7, 3),  # the first layer's weights alone
    ]


def test_time_is_that_of_whichever_takes_longer():
    machine = Machine(flops_per_second=100.0, bytes_per_second=10.0)
    assert machine.ridge == 10
    assert machine.seconds(flops=200, moved=10) == 2
    assert machine.seconds(flops=200, moved=50) == 5
    assert machine.attainable(5) == 50
    assert machine.attainable(20) == 100


def test_rates_of_a_machine_are_those_of_its_fastest_repetition(monkeypatch):
    times = iter([3.0, 2.0, 4.0, 0.5, 0.25, 1.0])
    monkeypatch.setattr(roofline, "seconds_of", lambda work: next(times))
    machine = roofline.measure_machine(size=8, times=3)
    assert machine.flops_per_second == 2 * 8**3 / 2.0
    assert machine.bytes_per_second == 2 * 4 * 16 * 8 * 8 / 0.25


def test_seconds_are_those_of_one_call(monkeypatch):
    clock = iter([10.0, 16.0])
    monkeypatch.setattr(roofline.time, "perf_counter", lambda: next(clock))
    calls = []
    assert roofline.seconds_of(lambda: calls.append(1), repeat=3) == 2
    assert len(calls) == 3
