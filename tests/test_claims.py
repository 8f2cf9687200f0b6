"""A lesson knows its parameters, its folder and its bands, and says what it found."""

import base64
import hashlib
import json
import math
import re

import pytest
import safetensors.torch
import torch

from vae_helpers import bands, claims, figures
from vae_helpers.bands import BandError
from vae_helpers.claims import MissedBandError, begin
from vae_helpers.parameters import ParameterError

BANDS = """
[01_toy.loss]
unit = "nats per image"
decimals = 1
excludes = "a flipped sign"
full = { cap = 5.0, low = 98.0, high = 101.0 }
smoke = { cap = 50.0, low = 150.0, high = 180.0 }
"""


@pytest.fixture(autouse=True)
def course(tmp_path, monkeypatch):
    """A course of one notebook with two parameters, in a folder of its own."""
    source = ["epochs: int = 30  # passes\n", "seed: int = 0  # of all draws\n"]
    cell = {"cell_type": "code", "metadata": {"tags": ["parameters"]}, "source": source}
    (tmp_path / "01_toy.ipynb").write_text(json.dumps({"cells": [cell]}))
    (tmp_path / "bands.toml").write_text(BANDS)
    monkeypatch.setattr(claims, "NOTEBOOKS", tmp_path)
    monkeypatch.setattr(claims, "BUILD", tmp_path / "build")
    monkeypatch.setattr(bands, "BANDS", tmp_path / "bands.toml")
    return tmp_path


def results(course, profile):
    return json.loads((course / "build" / profile / "results" / "01_toy.json").read_text())


def test_the_defaults_are_the_full_profile_and_have_its_folder(course):
    assert begin("01_toy", epochs=30, seed=0).profile == "full"
    assert results(course, "full")["parameters"] == {"epochs": 30, "seed": 0}


def test_the_smoke_profile_is_recognised_by_its_values():
    assert begin("01_toy", epochs=claims.SMOKE["epochs"], seed=0).profile == "smoke"


def test_other_parameters_have_a_folder_of_their_own(course):
    one, other = begin("01_toy", epochs=5, seed=0), begin("01_toy", epochs=5, seed=1)
    assert len({one.folder, other.folder, course / "build" / "full"}) == 3
    assert not (course / "build" / "full").exists()
    assert begin("01_toy", seed=0, epochs=5).folder == one.folder  # however they are ordered
    assert re.fullmatch("[0-9a-f]{12}", one.profile)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"epochs": 0, "seed": 0}, "epochs: expected 1 to 10000, got 0"),
        ({"epochs": "5", "seed": 0}, "epochs: expected a whole number, got '5'"),
        ({"epochs": 5}, "'seed' is only on one side"),
        ({"epochs": 5, "seed": 0, "beta": 1}, "'beta' is only on one side"),
    ],
)
def test_a_wrong_parameter_is_named(given, message):
    with pytest.raises(ParameterError, match=message):
        begin("01_toy", **given)


def test_an_unknown_notebook_is_answered_with_the_nearest():
    with pytest.raises(ParameterError, match="did you mean '01_toy'"):
        begin("01_tyo", epochs=30, seed=0)


def test_a_value_in_its_band_is_printed_behind_a_tilde_and_recorded(course, capsys):
    begin("01_toy", epochs=30, seed=0).check("loss", torch.tensor(99.4444))
    line = capsys.readouterr().out.splitlines()[-1]
    assert " ".join(line.split()) == "loss ~99.4 nats per image, in the band 98.0 to 101.0"
    value = results(course, "full")["values"]["loss"]
    assert value["value"] == pytest.approx(99.4444)
    assert (value["low"], value["high"], value["unit"]) == (98.0, 101.0, "nats per image")


@pytest.mark.parametrize("value", [97.99, 101.01, 165.0, math.nan, math.inf])
def test_a_value_outside_its_band_raises_and_says_which_mistake_it_may_be(value):
    with pytest.raises(MissedBandError, match=r"loss: expected 98.0 to 101.0.*a flipped sign"):
        begin("01_toy", epochs=30, seed=0).check("loss", value)


