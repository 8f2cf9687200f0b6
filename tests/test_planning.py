"""What a study would run: the grid, its arms, the list of studies, and what is refused."""

import pytest

from vae_helpers.course import execution, notebooks
from vae_helpers.parameters import ParameterError
from vae_helpers.store import code_digest
from vae_helpers.studies import planning


def test_cells_are_the_product_of_the_grid_and_its_last_parameter_varies_fastest():
    plan = planning.plan("04", {"seed": ["1", "2"], "beta": ["0", "4"]}, {"epochs": "3"})
    assert [(cell.values["seed"], cell.values["beta"]) for cell in plan.cells] == [
        (1, 0.0),
        (1, 4.0),
        (2, 0.0),
        (2, 4.0),
    ]
    assert {cell.values["epochs"] for cell in plan.cells} == {3}
    assert plan.cells[1].label == "seed=1 beta=4.0"


def test_a_cell_states_every_parameter_of_the_notebook():
    (cell,) = planning.plan("04", {"seed": [1]}, profile="smoke").cells
    names = list(notebooks.defaults("04_training"))
    assert list(cell.values) == list(cell.execution.overrides) == names
    assert cell.values["epochs"] == execution.plan(["04"], profile="smoke")[0].overrides["epochs"]


def test_a_cells_code_is_what_its_own_words_reach_and_a_studys_what_any_of_them_do(monkeypatch):
    monkeypatch.setattr(code_digest, "of_notebook", lambda name, words: " ".join(sorted(words)))
    plan = planning.plan("04", {"binarize": ["none", "dynamic"]})
    one = planning.plan("04", {"binarize": ["none"]}).cells[0]
    assert "none" in plan.cells[0].code.split()
    assert "dynamic" not in plan.cells[0].code.split()
    assert {"none", "dynamic", "auto"} <= set(plan.code.split())
    assert one.key == plan.cells[0].key


def test_other_studies_have_other_folders():
    one = planning.plan("04", {"seed": [1, 2]}).folder
    assert one == planning.plan("04_training", {"seed": ["1", "2"]}).folder
    assert one != planning.plan("04", {"seed": [1, 2]}, {"epochs": 2}).folder
    assert one != planning.plan("04", {"seed": [1, 2]}, profile="smoke").folder


ARMS = {"plain": {"beta": 0}, "4 + small": {"beta": 4, "batch_size": 10}, "untouched": {}}


def test_cells_are_every_arm_with_every_point_of_the_grid_and_the_grid_varies_fastest():
    plan = planning.plan("04", {"epochs": [1, 2], "seed": [5, 6]}, {"latent_dim": 2}, arms=ARMS)
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
    cells = planning.plan("04", {"seed": [1]}, arms=ARMS).cells
    values = [(cell.values["beta"], cell.values["batch_size"]) for cell in cells]
    assert values == [(0.0, 128), (4.0, 10), (1.0, 128)]
    assert [cell.execution.overrides for cell in cells] == [cell.values for cell in cells]


def test_an_arms_name_is_not_part_of_its_cells_keys():
    keys = [
        planning.plan("04", {"seed": [1]}, arms={name: {"beta": 4}}).cells[0].key for name in "ab"
    ]
    assert keys == [planning.plan("04", {"seed": [1], "beta": [4]}).cells[0].key] * 2


def test_studies_with_other_arms_have_other_folders():
    arms = [None, {"a": {}}, {"b": {}}, {"a": {"beta": 4}}]
    assert len({planning.plan("04", {"seed": [1]}, arms=it).folder for it in arms}) == 4


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
        planning.plan("04", {"seed": [1]}, {"epochs": 2}, arms=arms)
    assert message in str(refusal.value)


def test_the_list_of_studies_may_name_arms(tmp_path, monkeypatch):
    (tmp_path / "studies.toml").write_text(
        '[a]\nnotebook = "04"\npurpose = "p"\n[a.grid]\nseed = [1, 2]\n'
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
        ('[a]\nnotebook = "04"\npurpose = "p"', "a: lacks 'grid'"),
        ('[a]\nnotebook = "04"\npurpose = "p"\nseeds = [1]\n[a.grid]\nseed = [1]', "entry 'seeds'"),
        ('[a]\nnotebook = "04"\npurpose = "p"\n[a.grid]\nseed = 1', "one or more values, got 1"),
        (
            '[a]\nnotebook = "04"\npurpose = "p"\narms = ["b"]\n[a.grid]\nseed = [1]',
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


def test_the_committed_list_can_be_planned():
    plans = planning.committed()
    assert [plan.name for plan in plans] == list(dict.fromkeys(plan.name for plan in plans))
    assert all(plan.folder.name == plan.name and plan.cells for plan in plans)
