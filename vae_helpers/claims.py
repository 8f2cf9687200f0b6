"""A notebook's lesson: its parameters, its folder, and the numbers it stands for.

    lesson = begin("04_training", epochs=epochs, beta=beta, seed=seed)
    lesson.check("train_loss_30", value)    # held against its band, recorded
    lesson.measure("seconds_per_epoch", 2.4, unit="s")    # depends on the machine, recorded
    lesson.record("parameters", 801_224)    # exact, recorded
    lesson.series("fcd", {1: 310.2, 30: 41.7})    # a curve, recorded for studies
    lesson.table("by_beta", {"beta = 1": {"rate": (20.3, 0.2)}})    # read from a study
    lesson.show(figure, "samples", caption=..., alt=...)
    lesson.export("vae", {"0.weight": ...})    # weights that others than PyTorch shall read

A lesson with the notebook's own defaults writes to build/full/, with the smoke profile to
build/smoke/, and with any other parameters to a folder of its own, so that playing with a notebook
can never touch the published results. Only the first two have bands.
"""

from __future__ import annotations

import ast
import base64
import hashlib
import io
import json
import math
import platform
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vae_helpers import PROJECT, bands, parameters
from vae_helpers.bands import Band
from vae_helpers.files import write_whole
from vae_helpers.parameters import ParameterError, suggestion

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from torch import Tensor

NOTEBOOKS = PROJECT / "notebooks"
BUILD = PROJECT / "build"
KEPT: Path | None = None
"""Where the measurements of the lesson that has begun are kept (`kept`); nowhere if None."""

SMOKE: Mapping[str, Any] = {
    "epochs": 2,
    "compare_epochs": 1,
    "train_images": 3_000,
    "test_images": 1_000,
    "generated_images": 1_000,
    "likelihood_images": 100,
    "num_samples": 5,
}
"""The smoke profile: every notebook takes those of the parameters that it has."""


SERIES_COLUMNS = 5  # values of a series in a line of print


class MissedBandError(AssertionError):
    """A number of the course is not where it must be."""


