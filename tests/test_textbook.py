"""The textbook's loop computes what the course's does."""

import pytest
import torch

from vae_helpers import objective
from vae_helpers.models import VAE
from vae_helpers.textbook import Textbook


def test_network_and_loss_are_the_courses(monkeypatch):
    textbook, ours = Textbook(), VAE()
    weights = zip(ours.parameters(), textbook.model.parameters(), strict=True)
    with torch.no_grad():
        for own, other in weights:
            own.copy_(other)
    x, eps = torch.rand(9, 784), torch.randn(9, 20)
    monkeypatch.setattr(torch, "randn_like", lambda mu: eps)
    output = ours(x, eps)
    expected = (objective.bce(output.logits, x) + objective.kl(output.mu, output.logvar)).sum()
    assert textbook.loss(x).item() == pytest.approx(expected.item(), rel=1e-5)


def test_an_epoch_sums_the_losses_and_goes_downhill():
    torch.manual_seed(0)
    textbook = Textbook()
    batches = [(torch.rand(16, 1, 28, 28), torch.zeros(16))] * 5
    before = textbook.evaluate(batches)
    trained = textbook.train(batches)
    assert textbook.evaluate(batches) < trained < before
    assert before == pytest.approx(5 * 16 * 784 * 0.7, rel=0.1)  # log 2 a pixel, and a small KL
