"""A catalogue of well-known mistakes, and how to plant one in a copy of the project.

`make mutants` plants each mistake and shows which test catches it; notebook 17_clinic trains with
some of them and asks the reader which is which.
"""

from __future__ import annotations

import json
import re
import shutil
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from vae_helpers import PROJECT
from vae_helpers.store.files import write_whole

CATALOGUE = PROJECT / "tests" / "mistakes.toml"


class MistakeError(ValueError):
    """A mistake cannot be planted: the line that it changes is not there, or not once."""


@dataclass(frozen=True)
class Mistake:
    """One edit of the package that makes it wrong.

    Attributes:
        name: what is wrong, in a few words.
        file: of the package, from the project's root.
        old: what stands there, exactly once in the file.
        new: what it becomes.
        check: the test that must fail because of it, `tests/test_x.py::test_y`.
    """

    name: str
    file: str
    old: str
    new: str
    check: str


def catalogue(path: Path = CATALOGUE) -> Mapping[str, Mistake]:
    """The mistakes by name, in the order of the file."""
    entries = tomllib.loads(path.read_text(encoding="utf-8"))
    return {name: Mistake(name, **entry) for name, entry in entries.items()}


def copy_project(copy: Path, *folders: str, course: Path = PROJECT) -> None:
    """The package and folders of a course, in an empty folder; a link shares the images."""
    ignored = shutil.ignore_patterns("__pycache__", ".ipynb_checkpoints")
    for folder in (PROJECT / "vae_helpers", *(course / name for name in folders)):
        shutil.copytree(folder, copy / folder.name, ignore=ignored)
    shutil.copy(PROJECT / "pyproject.toml", copy)
    (copy / "data").symlink_to(PROJECT / "data", target_is_directory=True)


def plant(mistake: Mistake, copy: Path) -> int:
    """Make a mistake in a copy, in its package and in the notebooks that teach the same line.

    So no comparison of the two can notice it.

    Returns:
        How many notebooks teach the line and now have it too.

    Raises:
        MistakeError: the line is not in the file exactly once.
    """
    file = copy / mistake.file
    text = file.read_text(encoding="utf-8")
    if (found := text.count(mistake.old)) != 1:
        raise MistakeError(
            f"{mistake.name}: expected {mistake.old!r} once in {mistake.file}, found it {found} "
            f"times; give the mistake in {CATALOGUE.name} the line as it is now"
        )
    write_whole(file, text.replace(mistake.old, mistake.new))
    return sum(
        _plant_taught(mistake, path) for path in sorted((copy / "notebooks").glob("*.ipynb"))
    )


def _plant_taught(mistake: Mistake, path: Path) -> bool:
    """Whether a notebook teaches the line; the same tokens count, however the line is broken."""
    tokens = re.findall(r"\w+|[^\w\s]", mistake.old)
    pattern = re.compile(r"\s*".join(map(re.escape, tokens)))
    notebook = json.loads(path.read_text(encoding="utf-8"))
    planted = 0
    for cell in notebook["cells"]:
        source = "".join(cell["source"])
        if cell["cell_type"] == "code" and re.search("^# taught:", source, re.MULTILINE):
            cell["source"], count = pattern.subn(lambda _: mistake.new, source)
            planted += count
    if planted:
        write_whole(path, json.dumps(notebook, indent=1, ensure_ascii=False) + "\n")
    return planted > 0