@dataclass
class Lesson:
    """What one execution of a notebook has shown so far. Made by `begin`.

    Attributes:
        notebook: its name without ending.
        profile: "full", "smoke", or the digest of other parameters.
        folder: where results/, figures/ and weights/ of this profile lie.
    """

    notebook: str
    profile: str
    folder: Path
    parameters: Mapping[str, Any]
    _bands: Mapping[str, Band]
    _values: dict[str, dict[str, Any]] = field(default_factory=dict)
    _figures: dict[str, dict[str, str]] = field(default_factory=dict)
    _weights: dict[str, dict[str, str]] = field(default_factory=dict)

    def check(self, name: str, value: float) -> None:
        """Hold a number against its band, print one line and record it.

        The line shows the band exactly and the value behind a `~`, which `make verify` does not
        compare: two honest runs differ in the value and agree in the line.

        Raises:
            MissedBandError: the value is outside its band, or not finite.
            BandError: bands.toml does not know the number.
        """
        if name not in self._bands:
            raise bands.BandError(
                f"{self.notebook}: no entry for {name!r} in report/bands.toml"
                + suggestion(name, self._bands)
            )
        band, value = self._bands[name], float(value)
        self._record(name, value, kind="banded", unit=band.unit, low=band.low, high=band.high)
        shown = _with_unit(f"~{value:.{band.decimals}f}", band.unit)
        if band.low is None or band.high is None:
            return print(f"{name:<28} {shown} (no band for these parameters)")
        interval = f"{band.low:.{band.decimals}f} to {band.high:.{band.decimals}f}"
        if not band.low <= value <= band.high:
            raise MissedBandError(
                f"{name}: expected {interval} {band.unit}, got {value:.{band.decimals + 1}f}. "
                f"The band excludes: {band.excludes}. If the change is meant, `make bands` "
                "measures it anew"
            )
        return print(f"{name:<28} {shown}, in the band {interval}")

    def measure(self, name: str, value: float, *, unit: str, decimals: int = 1) -> None:
        """Print and record a number that depends on the machine, together with the machine."""
        self._record(name, float(value), kind="measured", unit=unit)
        print(f"{name:<28} {_with_unit(f'~{value:.{decimals}f}', unit)} on this machine")

    def record(self, name: str, value: float | str | list[Any], *, unit: str = "") -> None:
        """Print and record something exact: a count, a shape, a checksum, a rounded constant."""
        self._record(name, value, kind="exact", unit=unit)
        number = isinstance(value, (int, float)) and not isinstance(value, bool)
        print(f"{name:<28} {_with_unit(f'{value:,}' if number else f'{value}', unit)}")

    def series(
        self, name: str, values: Mapping[int, float], *, unit: str = "", decimals: int = 2
    ) -> None:
        """Print and record a curve: numbers that belong together, by epoch, dimension or the like.

        They have no bands of their own: `check` the ends that matter.

        Args:
            name: of the curve.
            values: whole number (where) to value.
            unit: of the values.
            decimals: digits after the point in print.
        """
        numbers = [float(value) for value in values.values()]
        self._record(name, numbers, kind="series", at=list(values), unit=unit)
        shown = [f"{at}: ~{value:.{decimals}f}" for at, value in values.items()]
        for i in range(0, len(shown), SERIES_COLUMNS):
            head = name if i == 0 else ""
            last = i + SERIES_COLUMNS >= len(shown)
            line = "  ".join(shown[i : i + SERIES_COLUMNS])
            print(f"{head:<28} {_with_unit(line, unit if last else '')}")

    def table(
        self,
        name: str,
        rows: Mapping[str, Mapping[str, tuple[float, float]]],
        *,
        decimals: int = 2,
    ) -> None:
        """Print and record a table of means with the half-widths of their intervals.

        It is for numbers that are read from a committed study: they do not depend on this
        execution, so they are printed without a `~` and compared.

        Args:
            name: of the table; it stands above the names of the rows.
            rows: name of the row, name of the column: mean and half-width.
            decimals: digits after the point in print.
        """
        self._record(name, {row: dict(cells) for row, cells in rows.items()}, kind="table")
        columns = list(next(iter(rows.values())))
        lines = {
            row: [f"{m:.{decimals}f} ± {half:.{decimals}f}" for m, half in cells.values()]
            for row, cells in rows.items()
        }
        widest = max(len(cell) for line in lines.values() for cell in line)
        width = max(16, widest + 1, *(len(column) + 3 for column in columns))
        margin = max(12, *map(len, rows))
        print(f"{name:<{margin}} " + "".join(f"{column:>{width}}" for column in columns))
        for row, line in lines.items():
            print(f"{row:<{margin}} " + "".join(f"{cell:>{width}}" for cell in line))

    def show(self, figure: Figure, name: str, *, caption: str, alt: str) -> None:
        """Display a figure with its caption and keep it as PNG, and as SVG if it has no images.

        Args:
            figure: from `vae_helpers.figures` or any matplotlib figure.
            name: the files are `<notebook>_<name>.png` and `.svg`.
            caption: what is shown; compared by `make verify`, so without measured numbers.
            alt: for those who cannot see it: what the figure shows and what it says.
        """
        if not caption.strip() or len(alt) < 40:
            raise ValueError(
                f"{name}: expected a caption, and an alt text that states the finding, got "
                f"{caption!r} and {alt!r}"
            )
        from IPython.display import display

        files = {"file": f"{self.notebook}_{name}.png"}
        picture = _drawn(figure, "png", metadata={"Software": None})
        write_whole(self.folder / "figures" / files["file"], picture)
        if not any(axes.images for axes in figure.axes):
            files["vector"] = f"{self.notebook}_{name}.svg"
            vector = _drawn(figure, "svg", metadata={"Creator": None, "Date": None})
            write_whole(self.folder / "figures" / files["vector"], vector)
        self._figures[name] = files | {"caption": caption, "alt": alt}
        self._save()
        display(
            {"image/png": base64.b64encode(picture).decode(), "text/plain": f"<{name}>"},
            metadata={"image/png": {"alt": alt}},
            raw=True,
        )
        display({"text/markdown": f"*{caption}*", "text/plain": caption}, raw=True)

    def export(self, name: str, tensors: Mapping[str, Tensor]) -> None:
        """Keep tensors as safetensors, for those who read them without this package.

        The results get the file's SHA-256: whoever reads the file can tell whether it belongs to
        the numbers beside it.

        Args:
            name: the file is weights/`<notebook>_<name>.safetensors`.
            tensors: name to tensor, on any device.
        """
        from safetensors.torch import save

        file = f"{self.notebook}_{name}.safetensors"
        content = save({key: tensor.cpu().contiguous() for key, tensor in tensors.items()})
        write_whole(self.folder / "weights" / file, content)
        self._weights[name] = {"file": file, "sha256": hashlib.sha256(content).hexdigest()}
        self._save()
        count = sum(tensor.numel() for tensor in tensors.values())
        print(f"{name:<28} {count:,} numbers in {file}")

    def _record(self, name: str, value: Any, **about: Any) -> None:
        if name in self._values:
            raise ValueError(f"{self.notebook}: {name!r} is recorded twice; give each its own name")
        self._values[name] = {"value": value, **about}
        self._save()

    def _save(self) -> None:
        """Write results/<notebook>.json anew, whole: numbers that are not finite become null."""
        content = {
            "notebook": self.notebook,
            "profile": self.profile,
            "parameters": self.parameters,
            "machine": _machine(),
            "values": {
                name: {key: _finite(entry) for key, entry in value.items()}
                for name, value in self._values.items()
            },
            "figures": self._figures,
            "weights": self._weights,
        }
        path = self.folder / "results" / f"{self.notebook}.json"
        write_whole(path, json.dumps(content, indent=1, ensure_ascii=False) + "\n")


