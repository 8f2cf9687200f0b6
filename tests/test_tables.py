"""Committed studies and who reads them."""

import json
import math
import re
import subprocess
import sys

import pytest

from vae_helpers.course import notebooks
from vae_helpers.store import code_digest
from vae_helpers.studies import planning, tables
from vae_helpers.studies.tables import StudyError

TABLE = (
    "seed,beta,hidden_dims,status,error,loss,same,sum,fcd[1],fcd[30],steps\n"
    '1,0.0,"[400, 200]",failed,"it said ""no"", twice",,,,,,\n'
    '1,0.5,"[400, 200]",finished,,0.30000000000000004,True,0a1b,2.5,,\n'
    '2,0.5,"[400, 200]",finished,,,,,3.5,,12\n'
)


@pytest.fixture
def published(tmp_path, monkeypatch):
    """The table above as a committed study of a notebook that names a loss."""
    monkeypatch.setattr(tables, "PUBLISHED", tmp_path)
    monkeypatch.setattr(tables, "STUDIES", tmp_path / "studies.toml")
    monkeypatch.setattr(tables.notebooks, "defaults", {"01_toy": {"loss": "elbo"}}.__getitem__)
    monkeypatch.setattr(code_digest, "of_notebook", lambda name, words: f"{name}, {sorted(words)}")
    (tmp_path / "studies.toml").write_text("[toy]\n[planned]\n", encoding="utf-8")
    (tmp_path / "toy.csv").write_text(TABLE, encoding="utf-8")
    about = {"notebook": "01_toy", "digest": "01_toy, ['MNIST', 'beta_tc', 'elbo', 'gan']"}
    about |= {"grid": {"loss": ["elbo", "beta_tc"]}, "given": {"dataset": "MNIST"}}
    about |= {"arms": {"named": {"model": "gan", "hidden_dims": [400]}}}
    (tmp_path / "toy.json").write_text(json.dumps(about), encoding="utf-8")
    return tmp_path


@pytest.mark.usefixtures("published")
def test_what_is_read_has_the_values_and_types_that_were_written():
    study = tables.read("toy")
    assert study.rows[1] == {
        "seed": 1,
        "beta": 0.5,
        "hidden_dims": (400, 200),
        "status": "finished",
        "error": None,
        "loss": 0.1 + 0.2,
        "same": True,
        "sum": "0a1b",
        "fcd[1]": 2.5,
        "fcd[30]": None,
        "steps": None,
    }
    assert [type(study.rows[1][name]) for name in ("seed", "beta", "same")] == [int, float, bool]
    assert study.failed() == [study.rows[0]]


@pytest.mark.usefixtures("published")
def test_values_are_those_of_the_finished_rows_that_are_asked_for():
    study = tables.read("toy")
    assert study.values("fcd[1]") == [2.5, 3.5]
    assert study.values("fcd[1]", {"seed": 2, "beta": 0.5}) == [3.5]
    assert study.values("fcd[1]", {"beta": 0}) == []
    assert study.values("seed", {"hidden_dims": [400, 200]}) == [1, 2]
    assert math.isnan(study.values("loss")[1])


@pytest.mark.usefixtures("published")
@pytest.mark.parametrize(
    ("metric", "where", "message"),
    [
        ("los", {}, "no column 'los'; did you mean 'loss'?"),
        ("loss", {"bta": 1}, "no column 'bta'; did you mean 'beta'?"),
        ("loss", {"beta": 4}, "no row with beta = 4; use 0.0, 0.5"),
        ("sum", {"seed": 1}, "expected numbers in 'sum', got '0a1b'"),
    ],
)
def test_a_metric_or_a_condition_that_is_not_there_is_named(metric, where, message):
    with pytest.raises(StudyError) as refusal:
        tables.read("toy").values(metric, where)
    assert message in str(refusal.value)


@pytest.mark.usefixtures("published")
@pytest.mark.parametrize(
    ("name", "message"),
    [("tyo", "did you mean 'toy'?"), ("planned", "was not run yet; `make studies` does")],
)
def test_a_study_that_cannot_be_read_says_why(name, message):
    with pytest.raises(StudyError) as refusal:
        tables.read(name)
    assert message in str(refusal.value)


@pytest.mark.usefixtures("published")
def test_a_study_says_what_it_is_and_whether_the_code_has_changed_since(monkeypatch):
    study = tables.read("toy")
    assert not study.stale
    assert study.label() == "study toy: 3 runs of 01_toy, seeds 1 and 2, 1 failed"
    monkeypatch.setattr(code_digest, "of_notebook", lambda name, words: "tomorrow's")
    study = tables.read("toy")
    assert study.stale
    assert study.label().endswith("1 failed; made by an earlier version of the code")


