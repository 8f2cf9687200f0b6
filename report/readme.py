"""Put the numbers of the committed results into README.md.

    python report/readme.py

A number in README.md stands between `<!--04_training.train_loss_last .1f-->` and `<!---->`: the
notebook, the number's name, and how it is printed. This command fills in what
report/results/ holds; a test holds the two against each other.
"""

from __future__ import annotations

import json
import re
from pathlib import Path

PROJECT = Path(__file__).resolve().parent.parent
PLACE = re.compile(r"<!--(\w+)\.(\w+) ([\w.,]*)-->(.*?)<!---->")


def fill(text: str, results: Path) -> str:
    """The text with every place filled anew.

    Raises:
        KeyError: a place names a number that the results do not hold.
    """

    def value(match: re.Match[str]) -> str:
        notebook, name, form, _ = match.groups()
        values = json.loads((results / f"{notebook}.json").read_text())["values"]
        return f"<!--{notebook}.{name} {form}-->{values[name]['value']:{form}}<!---->"

    return PLACE.sub(value, text)


def main() -> None:
    """Fill README.md from report/results/."""
    readme = PROJECT / "README.md"
    readme.write_text(fill(readme.read_text(), PROJECT / "report" / "results"))


if __name__ == "__main__":
    main()
