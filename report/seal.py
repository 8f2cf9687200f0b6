"""Seal what is published, so that no digit of it changes unseen.

    python report/seal.py                    everything; the last step of `make refresh`
    python report/seal.py README.md#numbers  only this part, after a typed number was meant to
                                             change

Most published digits have a key and are held against the results by it. The seal is for the rest:
digits behind the printed ones, figures, tables of studies, lines that a cell prints by itself,
numbers that are typed. report/published.sha256 has one line for each file, in the format of
sha256sum (`sha256sum --check --ignore-missing report/published.sha256` reads them), and two more
kinds of lines:

    notebooks/05_training.ipynb#outputs   the outputs of its cells, as JSON with sorted keys, and
                                          nothing of its prose and code
    README.md#numbers                     the typed numbers of its text, in order, and no word

tests/test_numbers.py holds the seal. To break it is no mistake in itself: it asks whether the
change was meant. Results, outputs and figures change by `make refresh` only.
"""

from __future__ import annotations

import hashlib
import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from vae_helpers.parameters import suggestion
from vae_helpers.store.files import write_whole
from vae_helpers.studies.keys import PLACE, TEXTS

PROJECT = Path(__file__).resolve().parent.parent
SEAL = "report/published.sha256"
FILES = (
    "report/results/*.json",
    "report/results/studies/*",
    "report/results/tolerances/*/*",
    "report/results/measured/*",
    "report/figures/*",
    "report/weights/*",
    "report/report.pdf",
)
NOTEBOOKS = ("notebooks/*.ipynb", "tests/smoke/*.ipynb")
TYPED = re.compile(r"\d+(?:[.,]\d+)*")
ITEM = re.compile(r"^ *\d+\. ", re.MULTILINE)  # of a numbered list


def digests(root: Path) -> dict[str, str]:
    """What a checkout publishes, by the name that the seal gives it, with its SHA-256."""
    return {name: hashlib.sha256(content).hexdigest() for name, content in _published(root)}


def read(root: Path) -> dict[str, str]:
    """The seal of a checkout; empty if it has none."""
    path = root / SEAL
    lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
    return {name: digest for digest, name in (line.split("  ", 1) for line in lines)}


def _published(root: Path) -> Iterator[tuple[str, bytes]]:
    for pattern in FILES:
        for path in sorted(root.glob(pattern)):
            yield path.relative_to(root).as_posix(), path.read_bytes()
    for name in TEXTS:
        yield f"{name}#numbers", _numbers((root / name).read_text(encoding="utf-8"))
    for pattern in NOTEBOOKS:
        for path in sorted(root.glob(pattern)):
            name = path.relative_to(root).as_posix()
            cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
            prose = ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "markdown"]
            yield f"{name}#outputs", outputs(cells)
            if prose:  # the references in tests/smoke/ have none
                yield f"{name}#numbers", _numbers("\n\n".join(prose))


def outputs(cells: list[dict[str, Any]]) -> bytes:
    """The outputs of a notebook's cells in the one form that is sealed."""
    made = [cell["outputs"] for cell in cells if cell["cell_type"] == "code"]
    return json.dumps(made, sort_keys=True).encode()


def _numbers(text: str) -> bytes:
    """The numbers that a text types, a line for each."""
    return "\n".join(TYPED.findall(ITEM.sub("", PLACE.sub("", text)))).encode()


def main() -> int:
    """Write the seal, of everything or of what is named."""
    now, names = digests(PROJECT), sys.argv[1:]
    for name in names:
        if name not in now:
            print(f"not sealed: unknown part {name!r}{suggestion(name, now)}", file=sys.stderr)
            return 1
    kept = read(PROJECT) | {name: now[name] for name in names} if names else now
    lines = [f"{kept[name]}  {name}\n" for name in sorted(kept)]
    write_whole(PROJECT / SEAL, "".join(lines))
    print(f"sealed {', '.join(names) or f'{len(now)} parts'}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
