"""The notebooks of the course: their names, the defaults of their parameters, and the profiles."""

from __future__ import annotations

import ast
import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from vae_helpers import PROJECT, parameters
from vae_helpers.parameters import ParameterError, suggestion

NOTEBOOKS = PROJECT / "notebooks"
BUILD = PROJECT / "build"
PROFILES = ("full", "smoke")

SMOKE: Mapping[str, Any] = {
    "epochs": 2,
    "compare_epochs": 1,
    "arm_epochs": 2,
    "train_images": 3_000,
    "test_images": 1_000,
    "generated_images": 1_000,
    "likelihood_images": 100,
    "num_samples": 5,
}
"""The smoke profile: every notebook takes those of the parameters that it has."""


def names() -> list[str]:
    """The notebooks of the course, in order.

    Raises:
        ParameterError: the package was installed without them.
    """
    found = sorted(path.stem for path in NOTEBOOKS.glob("*.ipynb"))
    if not found:
        raise ParameterError(
            f"expected the notebooks of the course in {NOTEBOOKS}, found none; a wheel holds none, "
            "so install the package from a clone of the project with `pip install -e .`"
        )
    return found


def find(name: str) -> str:
    """A notebook's name from its name, its path, or a beginning that only it has.

    Raises:
        ParameterError: no notebook fits, or several do.
    """
    path = Path(os.path.abspath(name))
    stem = path.stem if path.suffix == ".ipynb" else path.name
    if os.sep in name and path.parent != NOTEBOOKS:
        raise ParameterError(f"expected a notebook in {NOTEBOOKS.name}/, got {name!r}")
    known = names()
    fitting = [other for other in known if other == stem] or [
        other for other in known if other.startswith(stem)
    ]
    if len(fitting) != 1:
        raise ParameterError(f"unknown notebook {name!r}{suggestion(stem, known)}")
    return fitting[0]


def defaults(notebook: str) -> dict[str, Any]:
    """The parameters of a notebook with their default values, read from its tagged cell.

    Raises:
        ParameterError: there is no such notebook, or no cell tagged `parameters` in it.
    """
    known = names()
    if notebook not in known:
        raise ParameterError(f"unknown notebook {notebook!r}{suggestion(notebook, known)}")
    path = NOTEBOOKS / f"{notebook}.ipynb"
    for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]:
        if "parameters" in cell["metadata"].get("tags", []):
            return dict(map(_assignment, ast.parse("".join(cell["source"])).body))
    raise ParameterError(f"{path.name}: expected a cell tagged 'parameters', found none")


def profile_of(notebook: str, values: Mapping[str, Any]) -> str:
    """ "full" for the notebook's defaults, "smoke" for the smoke profile, else a digest."""
    known = {name: parameters.check(name, value) for name, value in defaults(notebook).items()}
    if dict(values) == known:
        return "full"
    if dict(values) == {name: SMOKE.get(name, value) for name, value in known.items()}:
        return "smoke"
    text = json.dumps([notebook, dict(values)], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def _assignment(statement: ast.stmt) -> tuple[str, Any]:
    if not isinstance(statement, ast.AnnAssign) or statement.value is None:
        raise ParameterError(
            "parameters cell: expected lines such as `epochs: int = 30`, "
            f"got `{ast.unparse(statement)}`"
        )
    return ast.unparse(statement.target), ast.literal_eval(statement.value)
