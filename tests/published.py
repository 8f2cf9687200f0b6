"""Whether what is published agrees with itself: numbers, outputs, results, figures, seal.

Every check takes the root of a checkout and returns what is wrong with it, a line for each. So
the same check can be asked about a copy in which one digit was changed.
"""

import base64
import importlib.util
import itertools
import json
import re
import sys
import tomllib
from importlib.metadata import version

import pytest

from vae_helpers import PROJECT
from vae_helpers.studies.keys import TEXTS


def load(name):
    """A module of report/, which is not a package."""
    if name not in sys.modules:
        spec = importlib.util.spec_from_file_location(name, PROJECT / "report" / f"{name}.py")
        sys.modules[name] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(sys.modules[name])
    return sys.modules[name]


places = load("places")
seal = load("seal")

DECIMAL = re.compile(r"\d[\d,]*\.\d+")
LAB = re.compile(r"\(lab\.html#[^)]*\)")
"""Settings of the lab in a link, which its browser test reads."""
CITED = re.compile(
    r"arXiv[: ]\d{4}\.\d{4,5}"  # a paper
    r"|[Ss]ection \d+(?:\.\d+)+"  # a section of one
    r"|Figure \d+\.\d+"  # a figure of the course: notebook and number
    r"|(?:Python \d+|==\d+\.\d+)\.\d+"  # a version
)
LAYOUT = re.compile(r"(?<=[:(] )\d+\.\d+(?:pt|em|cm)|(?<=\()\d+\.\d+(?:pt|em|cm)|//.*")
"""In the paper: a length, with its unit glued to it as Typst's code asks and no text does."""
with_pinned_typst = pytest.mark.skipif(
    f"typst=={version('typst')}"
    not in (PROJECT / "requirements.txt").read_text(encoding="utf-8").splitlines(),
    reason="the bytes of a PDF are those of one version of typst",
)


def notebooks(root):
    """Name and content of every committed notebook."""
    for path in sorted((root / "notebooks").glob("*.ipynb")):
        yield path.stem, json.loads(path.read_text(encoding="utf-8"))


def results(root, name):
    """What a notebook left behind; nothing if it was never executed."""
    path = root / "report" / "results" / f"{name}.json"
    if not path.is_file():
        return {"values": {}, "figures": {}}
    return json.loads(path.read_text(encoding="utf-8"))


def prose(root):
    """File, cell and text of everything that a reader reads and a person has typed."""
    for name in TEXTS:
        yield name.removesuffix(".md"), name, (root / name).read_text(encoding="utf-8")
    for name in ("report.typ", "appendix.typ"):
        report = (root / "report" / name).read_text(encoding="utf-8")
        yield "report", f"report/{name}", LAYOUT.sub("", report)
    for path in sorted((root / "report" / "book").glob("*.md")):
        yield "book", f"report/book/{path.name}", path.read_text(encoding="utf-8")
    for name, notebook in notebooks(root):
        for i, cell in enumerate(notebook["cells"]):
            if cell["cell_type"] == "markdown":
                yield name, f"notebooks/{name}.ipynb, cell {i}", "".join(cell["source"])
    for name, figure, text in captions(root):
        yield name, f"notebooks/captions.toml, [{name}.{figure}]", text


def captions(root):
    """Notebook, figure and text of every caption and every alternative text."""
    entries = tomllib.loads((root / "notebooks" / "captions.toml").read_text(encoding="utf-8"))
    for name, figures in entries.items():
        for figure, words in figures.items():
            for text in words.values():
                yield name, figure, text


def unfilled_places(root):
    """Places in pages and notebooks that do not show what the results hold."""
    try:
        texts = places.filled(root)
    except places.PlaceError as error:
        return [str(error)]
    return [
        f"{path.relative_to(root)}: {old[0]}, but the results say {new['shown']}; "
        "`python report/places.py` fills it in"
        for path, text in texts.items()
        for old, new in zip(
            places.PLACE.finditer(path.read_text(encoding="utf-8")),
            places.PLACE.finditer(text),
            strict=True,
        )
        if old["shown"] != new["shown"]
    ]


def constants(root):
    """The entries of report/constants.toml, by kind and name."""
    listed = tomllib.loads((root / "report" / "constants.toml").read_text(encoding="utf-8"))
    return {
        f"{kind}.{name}": entry
        for kind, entries in listed.items()
        for name, entry in entries.items()
    }


def typed_decimals(root):
    """File, cell and literal of every decimal that is typed and no reference to a source."""
    for file, where, text in prose(root):
        bare = LAB.sub("", CITED.sub("", places.PLACE.sub("", text)))
        for literal in DECIMAL.findall(bare):
            yield file, where, literal


