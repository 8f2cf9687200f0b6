"""Tensors to matplotlib figures, all in one style.

Every function returns a `matplotlib.figure.Figure`, which `Lesson.show` displays and keeps, with
caption and alt text. Nothing here draws random numbers or computes results.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence

import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter
from torch import Tensor

BLUE, ORANGE, GREEN, GREY = "#0072b2", "#d55e00", "#009e73", "#777777"
COLOURS = (BLUE, ORANGE, GREEN, "#cc79a7", "#e69f00", "#56b4e9", GREY)
"""Okabe and Ito's palette: told apart by colour-blind readers too."""

STYLES = ("-", "--", "-.", ":", (0, (5, 1)), (0, (1, 1)), (0, (3, 1, 1, 1)))


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
    panels: Mapping[str, Tensor], *, columns: int = 10, width: float | None = None
) -> Figure:
    """Square grids of images side by side, each under its title.

    Args:
        panels: title to `[n, 784]` images in [0, 1].
        columns: images in one row of a grid.
        width: of the figure, in inches; four for each panel if None.
    """
    first = tile(next(iter(panels.values())), columns=columns)
    width = width or 4.0 * len(panels)
    height = width / len(panels) * first.shape[0] / first.shape[1] + 0.35
    figure = Figure(figsize=(width, height), dpi=150, layout="constrained")
    for axes, (title, images) in zip(_axes(figure, len(panels)), panels.items(), strict=True):
        _draw(axes, tile(images, columns=columns))
        axes.set_title(title, fontsize=11)
    return figure


