"""The textbook's loop computes what the course's does."""

import pytest
import torch

from vae_helpers import objective
from vae_helpers.models import VAE
from vae_helpers.textbook import Textbook
from vae_helpers.training import TrainConfig, new_optimizer, train_step


@pytest.fixture
def pair():
    """The textbook's network and ours, with the same weights."""
    textbook, ours = Textbook(), VAE()
    with torch.no_grad():
        for own, other in zip(ours.parameters(), textbook.model.parameters(), strict=True):
            own.copy_(other)
    return textbook, ours


def test_network_and_loss_are_the_courses(pair, monkeypatch):
    textbook, ours = pair
    x, eps = torch.rand(9, 784), torch.randn(9, 20)
    monkeypatch.setattr(torch, "randn_like", lambda mu: eps)
    output = ours(x, eps)
    expected = (objective.bce(output.logits, x) + objective.kl(output.mu, output.logvar)).sum()
    assert textbook.loss(x).item() == pytest.approx(expected.item(), rel=1e-5)


def test_twenty_steps_of_the_course_are_the_textbooks_up_to_rounding(pair, monkeypatch):
    textbook, ours = pair
    optimizer = new_optimizer(TrainConfig(), ours)
    noise, again = torch.Generator().manual_seed(1), torch.Generator().manual_seed(1)
    monkeypatch.setattr(torch, "randn_like", lambda mu: torch.randn(mu.shape, generator=again))
    for x in torch.rand(20, 128, 784):
        bce, kl = train_step(ours, optimizer, x, beta=1.0, noise=noise)
        textbook.optimizer.zero_grad()
        loss = textbook.loss(x) / len(x)  # Adam with its epsilon sees means, as in the course
        loss.backward()
        textbook.optimizer.step()
        assert (bce + kl).mean().item() == pytest.approx(loss.item(), rel=2e-5)


def test_an_epoch_sums_the_losses_and_goes_downhill():
    torch.manual_seed(0)
    textbook = Textbook()
    batches = [(torch.rand(16, 1, 28, 28), torch.zeros(16))] * 5
    before = textbook.evaluate(batches)
    trained = textbook.train(batches)
    assert textbook.evaluate(batches) < trained < before
    assert before == pytest.approx(5 * 16 * 784 * 0.7, rel=0.1)  # log 2 a pixel, and a small KL
