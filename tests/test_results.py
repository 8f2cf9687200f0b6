"""A notebook knows its parameters, its folder and its tolerances, and says what it found."""

import ast
import base64
import hashlib
import json
import math
import os
import re
import subprocess
import sys
import tomllib
from dataclasses import dataclass

import pytest
import safetensors.torch
import torch
from toy_project import QUICK_TORCH

from vae_helpers import PROJECT, figures
from vae_helpers.course import notebooks, results, tolerances
from vae_helpers.course.captions import CaptionError
from vae_helpers.course.cells import CellRun
from vae_helpers.course.tolerances import ToleranceError
from vae_helpers.parameters import ParameterError
from vae_helpers.store import code_digest
from vae_helpers.studies import running
from vae_helpers.training import TrainConfig

FULL = {"epochs": 30, "seed": 0}
SMOKE = {"epochs": 2, "seed": 0}
OTHER = {"epochs": 5, "seed": 0}
ALT = "Two grids of black squares that differ in nothing at all."
CAPTIONS = f'''
[01_toy.grids]
caption = "Figure 1. Nothing, after {{epochs}} epochs."
alt = "{ALT}"
[01_toy.line]
caption = "Figure 2. A line."
alt = "A line that rises from nothing to one and stays there for good."
'''
TOLERANCES = """
[01_toy.loss]
unit = "nats per image"
decimals = 1
excludes = "a flipped sign"
full = { cap = 5.0, low = 98.0, high = 101.0 }
smoke = { cap = 50.0, low = 150.0, high = 180.0 }
[01_toy.kl]
unit = "nats per image"
decimals = 2
excludes = "a sum over images"
full = { cap = 5.0, low = 24.0, high = 26.0 }
"""


@pytest.fixture(autouse=True)
def course(tmp_path, monkeypatch):
    """A course of one notebook with two parameters, in a folder of its own."""
    source = ["epochs: int = 30  # passes\n", "seed: int = 0  # of all draws\n"]
    cell = {"cell_type": "code", "metadata": {"tags": ["parameters"]}, "source": source}
    (tmp_path / "01_toy.ipynb").write_text(json.dumps({"cells": [cell]}), encoding="utf-8")
    (tmp_path / "tolerances.toml").write_text(TOLERANCES, encoding="utf-8")
    (tmp_path / "captions.toml").write_text(CAPTIONS, encoding="utf-8")
    for module in (notebooks, code_digest):
        monkeypatch.setattr(module, "NOTEBOOKS", tmp_path)
    monkeypatch.setattr(notebooks, "BUILD", tmp_path / "build")
    monkeypatch.setattr(tolerances, "TOLERANCES", tmp_path / "tolerances.toml")
    return tmp_path


@pytest.fixture
def executing():
    """A function that says which cell calls, in which of its executions."""
    now = [CellRun("begin", "0")]

    def execute(cell, run):
        now[0] = CellRun(cell, run)

    execute.now = lambda: now[0]
    return execute


def begin(values=FULL, **options):
    return results.begin("01_toy", values, **options)


def written(course, profile="full"):
    return json.loads((course / "build" / profile / "results" / "01_toy.json").read_bytes())


def squares():
    return figures.image_panels({"": torch.zeros(4, 784)})


def test_the_defaults_are_the_full_profile_and_have_its_folder(course):
    assert begin().profile == "full"
    assert written(course)["parameters"] == {"epochs": 30, "seed": 0}


def test_results_name_the_code_that_they_are_of(course):
    begin()
    before = written(course)["code"]
    path = course / "01_toy.ipynb"
    notebook = json.loads(path.read_text(encoding="utf-8"))
    notebook["cells"].append({"cell_type": "code", "metadata": {}, "source": ["x = 2"]})
    path.write_text(json.dumps(notebook), encoding="utf-8")
    begin()
    assert re.fullmatch("[0-9a-f]{16}", before)
    assert written(course)["code"] != before
    assert written(course)["code"] == code_digest.of_notebook("01_toy")


def test_the_smoke_profile_is_recognised_by_its_values():
    assert begin({"epochs": notebooks.SMOKE["epochs"], "seed": 0}).profile == "smoke"


