"""Committed studies, as notebooks and the report read them; `running` makes them.

    study = tables.read("beta")
    mean, half_width = tables.mean_interval(study.values("test_loss_last", {"beta": 1.0}))

A study whose code digest is no longer today's calls itself stale, unless some of its cells were
repeated with today's code and gave the same numbers (`recheck`). Reading needs neither torch nor
dask.
"""

from __future__ import annotations

import csv
import json
import math
import statistics
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vae_helpers import COURSE
from vae_helpers.course import notebooks
from vae_helpers.parameters import ParameterError, shown, suggestion
from vae_helpers.store import code_digest

STUDIES = COURSE / "report" / "studies.toml"
PUBLISHED = COURSE / "report" / "results" / "studies"

Row = dict[str, Any]


class StudyError(ParameterError):
    """There is no such study, metric or value, or studies.toml does not say what is needed."""


@dataclass(frozen=True)
class Study:
    """A committed study. Made by `read`.

    Attributes:
        rows: one dictionary per cell, in the order of the grid: the arm if there are arms, the
            parameters, status, error and the metrics; None where there is nothing.
        provenance: how, when and where it was made.
        stale: whether the code has changed since it was made or rechecked.
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
                known = ", ".join(map(repr, there))
                raise StudyError(f"study {self.name}: no row with {name} = {value!r}; use {known}")
            rows = [row for row in rows if row[name] == wanted]
        found = [row[metric] for row in rows if row["status"] == "finished"]
        if any(isinstance(value, (str, tuple)) for value in found):
            raise StudyError(f"study {self.name}: expected numbers in {metric!r}, got {found[0]!r}")
        return [math.nan if value is None else float(value) for value in found]

    def failed(self) -> list[Row]:
        """The rows without metrics; their `error` says why."""
        return [row for row in self.rows if row["status"] != "finished"]

    def label(self) -> str:
        """One line that says what the study is, the same until it is made anew or becomes stale."""
        words = [f"{len(self.rows)} runs of {self.provenance['notebook']}"]
        if seeds := sorted({row["seed"] for row in self.rows if "seed" in row}):
            words += [f"seed{'s' if len(seeds) > 1 else ''} {in_words(seeds)}"]
        words += [f"{len(self.failed())} failed"]
        since = "; made by an earlier version of the code" if self.stale else ""
        if not self.stale and (again := self.provenance.get("rechecked")):
            since = f"; {len(again['cells'])} of them repeated since, with the same numbers"
        return f"study {self.name}: {', '.join(words)}{since}"


def read(name: str) -> Study:
    """A committed study from report/results/studies/.

    Raises:
        StudyError: it is not there; the message says which are, or how it is made. Or one of its
            files does not hold what a study leaves there; the message names the file.
        CodeDigestError, SourceChangedError: as in `code_digest.of_notebook`.
    """
    path = PUBLISHED / f"{name}.csv"
    if not path.exists():
        known = planned(STUDIES)
        if name in known:
            raise StudyError(f"study {name!r} was not run yet; `make studies` does")
        raise StudyError(f"unknown study {name!r}{suggestion(name, known)}")
    rows, about = _typed_rows(path), _provenance(path.with_suffix(".json"))
    held = {about["digest"], about.get("rechecked", {}).get("digest")}
    try:
        words = code_digest.words_among(notebooks.defaults(about["notebook"]))
    except ParameterError as error:
        expected = f"the name of a notebook, got {about['notebook']!r}"
        raise _altered(path.with_suffix(".json"), expected) from error
    words |= code_digest.words_among(*map(about.get, ("arms", "grid", "given")))
    return Study(name, rows, about, code_digest.of_notebook(about["notebook"], words) not in held)


def read_rows(path: Path) -> list[dict[str, str]]:
    """A study's table: each row by column, every entry as the text that stands there.

    Raises:
        StudyError: it is no table; the message names the file.
    """
    try:
        with path.open(encoding="utf-8", newline="") as file:
            head, *lines = list(csv.reader(file, strict=True)) or [[]]
    except (ValueError, csv.Error) as error:
        raise _altered(path, f"a table of a study, but: {error}") from error
    if not lines or any(len(line) != len(head) for line in lines):
        raise _altered(path, "a table with rows of one length")
    return [dict(zip(head, line, strict=True)) for line in lines]


def in_words(seeds: Sequence[int]) -> str:
    """Seeds in print, such as "1 to 10" or "1 and 3"; in order and each once."""
    if len(seeds) > 2 and list(seeds) == list(range(seeds[0], seeds[-1] + 1)):
        return f"{seeds[0]} to {seeds[-1]}"
    return (", " if len(seeds) > 2 else " and ").join(map(str, seeds))


def planned(path: Path) -> dict[str, Any]:
    """What studies.toml says, by the name of the study; the entries are not checked.

    Raises:
        StudyError: the file is not there or not in TOML.
    """
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (ValueError, OSError) as error:
        raise StudyError(f"{path}: expected a file in TOML, but: {error}") from error


def mean_interval(values: Sequence[float], confidence: float = 0.95) -> tuple[float, float]:
    """Mean over seeds and half the width of its confidence interval, by Student's t.

    `t * sd / sqrt(n)`, t the quantile with n - 1 degrees of freedom. It is about the mean; where
    one more seed would fall is much wider (`tolerances.prediction_interval`).

    Raises:
        ValueError: there are fewer than two values, or one is not finite.
    """
    from scipy.stats import t

    n = len(values)
    if n < 2 or not all(map(math.isfinite, values)):
        raise ValueError(f"expected at least 2 finite values, got {list(values)}")
    reach = float(t.ppf((1 + confidence) / 2, n - 1)) / math.sqrt(n)
    return statistics.fmean(values), reach * statistics.stdev(values)


def _typed_rows(path: Path) -> list[Row]:
    rows: list[Row] = [
        {column: text if column == "arm" else _value(text) for column, text in row.items()}
        for row in read_rows(path)
    ]
    if "status" not in rows[0]:
        raise _altered(path, "a table with a column 'status'")
    for row in rows:
        if type(row.get("seed", 0)) is not int:
            raise _altered(path, f"a whole number as seed, got {row['seed']!r}")
    return rows


def _provenance(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, OSError) as error:
        raise _altered(path, f"the provenance of a study, but: {error}") from error
    if not isinstance(found, dict):
        raise _altered(path, f"the provenance of a study, got {shown(found)}")
    for name in ("digest", "notebook"):
        if not isinstance(found.get(name), str):
            raise _altered(path, f"a {name}, got {shown(found.get(name))}")
    again = found.get("rechecked", {"cells": []})
    if not isinstance(again, dict) or not isinstance(again.get("cells"), list):
        raise _altered(path, f"rechecked cells, got {shown(again)}")
    return found


def _altered(path: Path, expected: str) -> StudyError:
    return StudyError(f"{path}: expected {expected}; get it back with `git checkout -- {path}`")


def _value(text: str) -> Any:
    """What an entry's text stands for: a number, a truth value, some numbers, a word or None."""
    if text in ("", "True", "False"):
        return text == "True" if text else None
    for kind in (int, float, _numbers):
        try:
            return kind(text)
        except ValueError:
            continue
    return text


def _numbers(text: str) -> tuple[int | float, ...]:
    found = json.loads(text)
    if not isinstance(found, list) or not all(type(number) in (int, float) for number in found):
        raise ValueError(f"expected numbers, got {text}")
    return tuple(found)
