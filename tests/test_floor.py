"""Operations, bytes and products of a step against PyTorch's counter and counts by hand."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from vae_helpers import acceleration
from vae_helpers.adversarial import GANConfig
from vae_helpers.benchmarks import floor
from vae_helpers.benchmarks.floor import Machine, Product
from vae_helpers.benchmarks.speed import training_of
from vae_helpers.training import TrainConfig


@pytest.fixture
def step():
    """A step of a network 3-5-2 on 7 rows, whose input needs no gradient."""
    network, x = nn.Sequential(nn.Linear(3, 5), nn.ReLU(), nn.Linear(5, 2)), torch.rand(7, 3)
    return lambda: network(x).square().sum().backward()


@pytest.mark.parametrize("new", [TrainConfig, GANConfig])
@pytest.mark.parametrize(("hidden_dims", "latent_dim"), [((400, 200), 20), ((100,), 7)])
def test_operations_of_a_step_are_those_that_pytorch_counts(new, hidden_dims, latent_dim):
    sizes = {"hidden_dims": hidden_dims, "latent_dim": latent_dim, "batch_size": 33}
    config = new(**sizes, epochs=1, device="cpu", acceleration="off")
    work = training_of(config, torch.rand(33, 784))
    with FlopCounterMode(display=False) as counted:
        work()
    products = floor.products_of(work)
    assert sum(product.flops for product in products) == counted.get_total_flops() > 0


def test_a_product_moves_its_three_matrices_once():
    product = Product(torch.empty(7, 3), torch.empty(5, 3))
    assert product.flops == 2 * 7 * 3 * 5
    assert product.bytes == 4 * (7 * 3 + 3 * 5 + 7 * 5)


def test_products_of_a_step_have_its_shapes_order_and_layout(step):
    products = floor.products_of(step)
    assert [(*product.a.shape, len(product.b)) for product in products] == [
        (7, 3, 5),
        (7, 5, 2),  # forward
        (7, 2, 5),
        (2, 7, 5),  # the second layer's input and weights
        (5, 7, 3),  # the first layer's weights alone
    ]
    assert [product.b.is_contiguous() for product in products] == [True, True, False, False, False]


@pytest.mark.skipif(not torch.backends.mkldnn.is_available(), reason="this PyTorch has no oneDNN")
def test_products_by_onednn_are_noted_too(monkeypatch):
    def shapes(products):
        return [(*product.a.shape, len(product.b), product.b.stride()) for product in products]

    network, x = nn.Sequential(nn.Linear(70, 80), nn.ReLU(), nn.Linear(80, 90)), torch.rand(7, 70)
    monkeypatch.setattr(acceleration, "products", lambda choice="auto": "onednn")

    def plain():
        network(x).square().sum().backward()

    def accelerated():
        with acceleration.applied():
            plain()

    assert shapes(floor.products_of(accelerated)) == shapes(floor.products_of(plain))
    assert len(floor.products_of(accelerated)) == 5


def test_a_matrix_of_two_products_is_in_memory_once(step):
    products = floor.products_of(step)
    forward, for_input = products[1].b, products[2].b
    assert forward.data_ptr() == for_input.data_ptr()
    assert torch.equal(forward, for_input.T)


def test_the_floor_multiplies_the_products_of_the_step_and_no_others(step):
    products = floor.products_of(step)
    done = []
    floor.products_alone(products, lambda a, b: done.append(Product(a, b)) or a, times=2)()
    assert [id(product.a) for product in done] == [id(product.a) for product in products] * 2
    assert [id(product.b) for product in done] == [id(product.b) for product in products] * 2


@pytest.mark.parametrize("library", ["onednn", "stock"])
def test_the_floor_multiplies_by_what_fit_takes(step, library, monkeypatch):
    done = []
    monkeypatch.setattr(acceleration, "products", lambda: library)
    monkeypatch.setattr(acceleration, "linear", lambda a, b: done.append("onednn"))
    monkeypatch.setattr(F, "linear", lambda a, b: done.append("stock"))
    products = [Product(torch.ones(2, 3), torch.ones(2, 3))]
    floor.products_alone(products)()
    assert done == [library]


def test_time_is_that_of_whichever_takes_longer():
    machine = Machine(flops_per_second=100.0, bytes_per_second=10.0)
    assert machine.ridge == 10
    assert machine.seconds(flops=200, moved=10) == 2
    assert machine.seconds(flops=200, moved=50) == 5


def test_rates_of_a_machine_are_those_of_its_fastest_repetition(monkeypatch):
    times = iter([3.0, 2.0, 4.0, 0.5, 0.25, 1.0])
    monkeypatch.setattr(floor, "seconds_of", lambda work: next(times))
    machine = floor.measure_machine(F.linear, size=8, times=3)
    assert machine.flops_per_second == 2 * 8**3 / 2.0
    assert machine.bytes_per_second == 2 * 4 * 16 * 8 * 8 / 0.25