def unbound_decimals(root):
    """Decimals that are typed and not on the list of constants, for their file."""
    allowed = {
        (file, literal)
        for entry in constants(root).values()
        for file, literal in itertools.product(entry["in"], entry["numbers"])
    }
    return [
        f"{where}: {literal} is typed. A number that a run produced stands in a place (see "
        "report/places.py); any other is named with its source in report/constants.toml"
        for file, where, literal in typed_decimals(root)
        if (file, literal) not in allowed
    ]


def idle_constants(root):
    """Constants that none of their files types, and files that type none of them."""
    typed = {(file, literal) for file, _, literal in typed_decimals(root)}
    problems = []
    for name, entry in constants(root).items():
        for literal in entry["numbers"]:
            if not any((file, literal) in typed for file in entry["in"]):
                problems.append(f"report/constants.toml, {name}: {literal} is typed nowhere")
        for file in entry["in"]:
            if not any((file, literal) in typed for literal in entry["numbers"]):
                problems.append(f"report/constants.toml, {name}: {file} types none of its numbers")
    return problems


def printed(notebook):
    """The lines that the cells of a notebook printed."""
    for cell in notebook["cells"]:
        for output in cell.get("outputs", ()):
            if output.get("name") == "stdout":
                yield from "".join(output["text"]).splitlines()


def misprints(root):
    """Lines of `results` in committed outputs that are not what the results hold, by key."""
    tolerances = tomllib.loads((root / "report" / "tolerances.toml").read_text(encoding="utf-8"))
    return [
        f"notebooks/{name}.ipynb: {problem}; only `make refresh` makes outputs and results"
        for name, notebook in notebooks(root)
        for problem in misread(
            list(printed(notebook)), results(root, name)["values"], tolerances.get(name, {})
        )
    ]


def misread(lines, values, tolerances):
    """What the printed lines of one notebook say otherwise than its results and its tolerances."""
    for key, entry in values.items():
        starts = starts_of(key, entry, lines)
        if len(starts) != 1:
            yield f"{key} is printed {len(starts)} times"
        elif wrong := READ[entry["kind"]](lines[starts[0] :], key, entry, tolerances):
            yield f"{key}: {wrong}, and the results hold {entry['value']}"
    for line in lines:
        if RESULTS.search(line) and line.split()[0] not in values:
            yield f"the results do not hold {line!r}"


def starts_of(key, entry, lines):
    """Where a key is printed: it fills the column of names, whose width a table has of its own."""
    width = max(12, *map(len, entry["value"])) if entry["kind"] == "table" else 28
    return [i for i, line in enumerate(lines) if line.startswith(f"{key:<{width}} ")]


NUMBER = r"-?\d+(?:\.\d+)?"
RESULTS = re.compile(
    r"~.*, within |~.* on this machine$"
    rf"|^(?=.{{28}} ~|\S{{29,}} ~)\S+ +~{NUMBER}$"  # observed: behind the column of names
)
TOLERANCE = re.compile(rf"~({NUMBER})(?: (.+))?, within ({NUMBER}) to ({NUMBER})")
MEASURED = re.compile(rf"~({NUMBER})(?: (.+))? on this machine")
OBSERVED = re.compile(rf"~({NUMBER})")
POINT = re.compile(rf"(\d+): ~({NUMBER})")
CELL = re.compile(rf"({NUMBER}) ± ({NUMBER})")


def is_rounded(text, value):
    """Whether a printed number is the value, rounded as far as it is printed."""
    return value is not None and text == f"{value:.{len(text.partition('.')[2])}f}"


def shown(line, key):
    """What a line shows behind its name, which takes 28 characters or more."""
    return line[max(28, len(key)) + 1 :]


def read_tolerance(lines, key, entry, tolerances):
    text = shown(lines[0], key)
    match = TOLERANCE.fullmatch(text)
    if not match:
        return f"cannot read {text!r}"
    *numbers, unit = match[1], match[3], match[4], match[2] or ""
    tolerance = tolerances.get(key, {"full": {}})
    edges = entry["low"], entry["high"]
    agrees = (
        all(map(is_rounded, numbers, (entry["value"], *edges)))
        and unit == entry["unit"] == tolerance.get("unit")
        and {len(number.partition(".")[2]) for number in numbers} == {tolerance.get("decimals")}
        and edges == (tolerance["full"].get("low"), tolerance["full"].get("high"))
    )
    return "" if agrees else f"the line reads {text!r}, the tolerance is {tolerance['full']}"


