"""Where a published number comes from, and why it has its value.

    python -m vae_helpers where 99.4                           what prints so, and its origin
    python -m vae_helpers where 05_training.train_loss_last    the origin of one number
    python -m vae_helpers why 05_training.train_loss_last      what other seeds gave

Nothing of this is stored a second time. The cell that recorded a number is the one whose committed
output begins a line with its name; seeds, date and the code's digest stand in the results.
"""

from __future__ import annotations

import json
import re
import statistics
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from vae_helpers import COURSE
from vae_helpers.course import notebooks, tolerances
from vae_helpers.parameters import shown, suggestion
from vae_helpers.store import code_digest
from vae_helpers.studies import keys, tables
from vae_helpers.studies.keys import RESULTS, KeyUnknownError

MEASURED_BY = {
    "bench": "python -m vae_helpers bench --write",
    "bench_avx2": "python -m vae_helpers bench --narrow --write",
    "cluster": "python -m vae_helpers bench cluster --write",
    "economy": "python tests/economy.py --write",
    "faults": "python tests/faults.py --write",
    "gallery": "python report/gallery.py",
    "mutants": "python tests/mutants.py --write",
    "newcomer": "python tests/newcomer.py --write",
    "scaling": "python -m vae_helpers bench scaling --write",
    "thread_effects": "python -m vae_helpers bench thread-effects --write",
}
"""What measures again what depends on the machine, by the name in report/results/measured/."""
LABEL = re.compile(r"^study (\w+): ", re.MULTILINE)
SHOWN = 20
"""So many entries that hold such a number are listed."""


class Place(NamedTuple):
    """A cell of a notebook: its id, and the number that Jupyter shows beside it."""

    cell: str
    number: int


@dataclass(frozen=True)
class Origin:
    """Where a number or a figure comes from.

    Attributes:
        key: of the entry in the results, such as "05_training.train_loss_last"; of a figure
            "05_training/samples".
        notebook: that records it; "" if a command measures it.
        place: the cell; None if no output of the notebook names the entry.
        command: that makes it again.
        seeds: such as "0" or "1 to 10"; "" if none is noted.
        studies: whose tables the notebook has read by the end of that cell.
        code: the digest of the code that it is of; "" if none is noted.
        date: in ISO 8601; "" if none is noted.
        stale: whether the code has changed since; None if nothing tells.
    """

    key: str
    notebook: str
    place: Place | None
    command: str
    seeds: str
    studies: tuple[str, ...]
    code: str
    date: str
    stale: bool | None

    def words(self) -> dict[str, str]:
        """What a reader is told, in order; the key and the cell come first."""
        cell = f"[{self.place.number}] of notebook {self.notebook}" if self.place else ""
        state = {True: "stale: changed since", False: "today's", None: "nothing noted"}[self.stale]
        studies = [f"{it} (seeds {_seeds(_study(it))})" for it in self.studies]
        return {
            "key": self.key,
            "cell": cell or self.notebook or "none: it depends on the machine",
            "made again by": self.command,
            "seeds": self.seeds or "none noted",
            **({"studies read": ", ".join(studies)} if studies else {}),
            "code": f"{self.code}, {state}" if self.code else state,
            "date": self.date or "none noted",
        }


def of(key: str, results: Path = RESULTS) -> Origin:
    """The origin of a number or of a figure.

    Args:
        key: of a number, of an entry, or "<notebook>/<figure>".
        results: the folder with <notebook>.json. Studies and what a machine has measured are those
            that are committed.

    Raises:
        KeyUnknownError: the results do not hold it.
    """
    notebook, _, figure = key.partition("/")
    if figure and notebook not in ("studies", "measured"):
        drawn = _results(notebook, results)["figures"]
        if figure not in drawn:
            raise KeyUnknownError(f"{notebook} has no figure {figure!r}{suggestion(figure, drawn)}")
        return _of_notebook(notebook, f"<{figure}>", key, results)
    committed = notebook in ("studies", "measured")
    source, name, _ = keys.split(key, RESULTS if committed else results)
    folder, _, own = source.rpartition("/")
    if folder == "studies":
        return _of_study(own, name, f"{source}.{name}")
    if folder == "measured":
        return _measured(own, f"{source}.{name}")
    return _of_notebook(source, name, f"{source}.{name}", results)


def by_source(results: Path = RESULTS) -> dict[str, dict[str, Any]]:
    """The origins of all entries and figures, by their source, as the paper prints them.

    Returns:
        By source: its command, in "said" what else it says of itself, and in "cells" the number of
        the cell for each key, such as "[12]"; a key without a cell is missing there.
    """
    found: dict[str, dict[str, Any]] = {}
    executed = [source for source in keys.sources(results) if "/" not in source]
    for source in executed + [source for source in keys.sources() if "/" in source]:
        folder = results if source in executed else RESULTS
        names = [f"{source}.{name}" for name in keys.entries(source, folder)]
        if source in executed:
            names += [f"{source}/{name}" for name in _results(source, results)["figures"]]
        all_of_them = [of(name, results) for name in names]
        words = all_of_them[0].words()
        found[source] = {
            "command": words["made again by"],
            "said": f"seeds {words['seeds']}; code {words['code']}; {words['date']}",
            "cells": {it.key: f"[{it.place.number}]" for it in all_of_them if it.place},
        }
    return found


