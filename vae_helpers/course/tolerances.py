"""The tolerance of a number: the interval in which it must fall, and how it comes from seeds.

`report/tolerances.toml` has one entry per number. People write what it is: its unit, how many
decimals it is shown with, its natural range, the mistake that its tolerance excludes, and the cap,
the widest the interval may be. One command (`make tolerances`) runs each notebook as a study over
seeds and computes the rest from the study's table: mean, standard deviation, n and the interval
itself, for each profile (`studies.tolerance_tables`).

The interval is a prediction interval on the scale of the natural range: what is positive spreads by
factors, a share by factors of its odds. So both ends lie where the number can.
"""

from __future__ import annotations

import math
import statistics
import tomllib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vae_helpers import COURSE
from vae_helpers.course.notebooks import PROFILES
from vae_helpers.parameters import ParameterError, shown
from vae_helpers.store.files import write_whole

TOLERANCES = COURSE / "report" / "tolerances.toml"
CONFIDENCE = 0.999
LEAST_SEEDS = 5
FIELDS = {"unit": str, "decimals": int, "excludes": str}
"""What an entry says, whatever was measured, and of which type it is."""
BOUNDS = ("minimum", "maximum")
"""What an entry may add to its range: the least and the largest value that the number can have."""
FARTHEST = 300.0
"""Where a logarithm is cut, so that its number is finite: far wider than any cap."""


class ToleranceError(ParameterError):
    """tolerances.toml does not say what is needed, or the measured values do not fit in the cap."""


@dataclass(frozen=True)
class Scale:
    """A natural range, and the scale on which the values of seeds are taken for normal.

    Attributes:
        low, high: the ends of the range, which belong to it where they are finite.
        place: where a value between the ends lies on the scale.
        value: the value of a place.
    """

    low: float
    high: float
    place: Callable[[float], float]
    value: Callable[[float], float]


def _share(whole: float) -> Scale:
    """Of a part of a whole: the logarithm of its odds."""
    return Scale(
        0.0,
        whole,
        lambda part: math.log(part) - math.log(whole - part),
        lambda place: whole * (1 + math.tanh(place / 2)) / 2,
    )


SCALES: Mapping[str, Scale] = {
    "real": Scale(-math.inf, math.inf, float, float),
    "positive": Scale(0.0, math.inf, math.log, lambda place: math.exp(min(place, FARTHEST))),
    "unit": _share(1.0),
    "percent": _share(100.0),
}
"""What an entry may say as its range: differences and what may be negative are real."""


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


def known(*, path: Path = TOLERANCES) -> dict[str, list[str]]:
    """The numbers that have an entry, by notebook.

    Raises:
        ToleranceError: the file is not in TOML, or a notebook's entries are no table.
    """
    return {notebook: list(_entries(notebook, path)) for notebook in _document(path)}


def read(notebook: str, profile: str, *, path: Path = TOLERANCES) -> dict[str, Tolerance]:
    """The tolerances of one notebook, by the number's name.

    Args:
        notebook: such as "05_training".
        profile: "full" or "smoke"; for any other the numbers have a unit but no interval.

    Raises:
        ToleranceError: the file or an entry does not say what is needed; the message names it.
    """
    return {
        name: _tolerance(f"{path.name}: {notebook}.{name}", entry, profile)
        for name, entry in _entries(notebook, path).items()
    }


