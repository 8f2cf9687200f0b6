"""Generators that depend on their arguments and on nothing else."""

import itertools

import pytest
import torch

from vae_helpers.seeds import generator


def draw(*args, **kwargs):
    return torch.randn(8, generator=generator(*args, **kwargs)).tolist()


def test_same_arguments_draw_the_same_numbers():
    assert draw(3, "noise", epoch=7) == draw(3, "noise", epoch=7)


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
        generator(seed, purpose, epoch=epoch).initial_seed()
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
    order = torch.randn(n, generator=generator(0, "order"))
    noise = torch.randn(n, generator=generator(0, "noise"))
    assert abs((order * noise).mean()) < 5 / n**0.5  # five standard errors