def test_other_parameters_have_a_folder_of_their_own(course):
    one, other = begin(OTHER), begin({"epochs": 5, "seed": 1})
    assert len({one.folder, other.folder, course / "build" / "full"}) == 3
    assert not (course / "build" / "full").exists()
    assert begin({"seed": 0, "epochs": 5}).folder == one.folder  # however they are ordered
    assert re.fullmatch("[0-9a-f]{12}", one.profile)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"epochs": 0, "seed": 0}, "epochs: expected 1 to 10000, got 0"),
        ({"epochs": "5", "seed": 0}, "epochs: expected a whole number, got '5'"),
        ({"epochs": 5, "beta": 1}, "parameter 'seed': expected a value, found none"),
    ],
)
def test_a_wrong_parameter_is_named(given, message):
    with pytest.raises(ParameterError, match=message):
        begin(given)


def test_a_namespace_may_hold_much_else_and_only_the_parameters_count():
    assert begin({**FULL, "beta": 1, "model": object(), "__name__": "__main__"}).parameters == FULL


def test_an_unknown_notebook_is_answered_with_the_nearest():
    with pytest.raises(ParameterError, match="did you mean '01_toy'"):
        results.begin("01_tyo", FULL)


def test_a_configuration_takes_the_parameters_of_the_same_names_and_what_differs():
    config = begin({"epochs": 3, "seed": 7}).config(TrainConfig, beta=0.0)
    assert config == TrainConfig(epochs=3, seed=7, beta=0.0)
    assert begin({"epochs": 3, "seed": 7}).config(TrainConfig, seed=1).seed == 1


def test_a_configuration_leaves_out_parameters_that_are_none_of_its_fields():
    @dataclass(frozen=True)
    class Draws:
        seed: int
        number: int = 5

    assert begin({"epochs": 3, "seed": 7}).config(Draws) == Draws(7, 5)


def test_an_override_that_is_no_field_is_refused_with_the_nearest():
    with pytest.raises(ParameterError, match=r"TrainConfig: .* got 'betta'; did you mean 'beta'"):
        begin().config(TrainConfig, betta=0.0)


def test_a_value_in_its_tolerance_is_printed_behind_a_tilde_and_recorded(course, capsys):
    begin().check("loss", torch.tensor(99.4444))
    line = capsys.readouterr().out.splitlines()[-1]
    assert " ".join(line.split()) == "loss ~99.4 nats per image, within 98.0 to 101.0"
    value = written(course)["values"]["loss"]
    assert value["value"] == pytest.approx(99.4444)
    assert (value["low"], value["high"], value["unit"]) == (98.0, 101.0, "nats per image")
    assert "missed" not in value


def test_several_values_are_checked_one_after_the_other(course, capsys):
    begin().check({"loss": 99.0, "kl": torch.tensor(25.0)})
    lines = [line.split()[0] for line in capsys.readouterr().out.splitlines()[1:]]
    assert lines == ["loss", "kl"] == list(written(course)["values"])


@pytest.mark.parametrize("value", [97.99, 101.01, 165.0, math.nan, math.inf, -math.inf])
def test_a_value_outside_its_tolerance_is_recorded_as_missed_and_the_lesson_goes_on(course, value):
    begin().check({"loss": value, "kl": 25.0})
    values = written(course)["values"]
    assert values["loss"]["missed"] is True
    assert values["loss"]["value"] == (value if math.isfinite(value) else None)
    assert "missed" not in values["kl"]


@pytest.mark.parametrize(("value", "shown"), [(101.01, "~101.01"), (math.nan, "~nan")])
def test_a_missed_tolerance_says_which_mistake_it_excludes_and_what_to_do(capsys, value, shown):
    begin().check("loss", value)
    line, *advice = capsys.readouterr().out.splitlines()[1:]
    expected = f"loss {shown} nats per image, NOT within 98.0 to 101.0: excludes a flipped sign"
    assert " ".join(line.split()) == expected
    assert "the manual" in " ".join(advice)


def test_the_smoke_profile_has_tolerances_of_its_own(course):
    begin(SMOKE).check("loss", 99.0)
    assert written(course, "smoke")["values"]["loss"].get("missed") is True
    begin(SMOKE).check("loss", 165.0)
    assert "missed" not in written(course, "smoke")["values"]["loss"]


