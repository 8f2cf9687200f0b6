"""Which Pythons the course was tried on, and what is written down of it."""

import importlib.metadata
import platform
import subprocess
import sys
import tomllib
from collections import defaultdict
from datetime import date
from pathlib import Path

import pytest
import versions
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from vae_helpers import PROJECT

REQUIREMENTS = versions.REQUIREMENTS.read_text(encoding="utf-8")
ROW = {
    "python": "3.13.0",
    "newest": False,
    "torch": "2.14.1",
    "date": date(2026, 11, 28),
    "packages": {"numpy": "2.5.5"},
    "failed": [],
    "tests": {"passed": 3, "failed": 0, "skipped": 1, "warnings": 0},
}

MIXED = """
import warnings
import pytest

def test_good(): pass
@pytest.mark.parametrize("words", ["two words"])
def test_bad(words): assert words == "one", "said - why"
def test_left_out(): pytest.skip("no reason")
def test_warns(): warnings.warn("old"); warnings.warn("older")
@pytest.fixture
def broken(): raise ValueError
def test_of_a_broken_fixture(broken): pass
"""


# The interpreter


def fake_python(path, version, status=0):
    """What answers as that Python would."""
    path.parent.mkdir(parents=True)
    path.write_text(f"#!/bin/sh\necho {version} {path}\nexit {status}\n", encoding="utf-8")
    path.chmod(0o755)
    return path


def test_a_path_is_a_python_of_its_own_version():
    own = (platform.python_version(), Path(sys.executable))
    assert versions.interpreter(sys.executable) == own


def test_a_version_is_found_on_path_before_pyenv(tmp_path, monkeypatch):
    fake_python(tmp_path / "versions" / "9.8.7" / "bin" / "python", "9.8.7")
    found = fake_python(tmp_path / "bin" / "python9.8", "9.8.6")
    monkeypatch.setenv("PATH", str(found.parent), prepend=":")
    assert versions.interpreter("9.8", pyenv=tmp_path / "versions") == ("9.8.6", found)


def test_a_version_that_does_not_start_on_path_is_found_in_pyenv(tmp_path, monkeypatch):
    shim = fake_python(tmp_path / "bin" / "python9.8", "9.8.6", status=127)
    found = fake_python(tmp_path / "versions" / "9.8.7" / "bin" / "python", "9.8.7")
    monkeypatch.setenv("PATH", str(shim.parent), prepend=":")
    assert versions.interpreter("9.8", pyenv=tmp_path / "versions") == ("9.8.7", found)


def test_9_80_is_not_taken_for_9_8_and_the_error_says_how_to_get_one(tmp_path):
    fake_python(tmp_path / "9.80.1" / "bin" / "python", "9.80.1")  # 9.8 is how its name begins
    with pytest.raises(versions.InterpreterError) as raised:
        versions.interpreter("9.8", pyenv=tmp_path)
    assert str(raised.value) == (
        f"Python 9.8: expected python9.8 on PATH or in {tmp_path}, which has 9.80.1; "
        "install it with `pyenv install 9.8`, or give the path of one"
    )


def test_a_path_with_no_python_is_refused(tmp_path):
    with pytest.raises(versions.InterpreterError, match="none: expected a version such as"):
        versions.interpreter(str(tmp_path / "none"))


# What pip and pytest say


def test_versions_are_those_that_the_packages_state_themselves():
    command = [sys.executable, "-m", "pip", "list", "--format=json"]
    found = versions.listed(subprocess.check_output(command, encoding="utf-8"))
    stated = {canonicalize_name(it.name): it.version for it in importlib.metadata.distributions()}
    assert len(found) > 50
    assert found == {name: stated[name] for name in found}


def test_without_pins_the_same_packages_are_asked_for_and_torch_alone_keeps_its_version():
    pinned, free = (
        {it.name: str(it.specifier) for it in map(Requirement, text.splitlines()[1:-1])}
        for text in (REQUIREMENTS, versions.unpinned(REQUIREMENTS))
    )
    assert all(pinned.values())
    kept = ("torch", "torchvision")
    assert free == {name: pinned[name] if name in kept else "" for name in pinned}
    assert versions.unpinned(REQUIREMENTS).endswith("\n-e .\n")


