"""Kernels that are talked to through files: two of them can never want the same port.

jupyter_client chooses five free ports, and the kernel binds them a second later; of two processes
that start kernels at that moment, one may lose ("Address already in use"). Jupyter finds the class
below by the entry point in pyproject.toml, in every process whose environment names it.
"""

from __future__ import annotations

import os
import shutil
import tempfile
import weakref
from collections.abc import Callable
from importlib.metadata import entry_points
from typing import Any

import zmq
from jupyter_client.provisioning.local_provisioner import LocalProvisioner

NAME = "vae-helpers"
VARIABLE = "JUPYTER_DEFAULT_PROVISIONER_NAME"
LONGEST = 80
"""Bytes of a folder whose sockets have a path that every system accepts; Linux takes 107 in all,
macOS 103."""


def environment() -> dict[str, str]:
    """What an environment must say so that kernels that are started in it are of this kind.

    Nothing, if the package was not installed: then Jupyter starts them as it always does.
    """
    known = entry_points(group="jupyter_client.kernel_provisioners", name=NAME)
    return {VARIABLE: NAME} if known else {}


class SocketProvisioner(LocalProvisioner):
    """Starts a kernel as Jupyter does, with sockets in a folder of their own, if there are such."""

    _remove: Callable[[], object] | None = None

    async def pre_launch(self, **given: Any) -> dict[str, Any]:
        """Choose the sockets, before the ports would be."""
        manager: Any = self.parent
        if self._remove is None and manager is not None and zmq.has("ipc"):
            folder = new_folder()
            self._remove = weakref.finalize(self, shutil.rmtree, folder, ignore_errors=True)
            manager.transport, manager.ip = "ipc", os.path.join(folder, "kernel")
        arguments: dict[str, Any] = await super().pre_launch(**given)
        return arguments

    async def cleanup(self, restart: bool = False) -> None:
        """Remove the sockets with their folder, unless the kernel starts again."""
        await super().cleanup(restart=restart)
        if self._remove is not None and not restart:
            self._remove()
            self._remove = None


def new_folder() -> str:
    """A new folder with a path that is short enough, where temporary files go if possible."""
    folder = tempfile.mkdtemp(prefix="vae-")
    if len(os.fsencode(folder)) <= LONGEST:
        return folder
    os.rmdir(folder)
    return tempfile.mkdtemp(prefix="vae-", dir="/tmp")
