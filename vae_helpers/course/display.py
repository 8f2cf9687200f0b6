"""What a terminal shows while notebooks are executed: a line for each that is under way.

    15_gan           cell 14 of 31  epochs 1 to 30: 12 of 30, 1:02 left  d_loss 1.1
    05_training      cell  9 of 40  epochs 1 to 30: 21 of 30, 0:16 left  train_bce 84.1
    2 of 22 notebooks done, about 3:10 left

Where the output is no terminal, only the beginnings and ends of notebooks are printed.
"""

from __future__ import annotations

import shutil
import sys
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

from papermill.clientwrap import PapermillNotebookClient
from papermill.engines import Engine, papermill_engines

ENGINE = "course"
"""papermill's name for the engine below, which takes a `Tell`."""

Tell = Callable[[int, int, str], object]
"""Told of a notebook under way: the cell, of how many, and what it shows of its progress."""


class Display:
    """The lines, as a context manager.

    Args:
        weights: of the notebooks by name, about how long each of them takes.
    """

    def __init__(self, weights: Mapping[str, float]) -> None:
        self._weights = dict(weights)
        self._lines: dict[str, str] = {}  # of those under way
        self._done: dict[str, float] = {}  # 1 for each notebook that is done, a share before
        self._began = time.perf_counter()
        self._height = 0
        self._live = sys.stderr.isatty()
        self._lock = threading.Lock()

    def __enter__(self) -> Display:
        return self

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._erase()

    def say(self, text: str) -> None:
        """Print a line that stays."""
        with self._lock:
            self._erase()
            print(text, flush=True)
            self._draw()

    def at(self, name: str, cell: int, cells: int, note: str = "") -> None:
        """Say where a notebook is."""
        with self._lock:
            self._done[name] = cell / cells
            self._lines[name] = f"{name:22}cell {cell:2} of {cells}  {note}"
            self._erase()
            self._draw()

    def done(self, name: str) -> None:
        """A notebook has come to its end."""
        with self._lock:
            self._done[name] = 1
            self._lines.pop(name, None)

    def left(self) -> str:
        """About how long the rest will take at the pace so far."""
        done = sum(share * self._weights[name] for name, share in self._done.items())
        share = done / sum(self._weights.values())
        taken = time.perf_counter() - self._began
        if share < 0.05:
            return ""
        minutes, seconds = divmod(round(taken * (1 - share) / share), 60)
        return f", about {minutes}:{seconds:02} left"

    def _erase(self) -> None:
        if self._height:
            print(f"\x1b[{self._height}A\x1b[J", end="", file=sys.stderr, flush=True)
        self._height = 0

    def _draw(self) -> None:
        if not self._live or not self._lines:
            return
        done = sum(share == 1 for share in self._done.values())
        summary = f"{done} of {len(self._weights)} notebooks done{self.left()}"
        width = shutil.get_terminal_size().columns - 1
        lines = [line[:width] for line in [*self._lines.values(), summary]]
        print("\n".join(lines), file=sys.stderr, flush=True)
        self._height = len(lines)


class _Client(PapermillNotebookClient):  # type: ignore[misc]
    """Tells which cell is executed, and the progress lines that it shows."""

    def __init__(self, nb_man: Any, tell: Tell, **given: Any) -> None:
        super().__init__(nb_man, **given)
        self._tell = tell

    def process_message(self, msg: Any, cell: Any, cell_index: int) -> Any:
        note = ""
        if msg["msg_type"] == "update_display_data":
            note = msg["content"]["data"].get("text/plain", "").partition("\n")[0]
        self._tell(cell_index + 1, len(self.nb.cells), note)
        return super().process_message(msg, cell, cell_index)


class _Engine(Engine):  # type: ignore[misc]
    """papermill's own engine, with such a client."""

    @classmethod
    def execute_managed_notebook(
        cls, nb_man: Any, kernel_name: str, *, tell: Tell, start_timeout: int = 60, **given: Any
    ) -> None:
        del given["input_path"]
        _Client(
            nb_man, tell, kernel_name=kernel_name, startup_timeout=start_timeout, **given
        ).execute()


papermill_engines.register(ENGINE, _Engine)
