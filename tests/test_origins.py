"""From a published number to the cell, command, seeds and code that made it, and back."""

import csv
import json
import re
import shutil
import statistics
import subprocess
import sys

import pytest
from scipy import stats

from vae_helpers import PROJECT, __main__
from vae_helpers.course import notebooks
from vae_helpers.studies import keys, origins, tables
from vae_helpers.studies.keys import KeyUnknownError

WITH_RESULTS = sorted(path.stem for path in keys.RESULTS.glob("*.json"))


@pytest.fixture
def results(tmp_path):
    """A copy of the committed results that may be changed."""
    return shutil.copytree(keys.RESULTS, tmp_path / "results")


def recorded(notebook):
    return json.loads((keys.RESULTS / f"{notebook}.json").read_text(encoding="utf-8"))


def cell_of(origin):
    path = notebooks.NOTEBOOKS / f"{origin.notebook}.ipynb"
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    (cell,) = (cell for cell in cells if cell["id"] == origin.place.cell)
    return cell


def change(results, notebook, **content):
    path = results / f"{notebook}.json"
    found = json.loads(path.read_text(encoding="utf-8")) | content
    path.write_text(json.dumps(found), encoding="utf-8")
    return results


# --- cells


@pytest.mark.parametrize("notebook", WITH_RESULTS)
def test_the_cell_of_a_number_has_it_in_its_output(notebook):
    for name, entry in recorded(notebook)["values"].items():
        origin = origins.of(f"{notebook}.{name}")
        printed = "".join(text for it in cell_of(origin)["outputs"] for text in it.get("text", ()))
        lines = [line for line in printed.splitlines() if re.match(rf"{name}\b", line)]
        assert lines, name
        if entry["kind"] == "tolerance":
            (shown,) = re.findall(r"~(-?[\d.]*\d)", lines[-1])
            decimals = len(shown.partition(".")[2])
            assert f"{entry['value']:.{decimals}f}" == shown


@pytest.mark.parametrize("notebook", WITH_RESULTS)
def test_the_cell_of_a_figure_draws_it_under_its_caption(notebook):
    for name, entry in recorded(notebook)["figures"].items():
        origin = origins.of(f"{notebook}/{name}")
        shown = [
            "".join(output.get("data", {}).get("text/plain", ""))
            for output in cell_of(origin)["outputs"]
        ]
        assert shown[shown.index(f"<{name}>") + 1] == entry["caption"]


def test_the_number_of_a_cell_is_the_one_that_jupyter_shows_beside_it():
    origin = origins.of("05_training.train_loss_last")
    assert cell_of(origin)["execution_count"] == origin.place.number
    assert f"[{origin.place.number}] of notebook 05_training" in origin.words()["cell"]


# --- seeds, date, code


def test_an_origin_repeats_what_the_results_say_of_themselves(results):
    change(results, "05_training", code="0123456789abcdef", parameters={"seed": 7})
    origin = origins.of("05_training.train_loss_last", results)
    assert (origin.seeds, origin.code) == ("7", "0123456789abcdef")
    assert origin.date == recorded("05_training")["machine"]["date"]
    assert origin.stale is True
    assert "changed since" in origin.words()["code"]


def test_a_number_of_todays_code_is_not_stale_and_one_without_a_digest_says_so(results):
    values = recorded("05_training")["parameters"]
    words = origins.code_digest.words_among(values)
    today = origins.code_digest.of_notebook("05_training", words)
    change(results, "05_training", code=today)
    assert origins.of("05_training.train_loss_last", results).stale is False
    path = results / "06_ablation.json"
    found = json.loads(path.read_text(encoding="utf-8"))
    found.pop("code", None)
    path.write_text(json.dumps(found), encoding="utf-8")
    name = next(iter(found["values"]))
    assert origins.of(f"06_ablation.{name}", results).stale is None


def test_a_number_of_a_study_has_its_seeds_and_its_command():
    origin = origins.of("studies/beta.fcd_last.mean")
    assert origin.key == "studies/beta.fcd_last"
    assert origin.command == "python -m vae_helpers studies beta"
    assert origin.seeds == "1 to 3"
    assert origin.stale is tables.read("beta").stale
    assert "results.check" in "".join(cell_of(origin)["source"])


def test_a_number_names_the_studies_that_the_notebook_has_read_by_its_cell():
    assert origins.of("15_gan.plain_d_loss").studies == ()
    compared = ("comparison_gan", "comparison_plain", "remedies")
    assert origins.of("15_gan.alone").studies == compared
    assert origins.of("15_gan.fcd_last").studies == (
        *("comparison_gan", "comparison_plain", "gan_final", "gan_search", "remedies"),
    )
    assert origins.of("13_published_numbers.same").studies == ("board_losses", "published")
    assert origins.of("05_training.train_loss_last").studies == ()


def test_each_study_that_was_read_has_its_seeds():
    words = origins.of("15_gan.alone").words()["studies read"]
    found = dict(re.findall(r"(\w+) \(seeds (\d+ to \d+)\)", words))
    assert sorted(found) == ["comparison_gan", "comparison_plain", "remedies"]
    for name, seeds in found.items():
        with (keys.RESULTS / "studies" / f"{name}.csv").open(encoding="utf-8", newline="") as file:
            of_rows = {int(row["seed"]) for row in csv.DictReader(file)}
        assert f"{min(of_rows)} to {max(of_rows)}" == seeds


