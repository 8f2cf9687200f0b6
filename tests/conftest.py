"""What the tests share: the real digits, loaded once, and a generator in the same state."""

from multiprocessing import forkserver

import pytest
import torch
from hypothesis import HealthCheck, settings
from hypothesis.configuration import set_hypothesis_home_dir

from vae_helpers import PROJECT, claims
from vae_helpers.data import load_mnist

# the same examples everywhere: nothing is drawn from the clock or from earlier failures
set_hypothesis_home_dir(PROJECT / ".pytest_cache" / "hypothesis")  # what it knows of Unicode
settings.register_profile(
    "course",
    derandomize=True,
    database=None,
    deadline=None,  # the machine may have other things to do
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
settings.load_profile("course")

torch.set_num_threads(1)  # the tensors are small, and other processes may be at work


@pytest.fixture(autouse=True)
def _same_random_numbers():
    """Every test finds torch's global generator in the same state, whatever ran before it."""
    torch.manual_seed(0)


@pytest.fixture(autouse=True)
def _nothing_is_kept(monkeypatch):
    """A measurement is taken in every test, whatever lesson an earlier one has begun."""
    monkeypatch.setattr(claims, "KEPT", None)


@pytest.fixture(autouse=True, scope="module")
def _no_fork_server_of_another_module():
    """A process has one fork server; the next module's forks must not begin where this one's do."""
    yield
    forkserver._forkserver._stop()  # kept in the library for unit tests


@pytest.fixture(scope="session")
def mnist():
    """All 70,000 images, from the project's own files."""
    return load_mnist()


@pytest.fixture(scope="session")
def digits(mnist):
    """The first 2,000 training and 500 test images of MNIST."""
    return mnist.first(2_000, 500)
