"""How long a new reader waits: for a first picture, a first changed parameter, a first own number.

    python tests/newcomer.py           the steps of README.md, in a fresh clone, newly installed
    python tests/newcomer.py --write   the seconds, into report/results/measured/newcomer.json

Each step is what README.md says, so this fails when the two part. Measure on a machine that does
nothing else.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from vae_helpers import PROJECT
from vae_helpers.benchmarks import clock
from vae_helpers.store.machine import cores

STEPS = {
    "install": "make .venv/ready",
    "picture": "make digits",
    "parameter": ".venv/bin/python -m vae_helpers digits --beta 0",
    "notebook": ".venv/bin/python -m vae_helpers run 05 -p epochs 5 -p beta 4 -p compare_epochs 1",
    "own_samples": ".venv/bin/python samples.py",
    "own_number": ".venv/bin/python -m vae_helpers score samples.npy",
}
"""In this order. `samples.py` is the listing of README.md."""


def listing(readme: str) -> str:
    """The Python that README.md shows.

    Raises:
        ValueError: it shows none, or several pieces.
    """
    found = re.findall(r"^```python\n(.*?)^```", readme, re.MULTILINE | re.DOTALL)
    if len(found) != 1:
        raise ValueError(f"README.md: expected one listing in Python, got {len(found)}")
    return str(found[0])


def timed(command: str, folder: Path) -> float:
    """Seconds that a command takes.

    Raises:
        RuntimeError: it failed; the message is the end of what it said.
    """
    began = time.perf_counter()
    done = subprocess.run(
        command.split(),
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
    )
    if done.returncode:
        said = done.stdout[-2_000:]
        raise RuntimeError(f"{command}: expected status 0, got {done.returncode}\n{said}")
    return time.perf_counter() - began


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n", maxsplit=1)[0])
    parser.add_argument("--write", action="store_true", help="the seconds, into report/")
    options = parser.parse_args()
    found: dict[str, object] = {"processor": clock.processor(), "cores": cores()}
    with tempfile.TemporaryDirectory() as scratch:
        copy = Path(scratch) / "project"
        subprocess.run(["git", "clone", "--quiet", PROJECT, copy], check=True)
        readme = (copy / "README.md").read_text(encoding="utf-8")
        (copy / "samples.py").write_text(listing(readme), encoding="utf-8")
        for name, command in STEPS.items():
            seconds = timed(command, copy)
            found[f"{name}_seconds"] = round(seconds)
            print(f"{name}: {seconds:.0f} s, {command}", flush=True)
    if options.write:
        clock.write("newcomer", found)
    return 0


if __name__ == "__main__":
    sys.exit(main())
