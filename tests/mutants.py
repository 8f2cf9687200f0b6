"""Plant mistakes in copies of the project and show which unit test catches each.

    python tests/mutants.py                      the catalogue and a mechanical sample of 120
    python tests/mutants.py "KL dropped"         only the mistakes that are named
    python tests/mutants.py --list               their names, each with its check
    python tests/mutants.py --only mechanical --seed 1
    python tests/mutants.py --ci                 the part that is due at this commit

Each mutant is a copy of the project in a temporary folder with one edit; the project itself is not
touched. The tests are first run as they are and must pass.

The catalogue, `mistakes.toml`, holds mistakes that people make. Each is planted in the package and
in every notebook that teaches the line, and counts as caught only when an assertion of its own
check fails: an import or a call that breaks proves nothing about it.

The mechanical sample is drawn by chance, so that nobody picks all the mistakes: cosmic-ray names
all places where it can change an operator, a number, a condition, a decorator or an exception, and
of those some are drawn, each with one of its changes. The draw depends on the seed and the lines
themselves, so that an edit elsewhere leaves it as it is. A mutant is caught when a test of its
module fails, or does not come to an end. One that survives though nothing that it does is wrong is
written down with the reason in `equivalent.toml`.

With --ci a part of both is planted: in modules that differ, or whose tests differ, from the commit
before, and in others that are drawn by the commit's hash, so that another commit draws others. The
mechanical mutants are those of the sample, so that each is known to be caught or to be equivalent.

With --write, and only if all was run, the scores go to report/results/measured/. The exit status is
0 if every mistake of the catalogue was caught, and every mutant that survived is known to be
equivalent.
"""

from __future__ import annotations

import argparse
import ast
import difflib
import hashlib
import json
import multiprocessing
import os
import signal
import subprocess
import sys
import tempfile
import time
import tomllib
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import wait
from pathlib import Path
from typing import Any, NamedTuple

from vae_helpers import PROJECT
from vae_helpers.mistakes.catalogue import Mistake, catalogue, copy_project, plant
from vae_helpers.store.files import write_whole

