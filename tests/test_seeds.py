"""Generators that depend on their arguments and on nothing else."""

import itertools

import pytest
import torch
from torch import nn

from vae_helpers.seeds import dropout_seed, initial_weights, new_rng


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


CPU = torch.device("cpu")


def left_out(seed, epoch):
    """Which of 64 units are left out first."""
    with dropout_seed(seed, epoch, CPU):
        return (nn.functional.dropout(torch.ones(64)) == 0).tolist()


def test_dropout_depends_on_seed_and_epoch_and_not_on_what_was_drawn_before():
    first = left_out(3, 7)
    torch.manual_seed(99)
    assert left_out(3, 7) == first
    assert left_out(4, 7) != first
    assert left_out(3, 8) != first


def test_dropout_gives_the_global_generator_back_even_after_an_error():
    def interrupted():
        with dropout_seed(3, 7, CPU):
            torch.rand(5)
            raise KeyboardInterrupt

    before = torch.get_rng_state()
    left_out(3, 7)
    assert torch.equal(torch.get_rng_state(), before)
    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert torch.equal(torch.get_rng_state(), before)


def test_dropout_draws_on_within_an_epoch_and_not_the_numbers_of_another_purpose():
    with dropout_seed(3, 7, CPU):
        first, second = torch.randn(8).tolist(), torch.randn(8).tolist()
    assert first != second
    assert draw(3, "dropout", epoch=7) == first
    assert first not in [draw(3, purpose, epoch=7) for purpose in ("noise", "order")]