@pytest.mark.parametrize("name", [it.stem for it in (keys.RESULTS / "measured").glob("*.json")])
def test_what_a_machine_has_measured_names_a_command_that_there_is(name):
    entry = next(iter(keys.entries(f"measured/{name}")))
    command = origins.of(f"measured/{name}.{entry}").command
    script, *arguments = command.split()[1:]
    if script == "-m":
        assert __main__._parser().parse_args(arguments[1:]).write
    else:
        read = (PROJECT / script).read_text(encoding="utf-8")
        assert [it for it in arguments if it not in read] == []


def test_the_results_of_an_execution_lack_studies_and_get_the_committed_ones(tmp_path):
    path = keys.RESULTS / "05_training.json"
    shutil.copy(path, tmp_path)
    found = origins.by_source(tmp_path)
    assert [source for source in found if "/" not in source] == ["05_training"]
    assert found["studies/beta"] == origins.by_source()["studies/beta"]
    assert "measured/bench" in found
    assert origins.of("studies/beta.fcd_last", tmp_path).seeds == "1 to 3"


# --- what the commands print


def lines(capsys, *arguments):
    status = __main__.main(arguments)
    captured = capsys.readouterr()
    return status, captured.out.splitlines(), captured.err


def test_where_finds_a_number_as_it_is_printed_with_its_origin(capsys):
    value = recorded("05_training")["values"]["train_loss_last"]["value"]
    status, said, _ = lines(capsys, "where", f"{value:.1f}")
    assert status == 0
    assert said[0] == f"05_training.train_loss_last = {value:.6g}"
    assert "README.md" in said[1]
    assert any("python -m vae_helpers run 05_training" in line for line in said[:8])


def test_where_finds_large_numbers_with_commas_and_the_means_of_tolerances(capsys):
    _, said, _ = lines(capsys, "where", "801,224")
    assert said[0] == "04_network.parameters = 801224"
    mean = origins.tomllib.loads(origins.tolerances.TOLERANCES.read_text("utf-8"))
    full = mean["05_training"]["train_loss_first"]["full"]
    _, said, _ = lines(capsys, "where", f"{full['mean']:.2f}")
    expected = f"05_training.train_loss_first, mean of {full['n']} seeds = {full['mean']:.6g}"
    assert expected in said


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("5.123456789", "no published number prints as 5.123456789; with fewer decimals one may"),
        ("1.2.3", "expected a number such as 99.4, or a key, got '1.2.3'"),
        ("05_training.train_los_last", "did you mean 'train_loss_last'?"),
        ("05_trainig.train_loss_last", "there are no results of '05_trainig'; did you mean"),
        ("05_training/los", "05_training has no figure 'los'; did you mean 'loss'?"),
    ],
)
def test_where_says_what_it_cannot_find(capsys, word, message):
    status, said, error = lines(capsys, "where", word)
    assert (status, said) == (2, [])
    assert message in error
    assert "nothing was run" not in error


def test_where_ends_quietly_when_its_reader_has_seen_enough():
    script = f"{sys.executable} -m vae_helpers where 801,224 | head -1; echo ${{PIPESTATUS[0]}}"
    done = subprocess.run(
        ["bash", "-c", script], cwd=PROJECT, capture_output=True, encoding="utf-8", check=True
    )
    assert done.stderr == ""
    assert done.stdout == "04_network.parameters = 801224\n0\n"


def test_why_gives_every_seed_and_the_interval_of_their_mean(capsys):
    with (keys.RESULTS / "tolerances/full/05_training.csv").open(encoding="utf-8") as file:
        values = [float(row["train_loss_last"]) for row in csv.DictReader(file)]
    half = stats.t.interval(0.95, len(values) - 1, scale=stats.sem(values))[1]
    status, said, _ = lines(capsys, "why", "05_training.train_loss_last")
    text = "\n".join(said)
    assert status == 0
    assert f"mean {statistics.fmean(values):.5g} ± {half:.2g} (95 %" in text
    assert all(f"seed {seed}: {value:.5g}" in text for seed, value in enumerate(values, 1))
    assert "excludes a missing KL" in text


def test_why_tells_the_settings_of_a_study_apart(capsys):
    rows = tables.read("beta")
    _, said, _ = lines(capsys, "why", "studies/beta.fcd_last")
    for beta in (0.0, 4.0):
        values = rows.values("fcd_last", {"beta": beta})
        at = said.index(f"    beta = {beta}")
        assert f"mean {statistics.fmean(values):.5g} ±" in said[at + 1]
        assert said[at + 2].count("seed ") == len(values)


def test_why_says_that_an_exact_number_is_exact(capsys):
    _, said, _ = lines(capsys, "why", "01_data.train_bytes")
    assert "exact: 188160000" in said[1]


def test_a_key_that_does_not_exist_has_no_reason(capsys):
    with pytest.raises(KeyUnknownError):
        list(origins.why("05_training.nothing"))
