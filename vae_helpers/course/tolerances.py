"""The tolerance of a number: the interval in which it must fall, and where intervals come from.

`report/tolerances.toml` has one entry per number. People write what it is: its unit, how many
decimals it is shown with, the mistake that its tolerance excludes, and the cap, the widest the
interval may be. One command (`make tolerances`) writes what was measured: mean, standard deviation,
n and the interval itself, for each profile.
"""

from __future__ import annotations

import math
import statistics
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vae_helpers import PROJECT
from vae_helpers.course.notebooks import PROFILES
from vae_helpers.parameters import shown
from vae_helpers.store.files import write_whole

TOLERANCES = PROJECT / "report" / "tolerances.toml"
CONFIDENCE = 0.999
LEAST_SEEDS = 5
FIELDS = {"unit": str, "decimals": int, "excludes": str}
"""What an entry says, whatever was measured, and of which type it is."""


class ToleranceError(ValueError):
    """tolerances.toml does not say what is needed, or the measured values do not fit in the cap."""


@dataclass(frozen=True)
class Tolerance:
    """An interval for one number under one profile.

    Attributes:
        unit: such as "nats per image"; empty for a pure number.
        decimals: digits after the point in print.
        excludes: the mistake that would put the number outside.
        low, high: the interval, both ends included; None before it was measured.
    """

    unit: str
    decimals: int
    excludes: str
    low: float | None = None
    high: float | None = None

    @property
    def interval(self) -> str | None:
        """The interval in print; None before it was measured."""
        if self.low is None or self.high is None:
            return None
        return f"{self.low:.{self.decimals}f} to {self.high:.{self.decimals}f}"

    def misses(self, value: float) -> bool:
        """Whether there is an interval and the value is outside of it, or no number."""
        if self.low is None or self.high is None:
            return False
        return not self.low <= value <= self.high


def read(notebook: str, profile: str, *, path: Path = TOLERANCES) -> dict[str, Tolerance]:
    """The tolerances of one notebook, by the number's name.

    Args:
        notebook: such as "04_training".
        profile: "full" or "smoke"; for any other the numbers have a unit but no interval.

    Raises:
        ToleranceError: the file or an entry does not say what is needed; the message names it.
    """
    try:
        entries = tomllib.loads(path.read_text(encoding="utf-8")).get(notebook, {})
    except (ValueError, OSError) as error:
        raise ToleranceError(f"{path}: expected a file in TOML, but: {error}") from error
    if not isinstance(entries, dict):
        raise ToleranceError(f"{path.name}: {notebook}: expected a table, got {shown(entries)}")
    return {
        name: _tolerance(f"{path.name}: {notebook}.{name}", entry, profile)
        for name, entry in entries.items()
    }


def _tolerance(name: str, entry: Any, profile: str) -> Tolerance:
    if not isinstance(entry, dict):
        raise ToleranceError(f"{name}: expected a table, got {shown(entry)}")
    if missing := FIELDS.keys() - entry.keys():
        raise ToleranceError(f"{name} lacks {', '.join(sorted(missing))}")
    if unknown := entry.keys() - FIELDS.keys() - set(PROFILES):
        raise ToleranceError(f"{name}: unknown entry {', '.join(map(repr, sorted(unknown)))}")
    for field, kind in FIELDS.items():
        if type(entry[field]) is not kind:
            raise ToleranceError(
                f"{name}: {field}: expected {kind.__name__}, got {shown(entry[field])}"
            )
    if not 0 <= entry["decimals"] <= 15:
        raise ToleranceError(f"{name}: decimals: expected 0 to 15, got {entry['decimals']}")
    measured = entry.get(profile, {})
    if not isinstance(measured, dict):
        raise ToleranceError(f"{name}: {profile}: expected a table, got {shown(measured)}")
    low: Any = measured.get("low")
    high: Any = measured.get("high")
    if (low, high) != (None, None):  # one end alone would hold nothing, and nobody would notice
        numbers = all(type(end) in (int, float) for end in (low, high))
        if not numbers or not -math.inf < low <= high < math.inf:
            raise ToleranceError(
                f"{name}: {profile}: expected two finite numbers, low <= high, got {shown(low)} "
                f"and {shown(high)}"
            )
    return Tolerance(entry["unit"], entry["decimals"], entry["excludes"], low, high)


