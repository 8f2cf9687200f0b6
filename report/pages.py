"""What the book shows in place of a notebook and of the report: pages that Sphinx can read."""

from __future__ import annotations

import base64
import json
import re
import shutil
from collections.abc import Iterator, Mapping, Sequence
from html import escape, unescape
from pathlib import Path
from typing import Any

from docutils.nodes import make_id
from pygments import highlight
from pygments.formatters import HtmlFormatter
from pygments.lexers import get_lexer_by_name

import marks
from vae_helpers.exercises.student import BEGIN, END, student_notebook

PROJECT = Path(__file__).resolve().parent.parent
LANGUAGE = {"name": "python", "pygments_lexer": "ipython3"}
CAPTION = re.compile(r"\*(?P<caption>Figure (?P<number>\d+\.\d+\w?)\. .+)\*", re.DOTALL)
NUMBER = r"\d+\.\d+|\d\d(?!\d)"
NOUN = r"\b(?:[Nn]otebooks?|[Aa]ppendix|Figures?)\s"
MENTION = rf"{NOUN}(?:{NUMBER})(?:(?:,\s|\s(?:and|or|to)\s)(?:{NUMBER}))*"
UNTOUCHED = (
    r"^```.*?^```|`[^`\n]+`|\$\$.+?\$\$|\$[^$\n]+\$|!?\[[^\]]*\]\([^)]*\)|^[#<][^\n]*|<!--.*?-->"
)
"""What holds no mention that can become a link: code, formulas, links, headings, HTML."""
EITHER = re.compile(f"(?P<untouched>{UNTOUCHED})|{MENTION}", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"(?<!!)\[(?P<text>[^\]]+)\]\((?P<target>[^)#:\s]+)(?P<anchor>#[^)\s]*)?\)")
HEADING = re.compile(r"<h([2-4])([^>]*)>(.*?)</h\1>", re.DOTALL)
LISTING = re.compile(r'<pre><code data-lang="(\w+)">(.*?)</code></pre>', re.DOTALL)
ENTRY = re.compile(r'data-entry="([^"]+)"')
TAG = re.compile(r"<[^>]+>")
WRITTEN = {
    "README.md": "index.md",
    "MANUAL.md": "MANUAL.md",
    "CONTRIBUTING.md": "CONTRIBUTING.md",
} | {f"report/book/{path.name}": path.name for path in (PROJECT / "report/book").glob("*.md")}
"""The book's pages that somebody has written, by their paths in the repository."""


def targets(notebooks: Mapping[str, Any]) -> dict[str, str]:
    """Where a mention leads: the number of each notebook and of each figure, with its link."""
    pages = {name[:2]: f"{name}.ipynb" for name in notebooks}
    figures = {
        number: f"#{anchor(number)}"
        for notebook in notebooks.values()
        for cell in notebook["cells"]
        if not is_plain(cell)
        for number, *_ in pictures(cell.get("outputs", []))
    }
    return pages | figures


def anchor(number: str) -> str:
    """The id of a figure on its page."""
    return f"figure-{number.replace('.', '-')}"


def is_plain(cell: Mapping[str, Any]) -> bool:
    """Whether the cell draws without `results.show`: its alt text is then in its metadata alone."""
    alt = cell.get("metadata", {}).get("mystnb", {}).get("image", {}).get("alt")
    shown = [output.get("metadata", {}).get("image/png") for output in cell.get("outputs", [])]
    return bool(alt) and not any(shown)


def pictures(outputs: list[dict[str, Any]]) -> Iterator[tuple[str, int, str, str]]:
    """Number, position, alt text and caption of the figures among the outputs of a cell.

    Raises:
        ValueError: a picture without alt text, or without its caption as the next output.
    """
    for i, output in enumerate(outputs):
        if "image/png" not in output.get("data", {}):
            continue
        alt = output["metadata"].get("image/png", {}).get("alt", "")
        below = outputs[i + 1].get("data", {}) if i + 1 < len(outputs) else {}
        caption = CAPTION.fullmatch("".join(below.get("text/markdown", "")))
        if not alt or not caption:
            raise ValueError(
                "expected every picture to have an alt text, and below it a caption such as "
                f"'*Figure 4.1. ...*', got {alt!r} and {below.get('text/markdown')!r}; "
                "`results.show` writes both"
            )
        yield caption["number"], i, alt, caption["caption"]