def test_a_value_just_outside_its_band_is_not_shown_as_its_end():
    with pytest.raises(MissedBandError, match=r"expected 98.0 to 101.0 .*, got 101.01\. The band"):
        begin("01_toy", epochs=30, seed=0).check("loss", 101.01)


def test_the_smoke_profile_has_bands_of_its_own():
    with pytest.raises(MissedBandError):
        begin("01_toy", epochs=2, seed=0).check("loss", 99.0)
    begin("01_toy", epochs=2, seed=0).check("loss", 165.0)


def test_other_parameters_show_the_value_without_a_band(capsys):
    begin("01_toy", epochs=5, seed=0).check("loss", 1e6)
    assert "no band for these parameters" in capsys.readouterr().out


def test_a_number_that_the_file_does_not_know_is_refused_under_any_parameters():
    with pytest.raises(BandError, match=r"no entry for 'lost'.*did you mean 'loss'"):
        begin("01_toy", epochs=5, seed=0).check("lost", 1.0)


def test_one_name_cannot_stand_for_two_values():
    lesson = begin("01_toy", epochs=5, seed=0)
    lesson.record("images", 60_000)
    with pytest.raises(ValueError, match="recorded twice"):
        lesson.record("images", 10_000)


def test_exact_and_measured_values_are_told_apart(course, capsys):
    lesson = begin("01_toy", epochs=30, seed=0)
    lesson.record("images", 60_000, unit="images")
    lesson.measure("seconds", 2.34, unit="s")
    lines = capsys.readouterr().out.splitlines()[-2:]
    assert lines[0].split() == ["images", "60,000", "images"]
    assert " ".join(lines[1].split()) == "seconds ~2.3 s on this machine"
    values = results(course, "full")["values"]
    assert [values[name]["kind"] for name in ("images", "seconds")] == ["exact", "measured"]


def test_a_series_keeps_where_each_value_belongs_and_hides_the_values_from_nbval(course, capsys):
    values = {1: 604.6, 2: 347.8, 5: 200.0, 10: 160.8, 20: 114.8, 30: math.nan}
    begin("01_toy", epochs=30, seed=0).series("fcd", values, unit="units", decimals=1)
    first, second = capsys.readouterr().out.splitlines()[-2:]
    assert " ".join(first.split()) == "fcd 1: ~604.6 2: ~347.8 5: ~200.0 10: ~160.8 20: ~114.8"
    assert " ".join(second.split()) == "30: ~nan units"
    entry = results(course, "full")["values"]["fcd"]
    assert (entry["kind"], entry["at"]) == ("series", [1, 2, 5, 10, 20, 30])
    assert entry["value"] == [604.6, 347.8, 200.0, 160.8, 114.8, None]


def test_a_table_is_printed_for_nbval_to_compare_and_recorded_whole(course, capsys):
    rows = {"beta = 0": {"rate": (403.126, 20.5), "FCD": (1030.0, 9.0)}}
    begin("01_toy", epochs=30, seed=0).table("by_beta", rows)
    head, line = capsys.readouterr().out.splitlines()[-2:]
    assert head.split() == ["by_beta", "rate", "FCD"]
    assert " ".join(line.split()) == "beta = 0 403.13 ± 20.50 1030.00 ± 9.00"
    entry = results(course, "full")["values"]["by_beta"]
    assert entry["value"] == {"beta = 0": {"rate": [403.126, 20.5], "FCD": [1030.0, 9.0]}}


def test_long_names_of_rows_do_not_push_their_numbers_out_of_the_columns(course, capsys):
    rows = {name: {"FCD": (1.0, 0.1)} for name in ("plain", "label smoothing alone")}
    begin("01_toy", epochs=30, seed=0).table("alone", rows)
    assert len({len(line) for line in capsys.readouterr().out.splitlines()[-3:]}) == 1


