"""What a study would run: the grid, its arms, the list of studies, and what is refused."""

import itertools

import numpy as np
import pytest

from vae_helpers.course import execution, notebooks
from vae_helpers.parameters import ParameterError
from vae_helpers.store import code_digest
from vae_helpers.studies import planning
from vae_helpers.studies.tables import StudyError


def test_cells_are_the_product_of_the_grid_and_its_last_parameter_varies_fastest():
    plan = planning.plan("05", {"seed": ["1", "2"], "beta": ["0", "4"]}, {"epochs": "3"})
    assert [(cell.values["seed"], cell.values["beta"]) for cell in plan.cells] == [
        (1, 0.0),
        (1, 4.0),
        (2, 0.0),
        (2, 4.0),
    ]
    assert {cell.values["epochs"] for cell in plan.cells} == {3}
    assert plan.cells[1].label == "seed=1 beta=4.0"


def test_a_cell_states_every_parameter_of_the_notebook():
    (cell,) = planning.plan("05", {"seed": [1]}, profile="smoke").cells
    names = list(notebooks.defaults("05_training"))
    assert list(cell.values) == list(cell.execution.overrides) == names
    assert cell.values["epochs"] == execution.plan(["05"], profile="smoke")[0].overrides["epochs"]


def test_a_cells_code_is_what_its_own_words_reach_and_a_studys_what_any_of_them_do(monkeypatch):
    monkeypatch.setattr(code_digest, "of_notebook", lambda name, words: " ".join(sorted(words)))
    plan = planning.plan("05", {"binarize": ["none", "dynamic"]})
    one = planning.plan("05", {"binarize": ["none"]}).cells[0]
    assert "none" in plan.cells[0].code.split()
    assert "dynamic" not in plan.cells[0].code.split()
    assert {"none", "dynamic", "auto"} <= set(plan.code.split())
    assert one.key == plan.cells[0].key


def test_other_studies_have_other_folders():
    one = planning.plan("05", {"seed": [1, 2]}).folder
    assert one == planning.plan("05_training", {"seed": ["1", "2"]}).folder
    assert one != planning.plan("05", {"seed": [1, 2]}, {"epochs": 2}).folder
    assert one != planning.plan("05", {"seed": [1, 2]}, profile="smoke").folder


ARMS = {"plain": {"beta": 0}, "4 + small": {"beta": 4, "batch_size": 10}, "untouched": {}}


def test_cells_are_every_arm_with_every_point_of_the_grid_and_the_grid_varies_fastest():
    plan = planning.plan("05", {"epochs": [1, 2], "seed": [5, 6]}, {"latent_dim": 2}, arms=ARMS)
    assert [cell.label for cell in plan.cells[:5]] == [
        "plain, epochs=1 seed=5",
        "plain, epochs=1 seed=6",
        "plain, epochs=2 seed=5",
        "plain, epochs=2 seed=6",
        "4 + small, epochs=1 seed=5",
    ]
    assert [cell.arm for cell in plan.cells] == [arm for arm in ARMS for _ in range(4)]
    assert {cell.values["latent_dim"] for cell in plan.cells} == {2}


def test_what_an_arm_does_not_set_has_the_notebooks_default():
    cells = planning.plan("05", {"seed": [1]}, arms=ARMS).cells
    values = [(cell.values["beta"], cell.values["batch_size"]) for cell in cells]
    assert values == [(0.0, 128), (4.0, 10), (1.0, 128)]
    assert [cell.execution.overrides for cell in cells] == [cell.values for cell in cells]


def test_an_arms_name_is_not_part_of_its_cells_keys():
    keys = [
        planning.plan("05", {"seed": [1]}, arms={name: {"beta": 4}}).cells[0].key for name in "ab"
    ]
    assert keys == [planning.plan("05", {"seed": [1], "beta": [4]}).cells[0].key] * 2


def test_studies_with_other_arms_have_other_folders():
    arms = [None, {"a": {}}, {"b": {}}, {"a": {"beta": 4}}]
    assert len({planning.plan("05", {"seed": [1]}, arms=it).folder for it in arms}) == 4