def test_other_parameters_show_the_value_without_a_tolerance(capsys):
    begin(OTHER).check("loss", 1e6)
    assert "no tolerance for these parameters" in capsys.readouterr().out


@pytest.mark.parametrize("values", [FULL, SMOKE])
def test_a_number_that_the_file_does_not_know_is_refused_under_the_profiles_parameters(values):
    with pytest.raises(ToleranceError, match=r"no entry for 'lost'.*did you mean 'loss'"):
        begin(values).check("lost", 1.0)


def test_a_number_that_only_other_parameters_bring_is_shown_and_recorded(course, capsys):
    found = begin(OTHER)
    found.check("information", 1.0)
    assert "information" in capsys.readouterr().out
    assert written(course, found.profile)["values"]["information"]["value"] == 1.0


def test_one_name_cannot_stand_for_two_values_of_one_execution():
    found = begin(OTHER)
    found.record("images", 60_000)
    with pytest.raises(ValueError, match="'images' is recorded twice in this cell"):
        found.record("images", 10_000)


def test_a_cell_that_is_executed_again_replaces_what_it_said(course, executing):
    found = begin(cell=executing.now)
    executing("a", "1")
    found.record("images", 1)
    found.record("gone", 1)
    found.show(squares(), "grids")
    found.export("old", {"w": torch.zeros(2)})
    executing("b", "2")
    found.record("other", 2)
    executing("a", "3")
    found.record("images", 3)
    content = written(course)
    values = {name: entry["value"] for name, entry in content["values"].items()}
    assert values == {"other": 2, "images": 3}
    assert content["figures"] == content["weights"] == {}


def test_a_figure_and_an_export_may_be_made_again_by_their_cell(course, executing):
    found = begin(cell=executing.now)
    digests = []
    for run, value in (("1", 0.0), ("2", 1.0)):
        executing("a", run)
        found.show(squares(), "grids")
        found.export("decoder", {"w": torch.full((2,), value)})
        content = written(course)
        assert (list(content["figures"]), list(content["weights"])) == (["grids"], ["decoder"])
        digests.append(content["weights"]["decoder"]["sha256"])
    assert digests[0] != digests[1]


@pytest.mark.parametrize("say", ["record", "show", "export"])
def test_two_cells_cannot_say_the_same(executing, say):
    found = begin(cell=executing.now)
    call = {
        "record": lambda: found.record("grids", 1),
        "show": lambda: found.show(squares(), "grids"),
        "export": lambda: found.export("grids", {"w": torch.zeros(2)}),
    }[say]
    executing("a", "1")
    call()
    executing("b", "2")
    with pytest.raises(
        ValueError, match=r"'grids' is recorded by two cells; give each .* own name"
    ):
        call()


def test_a_value_that_has_moved_to_another_cell_is_free_when_its_old_cell_was_executed(
    course, executing
):
    found = begin(cell=executing.now)
    executing("a", "1")
    found.record("images", 1)
    executing("a", "2")
    found.record("other", 1)
    executing("b", "3")
    found.record("images", 2)
    values = {name: entry["value"] for name, entry in written(course)["values"].items()}
    assert values == {"other": 1, "images": 2}


IN_A_KERNEL = """
import sys
from jupyter_client.manager import start_new_kernel

manager, client = start_new_kernel(kernel_name="python3")
said = []


def execute(code, cell=None):
    content = {"code": code, "silent": False, "stop_on_error": False}
    message = client.session.msg("execute_request", content)
    message["metadata"].update({"cellId": cell} if cell else {})
    client.shell_channel.send(message)
    while True:
        reply = client.get_shell_msg(timeout=60)
        if reply["parent_header"].get("msg_id") == message["header"]["msg_id"]:
            break
    said.append(reply["content"].get("evalue", reply["content"]["status"]))


try:
    for code, cell in eval(sys.argv[1]):
        execute(code, cell)
finally:
    client.stop_channels()
    manager.shutdown_kernel(now=True)
print("\\n".join(said))
"""

BEGIN = """
import pathlib
from vae_helpers.course import notebooks, results
from vae_helpers.store import code_digest
notebooks.NOTEBOOKS = code_digest.NOTEBOOKS = pathlib.Path({folder!r})
notebooks.BUILD = notebooks.NOTEBOOKS / "build"
epochs, seed = 5, 0
found = results.begin("01_toy", globals())
"""