def test_packages_that_differ_are_those_of_another_version_or_of_none():
    installed = {"pytest": "9.3", "ruff": "1.0", "numpy": "2", "nbclient": "3", "ipykernel": "4"}
    found = versions.differing(installed | {"pip": "26"}, "pytest==9.2\nruff==1.0\n-e .\n")
    assert found == {"ipykernel": "4", "nbclient": "3", "numpy": "2", "pytest": "9.3"}


@pytest.fixture
def pytest_says(tmp_path):
    """What pytest prints of a file of tests, and its exit status."""

    def run(text):
        (tmp_path / "test_mixed.py").write_text(text, encoding="utf-8")
        command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_mixed.py"]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, encoding="utf-8")
        return done.stdout, done.returncode

    return run


def test_what_passed_failed_warned_and_was_skipped_is_counted_and_failures_are_named(pytest_says):
    failed = ["test_mixed.py::test_bad[two words]", "test_mixed.py::test_of_a_broken_fixture"]
    assert versions.outcome(*pytest_says(MIXED)) == (2, 1, 2, failed)


def test_a_run_without_tests_or_without_an_end_has_failed(pytest_says):
    (failed,) = versions.outcome(*pytest_says("")).failed
    assert failed.startswith("status 5: no tests ran")
    assert versions.outcome("refused: 04.ipynb\n", 2).failed == ["status 2: refused: 04.ipynb"]
    assert versions.outcome("", 0).failed == ["status 0: no output"]


# Rows


def test_a_row_takes_the_place_of_that_of_the_same_python_and_packages(tmp_path):
    path = tmp_path / "rows.toml"
    others = [ROW | {"python": "3.9.2"}, ROW | {"python": "3.12.1"}, ROW | {"newest": True}]
    again = ROW | {"python": "3.13.2", "failed": ["it"]}
    for row in (ROW, *others, again):
        versions.record(row, path)
    old, middle, newest = others
    assert versions.rows(path) == [old, middle, again, newest]


def test_the_package_claims_the_pythons_on_which_nothing_has_failed_and_no_older_one():
    about = tomllib.loads((PROJECT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    clean = [it for it in versions.rows() if not it["newest"] and not it["failed"]]
    pythons = [versions.minor(it["python"]) for it in clean]
    assert about["classifiers"] == [f"Programming Language :: Python :: {it}" for it in pythons]
    assert about["requires-python"] == f">={pythons[0]}"


@pytest.fixture
def tried(tmp_path, monkeypatch):
    """Runs the script with this Python and a toy for the course; its status, and the row."""
    (tmp_path / "test_mixed.py").write_text(MIXED, encoding="utf-8")
    toy = ("-m", "pytest", "-q", "-p", "no:cacheprovider", "-c", "pyproject.toml")
    toy = {"tests": (*toy, str(tmp_path / "test_mixed.py"), "-k", "good or warns")}
    monkeypatch.delenv("PYTEST_ADDOPTS", raising=False)  # which the run under way may have set
    monkeypatch.setattr(versions, "COMMANDS", toy)
    monkeypatch.setattr(versions, "ENVIRONMENTS", tmp_path / "versions")
    kept = []
    monkeypatch.setattr(versions, "record", kept.append)

    def install(python, version, environment, *, newest):
        own = environment / "bin" / "python"
        own.parent.mkdir(parents=True)
        own.write_text(f'#!/bin/sh\nexec "{python}" "$@"\n', encoding="utf-8")
        own.chmod(0o755)
        return defaultdict(lambda: "1.0")

    monkeypatch.setattr(versions, "install", install)

    def run(*words):
        monkeypatch.setattr(sys, "argv", ["versions.py", sys.executable, "--record", *words])
        return versions.main(), kept[0]

    return run


def test_a_warning_fails_with_pinned_packages(tried, capsys):
    status, row = tried()
    assert status == 1
    assert row["tests"] == {"passed": 1, "failed": 1, "skipped": 0, "warnings": 0}
    assert [name.rpartition("::")[2] for name in row["failed"]] == ["test_warns"]
    assert "test_warns" in capsys.readouterr().out


def test_a_warning_is_counted_with_the_newest(tried):
    status, row = tried("--newest")
    assert (status, row["failed"], row["newest"]) == (0, [], True)
    assert row["tests"] == {"passed": 2, "failed": 0, "skipped": 0, "warnings": 2}
