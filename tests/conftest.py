"""What the tests share: the real digits, loaded once, and random numbers in the same state."""

import os
import shutil
import signal
from multiprocessing import forkserver

import pytest
import torch
from hypothesis import HealthCheck, settings
from hypothesis.configuration import set_hypothesis_home_dir
from warm_python import WarmPython

from vae_helpers import PROJECT
from vae_helpers.data import load_mnist
from vae_helpers.store import code_digest

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


@pytest.fixture(autouse=True, scope="module")
def _no_fork_server_of_another_module():
    """A process has one fork server; the next module's forks must not begin where this one's do."""
    yield
    server = forkserver._forkserver
    if server._forkserver_pid is not None:
        os.kill(server._forkserver_pid, signal.SIGKILL)  # it would take torch down in order
    server._stop()  # kept in the library for unit tests


@pytest.fixture(scope="session")
def warm_python():
    """Other processes begin at once in it."""
    warm = WarmPython()
    yield warm
    warm.close()


@pytest.fixture(scope="session")
def mnist():
    """All 70,000 images, from the project's own files."""
    return load_mnist()


@pytest.fixture(scope="session")
def digits(mnist):
    """The first 2,000 training and 500 test images of MNIST."""
    return mnist.first(2_000, 500)


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A copy of the package, from whose files digests are made; what is in memory is not asked."""
    copy = tmp_path / "package"
    shutil.copytree(PROJECT / "vae_helpers", copy, ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr(code_digest, "PACKAGE", copy)
    monkeypatch.setattr(code_digest, "_check_memory", lambda entered: None)
    return copy