def prediction_interval(values: Sequence[float]) -> tuple[float, float]:
    """Where the next value of a normal population falls with probability `CONFIDENCE`.

    `mean +- t * sd * sqrt(1 + 1/n)`, t the quantile of Student's distribution with n - 1 degrees
    of freedom: about 9.4 standard deviations at n = 5.

    Raises:
        ToleranceError: there are fewer than five values, or one is not finite.
    """
    from scipy.stats import t

    n = len(values)
    if n < LEAST_SEEDS or not all(map(math.isfinite, values)):
        raise ToleranceError(f"expected at least {LEAST_SEEDS} finite values, got {list(values)}")
    reach = float(t.ppf((1 + CONFIDENCE) / 2, n - 1)) * math.sqrt(1 + 1 / n)
    mean, sd = statistics.fmean(values), statistics.stdev(values)
    return mean - reach * sd, mean + reach * sd


def measured(by_threads: Mapping[int, Sequence[float]], *, decimals: int) -> dict[str, float]:
    """The measured part of an entry: the hull of one interval per number of threads.

    Seeds are independent, thread counts of one seed are not, so n is the number of seeds.

    Args:
        by_threads: for each number of threads the values over the seeds, in order.
        decimals: the ends are rounded outwards to these, and the interval is never narrower than
            one unit of the last decimal on either side, so that rounding alone cannot miss it.
    """
    ends = [end for values in by_threads.values() for end in prediction_interval(values)]
    values = [value for group in by_threads.values() for value in group]
    unit = 10.0**-decimals
    low = math.floor(min(min(ends), min(values) - unit) / unit) * unit
    high = math.ceil(max(max(ends), max(values) + unit) / unit) * unit
    return {
        "low": round(low, decimals),
        "high": round(high, decimals),
        "mean": round(statistics.fmean(values), decimals + 2),
        "sd": round(max(map(statistics.stdev, by_threads.values())), decimals + 2),
        "n": len(next(iter(by_threads.values()))),
    }


def write(
    found: Mapping[str, Mapping[str, Mapping[int, Sequence[float]]]],
    profile: str,
    *,
    path: Path = TOLERANCES,
) -> list[str]:
    """Put measured values into tolerances.toml; what people wrote there stays as it is.

    Args:
        found: notebook, number, number of threads: the values over the seeds.
        profile: which part of the entries is replaced.
        path: the file.

    Returns:
        What is wrong, one sentence per number: wider than its cap, not finite, or without an entry.
        Those numbers keep the interval they had.
    """
    import tomlkit

    document = tomlkit.parse(path.read_text(encoding="utf-8"))
    problems = []
    for notebook, numbers in found.items():
        for name, by_threads in numbers.items():
            entry = document.get(notebook, {}).get(name)
            if entry is None or "cap" not in entry.get(profile, {}):
                problems.append(f"{notebook}.{name}: no entry with a cap for {profile}")
                continue
            try:
                new = measured(by_threads, decimals=entry["decimals"])
            except ToleranceError as error:
                problems.append(f"{notebook}.{name}: {error}")
                continue
            if new["high"] - new["low"] > entry[profile]["cap"]:
                problems.append(
                    f"{notebook}.{name}: {new['low']:g} to {new['high']:g} is wider than the cap "
                    f"of {entry[profile]['cap']:g}; take more seeds or a steadier number"
                )
                continue
            entry[profile].update(new)
    write_whole(path, tomlkit.dumps(document))
    return problems
