"""Tensors to matplotlib figures, all in one style.

Every function returns a `matplotlib.figure.Figure`. Nothing here draws random numbers or computes
results. Charts that serve a single notebook are in `course.charts`, and are made of the same parts.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence

import torch
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke
from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter
from torch import Tensor

from vae_helpers.data import SIDE

BLUE, ORANGE, GREEN, GREY = "#0072b2", "#d55e00", "#009e73", "#777777"
COLOURS = (BLUE, ORANGE, GREEN, "#cc79a7", "#e69f00", "#56b4e9", GREY)
"""Okabe and Ito's palette: told apart by colour-blind readers too."""

TEN_COLOURS = (
    "#332288", "#88ccee", "#44aa99", "#117733", "#999933",
    "#ddcc77", "#cc6677", "#882255", "#aa4499", "#777777",
)  # fmt: skip
"""Tol's muted palette, for ten classes: told apart by colour-blind readers as far as ten can be."""

STYLES = ("-", "--", "-.", ":", (0, (5, 1)), (0, (1, 1)), (0, (3, 1, 1, 1)))

Curves = Mapping[str, tuple[Sequence[float], Sequence[float]]]
"""Name to x and y values."""


def image_rows(rows: Mapping[str, Tensor], *, width: float = 8.0) -> Figure:
    """Rows of images, one above the other, with the name of each row at its left.

    Args:
        rows: name to `[n, 784]` images in [0, 1]; the same n in every row.
        width: of the figure, in inches.
    """
    n = len(next(iter(rows.values())))
    margin = 1.3
    size = (width - margin) / n
    figure = Figure(figsize=(width, size * len(rows) * 1.06), dpi=150)
    for i, (name, images) in enumerate(rows.items()):
        bottom, height = 1 - (i + 1) / len(rows), 0.94 / len(rows)
        axes = figure.add_axes((margin / width, bottom, 1 - margin / width, height))
        _draw(axes, tile(images, columns=n))
        figure.text(margin / width - 0.012, bottom + height / 2, name, ha="right", va="center")
    return figure


def image_panels(
    images: Mapping[str, Tensor], *, columns: int = 10, width: float | None = None
) -> Figure:
    """Square grids of images side by side, each under its title.

    Args:
        images: title to `[n, 784]` images in [0, 1].
        columns: images in one row of a grid.
        width: of the figure, in inches; four for each panel if None.
    """
    pictures = [tile(several, columns=columns) for several in images.values()]
    width = width or 4.0 * len(images)
    rows, pixels = pictures[0].shape
    figure, grid = panels(images, size=(width, width / len(images) * rows / pixels + 0.35))
    for axes, picture in zip(grid, pictures, strict=True):
        _draw(axes, picture)
    return figure


def lines(
    curves: Mapping[str, Curves],
    *,
    x_label: str,
    y_label: str,
    log_x: bool = False,
    log_y: bool = False,
    mark: bool = False,
    references: Mapping[str, float] | None = None,
    height: float = 3.2,
) -> Figure:
    """Curves, in one panel or several, with one legend entry each.

    Args:
        curves: title of the panel to its curves. Values that are not finite leave a gap.
        x_label, y_label: with units; the y label stands at the first panel.
        log_x: logarithmic x axis. Whole numbers, such as epochs, have ticks at both ends.
        log_y: logarithmic y axis.
        mark: a dot at every point.
        references: name to height of thin grey horizontal lines in every panel.
        height: of the figure, in inches.
    """
    size = (4.2 * max(len(curves), 1.4), height)
    figure, grid = panels(curves, size=size, x_label=x_label, y_label=y_label)
    for axes, named in zip(grid, curves.values(), strict=True):
        for i, (name, (x, y)) in enumerate(named.items()):
            axes.plot(
                x, y, label=name, color=COLOURS[i % len(COLOURS)],
                linestyle=STYLES[i % len(STYLES)], marker="o" if mark else None,
                markersize=3.5, linewidth=1.8,
            )  # fmt: skip
        if references:
            axes.margins(y=0.09)  # room for the names, which stand below their lines
        for name, place in (references or {}).items():
            level(axes, name, place, at="right")
        if log_x:
            axes.set_xscale("log")
            label_logarithm(axes.xaxis)
        numbers = {float(number) for x, _ in named.values() for number in x}
        if len(numbers) > 2 and all(number.is_integer() for number in numbers) and min(numbers) > 0:
            axes.set_xticks(whole_ticks(int(min(numbers)), int(max(numbers)), log=log_x))
        elif not log_x:
            axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        if log_y:
            axes.set_yscale("log")
            label_logarithm(axes.yaxis)
        legend(axes)
    return figure


