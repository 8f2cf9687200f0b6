"""Exercises accept what is right, name what is wrong, and come from one source."""

import contextlib
import functools
import importlib
import json
import math
import re
from pathlib import Path

import numpy as np
import pytest
import torch

from vae_helpers.exercises import EXERCISES, LESSONS, check, network, student
from vae_helpers.exercises.comparison import FormError, agree
from vae_helpers.exercises.exercise import UNWRITTEN, judge, observed, resembles, solved
from vae_helpers.parameters import ParameterError

KINDS = {"derive", "write", "diagnose", "predict", "extend"}
MODULES = dict(
    zip(
        LESSONS,
        (
            "data",
            "bound",
            "small_world",
            "network",
            "training",
            "ablation",
            "distance",
            "codes_and_prior",
            "latent_space",
            "codes",
            "likelihood",
            "measures",
            "published",
            "gan_game",
            "gan",
            "vae_vs_gan",
            "clinic",
        ),
        strict=True,
    )
)
SUBMISSIONS = {
    lesson: importlib.import_module(f"submissions.{module}") for lesson, module in MODULES.items()
}
ALTERNATIVES = {
    name: answers for it in SUBMISSIONS.values() for name, answers in it.ALTERNATIVES.items()
}
MISTAKEN = {name: answers for it in SUBMISSIONS.values() for name, answers in it.MISTAKEN.items()}
MISTAKES = [(name, start) for name, mistaken in MISTAKEN.items() for start in mistaken]
VALUES = [name for name, exercise in EXERCISES.items() if exercise.tries is None]
FUNCTIONS = [name for name, exercise in EXERCISES.items() if exercise.tries is not None]


def notebook(folder: Path, lesson: str):
    return json.loads((folder / f"{lesson}.ipynb").read_text(encoding="utf-8"))


def code(cells):
    return [("".join(it["source"]), it["id"]) for it in cells if it["cell_type"] == "code"]


def tasks(lesson):
    """The metadata of a lesson's exercises, in the notebook's order."""
    cells = notebook(student.SOLUTIONS, lesson)["cells"]
    return [it["metadata"]["exercise"] for it in cells if "exercise" in it["metadata"]]


def run(folder, lesson):
    """Execute the cells in one namespace; what each check gave."""
    namespace, given = {}, {}
    for source, cell in code(notebook(folder, lesson)["cells"]):
        if cell.endswith("-check"):
            given[cell] = eval(source, namespace)
        else:
            with contextlib.suppress(NotImplementedError):
                exec(source, namespace)
    return given


def sentence(name, start):
    """The one sentence of an exercise that begins so."""
    (found,) = [it for it in EXERCISES[name].misconceptions if it.startswith(start)]
    return found


def completed(exercise, right, seen):
    """What a misconception gives, with the right result where it says nothing."""
    if isinstance(right, dict):
        return right | seen
    if isinstance(right, tuple):
        return tuple(r if s is None else s for r, s in zip(right, seen, strict=True))
    return seen


def test_every_lesson_has_its_exercises():
    files = {path.stem for path in student.SOLUTIONS.glob("*.ipynb")}
    assert files == set(LESSONS)
    assert all(len(lesson) >= 4 for lesson in LESSONS.values())
    assert len(EXERCISES) == sum(map(len, LESSONS.values()))  # no name twice


@pytest.mark.parametrize("lesson", LESSONS)
def test_a_notebook_has_a_task_an_answer_and_a_check_of_each_exercise(lesson):
    cells = {it["id"]: it for it in notebook(student.SOLUTIONS, lesson)["cells"]}
    assert [it["name"] for it in tasks(lesson)] == [it.name for it in LESSONS[lesson]]
    for number, about in enumerate(tasks(lesson), start=1):
        slug = about["name"].replace("_", "-")
        task = "".join(cells[f"{slug}-task"]["source"])
        assert re.match(rf"## {int(lesson[:2])}\.{number} · \S", task)
        assert "".join(cells[f"{slug}-answer"]["source"]).count(student.BEGIN) == 1
        expected = f'check("{about["name"]}", {about["name"]})'
        assert "".join(cells[f"{slug}-check"]["source"]) == expected