EQUIVALENT = PROJECT / "tests" / "equivalent.toml"
RESULTS = PROJECT / "report" / "results" / "measured" / "mutants.json"
SAMPLE = 120  # mutants of the mechanical sample
DUE = {"modules": 4, "mistakes": 8, "mutants": 16}
"""With --ci: at most so many of what has changed, and so many of the rest."""
AT_ONCE = 2  # mutants: the cores that every machine of the course has
TESTS = {
    "acceleration": ("acceleration",),
    "adversarial": ("adversarial", "training"),
    "classifier": ("classifier",),
    "course/decoders": ("decoders",),
    "course/results": ("results",),
    "course/tolerances": ("tolerances", "results"),
    "data": ("data",),
    "evaluation": ("evaluation",),
    "gradients": ("gradients",),
    "latent": ("latent",),
    "mixture": ("mixture",),
    "models": ("models",),
    "objective": ("objective",),
    "parameters": ("parameters", "training", "adversarial"),
    "sample_quality": ("sample_quality",),
    "seeds": ("seeds", "training"),
    "store/cache": ("cache", "threads"),
    "store/checkpoints": ("checkpoints", "runs"),
    "store/code_digest": ("code_digest", "tables"),
    "store/files": ("files", "runs"),
    "store/runs": ("runs", "threads"),
    "studies/tables": ("tables",),
    "studies/tolerance_tables": ("tolerances",),
    "training": ("training", "runs"),
}
"""The modules that compute or guard numbers, each with the files of its unit tests."""
NEW = "is new: errors were planted in it by hand, and its mutants are not drawn yet"
ANSWERS = "right results and known mistakes, which tests/submissions hold one by one"
LEFT_OUT = {
    "__init__": "holds two paths and the sources as they are",
    "__main__": "the command line",
    "benchmarks/baseline": "what benchmarks/speed compares with",
    "benchmarks/clock": "measures seconds and megabytes, which differ from machine to machine",
    "benchmarks/cluster": "measures seconds, as the clock does",
    "benchmarks/floor": "counts for benchmarks/speed, which measures",
    "benchmarks/rivals": "what benchmarks/speed compares with",
    "benchmarks/scaling": "measures seconds and megabytes, as the clock does",
    "benchmarks/speed": "measures seconds, as the clock does",
    "benchmarks/thread_effects": "measures how far machines differ, as speed how fast they are",
    "annealing": NEW,
    "arithmetic": NEW,
    "convolutional": NEW,
    "degradations": NEW,
    "features": NEW,
    "flows": NEW,
    "measures": NEW,
    "parzen": NEW,
    "samplers": NEW,
    "stochastic_layers": NEW,
    "two_sample": NEW,
    "wasserstein": NEW,
    "course/captions": "words below pictures",
    "course/cells": "asks a kernel which cell it executes",
    "course/charts": "pictures",
    "course/display": "words while one waits",
    "course/execution": "executes notebooks: its tests take minutes, and compute nothing",
    "course/kernels": "starts processes, and computes nothing",
    "course/notebooks": "names of notebooks and of their parameters",
    "course/rules": NEW,
    "course/sockets": "starts processes, and computes nothing",
    "datasets": "checksums, which the tests of data hold against the files",
    "exercises/__init__": "a table of exercises",
    "exercises/ablation": ANSWERS,
    "exercises/bound": ANSWERS,
    "exercises/clinic": ANSWERS,
    "exercises/codes": ANSWERS,
    "exercises/codes_and_prior": ANSWERS,
    "exercises/data": ANSWERS,
    "exercises/distance": ANSWERS,
    "exercises/gan": ANSWERS,
    "exercises/gan_game": ANSWERS,
    "exercises/latent_space": ANSWERS,
    "exercises/likelihood": ANSWERS,
    "exercises/measures": ANSWERS,
    "exercises/network": ANSWERS,
    "exercises/published": ANSWERS,
    "exercises/small_world": ANSWERS,
    "exercises/training": ANSWERS,
    "exercises/vae_vs_gan": ANSWERS,
    "exercises/comparison": NEW,
    "exercises/exercise": NEW,
    "exercises/grade": NEW,
    "exercises/student": NEW,
    "figures": "pictures",
    "mistakes/catalogue": "what this file runs on",
    "mistakes/lab": "trains copies with mistakes in them, by processes of their own",
    "progress": "words while one waits",
    "store/machine": "asks the system how many cores there are",
    "methods": "a table of names",
    "store/reference": "trains or reads one classifier",
    "store/shipped": "finds one folder",
    "studies/board": NEW,
    "studies/committed": NEW,
    "studies/keys": "names of numbers: its tests need the texts, which copies do not have",
    "studies/origins": "says where numbers are from, and computes none",
    "studies/planning": "plans executions, as course/execution does",
    "studies/recheck": "executes cells of studies, as studies/running does",
    "studies/running": "executes notebooks, as course/execution does",
    "studies/score": "reads an array and prints a table; its measures are in measures",
}
"""The other modules, each with the reason why no mutant is drawn from it."""
ASSERTIONS = ("assert", "AssertionError", "Failed: DID NOT RAISE")
"""How the message begins when a test has found what it was looking for."""
LOADED_BEFORE = (
    "IPython.display",
    "filelock",
    "hypothesis",
    "matplotlib.pyplot",
    "pytest",
    "safetensors.torch",
    "scipy.stats",
    "sklearn.neighbors",
    "tomlkit",
    "torchmetrics.image.fid",
    "torchmetrics.image.kid",
    "torchvision.datasets",
)
"""What every mutant needs and none changes: imported once, in the process that others fork from."""


class Outcome(NamedTuple):
    """How the tests of a copy ended.

    Attributes:
        test: the first that failed, empty if all passed.
        message: what it said.
        seconds: that all of it took.
    """

    test: str
    message: str
    seconds: float


