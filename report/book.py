"""Build the book, a static site of the executed notebooks and the report's text.

    python report/book.py --results report --notebooks notebooks --output build/book

`--results` holds results/, figures/ and weights/. Sphinx works in a temporary folder that is laid
out like the repository, so that links between pages and files hold as they are. Whatever it warns
of is an error: a dead link does not get into the book.
"""

from __future__ import annotations

import argparse
import io
import json
import re
import shutil
import sys
import tempfile
from importlib.metadata import distribution
from pathlib import Path

from sphinx.application import Sphinx
from sphinx.errors import SphinxError
from sphinx.util.docutils import docutils_namespace

import build
import explorer
import guide
import instructor
import lab
import marks
import pages
from vae_helpers.studies import keys

PROJECT = Path(__file__).resolve().parent.parent
MATHJAX = Path(
    str(
        distribution("sphinx-mathjax-offline").locate_file(
            "sphinx-mathjax-offline/static/mathjax/tex-svg.js"
        )
    )
)
COLOUR = re.compile(r"\x1b\[[\d;]*m")


def lay_out(results: Path, notebooks: Path, source: Path) -> None:
    """Everything that Sphinx reads.

    Raises:
        ValueError: something is missing in the results or the notebooks.
        RuntimeError: the report cannot be built.
    """
    copy_files(PROJECT / "report" / "book", source)
    build.build(results, source / "files" / "report" / "report.pdf")
    (source / "_static" / MATHJAX.name).write_bytes(MATHJAX.read_bytes())
    (source / "extra" / "figures").mkdir(parents=True)
    (source / "extra" / "explorer.html").write_text(
        explorer.page(results / "weights"), encoding="utf-8"
    )
    (source / "extra" / "lab.html").write_text(lab.page(PROJECT / "data"), encoding="utf-8")
    copy_files(results / "figures", source / "report" / "figures")
    pictures = Path("report", "interactive", "pictures")
    copy_files(PROJECT / pictures, source / pictures)
    example = Path("tests", "template")  # whose files a page shows
    copy_files(PROJECT / example, source / "files" / example)

    html = build.to_html(results)
    (source / "report.md").write_text(
        pages.report_page(html, results / "results"), encoding="utf-8"
    )
    for name in re.findall(r'src="figures/([^"]+)"', html):
        shutil.copyfile(results / "figures" / name, source / "extra" / "figures" / name)

    read = {path.stem: json.loads(path.read_text("utf-8")) for path in notebooks.glob("*.ipynb")}
    if not read:
        raise ValueError(f"--notebooks: expected a folder with notebooks, got {notebooks}")
    known = pages.targets(read)
    (source / "notebooks" / "figures").mkdir(parents=True)
    for name, notebook in read.items():
        try:
            page = pages.notebook_page(notebook, name, known, results / "results", source)
        except ValueError as error:
            raise ValueError(f"{name}: {error}") from error
        (source / "notebooks" / f"{name}.ipynb").write_text(json.dumps(page), encoding="utf-8")
    (source / "notebooks" / "exercises").mkdir()
    for path in (PROJECT / "notebooks" / "solutions").glob("*.ipynb"):
        page = pages.exercise_page(json.loads(path.read_text("utf-8")))
        (source / "notebooks" / "exercises" / path.name).write_text(json.dumps(page), "utf-8")
    for_instructors = instructor.page(*guide.read(PROJECT))
    (source / "instructor.md").write_text(
        pages.with_files(for_instructors, "README.md", source), encoding="utf-8"
    )
    for name in (*keys.TEXTS, "CONTRIBUTING.md"):
        written = (PROJECT / name).read_text(encoding="utf-8")
        text, groups = marks.with_buttons(
            pages.with_files(written, name, source), results / "results"
        )
        boxes = pages.raw(marks.boxes(groups, name, results / "results"))
        (source / name).write_text(f"{text}\n{boxes}", encoding="utf-8")


def copy_files(folder: Path, target: Path) -> None:
    """Copy a folder without its permissions: in a copy of a read-only one more can be written."""
    for path in folder.rglob("*"):
        if path.is_file():
            copy = target / path.relative_to(folder)
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, copy)


def typeset(source: Path, output: Path) -> None:
    """Run Sphinx.

    Raises:
        RuntimeError: it failed or warned; the message is what it said.
    """
    warnings = io.StringIO()
    try:
        with docutils_namespace():  # so that a second run does not find what the first registered
            app = Sphinx(
                source,
                source,
                output,
                output.parent / "doctrees",
                "html",
                status=None,
                warning=warnings,
                freshenv=True,
                parallel=2,
            )
            app.build()
    except SphinxError as error:
        raise RuntimeError(f"Sphinx: {error}") from error
    if said := COLOUR.sub("", warnings.getvalue()).replace(f"{source}/", "").split("\n")[:-1]:
        raise RuntimeError("Sphinx: " + "; ".join(said))


def make(results: Path, notebooks: Path, output: Path) -> None:
    """Build the book, in place of the one that is there.

    Raises:
        ValueError: an argument is not what it should be.
        RuntimeError: the report or a page cannot be built.
    """
    if output.is_dir() and any(output.iterdir()) and not (output / "searchindex.js").is_file():
        raise ValueError(f"--output: expected a new folder or an earlier book, got {output}")
    with tempfile.TemporaryDirectory() as folder:
        lay_out(results.resolve(), notebooks, Path(folder, "source"))
        typeset(Path(folder, "source"), Path(folder, "book"))
        shutil.rmtree(output, ignore_errors=True)
        shutil.copytree(Path(folder, "book"), output)


def main() -> int:
    """Build, or say in one line why not."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--results", type=Path, required=True)
    parser.add_argument("--notebooks", type=Path, required=True)
    parser.add_argument("--output", type=Path, required=True)
    options = parser.parse_args()
    try:
        make(options.results, options.notebooks, options.output)
    except (ValueError, RuntimeError, OSError) as error:
        print(f"book not built: {error}", file=sys.stderr)
        return 1
    print(f"built {options.output}/index.html")
    return 0


if __name__ == "__main__":
    sys.exit(main())
