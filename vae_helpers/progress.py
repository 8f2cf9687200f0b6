"""A line that says how far a long computation is and how long it will still take.

In a notebook the line is one display that is updated while it runs and ends as it began, so that
a finished notebook holds nothing that depends on the machine's speed. In a terminal the line is
rewritten in place. Anywhere else nothing is shown.
"""

from __future__ import annotations

import sys
import time
from types import TracebackType
from typing import Any


class Progress:
    """Counts to `total`, as a context manager.

    Args:
        title: what is being done, shown before the count and left standing at the end; nothing
            is shown at all if None.
        total: how many steps there are.
    """

    def __init__(self, title: str | None, *, total: int) -> None:
        self.title = title
        self.total = total
        self.done = 0
        self._first = 0
        self._began = 0.0
        self._handle: Any = None

    def __enter__(self) -> Progress:
        self._began = time.perf_counter()
        if self.title is not None and _in_notebook():
            from IPython.display import display

            self._handle = display({"text/plain": self.title}, raw=True, display_id=True)
        return self

    def skip(self, steps: int) -> None:
        """Some steps turn out not to be needed; they do not enter the estimate."""
        self.done += steps
        self._first += steps

    def note(self, text: str) -> None:
        """Say something that is no step, such as what is being waited for."""
        self._show(f"{self.title}: {text}")

    def step(self, note: str = "") -> None:
        """One more step is done; `note` is shown behind the time that is left."""
        self.done += 1
        each = (time.perf_counter() - self._began) / (self.done - self._first)
        left = each * (self.total - self.done)
        minutes, seconds = divmod(round(left), 60)
        self._show(
            f"{self.title}: {self.done} of {self.total}, {minutes}:{seconds:02} left  {note}"
        )

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._handle is not None:
            self._handle.update({"text/plain": self.title}, raw=True)
        elif self.title is not None and sys.stderr.isatty():
            print(file=sys.stderr)

    def _show(self, line: str) -> None:
        if self._handle is not None:
            self._handle.update({"text/plain": line}, raw=True)
        elif self.title is not None and sys.stderr.isatty():
            print(f"\r\x1b[K{line}", end="", file=sys.stderr, flush=True)


def _in_notebook() -> bool:
    """Whether a Jupyter kernel runs this process (IPython in a terminal has no kernel)."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython else None
    return shell is not None and hasattr(shell, "kernel")