def histograms(
    samples: Mapping[str, Mapping[str, Tensor]],
    *,
    x_label: str,
    bins: int = 60,
    limits: tuple[float, float] | None = None,
) -> Figure:
    """Histograms scaled to area one, in one panel or several.

    Args:
        samples: title of the panel to its named samples, of any shape.
        x_label: with units.
        bins: per panel, shared by its samples.
        limits: of the x axis; those of the panel's samples if None.
    """
    size = (4.2 * max(len(samples), 1.4), 3.0)
    figure, grid = panels(samples, size=size, x_label=x_label, y_label="density")
    for axes, named in zip(grid, samples.values(), strict=True):
        both = torch.cat([sample.flatten().cpu() for sample in named.values()])
        ends = limits or (both.min().item(), both.max().item())
        for (name, sample), colour in zip(named.items(), COLOURS, strict=False):
            axes.hist(
                sample.flatten().cpu().numpy(), bins=bins, range=ends, density=True,
                label=name, color=colour, alpha=0.55,
            )  # fmt: skip
        legend(axes)
    return figure


def scatter(
    points: Mapping[str, tuple[Tensor, Tensor]],
    *,
    x_label: str,
    y_label: str,
    radius: float | None = None,
    label_name: str = "digit",
) -> Figure:
    """Points in a plane, coloured by their label, in panels with scales of their own.

    Each label also stands at the median of its points, so that nobody has to match ten colours.

    Args:
        points: title of the panel to points `[N, 2]` and labels `[N]` in 0..9.
        x_label, y_label: with units.
        radius: of a black circle about the origin, such as 2 for two standard deviations.
        label_name: what the colours stand for.
    """
    size = (4.2 * len(points) + 0.6, 4.2)
    colours = ListedColormap(TEN_COLOURS)
    figure, grid = panels(points, size=size, x_label=x_label, y_label=y_label)
    for axes, (places, labels) in zip(grid, points.values(), strict=True):
        drawn = axes.scatter(
            places[:, 0].cpu(), places[:, 1].cpu(), c=labels.cpu(), s=3, alpha=0.6,
            cmap=colours, vmin=-0.5, vmax=9.5,
            rasterized=True,  # thousands of points would make a vector graphic heavy
        )  # fmt: skip
        for label in labels.unique().tolist():
            x, y = places[labels == label].median(dim=0).values.tolist()
            axes.annotate(
                f"{label}", (x, y), ha="center", va="center", fontsize=12, fontweight="bold",
                path_effects=[withStroke(linewidth=3, foreground="white")],
            )  # fmt: skip
        if radius is not None:
            angle = torch.linspace(0, 2 * math.pi, 200)
            axes.plot(radius * angle.cos(), radius * angle.sin(), color="black", linewidth=1.5)
        axes.set_aspect("equal", "datalim")
    figure.colorbar(drawn, ax=grid, ticks=range(10), label=label_name)
    return figure


def bars(
    series: Mapping[str, Sequence[float]], *, labels: Sequence[str], x_label: str, y_label: str
) -> Figure:
    """Groups of bars, one group per label, one bar per series.

    Args:
        series: name to heights, one per label.
        labels: under the groups.
        x_label, y_label: with units.
    """
    figure, (axes,) = panels([""], size=(6.4, 3.0), x_label=x_label, y_label=y_label)
    width = 0.8 / len(series)
    for i, (name, heights) in enumerate(series.items()):
        at = [position + (i - (len(series) - 1) / 2) * width for position in range(len(labels))]
        axes.bar(at, heights, width, label=name, color=COLOURS[i])
    axes.set_xticks(range(len(labels)), labels)
    legend(axes)
    return figure