def lines(
    panels: Mapping[str, Mapping[str, tuple[Sequence[float], Sequence[float]]]],
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
        panels: title to curves; a curve is its name, and its x and y values. Values that are not
            finite leave a gap.
        x_label, y_label: with units; the y label stands at the first panel.
        log_x: logarithmic x axis; otherwise its ticks are whole numbers where that is possible.
        log_y: logarithmic y axis.
        mark: a dot at every point.
        references: name to height of thin grey horizontal lines in every panel.
        height: of the figure, in inches.
    """
    figure = Figure(figsize=(4.2 * max(len(panels), 1.4), height), dpi=150, layout="constrained")
    grid = _axes(figure, len(panels))
    for axes, (title, curves) in zip(grid, panels.items(), strict=True):
        for i, (name, (x, y)) in enumerate(curves.items()):
            axes.plot(
                x,
                y,
                label=name,
                color=COLOURS[i % len(COLOURS)],
                linestyle=STYLES[i % len(STYLES)],
                marker="o" if mark else None,
                markersize=3.5,
                linewidth=1.8,
            )
        if references:
            axes.margins(y=0.09)  # room for the names, which stand below their lines
        for name, level in (references or {}).items():
            axes.axhline(level, color=GREY, linewidth=0.8)
            axes.annotate(
                name, (1, level), (-2, -2), ha="right", va="top", fontsize=8, color=GREY,
                xycoords=axes.get_yaxis_transform(), textcoords="offset points",
            )  # fmt: skip
        if log_x:
            axes.set_xscale("log")
        else:
            axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        if log_y:
            axes.set_yscale("log")
        axes.set_title(title, fontsize=11)
        axes.set_xlabel(x_label)
        axes.legend(frameon=False, fontsize=9)
        _plain(axes)
    grid[0].set_ylabel(y_label)
    return figure


def histograms(
    panels: Mapping[str, Mapping[str, Tensor]],
    *,
    x_label: str,
    bins: int = 60,
    limits: tuple[float, float] | None = None,
    density: Mapping[str, tuple[Tensor, Tensor]] | None = None,
) -> Figure:
    """Histograms scaled to area one, in one panel or several.

    Args:
        panels: title to named samples of any shape.
        x_label: with units.
        bins: per panel, shared by its samples.
        limits: of the x axis; those of the panel's samples if None.
        density: named curves (x, y) drawn over every panel.
    """
    figure = Figure(figsize=(4.2 * max(len(panels), 1.4), 3.0), dpi=150, layout="constrained")
    grid = _axes(figure, len(panels))
    for axes, (title, samples) in zip(grid, panels.items(), strict=True):
        both = torch.cat([sample.flatten().cpu() for sample in samples.values()])
        low, high = limits or (both.min().item(), both.max().item())
        for i, (name, sample) in enumerate(samples.items()):
            axes.hist(
                sample.flatten().cpu().numpy(),
                bins=bins,
                range=(low, high),
                density=True,
                label=name,
                color=COLOURS[i],
                alpha=0.55,
            )
        for name, (x, y) in (density or {}).items():
            axes.plot(x.numpy(), y.numpy(), color="black", linewidth=1.4, label=name)
        axes.set_title(title, fontsize=11)
        axes.set_xlabel(x_label)
        axes.legend(frameon=False, fontsize=9)
        _plain(axes)
    grid[0].set_ylabel("density")
    return figure


def scatter(
    panels: Mapping[str, tuple[Tensor, Tensor]],
    *,
    x_label: str,
    y_label: str,
    radius: float | None = None,
    label_name: str = "digit",
) -> Figure:
    """Points in a plane, coloured by their label, in panels with scales of their own.

    Args:
        panels: title to points `[N, 2]` and labels `[N]` in 0..9.
        x_label, y_label: with units.
        radius: of a black circle about the origin, such as 2 for two standard deviations.
        label_name: what the colours stand for.
    """
    figure = Figure(figsize=(4.2 * len(panels) + 0.6, 4.2), dpi=150, layout="constrained")
    grid = _axes(figure, len(panels))
    for axes, (title, (points, labels)) in zip(grid, panels.items(), strict=True):
        drawn = axes.scatter(
            points[:, 0].cpu(), points[:, 1].cpu(), c=labels.cpu(), s=3, alpha=0.6,
            cmap="tab10", vmin=-0.5, vmax=9.5,
            rasterized=True,  # thousands of points would make a vector graphic heavy
        )  # fmt: skip
        if radius is not None:
            angle = torch.linspace(0, 2 * math.pi, 200)
            axes.plot(radius * angle.cos(), radius * angle.sin(), color="black", linewidth=1.5)
        axes.set_title(title, fontsize=11)
        axes.set_xlabel(x_label)
        axes.set_aspect("equal", "datalim")
        _plain(axes)
    grid[0].set_ylabel(y_label)
    figure.colorbar(drawn, ax=grid, ticks=range(10), label=label_name)
    return figure


def bars(
    series: Mapping[str, Sequence[float]], *, labels: Sequence[str], x_label: str, y_label: str
) -> Figure:
    """Groups of bars, one group a label, one bar a series.

    Args:
        series: name to heights, one a label.
        labels: under the groups.
        x_label, y_label: with units.
    """
    figure = Figure(figsize=(6.4, 3.0), dpi=150, layout="constrained")
    axes = figure.subplots()
    width = 0.8 / len(series)
    for i, (name, heights) in enumerate(series.items()):
        at = [position + (i - (len(series) - 1) / 2) * width for position in range(len(labels))]
        axes.bar(at, heights, width, label=name, color=COLOURS[i])
    axes.set_xticks(range(len(labels)), labels)
    axes.set_xlabel(x_label)
    axes.set_ylabel(y_label)
    axes.legend(frameon=False, fontsize=9)
    _plain(axes)
    return figure


def tile(images: Tensor, *, columns: int) -> Tensor:
    """`[n, 784]` images as one `[height, width]` picture, a thin white line between them."""
    rows = math.ceil(len(images) / columns)
    picture = torch.ones(rows * 30 - 2, columns * 30 - 2)
    for i, image in enumerate(images.detach().cpu().reshape(-1, 28, 28)):
        top, left = 30 * (i // columns), 30 * (i % columns)
        picture[top : top + 28, left : left + 28] = image
    return picture


def _draw(axes: Axes, picture: Tensor) -> None:
    axes.imshow(picture.numpy(), cmap="gray", vmin=0, vmax=1, interpolation="nearest")
    axes.set_axis_off()


def _axes(figure: Figure, panels: int) -> list[Axes]:
    return list(figure.subplots(1, panels, squeeze=False)[0])


def _plain(axes: Axes) -> None:
    axes.spines[["top", "right"]].set_visible(False)


def network(widths: Sequence[int], latent_dim: int) -> Figure:
    """A variational autoencoder's layers as bars, its linear maps as shaded trapezoids.

    Args:
        widths: of the input and the encoder's hidden layers; the decoder mirrors them.
        latent_dim: numbers in mu, in logvar and in z.
    """
    last = len(widths) - 1
    x_heads, x_z = last + 1.15, last + 2.3
    scale = 2.0 / math.sqrt(max(widths))
    lift = 0.42  # of mu above the middle, and of logvar below it
    small = max(scale * math.sqrt(latent_dim), 0.2)
    figure = Figure(figsize=(8.4, 3.5), dpi=150, layout="constrained")
    axes = figure.subplots()

    def bar(x: float, width: int, colour: str, name: str = "", y: float = 0.0) -> None:
        half = (small if width == latent_dim else scale * math.sqrt(width)) / 2
        axes.fill_between([x - 0.05, x + 0.05], y - half, y + half, color=colour, linewidth=0)
        above = y >= 0
        axes.annotate(
            f"{name}\n{width}" if name else f"{width}",
            (x, y + half if above else y - half), (0, 5 if above else -5),
            ha="center", va="bottom" if above else "top", textcoords="offset points", fontsize=10,
        )  # fmt: skip

    def trapezoid(
        left: float, right: float, heights: tuple[float, float], colour: str, y: float = 0.0
    ) -> None:
        start, end = heights[0] / 2, heights[1] / 2
        axes.fill_between(
            [left + 0.05, right - 0.05], [-start, y - end], [start, y + end],
            color=colour, alpha=0.18, linewidth=0,
        )  # fmt: skip

    heights = [scale * math.sqrt(width) for width in widths]
    for i in range(last):
        trapezoid(i, i + 1, (heights[i], heights[i + 1]), BLUE)
        trapezoid(x_z + 1 + last - i - 1, x_z + 1 + last - i, (heights[i + 1], heights[i]), ORANGE)
    for y in (lift, -lift):
        trapezoid(last, x_heads, (heights[last], small), BLUE, y)
    trapezoid(x_z, x_z + 1, (small, heights[last]), ORANGE)
    for i, width in enumerate(widths):
        bar(i, width, BLUE, "x" if i == 0 else "")
        bar(x_z + 1 + last - i, width, ORANGE, "logits" if i == 0 else "")
    bar(x_heads, latent_dim, BLUE, "mu", lift)
    bar(x_heads, latent_dim, BLUE, "logvar", -lift)
    bar(x_z, latent_dim, GREEN, "z")

    arrow = {"arrowstyle": "-|>", "color": GREEN, "linewidth": 1.4, "shrinkA": 3, "shrinkB": 4}
    for y in (lift, -lift):
        axes.annotate("", (x_z - 0.04, 0), (x_heads + 0.06, y), arrowprops=arrow)
    axes.annotate(
        "eps, noise\nfrom N(0, I)", (x_z, -small / 2), (x_z, -0.8), ha="center", va="top",
        fontsize=10, color=GREEN, arrowprops=arrow,
    )  # fmt: skip
    for x, text, colour in (
        (last / 2, "encoder", BLUE),
        (x_z + 1 + last / 2, "decoder", ORANGE),
    ):
        axes.text(x, -1.28, text, ha="center", color=colour, fontsize=11)
    axes.set_ylim(-1.4, 1.45)
    axes.set_axis_off()
    return figure


def bound(
    panels: Mapping[str, tuple[Sequence[float], Sequence[float], Sequence[float]]], *, x_label: str
) -> Figure:
    """The ELBO under log p(x), the gap between them shaded, in panels.

    Args:
        panels: title to x values, the ELBO, and ELBO + gap, in nats.
        x_label: what is varied.
    """
    figure = Figure(figsize=(4.2 * max(len(panels), 1.4), 3.2), dpi=150, layout="constrained")
    grid = _axes(figure, len(panels))
    for axes, (title, (x, elbo, total)) in zip(grid, panels.items(), strict=True):
        axes.fill_between(x, elbo, total, color=ORANGE, alpha=0.13, linewidth=0)
        axes.plot(x, total, color=ORANGE, linestyle="--", linewidth=1.8)
        axes.plot(x, elbo, color=BLUE, linewidth=1.8)
        peak, low = max(elbo), min(elbo)
        at = elbo.index(low)
        axes.annotate(
            "log p(x) = ELBO + gap", (x[0], total[0]), (0, 4), color=ORANGE, va="bottom",
            textcoords="offset points", fontsize=10,
        )  # fmt: skip
        axes.annotate(
            "ELBO", (x[at], low), (0, -4), color=BLUE, ha="center", va="top",
            textcoords="offset points", fontsize=10,
        )  # fmt: skip
        axes.text(x[at], (total[at] + low) / 2, "gap", ha="center", color=ORANGE, fontsize=10)
        axes.set_ylim(low - 0.15 * (peak - low), total[0] + 0.2 * (peak - low))
        axes.set_title(title, fontsize=11)
        axes.set_xlabel(x_label)
        _plain(axes)
    grid[0].set_ylabel("nats")
    return figure


def intervals(panels: Mapping[str, Mapping[float, tuple[float, float]]], *, x_label: str) -> Figure:
    """A number with its interval at each of a few settings, in panels with scales of their own.

    Args:
        panels: title to setting to mean and half-width. The settings stand at equal distances.
        x_label: what is set.
    """
    figure = Figure(figsize=(3.4 * max(len(panels), 1.4), 3.0), dpi=150, layout="constrained")
    for axes, (title, points) in zip(_axes(figure, len(panels)), panels.items(), strict=True):
        means, halves = zip(*points.values(), strict=True)
        at = range(len(points))
        axes.errorbar(at, means, halves, fmt="o", color=BLUE, markersize=5, capsize=4)
        axes.set_xticks(at, [f"{setting:g}" for setting in points])
        axes.set_ylim(bottom=0)
        axes.margins(x=0.1)
        axes.set_title(title, fontsize=11)
        axes.set_xlabel(x_label)
        _plain(axes)
    return figure


def trade_off(points: Mapping[str, tuple[float, float]], *, x_label: str, y_label: str) -> Figure:
    """A curve through named points; the x axis is logarithmic.

    Args:
        points: name to x > 0 and y, in the order of the curve.
        x_label, y_label: with units.
    """
    figure = Figure(figsize=(6.4, 3.6), dpi=150, layout="constrained")
    axes = figure.subplots()
    x, y = zip(*points.values(), strict=True)
    axes.plot(x, y, color=BLUE, marker="o", linewidth=1.4)
    for name, point in points.items():
        axes.annotate(name, point, (6, 5), textcoords="offset points", fontsize=10)
    axes.set_xscale("log")
    axes.margins(x=0.15, y=0.12)
    axes.set_xlabel(x_label)
    axes.set_ylabel(y_label)
    _plain(axes)
    return figure


def dots(
    panels: Mapping[str, Mapping[str, Sequence[float]]],
    *,
    log_x: Collection[str] = (),
    references: Mapping[str, tuple[str, float]] | None = None,
) -> Figure:
    """Every single value as a dot, one line a group, in panels that share their groups.

    Args:
        panels: title to group to values; the groups are the same in every panel.
        log_x: titles of the panels whose axis is logarithmic.
        references: title to name and place of a grey vertical line.
    """
    groups = list(next(iter(panels.values())))
    size = (4.2 * len(panels) + 1.2, 0.27 * len(groups) + 1.0)
    figure = Figure(figsize=size, dpi=150, layout="constrained")
    grid = _axes(figure, len(panels))
    for i, (axes, (title, values)) in enumerate(zip(grid, panels.items(), strict=True)):
        for line, group in enumerate(groups):
            axes.axhline(line, color=GREY, linewidth=0.4, alpha=0.5)
            height = [line] * len(values[group])
            axes.plot(values[group], height, "o", color=BLUE, alpha=0.7, markersize=5)
        if title in log_x:
            axes.set_xscale("log")
        if references and title in references:
            name, place = references[title]
            axes.axvline(place, color=GREY, linewidth=0.8, linestyle="--")
            axes.annotate(
                name, (place, 1), (3, 2), va="bottom", fontsize=8, color=GREY,
                xycoords=axes.get_xaxis_transform(), textcoords="offset points",
            )  # fmt: skip
        axes.set_yticks(range(len(groups)), groups if i == 0 else [""] * len(groups))
        axes.set_ylim(len(groups) - 0.5, -0.5)
        axes.set_xlabel(title)
        _plain(axes)
    return figure


def curves_by_seed(
    panels: Mapping[str, Mapping[str, tuple[Sequence[float], Sequence[Sequence[float]]]]],
    *,
    y_label: str,
    references: Mapping[str, float] | None = None,
) -> Figure:
    """Thin curves, one a run, in one colour for all runs of a kind; both axes logarithmic.

    Args:
        panels: label of the x axis to kinds; a kind is its name, its x values, and the y values of
            each run.
        y_label: with units; it stands at the first panel.
        references: name to height of grey horizontal lines in every panel.
    """
    figure = Figure(figsize=(4.2 * max(len(panels), 1.4), 3.6), dpi=150, layout="constrained")
    grid = _axes(figure, len(panels))
    for i, (axes, (x_label, kinds)) in enumerate(zip(grid, panels.items(), strict=True)):
        for j, (name, (x, curves)) in enumerate(kinds.items()):
            for run, y in enumerate(curves):
                axes.plot(
                    x, y, color=COLOURS[j], linestyle=STYLES[j], linewidth=1.1, alpha=0.75,
                    label=None if run else name,
                )  # fmt: skip
        for name, level in (references or {}).items():
            axes.axhline(level, color=GREY, linewidth=0.8)
            axes.annotate(
                name, (0, level), (2, 2), va="bottom", fontsize=8, color=GREY,
                xycoords=axes.get_yaxis_transform(), textcoords="offset points",
            )  # fmt: skip
        axes.set_xscale("log")
        axes.set_yscale("log")
        axes.set_xlabel(x_label)
        if i == 0:
            axes.set_ylabel(y_label)
            axes.legend(frameon=False, fontsize=9)
        _plain(axes)
    return figure


def charts(
    cases: Mapping[str, Mapping[str, Mapping[str, Sequence[float]]]],
    control: Mapping[str, Mapping[str, Sequence[float]]],
    *,
    x_label: str = "epoch",
    linear: Collection[str] = (),
) -> Figure:
    """A column of small panels for each case, the control's curves in grey behind each.

    An axis is logarithmic where what it shows is positive and spans more than a factor of 100.

    Args:
        cases: title of the column to panels; a panel is its label, and named curves, each with one
            value an epoch. Panels and curves have the same names in every case.
        control: panels to curves, by the same names.
        x_label: under the lowest panels.
        linear: labels of the panels whose axis is never logarithmic.
    """
    size = (2.5 * len(cases), 1.6 * len(control) + 0.4)
    figure = Figure(figsize=size, dpi=150, layout="constrained")
    grid = figure.subplots(len(control), len(cases), squeeze=False)
    for column, (title, panels) in enumerate(cases.items()):
        for axes, (label, curves) in zip(grid[:, column], control.items(), strict=True):
            shown: list[float] = []
            for kind, colour in ((curves, GREY), (panels[label], BLUE)):
                for i, (name, values) in enumerate(kind.items()):
                    axes.plot(
                        range(1, len(values) + 1), values, color=colour, linestyle=STYLES[i],
                        linewidth=1.0 if kind is curves else 1.6,
                        label=name if kind is curves else None,
                    )  # fmt: skip
                    shown += filter(math.isfinite, values)
            if (
                label not in linear
                and min(shown, default=0.0) > 0
                and max(shown) > 100 * min(shown)
            ):
                axes.set_yscale("log")
            axes.xaxis.set_major_locator(MaxNLocator(3, integer=True))
            axes.tick_params(labelsize=8)
            axes.set_title(title if label == next(iter(control)) else "", fontsize=11)
            if column == 0:
                axes.set_ylabel(label, fontsize=9)
                axes.legend(frameon=False, fontsize=7)
            _plain(axes)
        grid[-1, column].set_xlabel(x_label, fontsize=9)
    return figure


MARKERS = ("o", "s", "^", "D", "v", "P", "X")


def roofline(
    roofs: Mapping[str, tuple[float, float]],
    operations: Mapping[str, Sequence[tuple[float, float]]],
) -> Figure:
    """What a machine can do at each intensity, and what operations do; both axes logarithmic.

    Args:
        roofs: name to operations a second and bytes a second: a slope that ends in a level.
        operations: name to points; a point is an intensity, in operations per byte, and the
            operations a second that were measured.
    """
    figure = Figure(figsize=(7.4, 4.2), dpi=150, layout="constrained")
    axes = figure.subplots()
    points = [point for several in operations.values() for point in several]
    ridges = [flops / moved for flops, moved in roofs.values()]
    left = min([x for x, _ in points] + ridges) / 2
    right = max([x for x, _ in points] + ridges) * 3
    for i, (name, (flops, moved)) in enumerate(roofs.items()):
        axes.plot(
            [left, flops / moved, right], [left * moved, flops, flops],
            color=COLOURS[i], linestyle=STYLES[i], linewidth=1.6, label=f"roof: {name}",
        )  # fmt: skip
    for i, (name, several) in enumerate(operations.items()):
        axes.plot(
            *zip(*several, strict=True), MARKERS[i % len(MARKERS)],
            color=COLOURS[i % len(COLOURS)], markersize=6, alpha=0.85, label=name,
        )  # fmt: skip
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xlabel("intensity, operations per byte")
    axes.set_ylabel("operations a second")
    axes.legend(frameon=False, fontsize=9, loc="lower right")
    _plain(axes)
    return figure


def long_bars(
    values: Mapping[str, float],
    *,
    x_label: str,
    decimals: int = 2,
    references: Mapping[str, float] | None = None,
) -> Figure:
    """Bars that lie, one below the other, each with its name at the left and its value at the end.

    Args:
        values: name to length, from top to bottom.
        x_label: with unit.
        decimals: of the values.
        references: name to place of a grey vertical line.
    """
    figure = Figure(figsize=(7.4, 0.36 * len(values) + 1.0), dpi=150, layout="constrained")
    axes = figure.subplots()
    drawn = axes.barh(range(len(values)), list(values.values()), color=BLUE, height=0.66)
    axes.bar_label(drawn, fmt=f"%.{decimals}f", padding=3, fontsize=9)
    for name, place in (references or {}).items():
        axes.axvline(place, color=GREY, linewidth=1.0, linestyle="--")
        axes.annotate(
            name, (place, 1), (3, 2), va="bottom", fontsize=9, color=GREY,
            xycoords=axes.get_xaxis_transform(), textcoords="offset points",
        )  # fmt: skip
    axes.set_yticks(range(len(values)), list(values))
    axes.invert_yaxis()
    axes.margins(x=0.12)
    axes.set_xlabel(x_label)
    _plain(axes)
    return figure


def scaling(
    panels: Mapping[str, tuple[Sequence[float], ...]], *, y_label: str, columns: int = 3
) -> Figure:
    """A quantity against several sizes, each in a panel; all axes logarithmic, one y axis for all.

    A dashed line of slope 1 goes through the last median: what grows in proportion lies on it.

    Args:
        panels: label of the x axis to sizes, medians, lowest and highest values, all positive.
        y_label: with units.
        columns: panels side by side.
    """
    rows = math.ceil(len(panels) / columns)
    figure = Figure(figsize=(9.0, 2.6 * rows), dpi=150, layout="constrained")
    grid = figure.subplots(rows, columns, squeeze=False, sharey=True)
    for axes in grid.flat[len(panels) :]:
        axes.set_axis_off()
    for i, (axes, (x_label, series)) in enumerate(zip(grid.flat, panels.items(), strict=False)):
        sizes, medians, lows, highs = series
        below = [median - low for median, low in zip(medians, lows, strict=True)]
        above = [high - median for median, high in zip(medians, highs, strict=True)]
        axes.errorbar(sizes, medians, (below, above), fmt="o-", color=BLUE, markersize=4, capsize=3)
        line = [medians[-1] * size / sizes[-1] for size in sizes]
        axes.plot(sizes, line, color=GREY, linewidth=1.0, linestyle="--")
        axes.set_xscale("log")
        labelled = sizes[:: -2 if len(sizes) > 4 else -1]  # every second one, the last among them
        axes.set_xticks(labelled, [f"{size:,}" for size in labelled], fontsize=9)
        axes.set_xticks([], minor=True)
        axes.set_xlabel(x_label)
        if i % columns == 0:
            axes.set_ylabel(y_label)
        _plain(axes)
    least = min(min(lows) for _, _, lows, _ in panels.values())
    most = max(max(highs) for _, _, _, highs in panels.values())
    grid[0, 0].set_yscale("log")
    grid[0, 0].yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    grid[0, 0].yaxis.set_major_formatter("{x:g}")
    grid[0, 0].yaxis.set_minor_formatter(NullFormatter())
    grid[0, 0].set_ylim(min(least / 1.5, most / 12), most * 1.5)
    return figure


def bar_panels(panels: Mapping[str, Sequence[float]], *, x_label: str) -> Figure:
    """Bars numbered from 1, in panels side by side with scales of their own.

    Args:
        panels: title with unit to heights.
        x_label: what the numbers count.
    """
    figure = Figure(figsize=(3.4 * max(len(panels), 1.4), 2.8), dpi=150, layout="constrained")
    for axes, (title, heights) in zip(_axes(figure, len(panels)), panels.items(), strict=True):
        axes.bar(range(1, len(heights) + 1), heights, 0.8, color=BLUE)
        axes.set_xlim(0.2, len(heights) + 0.8)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.set_title(title, fontsize=11)
        axes.set_xlabel(x_label)
        _plain(axes)
    return figure