@pytest.mark.parametrize("lesson", LESSONS)
def test_an_exercise_says_its_kind_objective_difficulty_and_minutes(lesson):
    cells = notebook(student.SOLUTIONS, lesson)["cells"]
    for cell in cells:
        if not (about := cell["metadata"].get("exercise")):
            continue
        assert set(about) == {"name", "kind", "objective", "difficulty", "minutes"}
        assert about["kind"] in KINDS
        assert about["difficulty"] in {1, 2, 3}
        assert 1 <= about["minutes"] <= 60
        line = "".join(cell["source"]).split("\n\n")[1]
        assert line == (
            f"*{about['kind'].capitalize()}. Objective: {about['objective']}. "
            f"Difficulty {about['difficulty']} of 3, {about['minutes']} minutes.*"
        )
    assert len({it["kind"] for it in tasks(lesson)}) >= 4


def test_all_kinds_of_exercises_are_there():
    assert {it["kind"] for lesson in LESSONS for it in tasks(lesson)} == KINDS


@pytest.mark.parametrize("lesson", LESSONS)
def test_the_readers_notebook_is_the_one_with_solutions_but_for_the_marked_lines(lesson):
    path = student.STUDENTS / f"{lesson}.ipynb"
    assert path.read_text(encoding="utf-8") == student.student_text(
        student.SOLUTIONS / f"{lesson}.ipynb"
    ), "`python -m vae_helpers.exercises.student` writes it"
    solved_cells = notebook(student.SOLUTIONS, lesson)["cells"]
    for right, stub in zip(solved_cells, notebook(student.STUDENTS, lesson)["cells"], strict=True):
        assert {**right, "source": 0} == {**stub, "source": 0}
        text = re.sub(
            r"^( *)### BEGIN SOLUTION\n(?s:.*?)### END SOLUTION$",
            r"\1# YOUR CODE HERE\n\1raise NotImplementedError()",
            "".join(right["source"]),
            flags=re.MULTILINE,
        )
        assert "".join(stub["source"]) == text


@pytest.mark.parametrize("folder", [student.SOLUTIONS, student.STUDENTS], ids=lambda it: it.name)
@pytest.mark.parametrize("lesson", LESSONS)
def test_committed_notebooks_carry_no_outputs(lesson, folder):
    read = notebook(folder, lesson)
    assert (read["nbformat"], read["nbformat_minor"]) == (4, 5)
    assert not any(it.get("outputs") or it.get("execution_count") for it in read["cells"])
    ids = [it["id"] for it in read["cells"]]
    assert len(set(ids)) == len(ids)


@pytest.mark.parametrize("lesson", LESSONS)
def test_every_solution_is_right(lesson):
    given = run(student.SOLUTIONS, lesson)
    assert len(given) == len(LESSONS[lesson])
    assert [cell for cell, right in given.items() if right is not True] == []


@pytest.mark.parametrize("lesson", LESSONS)
def test_every_stub_is_politely_refused(lesson, capsys):
    given = run(student.STUDENTS, lesson)
    assert set(given.values()) == {False}
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == len(given)
    assert all("place" in line and "Error" not in line.replace(UNWRITTEN, "") for line in lines)


def test_there_are_submissions_for_every_exercise_and_every_misconception():
    assert list(ALTERNATIVES) == list(MISTAKEN) == list(EXERCISES)
    for name, exercise in EXERCISES.items():
        named = [sentence(name, start) for start in MISTAKEN[name]]
        assert named == list(exercise.misconceptions)


