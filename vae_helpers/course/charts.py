"""Charts that serve a single notebook, in the style of `figures`."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from itertools import pairwise

from matplotlib.figure import Figure
from matplotlib.patches import Circle, FancyArrowPatch, FancyBboxPatch
from matplotlib.ticker import MaxNLocator

from vae_helpers.figures import (
    BLUE,
    COLOURS,
    GREEN,
    GREY,
    ORANGE,
    STYLES,
    Curves,
    label_logarithm,
    legend,
    level,
    panels,
    plain,
)

MARKERS = ("o", "s", "^", "D", "v", "P", "X")


def network(widths: Sequence[int], latent_dim: int) -> Figure:
    """A variational autoencoder's layers as bars, its linear maps as shaded trapezoids (04).

    Args:
        widths: of the input and the encoder's hidden layers; the decoder mirrors them.
        latent_dim: numbers in mu, in logvar and in z.
    """
    last = len(widths) - 1
    x_heads, x_z = last + 1.15, last + 2.3
    lift = 0.42  # of mu above the middle, and of logvar below it
    figure, (axes,) = panels([""], size=(8.4, 3.5))

    def half(width: int) -> float:
        return max(math.sqrt(width / max(widths)), 0.1)

    def bar(x: float, width: int, colour: str, name: str = "", y: float = 0.0) -> None:
        end, away = half(width), -1 if y < 0 else 1
        axes.fill_between([x - 0.05, x + 0.05], y - end, y + end, color=colour, linewidth=0)
        axes.annotate(
            f"{name}\n{width}".strip(), (x, y + away * end), (0, 5 * away), ha="center",
            va="bottom" if away > 0 else "top", textcoords="offset points", fontsize=10,
        )  # fmt: skip

    def linear(x: float, to: float, start: int, end: int, colour: str, y: float = 0.0) -> None:
        low, high = [-half(start), y - half(end)], [half(start), y + half(end)]
        axes.fill_between([x + 0.05, to - 0.05], low, high, color=colour, alpha=0.18, linewidth=0)

    mirrored = [x_z + 1 + last - i for i in range(last + 1)]
    for i, (width, narrower) in enumerate(pairwise(widths)):
        linear(i, i + 1, width, narrower, BLUE)
        linear(mirrored[i + 1], mirrored[i], narrower, width, ORANGE)
    linear(x_z, x_z + 1, latent_dim, widths[last], ORANGE)
    for i, width in enumerate(widths):
        bar(i, width, BLUE, "x" if i == 0 else "")
        bar(mirrored[i], width, ORANGE, "logits" if i == 0 else "")
    bar(x_z, latent_dim, GREEN, "z")
    arrow = {"arrowstyle": "-|>", "color": GREEN, "linewidth": 1.4, "shrinkA": 3, "shrinkB": 4}
    for name, y in (("mu", lift), ("logvar", -lift)):
        linear(last, x_heads, widths[last], latent_dim, BLUE, y)
        bar(x_heads, latent_dim, BLUE, name, y)
        axes.annotate("", (x_z - 0.04, 0), (x_heads + 0.06, y), arrowprops=arrow)
    axes.annotate(
        "eps, noise\nfrom N(0, I)", (x_z, -half(latent_dim)), (x_z, -0.8), ha="center", va="top",
        fontsize=10, color=GREEN, arrowprops=arrow,
    )  # fmt: skip
    axes.text(last / 2, -1.28, "encoder", ha="center", color=BLUE, fontsize=11)
    axes.text(x_z + 1 + last / 2, -1.28, "decoder", ha="center", color=ORANGE, fontsize=11)
    axes.set_ylim(-1.4, 1.45)
    axes.set_axis_off()
    return figure


def bound(
    curves: Mapping[str, tuple[Sequence[float], Sequence[float], Sequence[float]]], *, x_label: str
) -> Figure:
    """The ELBO under log p(x), the gap between them shaded, in panels (02).

    Args:
        curves: title of the panel to x values, the ELBO, and ELBO + gap, in nats.
        x_label: what is varied.
    """
    size = (4.2 * max(len(curves), 1.4), 3.2)
    figure, grid = panels(curves, size=size, x_label=x_label, y_label="nats")
    for axes, (x, elbo, total) in zip(grid, curves.values(), strict=True):
        axes.fill_between(x, elbo, total, color=ORANGE, alpha=0.13, linewidth=0)
        axes.plot(x, total, color=ORANGE, linestyle="--", linewidth=1.8)
        axes.plot(x, elbo, color=BLUE, linewidth=1.8)
        peak, low = max(elbo), min(elbo)
        at = elbo.index(low)
        for text, place, shift, colour, ha, va in (
            ("log p(x) = ELBO + gap", (x[0], total[0]), 4, ORANGE, "left", "bottom"),
            ("gap", (x[at], (total[at] + low) / 2), 0, ORANGE, "center", "baseline"),
            ("ELBO", (x[at], low), -4, BLUE, "center", "top"),
        ):
            axes.annotate(
                text, place, (0, shift), color=colour, ha=ha, va=va, fontsize=10,
                textcoords="offset points",
            )  # fmt: skip
        axes.set_ylim(low - 0.15 * (peak - low), total[0] + 0.2 * (peak - low))
    return figure


def graphical_model() -> Figure:
    """The model as a graph: a plate over the images, theta, phi, and q as a dashed arrow (03)."""
    figure, (axes,) = panels([""], size=(5.4, 2.9))
    places = {"z": (0.0, 1.05), "x": (0.0, -0.55), "theta": (2.3, 0.25), "phi": (-2.3, 0.25)}
    radius = {"z": 0.36, "x": 0.36, "theta": 0.05, "phi": 0.05}
    faces = {"z": "white", "x": "#d9d9d9", "theta": "black", "phi": "black"}
    for name, place in places.items():
        axes.add_patch(Circle(place, radius[name], facecolor=faces[name], edgecolor="black"))
    for name, text, shift in (
        ("z", "$z$", (0.0, 0.0)),
        ("x", "$x$", (0.0, 0.0)),
        ("theta", r"$\theta$", (0.25, 0.0)),
        ("phi", r"$\phi$", (-0.25, 0.0)),
    ):
        at = (places[name][0] + shift[0], places[name][1] + shift[1])
        axes.text(*at, text, ha="center", va="center", fontsize=15)

    def arrow(start: tuple[float, float], end: tuple[float, float], q: bool, bend: float) -> None:
        axes.add_patch(
            FancyArrowPatch(
                start, end, arrowstyle="-|>", mutation_scale=13, linewidth=1.5, shrinkA=2,
                shrinkB=2, color=ORANGE if q else BLUE, linestyle="--" if q else "-",
                connectionstyle=f"arc3,rad={bend}",
            )
        )  # fmt: skip

    arrow((0.1, 0.71), (0.1, -0.21), False, 0.0)
    arrow(places["theta"], (0.36, -0.45), False, 0.0)
    arrow((-0.14, -0.22), (-0.14, 0.72), True, -0.3)
    arrow(places["phi"], (-0.36, 0.97), True, 0.0)
    box = FancyBboxPatch(
        (-1.0, -1.05), 2.0, 2.6, boxstyle="round,pad=0,rounding_size=0.12", facecolor="none",
        edgecolor=GREY,
    )  # fmt: skip
    axes.add_patch(box)
    axes.text(0.95, -1.0, "images", ha="right", va="bottom", fontsize=9, color=GREY)
    for at, text, colour in (
        ((1.15, 1.05), "prior $p(z)$ = N(0, I)", "black"),
        ((1.15, -0.75), r"decoder $p_\theta(x|z)$", BLUE),
        ((-1.15, 1.05), r"encoder $q_\phi(z|x)$", ORANGE),
    ):
        away = "left" if at[0] > 0 else "right"
        axes.text(*at, text, ha=away, va="center", fontsize=11, color=colour)
    axes.set(xlim=(-3.2, 3.2), ylim=(-1.15, 1.65), aspect="equal")
    axes.set_axis_off()
    return figure


def training_gaps(
    steps: Sequence[float],
    loss: Sequence[float],
    marginal: Sequence[float],
    *,
    floor: float,
    constant: float,
    zoom: tuple[float, float],
) -> Figure:
    """Minus ELBO over minus log p(x) over the entropy of the data, whole and enlarged (03).

    Args:
        steps: of training.
        loss, marginal: minus ELBO and minus log p(x) at these steps, nats per image.
        floor: entropy of the data; no model is below.
        constant: the loss of the best constant decoder.
        zoom: ends of the y axis in the second panel.
    """
    titles = ("from the first step", "the last tenth of a nat")
    labels = {"x_label": "training step", "y_label": "nats per image"}
    figure, grid = panels(titles, size=(9.2, 3.6), **labels)
    base = [floor] * len(steps)
    for axes in grid:
        axes.fill_between(steps, marginal, loss, color=BLUE, alpha=0.25, linewidth=0)
        axes.fill_between(steps, base, marginal, color=ORANGE, alpha=0.25, linewidth=0)
        axes.plot(steps, loss, color=BLUE, linewidth=1.8, label="minus ELBO (the loss)")
        axes.plot(
            steps, marginal, color=ORANGE, linestyle="--", linewidth=1.8,
            label=r"minus mean log $p_\theta(x)$",
        )  # fmt: skip
        axes.axhline(floor, color="black", linewidth=1.0)
        axes.set_xlim(steps[0], steps[-1])
    left, right = grid
    level(left, "best constant", constant, at="right")
    left.set_ylim(floor - 0.12, loss[0] + 0.05)
    legend(left)
    right.set_ylim(*zoom)
    at = int(len(steps) * 0.8)
    height = zoom[1] - zoom[0]
    right.annotate(
        "mean KL(q || posterior)", (steps[at], (marginal[at] + loss[at]) / 2),
        (steps[at], zoom[0] + 0.66 * height), ha="center", fontsize=9, color=BLUE,
        arrowprops={"arrowstyle": "-", "color": BLUE, "linewidth": 0.8},
    )  # fmt: skip
    right.text(
        0.03 * steps[-1], floor + 0.06 * height, "KL(data || model)", fontsize=9, color=ORANGE
    )
    right.annotate(
        "entropy of the data", (steps[0], floor), (4, -3), va="top", fontsize=9,
        textcoords="offset points",
    )  # fmt: skip
    return figure


def pixels_on(
    curves: Mapping[str, tuple[Sequence[float], Sequence[Sequence[float]]]], *, x_label: str
) -> Figure:
    """The probability of each pixel to be on, its number at its highest point, in panels (03).

    Args:
        curves: title of the panel to x values and the probabilities of each pixel at them.
        x_label: of every panel.
    """
    size = (4.6 * len(curves), 3.0)
    labels = {"x_label": x_label, "y_label": "probability that the pixel is on"}
    figure, grid = panels(curves, size=size, **labels)
    for axes, (x, by_pixel) in zip(grid, curves.values(), strict=True):
        for j, y in enumerate(by_pixel):
            colour = COLOURS[j % len(COLOURS)]
            axes.plot(x, y, color=colour, linestyle=STYLES[j % len(STYLES)], linewidth=1.8)
            top = max(range(len(y)), key=y.__getitem__)
            axes.annotate(
                f"{j + 1}", (x[top], y[top]), (0, 3), ha="center", fontsize=10, color=colour,
                textcoords="offset points",
            )  # fmt: skip
        axes.set_ylim(-0.03, 1.1)
    return figure


def densities(curves: Mapping[str, Curves], *, x_label: str, columns: int = 4) -> Figure:
    """Densities in a grid of small panels with the same axes, the first shaded (03).

    Args:
        curves: title of the panel to its named curves; the names are the same in every panel.
        x_label: with units.
        columns: panels side by side.
    """
    rows = -(-len(curves) // columns)
    size = (2.35 * columns, 1.75 * rows + 0.5)
    figure = Figure(figsize=size, dpi=150, layout="constrained")
    grid = figure.subplots(rows, columns, squeeze=False, sharex=True, sharey=True)
    for axes in grid.flat[len(curves) :]:
        axes.set_axis_off()
    for axes, (title, named) in zip(grid.flat, curves.items(), strict=False):
        for i, (name, (x, y)) in enumerate(named.items()):
            axes.plot(x, y, color=COLOURS[i], linestyle=STYLES[i], linewidth=1.6, label=name)
            if i == 0:
                axes.fill_between(x, 0, y, color=COLOURS[i], alpha=0.18, linewidth=0)
        axes.set_title(title, fontsize=10)
        plain(axes)
    for axes in grid[:, 0]:
        axes.set_ylabel("density")
    for axes in grid[-1]:
        axes.set_xlabel(x_label)
    grid[0, 0].set_ylim(bottom=0)
    handles, names = grid[0, 0].get_legend_handles_labels()
    figure.legend(handles, names, loc="outside upper center", ncols=len(names), frameon=False)
    return figure


def stacked_bars(parts: Mapping[str, Mapping[str, float]], *, x_label: str) -> Figure:
    """Bars that lie, each made of parts that add up, with their sum at the end (03).

    Args:
        parts: name of the bar to name of the part to its length; the same parts in every bar.
        x_label: with units.
    """
    figure, (axes,) = panels([""], size=(7.4, 0.42 * len(parts) + 1.1), x_label=x_label)
    left = [0.0] * len(parts)
    for i, part in enumerate(next(iter(parts.values()))):
        lengths = [bar[part] for bar in parts.values()]
        axes.barh(
            range(len(parts)), lengths, 0.62, left=left, color=COLOURS[i], label=part,
            hatch=("", "///")[i % 2], edgecolor="white", linewidth=0,
        )  # fmt: skip
        left = [start + length for start, length in zip(left, lengths, strict=True)]
    for line, end in enumerate(left):
        axes.annotate(
            f"{end:.3f}", (end, line), (4, 0), va="center", fontsize=9, textcoords="offset points"
        )
    axes.set_yticks(range(len(parts)), list(parts))
    axes.invert_yaxis()
    axes.margins(x=0.12)
    legend(axes)
    return figure


def intervals(
    points: Mapping[str, Mapping[float, tuple[float, float]]],
    *,
    x_label: str,
    log_y: Collection[str] = (),
) -> Figure:
    """A number with its interval at each of a few settings, in panels (06).

    Args:
        points: title of the panel, with a scale of its own, to setting to mean and half-width. The
            settings stand at equal distances.
        x_label: what is set.
        log_y: titles of the panels whose scale is logarithmic; that of the others begins at 0.
    """
    size = (3.4 * max(len(points), 1.4), 3.0)
    figure, grid = panels(points, size=size, x_label=x_label)
    for axes, (title, by_setting) in zip(grid, points.items(), strict=True):
        means, halves = zip(*by_setting.values(), strict=True)
        at = range(len(by_setting))
        axes.errorbar(at, means, halves, fmt="o", color=BLUE, markersize=5, capsize=4)
        axes.set_xticks(at, [f"{setting:g}" for setting in by_setting])
        if title in log_y:
            axes.set_yscale("log")
            label_logarithm(axes.yaxis)
        else:
            axes.set_ylim(bottom=0)
        axes.margins(x=0.1)
    return figure


def forest(differences: Mapping[str, Mapping[str, tuple[float, float]]], *, x_label: str) -> Figure:
    """Differences with their intervals, a line each, in panels one below the other (13).

    Args:
        differences: title of the panel, with a scale of its own, to name to mean and half-width.
            An interval that holds zero is blue, another orange and open.
        x_label: what differs, with unit.
    """
    lengths = [len(by_name) for by_name in differences.values()]
    figure = Figure(figsize=(7.2, 0.26 * sum(lengths) + 1.0), dpi=150, layout="constrained")
    grid = figure.subplots(len(lengths), 1, squeeze=False, height_ratios=lengths)[:, 0]
    for axes, (title, by_name) in zip(grid, differences.items(), strict=True):
        axes.axvline(0, color=GREY, linewidth=0.8)
        for line, (mean, half) in enumerate(by_name.values()):
            holds = abs(mean) <= half
            axes.errorbar(
                mean, line, xerr=half, fmt="o", color=BLUE if holds else ORANGE, markersize=5,
                markerfacecolor=BLUE if holds else "white", capsize=3,
            )  # fmt: skip
        axes.set_yticks(range(len(by_name)), by_name)
        axes.set_ylim(len(by_name) - 0.5, -0.5)
        axes.set_title(title, fontsize=11)
        plain(axes)
    grid[-1].set_xlabel(x_label)
    return figure


def trade_off(points: Mapping[str, tuple[float, float]], *, x_label: str, y_label: str) -> Figure:
    """A curve through named points; the x axis is logarithmic (06).

    Args:
        points: name to x > 0 and y, in the order of the curve.
        x_label, y_label: with units.
    """
    figure, (axes,) = panels([""], size=(6.4, 3.6), x_label=x_label, y_label=y_label)
    axes.plot(*zip(*points.values(), strict=True), color=BLUE, marker="o", linewidth=1.4)
    for name, point in points.items():
        axes.annotate(name, point, (6, 5), textcoords="offset points", fontsize=10)
    axes.set_xscale("log")
    axes.margins(x=0.15, y=0.12)
    return figure


def dots(
    values: Mapping[str, Mapping[str, Sequence[float]]],
    *,
    log_x: Collection[str] = (),
    references: Mapping[str, tuple[str, float]] | None = None,
    width: float = 4.2,
) -> Figure:
    """Every single value as a dot, one line per group, in panels that share their groups (15, 16).

    Args:
        values: label of the x axis to group to values; the groups are the same in every panel.
        log_x: labels of the axes that are logarithmic.
        references: label of the axis to name and place of a grey vertical line.
        width: of a panel, in inches.
    """
    groups = list(next(iter(values.values())))
    size = (width * len(values) + 1.2, 0.27 * len(groups) + 1.0)
    figure, grid = panels([""] * len(values), size=size)
    for i, (axes, (x_label, by_group)) in enumerate(zip(grid, values.items(), strict=True)):
        for line, group in enumerate(groups):
            axes.axhline(line, color=GREY, linewidth=0.4, alpha=0.5)
            height = [line] * len(by_group[group])
            axes.plot(by_group[group], height, "o", color=BLUE, alpha=0.7, markersize=5)
        if x_label in log_x:
            axes.set_xscale("log")
            label_logarithm(axes.xaxis)
        if references and x_label in references:
            level(axes, *references[x_label], at="top")
        axes.set_yticks(range(len(groups)), groups if i == 0 else [""] * len(groups))
        axes.set_ylim(len(groups) - 0.5, -0.5)
        axes.set_xlabel(x_label)
    return figure


def curves_by_seed(
    kinds: Mapping[str, Mapping[str, tuple[Sequence[float], Sequence[Sequence[float]]]]],
    *,
    y_label: str,
    references: Mapping[str, float] | None = None,
) -> Figure:
    """Thin curves, one per run, in one colour for all runs of a kind; both axes logarithmic (16).

    Args:
        kinds: label of the x axis to kinds; a kind is its name, its x values, and the y values of
            each run.
        y_label: with units; it stands at the first panel.
        references: name to height of grey horizontal lines in every panel.
    """
    size = (4.2 * max(len(kinds), 1.4), 3.6)
    figure, grid = panels([""] * len(kinds), size=size, y_label=y_label)
    for axes, (x_label, named) in zip(grid, kinds.items(), strict=True):
        for j, (name, (x, runs)) in enumerate(named.items()):
            for run, y in enumerate(runs):
                axes.plot(
                    x, y, color=COLOURS[j], linestyle=STYLES[j], linewidth=1.1, alpha=0.75,
                    label=None if run else name,
                )  # fmt: skip
        for name, place in (references or {}).items():
            level(axes, name, place, at="left")
        axes.set(xscale="log", yscale="log", xlabel=x_label)
        label_logarithm(axes.xaxis)
        label_logarithm(axes.yaxis)
    lines, names = grid[0].get_legend_handles_labels()
    figure.legend(lines, names, loc="outside upper center", ncols=len(names), frameon=False)
    return figure


def bar_panels(heights: Mapping[str, Sequence[float]], *, x_label: str) -> Figure:
    """Bars numbered from 1, in panels side by side with scales of their own (09).

    Args:
        heights: title of the panel, with unit, to heights.
        x_label: what the numbers count.
    """
    size = (3.4 * max(len(heights), 1.4), 2.8)
    figure, grid = panels(heights, size=size, x_label=x_label)
    for axes, several in zip(grid, heights.values(), strict=True):
        axes.bar(range(1, len(several) + 1), several, 0.8, color=BLUE)
        axes.set_xlim(0.2, len(several) + 0.8)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    return figure


def against_control(
    cases: Mapping[str, Mapping[str, Mapping[str, Sequence[float]]]],
    control: Mapping[str, Mapping[str, Sequence[float]]],
    *,
    x_label: str = "epoch",
    linear: Collection[str] = (),
) -> Figure:
    """A column of small panels for each case, the control's curves in grey behind each (17).

    An axis is logarithmic where what it shows is positive and spans more than a factor of 100.

    Args:
        cases: title of the column to panels; a panel is its label, and named curves, each with one
            value per epoch. Panels and curves have the same names in every case.
        control: panels to curves, by the same names.
        x_label: under the lowest panels.
        linear: labels of the panels whose axis is never logarithmic.
    """
    size = (2.5 * len(cases), 1.6 * len(control) + 0.4)
    figure = Figure(figsize=size, dpi=150, layout="constrained")
    grid = figure.subplots(len(control), len(cases), squeeze=False)
    for column, (title, case) in enumerate(cases.items()):
        for axes, (label, curves) in zip(grid[:, column], control.items(), strict=True):
            shown: list[float] = []
            for kind, colour in ((curves, GREY), (case[label], BLUE)):
                for (name, values), style in zip(kind.items(), STYLES, strict=False):
                    axes.plot(
                        range(1, len(values) + 1), values, color=colour, linestyle=style,
                        linewidth=1.0 if kind is curves else 1.6,
                        label=name if kind is curves else None,
                    )  # fmt: skip
                    shown += filter(math.isfinite, values)
            low, high = min(shown, default=0.0), max(shown, default=0.0)
            if label not in linear and 0 < 100 * low < high:
                axes.set_yscale("log")
            axes.xaxis.set_major_locator(MaxNLocator(3, integer=True))
            axes.tick_params(labelsize=8)
            if column == 0:
                axes.set_ylabel(label, fontsize=9)
                legend(axes, size=7)
            plain(axes)
        grid[0, column].set_title(title, fontsize=11)
        grid[-1, column].set_xlabel(x_label, fontsize=9)
    return figure


def roofline(
    roofs: Mapping[str, tuple[float, float]],
    operations: Mapping[str, Sequence[tuple[float, float]]],
) -> Figure:
    """What a machine can do at each intensity, and what operations do, on logarithmic axes (19).

    Args:
        roofs: name to operations per second and bytes per second: a slope that ends in a level.
        operations: name to points; a point is an intensity, in operations per byte, and the
            operations per second that were measured.
    """
    labels = {"x_label": "intensity, operations per byte", "y_label": "operations per second"}
    figure, (axes,) = panels([""], size=(7.4, 4.2), **labels)
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
    axes.set(xscale="log", yscale="log")
    axes.legend(frameon=False, fontsize=9, loc="lower right")
    return figure


def long_bars(
    values: Mapping[str, float],
    *,
    x_label: str,
    decimals: int = 2,
    references: Mapping[str, float] | None = None,
) -> Figure:
    """Bars that lie, one below the other, each with its name and its value (19).

    Args:
        values: name to length, from top to bottom.
        x_label: with unit.
        decimals: of the values.
        references: name to place of a grey vertical line.
    """
    figure, (axes,) = panels([""], size=(7.4, 0.36 * len(values) + 1.0), x_label=x_label)
    drawn = axes.barh(range(len(values)), list(values.values()), color=BLUE, height=0.66)
    axes.bar_label(drawn, fmt=f"%.{decimals}f", padding=3, fontsize=9)
    for name, place in (references or {}).items():
        level(axes, name, place, at="top")
    axes.set_yticks(range(len(values)), list(values))
    axes.invert_yaxis()
    axes.margins(x=0.12)
    return figure


def scaling(
    series: Mapping[str, tuple[Sequence[float], ...]], *, y_label: str, columns: int = 3
) -> Figure:
    """A quantity against several sizes, each in a panel, on logarithmic axes (19).

    A dashed line of slope 1 goes through the last median: what grows in proportion lies on it.

    Args:
        series: label of the x axis to sizes, medians, lowest and highest values, all positive.
        y_label: with units; one y axis for all panels.
        columns: panels side by side.
    """
    rows = math.ceil(len(series) / columns)
    figure = Figure(figsize=(9.0, 2.6 * rows), dpi=150, layout="constrained")
    grid = figure.subplots(rows, columns, squeeze=False, sharey=True)
    for axes in grid.flat[len(series) :]:
        axes.set_axis_off()
    for axes, (x_label, (sizes, medians, lows, highs)) in zip(
        grid.flat, series.items(), strict=False
    ):
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
        plain(axes)
    for axes in grid[:, 0]:
        axes.set_ylabel(y_label)
    least = min(min(lows) for _, _, lows, _ in series.values())
    most = max(max(highs) for _, _, _, highs in series.values())
    first = grid[0, 0]
    first.set_yscale("log")
    label_logarithm(first.yaxis)
    first.set_ylim(min(least / 1.5, most / 12), most * 1.5)
    return figure


def battery(changes: Mapping[str, Mapping[str, Sequence[float]]]) -> Figure:
    """How measures change with the steps of each damage, in panels of two rows (12).

    Args:
        changes: name of the damage to name of the measure to its change after each step, the first
            of which is none.
    """
    size = (13.0, 6.2)
    figure = Figure(figsize=size, dpi=150, layout="constrained")
    grid = figure.subplots(2, -(-len(changes) // 2), sharey=True).flat
    for axes, (damage, measures) in zip(grid, changes.items(), strict=True):
        axes.set_title(damage.replace("_", " "), fontsize=11)
        plain(axes)
        for j, (name, values) in enumerate(measures.items()):
            axes.plot(
                range(len(values)), values, color=COLOURS[j], linestyle=STYLES[j], linewidth=1.5,
                marker="o", markersize=3, label=name,
            )  # fmt: skip
        axes.axhline(0, color="0.8", linewidth=0.8, zorder=0)
        axes.set_yscale("symlog", linthresh=1)
        axes.set_xticks(range(len(values)))
    legend(next(iter(figure.axes)))
    figure.supxlabel("step of the damage", fontsize=11)
    figure.supylabel("change, in differences between VAE and GAN", fontsize=11)
    return figure
