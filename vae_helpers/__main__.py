"""The command line of the course: `python -m vae_helpers COMMAND`."""

from __future__ import annotations

import argparse
import hashlib
import os
import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from vae_helpers.course import execution, notebooks
from vae_helpers.parameters import ParameterError
from vae_helpers.store.code_digest import CodeDigestError
from vae_helpers.store.files import DamagedFileError, FileNotWrittenError, write_whole
from vae_helpers.studies import planning, running, tolerance_tables
from vae_helpers.studies.keys import KeyUnknownError
from vae_helpers.studies.planning import Plan

NARROW = {
    "ATEN_CPU_CAPABILITY": "avx2",
    "MKL_ENABLE_INSTRUCTIONS": "AVX2",
    "ONEDNN_MAX_CPU_ISA": "AVX2",
    "XLA_FLAGS": "--xla_cpu_max_isa=AVX2",
}
"""An environment in which the libraries use no more than AVX2 on a processor that has AVX-512."""

if TYPE_CHECKING:
    from vae_helpers.data import Digits


def main(arguments: Sequence[str] | None = None) -> int:
    """Do what the arguments say.

    Returns:
        0 if it worked, 1 if a notebook failed, 2 if it was refused or asks for what there is not,
        130 if it was interrupted.
    """
    options = _parser().parse_args(arguments)
    try:
        if options.do is not _score:  # no other command means anything without the course
            notebooks.names()
        status = int(options.do(options) or 0)
        sys.stdout.flush()
        return status
    except BrokenPipeError:  # whoever reads this has seen enough, as `head` has
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except KeyUnknownError as error:
        print(error, file=sys.stderr)
        return 2
    except (ParameterError, CodeDigestError) as error:
        print(f"refused, nothing was run: {error}", file=sys.stderr)
        return 2
    except (
        execution.NotebookFailedError,
        running.SchedulerLostError,
        DamagedFileError,
        FileNotWrittenError,
    ) as error:
        print(f"\n{error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\ninterrupted; the same command goes on with what is left", file=sys.stderr)
        return 130


def _run(options: Namespace) -> None:
    given = _given(options.parameter)
    execution.run(execution.plan(options.notebooks, given, profile=options.profile))


def _refresh(options: Namespace) -> None:
    execution.refresh([options.profile] if options.profile else notebooks.PROFILES)


def _tolerances(options: Namespace) -> int:
    """1 if cells failed or a number did not get its interval."""
    failed = 0
    if not options.from_tables:
        plans = tolerance_tables.plan(
            options.notebooks, profile=options.profile, seeds=options.seeds
        )
        if options.scheduler is None:
            execution.check_devices(cell.execution for it in plans for cell in it.cells)
            execution.check_datasets(cell.execution for it in plans for cell in it.cells)
        failed = tolerance_tables.run(plans, scheduler=options.scheduler, workers=options.workers)
    problems = tolerance_tables.compute(options.notebooks, profile=options.profile)
    if failed:
        problems.append(f"{failed} cells failed; the same command runs them again")
    for problem in problems:
        print(problem, file=sys.stderr)
    return int(bool(problems))


def _study(options: Namespace) -> int:
    plan = planning.plan(
        options.notebook,
        _grid(options.grid),
        _given(options.parameter),
        profile=options.profile,
        folder=options.output,
    )
    return _run_studies([plan], options)


def _studies(options: Namespace) -> int:
    return _run_studies(planning.committed(options.names), options, publish=True)


def _run_studies(plans: Iterable[Plan], options: Namespace, *, publish: bool = False) -> int:
    """1 if cells failed; what the cells that are left need is looked for before any is executed."""
    plans, failed = list(plans), 0
    if options.scheduler is None:  # a worker elsewhere may have a GPU
        left = [cell.execution for plan in plans for cell in running.waiting(plan)]
        execution.check_devices(left)
        execution.check_datasets(left)
    for plan in plans:
        failed += running.run(plan, scheduler=options.scheduler, workers=options.workers)
        if publish:
            running.publish(plan)
    if failed:
        print(f"{failed} cells failed; the same command runs them again", file=sys.stderr)
    return int(failed > 0)


def _recheck(options: Namespace) -> int:
    from vae_helpers.studies import recheck

    changed = recheck.recheck(options.names, cells=options.cells, workers=options.workers)
    return int(changed > 0)


