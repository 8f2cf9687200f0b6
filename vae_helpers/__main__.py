"""The command line: `python -m vae_helpers run | refresh | bands`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from vae_helpers import course
from vae_helpers.parameters import ParameterError


def main(arguments: Sequence[str] | None = None) -> int:
    """Do what the arguments say; 0 if it worked, 1 if a notebook failed, 2 if it was refused."""
    options = _parser().parse_args(arguments)
    try:
        if options.command == "run":
            given = dict(options.parameter)
            course.run(course.plan(options.notebooks, given, profile=options.profile))
        elif options.command == "refresh":
            course.refresh()
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
    except course.NotebookFailedError as error:
        print(f"\n{error}", file=sys.stderr)
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m vae_helpers", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)

    run = commands.add_parser("run", help="execute notebooks into build/")
    run.add_argument("notebooks", nargs="*", metavar="NOTEBOOK", help="such as 04_training, or 04")
    run.add_argument(
        "-p", dest="parameter", nargs=2, metavar=("NAME", "VALUE"), action="append", default=[],
        help="set a parameter; may be given several times",
    )  # fmt: skip
    run.add_argument("--profile", choices=("full", "smoke"), default="full")

    commands.add_parser("refresh", help="replace the committed outputs by a new execution")

    bands = commands.add_parser("bands", help="measure report/bands.toml over seeds and threads")
    bands.add_argument("notebooks", nargs="*", metavar="NOTEBOOK")
    bands.add_argument("--profile", choices=("full", "smoke"), default="full")
    bands.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3, 4, 5])
    bands.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    return parser


if __name__ == "__main__":
    sys.exit(main())
