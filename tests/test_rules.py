"""The rules of another course's parameters: what its file may say, and what is refused."""

import json

import pytest

from vae_helpers.course import notebooks, rules
from vae_helpers.parameters import Choice, Flag, Number, ParameterError, Several, Words


@pytest.fixture
def read(tmp_path):
    """The rules that a text gives to parameters with these annotations."""

    def read(text, **annotations):
        path = tmp_path / "parameters.toml"
        path.write_text(text, encoding="utf-8")
        return rules.read(path, annotations)

    return read


@pytest.mark.parametrize(
    ("annotation", "text", "expected"),
    [
        ("int", "[it]\nrange = [1, 9]", Number(int, 1, 9)),
        ("float", "[it]\nrange = [0, 0.5]", Number(float, 0, 0.5)),
        ("list[int]", "[it]\nrange = [1, 9]", Several(Number(int, 1, 9))),
        ("list[float]", "[it]\nrange = [-1.0, 1.0]", Several(Number(float, -1.0, 1.0))),
        ("str", '[it]\nchoices = ["a", "b"]', Choice(("a", "b"))),
        ("list[str]", '[it]\nchoices = ["a", "b"]', Words(("a", "b"))),
        ("bool", "", Flag()),
    ],
)
def test_the_annotation_says_the_type_and_the_file_the_values(read, annotation, text, expected):
    assert read(text, it=annotation) == ({"it": expected}, {})


def test_the_smoke_profile_has_its_values_in_their_own_types(read):
    text = "[n]\nrange = [1, 9]\nsmoke = 2\n[x]\nrange = [0, 1]\nsmoke = 1\n[on]\nsmoke = true"
    smoke = read(text, n="int", x="float", on="bool").smoke
    assert smoke == {"n": 2, "x": 1.0, "on": True}
    assert [*map(type, smoke.values())] == [int, float, bool]


@pytest.mark.parametrize(
    ("annotation", "text", "message"),
    [
        ("int", "[it", "expected a file in TOML"),
        ("int", "", "it: int: expected range, got {}"),
        ("int", '[it]\nchoices = ["a"]', "it: int: expected range, got {'choices'"),
        ("int", "[it]\nrange = [1, 9]\nstep = 2", "it: int: expected range, got"),
        ("int", "it = 3", "it: int: expected range, got 3"),
        ("bool", "[it]\nrange = [0, 1]", "it: bool: expected no range"),
        ("dict", "[it]\nrange = [0, 1]", r"it: expected one of int, .* as annotation, got dict"),
        ("int", "[it]\nrange = [9, 1]", r"it: range: expected \[least, largest\], got \[9, 1\]"),
        ("int", "[it]\nrange = [1]", r"it: range: expected \[least, largest\], got \[1\]"),
        ("int", '[it]\nrange = ["a", "b"]', "it: range: expected"),
        ("str", '[it]\nchoices = "ab"', "it: choices: expected a list of words, got 'ab'"),
        ("str", "[it]\nchoices = []", "it: choices: expected a list of words"),
        ("int", "[it]\nrange = [1, 9]\nsmoke = 10", "it: smoke: expected 1 to 9, got 10"),
        ("int", "[it]\nrange = [1, 9]\n[ti]", "ti: expected a parameter .*; did you mean 'it'"),
    ],
)
def test_a_file_that_does_not_say_what_is_needed_is_refused(read, annotation, text, message):
    with pytest.raises(ParameterError, match=rf"parameters\.toml.*{message}"):
        read(text, it=annotation)


def test_the_course_of_the_package_has_the_rules_of_the_package():
    assert notebooks.check("epochs", 30) == 30
    assert notebooks.allowed().smoke == notebooks.SMOKE


def test_a_parameter_that_two_notebooks_annotate_differently_is_refused(tmp_path, monkeypatch):
    for name, annotation in (("01_a", "int"), ("02_b", "float")):
        source = f"n: {annotation} = 1  # of something"
        cell = {"cell_type": "code", "metadata": {"tags": ["parameters"]}, "source": source}
        (tmp_path / f"{name}.ipynb").write_text(json.dumps({"cells": [cell]}), encoding="utf-8")
    (tmp_path / "parameters.toml").write_text("[n]\nrange = [1, 9]\n", encoding="utf-8")
    monkeypatch.setattr(notebooks, "NOTEBOOKS", tmp_path)
    monkeypatch.setattr(notebooks, "PARAMETERS", tmp_path / "parameters.toml")
    with pytest.raises(ParameterError, match=r"02_b: n: expected the annotation .* int, got float"):
        notebooks.allowed.__wrapped__()
