"""Helpers of the course: the science in this folder, the machinery in the folders below it.

Importing the package imports nothing else, so that the command line can refuse a misspelt
parameter before torch loads.
"""

from pathlib import Path

PROJECT = Path(__file__).resolve().parent.parent
"""The checkout that holds data/, notebooks/, report/, runs/ and build/, found from anywhere."""

SOURCES = {
    path: path.read_bytes() for path in sorted(Path(__file__).resolve().parent.rglob("*.py"))
}
"""The package's files as they are when it is imported: who names code by its files has to know."""
