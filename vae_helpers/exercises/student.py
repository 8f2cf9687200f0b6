"""The reader's notebooks, made from those with the solutions: `python -m ...exercises.student`.

What stands between `### BEGIN SOLUTION` and `### END SOLUTION` is taken out and a stub put in its
place. Markers and stub are those of nbgrader's ClearSolutions, so that nbgrader can be used as
well.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from vae_helpers import PROJECT

SOLUTIONS = PROJECT / "notebooks" / "solutions"
STUDENTS = PROJECT / "notebooks" / "exercises"

BEGIN, END = "### BEGIN SOLUTION", "### END SOLUTION"
STUB = ("# YOUR CODE HERE", "raise NotImplementedError()")


def cleared(source: str) -> str:
    """The source of a cell with a stub in place of every solution, indented as its marker.

    Raises:
        ValueError: a marker has no partner.
    """
    kept: list[str] = []
    inside = False
    for line in source.splitlines(keepends=True):
        marker = line.strip()
        if marker in {BEGIN, END}:
            if (marker == BEGIN) == inside:
                expected = END if inside else BEGIN
                raise ValueError(f"expected {expected!r} first, found {marker!r}")
            inside = not inside
            if inside:
                indent = line[: len(line) - len(line.lstrip())]
                kept.append("\n".join(indent + stub for stub in STUB) + "\n")
        elif not inside:
            kept.append(line)
    if inside:
        raise ValueError(f"expected {END!r} after {BEGIN!r}, found the end of the cell")
    text = "".join(kept)
    return text if source.endswith("\n") else text.removesuffix("\n")


def student_notebook(solution: dict[str, Any]) -> dict[str, Any]:
    """A notebook as parsed from JSON, without solutions, outputs and execution counts.

    Raises:
        ValueError: a marker has no partner; the message begins with the id of its cell.
    """
    cells = []
    for cell in solution["cells"]:
        new = dict(cell)
        if cell["cell_type"] == "code":
            try:
                source = cleared("".join(cell["source"]))
            except ValueError as error:
                raise ValueError(f"{cell['id']}: {error}") from None
            new |= {"source": source.splitlines(True), "outputs": [], "execution_count": None}
        cells.append(new)
    return {**solution, "cells": cells}


def student_text(path: Path) -> str:
    """The file of the reader's notebook, from the file with the solutions."""
    solution = json.loads(path.read_text(encoding="utf-8"))
    notebook = student_notebook(solution)
    return json.dumps(notebook, indent=1, ensure_ascii=False, sort_keys=True) + "\n"


def main() -> None:
    """Write the reader's notebook of every lesson."""
    STUDENTS.mkdir(exist_ok=True)
    for path in sorted(SOLUTIONS.glob("*.ipynb")):
        made = STUDENTS / path.name
        made.write_text(student_text(path), encoding="utf-8", newline="\n")
        print(f"wrote {made.relative_to(PROJECT)}")


if __name__ == "__main__":
    main()