@pytest.mark.parametrize("name", EXERCISES)
def test_a_right_answer_passes_however_it_is_written(name, capsys):
    for answer in ALTERNATIVES[name]:
        torch.manual_seed(123)  # the reader's own
        assert check(name, answer) is True, capsys.readouterr().out


@pytest.mark.parametrize(("name", "start"), MISTAKES)
def test_a_mistake_is_called_by_its_name(name, start):
    verdict = judge(EXERCISES[name], MISTAKEN[name][start])
    named = sentence(name, start)
    mistake = EXERCISES[name].misconceptions[named]
    parts = f"{', '.join(map(repr, mistake))}: " if isinstance(mistake, dict) else ""
    assert verdict == (False, f"not yet. {parts}{named}")


@pytest.mark.parametrize("name", EXERCISES)
def test_no_misconception_fits_a_right_answer_or_another_misconception(name):
    exercise = EXERCISES[name]
    right = solved(exercise)
    for own, mistake in exercise.misconceptions.items():
        assert not resembles(exercise, right, mistake)
        seen = [
            completed(exercise, *pair)
            for pair in zip(right, observed(exercise, mistake), strict=True)
        ]
        fitting = {
            other for other, it in exercise.misconceptions.items() if resembles(exercise, seen, it)
        }
        assert fitting == {own}


def leaves(value):
    if isinstance(value, dict):
        return [leaf for key in value for leaf in leaves(value[key])]
    return sorted(value) if isinstance(value, set) else [value]


@functools.cache
def texts(name):
    """All that a reader who has not found the answer can be told."""
    exercise = EXERCISES[name]
    told = [judge(exercise, it).message for it in (*MISTAKEN[name].values(), -77.5, "?", {}, None)]
    if exercise.tries is None and isinstance(exercise.expected, dict):
        told.append(judge(exercise, dict.fromkeys(exercise.expected, -77.5)).message)
    form = exercise.form
    return [text.replace(form, "") for text in (*told, exercise.hint, *exercise.misconceptions)]


@pytest.mark.parametrize("name", VALUES)
def test_no_message_contains_the_value_that_is_asked_for(name):
    exercise = EXERCISES[name]
    for value in leaves(exercise.expected):
        for text in texts(name):
            if isinstance(value, str):
                words = re.findall(r"'([^']+)'", text.split("expected a dictionary")[0])
                assert value not in words
            elif value not in {0, 1}:
                found = [float(it) for it in re.findall(r"-?\d+(?:\.\d+)?", text)]
                assert not any(math.isclose(it, value, rel_tol=2e-3) for it in found)


@pytest.mark.parametrize("name", VALUES)
def test_a_hint_contains_no_word_that_is_asked_for(name):
    for value in leaves(EXERCISES[name].expected):
        if isinstance(value, str) and value not in {"yes", "no"}:
            assert value not in EXERCISES[name].hint
    for text, mistake in EXERCISES[name].misconceptions.items():
        for part in mistake:
            for value in leaves(EXERCISES[name].expected[part]):
                if isinstance(value, str) and value not in {"yes", "no"}:
                    assert value not in text


@pytest.mark.parametrize("lesson", LESSONS)
def test_no_message_contains_a_line_of_the_solution(lesson):
    for source, cell in code(notebook(student.SOLUTIONS, lesson)["cells"]):
        name = cell.removesuffix("-answer").replace("-", "_")
        if name not in FUNCTIONS:
            continue
        solution = source.split(student.BEGIN)[1].split(student.END)[0]
        statements = [re.sub(r"\s|^return|#.*", "", it) for it in solution.splitlines()]
        told = re.sub(r"\s", "", " ".join(texts(name)))
        for statement in statements:
            for part in (statement, statement.partition("=")[2]):
                assert len(part) < 8 or part not in told


