"""Charts of single notebooks: what is drawn is what was given."""

import math

import pytest
from matplotlib.patches import FancyArrowPatch

from vae_helpers.course import charts


def test_an_interval_reaches_as_far_as_its_half_width_to_both_sides():
    figure = charts.intervals({"a": {0: (10.0, 2.0), 0.5: (20.0, 1.0)}}, x_label="beta")
    (axes,) = figure.axes
    (bars,) = axes.containers[0].lines[2]
    ends = [segment[:, 1].tolist() for segment in bars.get_segments()]
    assert ends == [[8.0, 12.0], [19.0, 21.0]]
    assert [text.get_text() for text in axes.get_xticklabels()] == ["0", "0.5"]


def test_a_trade_off_names_each_point_where_it_lies():
    figure = charts.trade_off({"a": (1.0, 5.0), "b": (100.0, 2.0)}, x_label="x", y_label="y")
    (axes,) = figure.axes
    assert {text.get_text(): text.xy for text in axes.texts} == {"a": (1.0, 5.0), "b": (100.0, 2.0)}
    assert axes.get_xscale() == "log"


def test_every_value_of_a_group_is_a_dot_on_its_line():
    values = {"one": [1.0, 10.0], "two": [100.0, 1000.0]}
    figure = charts.dots(
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


def test_a_logarithmic_axis_of_less_than_a_decade_has_plain_numbers_that_do_not_overlap():
    figure = charts.dots({"FCD": {"one": [21.0, 160.0]}}, log_x=["FCD"])
    (axes,) = figure.axes
    figure.draw_without_rendering()
    shown = [it for it in axes.get_xticklabels(which="both") if it.get_text()]
    inside = [it for it in shown if 21 <= float(it.get_text()) <= 160]
    assert [it.get_text() for it in inside] == ["50", "100"]


def test_runs_of_one_kind_share_a_colour_and_one_entry_of_the_legend():
    kinds = {"VAE": ([1, 2], [[9.0, 8.0], [7.0, 6.0]]), "GAN": ([1, 2], [[5.0, 4.0]])}
    figure = charts.curves_by_seed({"epochs": kinds}, y_label="FCD", references={"level": 5.0})
    (axes,) = figure.axes
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == ["VAE", "GAN"]
    figure.draw_without_rendering()
    assert not legend.get_window_extent().overlaps(axes.get_window_extent())  # nor a curve
    heights = [list(line.get_ydata()) for line in axes.lines[:3]]
    assert heights == [[9.0, 8.0], [7.0, 6.0], [5.0, 4.0]]
    first, second, other = (line.get_color() for line in axes.lines[:3])
    assert first == second != other
    assert (axes.get_xscale(), axes.get_yscale()) == ("log", "log")


def test_a_roof_rises_with_the_bandwidth_and_ends_at_the_peak():
    figure = charts.roofline({"a": (200.0, 10.0)}, {"sum": [(0.5, 4.0)], "product": [(40.0, 90.0)]})
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
    figure = charts.long_bars({"one": 3.0, "two": 1.25}, x_label="s", references={"floor": 1.0})
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
    figure = charts.scaling(panels, y_label="seconds", columns=2)
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
    figure = charts.bar_panels({"kl": [3.0, 1.0, 0.5], "change": [50.0, 20.0, 1.0]}, x_label="d")
    for axes, title, expected in zip(
        figure.axes, ("kl", "change"), ([3.0, 1.0, 0.5], [50.0, 20.0, 1.0]), strict=True
    ):
        assert axes.get_title() == title
        assert [bar.get_height() for bar in axes.patches] == expected
        middles = [bar.get_x() + bar.get_width() / 2 for bar in axes.patches]
        assert middles == pytest.approx([1, 2, 3])
        assert axes.get_xlim() == (0.2, 3.8)
    assert figure.axes[0].get_ylim() != figure.axes[1].get_ylim()


def test_a_network_has_a_bar_for_every_layer_and_names_its_width():
    (axes,) = charts.network([784, 400, 200], 20).axes
    texts = [text.get_text() for text in axes.texts]
    for name in ("x\n784", "logits\n784", "mu\n20", "logvar\n20", "z\n20"):
        assert texts.count(name) == 1
    assert texts.count("400") == texts.count("200") == 2
    bars = 3 + 3 + 3  # of encoder and decoder; mu, logvar and z
    linear_maps = 2 + 2 + 3  # between layers of either; to mu, to logvar and from z
    assert len(axes.collections) == bars + linear_maps


def test_the_gap_lies_between_the_elbo_and_the_line_above_it():
    figure = charts.bound({"a": ([0.0, 1.0, 2.0], [-6.0, -5.0, -9.0], [-4.0] * 3)}, x_label="mean")
    (axes,) = figure.axes
    total, elbo = axes.lines
    assert list(total.get_ydata()) == [-4.0] * 3
    assert list(elbo.get_ydata()) == [-6.0, -5.0, -9.0]
    ends = axes.collections[0].get_paths()[0].vertices[:, 1]
    assert (ends.min(), ends.max()) == (-9.0, -4.0)
    places = {text.get_text(): text.xy for text in axes.texts}
    assert places["ELBO"] == (2.0, -9.0)
    assert places["gap"] == (2.0, -6.5)


def test_every_case_stands_before_the_control_and_wide_ranges_are_logarithmic():
    control = {"loss": {"train": [9.0, 8.0], "test": [9.5, 8.5]}, "kl": {"train": [1.0, 2.0]}}
    case = {"loss": {"train": [9.0, 900.0], "test": [9.0, math.inf]}, "kl": {"train": [5.0, 6.0]}}
    figure = charts.against_control({"A": case, "B": control}, control)
    wide, _, kl, _ = figure.axes
    assert [list(line.get_ydata()) for line in kl.lines] == [[1.0, 2.0], [5.0, 6.0]]
    assert (wide.get_yscale(), kl.get_yscale()) == ("log", "linear")
    assert [axes.get_title() for axes in figure.axes] == ["A", "B", "", ""]
    assert (wide.get_ylabel(), kl.get_ylabel()) == ("loss", "kl")
    grey, blue = (line.get_color() for line in kl.lines)
    assert grey != blue
    linear = charts.against_control({"A": case}, control, linear=["loss"])
    assert linear.axes[0].get_yscale() == "linear"


def test_each_damage_has_a_panel_and_each_measure_a_curve_through_its_changes():
    changes = {
        "blur": {"one": [0.0, 0.5, 9.0], "two": [0.0, -2.0, 1.0]},
        "no_class": {"one": [0.0, 1.0], "two": [0.0, 2.0]},
    }
    figure = charts.battery(changes)
    assert [axes.get_title() for axes in figure.axes] == ["blur", "no class"]
    for axes, measures in zip(figure.axes, changes.values(), strict=True):
        assert [list(line.get_ydata()) for line in axes.lines[:2]] == list(measures.values())
    (first, _) = figure.axes
    assert [text.get_text() for text in first.get_legend().get_texts()] == ["one", "two"]


def test_intervals_are_logarithmic_where_that_is_asked_for_and_else_begin_at_zero():
    points = {"a": {0: (1000.0, 50.0), 1: (20.0, 5.0)}, "b": {0: (0.5, 0.1), 1: (0.7, 0.1)}}
    far, near = charts.intervals(points, x_label="beta", log_y=["a"]).axes
    assert (far.get_yscale(), near.get_yscale()) == ("log", "linear")
    assert near.get_ylim()[0] == 0


def test_a_forest_has_a_line_per_difference_and_marks_those_that_chance_does_not_explain():
    differences = {"same": {"a": (0.1, 0.3), "b": (-0.5, 0.2)}, "other": {"c": (4.0, 1.0)}}
    figure = charts.forest(differences, x_label="nats")
    first, second = figure.axes
    assert [it.get_text() for it in first.get_yticklabels()] == ["a", "b"]
    for axes, by_name in zip((first, second), differences.values(), strict=True):
        drawn = axes.containers
        assert [it.lines[0].get_xdata()[0] for it in drawn] == [
            mean for mean, _ in by_name.values()
        ]
        filled = [it.lines[0].get_markerfacecolor() != "white" for it in drawn]
        assert filled == [abs(mean) <= half for mean, half in by_name.values()]
        ends = [it.lines[2][0].get_segments()[0][:, 0] for it in drawn]
        for (low, high), (mean, half) in zip(ends, by_name.values(), strict=True):
            assert (low, high) == pytest.approx((mean - half, mean + half))
    assert second.get_xlabel() == "nats"


def test_the_graph_of_the_model_has_its_four_nodes_and_dashes_only_the_encoder():
    (axes,) = charts.graphical_model().axes
    shown = {text.get_text() for text in axes.texts}
    assert {"$z$", "$x$", r"$\theta$", r"$\phi$"} <= shown
    styles = [it.get_linestyle() for it in axes.patches if isinstance(it, FancyArrowPatch)]
    assert styles == ["-", "-", "--", "--"]


def test_the_gaps_of_a_training_are_drawn_whole_and_enlarged():
    figure = charts.training_gaps(
        [0, 10, 20], [4.0, 3.2, 3.1], [3.9, 3.1, 3.05], floor=3.0, constant=3.5, zoom=(2.9, 3.2)
    )
    left, right = figure.axes
    for axes in (left, right):
        assert [line.get_ydata().tolist() for line in axes.lines[:2]] == [
            [4.0, 3.2, 3.1],
            [3.9, 3.1, 3.05],
        ]
    assert right.get_ylim() == (2.9, 3.2)
    assert left.get_ylim()[0] < 3.0
    assert left.get_ylim()[1] > 4.0


def test_a_pixel_s_number_stands_at_its_highest_point():
    figure = charts.pixels_on({"world": ([0.0, 1.0, 2.0], [[0.1, 0.9, 0.2]])}, x_label="z")
    (axes,) = figure.axes
    assert [(text.get_text(), text.xy) for text in axes.texts] == [("1", (1.0, 0.9))]


def test_densities_share_their_axes_and_leave_unused_panels_empty():
    named = {"p": ([0.0, 1.0], [1.0, 2.0]), "q": ([0.0, 1.0], [3.0, 1.0])}
    figure = charts.densities({"a": named, "b": named, "c": named}, x_label="z", columns=2)
    assert [axes.get_title() for axes in figure.axes] == ["a", "b", "c", ""]
    assert len({axes.get_ylim() for axes in figure.axes[:3]}) == 1
    assert not figure.axes[3].axison
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == ["p", "q"]


def test_the_parts_of_a_stacked_bar_begin_where_the_one_before_ends():
    figure = charts.stacked_bars({"a": {"one": 0.1, "two": 0.3}}, x_label="nats")
    (axes,) = figure.axes
    ends = [number for bar in axes.patches for number in (bar.get_x(), bar.get_width())]
    assert ends == pytest.approx([0.0, 0.1, 0.1, 0.3])
    assert [text.get_text() for text in axes.texts] == ["0.400"]
