"""Committed studies, as notebooks read them. `study_runs` makes them.

    study = studies.read("beta")
    mean, half_width = studies.mean_interval(study.values("test_loss_last", {"beta": 1.0}))

A study whose digest (`fingerprint.digest`) is no longer today's calls itself stale. Reading needs
neither torch nor dask.
"""

from __future__ import annotations

import csv
import json
import math
import statistics
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from vae_helpers import PROJECT
from vae_helpers.fingerprint import digest
from vae_helpers.parameters import ParameterError, suggestion

STUDIES = PROJECT / "report" / "studies.toml"
PUBLISHED = PROJECT / "report" / "results" / "studies"

Row = dict[str, Any]


class StudyError(ParameterError):
    """There is no such study, metric or value, or studies.toml does not say what is needed."""


@dataclass(frozen=True)
class Study:
    """A committed study. Made by `read`.

    Attributes:
        rows: one dictionary a cell, in the order of the grid: the arm if there are arms, the
            parameters, status, error and the metrics; None where there is nothing.
        provenance: how, when and where it was made.
        stale: whether the code has changed since.
    """

    name: str
    rows: list[Row]
    provenance: Mapping[str, Any]
    stale: bool

    def values(self, metric: str, where: Mapping[str, Any] | None = None) -> list[float]:
        """A metric in the finished rows, in their order; nan where it was not finite.

        Args:
            metric: a column, such as "test_loss_last", or "fcd[30]" of a series.
            where: only rows with these values in these columns, such as {"beta": 1.0} or
                {"arm": "plain"}.

        Raises:
            StudyError: there is no such column, or no row has that value; the message names it.
        """
        where = where or {}
        for name in (metric, *where):
            if name not in self.rows[0]:
                known = suggestion(name, self.rows[0])
                raise StudyError(f"study {self.name}: no column {name!r}{known}")
        rows = self.rows
        for name, value in where.items():
            wanted = tuple(value) if isinstance(value, list) else value
            there = list(dict.fromkeys(row[name] for row in rows))
            if wanted not in there:
                raise StudyError(
                    f"study {self.name}: no row with {name} = {value!r}; there are "
                    + ", ".join(map(repr, there))
                )
            rows = [row for row in rows if row[name] == wanted]
        found = [row[metric] for row in rows if row["status"] == "finished"]
        if any(isinstance(value, (str, tuple)) for value in found):
            raise StudyError(f"study {self.name}: expected numbers in {metric!r}, got {found[0]!r}")
        return [math.nan if value is None else float(value) for value in found]

    def failed(self) -> list[Row]:
        """The rows without metrics; their `error` says why."""
        return [row for row in self.rows if row["status"] != "finished"]

    def label(self) -> str:
        """One line that says what the study is, the same until it is made anew or gets stale."""
        seeds = sorted({row["seed"] for row in self.rows if "seed" in row})
        row = f"{seeds[0]} to {seeds[-1]}" if len(seeds) > 2 else " and ".join(map(str, seeds))
        if seeds and seeds != list(range(seeds[0], seeds[-1] + 1)):
            row = ", ".join(map(str, seeds))
        words = [f"{len(self.rows)} runs of {self.provenance['notebook']}"]
        words += [f"seed{'s' if len(seeds) > 1 else ''} {row}"] if seeds else []
        words += [f"{len(self.failed())} failed"]
        earlier = "; made by an earlier version of the code" if self.stale else ""
        return f"study {self.name}: {', '.join(words)}{earlier}"


def read(name: str) -> Study:
    """A committed study from report/results/studies/.

    Raises:
        StudyError: it is not there; the message says which are, or how it is made.
    """
    path = PUBLISHED / f"{name}.csv"
    if not path.exists():
        planned = tomllib.loads(STUDIES.read_text())
        if name in planned:
            raise StudyError(f"study {name!r} was not run yet; `make studies` does")
        raise StudyError(f"unknown study {name!r}{suggestion(name, planned)}")
    with path.open(newline="") as file:
        rows = [
            {column: text if column == "arm" else _value(text) for column, text in row.items()}
            for row in csv.DictReader(file)
        ]
    found = json.loads((PUBLISHED / f"{name}.json").read_text())
    return Study(name, rows, found, stale=found["digest"] != digest(found["notebook"]))


def mean_interval(values: Sequence[float], confidence: float = 0.95) -> tuple[float, float]:
    """Mean over seeds and half the width of its confidence interval, by Student's t.

    `t * sd / sqrt(n)`, t the quantile with n - 1 degrees of freedom. It is about the mean; where
    one more seed would fall is much wider (`bands.prediction_interval`).

    Raises:
        ValueError: there are fewer than two values, or one is not finite.
    """
    from scipy.stats import t

    n = len(values)
    if n < 2 or not all(map(math.isfinite, values)):
        raise ValueError(f"expected at least 2 finite values, got {list(values)}")
    reach = float(t.ppf((1 + confidence) / 2, n - 1)) / math.sqrt(n)
    return statistics.fmean(values), reach * statistics.stdev(values)


def _value(text: str) -> Any:
    """What a table's text stands for: a number, a truth value, some numbers, a word or None."""
    if text in ("", "True", "False"):
        return text == "True" if text else None
    if text.startswith("["):
        return tuple(json.loads(text))
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text