def _of_notebook(notebook: str, name: str, key: str, results: Path) -> Origin:
    about = _results(notebook, results)
    place = _place(notebook, name)
    words = code_digest.words_among(about["parameters"])
    return Origin(
        key,
        notebook,
        place,
        f"python -m vae_helpers run {notebook}",
        str(about["parameters"].get("seed", "")),
        _studies_read(notebook, place),
        about.get("code", ""),
        about["machine"]["date"],
        _digest(notebook, words) != about["code"] if "code" in about else None,
    )


def _of_study(study: str, column: str, key: str) -> Origin:
    found = _study(study)
    about = found.provenance
    return Origin(
        key,
        about["notebook"],
        _place(about["notebook"], column.partition("[")[0]),
        f"python -m vae_helpers studies {study}",
        _seeds(found),
        (),
        about["digest"],
        about["date"],
        found.stale,
    )


def _measured(name: str, key: str) -> Origin:
    values = keys.entries(f"measured/{name}")
    seed, date = (str(values.get(it, "")) for it in ("seed", "date"))
    return Origin(key, "", None, MEASURED_BY[name], seed, (), "", date, None)


def _results(notebook: str, results: Path) -> Mapping[str, Any]:
    path = results / f"{notebook}.json"
    if not path.is_file():
        known = [source for source in keys.sources(results) if "/" not in source]
        raise KeyUnknownError(f"there are no results of {notebook!r}{suggestion(notebook, known)}")
    return _read(path)


@cache
def _read(path: Path) -> Mapping[str, Any]:
    content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return content


@cache
def _digest(notebook: str, words: frozenset[str]) -> str:
    return code_digest.of_notebook(notebook, words)


@cache
def _study(name: str) -> tables.Study:
    return tables.read(name)


def _seeds(study: tables.Study) -> str:
    return tables.in_words(study.provenance["seeds"])


def _code_cells(notebook: str) -> list[Mapping[str, Any]]:
    read = _read(notebooks.NOTEBOOKS / f"{notebook}.ipynb")
    return [cell for cell in read["cells"] if cell["cell_type"] == "code"]


@cache
def _place(notebook: str, name: str) -> Place | None:
    """The cell of whose output a line begins with the name of what it has recorded.

    A figure is displayed as `<its name>` where pictures cannot be shown.
    """
    begins = (f"{name:<28} ", f"{name}  ")  # of a number, of a table
    for cell in _code_cells(notebook):
        for output in cell["outputs"]:
            lines = "".join(output.get("text", ())).splitlines()
            shown = "".join(output.get("data", {}).get("text/plain", ""))
            if shown == name or any(line.startswith(begins) for line in lines):
                return Place(cell["id"], cell["execution_count"])
    return None


@cache
def _studies_read(notebook: str, place: Place | None) -> tuple[str, ...]:
    """The studies whose label the cells have printed up to a place, or all of them."""
    cells = _code_cells(notebook)
    if place:
        cells = [cell for cell in cells if cell["execution_count"] <= place.number]
    printed = "".join(
        text for cell in cells for output in cell["outputs"] for text in output.get("text", ())
    )
    return tuple(sorted(set(LABEL.findall(printed))))


# --- what the commands print


def where(word: str) -> Iterator[str]:
    """The origins of all numbers that print as a word does, or of what it names.

    Args:
        word: a number such as "99.4", or a key.

    Raises:
        KeyUnknownError: the word is neither a number that is published nor a key.
    """
    if not re.fullmatch(r"[-\u2212\d.,]+", word):
        for key in keys.operands(word):
            yield from _paragraph(key, of(key))
        return
    heads: dict[str, list[str]] = {}
    for number in keys.printed_as(word):
        heads.setdefault(number.entry, []).append(f"{number.key} = {number.value:.6g}")
    for key, head in _over_seeds(word):
        heads.setdefault(key, []).append(head)
    if not heads:
        raise KeyUnknownError(f"no published number prints as {word}; with fewer decimals one may")
    texts = _texts()
    order = sorted(heads, key=lambda key: (key not in texts, "/" in key))  # what readers meet first
    for key in order[:SHOWN]:
        yield from _paragraph("\n".join(heads[key]), of(key), shown_in=texts.get(key, ()))
    if len(order) > SHOWN:
        yield f"and {len(order) - SHOWN} more; more decimals tell them apart"


