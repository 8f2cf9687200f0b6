"""Helpers of the course: data, model, objective, training, runs, claims and the runner.

Importing the package imports nothing else, so that the command line can refuse a misspelt
parameter before torch loads.
"""

from pathlib import Path

PROJECT = Path(__file__).resolve().parent.parent
"""The checkout that holds data/, notebooks/, report/, runs/ and build/, found from anywhere."""
