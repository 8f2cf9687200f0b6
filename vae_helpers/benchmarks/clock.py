"""The clock, the probe of memory and the file of figures that all benchmarks share.

Machines are shared and have slow spells. Tasks are therefore interleaved, each once per round, and
two tasks are compared within a round: the median of these ratios is the figure to quote.
"""

from __future__ import annotations

import json
import multiprocessing
import platform
import statistics
import time
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import torch
from torch import Tensor

from vae_helpers import PROJECT
from vae_helpers.store.files import read_json, write_whole
from vae_helpers.store.machine import cores

MEASURED = PROJECT / "report" / "results" / "measured"
SPAWN = multiprocessing.get_context("spawn")
"""Starts processes that have imported and trained nothing yet."""

Name = TypeVar("Name", bound=Hashable)
Work = Callable[[], object]


class Spread(NamedTuple):
    """Median, lowest and highest of several values."""

    median: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.median:.2f} ({self.low:.2f} to {self.high:.2f})"


def spread(values: Sequence[float]) -> Spread:
    """Median, lowest and highest of `values`."""
    return Spread(statistics.median(values), min(values), max(values))


def ratio(above: Iterable[float], below: Iterable[float]) -> Spread:
    """The ratios of two tasks within each round, from their seconds in all rounds."""
    return spread([a / b for a, b in zip(above, below, strict=True)])


def seconds_of(work: Work, *, repeat: int = 1) -> float:
    """Seconds that a call takes, the mean of `repeat` of them."""
    began = time.perf_counter()
    for _ in range(repeat):
        work()
    return (time.perf_counter() - began) / repeat


def interleaved(
    works: Mapping[Name, Work], *, rounds: int, repeat: int = 1
) -> dict[Name, list[float]]:
    """The seconds of each task in every round.

    A slow spell of the machine then meets all tasks and not one alone. A first round warms up and
    does not count: in it code is loaded, kernels are chosen for each shape and memory is taken.

    Args:
        works: the tasks by name.
        rounds: that count.
        repeat: calls of a task per round; their mean is taken.
    """
    taken = [
        {name: seconds_of(work, repeat=repeat) for name, work in works.items()}
        for _ in range(1 + rounds)
    ]
    return {name: [seconds[name] for seconds in taken[1:]] for name in works}


def processor() -> str:
    """The processor's own name for itself, as far as the system tells."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text(encoding="utf-8").splitlines() if info.is_file() else []
    names = [line.split(":", 1)[1] for line in lines if line.startswith("model name")]
    return names[0].strip() if names else platform.processor() or platform.machine()


def growth(
    points: Sequence[tuple[int, Callable[[Tensor], object]]], *, repeats: int = 1
) -> list[list[float]]:
    """By how much a process grows at its peak while it works on random images.

    Each measurement has a process of its own with one thread, as many at a time as there are cores.
    Not counted are the imports, the images (3,136 bytes each), and what PyTorch loads with the
    first training step of any network (some 150 MB).

    Args:
        points: numbers of images, and what is done with them, `[N, 784]`: functions that can be
            pickled.
        repeats: measurements of each point.

    Returns:
        Megabytes (1e6 bytes), for each point those of all its repeats.
    """
    with ProcessPoolExecutor(
        cores(), SPAWN, initializer=torch.set_num_threads, initargs=(1,), max_tasks_per_child=1
    ) as pool:
        asked = [[pool.submit(_growth, *point) for _ in range(repeats)] for point in points]
        return [[one.result() for one in several] for several in asked]


def _growth(number: int, work: Callable[[Tensor], object]) -> float:
    images = torch.rand(number, 784)
    first = torch.nn.Linear(1, 1)
    first(images[:, :1]).sum().backward()
    torch.optim.Adam(first.parameters(), fused=True).step()
    before = _memory("VmRSS")
    work(images)
    return (_memory("VmHWM") - before) / 1e6


def _memory(field: str) -> int:
    """Bytes of this process, now ("VmRSS") or at its peak ("VmHWM"); on macOS always the peak.

    On Linux `ru_maxrss` would hold the peak of the parent process.
    """
    status = Path("/proc/self/status")
    if not status.is_file():
        import resource  # not on Windows

        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    lines = status.read_text(encoding="utf-8").splitlines()
    return int(dict(line.split(":", 1) for line in lines)[field].split()[0]) * 1024


def write(name: str, values: Mapping[str, Any]) -> None:
    """Write measured figures to report/results/measured/, where report/places.py finds them."""
    entries = {key: {"value": value} for key, value in values.items()}
    text = json.dumps({"values": entries}, indent=1, allow_nan=False)
    write_whole(MEASURED / f"{name}.json", text + "\n")


def read(name: str) -> dict[str, Any]:
    """The figures that `write` has written.

    Raises:
        DamagedFileError: there is no such file, or it is damaged.
    """
    remedy = "restore the committed file, or measure anew: python -m vae_helpers bench --help"
    file = read_json(MEASURED / f"{name}.json", remedy=remedy)
    return {key: entry["value"] for key, entry in file["values"].items()}
