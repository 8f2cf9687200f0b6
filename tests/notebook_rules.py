"""What a committed notebook must be, read from the file alone.

A rule takes an nbformat notebook and returns what is wrong with it, one sentence for each finding.
`RULES` hold for the notebooks of the course, `REFERENCE_RULES` for what is kept of their executions
in tests/smoke.
"""

from __future__ import annotations

import ast
import itertools
import re
from collections.abc import Callable, Iterator
from typing import Any

import nbformat

Notebook = Any
Rule = Callable[[Notebook], list[str]]

IGNORED = {"nbval-ignore-output", "nbval-skip", "raises-exception"}
READABLE = ("text/plain", "text/html", "text/markdown", "text/latex", "image/svg+xml")
KERNEL = {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"}
ALT_LEAST = 40

NOTEBOOK_MOST = 2_000_000
"""Bytes of a notebook: a page of that size opens in seconds on a slow line, hosting sites still
show it, and git keeps every version for ever."""
PICTURE_MOST = 600_000
"""Characters of one output: a PNG of 450 kB, more than a figure at the width of a page needs."""
TEXT_MOST = 10_000
"""Characters of one text output: about a hundred lines, more than anybody reads."""

MACHINERY = re.compile(r"vae_helpers\.(course|store|studies|mistakes|benchmarks|exercises)\b")
RECORDING = ("check", "record", "measure", "series", "table", "show", "export")
BOOKKEEPING_MOST = 0.25
"""The share of a notebook's code that is about the course's machinery and not about its subject."""
BOOKKEEPING_MOST_OF_ALL = 0.2
"""The same over all notebooks."""

WORDS_MOST = 3_000
"""Of a notebook's text: half an hour."""
CODE_CELLS_MOST = 30

UNITS = r"(?:(?:n|u|µ|μ|m)?s|min|h|(?:nano|micro|milli)?seconds?|minutes?|hours?|days?)\b"
TIME = re.compile(rf"\d\s*(?:1?/)?{UNITS}|\bper (?:second|minute|hour)\b|\b\d+:\d\d(?::\d\d)?\b")
MEASURED = re.compile(r"\w+ +~-?[\d.,]+( .*)? on this machine")
PROGRESS = re.compile(r"\r|[\d?](?:it|batch|epoch)/s\b|\ds/it\b|\d%\||[█▏▎▍▌▋▊▉]|\d:\d\d left")
PATH = re.compile(r"(?<![\w.:/<])/(?:[\w.+-]+/)+[\w.+-]+|\b[A-Za-z]:\\|\bfile:/|(?<!\w)~/\w")
ADDRESS = re.compile(r"\b0x[0-9a-fA-F]{6,}\b")
WARNING = re.compile(r"\b\w*Warning: |^WARNING\b|\[W(?:ARNING)? ", re.MULTILINE)


def code_cells(notebook: Notebook) -> list[Any]:
    """The cells that are executed, in order."""
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def output_texts(notebook: Notebook) -> Iterator[tuple[str, str]]:
    """Everything that a person would read in the outputs, each with the id of its cell."""
    for cell in code_cells(notebook):
        for output in cell.outputs:
            for text in (output.get("text"), *map(output.get("data", {}).get, READABLE)):
                if text:
                    yield cell.get("id", "?"), text


def not_executed_in_order(notebook: Notebook) -> list[str]:
    """A comparison with outputs that are stripped, or of several executions, proves nothing."""
    counts = [cell.execution_count for cell in code_cells(notebook)]
    found = []
    if not counts or counts != list(range(1, len(counts) + 1)):
        found.append(f"execution counts are not 1 to {len(counts)}: {counts}")
    if sum(bool(cell.outputs) for cell in code_cells(notebook)) < len(counts) / 2:
        found.append("less than half of the code cells have an output to compare")
    return found


def errors(notebook: Notebook) -> list[str]:
    """A cell that raised, or a marker that papermill left at one."""
    found = [
        f"{cell.get('id')}: {output.get('ename')}"
        for cell in code_cells(notebook)
        for output in cell.outputs
        if output.output_type == "error"
    ]
    markers = [cell for cell in notebook.cells if "papermill-error" in str(cell.metadata)]
    return found + [f"{cell.get('id')}: papermill's mark of an error" for cell in markers]


def warnings(notebook: Notebook) -> list[str]:
    """Anything on stderr, and warnings that were printed."""
    found = [
        f"{cell.get('id')}: on stderr: {output.text[:80]!r}"
        for cell in code_cells(notebook)
        for output in cell.outputs
        if output.get("name") == "stderr"
    ]
    return found + _matching(WARNING, notebook)


def progress_bars(notebook: Notebook) -> list[str]:
    """What a bar or a widget leaves behind depends on the machine's speed."""
    widgets = [
        f"{cell.get('id')}: a widget"
        for cell in code_cells(notebook)
        for output in cell.outputs
        if any("widget" in kind for kind in output.get("data", {}))
    ]
    return widgets + _matching(PROGRESS, notebook)


def paths_and_addresses(notebook: Notebook) -> list[str]:
    """Absolute paths and the addresses of objects are those of one machine or one execution."""
    return _matching(PATH, notebook) + _matching(ADDRESS, notebook)


def times_not_measured(notebook: Notebook) -> list[str]:
    """A time stands only in the lines that `results.measure` writes, behind a `~`."""
    return [
        f"{where}: {line!r}"
        for where, text in output_texts(notebook)
        for line in text.splitlines()
        if TIME.search(line) and not MEASURED.fullmatch(line)
    ]


def tildes_without_a_number(notebook: Notebook) -> list[str]:
    """A `~nan` would be compared with a `~nan`, and be equal."""
    return _matching(re.compile(r"~(?! *-?\d)"), notebook)


def much_ignored(notebook: Notebook) -> list[str]:
    """Cells that ask nbval not to compare: at most 15 % of those with outputs, and by tags."""
    cells = [cell for cell in code_cells(notebook) if cell.outputs]
    ignored = [cell.get("id") for cell in cells if IGNORED & set(cell.metadata.get("tags", []))]
    found = [
        f"{cell.get('id')}: nbval's comments hide; use a tag"
        for cell in code_cells(notebook)
        if re.search(r"^\s*#\s*(NBVAL_|PYTEST_VALIDATE)", cell.source, re.MULTILINE)
    ]
    if len(ignored) > 0.15 * len(cells):
        found.append(f"the outputs of {len(ignored)} in {len(cells)} cells are ignored: {ignored}")
    return found


def pieces_of_print(notebook: Notebook) -> list[str]:
    """What is printed in one go is one output, however fast the machine was."""
    return [
        f"{cell.get('id')}: {first} in two pieces"
        for cell in code_cells(notebook)
        for first, second in itertools.pairwise(output.get("name") for output in cell.outputs)
        if first is not None and first == second
    ]


def unexplained_parameters(notebook: Notebook) -> list[str]:
    """One tagged cell, its lines such as `epochs: int = 30  # passes over the images`."""
    tagged = [cell for cell in notebook.cells if "parameters" in cell.metadata.get("tags", [])]
    if len(tagged) != 1 or tagged[0].cell_type != "code":
        return [f"expected one code cell tagged 'parameters', found {len(tagged)}"]
    lines = tagged[0].source.splitlines()
    statements = ast.parse(tagged[0].source).body
    found = []
    for statement in statements:
        code, _, comment = lines[statement.lineno - 1].partition("#")
        if not isinstance(statement, ast.AnnAssign) or statement.value is None:
            found.append(f"{code.strip()!r} is not of the form `name: type = value`")
        elif len(comment.strip()) < 5:
            found.append(f"{code.strip()!r} has no comment")
    if len(lines) != len(statements):
        found.append("the parameters do not stand one a line")
    return found


def figures_without_words(notebook: Notebook) -> list[str]:
    """Every picture has an alt text, on the output and for the page, and a caption below.

    A notebook that imports nothing of ours has neither caption nor alt text on the output.
    """
    found = []
    ours = any("vae_helpers" in cell.source for cell in code_cells(notebook))
    for cell in code_cells(notebook):
        for i, output in enumerate(cell.outputs):
            if "image/png" not in output.get("data", {}):
                continue
            alt = output.metadata.get("image/png", {}).get("alt", "")
            on_page = cell.metadata.get("mystnb", {}).get("image", {}).get("alt", "")
            if not ours:
                if len(on_page) < ALT_LEAST:
                    found.append(f"{cell.get('id')}: no alt text for the page")
                continue
            if min(len(alt), len(on_page)) < ALT_LEAST:
                found.append(f"{cell.get('id')}: an alt text of less than {ALT_LEAST} characters")
            below = cell.outputs[i + 1].get("data", {}) if i + 1 < len(cell.outputs) else {}
            caption = below.get("text/plain", "")
            if not re.match(r"Figure \d+\.\d+\w?\. \S", caption):
                found.append(f"{cell.get('id')}: no caption 'Figure 1.2. ...' below the picture")
            elif below.get("text/markdown") != f"*{caption}*":
                found.append(f"{cell.get('id')}: the caption's two forms differ")
    return found


def too_large(notebook: Notebook) -> list[str]:
    """The file as a whole, each picture and each text."""
    size = len(nbformat.writes(notebook).encode())
    found = [f"{size:,} bytes"] if size > NOTEBOOK_MOST else []
    for cell in code_cells(notebook):
        for output in cell.outputs:
            data = {"text": output.get("text", ""), **output.get("data", {})}
            for kind, content in data.items():
                most = PICTURE_MOST if kind.startswith("image/") else TEXT_MOST
                if len(content) > most:
                    found.append(f"{cell.get('id')}: {len(content):,} characters of {kind}")
    return found


def foreign_kernel(notebook: Notebook) -> list[str]:
    """The kernel that every installation of ipykernel offers under this name."""
    kernel = notebook.metadata.get("kernelspec")
    return [] if kernel == KERNEL else [f"expected the kernel {KERNEL}, found {kernel}"]


def noise_in_metadata(notebook: Notebook) -> list[str]:
    """Times, durations, paths and editors' states are of one execution or one machine."""
    found = []
    if set(notebook.metadata) != {"kernelspec", "language_info"}:
        found.append(f"the notebook has {sorted(notebook.metadata)}")
    if notebook.metadata.get("language_info") != {"name": "python"}:
        found.append("language_info says more than the language's name")
    for cell in notebook.cells:
        if not set(cell.metadata) <= {"tags", "mystnb", "jupyter"}:
            found.append(f"{cell.get('id')}: {sorted(cell.metadata)}")
        if cell.get("attachments"):
            found.append(f"{cell.get('id')}: an attachment")
        for output in cell.get("outputs", []):
            known = {"image/png": {"alt"}}
            about = output.get("metadata", {})
            if any(not set(about[kind]) <= known.get(kind, set()) for kind in about):
                found.append(f"{cell.get('id')}: an output has {dict(about)}")
    return found


def unstable_ids(notebook: Notebook) -> list[str]:
    """Every cell has a name of its own; one that an editor drew would change in every diff."""
    names = [cell.get("id", "") for cell in notebook.cells]
    found = [
        f"{name!r}: expected a name such as cell-07"
        for name in names
        if not re.fullmatch(r"[a-z]{2,}(-[a-z0-9]+)+", name)
    ]
    twice = {name for name in names if names.count(name) > 1}
    return found + [f"{name!r} is the id of {names.count(name)} cells" for name in sorted(twice)]


def bookkeeping(notebook: Notebook) -> tuple[int, int]:
    """Lines of code that are bookkeeping, and lines of code, without the parameters.

    Bookkeeping is what imports the machinery, begins, or records: each such statement with all of
    its lines. Blank lines and comments are no code.
    """
    counted = total = 0
    for cell in code_cells(notebook):
        if {"parameters", "injected-parameters"} & set(cell.metadata.get("tags", [])):
            continue
        lines = [line.strip() for line in cell.source.splitlines()]
        code = {i for i, line in enumerate(lines, start=1) if line and not line.startswith("#")}
        kept = {
            number
            for statement in ast.walk(ast.parse(cell.source))
            if isinstance(statement, ast.stmt) and _is_bookkeeping(statement)
            for number in range(statement.lineno, statement.end_lineno + 1)
        }
        counted, total = counted + len(kept & code), total + len(code)
    return counted, total


def _is_bookkeeping(statement: ast.stmt) -> bool:
    match statement:
        case ast.Import():
            return any(MACHINERY.match(alias.name) for alias in statement.names)
        case ast.ImportFrom():
            names = [f"{statement.module}.{alias.name}" for alias in statement.names]
            return any(map(MACHINERY.match, names))
        case ast.Expr(ast.Call(function)) | ast.Assign(value=ast.Call(function)):
            name = ast.unparse(function)
            return name == "begin" or name in {f"results.{verb}" for verb in RECORDING}
    return False


def much_bookkeeping(notebook: Notebook) -> list[str]:
    """A lesson is about its subject."""
    counted, total = bookkeeping(notebook)
    if counted <= BOOKKEEPING_MOST * total:
        return []
    return [f"{counted} of {total} lines of code are bookkeeping: more than {BOOKKEEPING_MOST:.0%}"]


def too_long(notebook: Notebook) -> list[str]:
    """One question, in half an hour."""
    cells = [cell for cell in notebook.cells if cell.cell_type == "markdown"]
    read = "\n".join(re.sub(r"<!--.*?-->", "", cell.source, flags=re.DOTALL) for cell in cells)
    words, code = len(read.split()), len(code_cells(notebook))
    found = [f"{words:,} words: more than {WORDS_MOST:,}"] if words > WORDS_MOST else []
    return found + ([f"{code} code cells"] if code > CODE_CELLS_MOST else [])


def set_up_in_the_way(notebook: Notebook) -> list[str]:
    """Imports, parameters and `begin` are folded in the book: a lesson begins with its subject."""
    sources = [cell.source for cell in code_cells(notebook)]
    begun = next((i for i, source in enumerate(sources) if re.search(r"\bbegin\(", source)), -1)
    return [
        f"{cell.get('id')}: expected the tag hide-input"
        for cell in code_cells(notebook)[: begun + 1]
        if "hide-input" not in cell.metadata.get("tags", [])
    ]


def half_hidden_outputs(notebook: Notebook) -> list[str]:
    """An output is hidden in the book by a tag and in JupyterLab by metadata: both or neither."""
    found = []
    for cell in code_cells(notebook):
        hidden = "hide-output" in cell.metadata.get("tags", [])
        if cell.metadata.get("jupyter", {}) != ({"outputs_hidden": True} if hidden else {}):
            found.append(f"{cell.get('id')}: the tag hide-output and the metadata differ")
        if hidden and not cell.outputs:
            found.append(f"{cell.get('id')}: hides an output that it does not have")
    return found


def folded_lessons(notebook: Notebook) -> list[str]:
    """What follows a prediction is the lesson, and stays open."""
    return [
        f"{cell.get('id')}: an answer is folded"
        for cell in notebook.cells
        if cell.cell_type == "markdown" and "<summary>Answer" in cell.source
    ]


def _matching(pattern: re.Pattern[str], notebook: Notebook) -> list[str]:
    """Where a pattern occurs in what a person would read in the outputs."""
    return [
        f"{where}: {text[max(0, match.start() - 30) : match.end() + 30]!r}"
        for where, text in output_texts(notebook)
        for match in pattern.finditer(text)
    ]


REFERENCE_RULES: tuple[Rule, ...] = (
    not_executed_in_order,
    errors,
    warnings,
    progress_bars,
    paths_and_addresses,
    times_not_measured,
    tildes_without_a_number,
    much_ignored,
    pieces_of_print,
    unexplained_parameters,
    too_large,
    foreign_kernel,
    noise_in_metadata,
    unstable_ids,
)
RULES: tuple[Rule, ...] = (
    *REFERENCE_RULES,
    figures_without_words,
    much_bookkeeping,
    too_long,
    set_up_in_the_way,
    half_hidden_outputs,
    folded_lessons,
)