@pytest.mark.parametrize("name", FUNCTIONS)
@pytest.mark.parametrize(
    ("answer", "says"),
    [
        (None, "it is None"),
        (..., "`...` is still there"),
        (3.0, "expected a function, got 3"),
        (lambda *_, **__: None, "return a result"),
        (lambda *_, **__: ..., "`...` is still there"),
        (lambda *_, **__: "many", "not yet"),
        (lambda *_, **__: torch.zeros(2, 3, 5, 7), "not yet"),
        (lambda *_, **__: torch.zeros(()), "not yet"),
        (lambda *_, **__: 1 / 0, "your code stopped with ZeroDivisionError: division by zero"),
        (lambda: 1, "your code stopped with TypeError"),
    ],
    ids=[
        "none",
        "dots",
        "number",
        "no-return",
        "dots-back",
        "word",
        "shape",
        "one",
        "raises",
        "args",
    ],
)
def test_a_function_that_cannot_be_right_gets_a_polite_line(name, answer, says):
    if name == "train_step" and answer not in {None, ..., 3.0} and "stopped" not in says:
        says = "The weights do not change"  # what it returns is not looked at
    right, message = judge(EXERCISES[name], answer)
    assert right is False
    assert says in message
    assert "Traceback" not in message
    assert len(message.splitlines()) <= 2


@pytest.mark.parametrize("name", VALUES)
@pytest.mark.parametrize("answer", [None, ..., "many", 3.0, {}, lambda: 1, {"other": 2}])
def test_a_value_of_another_type_gets_a_polite_line(name, answer):
    right, message = judge(EXERCISES[name], answer)
    assert right is False
    assert message.startswith("not yet: ")
    assert len(message.splitlines()) <= 2


def test_a_dictionary_that_is_partly_right_says_which_part():
    answer = {"batches": 196, "last": 80, "weight": 7}
    message = judge(EXERCISES["last_batch"], answer).message
    assert "right so far: batches, last; not yet: weight" in message
    assert EXERCISES["last_batch"].hint in message


def test_a_wrong_shape_is_told_with_the_shape_that_was_expected():
    message = judge(EXERCISES["kl_general"], lambda mu, *_: mu).message
    assert "expected a tensor [4], got a tensor [4, 3]" in message


def test_batches_without_an_end_are_refused():
    def endless(n, *, batch_size, rng):
        while True:
            yield torch.randint(n, (batch_size,), generator=rng)

    message = judge(EXERCISES["epoch_batches"], endless).message
    assert "expected the batches of one epoch, got more batches than images" in message


def test_a_last_batch_that_is_too_large_is_refused():
    def merged(n, *, batch_size, rng):
        order = torch.randperm(n, generator=rng)
        rest = n - n % batch_size - batch_size
        return [*order[:rest].split(batch_size), order[rest:]]

    message = judge(EXERCISES["epoch_batches"], merged).message
    assert "not yet: batches have the size" in message


@pytest.mark.parametrize("name", ["sample_gaussian", "sample_mixture"])
def test_a_sampler_that_does_not_use_its_rng_is_refused(name):
    def draws(*args, n, rng):
        return ALTERNATIVES[name][0](*args, n=n, rng=torch.default_generator)

    message = judge(EXERCISES[name], draws).message
    assert "not yet: the same rng, the same draws" in message


def test_a_mean_is_no_estimate_per_draw():
    def mean(f, mu, std, z):
        return (f(z) * (z - mu) / std**2).mean()

    message = judge(EXERCISES["score_gradient"], mean).message
    assert "expected a tensor [200000], got" in message


def test_an_answer_is_tried_with_the_same_random_numbers_and_with_gradients():
    def noisy(mu, *_):
        return torch.rand(len(mu))

    torch.manual_seed(1)
    first = observed(EXERCISES["kl_general"], noisy)
    torch.manual_seed(2)
    assert torch.equal(first[0], observed(EXERCISES["kl_general"], noisy)[0])
    with torch.no_grad():
        assert check("reparameterize", ALTERNATIVES["reparameterize"][0])


