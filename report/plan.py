"""What an instructor's guide adds to the lessons: report/instructor.toml, held against them."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lessons import Exercise, Lesson
from vae_helpers.parameters import suggestion

LEVELS = 4
"""Of each criterion of the rubric."""


@dataclass(frozen=True, kw_only=True)
class Needs:
    """What a lesson builds on: other lessons by name, and what else, in Markdown."""

    lessons: tuple[str, ...]
    also: str


@dataclass(frozen=True, kw_only=True)
class Part:
    """A session or a week: `needed` minutes for lessons and exercises, of the `minutes` it has."""

    name: str
    minutes: int
    needed: int
    lessons: tuple[str, ...]
    exercises: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Cut:
    """A part of the course for a given time; `assumed` are needed lessons that it leaves out."""

    name: str
    minutes: int
    about: str
    parts: tuple[Part, ...]
    assumed: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Assignment:
    """The exercises without checks, with their points, and the tasks in words."""

    title: str
    intro: str
    written: tuple[str, ...]
    points: Mapping[str, int]


@dataclass(frozen=True, kw_only=True)
class Plan:
    """Everything that is written by hand; texts are Markdown."""

    use: str
    needs: Mapping[str, Needs]
    cuts: tuple[Cut, ...]
    rubric: Mapping[str, tuple[str, ...]]
    assignment: Assignment


def exercises_of(lessons: Mapping[str, Lesson]) -> dict[str, Exercise]:
    """The exercises of all lessons, by name."""
    return {it.name: it for lesson in lessons.values() for it in lesson.exercises}


def read(path: Path, lessons: Mapping[str, Lesson]) -> Plan:
    """The plan of a file, held against the lessons.

    Raises:
        ValueError: it names what there is not, leaves out a lesson, plans more than the time
            allows, or lacks a field.
    """
    written = tomllib.loads(path.read_text(encoding="utf-8"))
    try:
        needs = {
            name: Needs(lessons=tuple(it["lessons"]), also=it["also"])
            for name, it in written["needs"].items()
        }
        _known([*needs], lessons, f"{path.name}: needs", "lesson")
        for name in lessons:
            if name not in needs:
                raise ValueError(f"{path.name}: needs: nothing is said of lesson {name!r}")
            _known(needs[name].lessons, lessons, f"{path.name}: needs of {name}", "lesson")
            if late := [it for it in needs[name].lessons if it >= name]:
                raise ValueError(f"{path.name}: needs of {name}: {late[0]!r} does not come before")
        return Plan(
            use=written["use"].strip(),
            needs=needs,
            cuts=tuple(_cut(it, lessons, needs, path.name) for it in written["cuts"]),
            rubric=_rubric(written["rubric"], path.name),
            assignment=_assignment(written["assignment"], lessons, path.name),
        )
    except KeyError as error:
        raise ValueError(f"{path.name}: expected a field {error}, found none") from error


def _cut(
    it: Mapping[str, Any], lessons: Mapping[str, Lesson], needs: Mapping[str, Needs], file: str
) -> Cut:
    where = f"{file}: cut {it['name']!r}"
    known = exercises_of(lessons)
    parts = []
    taught: set[str] = set()
    assumed: set[str] = set()
    for part in it["parts"]:
        at = f"{where}, {part['name']!r}"
        _known(part["lessons"], lessons, at, "lesson")
        _known(part["exercises"], known, at, "exercise")
        needed = sum(lessons[name].minutes for name in part["lessons"])
        needed += sum(known[name].minutes for name in part["exercises"])
        if needed > part["minutes"]:
            raise ValueError(f"{at}: {needed} minutes are planned for {part['minutes']}")
        for name in part["lessons"]:
            assumed |= {*needs[name].lessons} - taught
            taught.add(name)
        parts.append(
            Part(
                name=part["name"],
                minutes=part["minutes"],
                needed=needed,
                lessons=tuple(part["lessons"]),
                exercises=tuple(part["exercises"]),
            )
        )
    total = sum(part.minutes for part in parts)
    if total > it["minutes"]:
        raise ValueError(f"{where}: its parts take {total} minutes, and it has {it['minutes']}")
    return Cut(
        name=it["name"],
        minutes=it["minutes"],
        about=it["about"],
        parts=tuple(parts),
        assumed=tuple(sorted(assumed)),
    )


def _rubric(written: Sequence[Mapping[str, Any]], file: str) -> dict[str, tuple[str, ...]]:
    for it in written:
        if len(it["levels"]) != LEVELS:
            raise ValueError(
                f"{file}: rubric, {it['criterion']!r}: expected {LEVELS} levels, "
                f"got {len(it['levels'])}"
            )
    return {it["criterion"]: tuple(it["levels"]) for it in written}


def _assignment(it: Mapping[str, Any], lessons: Mapping[str, Lesson], file: str) -> Assignment:
    _known([*it["points"]], exercises_of(lessons), f"{file}: assignment", "exercise")
    return Assignment(
        title=it["title"], intro=it["intro"], written=tuple(it["written"]), points=it["points"]
    )


def _known(names: Sequence[str], known: Mapping[str, object], where: str, what: str) -> None:
    for name in names:
        if name not in known:
            raise ValueError(f"{where}: unknown {what} {name!r}{suggestion(name, known)}")
