"""The board: what a published number is compared with, and what the comparison allows to say."""

import math
import shlex
import tomllib

import pytest
from scipy import stats

from vae_helpers import PROJECT
from vae_helpers.course import execution
from vae_helpers.studies import board, planning, tables
from vae_helpers.studies.board import Row, half_width
from vae_helpers.studies.tables import Study

T95_4 = stats.t(4).ppf(0.975)
Z95 = stats.norm.ppf(0.975)


def chance(**others):
    return {"confidence": 0.95, "sd": 0.5, "degrees": 4, "error": 0.0} | others


def test_the_mean_of_five_trainings_has_students_interval():
    values = [92.1, 92.9, 92.4, 91.8, 92.6]
    mean = sum(values) / 5
    sd = math.sqrt(sum((it - mean) ** 2 for it in values) / 4)
    low, high = stats.t.interval(0.95, 4, mean, stats.sem(values))
    assert half_width(5, **chance(sd=sd)) == pytest.approx((high - low) / 2)


def test_a_foreign_training_is_taken_to_vary_as_ours_do():
    assert half_width(5, **chance(), theirs=0.0) == pytest.approx(T95_4 * 0.5 * math.sqrt(1.2))


def test_errors_of_images_and_of_reading_are_added_as_variances():
    both = half_width(5, **chance(error=0.3), theirs=0.4)
    assert both == pytest.approx(math.hypot(T95_4 * 0.5 * math.sqrt(1.2), Z95 * 0.5))


@pytest.mark.parametrize(
    ("difference", "verdict"),
    [((0.2, 0.3), "agrees"), ((-0.3, 0.3), "agrees"), ((0.4, 0.3), "higher"), ((-2, 1), "lower")],
)
def test_the_verdict_follows_from_the_interval(difference, verdict):
    row = Row("x", 1.0, (1.0, 0.1), difference, 5, "", "", ())
    assert row.verdict == verdict


def study(rows, notebook="18_measured_run"):
    return Study("toy", rows, {"notebook": notebook}, stale=False)


@pytest.fixture
def toy(monkeypatch):
    """Two studies by their names."""
    seeds = [{"seed": i, "status": "finished", "bound": 90.0 + i} for i in range(5)]
    arms = [
        {"arm": "a", "seed": 1, "status": "finished", "bound": 95.0, "bound_spread": 0.6},
        {"arm": "b", "seed": 1, "status": "finished", "bound": 70.0, "bound_spread": 9.9},
    ]
    for row in arms:
        row["likelihood_images"] = 5_000
    monkeypatch.setattr(board, "SINGLE", ("seeds", "bound"))
    monkeypatch.setattr(board, "command", lambda *_: "")
    return {"seeds": study(seeds), "arms": study(arms)}


ENTRY = {"value": 94.0, "ours": {"name": "x", "study": "arms", "metric": "bound"}}


def test_a_single_training_borrows_its_spread_and_adds_that_of_the_images(toy):
    entry = {**ENTRY, "ours": {**ENTRY["ours"], "where": {"arm": "a"}}}
    row = board.row(entry, toy, 0.95)
    images = 0.6 * math.sqrt(1 - 5_000 / 10_000)
    sd = math.sqrt(2.5)  # of 0, 1, 2, 3, 4
    assert row.ours == (95.0, pytest.approx(math.hypot(T95_4 * sd, Z95 * images)))
    assert row.difference == (1.0, pytest.approx(math.hypot(T95_4 * sd * 2**0.5, Z95 * images)))
    assert (row.runs, row.verdict) == (1, "agrees")
    assert row.studies == (toy["arms"], toy["seeds"])


def test_five_trainings_have_a_spread_of_their_own(toy):
    entry = {**ENTRY, "ours": {**ENTRY["ours"], "study": "seeds"}}
    row = board.row(entry, toy, 0.95)
    assert row.ours == (92.0, pytest.approx(T95_4 * math.sqrt(2.5 / 5)))
    assert row.studies == (toy["seeds"],)


def test_the_command_names_what_is_not_the_default_and_can_be_run():
    row = {"arm": "a", "epochs": 7, "seed": 1, "measures": '["bounds"]', "curve": "[]"}
    row |= {"hidden_dims": (400,), "batch_size": 128, "status": "finished"}
    words = shlex.split(board.command(study([row]), row))
    assert words[:5] == ["python", "-m", "vae_helpers", "run", "18"]
    pairs = dict(zip(words[6::3], words[7::3], strict=True))
    assert words[5::3] == ["-p"] * len(pairs)
    expected = {"epochs": 7, "seed": 1, "measures": ("bounds",), "curve": (), "hidden_dims": (400,)}
    (planned,) = execution.plan(["18"], pairs, profile="full")
    assert planned.overrides == expected


# What is committed


def entries():
    text = (PROJECT / "report" / "published.toml").read_text(encoding="utf-8")
    return tomllib.loads(text)["entry"]


def test_every_entry_has_an_id_of_its_own_and_a_source_or_says_that_none_was_found():
    ids = [it["id"] for it in entries()]
    assert len(set(ids)) == len(ids)
    for it in entries():
        assert it["source"]
        assert it["status"] in ("verbatim", "measured", "secondary", "not found")
        assert ("value" in it) == (it["status"] != "not found")


def test_only_numbers_that_were_seen_at_their_source_are_on_the_board():
    there = [it for it in entries() if "ours" in it]
    assert len(there) >= 16
    assert {it["status"] for it in there} <= {"verbatim", "measured"}


def test_every_row_of_the_board_is_one_that_a_study_has():
    plans = {plan.name: plan for plan in planning.committed()}
    for it in (it for it in entries() if "ours" in it):
        assert it["ours"].keys() <= {"name", "study", "metric", "where", "differs"}
        plan, where = plans[it["ours"]["study"]], it["ours"].get("where", {})
        found = [
            cell
            for cell in plan.cells
            if all({**cell.values, "arm": cell.arm}[name] == value for name, value in where.items())
        ]
        assert found, it["id"]
        assert len({(cell.arm, cell.values["latent_dim"]) for cell in found}) == 1


def test_a_row_holds_what_the_table_says():
    row = board.rows()["ptexamples_test7"]
    table = tables.read_rows(tables.PUBLISHED / "board_losses.csv")
    losses = [float(it["test_loss_last"]) for it in table if "7 epochs" in it["arm"]]
    assert len(losses) == row.runs >= 3
    assert row.ours[0] == pytest.approx(sum(losses) / len(losses))
    assert row.difference[0] == pytest.approx(row.ours[0] - 106.6624)