# The tests of a copy, in a process of their own


class _Record:
    """A plugin of pytest that keeps the tests that fail and what they say."""

    def __init__(self) -> None:
        self.failed: list[tuple[str, str]] = []

    def pytest_runtest_logreport(self, report: Any) -> None:
        self._note(report)

    def pytest_collectreport(self, report: Any) -> None:
        self._note(report)

    def _note(self, report: Any) -> None:
        if report.failed:
            crash = getattr(report.longrepr, "reprcrash", None)
            self.failed.append((report.nodeid, crash.message if crash else str(report.longrepr)))


def run_pytest(copy: Path, tests: Sequence[str]) -> None:
    """Run tests in a copy and write what failed to `verdict.json` in it.

    It takes over the process that it runs in: its group, folder, output and imports.
    """
    import pytest

    os.setsid()  # so that whatever the tests start can be ended with it
    os.chdir(copy)
    with open("output.txt", "wb") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    os.environ |= {
        "PYTHONPATH": str(copy),
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
    }
    sys.dont_write_bytecode = True
    sys.path.insert(0, str(copy))
    for name in [name for name in sys.modules if name.split(".")[0] == "vae_helpers"]:
        del sys.modules[name]  # this file has imported the project's own
    import vae_helpers

    if Path(vae_helpers.__file__).resolve().parent != (copy / "vae_helpers").resolve():
        sys.exit(f"expected the copy's vae_helpers, imported {vae_helpers.__file__}")
    record = _Record()
    status = pytest.main(["-x", "-q", "-p", "no:cacheprovider", *tests], plugins=[record])
    failed = record.failed[:1] or [("", "")]
    if status > pytest.ExitCode.TESTS_FAILED and not record.failed:
        failed = [("pytest", f"ended with status {status}")]
    write_whole(copy / "verdict.json", json.dumps(failed[0]))


@dataclass
class _Running:
    """A mutant whose tests are under way."""

    job: Job
    folder: tempfile.TemporaryDirectory[str]
    process: Any
    began: float

    def end(self, *, late: bool) -> Outcome:
        """Stop what is left of it, read the verdict, clean up."""
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.join()
        verdict, output = (Path(self.folder.name) / name for name in ("verdict.json", "output.txt"))
        if late:
            test, message = "timeout", f"the tests did not end in {self.job.timeout:.0f} s"
        elif verdict.exists():
            test, message = json.loads(verdict.read_text(encoding="utf-8"))
        else:
            said = (
                output.read_text(errors="replace", encoding="utf-8")[-2_000:]
                if output.exists()
                else ""
            )
            test, message = "crash", f"exit status {self.process.exitcode}: {said}"
        self.folder.cleanup()
        return Outcome(test, message, time.monotonic() - self.began)


@dataclass(frozen=True)
class Job:
    """A copy of the project and the tests to run in it.

    Attributes:
        name: in print.
        tests: files or node ids.
        timeout: seconds after which they are stopped.
        mistake: planted in the package and in the notebooks that teach the line.
        mutant: its module is replaced.
    """

    name: str
    tests: tuple[str, ...]
    timeout: float
    mistake: Mistake | None = None
    mutant: Mutant | None = None


