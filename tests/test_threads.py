"""What one thread has computed serves a process with any number of them."""

import pytest
import torch
from toy_digits import few_digits

from vae_helpers import acceleration, sample_quality, training
from vae_helpers.store import cache, runs
from vae_helpers.training import TrainConfig

CONFIG = TrainConfig(epochs=2, batch_size=8, hidden_dims=(16,), latent_dim=2, device="cpu")


@pytest.fixture
def trained(monkeypatch):
    """The number of threads of every epoch that is trained."""
    threads, own = [], training.checked_epoch

    def checked_epoch(*args):
        threads.append(torch.get_num_threads())
        return own(*args)

    monkeypatch.setattr(training, "checked_epoch", checked_epoch)
    return threads


def fit(folder, *, threads, epochs=2, **given):
    config = TrainConfig(**{**vars(CONFIG), "epochs": epochs})
    with acceleration.threads(threads):
        fitted = runs.fit(config, few_digits(), folder, show_progress=False, **given)
        assert torch.get_num_threads() == threads
    return fitted


def test_a_whole_run_of_one_thread_is_taken_by_two(tmp_path, trained):
    published = fit(tmp_path, threads=1)
    again = fit(tmp_path, threads=2)
    assert trained == [1, 1]
    assert again.history == published.history
    with acceleration.threads(2):
        assert len(runs.seconds_per_epoch(CONFIG, few_digits(), tmp_path)) == 2


def test_a_run_that_is_not_there_is_trained_by_all_threads_and_kept_apart(tmp_path, trained):
    fit(tmp_path, threads=2)
    fit(tmp_path, threads=1)
    assert trained == [2, 2, 1, 1]
    assert len([*tmp_path.iterdir()]) == 2


def test_a_run_of_one_thread_that_ends_too_early_is_not_mixed_with_epochs_of_two(tmp_path, trained):
    fit(tmp_path, threads=1)
    fit(tmp_path, threads=2, epochs=3)
    assert trained == [1, 1, 2, 2, 2]


def test_weights_that_are_asked_for_later_are_repeated_by_one_thread(tmp_path, trained):
    fit(tmp_path, threads=1, epochs=3, snapshot_epochs=())
    again = fit(tmp_path, threads=2, epochs=3, snapshot_epochs=(2,))
    assert trained == [1, 1, 1, 1, 1]
    assert {2, 3} <= again.weights.keys()


def test_a_value_of_one_thread_is_taken_by_two_and_not_the_other_way_round(tmp_path, monkeypatch):
    monkeypatch.setattr(cache, "CACHE", tmp_path)
    nearest, x = cache.cached(sample_quality.nearest), torch.rand(3, 5)
    for threads, kept in ((2, 1), (1, 2), (2, 2)):
        with acceleration.threads(threads):
            nearest(x, x)
        assert len([*tmp_path.rglob("*.pt")]) == kept
    y = torch.rand(4, 5)
    for threads in (1, 2):
        with acceleration.threads(threads):
            nearest(y, x)
    assert len([*tmp_path.rglob("*.pt")]) == 3
