"""Try the course with another Python or newer packages, in an environment of its own.

    python tests/versions.py 3.13                  python3.13 on PATH or pyenv's, pinned packages
    python tests/versions.py /opt/bin/python3.12   this one
    python tests/versions.py 3.13 --newest         the newest packages, torch and torchvision aside
    python tests/versions.py 3.13 --record         and write what came out to tests/versions.toml

The environment is build/versions/3.13 or build/versions/3.13-newest; it is kept, and brought up to
date by the next run. In it run the unit tests and notebook rules, that is all of `pytest` but
tests/browser and tests/metadata, and the course in miniature (`tests/verify.py --smoke`). With
--newest a warning fails nothing, but is counted. The exit status is 1 if anything failed. pytest
takes all cores, or as many as PYTEST_XDIST_AUTO_NUM_WORKERS says.

torch and torchvision stay as they are pinned even with --newest, because the committed numbers are
those of one torch: its kernels and random numbers change between versions.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import time
import tomllib
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import tomlkit
from packaging.utils import canonicalize_name

from vae_helpers import PROJECT
from vae_helpers.store.files import write_whole

REQUIREMENTS = PROJECT / "requirements.txt"
ENVIRONMENTS = PROJECT / "build" / "versions"
PYENV = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
ROWS = PROJECT / "tests" / "versions.toml"
HEADER = "# Written by `tests/versions.py --record`, a row per Python and choice of packages.\n\n"
UNPINNED = ("ipykernel", "nbclient", "numpy")
"""Packages that requirements.txt leaves to pip and that have broken notebooks before."""
COMMANDS = {
    "tests": (
        *("-m", "pytest", "-q", "-p", "no:cacheprovider"),
        *("-n", "logical", "--dist", "loadfile"),
    ),
    "miniature": ("tests/verify.py", "--smoke"),
}


class InterpreterError(ValueError):
    """There is no such Python here."""


class Outcome(NamedTuple):
    """What pytest has counted, and the names of what failed."""

    passed: int
    skipped: int
    warnings: int
    failed: list[str]


def ask(python: str | Path) -> tuple[str, Path] | None:
    """The version and the path of a Python, or None if it does not start."""
    question = "import platform, sys; print(platform.python_version(), sys.executable)"
    try:
        done = subprocess.run([python, "-c", question], capture_output=True, encoding="utf-8")
    except OSError:
        return None
    version, _, path = done.stdout.strip().partition(" ")
    return (version, Path(path)) if done.returncode == 0 else None


def interpreter(wanted: str, *, pyenv: Path = PYENV) -> tuple[str, Path]:
    """The version and the path of a Python.

    Args:
        wanted: a version such as 3.13 or 3.13.0, or the path of an interpreter.
        pyenv: the folder of pyenv's versions.

    Raises:
        InterpreterError: nothing starts there, or what starts is another version.
    """
    if not re.fullmatch(r"\d+(\.\d+)+", wanted):
        if found := ask(wanted):
            return found
        raise InterpreterError(
            f"{wanted}: expected a version such as 3.13, or the path of a Python; nothing starts "
            "there; check the path"
        )
    # pyenv's own python3.13 on PATH may only say that 3.13 is not switched on, so each is asked
    for candidate in (f"python{wanted}", *sorted(pyenv.glob(f"{wanted}*/bin/python"))):
        found = ask(candidate)
        if found and f"{found[0]}.".startswith(f"{wanted}."):
            return found
    there = ", ".join(sorted(folder.name for folder in pyenv.glob("*"))) or "nothing"
    raise InterpreterError(
        f"Python {wanted}: expected python{wanted} on PATH or in {pyenv}, which has {there}; "
        f"install it with `pyenv install {wanted}`, or give the path of one"
    )


def minor(version: str) -> str:
    """3.13 of 3.13.0."""
    return ".".join(version.split(".")[:2])


def unpinned(requirements: str) -> str:
    """The text of requirements.txt without its pins, torch's and torchvision's aside."""
    return re.sub(r"(?m)^(?!torch==|torchvision==)([\w.-]+)==\S+", r"\1", requirements)


def differing(installed: Mapping[str, str], requirements: str) -> dict[str, str]:
    """Versions of the packages that requirements.txt pins otherwise, or that it leaves to pip."""
    pins = dict(re.findall(r"(?m)^([\w.-]+)==(\S+)", requirements))
    names = sorted({*pins, *UNPINNED})
    return {name: installed[name] for name in names if installed[name] != pins.get(name)}


def listed(text: str) -> dict[str, str]:
    """Versions by name, of what `pip list --format=json` prints."""
    return {canonicalize_name(entry["name"]): entry["version"] for entry in json.loads(text)}


def outcome(text: str, status: int) -> Outcome:
    """What pytest's output says; a run that came to no tests has failed as a whole."""
    lines = text.strip().splitlines() or ["no output"]
    totals = next((line for line in reversed(lines) if re.search(r" in [\d.]+s\b", line)), "")
    counts = {kind.rstrip("s"): int(n) for n, kind in re.findall(r"(\d+) ([a-z]+)", totals)}
    names = [
        line.partition(" ")[2].partition(" - ")[0]
        for line in lines
        if line.startswith(("FAILED ", "ERROR "))
    ]
    if not names and (status or not counts.get("passed")):
        names = [f"status {status}: {lines[-1]}"]
    return Outcome(
        counts.get("passed", 0), counts.get("skipped", 0), counts.get("warning", 0), names
    )


