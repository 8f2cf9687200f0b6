"""Published numbers beside ours: what report/published.toml says, and what our studies found.

An entry of published.toml may have a table `ours`: the study, the column and the rows of it that
derive the number again, and in `differs` what of the conditions is not the same.
"""

from __future__ import annotations

import json
import math
import shlex
import statistics
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vae_helpers import COURSE
from vae_helpers.course import notebooks
from vae_helpers.studies import tables
from vae_helpers.studies.tables import Study

PUBLISHED = COURSE / "report" / "published.toml"
TEST_IMAGES = 10_000
"""By which others judge, where our bounds take the first few of them."""

SINGLE = "likelihood", "minus_bound_dynamic_5000"
"""Study and column whose spread over seeds stands in for that of a network trained once."""


@dataclass(frozen=True)
class Row:
    """One published number and ours.

    Attributes:
        name: the source in short, and what was measured.
        theirs: the number as it was published.
        ours: the mean over our trainings and the half-width of its interval.
        difference: ours minus theirs, and the half-width of the interval by chance alone.
        runs: how many trainings ours are.
        differs: which of the conditions are not the same, in words; empty if all are.
        command: papermill's, that trains and measures the first of our runs.
        studies: that hold our trainings, and the spread over seeds if that is another's.
    """

    name: str
    theirs: float
    ours: tuple[float, float]
    difference: tuple[float, float]
    runs: int
    differs: str
    command: str
    studies: tuple[Study, ...]

    @property
    def verdict(self) -> str:
        """ "agrees" if chance alone may make the difference, else "higher" or "lower" (ours)."""
        mean, half = self.difference
        return "agrees" if abs(mean) <= half else "higher" if mean > 0 else "lower"


def entries(path: Path = PUBLISHED) -> dict[str, dict[str, Any]]:
    """What published.toml says, by the id of the number, in the order of the file."""
    return {it["id"]: it for it in tomllib.loads(path.read_text(encoding="utf-8"))["entry"]}


def rows(confidence: float = 0.95, *, path: Path = PUBLISHED) -> dict[str, Row]:
    """Every published number that a study derives again, by its id.

    Args:
        confidence: of the intervals.
        path: of published.toml.

    Raises:
        StudyError: an entry names a study, a column or a row that is not there.
    """
    derived = {name: it for name, it in entries(path).items() if "ours" in it}
    names = {SINGLE[0], *(it["ours"]["study"] for it in derived.values())}
    studies = {name: tables.read(name) for name in names}
    return {name: row(it, studies, confidence) for name, it in derived.items()}


def row(entry: Mapping[str, Any], studies: Mapping[str, Study], confidence: float) -> Row:
    """One entry of published.toml with its `ours`, from these studies; see `rows`."""
    own = entry["ours"]
    study, metric, where = studies[own["study"]], own["metric"], own.get("where", {})
    values = study.values(metric, where)
    single = studies[SINGLE[0]]
    enough = len(values) > 2
    seeds = values if enough else single.values(SINGLE[1])
    chance = {
        "confidence": confidence,
        "sd": statistics.stdev(seeds),
        "degrees": len(seeds) - 1,
        "error": _error(study, metric, where),
    }
    mean = statistics.fmean(values)
    first = next(it for it in study.rows if all(it[name] == v for name, v in where.items()))
    return Row(
        name=own["name"],
        theirs=entry["value"],
        ours=(mean, half_width(len(values), **chance)),
        difference=(
            mean - entry["value"],
            half_width(len(values), **chance, theirs=entry.get("error", 0.0)),
        ),
        runs=len(values),
        differs=own.get("differs", ""),
        command=command(study, first),
        studies=(study,) if enough else (study, single),
    )


def half_width(
    n: int,
    *,
    confidence: float,
    sd: float,
    degrees: float,
    error: float,
    theirs: float | None = None,
) -> float:
    """Half the width of the interval of a mean over n trainings, or of its distance to one more.

    Args:
        n: trainings of ours.
        confidence: of the interval.
        sd: standard deviation between trainings.
        degrees: of freedom of `sd`, for Student's t; the other errors are taken as known.
        error: standard error that all our trainings share, from which images were judged.
        theirs: if given, the interval is that of our mean minus the number of one foreign training,
            which varies as ours do, with this error of its own.
    """
    from scipy.stats import norm, t

    trainings, other = sd**2 / n, error**2
    if theirs is not None:
        trainings, other = trainings + sd**2, other + theirs**2
    level = (1 + confidence) / 2
    return math.hypot(
        float(t.ppf(level, degrees)) * math.sqrt(trainings),
        float(norm.ppf(level)) * math.sqrt(other),
    )


def command(study: Study, row: Mapping[str, Any]) -> str:
    """The command that repeats a row of a study, with those parameters that are not the default."""
    notebook = study.provenance["notebook"]
    words = ["python", "-m", "vae_helpers", "run", notebook[:2]]
    for name, default in notebooks.defaults(notebook).items():
        if name in row and _word(row[name]) != _word(default):
            words += ["-p", name, _word(row[name])]
    return shlex.join(words)


def _error(study: Study, metric: str, where: Mapping[str, Any]) -> float:
    """Standard error of a bound on the first few test images, as an estimate for all of them."""
    name, bracket, epoch = metric.partition("[")
    column = f"{name}_spread{bracket}{epoch}"
    if column not in study.rows[0]:
        return 0.0  # a loss of all test images
    images = study.values("likelihood_images", where)[0]
    return statistics.fmean(study.values(column, where)) * math.sqrt(1 - images / TEST_IMAGES)


def _word(value: Any) -> str:
    """As the command line takes it: a list with commas."""
    if isinstance(value, str) and value.startswith("["):  # of words, as a table has it
        value = json.loads(value)
    return ",".join(map(str, value)) if isinstance(value, (list, tuple)) else str(value)
