"""The instructor's guide as a page of the book, in Markdown."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

import lessons
import plan

SPECIAL = re.compile(r"([\\`*_<>\[\]{}$|~#])")
"""What Markdown would read in words of a check, which are no Markdown."""


def page(found: Mapping[str, lessons.Lesson], written: plan.Plan) -> str:
    """The guide; links and files as from the top of the repository.

    Args:
        found: the lessons by name.
        written: what was written by hand.
    """
    return "\n".join(
        [
            "# For instructors\n",
            "Also [on paper](report/instructor.pdf).\n",
            "## How to use it\n",
            f"{written.use}\n",
            "## Three cuts\n",
            *(line for cut in written.cuts for line in _cut(cut)),
            "## Rubric\n",
            *_table(
                ["criterion", *map(str, range(plan.LEVELS))],
                ([name, *levels] for name, levels in written.rubric.items()),
            ),
            "## Assignment with hidden checks\n",
            *_assignment(written.assignment),
            "## The lessons\n",
            *(line for it in found.values() for line in _lesson(it, written.needs[it.name])),
        ]
    )


def _cut(cut: plan.Cut) -> Iterable[str]:
    yield f"### {cut.name}\n"
    assumed = ", ".join(map(_link, cut.assumed))
    yield cut.about + (f" Lessons built on without being taught: {assumed}.\n" if assumed else "\n")
    yield from _table(
        ["part", "lessons", "exercises", "minutes", "of"],
        (
            [
                part.name,
                ", ".join(map(_link, part.lessons)),
                ", ".join(f"`{name}`" for name in part.exercises),
                str(part.needed),
                str(part.minutes),
            ]
            for part in cut.parts
        ),
    )


def _assignment(it: plan.Assignment) -> Iterable[str]:
    yield "`python report/guide.py --assignment FILE.ipynb` writes the student's notebook, with"
    yield "stubs and without checks. `python -m vae_helpers.exercises.grade A.ipynb B.ipynb`"
    yield "executes what comes back, tries the answers by their names and prints the points.\n"
    yield from _table(
        ["exercise", "points"], ([f"`{name}`", str(worth)] for name, worth in it.points.items())
    )
    yield "\n\n".join(it.written) + "\n"


def _lesson(it: lessons.Lesson, needs: plan.Needs) -> Iterable[str]:
    yield f"### {it.number} · {it.title}\n"
    yield f"[The lesson](notebooks/{it.name}.ipynb). *{it.question}*\n"
    if len(it.objectives) == 1:
        yield f"**Afterwards they can** {it.objectives[0]}\n"
    else:
        yield "**Afterwards they can**\n"
        yield "\n".join(f"- {goal}" for goal in it.objectives) + "\n"
    others = [*map(_link, needs.lessons), *([needs.also] if needs.also else [])]
    yield f"**Needs** {'; '.join(others) or 'nothing'}. **Time** {it.times}\n"
    if it.exercises:
        yield from _table(
            ["exercise", "objective", "kind", "difficulty", "minutes"],
            (
                [f"`{one.name}`", one.objective, one.kind, str(one.difficulty), str(one.minutes)]
                for one in it.exercises
            ),
        )
        yield "<details>\n<summary>What usually goes wrong</summary>\n"
        for one in it.exercises:
            yield f"- `{one.name}`"
            yield from (f"  - {_escaped(sentence)}" for sentence in one.misconceptions)
        yield "\n</details>\n"


def _escaped(sentence: str) -> str:
    return SPECIAL.sub(r"\\\1", sentence)


def _link(name: str) -> str:
    return f"[{name[:2]}](notebooks/{name}.ipynb)"


def _table(head: list[str], rows: Iterable[list[str]]) -> Iterable[str]:
    for cells in (head, ["---"] * len(head), *rows):
        yield "| " + " | ".join(cell.replace("|", r"\|") for cell in cells) + " |"
    yield ""
