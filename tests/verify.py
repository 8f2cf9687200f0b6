"""Hold committed outputs against a new execution: a thin wrapper around nbval.

    python tests/verify.py            the notebooks
    python tests/verify.py 04 06      only these
    python tests/verify.py --smoke    the course in miniature, against tests/smoke

nbval executes a notebook in a kernel of its own and compares every output, numbers behind a `~`
and the space around them aside. It also passes a notebook that has no outputs to compare, and cells
that ask to be skipped, so what is compared is looked at before and counted afterwards. The exit
status is pytest's; 2 if a notebook was refused.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from xml.etree import ElementTree

import nbformat
import notebook_rules

from vae_helpers import PROJECT
from vae_helpers.course import execution, sockets
from vae_helpers.course.notebooks import NOTEBOOKS
from vae_helpers.parameters import ParameterError

NBVAL = (
    *("--nbval", "--nbval-current-env", "--nbval-cell-timeout", "1800"),
    *("--nbval-sanitize-with", str(NOTEBOOKS / "sanitize.cfg")),
    *("-c", str(PROJECT / "pyproject.toml"), "--rootdir", str(PROJECT), "--noconftest", "-q"),
)


def verify(paths: Sequence[Path], *, workers: int = 0) -> int:
    """Execute notebooks and compare; `workers` of them side by side, with one thread each."""
    cells = 0
    for path in paths:
        notebook = nbformat.read(path, as_version=4)
        cells += len(notebook_rules.code_cells(notebook))
        if problems := notebook_rules.not_executed_in_order(notebook):
            print(f"refused, nothing was run: {path.name}: {problems[0]}", file=sys.stderr)
            return 2
    side_by_side = ("-n", str(workers), "--dist", "loadfile")
    threads = {"OMP_NUM_THREADS": "1"} if workers > 1 else {}
    environment = {**os.environ, **sockets.environment(), **threads}
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.xml"
        command = [sys.executable, "-m", "pytest", *NBVAL, *side_by_side, f"--junit-xml={report}"]
        status = subprocess.run([*command, *map(str, paths)], env=environment).returncode
        if status == 0 and (compared := _passed(report)) != cells:
            print(f"{cells} code cells, but only {compared} were executed", file=sys.stderr)
            return 1
    return status


def _passed(report: Path) -> int:
    """How many cells the report calls executed and equal; a skipped one has an entry inside."""
    return sum(len(case) == 0 for case in ElementTree.parse(report).iter("testcase"))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n", maxsplit=1)[0])
    parser.add_argument(
        "notebooks", nargs="*", metavar="NOTEBOOK", help='such as "04"; all if none'
    )
    parser.add_argument("--smoke", action="store_true", help="tests/smoke, two side by side")
    options = parser.parse_args()
    folder, workers = (execution.REFERENCES, 2) if options.smoke else (NOTEBOOKS, 0)
    try:
        chosen = [planned.notebook for planned in execution.plan(options.notebooks)]
    except ParameterError as error:
        parser.error(str(error))
    return verify([folder / f"{name}.ipynb" for name in chosen], workers=workers)


if __name__ == "__main__":
    sys.exit(main())
