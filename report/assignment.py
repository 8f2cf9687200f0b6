"""The student's notebook of the assignment: stubs from the solutions, and no checks."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from plan import Assignment
from vae_helpers.exercises.student import student_notebook

CHECK = "vae_helpers.exercises"
"""What an import of the check names."""


def notebook(assignment: Assignment, solutions: Path, *, solved: bool = False) -> dict[str, Any]:
    """The assignment as a notebook.

    Args:
        assignment: which exercises, and the words around them.
        solutions: the folder of notebooks with solutions.
        solved: with the solutions in place of stubs, to try the grader.

    Raises:
        ValueError: an exercise stands in none of the notebooks.
    """
    sections: dict[str, list[dict[str, Any]]] = {}
    imports: set[str] = set()
    made: dict[str, Any] = {}
    for path in sorted(solutions.glob("*.ipynb")):
        made = json.loads(path.read_text(encoding="utf-8"))
        if not solved:
            made = student_notebook(made)
        found = dict(_sections(made["cells"]))
        if found.keys() & assignment.points.keys():
            imports |= _imports(made["cells"])
        sections |= found
    for name in assignment.points:
        if name not in sections:
            raise ValueError(f"assignment: exercise {name!r} stands in no notebook of {solutions}")
    plain = sorted(line for line in imports if line.startswith("import "))
    cells = [
        _cell("markdown", "title", f"# {assignment.title}\n\n{assignment.intro}"),
        _cell("code", "imports", "\n".join(plain + sorted(imports - {*plain}))),
    ]
    for name, points in assignment.points.items():
        task, *rest = sections[name]
        source = "".join(task["source"]) + f"\n\nPoints: {points}."
        cells += [dict(task, source=source.splitlines(True)), *rest]
    for number, text in enumerate(assignment.written, start=1):
        cells.append(_cell("markdown", f"written-{number}", text))
        cells.append(_cell("markdown", f"written-{number}-answer", "*Write your answer here.*"))
    return dict(made, cells=cells)


def text(notebook: Mapping[str, Any]) -> str:
    """The file of a notebook."""
    return json.dumps(notebook, indent=1, ensure_ascii=False, sort_keys=True) + "\n"


def _sections(cells: list[dict[str, Any]]) -> Iterable[tuple[str, list[dict[str, Any]]]]:
    """Each exercise's cells from its task on, without its check."""
    name, section = "", list[dict[str, Any]]()
    for cell in cells:
        if about := cell["metadata"].get("exercise"):
            if name:
                yield name, section
            name, section = about["name"], []
        if name and not "".join(cell["source"]).startswith("check("):
            section.append(cell)
    if name:
        yield name, section


def _imports(cells: list[dict[str, Any]]) -> set[str]:
    """The lines of the first code cell that import something else than the check."""
    first = next(cell for cell in cells if cell["cell_type"] == "code")
    return {
        line
        for line in "".join(first["source"]).splitlines()
        if line.startswith(("import ", "from ")) and CHECK not in line
    }


def _cell(kind: str, name: str, source: str) -> dict[str, Any]:
    cell: dict[str, Any] = {
        "cell_type": kind,
        "id": f"assignment-{name}",
        "metadata": {},
        "source": source.splitlines(True),
    }
    return cell | ({"outputs": [], "execution_count": None} if kind == "code" else {})