def run_all(jobs: Iterable[Job]) -> Iterator[tuple[Job, Outcome]]:
    """The jobs with their outcomes, in the order in which they end."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(list(LOADED_BEFORE))
    waiting = iter(jobs)
    running: list[_Running] = []
    try:
        while True:
            while len(running) < AT_ONCE and (job := next(waiting, None)):
                running.append(_start(job, context))
            if not running:
                return
            wait([own.process.sentinel for own in running], timeout=1)
            for own in list(running):
                late = time.monotonic() - own.began > own.job.timeout
                if late or not own.process.is_alive():
                    running.remove(own)
                    yield own.job, own.end(late=late and own.process.is_alive())
    finally:
        for own in running:
            own.end(late=True)


def _start(job: Job, context: Any) -> _Running:
    folder = tempfile.TemporaryDirectory(prefix="mutant-")
    copy = Path(folder.name)
    copy_project(copy, "tests", "notebooks", "report")
    if job.mistake:
        plant(job.mistake, copy)
    if job.mutant:
        write_whole(copy / job.mutant.file, job.mutant.source)
    process = context.Process(target=run_pytest, args=(copy, job.tests))
    process.start()
    return _Running(job, folder, process, time.monotonic())


# The mechanical sample


class Place(NamedTuple):
    """Where a line can be changed.

    Attributes:
        start, end: line and column.
        scope: the function or class around it, empty at the top of the module.
    """

    start: tuple[int, int]
    end: tuple[int, int]
    scope: str


@dataclass(frozen=True)
class Mutant:
    """A module with one mechanical change.

    Attributes:
        file: from the project's root.
        line: of the change, from 1.
        scope: the function or class around it.
        old: the line as it was, or the lines.
        new: what it has become.
        source: of the module, changed.
    """

    file: str
    line: int
    scope: str
    old: str
    new: str
    source: str


def draw(size: int, seed: int) -> list[Mutant]:
    """A random sample of the mutants of all modules in `TESTS`, each place at most once."""
    places = []
    for module in TESTS:
        file = f"vae_helpers/{module}.py"
        source = (PROJECT / file).read_text(encoding="utf-8")
        counted: dict[str, int] = {}
        for place, changes in candidates(source).items():
            text = source.splitlines()[place.start[0] - 1]
            column = place.start[1] - len(text) + len(text.lstrip())
            key = "\n".join(map(str, (seed, file, place.scope, text.strip(), column)))
            counted[key] = counted.get(key, -1) + 1
            places.append((_hash(f"{key}\n{counted[key]}"), file, source, place, changes))
    sample = []
    for key, file, source, place, changes in sorted(places, key=lambda each: each[0]):
        ranked = sorted(
            (_hash(f"{key}{i}{name}"), name, at) for i, (name, at) in enumerate(changes)
        )
        for _, name, occurrence in ranked:
            if (mutated := _mutated(source, name, occurrence)) is not None:
                old, new = _difference(source, mutated)
                sample.append(Mutant(file, place.start[0], place.scope, old, new, mutated))
                break
        if len(sample) == size:
            return sample
    raise ValueError(f"expected at most {len(sample)} mechanical mutants, asked for {size}")


def candidates(source: str) -> dict[Place, list[tuple[str, int]]]:
    """All places that cosmic-ray can change: the operator, and which of its occurrences.

    Not in it are annotations, which nothing evaluates, and the stars and bars of a signature.
    """
    from cosmic_ray import plugins
    from cosmic_ray.ast import ast_nodes, get_ast

    tree = ast.parse(source)
    unevaluated = [_span(node) for node in _annotations(tree)]
    scopes = list(_scopes(tree))
    found: dict[Place, list[tuple[str, int]]] = {}
    nodes = list(ast_nodes(get_ast(source)))
    for name in plugins.operator_names():
        kind = plugins.get_operator(name)
        if kind.arguments():
            continue  # it wants a variable to be named
        operator, occurrence = kind(), -1
        for node in nodes:
            for start, end in operator.mutation_positions(node):
                occurrence += 1
                signature = node.parent is not None and node.parent.type == "parameters"
                if signature or any(first <= start < last for first, last in unevaluated):
                    continue
                around = [scope for scope, (first, last) in scopes if first <= start < last]
                place = Place(start, end, max(around, key=len, default=""))
                found.setdefault(place, []).append((name, occurrence))
    return found


def _mutated(source: str, name: str, occurrence: int) -> str | None:
    """The module with a change, or None if Python itself objects, or if it is the same one."""
    from cosmic_ray import mutating, plugins

    mutated = mutating.mutate_code(source, plugins.get_operator(name)(), occurrence)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", SyntaxWarning)
            tree = ast.parse(mutated)
            compile(tree, "mutant", "exec")
    except SyntaxError:
        return None
    return None if ast.dump(tree) == ast.dump(ast.parse(source)) else mutated


def _annotations(tree: ast.AST) -> Iterator[ast.expr]:
    for node in ast.walk(tree):
        for field in ("annotation", "returns"):
            if annotation := getattr(node, field, None):
                yield annotation


def _scopes(tree: ast.AST, outer: str = "") -> Iterator[tuple[str, Any]]:
    for node in ast.iter_child_nodes(tree):
        name = outer
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            name = f"{outer}.{node.name}".lstrip(".")
            first = min([node, *node.decorator_list], key=lambda each: each.lineno)
            yield name, ((first.lineno, 0), _span(node)[1])
        yield from _scopes(node, name)


def _span(node: Any) -> tuple[tuple[int, int], tuple[int, int]]:
    return (node.lineno, node.col_offset), (node.end_lineno, node.end_col_offset)


def _difference(source: str, mutated: str) -> tuple[str, str]:
    """The lines that differ, as they were and as they are, without their indents and breaks."""
    lines = list(difflib.ndiff(source.splitlines(), mutated.splitlines()))
    old, new = (" ".join(line[2:] for line in lines if line.startswith(sign)) for sign in "-+")
    return " ".join(old.split()), " ".join(new.split())


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


# The part that is due at a commit


class Part(NamedTuple):
    """What is planted at one commit: first what has changed, then some of the rest.

    Attributes:
        mistakes: of the catalogue, by name.
        changed: modules that differ, or whose tests do.
        others: further modules.
    """

    mistakes: list[str]
    changed: list[str]
    others: list[str]


def due(commit: str, differ: Set[str], known: Mapping[str, Mistake]) -> Part:
    """The part for a commit and the files that differ in it; the same one whenever it is asked."""
    modules = sorted(TESTS, key=lambda module: _hash(f"{commit}{module}"))
    names = sorted(known, key=lambda name: _hash(f"{commit}{name}"))
    own = {f"vae_helpers/{module}.py": module for module in modules}
    hit = {module for file, module in own.items() if {file, *files_of(file)} & differ}
    met = {name for name in names if {known[name].file, _file(known[name].check)} & differ}
    return Part(
        [name for name in names if name in met][: DUE["mistakes"]]
        + [name for name in names if name not in met][: DUE["mistakes"]],
        [module for module in modules if module in hit][: DUE["modules"]],
        [module for module in modules if module not in hit][: DUE["modules"]],
    )


def since_the_commit_before() -> tuple[str, set[str]]:
    """The commit's hash, and the files that differ from the one before; none if there is none."""
    asked = (("rev-parse", "HEAD"), ("diff", "--name-only", "HEAD~1"))
    commit, differ = (
        subprocess.run(["git", *words], cwd=PROJECT, capture_output=True, encoding="utf-8")
        for words in asked
    )
    if commit.returncode:
        sys.exit(f"--ci: expected a git repository with a commit: {commit.stderr.strip()}")
    if differ.returncode:
        print("there is no commit before this one to compare with")
    return commit.stdout.strip(), set(differ.stdout.splitlines())