def with_figures(
    outputs: list[dict[str, Any]], name: str, folder: Path
) -> tuple[list[dict[str, Any]], list[tuple[str]]]:
    """The outputs of a cell, with picture and caption made into one figure with an anchor.

    Left as it is, every picture of a cell would get the alt text of the cell's last one.

    Args:
        outputs: of one cell.
        name: of the notebook.
        folder: where the pictures are written, called figures/ in the directives.

    Returns:
        The outputs, and what the button of each caption leads to (`marks.boxes`).
    """
    made, groups = list(outputs), []
    for number, i, alt, caption in reversed(list(pictures(outputs))):
        entry = (f"{name}/{''.join(outputs[i]['data']['text/plain']).strip('<>')}",)
        origin = marks.button(entry, "origin", label=f"Origin of figure {number}")
        groups.append(entry)
        picture = folder / f"{anchor(number)}.png"
        picture.write_bytes(base64.b64decode("".join(outputs[i]["data"]["image/png"])))
        directive = (
            f":::{{figure}} figures/{picture.name}\n"
            f":name: {anchor(number)}\n:alt: {json.dumps(alt, ensure_ascii=False)}\n\n"
            f"{caption} {origin}\n:::\n"
        )
        data = {"text/markdown": directive}
        made[i : i + 2] = [{"output_type": "display_data", "data": data, "metadata": {}}]
    return made, groups


def linked(text: str, known: Mapping[str, str]) -> str:
    """The text, with a link at every mention of a notebook or figure that is known.

    Args:
        text: Markdown.
        known: numbers, such as "03" or "4.1", to links.
    """

    def link(match: re.Match[str]) -> str:
        if match.lastgroup == "untouched":
            return match[0]
        numbers = re.findall(NUMBER, match[0])
        if len(numbers) == 1:  # the noun makes a better link than its number
            return f"[{match[0]}]({known[numbers[0]]})" if numbers[0] in known else match[0]
        return re.sub(
            NUMBER, lambda it: f"[{it[0]}]({known[it[0]]})" if it[0] in known else it[0], match[0]
        )

    return EITHER.sub(link, text)


def with_files(text: str, page: str, source: Path) -> str:
    """The text, with its links to files of the repository made into downloads.

    A link to a folder, which a book has no page for, becomes its text; one to a page that somebody
    has written, to the explorer or to the lab leads to it, with the place or the settings that it
    names.

    Args:
        text: Markdown.
        page: path of the page in the repository.
        source: the folder that Sphinx reads; the files are copied to its files/.
    """

    def download(match: re.Match[str]) -> str:
        if match["target"] in ("explorer.html", "lab.html"):  # which Sphinx does not make
            address = "../" * page.count("/") + match["target"] + escape(match["anchor"] or "")
            return f'<a href="{address}">{match["text"]}</a>'
        path = (PROJECT / page).parent.joinpath(match["target"]).resolve()
        if path.suffix == ".ipynb" or not path.exists() or not path.is_relative_to(PROJECT):
            return match[0]  # Sphinx knows the page, or warns
        if path.is_dir():
            return match["text"]
        if written := WRITTEN.get(path.relative_to(PROJECT).as_posix()):
            return f"[{match['text']}](/{written}{match['anchor'] or ''})"
        copy = source / "files" / path.relative_to(PROJECT)
        if not copy.exists():
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(path, copy)
        if path.suffix == ".md":  # of which Sphinx expects a page
            return f"{{download}}`{match['text']} </{copy.relative_to(source)}>`"
        return f"[{match['text']}](/{copy.relative_to(source)})"

    return LINK.sub(download, text)


