"""What the sdist and the wheel of `make metadata`, in build/dist, hold and can do."""

import os
import re
import subprocess
import sys
import tarfile
import venv
import zipfile

import numpy as np
import pytest

from vae_helpers import PROJECT

DIST = PROJECT / "build" / "dist"


def test_the_sdist_is_the_checkout():
    (path,) = DIST.glob("*.tar.gz")
    with tarfile.open(path) as archive:
        inside = {it.name.partition("/")[2] for it in archive if it.isfile()}
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=PROJECT, capture_output=True, encoding="utf-8", check=True,
    )  # fmt: skip
    made = {it for it in inside if it in ("PKG-INFO", "setup.cfg") or ".egg-info/" in it}
    assert inside - made == set(listed.stdout.splitlines())


def test_the_wheel_holds_the_package_and_what_scoring_needs():
    (path,) = DIST.glob("*.whl")
    inside = zipfile.ZipFile(path).namelist()
    package = {it.relative_to(PROJECT).as_posix() for it in PROJECT.glob("vae_helpers/**/*.py")}
    share = {re.sub(r"^.*/share/vae-helpers/", "", it) for it in inside if "/share/" in it}
    data = {*PROJECT.glob("data/MNIST/raw/*.gz"), *PROJECT.glob("data/*.safetensors")}
    data |= {*PROJECT.glob("report/results/studies/comparison_*.csv"), PROJECT / "data/README.md"}
    assert {it for it in inside if it.startswith("vae_helpers/")} == package
    assert share == {it.relative_to(PROJECT).as_posix() for it in data}
    assert path.stat().st_size < 20e6


@pytest.fixture(scope="module")
def elsewhere(tmp_path_factory):
    """Runs the wheel's Python, which finds torch where this one does, and no checkout."""
    folder = tmp_path_factory.mktemp("wheel")
    venv.create(folder / "env", with_pip=True)
    python = folder / "env" / "bin" / "python"
    (wheel,) = DIST.glob("*.whl")
    install = [python, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index", wheel]
    subprocess.run(install, check=True, cwd=folder)
    (packages,) = folder.glob("env/lib/*/site-packages")
    others = [it for it in sys.path if it.endswith("site-packages")]
    (packages / "others.pth").write_text(
        "\n".join(others), "utf-8"
    )  # not what a .pth in these adds
    env = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}

    def run(code, *arguments):
        command = [python, "-c", code, *arguments]
        return subprocess.run(command, cwd=folder, env=env, capture_output=True, encoding="utf-8")

    return run


def test_an_installed_wheel_trains_and_scores_samples(elsewhere, tmp_path):
    np.save(tmp_path / "noise.npy", np.random.default_rng(0).random((500, 784)))
    code = (
        "import sys, vae_helpers\n"
        "from vae_helpers.__main__ import main\n"
        "from vae_helpers.studies import score\n"
        "assert 'wheel' in vae_helpers.__file__, vae_helpers.__file__\n"
        "score.COUNT, score.TRIED = 500, ('fcd',)\n"  # all of it takes minutes
        "sys.exit(main(['score', sys.argv[1]]))\n"
    )
    found = elsewhere(code, str(tmp_path / "noise.npy"))
    assert found.returncode == 0, found.stderr
    head, line = found.stdout.splitlines()
    assert "VAE, mixture" in head
    name, value, *ours = line.split()
    assert name == "fcd"
    assert float(value) > 10 * max(map(float, ours[:3]))
    code = (
        "from vae_helpers.store import shipped\n"
        "from vae_helpers.data import load_mnist\n"
        "from vae_helpers.training import TrainConfig, fit\n"
        "digits = load_mnist(shipped.folder() / 'data').first(256, 128)\n"
        "print(fit(TrainConfig(epochs=1), digits).model.sample(2).shape)\n"
    )
    assert elsewhere(code).stdout == "torch.Size([2, 784])\n"


def test_an_installed_wheel_says_what_needs_a_clone(elsewhere):
    found = elsewhere("from vae_helpers.__main__ import main; raise SystemExit(main(['run']))")
    assert found.returncode == 2
    assert "a wheel holds none, so install the package from a clone" in found.stderr
