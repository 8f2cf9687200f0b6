"""Figures: what is drawn is what was given."""

import matplotlib.image
import pytest
import torch

from vae_helpers import figures


def drawn(figure, tmp_path):
    figure.savefig(tmp_path / "figure.png")
    return matplotlib.image.imread(tmp_path / "figure.png")


def test_tiles_stand_row_by_row_with_a_white_line_between():
    images = torch.stack([torch.full((784,), i / 10) for i in range(5)])
    picture = figures.tile(images, columns=3)
    assert picture.shape == (58, 88)
    assert picture[10, 40] == pytest.approx(0.1)
    assert picture[40, 10] == pytest.approx(0.3)
    assert picture[10, 28] == 1.0


def test_an_image_is_not_transposed():
    image = torch.zeros(28, 28)
    image[3, 20] = 1.0
    assert figures.tile(image.reshape(1, 784), columns=1)[3, 20] == 1.0


def test_every_curve_is_in_the_legend_and_holds_its_values():
    figure = figures.lines(
        {"a": {"one": ([1, 2], [3.0, 4.0]), "two": ([1, 2], [5.0, 6.0])}},
        x_label="epoch",
        y_label="nats",
    )
    axes = figure.axes[0]
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["one", "two"]
    assert axes.lines[1].get_ydata().tolist() == [5.0, 6.0]
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("epoch", "nats")


def test_the_panels_of_a_histogram_keep_to_the_limits_asked_for():
    figure = figures.histograms(
        {"a": {"one": torch.randn(500)}, "b": {"two": torch.randn(500)}},
        x_label="z",
        limits=(-3, 3),
    )
    for axes in figure.axes:
        heights = [patch.get_height() * patch.get_width() for patch in axes.patches]
        assert sum(heights) == pytest.approx(1.0, abs=1e-6)


