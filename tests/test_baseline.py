"""The baseline computes what the course does."""

from functools import partial

import pytest
import torch

from vae_helpers import objective
from vae_helpers.benchmarks.baseline import Baseline
from vae_helpers.models import VAE
from vae_helpers.training import TrainConfig, new_optimizer, train_step


@pytest.fixture
def pair():
    """The baseline's network and ours, with the same weights."""
    baseline, ours = Baseline(), VAE()
    with torch.no_grad():
        for own, other in zip(ours.parameters(), baseline.model.parameters(), strict=True):
            own.copy_(other)
    return baseline, ours


def test_network_and_loss_are_the_courses(pair, monkeypatch):
    baseline, ours = pair
    x, eps = torch.rand(9, 784), torch.randn(9, 20)
    monkeypatch.setattr(torch, "randn_like", lambda mu: eps)
    expected = objective.elbo(ours(x, eps), x)["loss"].sum()
    assert baseline.loss(x).item() == pytest.approx(expected.item(), rel=1e-5)


def test_twenty_steps_of_the_course_are_the_baselines_up_to_rounding(pair, monkeypatch):
    baseline, ours = pair
    optimizer = new_optimizer(TrainConfig(), ours)
    step = partial(train_step, loss=objective.elbo, rng=torch.Generator().manual_seed(1))
    again = torch.Generator().manual_seed(1)
    monkeypatch.setattr(torch, "randn_like", lambda mu: torch.randn(mu.shape, generator=again))
    for x in torch.rand(20, 128, 784):
        terms = step(ours, optimizer, x)
        baseline.optimizer.zero_grad()
        loss = baseline.loss(x) / len(x)  # Adam with its epsilon sees means, as in the course
        loss.backward()
        baseline.optimizer.step()
        assert terms["loss"].mean().item() == pytest.approx(loss.item(), rel=2e-5)


def test_an_epoch_makes_one_step_per_batch_on_the_gradient_of_that_batch_alone():
    trained, by_hand = Baseline(), Baseline()
    by_hand.model.load_state_dict(trained.model.state_dict())
    batches = [(torch.rand(16, 1, 28, 28), torch.zeros(16))] * 3
    torch.manual_seed(0)
    trained.train(batches)
    torch.manual_seed(0)
    for x, _ in batches:
        gradients = torch.autograd.grad(by_hand.loss(x.view(16, 784)), by_hand.model.parameters())
        for weights, gradient in zip(by_hand.model.parameters(), gradients, strict=True):
            weights.grad = gradient
        by_hand.optimizer.step()
    for ours, other in zip(trained.model.parameters(), by_hand.model.parameters(), strict=True):
        torch.testing.assert_close(ours, other)


def test_an_epoch_sums_the_losses_and_goes_downhill():
    torch.manual_seed(0)
    baseline = Baseline()
    batches = [(torch.rand(16, 1, 28, 28), torch.zeros(16))] * 5
    before = baseline.evaluate(batches)
    trained = baseline.train(batches)
    assert baseline.evaluate(batches) < trained < before
    assert before == pytest.approx(5 * 16 * 784 * 0.7, rel=0.1)  # log 2 per pixel, and a small KL
