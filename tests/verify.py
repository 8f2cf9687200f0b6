"""Hold committed outputs against a new execution: a thin wrapper around nbval.

    python tests/verify.py            the notebooks
    python tests/verify.py 04 06      only these
    python tests/verify.py --smoke    the course in miniature, against tests/smoke
    python tests/verify.py --executed what `make run` has executed; nothing is executed again

nbval executes a notebook in a kernel of its own and compares every output, numbers behind a `~`
and the space around them aside. It also passes a notebook that has no outputs to compare, and cells
that ask to be skipped, so what is compared is looked at before and counted afterwards. The exit
status is pytest's; 2 if a notebook was refused. With --executed the outputs come from build/full,
or from another folder, by `replay.py`; an execution of other cells or of earlier code is refused.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from datetime import datetime
from itertools import zip_longest
from pathlib import Path
from xml.etree import ElementTree

import nbformat
import notebook_rules

from vae_helpers import COURSE, PROJECT
from vae_helpers.course import execution, sockets, tolerances
from vae_helpers.course.notebooks import BUILD, NOTEBOOKS
from vae_helpers.parameters import ParameterError

TESTS = PROJECT / "tests"
EXECUTED = BUILD / "full" / "notebooks"
CODE = (*(PROJECT / "vae_helpers").rglob("*.py"), tolerances.TOLERANCES)
"""What an output depends on besides its notebook."""
MAKE_RUN = "`make run` executes it"
NBVAL = (
    *("--nbval-current-env", "--nbval-cell-timeout", "1800"),
    *("--nbval-sanitize-with", str(PROJECT / "notebooks" / "sanitize.cfg")),
    *("-c", str(PROJECT / "pyproject.toml"), "--rootdir", str(COURSE), "--noconftest", "-q"),
)


def verify(paths: Sequence[Path], *, workers: int = 0, executed: Path | None = None) -> int:
    """Execute notebooks and compare; several side by side have one thread each, as in `make run`.

    With `executed`, a folder, nothing is executed: the notebooks of the same names in it are
    compared.
    """
    cells = 0
    for path in paths:
        notebook = nbformat.read(path, as_version=4)
        cells += len(notebook_rules.code_cells(notebook))
        problems = notebook_rules.not_executed_in_order(notebook)
        if not problems and executed:
            problems = useless(executed / path.name, notebook)
        if problems:
            print(f"refused, nothing was run: {path.name}: {problems[0]}", file=sys.stderr)
            return 2
    threads = {"OMP_NUM_THREADS": "1"} if workers > 1 else {}
    environment = {**os.environ, **sockets.environment(), **threads}
    how = ["--nbval", "-n", str(workers if workers > 1 else 0), "--dist", "loadfile"]
    if executed:
        how = ["-p", "nbval.plugin", "-p", "replay", "--executed", str(executed)]
        environment |= {"PYTHONPATH": str(TESTS), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.xml"
        command = [sys.executable, "-m", "pytest", *how, *NBVAL, f"--junit-xml={report}"]
        status = subprocess.run([*command, *map(str, paths)], env=environment).returncode
        if status == 0 and (compared := _passed(report)) != cells:
            print(f"{cells} code cells, but only {compared} were executed", file=sys.stderr)
            return 1
    return status


def useless(path: Path, committed: notebook_rules.Notebook) -> list[str]:
    """Why an executed notebook cannot be compared with the committed one."""
    if not path.is_file():
        return [f"expected it executed at {path}, found nothing; {MAKE_RUN}"]
    notebook = nbformat.read(path, as_version=4)
    execution = notebook.metadata.get("papermill", {})
    unfinished = notebook_rules.not_executed_in_order(notebook) + notebook_rules.errors(notebook)
    if unfinished or not execution.get("end_time"):
        why = (unfinished or ["papermill has noted no end"])[0]
        return [f"expected {path} executed to its end: {why}; {MAKE_RUN}"]
    for came, wanted in zip_longest(_lines(notebook), _lines(committed), fillvalue="none"):
        if came != wanted:
            return [f"expected {path} to have the line {wanted}, got {came}; {MAKE_RUN}"]
    began = datetime.fromisoformat(execution["start_time"]).timestamp()
    newer = [source for source in CODE if source.stat().st_mtime > began]
    if newer:
        return [
            f"expected {path} executed by the code that is there, but {newer[0]} is newer; "
            f"{MAKE_RUN}"
        ]
    return []


def _lines(notebook: notebook_rules.Notebook) -> list[str]:
    """The lines of the code, each with the number of its cell."""
    cells = enumerate(notebook_rules.code_cells(notebook), start=1)
    return [f"{line!r} in code cell {n}" for n, cell in cells for line in cell.source.splitlines()]


def _passed(report: Path) -> int:
    """How many cells the report calls executed and equal; a skipped one has an entry inside."""
    return sum(len(case) == 0 for case in ElementTree.parse(report).iter("testcase"))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n", maxsplit=1)[0])
    parser.add_argument(
        "notebooks", nargs="*", metavar="NOTEBOOK", help='such as "05"; all if none'
    )
    parser.add_argument("--smoke", action="store_true", help="tests/smoke")
    parser.add_argument(
        "--executed",
        nargs="?",
        type=Path,
        const=EXECUTED,
        metavar="FOLDER",
        help="compare with the notebooks in it, build/full/notebooks if none is named",
    )
    options = parser.parse_args()
    if options.executed and options.smoke:
        parser.error("--executed: expected the committed notebooks, got --smoke")
    folder = execution.REFERENCES if options.smoke else NOTEBOOKS
    try:
        chosen = [planned.notebook for planned in execution.plan(options.notebooks)]
    except ParameterError as error:
        parser.error(str(error))
    workers = execution.side_by_side(len(chosen), 1)
    paths = [folder / f"{name}.ipynb" for name in chosen]
    return verify(paths, workers=workers, executed=options.executed)


if __name__ == "__main__":
    sys.exit(main())
