"""How long the commands of the README take, counted in textbook epochs.

    python tests/economy.py                 make run, make run again, make test, in a fresh clone
    python tests/economy.py --write         the figures, into report/results/measured/economy.json
    python tests/economy.py --only test     this command alone; --write then keeps the other figures
    python tests/economy.py --seconds 600   only: so many seconds in textbook epochs of this machine

A textbook epoch is one of `benchmarks/baseline.py` over the 60,000 images with all cores. It is
timed before and after each command, so that the figures hold on any machine. The exit status is 1
if a command took longer than its limit.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import psutil

from vae_helpers import PROJECT
from vae_helpers.benchmarks import baseline, clock
from vae_helpers.store.machine import cores

LIMITS = {"first_run": 230, "repeated_run": 80, "test": 190}
"""Textbook epochs that a command may take: half as many again as with 22 notebooks."""
COMMANDS = {"first_run": "run", "repeated_run": "run", "test": "test"}
GIGABYTES = 4.0
"""That `make run` may have in memory on two cores."""


def textbook_seconds(times: int = 3) -> float:
    """The median of several epochs of the textbook loop."""
    usual, (train, _) = baseline.Baseline(), baseline.loaders()
    usual.train(train)  # loads libraries
    return statistics.median(clock.seconds_of(lambda: usual.train(train)) for _ in range(times))


class Memory:
    """Watches a process and all that it starts, as a context manager.

    Attributes:
        peak: the most bytes that they had at a time, shared pages counted once.
    """

    def __init__(self, process: int) -> None:
        self._process, self._ended, self.peak = psutil.Process(process), threading.Event(), 0

    def __enter__(self) -> Memory:
        self._thread = threading.Thread(target=self._watch)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._ended.wait(1.0):
            self.peak = max(self.peak, sum(map(_own, self._all())))

    def _all(self) -> list[psutil.Process]:
        try:
            return [self._process, *self._process.children(recursive=True)]
        except psutil.NoSuchProcess:
            return []


def _own(process: psutil.Process) -> int:
    try:
        return int(process.memory_full_info().pss)
    except (psutil.Error, AttributeError):  # it has ended; no Linux
        return 0


def timed(target: str, folder: Path) -> tuple[float, float]:
    """Seconds and gigabytes of a make target in a copy, with this environment's Python."""
    bin_folder = Path(sys.executable).parent
    ready = f"{bin_folder}/python"
    command = ["make", target, f"BIN={bin_folder}", f"READY={ready}", "-o", ready]  # not made anew
    environment = {**os.environ, "PYTHONPATH": str(folder)}
    began = time.perf_counter()
    with (folder.parent / f"{target}.txt").open("w", encoding="utf-8") as said:
        process = subprocess.Popen(
            command, cwd=folder, env=environment, stdout=said, stderr=subprocess.STDOUT
        )
        with Memory(process.pid) as memory:
            status = process.wait()
    if status:
        print((folder.parent / f"{target}.txt").read_text(encoding="utf-8")[-4_000:])
        sys.exit(f"make {target}: expected it to pass, got status {status}")
    return time.perf_counter() - began, memory.peak / 1e9


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n", maxsplit=1)[0])
    parser.add_argument("--seconds", type=float, help="to be counted")
    parser.add_argument("--write", action="store_true", help="the figures, into report/")
    parser.add_argument("--only", choices=COMMANDS, help="one of the commands")
    options = parser.parse_args()
    before = textbook_seconds()
    if options.seconds is not None:
        print(f"{options.seconds:.0f} s are {options.seconds / before:.0f} textbook epochs here")
        return 0
    found = clock.read("economy") if options.only else {}
    found |= {"processor": clock.processor(), "cores": cores()}
    too_long = False
    with tempfile.TemporaryDirectory() as scratch:
        copy = Path(scratch) / "project"
        subprocess.run(["git", "clone", "--quiet", PROJECT, copy], check=True)
        for name in [options.only] if options.only else COMMANDS:
            target = COMMANDS[name]
            seconds, gigabytes = timed(target, copy)
            after = textbook_seconds()
            epochs = 2 * seconds / (before + after)
            print(
                f"{name}: {seconds:.0f} s, {epochs:.1f} textbook epochs (at most {LIMITS[name]}), "
                f"{gigabytes:.1f} GB",
                flush=True,
            )
            found |= {f"{name}_seconds": round(seconds), f"{name}_epochs": round(epochs, 1)}
            found |= {f"{name}_gigabytes": round(gigabytes, 1)}
            found["textbook_seconds"] = round(after, 2)
            too_long |= epochs > LIMITS[name] or (target == "run" and gigabytes > GIGABYTES)
            before = after
            if options.write:  # at once: the next command may fail
                clock.write("economy", found)
    return int(too_long)


if __name__ == "__main__":
    sys.exit(main())