def _over_seeds(word: str) -> Iterator[tuple[str, str]]:
    """The means and standard deviations of tolerances.toml that print as a word does."""
    decimals = len(word.partition(".")[2])
    for notebook, entries in tomllib.loads(tolerances.TOLERANCES.read_text("utf-8")).items():
        for name, entry in entries.items():
            for part in ("mean", "sd"):
                value = entry.get("full", {}).get(part)
                if value is not None and f"{value:,.{decimals}f}" == word:
                    key = f"{notebook}.{name}"
                    yield key, f"{key}, {part} of {entry['full']['n']} seeds = {value:.6g}"


def _texts() -> dict[str, list[str]]:
    """In which texts each entry stands, as pages and notebooks have it in their places."""
    found: dict[str, list[str]] = {}
    pages = [COURSE / name for name in keys.TEXTS if (COURSE / name).is_file()]
    for path in [*pages, *sorted(notebooks.NOTEBOOKS.glob("*.ipynb"))]:
        for match in keys.PLACE.finditer(path.read_text(encoding="utf-8")):
            for operand in keys.operands(match["name"]):
                key = ".".join(keys.split(operand)[:2])
                if path.name not in found.setdefault(key, []):
                    found[key].append(path.name)
    return found


def _paragraph(head: str, origin: Origin, *, shown_in: Sequence[str] = ()) -> Iterator[str]:
    yield head
    if shown_in:
        yield f"    {'shown in':<14} {', '.join(shown_in)}"
    for name, text in origin.words().items():
        if name != "key":
            yield f"    {name:<14} {text}"


def why(key: str) -> Iterator[str]:
    """What is known of how much a number may vary: mean, interval and seeds.

    Raises:
        KeyUnknownError: there is no such key.
    """
    for one in keys.operands(key):
        source, name, _ = keys.split(one)
        folder, _, own = source.rpartition("/")
        yield one
        if folder == "studies":
            yield from _runs_of(tables.read(own), name)
        elif folder == "measured":
            yield "    measured on one machine; no seed enters"
        else:
            yield from _evidence(source, name)


def _evidence(notebook: str, name: str) -> Iterator[str]:
    entry = _results(notebook, RESULTS)["values"][name]
    seed = _results(notebook, RESULTS)["parameters"].get("seed")
    unit = f" {entry['unit']}" if entry.get("unit") else ""
    if entry["kind"] == "exact":
        yield f"    exact: {shown(entry['value'])}{unit}, compared at every execution"
    elif entry["kind"] == "table":
        yield "    a table of means and half-widths, from studies that were read:"
        for study in of(f"{notebook}.{name}").studies:
            yield f"    python -m vae_helpers why studies/{study}.<column>"
    elif entry["kind"] == "measured":
        yield f"    {entry['value']:.6g}{unit}, on one machine; no seed enters"
    elif entry["kind"] == "tolerance":
        yield f"    {entry['value']:.6g}{unit} with seed {seed}"
        yield from _tolerance(notebook, name)
    else:
        yield f"    of seed {seed} alone: it has no tolerance of its own"


def _tolerance(notebook: str, name: str) -> Iterator[str]:
    about = tomllib.loads(tolerances.TOLERANCES.read_text(encoding="utf-8"))[notebook][name]
    full = about["full"]
    yield (
        f"    must lie within {full['low']} to {full['high']}, where one more seed would fall "
        f"({100 * tolerances.CONFIDENCE:g} %)"
    )
    yield f"    excludes {about['excludes']}"
    table = RESULTS / "tolerances" / "full" / f"{notebook}.csv"
    rows = tables.read_rows(table) if table.is_file() else []
    if rows and name in rows[0]:
        yield from _interval([(row["seed"], float(row[name])) for row in rows if row[name]])
    else:
        yield f"    mean {full['mean']}, standard deviation {full['sd']}, {full['n']} seeds"


def _runs_of(study: tables.Study, column: str) -> Iterator[str]:
    rows = [row for row in study.rows if row["status"] == "finished" and row[column] is not None]
    varied = [name for name in ("arm", *study.provenance["grid"]) if name in rows[0]]
    groups: dict[str, list[tuple[Any, float]]] = {}
    for row in rows:
        setting = ", ".join(
            str(row[name]) if name == "arm" else f"{name} = {row[name]}"
            for name in varied
            if name != "seed"
        )
        groups.setdefault(setting or "all runs", []).append((row.get("seed", ""), row[column]))
    for setting, runs in groups.items():
        yield f"    {setting}"
        yield from (f"    {line}" for line in _interval(runs))


def _interval(runs: Sequence[tuple[Any, float]]) -> Iterator[str]:
    values = [value for _, value in runs]
    if len(values) > 1:
        mean, half = tables.mean_interval(values)
        yield (
            f"    mean {mean:.5g} ± {half:.2g} (95 % interval of the mean), standard deviation "
            f"{statistics.stdev(values):.2g}, {len(values)} runs"
        )
    yield "    " + "  ".join(f"seed {seed}: {value:.5g}" for seed, value in runs)