def in_a_kernel(course, *cells):
    """What a real kernel answers to (code, cell's id) after a cell that begins."""
    begins = (BEGIN.format(folder=str(course)), "c0" if cells[0][1] else None)
    (course / "torch.py").write_text(QUICK_TORCH, encoding="utf-8")
    path = os.pathsep.join([str(course), str(PROJECT)])
    done = subprocess.run(
        [sys.executable, "-c", IN_A_KERNEL, repr([begins, *cells])],
        env={**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        encoding="utf-8",
        timeout=120,
    )
    first, *others = done.stdout.splitlines()
    assert first == "ok", done.stdout + done.stderr
    return others


def test_in_a_kernel_a_cell_is_known_by_its_id_whenever_it_is_executed(course):
    one, two = "found.record('a', {})", "found.record('a', 1); found.record('b', 1)"
    again, twice, other = in_a_kernel(
        course,
        (one.format(1), "c1"),
        (one.format(2), "c1"),
        ("found.record('b', 1); found.record('b', 2)", "c2"),
        (two, "c3"),
    )[1:]
    assert again == "ok"
    assert "twice in this cell" in twice
    assert "'a' is recorded by two cells" in other
    (profile,) = (course / "build").iterdir()
    values = json.loads((profile / "results" / "01_toy.json").read_bytes())["values"]
    assert {name: entry["value"] for name, entry in values.items()} == {"a": 2, "b": 1}


def test_in_a_kernel_without_cell_ids_every_execution_is_another_cell(course):
    first, second = in_a_kernel(
        course, ("found.record('a', 1)", None), ("found.record('a', 1)", None)
    )
    assert first == "ok"
    assert "'a' is recorded by two cells" in second


def test_exact_and_measured_values_are_told_apart(course, capsys):
    found = begin()
    found.record("images", 60_000, unit="images")
    found.measure("seconds", 2.34, unit="s")
    lines = capsys.readouterr().out.splitlines()[-2:]
    assert lines[0].split() == ["images", "60,000", "images"]
    assert " ".join(lines[1].split()) == "seconds ~2.3 s on this machine"
    values = written(course)["values"]
    assert [values[name]["kind"] for name in ("images", "seconds")] == ["exact", "measured"]


def test_observed_values_are_printed_behind_a_tilde_without_a_tolerance_and_recorded(
    course, capsys
):
    found = begin()
    found.observe({"kid": torch.tensor(0.12345), "two_sample_means": 1})
    lines = capsys.readouterr().out.splitlines()[-2:]
    assert lines == [f"{'kid':<28} ~0.123", f"{'two_sample_means':<28} ~1.000"]
    found.observe({"bound": -98.7654}, decimals=1)
    assert capsys.readouterr().out == f"{'bound':<28} ~-98.8\n"
    values = written(course)["values"]
    assert list(values) == ["kid", "two_sample_means", "bound"]
    assert {entry["kind"] for entry in values.values()} == {"observed"}
    assert values["kid"]["value"] == pytest.approx(0.12345)
    assert values["bound"] == {"value": -98.7654, "kind": "observed", "unit": ""}


@pytest.mark.parametrize("values", [FULL, SMOKE, OTHER])
def test_observed_values_need_no_entry_among_the_tolerances_whatever_the_parameters(values, capsys):
    begin(values).observe({"lost": 1.0})
    assert capsys.readouterr().out.splitlines()[-1] == f"{'lost':<28} ~1.000"


def test_an_observed_value_that_is_not_finite_becomes_null(course, capsys):
    begin().observe({"kid": math.nan})
    assert capsys.readouterr().out.splitlines()[-1].split() == ["kid", "~nan"]
    assert written(course)["values"]["kid"]["value"] is None


def test_an_observed_value_cannot_have_the_name_of_another_one():
    found = begin()
    found.check("loss", 99.0)
    with pytest.raises(ValueError, match="'loss' is recorded twice in this cell"):
        found.observe({"kid": 0.1, "loss": 99.0})


def test_the_row_of_a_study_holds_what_was_observed_in_full_and_nothing_of_the_machine(course):
    found = begin()
    found.check("loss", 99.0)
    found.observe({"kid": 0.1 + 0.2, "nothing": math.nan})
    found.measure("seconds", 2.5, unit="s")
    record = {"parameters": FULL, "status": "finished", "error": None, **written(course)}
    row = running.row(record | {"parameters": FULL}, "plain")
    assert row == {
        **{"arm": "plain", "epochs": "30", "seed": "0", "status": "finished", "error": ""},
        **{"loss": "99.0", "kid": "0.30000000000000004", "nothing": ""},
    }


def test_a_series_keeps_where_each_value_belongs_and_hides_the_values_from_nbval(course, capsys):
    values = {1: 604.6, 2: 347.8, 5: 200.0, 10: 160.8, 20: 114.8, 30: math.nan}
    begin().series("fcd", values, unit="units", decimals=1)
    first, second = capsys.readouterr().out.splitlines()[-2:]
    assert " ".join(first.split()) == "fcd 1: ~604.6 2: ~347.8 5: ~200.0 10: ~160.8 20: ~114.8"
    assert " ".join(second.split()) == "30: ~nan units"
    entry = written(course)["values"]["fcd"]
    assert (entry["kind"], entry["at"]) == ("series", [1, 2, 5, 10, 20, 30])
    assert entry["value"] == [604.6, 347.8, 200.0, 160.8, 114.8, None]


def test_a_table_is_printed_for_nbval_to_compare_and_recorded_whole(course, capsys):
    rows = {"beta = 0": {"rate": (403.126, 20.5), "FCD": (1030.0, 9.0)}}
    begin().table("by_beta", rows)
    head, line = capsys.readouterr().out.splitlines()[-2:]
    assert head.split() == ["by_beta", "rate", "FCD"]
    assert " ".join(line.split()) == "beta = 0 403.13 ± 20.50 1030.00 ± 9.00"
    entry = written(course)["values"]["by_beta"]
    assert entry["value"] == {"beta = 0": {"rate": [403.126, 20.5], "FCD": [1030.0, 9.0]}}


def test_long_names_of_rows_do_not_push_their_numbers_out_of_the_columns(course, capsys):
    rows = {name: {"FCD": (1.0, 0.1)} for name in ("plain", "label smoothing alone")}
    begin().table("alone", rows)
    assert len({len(line) for line in capsys.readouterr().out.splitlines()[-3:]}) == 1


def test_wide_cells_stay_apart(course, capsys):
    rows = {"plain": {"FCD": (2_582.0, 540.9), "KID": (171_784.3, 116_162.8)}}
    begin().table("distance", rows, decimals=1)
    line = capsys.readouterr().out.splitlines()[-1]
    assert line.split() == ["plain", "2582.0", "±", "540.9", "171784.3", "±", "116162.8"]


def test_a_number_that_is_not_finite_becomes_null_in_the_results(course):
    begin().measure("speed-up", math.nan, unit="")
    assert written(course)["values"]["speed-up"]["value"] is None


def test_beginning_again_forgets_what_an_earlier_execution_found(course):
    begin().check("loss", 99.0)
    begin()
    assert written(course)["values"] == {}


def test_a_figure_is_kept_with_the_caption_and_alt_text_of_captions_toml(course):
    figure = figures.image_panels({"left": torch.zeros(4, 784), "right": torch.zeros(4, 784)})
    begin().show(figure, "grids")
    entry = written(course)["figures"]["grids"]
    caption = "Figure 1. Nothing, after 30 epochs."
    assert entry == {"file": "01_toy_grids.png", "caption": caption, "alt": ALT}
    picture = (course / "build" / "full" / "figures" / entry["file"]).read_bytes()
    assert picture.startswith(b"\x89PNG")


def test_a_figure_without_images_is_kept_as_a_vector_graphic_too_and_draws_the_same_again(course):
    drawn = []
    for _ in range(2):
        figure = figures.lines({"": {"rises": ([0, 1], [0.0, 1.0])}}, x_label="x", y_label="y")
        begin().show(figure, "line")
        entry = written(course)["figures"]["line"]
        assert entry["vector"] == "01_toy_line.svg"
        drawn += [(course / "build" / "full" / "figures" / entry["vector"]).read_bytes()]
    assert b"<svg" in drawn[0]
    assert b"<image" not in drawn[0]
    assert drawn[0] == drawn[1]


def test_exported_weights_can_be_read_back_and_are_named_by_their_digest(course, capsys):
    tensors = {"0.weight": torch.arange(6.0).reshape(2, 3).T, "0.bias": torch.zeros(3).half()}
    begin().export("decoder", tensors)
    assert capsys.readouterr().out.endswith("9 numbers in 01_toy_decoder.safetensors\n")
    entry = written(course)["weights"]["decoder"]
    content = (course / "build" / "full" / "weights" / entry["file"]).read_bytes()
    assert hashlib.sha256(content).hexdigest() == entry["sha256"]
    read = safetensors.torch.load(content)
    assert read.keys() == tensors.keys()
    assert all(torch.equal(read[name], tensor) for name, tensor in tensors.items())


def test_a_figure_is_displayed_as_a_picture_with_its_alt_text_and_a_caption_below(monkeypatch):
    displayed = []

    def display(bundle, *, raw, metadata=None):
        displayed.append((bundle, metadata))
        assert raw  # the bundle itself, and not the printed form of a dictionary

    monkeypatch.setattr("IPython.display.display", display)
    begin().show(squares(), "grids")
    (picture, metadata), (caption, _) = displayed
    assert base64.b64decode(picture["image/png"]).startswith(b"\x89PNG")
    assert metadata == {"image/png": {"alt": ALT}}
    words = "Figure 1. Nothing, after 30 epochs."
    assert caption == {"text/markdown": f"*{words}*", "text/plain": words}


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ("", r"\[01_toy.grids\]: caption: expected at least 1 characters .* got None"),
        ('[01_toy.grids]\ncaption = "Figure 1."', "alt: expected at least 40 .* got None"),
        (f'[01_toy.grids]\nalt = "{ALT}"', "caption: expected at least 1 .* got None"),
        ('[01_toy.grids]\ncaption = "Figure 1."\nalt = "samples"', "alt: expected at least 40"),
        (f'[01_toy.grids]\ncaption = " "\nalt = "{ALT}"', "caption: expected at least 1 "),
        (
            f'[01_toy.grids]\ncaption = "{{epoch}}"\nalt = "{ALT}"',
            r"parameters \(epochs, seed\).*KeyError\('epoch'\)",
        ),
        (f'[01_toy.grids]\ncaption = "{{epochs"\nalt = "{ALT}"', "caption: expected placeholders"),
        ("[01_toy.grids", "expected a file in TOML"),
    ],
)
def test_a_figure_without_real_words_is_refused_and_the_entry_named(course, entry, message):
    (course / "captions.toml").write_text(f"[01_toy.grid]\n{entry}\n", encoding="utf-8")
    with pytest.raises(CaptionError, match=message):
        begin().show(squares(), "grids")