def part_of_this_commit(known: Mapping[str, Mistake]) -> tuple[list[Mistake], list[Mutant]]:
    """The mistakes and the mechanical mutants that are due, of which it prints what they are."""
    commit, differ = since_the_commit_before()
    part = due(commit, differ, known)
    print(f"commit {commit[:12]}: {len(part.mistakes)} mistakes: {', '.join(part.mistakes)}")
    ranked = sorted(draw(SAMPLE, 0), key=lambda it: _hash(f"{commit}{it.file}{it.line}{it.new}"))
    sample = []
    for which, modules in (("changed", part.changed), ("other", part.others)):
        own = [mutant for mutant in ranked if _module(mutant.file) in modules][: DUE["mutants"]]
        print(f"{len(own)} mechanical mutants of {which} modules: {', '.join(modules) or 'none'}")
        sample += own
    return [known[name] for name in part.mistakes], sample


# What is known and what is found


def equivalents(path: Path = EQUIVALENT) -> dict[tuple[str, str, str, str], str]:
    """Mutants that survive and do nothing wrong: file, scope, old and new line, with the reason."""
    entries = tomllib.loads(path.read_text(encoding="utf-8"))["equivalent"]
    return {
        (entry["file"], entry["scope"], entry["old"], entry["new"]): entry["reason"]
        for entry in entries
    }


