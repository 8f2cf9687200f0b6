"""Make the instructor's guide, the slides and the assignment from what the notebooks say.

    python report/guide.py --output report/instructor.pdf
    python report/guide.py --slides build/report/slides.pdf --results report
    python report/guide.py --assignment build/assignment.ipynb

Lessons and exercises are read from notebooks/, the rest is report/instructor.toml. A lesson that
does not say its question, objectives or minutes is an error, and so is a plan that takes longer
than its time, and any warning of the typesetter.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import typst

import assignment
import lessons
import markup
import plan
from vae_helpers.store.files import write_whole

PROJECT = Path(__file__).resolve().parent.parent


def read(root: Path) -> tuple[dict[str, lessons.Lesson], plan.Plan]:
    """Lessons and plan of a checkout.

    Raises:
        ValueError: something is missing or does not fit; the message says where.
    """
    found = lessons.read(root / "notebooks")
    return found, plan.read(root / "report" / "instructor.toml", found)


def guide_data(found: Mapping[str, lessons.Lesson], written: plan.Plan) -> dict[str, Any]:
    """What instructor.typ shows: texts as pieces of `markup`.

    Raises:
        ValueError: a formula cannot be typeset.
    """
    known = plan.exercises_of(found)
    return {
        "use": [markup.pieces(it) for it in written.use.split("\n\n")],
        "lessons": [_lesson(it, written.needs[it.name], known) for it in found.values()],
        "cuts": [
            {
                "name": cut.name,
                "minutes": cut.minutes,
                "about": markup.pieces(cut.about),
                "assumed": [name[:2] for name in cut.assumed],
                "parts": [
                    {
                        "name": part.name,
                        "minutes": part.minutes,
                        "needed": part.needed,
                        "lessons": [name[:2] for name in part.lessons],
                        "exercises": part.exercises,
                    }
                    for part in cut.parts
                ],
            }
            for cut in written.cuts
        ],
        "rubric": [
            {"criterion": name, "levels": [markup.pieces(level) for level in levels]}
            for name, levels in written.rubric.items()
        ],
        "assignment": {
            "title": written.assignment.title,
            "written": [markup.pieces(it) for it in written.assignment.written],
            "tasks": [
                {"name": name, "points": points, "minutes": known[name].minutes}
                for name, points in written.assignment.points.items()
            ],
        },
    }


def _lesson(
    it: lessons.Lesson, needs: plan.Needs, known: Mapping[str, lessons.Exercise]
) -> dict[str, Any]:
    return {
        "number": it.number,
        "title": markup.pieces(it.title),
        "question": markup.pieces(it.question),
        "objectives": [markup.pieces(goal) for goal in it.objectives],
        "times": markup.pieces(it.times),
        "needs": [name[:2] for name in needs.lessons],
        "also": markup.pieces(needs.also),
        "minutes": sum(exercise.minutes for exercise in it.exercises),
        "exercises": [
            {
                "name": exercise.name,
                "title": markup.pieces(exercise.title),
                "objective": markup.pieces(exercise.objective),
                "kind": exercise.kind,
                "difficulty": exercise.difficulty,
                "minutes": exercise.minutes,
                "misconceptions": exercise.misconceptions,
            }
            for exercise in it.exercises
        ],
    }


def slides_data(found: Mapping[str, lessons.Lesson], results: Path) -> list[dict[str, Any]]:
    """What slides.typ shows; a lesson without results has no figures.

    Args:
        found: the lessons.
        results: a folder of the project with results/ and figures/.

    Raises:
        ValueError: a text cannot be typeset.
    """
    shown = []
    for it in found.values():
        path = results / "results" / f"{it.name}.json"
        figures = json.loads(path.read_text(encoding="utf-8"))["figures"] if path.is_file() else {}
        shown.append(
            {
                "number": it.number,
                "title": markup.pieces(it.title),
                "question": markup.pieces(it.question),
                "objectives": [markup.pieces(goal) for goal in it.objectives],
                "times": markup.pieces(it.times),
                "shown": markup.blocks(it.shown) if it.shown else [],
                "figures": [
                    {
                        "heading": markup.pieces(it.sections.get(name, it.title)),
                        "file": figure.get("vector", figure["file"]),
                        "alt": figure["alt"],
                        "caption": markup.pieces(figure["caption"]),
                    }
                    for name, figure in figures.items()
                ],
            }
        )
    return shown


def typeset(source: str, data: object, *, folder: Path = PROJECT / "report") -> bytes:
    """A source of report/ as PDF, with the data as its input.

    Args:
        source: such as "instructor.typ".
        data: what JSON can hold.
        folder: of the project, with figures/.

    Raises:
        ValueError: the folder lies outside the project.
        RuntimeError: the typesetter found something missing or warned.
    """
    if not folder.resolve().is_relative_to(PROJECT):
        raise ValueError(f"--results: expected a folder of the project, got {folder}")
    inputs = {
        "data": json.dumps(data, ensure_ascii=False),
        "folder": f"/{folder.resolve().relative_to(PROJECT)}",
    }
    try:
        made, warnings = typst.compile_with_warnings(
            PROJECT / "report" / source,
            root=PROJECT,
            format="pdf",
            sys_inputs=inputs,
            ignore_system_fonts=True,
        )
    except typst.TypstError as error:
        raise RuntimeError(f"{source}: {error.message}") from error
    if warnings:
        raise RuntimeError(f"{source}: {'; '.join(it.message for it in warnings)}")
    return bytes(made)


def main() -> int:
    """Make what is asked for, or say in one line why not."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--output", type=Path, metavar="FILE", help="the guide, a PDF")
    parser.add_argument("--slides", type=Path, metavar="FILE", help="the slides, a PDF")
    parser.add_argument("--results", type=Path, default=PROJECT / "report", metavar="FOLDER")
    parser.add_argument("--assignment", type=Path, metavar="FILE", help="the student's notebook")
    options = parser.parse_args()
    if not (options.output or options.slides or options.assignment):
        parser.error("expected --output, --slides or --assignment")
    try:
        found, written = read(PROJECT)
        made: dict[Path, bytes | str] = {}
        if options.output:
            made[options.output] = typeset("instructor.typ", guide_data(found, written))
        if options.slides:
            data = slides_data(found, options.results)
            made[options.slides] = typeset("slides.typ", data, folder=options.results)
        if options.assignment:
            solutions = PROJECT / "notebooks" / "solutions"
            tasks = assignment.notebook(written.assignment, solutions)
            made[options.assignment] = assignment.text(tasks)
        for path, content in made.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            write_whole(path.resolve(), content)
            print(f"built {path}")
    except (ValueError, RuntimeError, OSError) as error:
        print(f"not built: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