@pytest.mark.parametrize(
    ("arms", "message"),
    [
        ({}, "arms: expected at least one, each a table by its name, got {}"),
        ({"a": 4}, "arm 'a': expected a table of parameters, got 4"),
        ({"a": {"seed": 4}}, "seed: expected in the arm 'a' or in the grid, got both"),
        ({"a": {}, "b": {"epochs": 4}}, "epochs: expected in the arm 'b' or by itself, got both"),
        ({"a": {"bta": 4}}, "no parameter 'bta'; did you mean 'beta'?"),
        ({"a": {"beta": -4}}, "beta: expected 0 to 1000000, got -4"),
        ({"a": {"beta": 1.0}, "b": {}}, "b, seed=1: expected once in the grid, got twice"),
    ],
)
def test_a_mistake_in_the_arms_is_refused(arms, message):
    with pytest.raises(ParameterError) as refusal:
        planning.plan("05", {"seed": [1]}, {"epochs": 2}, arms=arms)
    assert message in str(refusal.value)


def test_the_list_of_studies_may_name_arms(tmp_path, monkeypatch):
    (tmp_path / "studies.toml").write_text(
        '[a]\nnotebook = "05"\npurpose = "p"\n[a.grid]\nseed = [1, 2]\n'
        '[a.arms]\n"plain" = { beta = 0.0 }\n"4 + small" = { beta = 4, batch_size = 10 }\n',
        encoding="utf-8",
    )
    monkeypatch.setattr(planning, "STUDIES", tmp_path / "studies.toml")
    (plan,) = planning.committed()
    assert [cell.arm for cell in plan.cells] == ["plain"] * 2 + ["4 + small"] * 2
    assert plan.arms == {"plain": {"beta": 0.0}, "4 + small": {"beta": 4.0, "batch_size": 10}}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('[a]\nnotebook = "05"\npurpose = "p"', "a: lacks 'grid'"),
        ('[a]\nnotebook = "05"\npurpose = "p"\nseeds = [1]\n[a.grid]\nseed = [1]', "entry 'seeds'"),
        ('[a]\nnotebook = "05"\npurpose = "p"\n[a.grid]\nseed = 1', "one or more values, got 1"),
        (
            '[a]\nnotebook = "05"\npurpose = "p"\narms = ["b"]\n[a.grid]\nseed = [1]',
            "arms: expected at least one, each a table by its name, got ['b']",
        ),
    ],
)
def test_a_list_of_studies_that_does_not_say_what_is_needed_is_refused(
    tmp_path, monkeypatch, text, message
):
    (tmp_path / "studies.toml").write_text(text, encoding="utf-8")
    monkeypatch.setattr(planning, "STUDIES", tmp_path / "studies.toml")
    with pytest.raises(ParameterError) as refusal:
        planning.committed()
    assert message in str(refusal.value)


# A random search

CHOICES = {"beta": [0.5, 1, 2], "learning_rate": [1e-3, 2e-3], "epochs": [1, 2]}


def points(arms):
    return [tuple(sorted(arm.items())) for arm in arms.values()]


def test_trials_are_points_of_the_grid_of_choices_none_of_them_twice():
    arms = planning.trials(CHOICES, 7)
    assert list(arms) == [f"trial {number}" for number in range(1, 8)]
    assert all(arm.keys() == CHOICES.keys() for arm in arms.values())
    assert all(value in CHOICES[name] for arm in arms.values() for name, value in arm.items())
    assert len(set(points(arms))) == 7


def test_as_many_trials_as_the_grid_has_points_are_the_whole_grid():
    whole = {
        (("beta", beta), ("epochs", epochs), ("learning_rate", rate))
        for beta, rate, epochs in itertools.product(*CHOICES.values())
    }
    assert set(points(planning.trials(CHOICES, 12))) == whole
    assert len(points(planning.trials(CHOICES, 12))) == 12


