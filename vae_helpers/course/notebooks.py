"""The notebooks of the course: their names, the defaults of their parameters, and the profiles."""

from __future__ import annotations

import ast
import hashlib
import json
import os
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from vae_helpers import COURSE, parameters
from vae_helpers.course import rules
from vae_helpers.course.rules import Rules
from vae_helpers.parameters import ParameterError, suggestion

NOTEBOOKS = COURSE / "notebooks"
BUILD = COURSE / "build"
PARAMETERS = COURSE / "notebooks" / "parameters.toml"
"""The rules of another course, in the place of `parameters.RULES` and of `SMOKE`."""
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
"""The smoke profile of this course: every notebook takes those of the parameters that it has."""


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
    return {name: ast.literal_eval(value) for name, _, value in _declared(notebook)}


def check(name: str, value: Any) -> Any:
    """The value of a notebook's parameter in its own type, if it is valid.

    Raises:
        ParameterError: as in `parameters.check`, by the rules of the course.
    """
    return parameters.check(name, value, allowed().rules)


@cache
def allowed() -> Rules:
    """What the parameters may be: as the course's parameters.toml says, if it has one.

    Raises:
        ParameterError: it does not say what is needed, or two notebooks annotate a parameter
            differently.
    """
    if not PARAMETERS.is_file():
        return Rules(parameters.RULES, SMOKE)
    annotations: dict[str, str] = {}
    for notebook in names():
        for name, annotation, _ in _declared(notebook):
            own = ast.unparse(annotation)
            if annotations.setdefault(name, own) != own:
                raise ParameterError(
                    f"{notebook}: {name}: expected the annotation that it has in other notebooks, "
                    f"{annotations[name]}, got {own}"
                )
    return rules.read(PARAMETERS, annotations)


def profile_of(notebook: str, values: Mapping[str, Any]) -> str:
    """ "full" for the notebook's defaults, "smoke" for the smoke profile, else a digest."""
    known = {name: check(name, value) for name, value in defaults(notebook).items()}
    if dict(values) == known:
        return "full"
    small = allowed().smoke
    if dict(values) == {name: small.get(name, value) for name, value in known.items()}:
        return "smoke"
    text = json.dumps([notebook, dict(values)], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def _declared(notebook: str) -> list[tuple[str, ast.expr, ast.expr]]:
    """Name, annotation and default of each parameter."""
    known = names()
    if notebook not in known:
        raise ParameterError(f"unknown notebook {notebook!r}{suggestion(notebook, known)}")
    path = NOTEBOOKS / f"{notebook}.ipynb"
    for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]:
        if "parameters" in cell["metadata"].get("tags", []):
            return [*map(_assignment, ast.parse("".join(cell["source"])).body)]
    raise ParameterError(f"{path.name}: expected a cell tagged 'parameters', found none")


def _assignment(statement: ast.stmt) -> tuple[str, ast.expr, ast.expr]:
    if not isinstance(statement, ast.AnnAssign) or statement.value is None:
        raise ParameterError(
            "parameters cell: expected lines such as `epochs: int = 30`, "
            f"got `{ast.unparse(statement)}`"
        )
    return ast.unparse(statement.target), statement.annotation, statement.value
