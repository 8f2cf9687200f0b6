"""What a notebook has found: its parameters, its folder, and the numbers it stands for.

    results = begin("05_training", globals())
    config = results.config(TrainConfig, beta=0.0)    # the other fields from the parameters
    results.check("train_loss_30", value)    # held against its tolerance, recorded
    results.measure("seconds_per_epoch", 2.4, unit="s")    # depends on the machine, recorded
    results.record("parameters", 801_224)    # exact, recorded
    results.observe({"kid": 0.12})    # for studies, recorded without tolerances
    results.series("fcd", {1: 310.2, 30: 41.7})    # a curve, recorded for studies
    results.table("by_beta", {"beta = 1": {"rate": (20.3, 0.2)}})    # read from a study
    results.show(figure, "samples")    # its words stand in captions.toml
    results.export("vae", {"0.weight": ...})    # weights that others than PyTorch shall read

With its own defaults a notebook writes to build/full/, with the smoke profile to build/smoke/, and
with any other parameters to a folder of its own, so that playing with a notebook can never touch
the published results. Only the first two have tolerances.

A cell that is executed again replaces what it recorded before.
"""

from __future__ import annotations

import base64
import hashlib
import io
import json
import math
import platform
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar, overload

from vae_helpers.course import captions, cells, notebooks, tolerances
from vae_helpers.course.cells import CellRun
from vae_helpers.course.tolerances import Tolerance
from vae_helpers.parameters import ParameterError, suggestion
from vae_helpers.store import code_digest
from vae_helpers.store.files import write_whole

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from torch import Tensor

SERIES_COLUMNS = 5  # values of a series in a line of print
ADVICE = (
    "    In changed code, look for that mistake first. In unchanged code, another machine or\n"
    "    version may be the reason: the manual says what to do."
)

Config = TypeVar("Config")


class _Entry(NamedTuple):
    """Something in the results, and the cell that it is from."""

    cell: str
    content: dict[str, Any]


