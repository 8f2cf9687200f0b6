"""Submissions are graded whatever they do."""

import json

import pytest
from published import load

from vae_helpers import PROJECT
from vae_helpers.exercises import grade

lessons = load("lessons")
plan = load("plan")
assignment = load("assignment")

SECONDS = 3
KL = "def kl_general(mu, logvar, m, s):\n    return "
RIGHT = KL + "(0.5 * (s - logvar + ((mu - m) ** 2 + logvar.exp()) / s.exp() - 1)).sum(dim=1)"
WITHOUT_HALF = KL + "(s - logvar + ((mu - m) ** 2 + logvar.exp()) / s.exp() - 1).sum(dim=1)"
POINTS = {"kl_general": 8, "kl_gradients": 3}
GRADIENTS = "def kl_gradients(mu, logvar):\n    return mu, (logvar.exp() - 1) / 2"


def submission(path, *sources):
    cells = [{"cell_type": "code", "source": source.splitlines(True)} for source in sources]
    cells.insert(0, {"cell_type": "markdown", "source": ["# Mine"]})
    path.write_text(json.dumps({"cells": cells}), encoding="utf-8")
    return path


def graded(tmp_path, *sources, points=POINTS):
    return grade.grade(submission(tmp_path / "a.ipynb", *sources), points, seconds=SECONDS)


def marks(result):
    return {mark.name: (mark.right, mark.points) for mark in result.marks}


def test_a_right_answer_has_its_points_and_a_mistake_has_the_words_of_the_check(tmp_path):
    result = graded(tmp_path, WITHOUT_HALF, GRADIENTS)
    assert marks(result) == {"kl_general": (False, 0), "kl_gradients": (True, 3)}
    assert "The factor 1/2 is missing." in result.marks[0].message
    assert result.points == 3
    assert result.remarks == []


@pytest.mark.parametrize(
    ("cell", "why"),
    [
        ("1 / 0", "code cell 1 stopped with ZeroDivisionError"),
        ("def f(:", "code cell 1 stopped with SyntaxError"),
        ("import sys; sys.exit()", "code cell 1 stopped with SystemExit"),
        ("import os; os._exit(0)", "code cell 1 ended the process and was left out"),
        ("while True: pass", f"code cell 1 took longer than {SECONDS} s and was cut off"),
    ],
)
def test_a_cell_that_fails_does_not_stop_the_cells_after_it(tmp_path, cell, why):
    result = graded(tmp_path, cell, RIGHT, GRADIENTS)
    assert result.points == 11
    assert result.remarks == [why]


def test_a_check_that_hangs_is_cut_off_and_the_others_are_tried(tmp_path):
    hangs = "def kl_general(*args):\n    while True:\n        try: pass\n        except: pass"
    result = graded(tmp_path, hangs, GRADIENTS)
    assert marks(result) == {"kl_general": (False, 0), "kl_gradients": (True, 3)}
    assert result.marks[0].message == f"took longer than {SECONDS} s and was cut off"


def test_what_is_missing_or_not_written_has_no_points(tmp_path):
    result = graded(tmp_path, KL.replace("return", "raise NotImplementedError()"))
    assert result.points == 0
    assert result.marks[0].message.startswith("not yet: write your code")
    assert result.marks[1].message == "not yet: nothing is called kl_gradients."


def test_commands_of_the_notebook_and_questions_to_the_user_do_not_matter(tmp_path):
    result = graded(tmp_path, f"%matplotlib inline\n!ls\n{RIGHT}", "input()", GRADIENTS)
    assert result.points == 11


def test_a_submission_that_uses_the_package_of_the_solutions_is_remarked_on(tmp_path):
    copied = "from vae_helpers.exercises import EXERCISES\nkl_general = EXERCISES['kl_general']"
    assert "read this one" in graded(tmp_path, copied + ".expected", GRADIENTS).remarks[-1]


def test_several_submissions_are_graded_and_one_that_is_no_notebook_has_no_points(tmp_path, capsys):
    plan_file = tmp_path / "plan.toml"
    plan_file.write_text("[assignment.points]\nkl_general = 8\n", encoding="utf-8")
    broken = tmp_path / "b.ipynb"
    broken.write_text("{", encoding="utf-8")
    paths = [submission(tmp_path / "a.ipynb", RIGHT), broken, tmp_path / "c.ipynb"]
    assert grade.main([*map(str, paths), "--assignment", str(plan_file)]) == 0
    tables = capsys.readouterr().out.strip().split("\n\n")
    assert [table.split("\n")[0] for table in tables] == [*map(str, paths)]
    assert "kl_general    8/8  right." in tables[0]
    for table in tables[1:]:
        assert "0/8  no notebook that can be read" in table


@pytest.mark.parametrize(
    ("points", "message"),
    [
        ("kl_generel = 1", "unknown exercise 'kl_generel'.*kl_general"),
        ("kl_general = 0", "expected points from 1, got 0"),
    ],
)
def test_an_assignment_with_a_mistake_grades_nothing(tmp_path, points, message):
    path = tmp_path / "plan.toml"
    path.write_text(f"[assignment.points]\n{points}\n", encoding="utf-8")
    with pytest.raises(ValueError, match=message):
        grade.assigned(path)
    assert grade.main(["a.ipynb", "--assignment", str(path)]) == 1


def written():
    found = lessons.read(PROJECT / "notebooks")
    return plan.read(PROJECT / "report" / "instructor.toml", found).assignment


@pytest.mark.parametrize("solved", [True, False])
def test_the_assignment_has_all_points_with_its_solutions_and_none_without(tmp_path, solved):
    notebook = assignment.notebook(written(), PROJECT / "notebooks" / "solutions", solved=solved)
    path = tmp_path / "a.ipynb"
    path.write_text(assignment.text(notebook), encoding="utf-8")
    points = grade.assigned(grade.ASSIGNMENT)
    result = grade.grade(path, points)
    assert [mark.name for mark in result.marks] == [*points]
    assert result.remarks == []
    assert result.points == (sum(points.values()) if solved else 0)


def test_the_student_s_notebook_has_stubs_and_neither_checks_nor_solutions():
    text = assignment.text(assignment.notebook(written(), PROJECT / "notebooks" / "solutions"))
    assert text.count("raise NotImplementedError()") == len(written().points)
    for word in ("check(", "import check", "BEGIN SOLUTION"):
        assert word not in text