def begin(notebook: str, **given: Any) -> Lesson:
    """Start a notebook's lesson with the values that its parameters have now.

    Args:
        notebook: the file's name without ending, such as "04_training".
        **given: every parameter of the notebook's tagged cell, by its name.

    Raises:
        ParameterError: a value has the wrong type or is out of range (the message names it), or
            the names are not those of the parameters cell.
    """
    known = defaults(notebook)
    for name in sorted(given.keys() ^ known.keys()):
        raise ParameterError(f"{notebook}: parameter {name!r} is only on one side of begin()")
    values = {name: parameters.check(name, value) for name, value in given.items()}
    profile = profile_of(notebook, values)
    lesson = Lesson(
        notebook, profile, BUILD / profile, values, bands.read(notebook, profile, path=bands.BANDS)
    )
    lesson._save()
    global KEPT
    KEPT = BUILD / "kept" if profile == "full" else None
    held = "held against its band" if profile in ("full", "smoke") else "shown without a band"
    print(f"lesson {notebook}, profile {profile}: every number is {held}")
    return lesson


def profile_of(notebook: str, values: Mapping[str, Any]) -> str:
    """ "full" for the notebook's defaults, "smoke" for the smoke profile, else a digest."""
    known = {name: parameters.check(name, value) for name, value in defaults(notebook).items()}
    if dict(values) == known:
        return "full"
    if dict(values) == {name: SMOKE.get(name, value) for name, value in known.items()}:
        return "smoke"
    text = json.dumps([notebook, dict(values)], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def defaults(notebook: str) -> dict[str, Any]:
    """The parameters of a notebook with their default values, read from its tagged cell.

    Raises:
        ParameterError: there is no such notebook, or no cell tagged `parameters` in it.
    """
    known = {path.stem: path for path in sorted(NOTEBOOKS.glob("*.ipynb"))}
    if notebook not in known:
        raise ParameterError(f"unknown notebook {notebook!r}{suggestion(notebook, known)}")
    path = known[notebook]
    for cell in json.loads(path.read_text())["cells"]:
        if "parameters" in cell["metadata"].get("tags", []):
            return dict(map(_assignment, ast.parse("".join(cell["source"])).body))
    raise ParameterError(f"{path.name}: expected a cell tagged 'parameters', found none")


def _assignment(statement: ast.stmt) -> tuple[str, Any]:
    if not isinstance(statement, ast.AnnAssign) or statement.value is None:
        raise ParameterError(
            f"parameters cell: expected lines such as `epochs: int = 30`, "
            f"got `{ast.unparse(statement)}`"
        )
    return ast.unparse(statement.target), ast.literal_eval(statement.value)


def _with_unit(shown: str, unit: str) -> str:
    return f"{shown} {unit}" if unit else shown


def _finite(value: Any) -> Any:
    if isinstance(value, list):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _drawn(figure: Figure, kind: str, *, metadata: Mapping[str, None]) -> bytes:
    """A figure as a file of this kind, the same bytes whenever it is drawn."""
    import matplotlib as mpl

    buffer = io.BytesIO()
    with mpl.rc_context({"svg.hashsalt": "the same names in every file"}):
        figure.savefig(buffer, format=kind, metadata=dict(metadata))
    return buffer.getvalue()


def _machine() -> dict[str, Any]:
    import torch

    return {
        "processor": platform.machine(),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "threads": torch.get_num_threads(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "date": datetime.now(UTC).date().isoformat(),
    }