def test_rows_of_images_are_drawn_bright_where_the_image_is(tmp_path):
    figure = figures.image_rows({"black": torch.zeros(3, 784), "white": torch.ones(3, 784)})
    picture = drawn(figure, tmp_path)[..., :3].mean(axis=2)
    height, width = picture.shape
    assert picture[height // 4, width * 3 // 4] == 0.0
    assert picture[height * 3 // 4, width * 3 // 4] == 1.0


def test_an_interval_reaches_as_far_as_its_half_width_to_both_sides():
    figure = figures.intervals({"a": {0: (10.0, 2.0), 0.5: (20.0, 1.0)}}, x_label="beta")
    (axes,) = figure.axes
    (bars,) = axes.containers[0].lines[2]
    ends = [segment[:, 1].tolist() for segment in bars.get_segments()]
    assert ends == [[8.0, 12.0], [19.0, 21.0]]
    assert [text.get_text() for text in axes.get_xticklabels()] == ["0", "0.5"]


def test_a_trade_off_names_each_point_where_it_lies():
    figure = figures.trade_off({"a": (1.0, 5.0), "b": (100.0, 2.0)}, x_label="x", y_label="y")
    (axes,) = figure.axes
    assert {text.get_text(): text.xy for text in axes.texts} == {"a": (1.0, 5.0), "b": (100.0, 2.0)}
    assert axes.get_xscale() == "log"


def test_an_axis_is_logarithmic_if_and_only_if_it_is_asked_for():
    curve = {"": {"one": ([1, 2], [3.0, 4.0])}}
    for log_x, log_y in ((False, True), (True, False)):
        figure = figures.lines(curve, x_label="x", y_label="y", log_x=log_x, log_y=log_y)
        axes = figure.axes[0]
        assert (axes.get_xscale() == "log", axes.get_yscale() == "log") == (log_x, log_y)


def test_every_value_of_a_group_is_a_dot_on_its_line():
    values = {"one": [1.0, 10.0], "two": [100.0, 1000.0]}
    figure = figures.dots(
        {"FCD": values, "entropy": values}, log_x=["FCD"], references={"entropy": ("failed", 1.5)}
    )
    left, right = figure.axes
    dotted = [line for line in left.lines if line.get_marker() == "o"]
    assert [line.get_xdata().tolist() for line in dotted] == list(values.values())
    assert [set(line.get_ydata()) for line in dotted] == [{0}, {1}]
    assert [text.get_text() for text in left.get_yticklabels()] == ["one", "two"]
    assert left.get_ylim()[0] > left.get_ylim()[1]  # the first group is on top
    assert (left.get_xscale(), right.get_xscale()) == ("log", "linear")
    assert [text.get_text() for text in right.texts] == ["failed"]


def test_runs_of_one_kind_share_a_colour_and_one_entry_of_the_legend():
    kinds = {"VAE": ([1, 2], [[9.0, 8.0], [7.0, 6.0]]), "GAN": ([1, 2], [[5.0, 4.0]])}
    figure = figures.curves_by_seed({"epochs": kinds}, y_label="FCD", references={"level": 5.0})
    (axes,) = figure.axes
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["VAE", "GAN"]
    heights = [list(line.get_ydata()) for line in axes.lines[:3]]
    assert heights == [[9.0, 8.0], [7.0, 6.0], [5.0, 4.0]]
    first, second, other = (line.get_color() for line in axes.lines[:3])
    assert first == second != other
    assert (axes.get_xscale(), axes.get_yscale()) == ("log", "log")


def test_a_roof_rises_with_the_bandwidth_and_ends_at_the_peak():
    figure = figures.roofline(
        {"a": (200.0, 10.0)}, {"sum": [(0.5, 4.0)], "product": [(40.0, 90.0)]}
    )
    (axes,) = figure.axes
    roof, *points = axes.lines
    (left, corner, right), heights = roof.get_xdata(), roof.get_ydata()
    assert (left < 0.5, corner, right > 40) == (True, 20.0, True)
    assert heights.tolist() == [10 * left, 200.0, 200.0]
    assert [tuple(line.get_xydata()[0]) for line in points] == [(0.5, 4.0), (40.0, 90.0)]
    assert (axes.get_xscale(), axes.get_yscale()) == ("log", "log")
    names = [text.get_text() for text in axes.get_legend().get_texts()]
    assert names == ["roof: a", "sum", "product"]


def test_long_bars_lie_from_top_to_bottom_and_say_how_long_they_are():
    figure = figures.long_bars({"one": 3.0, "two": 1.25}, x_label="s", references={"floor": 1.0})
    (axes,) = figure.axes
    assert [bar.get_width() for bar in axes.patches] == [3.0, 1.25]
    assert [text.get_text() for text in axes.get_yticklabels()] == ["one", "two"]
    assert axes.get_ylim()[0] > axes.get_ylim()[1]  # the first bar is on top
    assert [text.get_text() for text in axes.texts] == ["3.00", "1.25", "floor"]
    assert set(axes.lines[0].get_xdata()) == {1.0}


def test_what_grows_in_proportion_lies_on_the_dashed_line():
    sizes = (1, 2, 4)
    panels = {
        "images": (sizes, (10.0, 20.0, 40.0), (9.0, 18.0, 36.0), (11.0, 22.0, 48.0)),
        "latents": (sizes, (6.0, 6.0, 6.0), (5.5, 5.5, 5.5), (6.5, 6.5, 6.5)),
    }
    figure = figures.scaling(panels, y_label="seconds", columns=2)
    for axes, expected in zip(figure.axes, ([10.0, 20.0, 40.0], [1.5, 3.0, 6.0]), strict=True):
        assert list(axes.lines[-1].get_ydata()) == expected
        assert (axes.get_xscale(), axes.get_yscale()) == ("log", "log")
        assert [text.get_text() for text in axes.get_xticklabels()] == ["4", "2", "1"]
    (bars,) = figure.axes[0].containers[0].lines[2]
    ends = [segment[:, 1].tolist() for segment in bars.get_segments()]
    assert ends == [[9.0, 11.0], [18.0, 22.0], [36.0, 48.0]]
    low, high = figure.axes[1].get_ylim()  # one y axis for all
    assert (low < 5.5, high > 48.0) == (True, True)


def test_the_bars_of_a_panel_are_numbered_from_one():
    figure = figures.bar_panels({"kl": [3.0, 1.0, 0.5], "change": [50.0, 20.0, 1.0]}, x_label="d")
    for axes, title, expected in zip(
        figure.axes, ("kl", "change"), ([3.0, 1.0, 0.5], [50.0, 20.0, 1.0]), strict=True
    ):
        assert axes.get_title() == title
        assert [bar.get_height() for bar in axes.patches] == expected
        middles = [bar.get_x() + bar.get_width() / 2 for bar in axes.patches]
        assert middles == pytest.approx([1, 2, 3])
        assert axes.get_xlim() == (0.2, 3.8)
    assert figure.axes[0].get_ylim() != figure.axes[1].get_ylim()
