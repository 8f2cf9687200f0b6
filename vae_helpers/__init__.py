"""Helpers of the course: the science in this folder, the machinery in the folders below it.

Importing the package imports nothing else, so that the command line can refuse a misspelt
parameter before torch loads.
"""

from pathlib import Path

PROJECT = Path(__file__).resolve().parent.parent
"""The checkout that holds the package, data/ and the course of the package, found from anywhere."""

_here = Path.cwd()
COURSE = next(
    (it for it in (_here, *_here.parents) if (it / "notebooks" / "parameters.toml").is_file()),
    PROJECT,
)
"""The course that is worked on: the nearest folder upward with rules of its own, else `PROJECT`.

It holds notebooks/, report/, runs/ and build/. A kernel is started inside of it.
"""

SOURCES = {
    path: path.read_bytes() for path in sorted(Path(__file__).resolve().parent.rglob("*.py"))
}
"""The package's files as they are when it is imported: who names code by its files has to know."""