def test_a_parameters_cell_needs_annotations(course):
    cell = {"cell_type": "code", "metadata": {"tags": ["parameters"]}, "source": ["epochs = 3"]}
    (course / "02_bare.ipynb").write_text(json.dumps({"cells": [cell]}), encoding="utf-8")
    with pytest.raises(ParameterError, match="expected lines such as `epochs: int = 30`"):
        notebooks.defaults("02_bare")


def figures_shown(notebook):
    """The names of the figures that the code of a notebook shows."""
    for cell in json.loads((PROJECT / "notebooks" / notebook).read_bytes())["cells"]:
        if cell["cell_type"] == "code":
            for node in ast.walk(ast.parse("".join(cell["source"]))):
                if isinstance(node, ast.Call) and ast.unparse(node.func) == "results.show":
                    yield ast.literal_eval(node.args[1])


def test_every_figure_that_a_notebook_shows_has_its_words_and_there_are_no_others():
    words = tomllib.loads((PROJECT / "notebooks" / "captions.toml").read_text(encoding="utf-8"))
    shown = {
        path.stem: sorted(figures_shown(path.name))
        for path in (PROJECT / "notebooks").glob("*.ipynb")
    }
    assert {name: sorted(entries) for name, entries in words.items()} == {
        name: figures for name, figures in shown.items() if figures
    }
