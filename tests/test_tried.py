"""What was tried makes the same step as the course's."""

import copy

import pytest
import torch

from vae_helpers import training, tried

OTHERS = [name for name in tried.VARIANTS if name not in ("ours", "torch.compile")]
"""Compiling takes a compiler and many seconds."""


@pytest.fixture
def models(monkeypatch):
    """The models that variants build, in order."""
    built = []

    def new_model(config):
        built.append(training_new_model(config))
        return built[-1]

    training_new_model = copy.copy(training.new_model)
    monkeypatch.setattr(tried.training, "new_model", new_model)
    return built


@pytest.mark.parametrize("name", OTHERS)
def test_every_variant_makes_the_step_of_the_course(models, name):
    ours, other = tried.ours(), tried.VARIANTS[name]()
    for x in torch.rand(3, 128, 784):
        ours(x)
        other(x)
    for weight, changed in zip(*(model.parameters() for model in models), strict=True):
        torch.testing.assert_close(changed, weight, rtol=1e-3, atol=1e-5)


def test_a_variant_is_timed_as_a_share_of_ours(monkeypatch):
    clock = iter(range(0, 10_000, 5))
    monkeypatch.setattr(tried.time, "perf_counter", lambda: next(clock))
    found = tried.measure(rounds=2, names=("ours", "ReLU in place"))
    assert found["ours_over_ours"] == found["relu_in_place_over_ours"] == 1
    assert found["ours_step_milliseconds"] == 1e3 * 5 / tried.STEPS


def test_what_cannot_be_had_is_left_out(monkeypatch, capsys):
    def impossible():
        def step(x):
            raise RuntimeError("no compiler\nat all")

        return step

    monkeypatch.setitem(tried.VARIANTS, "torch.compile", impossible)
    found = tried.measure(rounds=1, names=("ours", "torch.compile"))
    assert not any(key.startswith("torch_compile") for key in found)
    assert "not to be had here: no compiler\n" in capsys.readouterr().out