def tile(images: Tensor, *, columns: int) -> Tensor:
    """`[n, 784]` images as one `[height, width]` picture, a thin white line between them."""
    rows, step = math.ceil(len(images) / columns), SIDE + 2
    picture = torch.ones(rows * step - 2, columns * step - 2)
    for i, image in enumerate(images.detach().cpu().reshape(-1, SIDE, SIDE)):
        top, left = step * (i // columns), step * (i % columns)
        picture[top : top + SIDE, left : left + SIDE] = image
    return picture


def _draw(axes: Axes, picture: Tensor) -> None:
    axes.imshow(picture.numpy(), cmap="gray", vmin=0, vmax=1, interpolation="nearest")
    axes.set_axis_off()


# The parts that charts are made of


def panels(
    titles: Iterable[str], *, size: tuple[float, float], x_label: str = "", y_label: str = ""
) -> tuple[Figure, list[Axes]]:
    """A figure with one panel per title, side by side.

    Args:
        titles: of the panels.
        size: of the figure, width and height in inches.
        x_label: of every panel.
        y_label: of the first.
    """
    named = list(titles)
    figure = Figure(figsize=size, dpi=150, layout="constrained")
    grid = list(figure.subplots(1, len(named), squeeze=False)[0])
    for axes, title in zip(grid, named, strict=True):
        axes.set_title(title, fontsize=11)
        axes.set_xlabel(x_label)
        plain(axes)
    grid[0].set_ylabel(y_label)
    return figure, grid


def plain(axes: Axes) -> None:
    """Take away the lines above and at the right."""
    axes.spines[["top", "right"]].set_visible(False)


def legend(axes: Axes, *, size: int = 9) -> None:
    """A legend without a frame."""
    axes.legend(frameon=False, fontsize=size)


def level(axes: Axes, name: str, place: float, *, at: str) -> None:
    """A thin grey line with its name.

    Args:
        axes: where it is drawn.
        name: stands beside the line.
        place: of the line.
        at: where the name stands: "right" (below) or "left" (above) for a horizontal line, "top"
            for a vertical one.
    """
    if at == "top":
        axes.axvline(place, color=GREY, linewidth=0.9, linestyle="--")
        anchor, shift, across = (place, 1.0), (3, 2), axes.get_xaxis_transform()
    else:
        axes.axhline(place, color=GREY, linewidth=0.8)
        anchor = (1.0 if at == "right" else 0.0, place)
        shift, across = (-2, -2) if at == "right" else (2, 2), axes.get_yaxis_transform()
    axes.annotate(
        name, anchor, shift, ha="right" if at == "right" else "left",
        va="top" if at == "right" else "bottom", fontsize=8, color=GREY,
        xycoords=across, textcoords="offset points",
    )  # fmt: skip


def label_logarithm(axis: Axis) -> None:
    """Numbers in place of powers of ten; over less than three decades also at 2 and 5."""
    low, high = sorted(axis.get_view_interval())
    axis.set_major_locator(LogLocator(subs=(1, 2, 5) if high < 1_000 * low else (1,)))
    axis.set_major_formatter("{x:g}")
    axis.set_minor_formatter(NullFormatter())


def whole_ticks(first: int, last: int, *, log: bool = False) -> list[int]:
    """Ticks at both ends of a range of whole numbers, and at round ones well between them.

    Args:
        first: the lower end, at least 1.
        last: the upper end.
        log: whether the axis is logarithmic.
    """
    round_ones = [m * 10**k for k in range(len(str(last))) for m in (1, 2, 5)]
    if log:
        between = [it for it in round_ones if 1.4 * first < it < last / 1.4]
    else:
        step = next((it for it in round_ones if (last - first) / it <= 6), last)
        near = 0.4 * step
        between = [it for it in range(0, last, step) if first + near < it < last - near]
    return sorted({first, *between, last})