def test_wide_cells_stay_apart(course, capsys):
    rows = {"plain": {"FCD": (2_582.0, 540.9), "KID": (171_784.3, 116_162.8)}}
    begin("01_toy", epochs=30, seed=0).table("distance", rows, decimals=1)
    line = capsys.readouterr().out.splitlines()[-1]
    assert line.split() == ["plain", "2582.0", "±", "540.9", "171784.3", "±", "116162.8"]


def test_a_number_that_is_not_finite_becomes_null_in_the_results(course):
    begin("01_toy", epochs=30, seed=0).measure("speed-up", math.nan, unit="")
    assert results(course, "full")["values"]["speed-up"]["value"] is None


def test_beginning_again_forgets_what_an_earlier_execution_found(course):
    begin("01_toy", epochs=30, seed=0).check("loss", 99.0)
    begin("01_toy", epochs=30, seed=0)
    assert results(course, "full")["values"] == {}


def test_a_figure_is_kept_with_caption_and_alt_text(course, capsys):
    alt = "Two grids of black squares that differ in nothing at all."
    lesson = begin("01_toy", epochs=30, seed=0)
    figure = figures.image_panels({"left": torch.zeros(4, 784), "right": torch.zeros(4, 784)})
    lesson.show(figure, "grids", caption="Figure 1. Nothing.", alt=alt)
    entry = results(course, "full")["figures"]["grids"]
    assert entry == {"file": "01_toy_grids.png", "caption": "Figure 1. Nothing.", "alt": alt}
    picture = (course / "build" / "full" / "figures" / entry["file"]).read_bytes()
    assert picture.startswith(b"\x89PNG")


def test_a_figure_without_images_is_kept_as_a_vector_graphic_too_and_draws_the_same_again(course):
    alt = "A line that rises from nothing to one and stays there for good."
    drawn = []
    for _ in range(2):
        lesson = begin("01_toy", epochs=30, seed=0)
        figure = figures.lines({"": {"rises": ([0, 1], [0.0, 1.0])}}, x_label="x", y_label="y")
        lesson.show(figure, "line", caption="Figure 1. A line.", alt=alt)
        entry = results(course, "full")["figures"]["line"]
        assert entry["vector"] == "01_toy_line.svg"
        drawn += [(course / "build" / "full" / "figures" / entry["vector"]).read_bytes()]
    assert b"<svg" in drawn[0]
    assert b"<image" not in drawn[0]
    assert drawn[0] == drawn[1]


def test_exported_weights_can_be_read_back_and_are_named_by_their_digest(course, capsys):
    tensors = {"0.weight": torch.arange(6.0).reshape(2, 3).T, "0.bias": torch.zeros(3).half()}
    begin("01_toy", epochs=30, seed=0).export("decoder", tensors)
    assert capsys.readouterr().out.endswith("9 numbers in 01_toy_decoder.safetensors\n")
    entry = results(course, "full")["weights"]["decoder"]
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
    alt = "Two grids of black squares that differ in nothing at all."
    figure = figures.image_panels({"": torch.zeros(4, 784)})
    begin("01_toy", epochs=30, seed=0).show(figure, "grids", caption="Nothing.", alt=alt)
    (picture, metadata), (caption, _) = displayed
    assert base64.b64decode(picture["image/png"]).startswith(b"\x89PNG")
    assert metadata == {"image/png": {"alt": alt}}
    assert caption == {"text/markdown": "*Nothing.*", "text/plain": "Nothing."}


def test_a_figure_without_a_real_alt_text_is_refused():
    lesson = begin("01_toy", epochs=30, seed=0)
    figure = figures.image_panels({"": torch.zeros(4, 784)})
    with pytest.raises(ValueError, match="alt text that states the finding"):
        lesson.show(figure, "grids", caption="Figure 1.", alt="samples")


def test_a_parameters_cell_needs_annotations(course):
    cell = {"cell_type": "code", "metadata": {"tags": ["parameters"]}, "source": ["epochs = 3"]}
    (course / "02_bare.ipynb").write_text(json.dumps({"cells": [cell]}))
    with pytest.raises(ParameterError, match="expected lines such as `epochs: int = 30`"):
        claims.defaults("02_bare")