def _classifier(options: Namespace) -> int:
    """Train a committed classifier again, into build/; 1 if its bytes are not the same."""
    from vae_helpers import classifier
    from vae_helpers.store import runs

    committed = classifier.COMMITTED[options.name]
    fit = runs.fit(committed.config, _mnist(), title=options.name)
    path = notebooks.BUILD / committed.path.name
    content = classifier.weights_file(fit.model)
    write_whole(path, content)
    found = hashlib.sha256(content).hexdigest()
    share = 100 * fit.history[-1]["test_accuracy"]
    print(f"{path}: {share:.2f} % of the test images read right")
    print(f"SHA-256 {found}, committed are {committed.checksum}")
    return int(found != committed.checksum)


def _score(options: Namespace) -> None:
    """Measure somebody's samples and print them beside the models of the comparison."""
    from vae_helpers.studies import score

    for line in score.beside(score.score(score.read_samples(options.samples))):
        print(line)


def _where(options: Namespace) -> None:
    """Say where a published number comes from."""
    from vae_helpers.studies import origins

    for line in origins.where(options.number):
        print(line)


def _why(options: Namespace) -> None:
    """Say what other seeds gave for a published number."""
    from vae_helpers.studies import origins

    for line in origins.why(options.key):
        print(line)


def _digits(options: Namespace) -> None:
    """Train the study's network for a moment and show what it makes of noise."""
    from vae_helpers import figures, training
    from vae_helpers.seeds import new_rng
    from vae_helpers.store import runs

    config = training.TrainConfig(epochs=options.epochs, beta=options.beta)
    model = runs.fit(config, _mnist(), title=f"epochs 1 to {options.epochs}").model
    images = model.sample(100, rng=new_rng(config.seed, "samples")).cpu()
    after = "after 1 epoch" if options.epochs == 1 else f"after {options.epochs} epochs"
    name = "digits"
    if options.beta != 1:
        after, name = f"{after}, beta {options.beta:g}", f"digits_beta_{options.beta:g}"
    path = notebooks.BUILD / f"{name}.png"
    path.parent.mkdir(exist_ok=True)
    figures.image_panels({f"One hundred samples {after}": images}, columns=10).savefig(path)
    print(f"{path}: what the network makes of noise {after}")


def _bench(options: Namespace) -> None:
    if options.narrow:
        os.environ.update(NARROW)
    from vae_helpers.benchmarks import cluster, scaling, speed, thread_effects

    _mnist()
    if options.what == "scaling":
        scaling.report(repeats=options.repeats, write=options.write)
    elif options.what == "thread-effects":
        thread_effects.report(epochs=options.epochs, write=options.write)
    elif options.what == "cluster":
        cluster.report(workers=options.workers, write=options.write)
    else:
        speed.report(
            rounds=options.rounds,
            threads=options.threads,
            compiled=options.compiled,
            write=options.write,
        )


def _mnist() -> Digits:
    """The images, or a refusal before hours of computing."""
    from vae_helpers.data import DataError, load_mnist

    try:
        return load_mnist()
    except DataError as error:
        raise ParameterError(str(error)) from error


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


