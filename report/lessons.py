"""The lessons as plain data: what their notebooks and exercises say of themselves."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vae_helpers.exercises import EXERCISES
from vae_helpers.exercises.exercise import told

SUMMARY = "00"  # the study on one page asks no question
TITLE = re.compile(r"# (?P<number>\d\d) · (?P<title>.+)")
BOLD = re.compile(r"\*\*([^*]*\?)\*\*")
ANNOUNCED = re.compile(r"\*\*The question[.:]\*\* (?P<question>.*\?)", re.DOTALL)
SENTENCE = re.compile(r"(?:[^.?!]|[.?!](?!\s))+[.?!]*")
READING = re.compile(r"(?:About )?(\d+) minutes to read")
SHOWN = re.compile(r"^## What has been shown.*?\n+(.+?)(?=^## |\Z)", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True, kw_only=True)
class Exercise:
    """An exercise as its notebook announces it, and the words of its check for known mistakes."""

    name: str
    title: str
    objective: str
    kind: str
    difficulty: int
    minutes: int
    misconceptions: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Lesson:
    """A lesson as it announces itself; texts are Markdown.

    Attributes:
        name: of the notebook, such as "02_bound".
        question: that the lesson answers.
        objectives: what a reader can do afterwards.
        minutes: to read.
        times: its sentences about reading and running.
        shown: how the section "What has been shown" begins; empty if there is none.
        sections: of each figure, the heading above it.
        exercises: in the order of their notebook.
    """

    name: str
    title: str
    question: str
    objectives: tuple[str, ...]
    minutes: int
    times: str
    shown: str
    sections: Mapping[str, str]
    exercises: tuple[Exercise, ...]

    @property
    def number(self) -> str:
        """Such as "02"."""
        return self.name[:2]


def read(notebooks: Path) -> dict[str, Lesson]:
    """The lessons by name, with the exercises of solutions/ below the folder.

    Raises:
        ValueError: a lesson or an exercise does not say what it should; the message says where.
    """
    paths = sorted(notebooks.glob("[0-9][0-9]_*.ipynb"))
    found = {path.stem: lesson(path) for path in paths if path.stem[:2] != SUMMARY}
    if not found:
        raise ValueError(f"expected a folder with lessons, got {notebooks}")
    for path in sorted((notebooks / "solutions").glob("*.ipynb")):
        if path.stem not in found:
            raise ValueError(f"solutions/{path.name}: there is no lesson of this name")
    return found


def lesson(path: Path) -> Lesson:
    """One lesson, from its notebook.

    Raises:
        ValueError: title, question, objectives or minutes are missing.
    """
    where = f"notebooks/{path.name}"
    cells = _cells(path)
    opening = _source(cells[0]) if cells else ""
    title = TITLE.match(opening)
    if not title:
        raise ValueError(f"{where}: expected a first cell with a title such as '# 02 · Title'")
    paragraphs = opening.split("\n\n")[1:]
    question, goals = _question(paragraphs), _objectives(paragraphs)
    time = next((it for it in paragraphs if READING.search(it)), "")
    for what, given, example in (
        ("question", question, "**What is maximised?**"),
        ("objectives", goals, "Afterwards you can ..."),
        ("minutes", time, "About 30 minutes to read, some seconds to run."),
    ):
        if not given:
            raise ValueError(f"{where}: the first cell has no {what}, such as {example!r}")
    sentences = [it.strip() for it in SENTENCE.findall(time)]
    solutions = path.parent / "solutions" / path.name
    return Lesson(
        name=path.stem,
        title=title["title"],
        question=question,
        objectives=goals,
        minutes=int(READING.findall(time)[0]),
        times=" ".join(it for it in sentences if re.search("minute|second", it)),
        shown=_shown(cells),
        sections=_sections(cells),
        exercises=tuple(exercises(solutions)) if solutions.is_file() else (),
    )


def exercises(path: Path) -> Iterable[Exercise]:
    """The exercises of a notebook with solutions.

    Raises:
        ValueError: an exercise lacks a field or a check.
    """
    for cell in _cells(path):
        if about := cell["metadata"].get("exercise"):
            where = f"solutions/{path.name}: exercise {about.get('name')!r}"
            if about.get("name") not in EXERCISES:
                raise ValueError(f"{where} has no check in vae_helpers.exercises")
            heading = _source(cell).partition("\n")[0]
            known = EXERCISES[about["name"]].misconceptions
            try:
                yield Exercise(
                    **about,
                    title=heading.partition(" · ")[2] or heading.lstrip("# "),
                    misconceptions=tuple(told(*pair) for pair in known.items()),
                )
            except TypeError as error:
                raise ValueError(f"{where}: {str(error).partition('() ')[2]}") from error


def _cells(path: Path) -> list[dict[str, Any]]:
    cells: list[dict[str, Any]] = json.loads(path.read_text(encoding="utf-8"))["cells"]
    return cells


def _source(cell: Mapping[str, Any]) -> str:
    return "".join(cell["source"])


def _question(paragraphs: list[str]) -> str:
    """What is bold and asks, what is announced, or else every sentence that asks."""
    prose = [it for it in paragraphs if not _is_goal(it)]
    for text in prose:
        if found := ANNOUNCED.search(text) or BOLD.search(text):
            question = " ".join(found[found.lastindex or 0].split())
            return question[0].upper() + question[1:]
    asked = [it.strip() for text in prose for it in SENTENCE.findall(text)]
    return " ".join(it for it in asked if it.endswith("?"))


def _is_goal(paragraph: str) -> bool:
    return paragraph.replace("*", "").startswith("Afterwards you can")


def _objectives(paragraphs: list[str]) -> tuple[str, ...]:
    for text, below in zip(paragraphs, [*paragraphs[1:], ""], strict=True):
        if not _is_goal(text):
            continue
        sentence = text.replace("**", "").removeprefix("Afterwards you can").strip()
        if sentence:
            return (" ".join(sentence.split()),)
        items = re.split(r"^- ", below, flags=re.MULTILINE)[1:]
        return tuple(" ".join(it.split()).rstrip(".,;") for it in items)
    return ()


def _shown(cells: list[dict[str, Any]]) -> str:
    prose = "\n\n".join(_source(it) for it in cells if it["cell_type"] == "markdown")
    section = SHOWN.search(prose)
    if not section:
        return ""
    first, _, rest = section[1].strip().partition("\n\n")
    if re.fullmatch(r"\*\*[^*]+\*\*", first):  # a question whose answer is a paragraph of its own
        return first + " " + rest.partition("\n\n")[0]
    return first


def _sections(cells: list[dict[str, Any]]) -> dict[str, str]:
    heading = ""
    found: dict[str, str] = {}
    for cell in cells:
        source = _source(cell)
        if cell["cell_type"] == "markdown":
            heading = (re.findall(r"^##+ (.+)", source, re.MULTILINE) or [heading])[-1]
        elif "results.show" in source:
            for name in re.findall(r'"(\w+)"', source):
                found.setdefault(name, heading)
    return found