def read_measured(lines, key, entry, tolerances):
    text = shown(lines[0], key)
    match = MEASURED.fullmatch(text)
    if match and is_rounded(match[1], entry["value"]) and (match[2] or "") == entry["unit"]:
        return ""
    return f"the line reads {text!r}"


def read_observed(lines, key, entry, tolerances):
    text = shown(lines[0], key)
    match = OBSERVED.fullmatch(text)
    return "" if match and is_rounded(match[1], entry["value"]) else f"the line reads {text!r}"


def read_exact(lines, key, entry, tolerances):
    text = shown(lines[0], key)
    value, unit = entry["value"], entry["unit"]
    if unit:
        text, _, found = text.partition(" ")
        if found != unit:
            return f"the unit reads {found!r}"
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        value = f"{value:,}"
    return "" if text == str(value) else f"the line reads {text!r}"


def read_series(lines, key, entry, tolerances):
    more = itertools.takewhile(lambda line: line.startswith(" " * 28), lines[1:])
    text = " ".join([shown(lines[0], key), *(line.strip() for line in more)])
    points = POINT.findall(text)
    unit = POINT.sub("", text).strip()
    if [int(at) for at, _ in points] == entry["at"] and unit == entry["unit"]:
        numbers = [number for _, number in points]
        if all(map(is_rounded, numbers, entry["value"])):
            return ""
    return f"the lines read {text!r}"


def read_table(lines, key, entry, tolerances):
    rows = list(entry["value"])
    columns = re.split(r"\s{2,}", lines[0][len(key) :].strip())
    if columns != list(entry["value"][rows[0]]):
        return f"the columns read {columns}"
    for row, line in itertools.zip_longest(rows, lines[1 : len(rows) + 1], fillvalue=""):
        cells = CELL.findall(line.removeprefix(row))
        numbers = [number for pair in cells for number in pair]
        values = [value for pair in entry["value"][row].values() for value in pair]
        rest = CELL.sub("", line.removeprefix(row)).strip()
        if rest or len(numbers) != len(values) or not all(map(is_rounded, numbers, values)):
            return f"the row reads {line!r}"
    return ""


READ = {
    "tolerance": read_tolerance,
    "measured": read_measured,
    "exact": read_exact,
    "observed": read_observed,
    "series": read_series,
    "table": read_table,
}


def strange_pictures(root):
    """Pictures in committed outputs that are not the file, caption and alt text of the results."""
    problems = []
    for name, notebook in notebooks(root):
        if not (root / "report" / "results" / f"{name}.json").exists():
            continue  # plain PyTorch, without figures of ours
        figures = results(root, name)["figures"]
        outputs = [it for cell in notebook["cells"] for it in cell.get("outputs", ())]
        seen = []
        for picture, below in itertools.pairwise([*outputs, {}]):
            if "image/png" not in picture.get("data", {}):
                continue
            key = "".join(picture["data"]["text/plain"]).strip("<>")
            seen.append(key)
            figure = figures.get(key, {"file": "", "caption": None, "alt": None})
            file = root / "report" / "figures" / figure["file"]
            content = base64.b64decode("".join(picture["data"]["image/png"]))
            if not file.is_file() or file.read_bytes() != content:
                problems.append(f"notebooks/{name}.ipynb: the picture {key} is not {file.name}")
            if picture["metadata"]["image/png"]["alt"] != figure["alt"]:
                problems.append(f"notebooks/{name}.ipynb: the alt text of {key} is another")
            if "".join(below.get("data", {}).get("text/plain", "")) != figure["caption"]:
                problems.append(f"notebooks/{name}.ipynb: the caption of {key} is another")
        if sorted(seen) != sorted(figures):
            problems.append(f"notebooks/{name}.ipynb shows {seen}, its results hold {[*figures]}")
    return problems


def broken_seals(root):
    """What is published and not as it was sealed, or sealed and not there any more."""
    now, sealed = seal.digests(root), seal.read(root)
    problems = []
    for name in sorted(now.keys() | sealed.keys()):
        if now.get(name) != sealed.get(name):
            state = "new" if name not in sealed else "gone" if name not in now else "changed"
            problems.append(
                f"{name}: {state} since {seal.SEAL} was written. Results, outputs and figures are "
                "made by `make refresh` only; if a typed number was meant to change: "
                f"python report/seal.py {name}"
            )
    return problems


CHECKS = (
    unfilled_places,
    unbound_decimals,
    idle_constants,
    misprints,
    strange_pictures,
    broken_seals,
)