@pytest.mark.parametrize(
    ("seeds", "words"),
    [([5], "seed 5"), ([1, 2, 3], "seeds 1 to 3"), ([1, 2, 4], "seeds 1, 2, 4")],
)
def test_a_label_names_the_seeds(seeds, words):
    rows = [{"seed": seed, "status": "finished"} for seed in seeds]
    study = tables.Study("toy", rows, {"notebook": "01_toy"}, stale=False)
    assert f", {words}, 0 failed" in study.label()


def test_the_interval_of_a_mean_is_students():
    # 4.30265 is the 97.5 % quantile with 2 degrees of freedom in every table
    mean, half_width = tables.mean_interval([1.0, 2.0, 3.0])
    assert mean == 2.0
    assert half_width == pytest.approx(4.30265 / math.sqrt(3), rel=1e-5)
    assert tables.mean_interval([1.0, 2.0, 3.0], 0.99)[1] == pytest.approx(9.92484 / math.sqrt(3))


@pytest.mark.parametrize("values", [[], [1.0], [1.0, math.nan]])
def test_an_interval_needs_two_finite_values(values):
    with pytest.raises(ValueError, match="at least 2 finite values"):
        tables.mean_interval(values)


def test_reading_waits_neither_for_torch_nor_for_dask():
    code = (
        "import sys; from vae_helpers.studies import tables; tables.read('beta').label(); "
        "sys.exit(any(name in sys.modules for name in ('torch', 'dask', 'distributed')))"
    )
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_an_arms_name_is_read_as_the_text_it_is(published):
    first, *others = TABLE.splitlines()
    names = ["plain", "4", "True"]
    lines = [f"arm,{first}", *(f"{arm},{row}" for arm, row in zip(names, others, strict=True))]
    (published / "toy.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    study = tables.read("toy")
    assert [row["arm"] for row in study.rows] == names
    assert study.values("steps", {"arm": "True"}) == [12.0]


def test_a_list_of_words_and_a_text_in_quotes_stay_the_text_that_they_are(published):
    table = 'seed,status,words,quoted\n1,finished,"[""a""]","""a"""\n'
    (published / "toy.csv").write_text(table, encoding="utf-8")
    (row,) = tables.read("toy").rows
    assert (row["words"], row["quoted"]) == ('["a"]', '"a"')


def test_a_study_without_its_provenance_is_refused_and_the_file_named(published):
    (published / "toy.json").unlink()
    with pytest.raises(StudyError, match=r"toy\.json: expected the provenance of a study"):
        tables.read("toy")


def test_a_table_with_a_quote_in_the_wrong_place_is_refused_and_the_file_named(published):
    (published / "toy.csv").write_text('seed,status\n1,"finished"x\n', encoding="utf-8")
    with pytest.raises(StudyError, match=r"toy\.csv: expected "):
        tables.read("toy")


# --- the data dictionary


def explained():
    """Patterns of the columns that report/results/studies/README.md explains."""
    text = (tables.PUBLISHED / "README.md").read_text(encoding="utf-8")
    cells = [line.split("|")[1] for line in text.splitlines() if line.startswith("| `")]
    names = [name for cell in cells for name in re.findall(r"`([^`]+)`", cell)]
    names.remove("NAME[i]")  # any series
    assert len(names) > 30
    for name in names:
        bare = re.escape(name.partition("[")[0]).replace(r"\.\.\.", r"\w+")
        yield re.sub(r"\b(?:NAME)|(?<=_)(?:[RECK]|i)(?=_|$)", r"\\w+", bare)


@pytest.mark.parametrize("path", sorted(tables.PUBLISHED.glob("*.csv")), ids=lambda it: it.stem)
def test_every_column_of_a_committed_table_is_explained(path):
    known = re.compile("|".join(explained()))
    columns = {name.partition("[")[0] for name in tables.read_rows(path)[0]}
    study = tables.read(path.stem)
    if study.stale:
        pytest.skip("made by an earlier version, which had other columns")
    parameters = notebooks.defaults(study.provenance["notebook"])
    assert [it for it in columns - parameters.keys() if not known.fullmatch(it)] == []


# --- the committed tables together


@pytest.mark.parametrize("name", tables.planned(tables.STUDIES))
def test_a_committed_table_has_the_cells_that_the_list_of_studies_names(name):
    (plan,), study = planning.committed([name]), tables.read(name)
    assert [row.get("arm") for row in study.rows] == [cell.arm for cell in plan.cells]
    assert [it["cell"] for it in study.provenance["cells"]] == [it.label for it in plan.cells]
    assert study.provenance["arms"].keys() == plan.arms.keys()


def test_the_same_network_has_the_same_distance_in_every_study_that_trained_it():
    of_remedies = tables.read("remedies").values("fcd_last", {"arm": "with dropout"})
    assert of_remedies == tables.read("comparison_gan").values("fcd[10]")[: len(of_remedies)]
    of_beta = tables.read("beta").values("fcd_last", {"beta": 1.0})
    vae = {"arm": "VAE"}
    assert of_beta == tables.read("comparison_vae").values("fcd_last", vae)[: len(of_beta)]