def try_as_it_is(chosen: Sequence[Mistake], sample: Sequence[Mutant]) -> dict[str, float]:
    """Seconds that what is needed of each file of tests takes in a copy without a mistake.

    It must pass there.
    """
    needed: dict[str, set[str]] = {}
    for mistake in chosen:
        needed.setdefault(_file(mistake.check), set()).add(mistake.check)
    for mutant in sample:
        needed |= {file: {file} for file in files_of(mutant.file)}
    jobs = [Job("nothing planted", tuple(sorted(it)), timeout=300) for it in needed.values()]
    seconds = {}
    for job, outcome in run_all(jobs):
        if outcome.test:
            sys.exit(
                f"{job.tests[0]} fails before anything is planted: {outcome.test}\n"
                f"{outcome.message}"
            )
        seconds[_file(job.tests[0])] = outcome.seconds
    print(f"nothing planted: tests of {len(seconds)} files pass, {sum(seconds.values()):.0f} s")
    return seconds


def try_catalogue(chosen: Sequence[Mistake], seconds: dict[str, float]) -> int:
    """Plant mistakes one by one, print what became of each, return how many were caught."""
    jobs = [
        Job(mistake.name, (mistake.check,), 20 + 5 * seconds[_file(mistake.check)], mistake)
        for mistake in chosen
    ]
    caught = 0
    for job, outcome in run_all(jobs):
        if outcome.message.startswith(ASSERTIONS):
            caught += 1
            said = f"caught by {outcome.test}"
        elif outcome.test:
            said = f"NOT CAUGHT: {outcome.test} broke: {outcome.message[:200]}"
        else:
            said = f"NOT CAUGHT by {job.tests[0]}"
        print(f"{job.name:<36} {said}", flush=True)
    print(f"catalogue: {_score(caught, len(jobs))}", flush=True)
    return caught


def try_sample(sample: Sequence[Mutant], seconds: dict[str, float]) -> dict[str, int]:
    """Run the tests of mechanical mutants, print what became of each, return the counts."""
    known = equivalents()
    counts = dict.fromkeys(("caught", "by_assertion", "by_timeout", "equivalent", "survived"), 0)
    for job, outcome in run_all(_job(mutant, seconds) for mutant in sample):
        assert job.mutant is not None
        scope, old, new = job.mutant.scope, job.mutant.old, job.mutant.new
        reason = known.get((job.mutant.file, scope, old, new))
        if outcome.test:
            counts["caught"] += 1
            counts["by_assertion"] += outcome.message.startswith(ASSERTIONS)
            counts["by_timeout"] += outcome.test == "timeout"
            said = f"caught by {outcome.test}"
            if reason:
                said += "  (it stands in equivalent.toml, and must not)"
        elif reason:
            counts["equivalent"] += 1
            said = f"equivalent: {reason}"
        else:
            counts["survived"] += 1
            said = f"SURVIVED in {scope or 'the module'}\n    - {old}\n    + {new}"
        print(f"{job.name:<36} {said}", flush=True)
    print(
        f"mechanical sample: {_score(counts['caught'], len(sample) - counts['equivalent'])}, "
        f"{counts['by_assertion']} of them by an assertion and {counts['by_timeout']} by the time "
        f"they took; {counts['equivalent']} more are equivalent and not counted",
        flush=True,
    )
    return counts


