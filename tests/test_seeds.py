"""Generators that depend on their arguments and on nothing else."""

import itertools

import pytest
import torch
from torch import nn

from vae_helpers.seeds import initial_weights, new_rng


def draw(*args, **kwargs):
    return torch.randn(8, generator=new_rng(*args, **kwargs)).tolist()


def test_same_arguments_draw_the_same_numbers():
    assert draw(3, "noise", epoch=7) == draw(3, "noise", epoch=7)
    assert draw(3, "noise") == draw(3, "noise", epoch=0)


@pytest.mark.parametrize(
    "other", [(4, "noise", 7), (3, "order", 7), (3, "noise", 8)], ids=["seed", "purpose", "epoch"]
)
def test_each_argument_changes_the_numbers(other):
    seed, purpose, epoch = other
    assert draw(seed, purpose, epoch=epoch) != draw(3, "noise", epoch=7)


def test_arguments_that_read_alike_when_joined_are_told_apart():
    assert draw(1, "noise", epoch=11) != draw(11, "noise", epoch=1)


def test_thirty_epochs_of_ten_seeds_have_different_states():
    states = [
        new_rng(seed, purpose, epoch=epoch).initial_seed()
        for seed, purpose, epoch in itertools.product(range(10), ("order", "noise"), range(1, 31))
    ]
    assert len(set(states)) == 10 * 2 * 30


def test_earlier_draws_do_not_matter():
    expected = draw(0, "order", epoch=2)
    draw(0, "order", epoch=1)
    torch.randn(100)
    assert draw(0, "order", epoch=2) == expected


def test_global_generator_is_untouched():
    before = torch.get_rng_state()
    draw(0, "order")
    assert torch.equal(torch.get_rng_state(), before)


def test_noise_of_two_purposes_is_uncorrelated():
    n = 100_000
    order = torch.randn(n, generator=new_rng(0, "order"))
    noise = torch.randn(n, generator=new_rng(0, "noise"))
    assert abs((order * noise).mean()) < 5 / n**0.5  # five standard errors


def test_networks_made_with_one_seed_have_its_weights_and_the_global_generator_is_as_before():
    def made(seed):
        before = torch.get_rng_state()
        with initial_weights(seed):
            weights = nn.Linear(4, 5).weight
        assert torch.equal(torch.get_rng_state(), before)
        return weights

    first = made(3)
    torch.manual_seed(99)
    assert torch.equal(made(3), first)
    assert not torch.equal(made(4), first)


@pytest.fixture
def double():
    """Double precision by default."""
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


@pytest.mark.usefixtures("double")
def test_networks_are_float32_whatever_the_default_which_is_as_before_even_after_an_error():
    def interrupted():
        with initial_weights(3):
            raise KeyboardInterrupt

    with initial_weights(3):
        found = nn.Linear(4, 5).weight
    assert found.dtype == torch.float32
    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert torch.get_default_dtype() == torch.float64
    torch.set_default_dtype(torch.float32)
    with initial_weights(3):
        assert torch.equal(found, nn.Linear(4, 5).weight)