def _document(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (ValueError, OSError) as error:
        raise ToleranceError(f"{path}: expected a file in TOML, but: {error}") from error


def _entries(notebook: str, path: Path) -> dict[str, Any]:
    entries = _document(path).get(notebook, {})
    if not isinstance(entries, dict):
        raise ToleranceError(f"{path.name}: {notebook}: expected a table, got {shown(entries)}")
    return entries


def _tolerance(name: str, entry: Any, profile: str) -> Tolerance:
    if not isinstance(entry, dict):
        raise ToleranceError(f"{name}: expected a table, got {shown(entry)}")
    if missing := FIELDS.keys() - entry.keys():
        raise ToleranceError(f"{name} lacks {', '.join(sorted(missing))}")
    if unknown := entry.keys() - FIELDS.keys() - {"range", *BOUNDS, *PROFILES}:
        raise ToleranceError(f"{name}: unknown entry {', '.join(map(repr, sorted(unknown)))}")
    for field, kind in FIELDS.items():
        if type(entry[field]) is not kind:
            raise ToleranceError(
                f"{name}: {field}: expected {kind.__name__}, got {shown(entry[field])}"
            )
    if not 0 <= entry["decimals"] <= 15:
        raise ToleranceError(f"{name}: decimals: expected 0 to 15, got {entry['decimals']}")
    least, largest = _bounds(name, entry)
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
        unit = 10.0 ** -entry["decimals"]  # by rounding outwards
        if not least - unit < low <= high < largest + unit:
            raise ToleranceError(
                f"{name}: {profile}: expected ends in the natural range, {least:g} to {largest:g}, "
                f"got {low} and {high}"
            )
    return Tolerance(entry["unit"], entry["decimals"], entry["excludes"], low, high)


def _bounds(name: str, entry: Mapping[str, Any]) -> tuple[float, float]:
    """The least and the largest value that a number can have."""
    kind = entry.get("range", "real")
    if not isinstance(kind, str) or kind not in SCALES:
        raise ToleranceError(f"{name}: range: expected one of {', '.join(SCALES)}, got {kind!r}")
    scale = SCALES[kind]
    least, largest = entry.get("minimum", scale.low), entry.get("maximum", scale.high)
    numbers = all(type(end) in (int, float) for end in (least, largest))
    if not numbers or not scale.low <= least < largest <= scale.high:
        raise ToleranceError(
            f"{name}: expected minimum < maximum, numbers in the range {kind}, got {shown(least)} "
            f"and {shown(largest)}"
        )
    return least, largest


def prediction_interval(values: Sequence[float]) -> tuple[float, float]:
    """Where the next value of a normal population falls with probability `CONFIDENCE`.

    `mean +- t * sd * sqrt(1 + 1/n)`, t the quantile of Student's distribution with n - 1 degrees
    of freedom: 9.4 standard deviations at n = 5, 5.0 at n = 10.

    Raises:
        ToleranceError: there are fewer than five values, or one is not finite.
    """
    from scipy.stats import t

    _check_values(values)
    n = len(values)
    reach = float(t.ppf((1 + CONFIDENCE) / 2, n - 1)) * math.sqrt(1 + 1 / n)
    mean, sd = statistics.fmean(values), statistics.stdev(values)
    return mean - reach * sd, mean + reach * sd


def _check_values(values: Sequence[float]) -> None:
    if len(values) < LEAST_SEEDS or not all(map(math.isfinite, values)):
        raise ToleranceError(f"expected at least {LEAST_SEEDS} finite values, got {list(values)}")


def measured(
    values: Sequence[float],
    *,
    decimals: int,
    kind: str = "real",
    minimum: float = -math.inf,
    maximum: float = math.inf,
) -> dict[str, float]:
    """The measured part of an entry: the prediction interval on the scale of the natural range.

    An end of the range has no place on a logarithmic scale. A value there, such as a share of 0 or
    1, is one that prints as the end would: it takes the place half a unit of the last decimal away.

    Args:
        values: over the seeds.
        decimals: the ends are rounded outwards to these, and the interval is never narrower than
            one unit of the last decimal on either side of the values, so that rounding alone cannot
            miss it; but it ends where the range ends.
        kind: of the natural range, a key of `SCALES`.
        minimum, maximum: the least and the largest value that there can be, where the range goes
            farther, such as log 10 for the entropy of ten digits.

    Raises:
        ToleranceError: there are fewer than five values, or one is not finite or out of range.
    """
    _check_values(values)
    scale, unit = SCALES[kind], 10.0**-decimals
    least, largest = max(scale.low, minimum), min(scale.high, maximum)
    if not all(least <= value <= largest for value in values):
        raise ToleranceError(f"expected values in {least:g} to {largest:g}, got {list(values)}")
    inside = [min(max(it, scale.low + unit / 2), scale.high - unit / 2) for it in values]
    low, high = map(scale.value, prediction_interval([scale.place(it) for it in inside]))
    low = max(min(low, min(values) - unit), least)
    high = min(max(high, max(values) + unit), largest)
    return {
        "low": round(math.floor(low / unit) * unit, decimals),
        "high": round(math.ceil(high / unit) * unit, decimals),
        "mean": round(statistics.fmean(values), decimals + 2),
        "sd": round(statistics.stdev(values), decimals + 2),
        "n": len(values),
    }


def write(
    found: Mapping[str, Mapping[str, Sequence[float]]],
    profile: str,
    *,
    path: Path = TOLERANCES,
) -> list[str]:
    """Put measured values into tolerances.toml; what people wrote there stays as it is.

    Args:
        found: notebook, number: the values over the seeds.
        profile: which part of the entries is replaced.
        path: the file.

    Returns:
        What is wrong, one sentence per number: wider than its cap, not finite, out of its range,
        or without an entry that says its range. Those numbers keep the interval they had.
    """
    import tomlkit

    document = tomlkit.parse(path.read_text(encoding="utf-8"))
    problems = []
    for notebook, numbers in found.items():
        for name, values in numbers.items():
            entry = document.get(notebook, {}).get(name)
            if entry is None or "range" not in entry or "cap" not in entry.get(profile, {}):
                problems.append(f"{notebook}.{name}: no entry with a range and a cap for {profile}")
                continue
            bounds = {bound: float(entry[bound]) for bound in BOUNDS if bound in entry}
            try:
                new = measured(values, decimals=entry["decimals"], kind=entry["range"], **bounds)
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
