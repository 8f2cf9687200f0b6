"""The command line: `python -m vae_helpers run | refresh | bands | study | studies | ruler`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

from vae_helpers import course, study_runs
from vae_helpers.claims import BUILD
from vae_helpers.files import DamagedFileError, FileNotWrittenError
from vae_helpers.parameters import ParameterError


def main(arguments: Sequence[str] | None = None) -> int:
    """Do what the arguments say.

    Returns:
        0 if it worked, 1 if a notebook failed, 2 if it was refused, 130 if it was interrupted.
    """
    options = _parser().parse_args(arguments)
    try:
        if options.command == "run":
            given = _given(options.parameter)
            course.run(course.plan(options.notebooks, given, profile=options.profile))
        elif options.command == "refresh":
            course.refresh([options.profile] if options.profile else course.PROFILES)
        elif options.command == "study":
            plan = study_runs.plan(
                options.notebook,
                _grid(options.grid),
                _given(options.parameter),
                profile=options.profile,
                folder=options.output,
            )
            return int(_run_studies([plan], options) > 0)
        elif options.command == "studies":
            return int(_run_studies(study_runs.committed(options.names), options, publish=True) > 0)
        elif options.command == "ruler":
            return _train_ruler()
        else:
            problems = course.measure_bands(
                options.notebooks,
                profile=options.profile,
                seeds=options.seeds,
                threads=options.threads,
            )
            print("\n".join(problems), file=sys.stderr)
            return 1 if problems else 0
    except ParameterError as error:
        print(f"refused, nothing was run: {error}", file=sys.stderr)
        return 2
    except (
        course.NotebookFailedError,
        study_runs.SchedulerLostError,
        DamagedFileError,
        FileNotWrittenError,
    ) as error:
        print(f"\n{error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\ninterrupted; the same command goes on with what is left", file=sys.stderr)
        return 130
    return 0


def _train_ruler() -> int:
    """Train the digit classifier again, into build/; 1 if its bytes are not the committed ones."""
    from vae_helpers import classifier, runs  # torch, which the other commands do without
    from vae_helpers.data import DataError, load_mnist

    try:
        digits = load_mnist()
    except DataError as error:
        print(f"refused, nothing was run: {error}", file=sys.stderr)
        return 2
    config = classifier.ClassifierConfig()
    model, history = classifier.train(config, digits, runs.RUNS, title="the ruler")
    path = BUILD / classifier.WEIGHTS.name
    found = classifier.write_weights(model, path)
    print(f"{path}: {100 * history[-1]['test_accuracy']:.2f} % of the test images read right")
    print(f"SHA-256 {found}, committed are {classifier.CHECKSUM}")
    return int(found != classifier.CHECKSUM)


def _run_studies(
    plans: Iterable[study_runs.Plan], options: argparse.Namespace, *, publish: bool = False
) -> int:
    """The number of cells that failed."""
    failed = 0
    for plan in plans:
        failed += study_runs.run(plan, scheduler=options.scheduler, workers=options.workers)
        if publish:
            study_runs.publish(plan)
    if failed:
        print(f"{failed} cells failed; the same command runs them again", file=sys.stderr)
    return failed


def _given(pairs: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Values by name from what follows each -p."""
    given: dict[str, str] = {}
    for name, value in pairs:
        if name in given:
            raise ParameterError(f"{name}: expected once after -p, got {given[name]} and {value}")
        given[name] = value
    return given


def _grid(words: Sequence[Sequence[str]]) -> dict[str, list[str]]:
    """Values by name from what follows each -g."""
    grid: dict[str, list[str]] = {}
    for name, *values in words:
        if name in grid:
            raise ParameterError(f"{name}: expected once in the grid, got twice")
        grid[name] = values
    return grid


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m vae_helpers", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)

    run = commands.add_parser("run", help="execute notebooks into build/")
    run.add_argument("notebooks", nargs="*", metavar="NOTEBOOK", help="such as 04_training, or 04")
    _add_parameters(run)

    refresh = commands.add_parser("refresh", help="replace the committed outputs by new ones")
    refresh.add_argument("--profile", choices=course.PROFILES, help="only those; both if none")

    bands = commands.add_parser("bands", help="measure report/bands.toml over seeds and threads")
    bands.add_argument("notebooks", nargs="*", metavar="NOTEBOOK")
    bands.add_argument("--profile", choices=("full", "smoke"), default="full")
    bands.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3, 4, 5])
    bands.add_argument("--threads", type=int, nargs="+", default=[1, 2])

    study = commands.add_parser("study", help="execute a notebook over a grid of parameters")
    study.add_argument("notebook", metavar="NOTEBOOK")
    study.add_argument(
        "-g", dest="grid", nargs="+", metavar=("NAME", "VALUE"), action="append", default=[],
        help="a parameter and its values; may be given several times, the last varies fastest",
    )  # fmt: skip
    _add_parameters(study)
    _add_workers(study)
    study.add_argument("--output", type=Path, metavar="FOLDER", help="for cells and table")

    commands.add_parser("ruler", help="train the classifier again and compare its weights")

    several = commands.add_parser("studies", help="those of report/studies.toml, into report/")
    several.add_argument("names", nargs="*", metavar="NAME", help="all if none is named")
    _add_workers(several)
    return parser


def _add_parameters(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "-p", dest="parameter", nargs=2, metavar=("NAME", "VALUE"), action="append", default=[],
        help="set a parameter; may be given several times",
    )  # fmt: skip
    command.add_argument("--profile", choices=("full", "smoke"), default="full")


def _add_workers(command: argparse.ArgumentParser) -> None:
    command.add_argument("--scheduler", metavar="ADDRESS", help="of dask; a local cluster if none")
    command.add_argument("--workers", type=int, metavar="N", help="local processes; one a core")


if __name__ == "__main__":
    sys.exit(main())
