"""Tolerances from studies: a notebook over seeds, its table, and the intervals that follow from it.

    report/results/tolerances/<profile>/<notebook>.csv      a row per seed
    report/results/tolerances/<profile>/<notebook>.json     how, when and where it was made

The runs are those of any study, with one thread each: a process with more threads takes a whole run
of one thread, so these intervals serve any number of threads. The intervals can be computed again
from the committed tables alone.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from vae_helpers import COURSE
from vae_helpers.course import notebooks, tolerances
from vae_helpers.parameters import ParameterError, shown
from vae_helpers.store import machine
from vae_helpers.store.files import write_whole
from vae_helpers.studies import planning, running, tables
from vae_helpers.studies.planning import Plan
from vae_helpers.studies.tables import StudyError

TABLES = COURSE / "report" / "results" / "tolerances"
SEEDS = tuple(range(1, 11))
"""Not that of the published runs: so their numbers are predictions that can fail."""


def plan(
    asked: Sequence[str] = (), *, profile: str = "full", seeds: Sequence[int] = SEEDS
) -> list[Plan]:
    """One study per notebook that has tolerances, with a cell per seed.

    A notebook without tolerances or without a seed is skipped, and a line says why.

    Args:
        asked: names of notebooks or beginnings of names; all that have tolerances if empty.
        profile: "full" or "smoke".
        seeds: at least five, each once.

    Raises:
        ParameterError: one of these is not what was said above, or nothing is left to run.
        ToleranceError: tolerances.toml does not say what is needed.
        CodeDigestError, SourceChangedError: as in `code_digest.of_notebook`.
    """
    least = tolerances.LEAST_SEEDS
    if len(set(seeds)) < max(len(seeds), least):
        raise ParameterError(f"seeds: expected at least {least}, each once, got {shown([*seeds])}")
    plans = []
    for notebook, names in _numbers(asked, profile).items():
        if not names:
            print(f"{notebook}: skipped, because it has no tolerances")
        elif "seed" not in notebooks.defaults(notebook):
            print(f"{notebook}: skipped, because it has no parameter 'seed'")
        else:
            name = f"tolerances/{profile}/{notebook}"
            grid = {"seed": list(seeds)}
            plans.append(planning.plan(notebook, grid, profile=profile, name=name))
    if not plans:
        raise ParameterError("expected a notebook with tolerances and with a seed, got none")
    return plans


def run(plans: Iterable[Plan], *, scheduler: str | None = None, workers: int | None = None) -> int:
    """Execute the cells that are not finished, and commit the table of each study without failures.

    Args:
        plans: from `plan`.
        scheduler: address of a dask scheduler; a local cluster if None.
        workers: processes of the local cluster; as many as cores if None.

    Returns:
        How many cells failed; the table of their study stays what it was.

    Raises:
        ParameterError, SchedulerLostError: as in `running.run`.
    """
    if scheduler is None:
        workers = machine.cores() if workers is None else workers
        if workers < 1:
            raise ParameterError(f"workers: expected at least 1, got {workers}")
        # by itself `running.run` shares all cores out among its workers; at an address one has one
        with running._client(None, workers) as client:
            return run(plans, scheduler=client.scheduler_info()["address"])
    failed = 0
    for it in plans:
        failures = running.run(it, scheduler=scheduler, workers=workers)
        if not failures:
            publish(it)
        failed += failures
    return failed


def publish(plan: Plan) -> None:
    """Copy a study's table and provenance to report/results/tolerances/."""
    for made, kind in (("table.csv", "csv"), ("provenance.json", "json")):
        target = TABLES / plan.profile / f"{plan.notebook}.{kind}"
        write_whole(target, (plan.folder / made).read_bytes())


def compute(asked: Sequence[str] = (), *, profile: str = "full") -> list[str]:
    """Write the intervals that follow from the committed tables into tolerances.toml.

    Args:
        asked: names of notebooks or beginnings of names; all that have a table if empty.
        profile: "full" or "smoke".

    Returns:
        What is wrong, in sentences: a notebook that was asked for has no table, an entry has no
        column, and what `tolerances.write` says. Such numbers keep the interval they had.

    Raises:
        StudyError: a table does not hold what a study leaves there; the message names the file.
        ToleranceError: tolerances.toml does not say what is needed.
    """
    found, problems = {}, []
    for notebook, names in _numbers(asked, profile).items():
        path = TABLES / profile / f"{notebook}.csv"
        if path.exists():
            found[notebook] = columns(path, names)
            missing = [name for name in names if name not in found[notebook]]
            problems += [f"{notebook}.{name}: no column in {path.name}" for name in missing]
        elif asked:
            problems.append(f"{notebook}: no table of the profile {profile}; `make tolerances`")
    return problems + tolerances.write(found, profile, path=tolerances.TOLERANCES)


def columns(path: Path, names: Iterable[str]) -> dict[str, list[float]]:
    """Those of the numbers that a table has, each with its values over the seeds; nan for none.

    Raises:
        StudyError: it is no table of numbers, a cell failed, or a seed is there twice.
    """
    rows = tables.read_rows(path)
    if wanting := {"seed", "status"} - rows[0].keys():
        raise StudyError(f"{path}: expected a column {min(wanting)!r}, got none")
    if any(row["status"] != "finished" for row in rows):
        raise StudyError(f"{path}: expected finished cells only, got failed ones")
    if len({row["seed"] for row in rows}) < len(rows):
        raise StudyError(f"{path}: expected each seed once, got one twice")
    try:
        return {
            name: [float(row[name]) if row[name] else math.nan for row in rows]
            for name in names
            if name in rows[0]
        }
    except ValueError as error:
        raise StudyError(f"{path}: expected numbers, but: {error}") from error


def _numbers(asked: Sequence[str], profile: str) -> Mapping[str, list[str]]:
    """The numbers with an entry of the notebooks that are asked for, or of all that have some."""
    known = tolerances.known(path=tolerances.TOLERANCES)
    chosen = {notebooks.find(name): None for name in asked} or dict.fromkeys(known)
    return {it: list(tolerances.read(it, profile, path=tolerances.TOLERANCES)) for it in chosen}
