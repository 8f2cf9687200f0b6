"""A plugin of pytest: nbval's comparison with notebooks that are executed already.

    pytest -p nbval.plugin -p replay --executed build/full/notebooks notebooks/*.ipynb

nbval asks a kernel to execute each cell, reads what it sends, and compares. Here the kernel is a
`Replay`, which sends what the executed notebook of the same name holds. Everything else is nbval's.
"""

from __future__ import annotations

from collections import deque
from pathlib import Path
from typing import Any

import nbformat
from nbval.plugin import IPyNbFile


class Replay:
    """What nbval needs of a kernel, from the outputs of an executed notebook."""

    def __init__(self, notebook: Any) -> None:
        self._cells = (cell for cell in notebook.cells if cell.cell_type == "code")
        self._messages: deque[dict[str, Any]] = deque()

    def execute_cell_input(self, source: str, *, allow_stdin: bool) -> int:
        """Take the next cell of this source: nbval leaves out cells that ask to be skipped."""
        cell = next(it for it in self._cells if it.source == source)
        said = [(output.output_type, output) for output in cell.outputs]
        self._messages.clear()
        for kind, content in [*said, ("status", {"execution_state": "idle"})]:
            header = {"msg_id": id(cell)}
            self._messages.append({"msg_type": kind, "content": content, "parent_header": header})
        return id(cell)

    def get_message(self, stream: str, *, timeout: float) -> dict[str, Any]:
        return self._messages.popleft()

    def is_alive(self) -> bool:
        return True

    def await_reply(self, *_: object, **__: object) -> None:
        """There is nothing to wait for."""

    await_idle = stop = await_reply


class Executed(IPyNbFile):
    """A committed notebook, with an executed one in the place of its kernel."""

    def setup(self) -> None:
        folder = Path(self.config.getoption("--executed"))
        self.kernel = Replay(nbformat.read(folder / self.path.name, as_version=4))
        self.setup_sanitize_files()


def pytest_addoption(parser: Any) -> None:
    parser.addoption("--executed", required=True, help="the folder of the executed notebooks")


def pytest_collect_file(file_path: Path, parent: Any) -> Executed | None:
    return Executed.from_parent(parent, path=file_path) if file_path.suffix == ".ipynb" else None