def test_a_name_that_does_not_exist_gets_the_nearest_one():
    with pytest.raises(ParameterError, match="'kl_genral'; did you mean 'kl_general'"):
        check("kl_genral", None)


def test_a_check_leaves_the_readers_random_numbers_alone():
    def draws(mean, covariance, *, n, rng):
        torch.manual_seed(5)
        return torch.randn(n, 3)

    torch.manual_seed(9)
    expected = torch.rand(3)
    torch.manual_seed(9)
    judge(EXERCISES["sample_gaussian"], draws)
    assert network._parts_without_gradient() == EXERCISES["no_gradient"].expected  # at import
    assert torch.equal(torch.rand(3), expected)


def test_a_check_prints_what_it_found(capsys):
    assert check("sum_for_mean", {"sgd": 128, "adam": 1})
    assert not check("sum_for_mean", {"sgd": 128, "adam": 128})
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "sum_for_mean: right."
    assert lines[1].startswith("sum_for_mean: not yet. 'adam': Adam does not step")


def variance_for_logvar(slope, mu, std, eps):
    along = slope(mu + std * eps)
    return along, along * eps * std**2


def without_logarithms(bce, z, mu, logvar):
    prior, q = torch.distributions.Normal(0, 1), torch.distributions.Normal(mu, logvar.exp() ** 0.5)
    w = (-bce + prior.log_prob(z).sum(2) - q.log_prob(z).sum(2)).exp()
    return -w.mean(dim=0).log()


@pytest.mark.parametrize(
    ("name", "answer"), [("path_gradient", variance_for_logvar), ("iwae_loss", without_logarithms)]
)
def test_a_wrong_answer_that_is_right_at_special_numbers_is_refused(name, answer):
    assert not judge(EXERCISES[name], answer).right


@pytest.mark.parametrize(
    ("got", "wanted", "expected"),
    [
        (1.0, 1 + 1e-9, True),
        (torch.tensor([1, 2]), [1.0, 2.0], True),
        (math.nan, 1.0, False),
        ({"a": 1, "b": 9}, {"a": 1}, True),
        ((1, 5), (1, None), True),
        (" Grey", "grey", True),
        ({"A", "b"}, {"a", "b"}, True),
        (True, False, False),
        (torch.tensor(1.0) < 2, True, True),
        (np.float64(1) > 2, True, False),
    ],
)
def test_results_agree_part_by_part(got, wanted, expected):
    assert agree(got, wanted, tolerance=1e-6) is expected


@pytest.mark.parametrize(
    ("got", "wanted"),
    [
        (True, 1.0),
        (1, True),
        (torch.tensor([True]), True),
        ("1", 1.0),
        ([1.0], 1.0),
        ({"b": 1}, {"a": 1}),
        (1, "a"),
        ((1, 2, 3), (1, 2)),
    ],
)
def test_another_type_or_shape_is_no_wrong_value_but_a_wrong_form(got, wanted):
    with pytest.raises(FormError, match="expected"):
        agree(got, wanted, tolerance=1e-6)


@pytest.mark.parametrize(
    ("source", "says"),
    [
        (
            "### BEGIN SOLUTION\nx = 1",
            "'### END SOLUTION' after '### BEGIN SOLUTION', found the end",
        ),
        ("x = 1\n### END SOLUTION", "'### BEGIN SOLUTION' first, found '### END SOLUTION'"),
        (
            "### BEGIN SOLUTION\n### BEGIN SOLUTION\n### END SOLUTION",
            "'### END SOLUTION' first, found '### BEGIN SOLUTION'",
        ),
    ],
    ids=["no-end", "no-begin", "twice"],
)
def test_a_marker_without_its_partner_is_refused_with_its_cell(source, says):
    cells = [{"cell_type": "code", "id": "odd-answer", "source": source.splitlines(True)}]
    with pytest.raises(ValueError, match=f"odd-answer: expected {says}"):
        student.student_notebook({"cells": cells})