def _job(mutant: Mutant, seconds: dict[str, float]) -> Job:
    tests = files_of(mutant.file)
    timeout = 20 + 5 * sum(seconds[file] for file in tests)
    return Job(f"{mutant.file}:{mutant.line}", tests, timeout, mutant=mutant)


def files_of(file: str) -> tuple[str, ...]:
    """The unit tests of a module of the package, given by its file."""
    return tuple(f"tests/test_{name}.py" for name in TESTS[_module(file)])


def _module(file: str) -> str:
    return file.removeprefix("vae_helpers/").removesuffix(".py")


def _file(check: str) -> str:
    return check.split("::")[0]


def _score(caught: int, total: int) -> str:
    return f"{caught} of {total} caught, {100 * caught / max(total, 1):.1f} %"


def write_scores(
    catalogue: tuple[int, int], counts: dict[str, int], *, seed: int, began: float
) -> None:
    """Write the scores: total and caught of both, and what they are made of."""
    size = sum(counts[name] for name in ("caught", "equivalent", "survived"))
    values = {
        "catalogue_total": catalogue[0],
        "catalogue_caught": catalogue[1],
        "catalogue_percent": round(100 * catalogue[1] / catalogue[0], 1),
        "mechanical_total": size,
        **{f"mechanical_{name}": count for name, count in counts.items()},
        "mechanical_percent": round(100 * counts["caught"] / (size - counts["equivalent"]), 1),
        "seed": seed,
        "seconds": round(time.monotonic() - began),
    }
    content = {"values": {name: {"value": value} for name, value in values.items()}}
    write_whole(RESULTS, json.dumps(content, indent=1) + "\n")


def main() -> int:
    """The command line."""
    known = catalogue()
    parser = argparse.ArgumentParser(description="Plant mistakes and see which test catches them.")
    parser.add_argument("names", nargs="*", metavar="NAME", help="mistakes of the catalogue")
    parser.add_argument("--list", action="store_true", help="print the catalogue and stop")
    parser.add_argument("--only", choices=("catalogue", "mechanical"), help="one of the two")
    parser.add_argument("--mechanical", type=int, default=SAMPLE, metavar="N", help="sample size")
    parser.add_argument("--seed", type=int, default=0, help="of the mechanical sample")
    parser.add_argument("--ci", action="store_true", help="what is due at this commit")
    parser.add_argument("--write", action="store_true", help="keep the scores in report/")
    arguments = parser.parse_args()
    if arguments.list:
        print("\n".join(f"{name:<36} {mistake.check}" for name, mistake in known.items()))
        return 0
    if unknown := [name for name in arguments.names if name not in known]:
        parser.error(f"expected one of {', '.join(known)}; got {', '.join(unknown)}")
    only = "catalogue" if arguments.names else arguments.only
    if arguments.write and (only or arguments.ci):
        parser.error("--write: expected a run of all mistakes, got a part of them")
    if arguments.ci and only:
        parser.error("--ci: expected nothing else, for the commit says what is planted")

    began = time.monotonic()
    if arguments.ci:
        chosen, sample = part_of_this_commit(known)
    else:
        chosen = [known[name] for name in arguments.names] or list(known.values())
        chosen = chosen if only != "mechanical" else []
        sample = draw(arguments.mechanical, arguments.seed) if only != "catalogue" else []
    seconds = try_as_it_is(chosen, sample)
    caught = try_catalogue(chosen, seconds) if chosen else 0
    counts = try_sample(sample, seconds) if sample else {"survived": 0}
    if arguments.write:
        write_scores((len(chosen), caught), counts, seed=arguments.seed, began=began)
    print(f"{time.monotonic() - began:.0f} s")
    return 1 if caught < len(chosen) or counts["survived"] else 0


if __name__ == "__main__":
    sys.exit(main())