def _parser() -> ArgumentParser:
    parser = ArgumentParser(prog="python -m vae_helpers", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)

    run = commands.add_parser("run", help="execute notebooks into build/")
    run.set_defaults(do=_run)
    run.add_argument("notebooks", nargs="*", metavar="NOTEBOOK", help="such as 05_training, or 05")
    _add_parameters(run)

    digits = commands.add_parser("digits", help="a first picture: two epochs, a hundred samples")
    digits.set_defaults(do=_digits)
    digits.add_argument("--epochs", type=_positive, default=2)
    digits.add_argument("--beta", type=float, default=1.0, help="weight of the KL; 0 is BCE alone")

    refresh = commands.add_parser("refresh", help="replace the committed outputs by new ones")
    refresh.set_defaults(do=_refresh)
    refresh.add_argument("--profile", choices=notebooks.PROFILES, help="only those; both if none")

    tolerances = commands.add_parser("tolerances", help="measure report/tolerances.toml over seeds")
    tolerances.set_defaults(do=_tolerances)
    tolerances.add_argument("notebooks", nargs="*", metavar="NOTEBOOK")
    tolerances.add_argument("--profile", choices=notebooks.PROFILES, default="full")
    tolerances.add_argument(
        "--seeds", type=int, nargs="+", default=tolerance_tables.SEEDS, help="1 to 10 if none"
    )
    tolerances.add_argument(
        "--from-tables", action="store_true", help="execute nothing; compute from what is committed"
    )
    _add_workers(tolerances)

    study = commands.add_parser("study", help="execute a notebook over a grid of parameters")
    study.set_defaults(do=_study)
    study.add_argument("notebook", metavar="NOTEBOOK")
    study.add_argument(
        "-g", dest="grid", nargs="+", metavar=("NAME", "VALUE"), action="append", default=[],
        help="a parameter and its values; may be given several times, the last varies fastest",
    )  # fmt: skip
    _add_parameters(study)
    _add_workers(study)
    study.add_argument("--output", type=Path, metavar="FOLDER", help="for cells and table")

    studies = commands.add_parser("studies", help="those of report/studies.toml, into report/")
    studies.set_defaults(do=_studies)
    studies.add_argument("names", nargs="*", metavar="NAME", help="all if none is named")
    _add_workers(studies)

    recheck = commands.add_parser("recheck", help="repeat some cells of stale studies and compare")
    recheck.set_defaults(do=_recheck)
    recheck.add_argument("names", nargs="*", metavar="NAME", help="all that are stale if none")
    recheck.add_argument("--cells", type=int, default=1, help="to repeat of each study")
    recheck.add_argument("--workers", type=int, default=2, help="cells at a time")

    classifier = commands.add_parser(
        "classifier", help="train the reference classifier again and compare its weights"
    )
    classifier.set_defaults(do=_classifier)
    classifier.add_argument(
        "name", nargs="?", default="classifier", choices=("classifier", "varied", "reseeded")
    )

    score = commands.add_parser(
        "score", help="measure 10,000 images of a .npy file beside the models of the comparison"
    )
    score.set_defaults(do=_score)
    score.add_argument("samples", type=Path, metavar="SAMPLES.npy")
    where = commands.add_parser("where", help="where a published number comes from")
    where.set_defaults(do=_where)
    where.add_argument("number", metavar="NUMBER", help="as printed, such as 99.3; or a key")
    why = commands.add_parser("why", help="mean, interval and seeds of a published number")
    why.set_defaults(do=_why)
    why.add_argument("key", metavar="KEY", help="such as 05_training.train_loss_last")
    _add_bench(commands.add_parser("bench", help="time training, evaluation and likelihood"))
    return parser


def _add_bench(bench: ArgumentParser) -> None:
    bench.set_defaults(do=_bench)
    bench.add_argument("--rounds", type=_positive, default=5)
    bench.add_argument("--threads", type=_positive, nargs="+", default=[], help="1 and all if none")
    bench.add_argument("--narrow", action="store_true", help="with vectors of AVX2 at most")
    bench.add_argument("--compiled", action="store_true", help="torch.compile too")
    bench.add_argument("--write", action="store_true", help="the figures, into report/")
    others = bench.add_subparsers(dest="what", metavar="WHAT")
    scaling = others.add_parser("scaling", help="time and memory against the sizes of everything")
    scaling.add_argument("--repeats", type=_positive, default=3)
    effects = others.add_parser("thread-effects", help="what the number of threads changes")
    effects.add_argument("--epochs", type=_positive, default=3)
    cluster = others.add_parser("cluster", help="a study's seconds by workers; all studies' needs")
    cluster.add_argument("--workers", type=_positive, nargs="+", default=[], metavar="N")
    for other in (scaling, effects, cluster):
        other.add_argument("--write", action="store_true", default=argparse.SUPPRESS)


def _add_parameters(command: ArgumentParser) -> None:
    command.add_argument(
        "-p", dest="parameter", nargs=2, metavar=("NAME", "VALUE"), action="append", default=[],
        help="set a parameter; may be given several times",
    )  # fmt: skip
    command.add_argument("--profile", choices=notebooks.PROFILES, default="full")


def _add_workers(command: ArgumentParser) -> None:
    command.add_argument("--scheduler", metavar="ADDRESS", help="of dask; a local cluster if none")
    command.add_argument("--workers", type=int, metavar="N", help="local processes; one a core")


def _positive(word: str) -> int:
    number = int(word)
    if number < 1:
        raise argparse.ArgumentTypeError(f"expected at least 1, got {number}")
    return number


if __name__ == "__main__":
    sys.exit(main())
