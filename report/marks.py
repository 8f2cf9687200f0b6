"""What leads from a number on a page to where it comes from: a button, and a box that it opens.

The browser does the rest: a box is a popover of HTML, so that it opens on click, Enter and Space,
and closes on Escape, without a script.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from html import escape
from pathlib import Path

from vae_helpers.studies import keys, origins
from vae_helpers.studies.keys import PLACE

LEGEND = "index.html#where-a-number-comes-from"
BUTTON = re.compile(r'popovertarget="origin-([^"]+)"')


def button(entries: Sequence[str], shown: str, *, label: str = "") -> str:
    """What opens the box of one or more entries of the results.

    Args:
        entries: their keys, such as "05_training.train_loss_last" or "05_training/samples".
        shown: HTML.
        label: what a screen reader says in its place; what is shown if empty.
    """
    said = f' aria-label="{escape(label)}"' if label else ""
    target = _id(entries)
    return f'<button type="button" class="origin" popovertarget="{target}"{said}>{shown}</button>'


def boxes(groups: Iterable[Sequence[str]], page: str, results: Path) -> str:
    """The boxes of a page, each once, as HTML.

    Args:
        groups: the entries of each button.
        page: its path in the book, such as "notebooks/05_training.ipynb".
        results: the folder with <notebook>.json.
    """
    root = "../" * page.count("/")
    return "\n".join(_box(group, root, results) for group in dict.fromkeys(map(tuple, groups)))


def with_buttons(text: str, results: Path) -> tuple[str, list[tuple[str, ...]]]:
    """A text with its places made into buttons, and the entries that each of them names.

    Args:
        text: Markdown.
        results: the folder with <notebook>.json and studies/.
    """
    groups = []

    def made(match: re.Match[str]) -> str:
        operands = keys.operands(match["name"])
        groups.append(tuple(origins.of(it, results).key for it in operands))
        return button(groups[-1], match["shown"])

    return PLACE.sub(made, text), groups


def anchor(cell: str) -> str:
    """The id of a notebook's cell on its page."""
    return f"cell-{cell}"


def _id(entries: Sequence[str]) -> str:
    """The id of a box; report/numbers.typ makes the same of a single entry."""
    return "origin-" + "--".join(entry.replace(" ", "-") for entry in entries)


def _box(entries: Sequence[str], root: str, results: Path) -> str:
    parts = [f'<div popover class="origin-box" id="{_id(entries)}" tabindex="-1">']
    for entry in entries:
        origin = origins.of(entry, results)
        words = origin.words()
        if origin.notebook:
            target = f"{root}notebooks/{origin.notebook}.html"
            target += f"#{anchor(origin.place.cell)}" if origin.place else ""
            words["cell"] = f'<a href="{target}">{escape(words["cell"])}</a>'
        for name, said in words.items():
            if name in ("key", "made again by"):
                words[name] = f"<code>{escape(said)}</code>"
        stale = ' class="stale"' if origin.stale else ""
        rows = "".join(f"<dt>{name}</dt><dd>{said}</dd>" for name, said in words.items())
        parts.append(f"<dl{stale}>{rows}</dl>")
    parts.append(f'<p><a href="{root}{LEGEND}">What this says</a></p></div>')
    return "".join(parts)