def install(python: Path, version: str, environment: Path, *, newest: bool) -> dict[str, str]:
    """Make the environment, or bring it up to date; returns the versions in it by name."""
    own = environment / "bin" / "python"
    if (found := ask(own)) is None or found[0] != version:
        subprocess.run([python, "-m", "venv", "--clear", environment], check=True)
    wanted, how = REQUIREMENTS, ()
    if newest:
        wanted = environment / "requirements.txt"
        wanted.write_text(unpinned(REQUIREMENTS.read_text(encoding="utf-8")), encoding="utf-8")
        how = ("--upgrade", "--upgrade-strategy", "eager")
    pip = [own, "-m", "pip", "--disable-pip-version-check"]
    subprocess.run([*pip, "install", "-qq", *how, "-r", wanted], cwd=PROJECT, check=True)
    text = subprocess.check_output([*pip, "list", "--format=json"], encoding="utf-8")
    return listed(text)


def run(command: Sequence[str], environment: Path, said: Path, *, newest: bool) -> Outcome:
    """Run a command in the environment; its output goes to the file `said`."""
    variables = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    if newest:
        variables["PYTEST_ADDOPTS"] = "-W default"
    with said.open("w", encoding="utf-8") as file:
        status = subprocess.run(
            [environment / "bin" / "python", *command],
            cwd=PROJECT,
            env=variables,
            stdout=file,
            stderr=subprocess.STDOUT,
        ).returncode
    return outcome(said.read_text(encoding="utf-8"), status)


def rows(path: Path = ROWS) -> list[dict[str, Any]]:
    """What was recorded."""
    if not path.is_file():
        return []
    return tomllib.loads(path.read_text(encoding="utf-8"))["tried"]


def record(row: dict[str, Any], path: Path = ROWS) -> None:
    """Write a row in place of that of the same Python and choice of packages."""

    def key(row: Mapping[str, Any]) -> tuple[list[int], bool]:
        return [int(part) for part in minor(row["python"]).split(".")], row["newest"]

    kept = [old for old in rows(path) if key(old) != key(row)]
    write_whole(path, HEADER + tomlkit.dumps({"tried": sorted([*kept, row], key=key)}))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n", maxsplit=1)[0])
    parser.add_argument("python", metavar="VERSION|PATH", help="such as 3.13")
    parser.add_argument(
        "--newest", action="store_true", help="packages, torch and torchvision aside"
    )
    parser.add_argument("--record", action="store_true", help=f"in {ROWS.relative_to(PROJECT)}")
    options = parser.parse_args()
    try:
        version, python = interpreter(options.python)
    except InterpreterError as error:
        parser.error(str(error))
    environment = ENVIRONMENTS / (minor(version) + ("-newest" if options.newest else ""))
    try:
        installed = install(python, version, environment, newest=options.newest)
    except subprocess.CalledProcessError as error:
        sys.exit(f"Python {version}: expected an environment, got status {error.returncode}, above")
    packages = differing(installed, REQUIREMENTS.read_text(encoding="utf-8"))
    print(f"Python {version}, torch {installed['torch']}; not as pinned in requirements.txt:")
    print(*(f"  {name} {it}" for name, it in packages.items()), sep="\n", flush=True)
    row = {
        "python": version,
        "newest": options.newest,
        "torch": installed["torch"],
        "date": datetime.now(UTC).date(),
        "packages": packages,
        "failed": [],
    }
    for name, command in COMMANDS.items():
        said, began = environment / f"{name}.txt", time.monotonic()
        found = run(command, environment, said, newest=options.newest)
        row["failed"] += found.failed
        row[name] = found._asdict() | {"failed": len(found.failed)}
        words = ", ".join(f"{count} {kind}" for kind, count in row[name].items())
        print(f"{name}: {words}, {time.monotonic() - began:.0f} s, see {said}")
        print(*(f"  {it}\n" for it in found.failed), sep="", end="", flush=True)
    if options.record:
        record(row)
        print(f"{ROWS.relative_to(PROJECT)}: wrote the row of {environment.name}")
    return int(bool(row["failed"]))


if __name__ == "__main__":
    sys.exit(main())