def notebook_page(
    notebook: dict[str, Any], name: str, known: Mapping[str, str], results: Path, source: Path
) -> dict[str, Any]:
    """A copy of a notebook as the book shows it: figures with their words, mentions as links.

    Every code cell gets an anchor, and numbers and figures lead to where they come from (`marks`).

    Args:
        notebook: as it is committed.
        name: such as "05_training".
        known: see `linked`.
        results: the folder with <notebook>.json and studies/.
        source: the folder that Sphinx reads.

    Raises:
        ValueError: a picture lacks its words, or a place names no number.
    """
    others = {number: link for number, link in known.items() if number != name[:2]}
    page = f"notebooks/{name}.ipynb"
    cells: list[dict[str, Any]] = []
    groups: list[Sequence[str]] = []
    for cell in notebook["cells"]:
        new = dict(cell, source="".join(cell["source"]))
        if cell["cell_type"] == "markdown":
            new["source"], found = marks.with_buttons(
                with_files(linked(new["source"], others), page, source), results
            )
            groups += found
        else:
            cells.append(html_cell(f'<div id="{marks.anchor(cell["id"])}"></div>', cell["id"]))
            if not is_plain(cell):
                folder = source / "notebooks" / "figures"
                new["outputs"], drawn = with_figures(cell["outputs"], name, folder)
                groups += drawn
        cells.append(new)
    if groups:
        cells.append(html_cell(marks.boxes(groups, page, results), name))
    return dict(notebook, cells=cells, metadata=dict(notebook["metadata"], language_info=LANGUAGE))


def html_cell(html: str, name: str) -> dict[str, Any]:
    """A cell of text that is HTML already."""
    return {"cell_type": "markdown", "id": f"{name}-html", "metadata": {}, "source": raw(html)}


def exercise_page(solution: dict[str, Any]) -> dict[str, Any]:
    """The reader's notebook of a lesson, with each solution folded behind its check.

    Args:
        solution: the notebook with solutions between markers, as it is committed.

    Raises:
        ValueError: a marker has no partner.
    """
    cells, waiting = [], []
    reader = student_notebook(solution)
    for cell, whole in zip(reader["cells"], solution["cells"], strict=True):
        cells.append(cell)
        source = "".join(whole["source"])
        if BEGIN in source:
            lines = [it for it in source.splitlines(True) if it.strip() not in (BEGIN, END)]
            about = {"tags": ["hide-input"]}
            waiting.append(
                {**cell, "source": lines, "metadata": about, "id": f"{cell['id']}-whole"}
            )
        elif source.startswith("check("):
            cells, waiting = cells + waiting, []
    return {
        **reader,
        "cells": cells + waiting,
        "metadata": {**reader["metadata"], "language_info": LANGUAGE},
    }


def report_page(html: str, results: Path) -> str:
    """The report as a page of the book: its headings are the book's, the rest stays HTML.

    Args:
        html: a whole document, as typst writes it.
        results: the folder with <notebook>.json and studies/.
    """
    style = "".join(re.findall(r"<style>.*?</style>", html, re.DOTALL))
    body = html.partition("<body>")[2].partition("</body>")[0]
    body = re.sub(r"</?section[^>]*>", "", body)  # the book makes its own
    body = LISTING.sub(_listing, body)
    body = re.sub(r"(<table.*?</table>)", r'<div class="table-wrapper">\1</div>', body, flags=re.S)
    body = body.replace("<table>", '<table class="docutils">')
    body = re.sub(
        r'(<math(?: id="[^"]*")? display="block".*?</math>)',
        r'<div class="formula">\1</div>',
        body,
        flags=re.S,
    )
    before, *rest = HEADING.split(body)
    page = ["# The report\n", raw(style + re.sub(r"<h1.*?</h1>", "", before, flags=re.S))]
    for level, attributes, title, text in zip(*[iter(rest)] * 4, strict=True):
        words = unescape(TAG.sub("", title)).strip()
        name = re.search(r'id="([^"]+)"', attributes)
        target = f'<span id="{name[1]}"></span>' if name and name[1] != make_id(words) else ""
        page += ["#" * int(level) + f" {words}\n", raw(target + text)]
    groups = [(unescape(entry),) for entry in ENTRY.findall(html)]
    page.append(raw(marks.boxes(groups, "report.md", results)))
    return "\n".join(page)


def raw(html: str) -> str:
    """What a page of text holds as HTML; nothing of nothing."""
    return f"```````{{raw}} html\n{html.strip()}\n```````\n" if html.strip() else ""


def _listing(match: re.Match[str]) -> str:
    """Typst's colours are for white paper; the book has colours for light and for dark."""
    lexer = get_lexer_by_name(match[1])
    code: str = highlight(unescape(TAG.sub("", match[2])), lexer, HtmlFormatter())
    return f'<div class="highlight-{match[1]} notranslate">{code}</div>'
