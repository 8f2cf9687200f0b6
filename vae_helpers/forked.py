"""Kernels that begin at once: forked from a process that has done the imports of all of them.

Importing torch, torchmetrics and matplotlib takes seconds, and every notebook wants a kernel of its
own. Here one process imports them and computes nothing, and each kernel is forked from it: nothing
of a notebook reaches the next. Only Linux forks such a process safely; elsewhere a kernel starts as
Jupyter starts it.
"""

from __future__ import annotations

import multiprocessing
import os
import sys
import threading
from contextlib import suppress
from multiprocessing.connection import Connection
from multiprocessing.context import ForkServerContext, ForkServerProcess
from typing import Any

from jupyter_client.manager import AsyncKernelManager

PRELOADED = (
    "ipykernel.kernelapp",
    "matplotlib.pyplot",
    "scipy.integrate",
    "scipy.stats",
    "sklearn.mixture",
    "torchmetrics.image.fid",
    "torchmetrics.image.kid",
    "torchvision.datasets",
    "vae_helpers.adversarial",
    "vae_helpers.bench",
    "vae_helpers.classifier",
    "vae_helpers.clinic",
    "vae_helpers.evaluation",
    "vae_helpers.figures",
    "vae_helpers.sample_quality",
    "vae_helpers.studies",
    "vae_helpers.training",
)
"""What most notebooks import and what takes long; a notebook imports the rest itself."""


def available() -> bool:
    """Whether kernels can be forked here."""
    return sys.platform == "linux"


def prepare() -> None:
    """Begin with the imports, in a process of its own; the first kernel waits for their end."""
    from multiprocessing import forkserver

    _context().set_forkserver_preload(list(PRELOADED))
    forkserver.ensure_running()


class ForkedKernelManager(AsyncKernelManager):
    """Starts a kernel by a fork of the prepared process, and otherwise does what Jupyter does."""

    async def _async_launch_kernel(self, kernel_cmd: list[str], **given: Any) -> None:
        arguments = kernel_cmd[kernel_cmd.index("-f") :]
        bound, sockets = _context().Pipe(duplex=False)
        process = _context().Process(target=_serve, args=(arguments, sockets))
        process.start()
        sockets.close()
        with bound, suppress(EOFError):  # if it has ended, Jupyter will find out
            bound.recv()  # a client that connects too early waits for a second
        provisioner: Any = self.provisioner
        provisioner.process = _Popen(process)
        provisioner.pid = provisioner.pgid = process.pid  # it leads a group of its own
        self._reconcile_connection_info(provisioner.connection_info)


def _context() -> ForkServerContext:
    return multiprocessing.get_context("forkserver")


def _serve(arguments: list[str], sockets: Connection) -> None:
    """Be a kernel, with nothing of the process that this one was forked from."""
    import numpy
    import torch
    from ipykernel.kernelapp import IPKernelApp

    threading.Thread(target=_end_with_the_course, daemon=True).start()
    os.setsid()  # Ctrl-C is for the command line; and processes that it starts end with it
    sys.path.insert(0, "")
    sys.argv = ["ipykernel_launcher", *arguments]
    sys.modules.pop("__mp_main__", None)
    torch.seed()  # or all kernels would draw the same where a notebook gives no seed
    numpy.random.seed()
    kernel = IPKernelApp.instance()
    kernel.initialize(arguments)
    sockets.send("bound")
    sockets.close()
    kernel.start()


def _end_with_the_course() -> None:
    course = multiprocessing.parent_process()
    assert course is not None
    course.join()  # it ends before its kernels only if it was killed
    os._exit(1)


class _Popen:
    """A process of `multiprocessing` with the methods that Jupyter calls of a `Popen`."""

    stdin = stdout = stderr = None

    def __init__(self, process: ForkServerProcess) -> None:
        self._process = process
        self.pid = process.pid

    def poll(self) -> int | None:
        return self._process.exitcode

    def wait(self) -> int | None:
        self._process.join()
        return self._process.exitcode

    def send_signal(self, number: int) -> None:
        assert self.pid is not None
        os.kill(self.pid, number)

    def terminate(self) -> None:
        self._process.terminate()

    def kill(self) -> None:
        self._process.kill()