def test_trials_are_drawn_at_random_and_are_the_same_every_time():
    np.random.seed(5)
    first = planning.trials(CHOICES, 6)
    np.random.seed(6)
    assert planning.trials(CHOICES, 6) == first
    grid = list(itertools.product(*CHOICES.values()))
    assert points(first) != points(
        dict(enumerate(dict(zip(CHOICES, it, strict=True)) for it in grid[:6]))
    )
    values = {name: {arm[name] for arm in first.values()} for name in CHOICES}
    assert values == {name: set(own) for name, own in CHOICES.items()}


@pytest.mark.parametrize("count", [0, -1, 13, 1_000])
def test_more_trials_than_the_grid_has_points_are_refused_and_so_are_none(count):
    with pytest.raises(ParameterError, match=f"trials: expected 1 to 12, .* got {count}$"):
        planning.trials(CHOICES, count)


SEARCH = """
[a]
notebook = "05"
purpose = "p"
trials = {trials}
[a.given]
latent_dim = 2
[a.choices]
beta = [0.5, 1, 2]
learning_rate = [1e-3, 2e-3]
[a.grid]
seed = [1, 2]
"""


def listed(tmp_path, monkeypatch, text):
    """The studies of a list of one's own."""
    (tmp_path / "studies.toml").write_text(text, encoding="utf-8")
    monkeypatch.setattr(planning, "STUDIES", tmp_path / "studies.toml")
    return planning.committed()


def test_choices_in_the_list_of_studies_become_so_many_arms_that_go_through_the_grid(
    tmp_path, monkeypatch
):
    (plan,) = listed(tmp_path, monkeypatch, SEARCH.format(trials=4))
    arms = planning.trials({"beta": [0.5, 1, 2], "learning_rate": [1e-3, 2e-3]}, 4)
    assert plan.arms == arms
    assert [cell.label for cell in plan.cells] == [
        f"trial {number}, seed={seed}" for number in (1, 2, 3, 4) for seed in (1, 2)
    ]
    for cell in plan.cells:
        assert {name: cell.values[name] for name in arms[cell.arm]} == arms[cell.arm]
        assert cell.values["latent_dim"] == 2


TOGETHER = "expected choices and the number of trials together, and no arms beside"


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("trials = 4\n", "", TOGETHER),
        ("[a.choices]\nbeta = [0.5, 1, 2]\nlearning_rate = [1e-3, 2e-3]\n", "", TOGETHER),
        ("[a.choices]", "[a.arms.plain]\nbatch_size = 10\n[a.choices]", TOGETHER),
        ("trials = 4", "trials = 7", "trials: expected 1 to 6, the size of the grid, got 7"),
        ("trials = 4", "trials = 0", "trials: expected 1 to 6, the size of the grid, got 0"),
        ("trials = 4", 'trials = "4"', "trials: expected a whole number, got '4'"),
        ("trials = 4", "trials = true", "trials: expected a whole number, got True"),
        ("beta = [0.5, 1, 2]", "beta = 0.5", "beta: expected one or more values, got 0.5"),
        ("beta = [0.5, 1, 2]", "beta = []", "beta: expected one or more values, got []"),
        ("beta =", "bta =", "no parameter 'bta'; did you mean 'beta'?"),
        ("beta = [0.5, 1, 2]", "seed = [3, 4]", "seed: expected in the arm 'trial 1' or in the"),
    ],
)
def test_a_mistake_in_a_random_search_is_refused(tmp_path, monkeypatch, old, new, message):
    text = SEARCH.format(trials=4)
    assert old in text
    with pytest.raises(StudyError) as refusal:
        listed(tmp_path, monkeypatch, text.replace(old, new))
    assert "studies.toml: a: " in str(refusal.value)
    assert message in str(refusal.value)


def test_the_committed_list_can_be_planned():
    plans = planning.committed()
    assert [plan.name for plan in plans] == list(dict.fromkeys(plan.name for plan in plans))
    assert all(plan.folder.name == plan.name and plan.cells for plan in plans)
