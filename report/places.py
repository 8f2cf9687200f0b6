"""Put the numbers of the committed results into README.md, MANUAL.md and the notebooks' prose.

    python report/places.py

A number that a run produced is never typed: it stands in a *place*, between
`<!--05_training.train_loss_last .1f-->` and `<!---->`. The opening names the notebook, the number
and, after a last space, how Python prints it. A page does not show either comment. This command
fills in what report/results/ holds; tests/test_numbers.py holds the two against each other.

vae_helpers/studies/keys.py says how a number is named. A form of `.0%` prints 0.63 as 63 %.

A place does not work at the start of a line, where Markdown takes the line for HTML, nor inside
`code` or $formulas$. After new results the order is: report/places.py, report/build.py,
report/seal.py; `make refresh` keeps to it.
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

from vae_helpers import COURSE
from vae_helpers.store.files import write_whole
from vae_helpers.studies.keys import PLACE, TEXTS, value_of

COMMENT = re.compile(r"<!--.*?(?:-->|$)", re.MULTILINE)
VISIBLE = {
    "at the start of a line": re.compile(r"^[ >*+-]*(?:\d+\. +)?<!--.*", re.MULTILINE),
    "inside a code block": re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL),
    "inside code": re.compile(r"`[^`\n]+`"),
    "inside a formula": re.compile(r"\$\$.+?\$\$|\$[^$\n]+\$", re.DOTALL),
}


class PlaceError(ValueError):
    """A place that cannot be filled; the message says where it stands and what is wrong."""


def fill(text: str, results: Path, *, where: str) -> str:
    """The text with every place filled anew.

    Args:
        text: Markdown.
        results: the folder with <notebook>.json and studies/.
        where: file and cell, for messages.

    Raises:
        PlaceError: a place is malformed, stands where it would be seen, or names a number that
            the results do not hold.
    """

    def filled(match: re.Match[str]) -> str:
        name, form = match["name"], match["form"]
        try:
            shown = format(value_of(name, results), form).replace("%", " %")
        except (ValueError, TypeError, ZeroDivisionError) as error:
            raise PlaceError(f"{where}: {match[0]}: {error}") from error
        return f"<!--{name} {form}-->{shown}<!---->"

    for comment in COMMENT.findall(PLACE.sub("", text)):
        raise PlaceError(
            f"{where}: expected a place such as <!--05_training.train_loss_last .1f-->99.3<!---->, "
            f"got {comment!r}"
        )
    for position, pattern in VISIBLE.items():
        for piece in pattern.findall(text):
            if place := PLACE.search(piece):
                raise PlaceError(
                    f"{where}: {place[0]} stands {position}, where it would not be hidden; "
                    "move words or line ends"
                )
    return PLACE.sub(filled, text)


def filled(root: Path) -> dict[Path, str]:
    """The pages and the notebooks of a checkout, with every place filled anew, by their paths.

    Raises:
        PlaceError: a place cannot be filled.
    """
    results = root / "report" / "results"
    texts = {
        root / name: fill((root / name).read_text(encoding="utf-8"), results, where=name)
        for name in TEXTS
        if (root / name).is_file()  # another course may have fewer
    }
    for path in sorted((root / "notebooks").glob("*.ipynb")):
        texts[path] = path.read_text(encoding="utf-8")
        notebook = json.loads(texts[path])
        changed = False
        for i, cell in enumerate(notebook["cells"]):
            if cell["cell_type"] == "markdown":
                old = "".join(cell["source"])
                new = fill(old, results, where=f"{path.relative_to(root)}, cell {i}")
                if new != old:
                    cell["source"], changed = new.splitlines(keepends=True), True
        if changed:
            texts[path] = json.dumps(notebook, indent=1, ensure_ascii=False) + "\n"
    return texts


def main() -> int:
    """Fill the pages and the notebooks, or say in one line why not. Nothing is written in vain."""
    try:
        texts = filled(COURSE)
    except PlaceError as error:
        print(f"nothing filled: {error}", file=sys.stderr)
        return 1
    for path, text in texts.items():
        if text != path.read_text(encoding="utf-8"):
            write_whole(path, text)
            print(f"filled {path.relative_to(COURSE)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
