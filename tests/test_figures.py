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


def test_an_axis_is_logarithmic_if_and_only_if_it_is_asked_for():
    curve = {"": {"one": ([1, 2], [3.0, 4.0])}}
    for log_x, log_y in ((False, True), (True, False)):
        figure = figures.lines(curve, x_label="x", y_label="y", log_x=log_x, log_y=log_y)
        axes = figure.axes[0]
        assert (axes.get_xscale() == "log", axes.get_yscale() == "log") == (log_x, log_y)


def test_a_reference_is_a_line_with_its_name_in_every_panel():
    curve = {"one": ([1, 2], [3.0, 4.0])}
    figure = figures.lines(
        {"a": curve, "b": curve}, x_label="x", y_label="y", references={"floor": 1.0}
    )
    for axes in figure.axes:
        assert list(axes.lines[1].get_ydata()) == [1.0, 1.0]
        assert [text.get_text() for text in axes.texts] == ["floor"]
        assert axes.get_ylim()[0] < 1.0


def test_points_have_the_colour_of_their_label_and_may_have_a_circle_around_the_origin():
    points = torch.tensor([[0.0, 1.0], [2.0, 3.0]])
    figure = figures.scatter(
        {"a": (points, torch.tensor([3, 7]))}, x_label="x", y_label="y", radius=2
    )
    axes = figure.axes[0]
    assert axes.collections[0].get_offsets().tolist() == points.tolist()
    assert axes.collections[0].get_array().tolist() == [3, 7]
    (circle,) = axes.lines
    assert torch.tensor(circle.get_xydata()).norm(dim=1).tolist() == pytest.approx([2.0] * 200)


@pytest.mark.parametrize(
    ("ends", "log", "expected"),
    [
        ((1, 30), False, [1, 5, 10, 15, 20, 25, 30]),
        ((1, 30), True, [1, 2, 5, 10, 20, 30]),
        ((1, 10), False, [1, 2, 4, 6, 8, 10]),
        ((1, 3), False, [1, 2, 3]),
        ((20, 2_000), False, [20, 500, 1_000, 1_500, 2_000]),
        ((30, 10_000), True, [30, 50, 100, 200, 500, 1_000, 2_000, 5_000, 10_000]),
    ],
)
def test_a_range_of_whole_numbers_has_ticks_at_both_ends(ends, log, expected):
    assert figures.whole_ticks(*ends, log=log) == expected


def test_curves_over_epochs_have_a_tick_at_the_first_and_at_the_last():
    epochs = list(range(1, 31))
    for log in (False, True):
        curves = {"": {"loss": (epochs, epochs)}}
        figure = figures.lines(curves, x_label="epoch", y_label="nats", log_x=log)
        ticks = figure.axes[0].get_xticks()
        assert {1, 30} <= set(ticks)


def test_each_label_stands_at_the_median_of_its_points_and_has_a_colour_of_its_own():
    labels = torch.arange(10).repeat(3)
    places = torch.stack([labels.double(), 2.0 * labels.double()], dim=1)
    places[labels == 4] += torch.tensor([[0.0, 0.0], [1.0, 1.0], [50.0, 60.0]])
    figure = figures.scatter({"": (places, labels)}, x_label="x", y_label="y")
    shown = {it.get_text(): it.get_position() for it in figure.axes[0].texts}
    assert set(shown) == set("0123456789")
    assert shown["7"] == (7.0, 14.0)
    assert shown["4"] == (5.0, 9.0)
    assert len(set(figures.TEN_COLOURS)) == 10


@pytest.mark.parametrize(
    ("ends", "expected"), [((20, 300), ["20", "50", "100", "200"]), ((0.002, 90), ["0.01", "1"])]
)
def test_a_logarithmic_axis_has_plain_numbers_and_not_too_many(ends, expected):
    curves = {"": {"loss": ((1, 2), ends)}}
    figure = figures.lines(curves, x_label="epoch", y_label="nats", log_y=True)
    figure.draw_without_rendering()
    low, high = figure.axes[0].get_ylim()
    axis = figure.axes[0].yaxis
    shown = [
        label.get_text()
        for place, label in zip(axis.get_majorticklocs(), axis.get_ticklabels(), strict=True)
        if low <= place <= high
    ]
    assert set(expected) <= set(shown)
    assert len(shown) <= 7
