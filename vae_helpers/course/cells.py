"""Which cell of a notebook is being executed, so that executing it again replaces what it said."""

from __future__ import annotations

import sys
from typing import Any, NamedTuple


class CellRun(NamedTuple):
    """One execution of one cell.

    Attributes:
        cell: the same whenever this cell is executed.
        run: of this execution alone.
    """

    cell: str
    run: str


def current() -> CellRun:
    """The execution that this code is part of.

    JupyterLab, Notebook 7 and VS Code send a cell's id along with its code. papermill, nbclient
    and nbval do not, but they execute every cell once, so there every execution is a cell of its
    own. Outside a kernel everything is one execution of one cell.
    """
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython else None
    kernel = getattr(shell, "kernel", None)
    request: dict[str, Any] = kernel.get_parent() if kernel else {}
    run = request.get("header", {}).get("msg_id", "")
    return CellRun(request.get("metadata", {}).get("cellId") or run, run)