@dataclass
class Results:
    """What one execution of a notebook has shown so far. Made by `begin`.

    Attributes:
        notebook: its name without ending.
        profile: "full", "smoke", or the digest of other parameters.
        folder: where results/, figures/ and weights/ of this profile lie.
        parameters: the values of the notebook's parameters, in their own types.
        code: the digest of the code that the numbers come from.
    """

    notebook: str
    profile: str
    folder: Path
    parameters: Mapping[str, Any]
    code: str
    _tolerances: Mapping[str, Tolerance]
    _cell: Callable[[], CellRun]
    _entries: dict[tuple[str, str], _Entry] = field(default_factory=dict)
    _runs: dict[str, str] = field(default_factory=dict)

    def config(self, kind: type[Config], **overrides: Any) -> Config:
        """A configuration from the notebook's parameters of the same names.

        Args:
            kind: a dataclass, such as `TrainConfig`.
            **overrides: fields whose value is another one than the parameter's.

        Raises:
            ParameterError: the configuration has no such field, or refuses a value.
        """
        known = [field.name for field in fields(kind)]  # type: ignore[arg-type]
        for name in overrides:
            if name not in known:
                raise ParameterError(
                    f"{kind.__name__}: expected names of its fields, got {name!r}"
                    + suggestion(name, known)
                )
        own = {name: value for name, value in self.parameters.items() if name in known}
        return kind(**(own | overrides))

    @overload
    def check(self, name: str, value: float) -> None: ...

    @overload
    def check(self, name: Mapping[str, float]) -> None: ...

    def check(self, name: str | Mapping[str, float], value: float | None = None) -> None:
        """Hold a number, or each of several, against its tolerance, print a line and record it.

        The line shows the tolerance exactly and the value behind a `~`, which `make verify` does
        not compare: two honest runs differ in the value and agree in the line. A value that
        misses its tolerance gives another line, and `make run` and `make verify` fail.

        Raises:
            ToleranceError: tolerances.toml does not know the number, and the parameters are those
                of a profile.
        """
        several = name if isinstance(name, Mapping) else {name: value}
        for one, number in several.items():
            self._check(one, float(number))  # type: ignore[arg-type]

    def _check(self, name: str, value: float) -> None:
        if name not in self._tolerances and self.profile in notebooks.PROFILES:
            raise tolerances.ToleranceError(
                f"{self.notebook}: no entry for {name!r} in report/tolerances.toml"
                + suggestion(name, self._tolerances)
            )
        # another loss has other terms
        it = self._tolerances.get(name, Tolerance(unit="", decimals=2, excludes=""))
        missed = it.misses(value)
        about: dict[str, Any] = {"missed": True} if missed else {}
        self._record(name, value, kind="tolerance", unit=it.unit, low=it.low, high=it.high, **about)
        decimals = it.decimals + missed  # or a value just outside would be shown as the end
        line = f"{name:<28} {_with_unit(f'~{value:.{decimals}f}', it.unit)}"
        if it.interval is None:
            print(f"{line} (no tolerance for these parameters)")
        elif missed:
            print(f"{line}, NOT within {it.interval}: excludes {it.excludes}\n{ADVICE}")
        else:
            print(f"{line}, within {it.interval}")

    def measure(self, name: str, value: float, *, unit: str, decimals: int = 1) -> None:
        """Print and record a number that depends on the machine, together with the machine."""
        self._record(name, float(value), kind="measured", unit=unit)
        print(f"{name:<28} {_with_unit(f'~{value:.{decimals}f}', unit)} on this machine")

    def observe(self, values: Mapping[str, float], *, decimals: int = 3) -> None:
        """Print and record several numbers that studies compare, without tolerances.

        They are printed with a `~`, as they depend on random draws.

        Args:
            values: by name.
            decimals: digits after the point in print.
        """
        for name, value in values.items():
            self._record(name, float(value), kind="observed", unit="")
            print(f"{name:<28} ~{value:.{decimals}f}")

    def record(self, name: str, value: float | str | list[Any], *, unit: str = "") -> None:
        """Print and record something exact: a count, a shape, a checksum, a rounded constant."""
        self._record(name, value, kind="exact", unit=unit)
        number = isinstance(value, (int, float)) and not isinstance(value, bool)
        print(f"{name:<28} {_with_unit(f'{value:,}' if number else f'{value}', unit)}")

    def series(
        self, name: str, values: Mapping[int, float], *, unit: str = "", decimals: int = 2
    ) -> None:
        """Print and record a curve: numbers that belong together, by epoch, dimension or the like.

        They have no tolerances of their own: `check` the ends that matter.

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
        self._record(name, {row: dict(columns) for row, columns in rows.items()}, kind="table")
        columns = list(next(iter(rows.values())))
        lines = {
            row: [f"{m:.{decimals}f} ± {half:.{decimals}f}" for m, half in values.values()]
            for row, values in rows.items()
        }
        widest = max(len(text) for line in lines.values() for text in line)
        width = max(16, widest + 1, *(len(column) + 3 for column in columns))
        margin = max(12, *map(len, rows))
        print(f"{name:<{margin}} " + "".join(f"{column:>{width}}" for column in columns))
        for row, line in lines.items():
            print(f"{row:<{margin}} " + "".join(f"{text:>{width}}" for text in line))

    def show(self, figure: Figure, name: str) -> None:
        """Display a figure with its caption and keep it as PNG, and as SVG if it has no images.

        Args:
            figure: from `vae_helpers.figures` or any matplotlib figure.
            name: of its entry in captions.toml; the files are `<notebook>_<name>.png` and `.svg`.

        Raises:
            CaptionError: captions.toml has no caption or no alternative text for it.
        """
        from IPython.display import display

        path = notebooks.NOTEBOOKS / "captions.toml"
        caption, alt = captions.read(self.notebook, name, self.parameters, path=path)
        files = {"file": f"{self.notebook}_{name}.png"}
        picture = _drawn(figure, "png", metadata={"Software": None})
        write_whole(self.folder / "figures" / files["file"], picture)
        if not any(axes.images for axes in figure.axes):
            files["vector"] = f"{self.notebook}_{name}.svg"
            vector = _drawn(figure, "svg", metadata={"Creator": None, "Date": None})
            write_whole(self.folder / "figures" / files["vector"], vector)
        self._put("figures", name, files | {"caption": caption, "alt": alt})
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
        self._put("weights", name, {"file": file, "sha256": hashlib.sha256(content).hexdigest()})
        count = sum(tensor.numel() for tensor in tensors.values())
        print(f"{name:<28} {count:,} numbers in {file}")

    def _record(self, name: str, value: Any, **about: Any) -> None:
        self._put("values", name, {"value": value, **about})

    def _put(self, kind: str, name: str, content: dict[str, Any]) -> None:
        """Add what the current cell has found, and drop what it found in earlier executions.

        Raises:
            ValueError: another cell, or this execution of the cell, has already used the name.
        """
        cell, run = self._cell()
        if self._runs.get(cell) != run:
            self._entries = {key: it for key, it in self._entries.items() if it.cell != cell}
            self._runs[cell] = run
        if earlier := self._entries.get((kind, name)):
            where = "twice in this cell" if earlier.cell == cell else "by two cells"
            raise ValueError(
                f"{self.notebook}: {name!r} is recorded {where}; give each value, figure and "
                "export its own name. If it has moved here from another cell, execute the cell "
                "with begin(...) again, and those after it"
            )
        self._entries[kind, name] = _Entry(cell, content)
        self._save()

    def _save(self) -> None:
        """Write results/<notebook>.json anew, whole: numbers that are not finite become null."""
        content = {
            "notebook": self.notebook,
            "profile": self.profile,
            "parameters": self.parameters,
            "code": self.code,
            "machine": _machine(),
        } | {
            kind: {
                name: {key: _finite(value) for key, value in it.content.items()}
                for (of, name), it in self._entries.items()
                if of == kind
            }
            for kind in ("values", "figures", "weights")
        }
        path = self.folder / "results" / f"{self.notebook}.json"
        write_whole(path, json.dumps(content, indent=1, ensure_ascii=False) + "\n")


def begin(
    notebook: str,
    namespace: Mapping[str, Any],
    *,
    cell: Callable[[], CellRun] = cells.current,
) -> Results:
    """Start a notebook's results with the values that its parameters have now.

    Args:
        notebook: the file's name without ending, such as "05_training".
        namespace: where the parameters are found by their names: `globals()` in a notebook.
        cell: says which execution of which cell calls.

    Raises:
        ParameterError: a parameter is missing, has the wrong type or is out of range; the message
            names it.
        CodeDigestError, SourceChangedError: as in `code_digest.of_notebook`.
    """
    known = notebooks.defaults(notebook)
    for name in known:
        if name not in namespace:
            raise ParameterError(
                f"{notebook}: parameter {name!r}: expected a value, found none; execute the cell "
                "with the parameters first, and begin with globals()"
            )
    values = {name: notebooks.check(name, namespace[name]) for name in known}
    profile = notebooks.profile_of(notebook, values)
    found = tolerances.read(notebook, profile, path=tolerances.TOLERANCES)
    code = code_digest.of_notebook(notebook, code_digest.words_among(values))
    results = Results(notebook, profile, notebooks.BUILD / profile, values, code, found, cell)
    results._save()
    held = "held against its tolerance" if profile in notebooks.PROFILES else "only shown"
    print(f"{notebook}, profile {profile}: every number is {held}")
    return results


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
    torch: Any = sys.modules.get("torch")  # a course may do without it
    return {
        "processor": platform.machine(),
        "gpu": torch.cuda.get_device_name() if torch and torch.cuda.is_available() else None,
        "threads": torch.get_num_threads() if torch else None,
        "python": platform.python_version(),
        "torch": torch.__version__ if torch else None,
        "date": datetime.now(UTC).date().isoformat(),
    }
