"""Kernels that begin at once: forked from a process that has done the imports of all of them.

It computes nothing, and every notebook has a kernel of its own: nothing of one reaches the next.
Only Linux forks such a process safely; elsewhere, and outside of `forked`, Jupyter starts kernels.
"""

from __future__ import annotations

import atexit
import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any
from weakref import WeakSet

from vae_helpers import COURSE, PROJECT
from vae_helpers.course.sockets import SocketProvisioner

PRELOADED = (
    *("ipykernel.kernelapp", "matplotlib.pyplot", "scipy.integrate", "scipy.stats"),
    *("sklearn.mixture", "threadpoolctl", "torchmetrics.image.kid", "torchvision.datasets"),
    *("vae_helpers.benchmarks.speed", "vae_helpers.mistakes.lab", "vae_helpers.course.results"),
)  # what most notebooks import and what takes long
_context: Any = multiprocessing.get_context("forkserver" if sys.platform == "linux" else None)
_forking = False


@contextmanager
def forked() -> Iterator[None]:
    """Kernels that this process starts inside are forked; the imports begin at once."""
    global _forking
    _forking = sys.platform == "linux" and COURSE == PROJECT  # another course imports other things
    if _forking:
        from multiprocessing import forkserver

        forkserver.set_forkserver_preload(list(PRELOADED))
        handler = signal.signal(signal.SIGINT, signal.SIG_IGN)  # it is not Ctrl-C's business
        forkserver.ensure_running()
        signal.signal(signal.SIGINT, handler)
    try:
        yield
    finally:
        _forking = False


_started: WeakSet[ForkingProvisioner] = WeakSet()


def kill_all() -> None:
    """End all kernels of this process at once, in whatever thread they are waited for."""
    for provisioner in list(_started):
        if (process := provisioner.process) is not None and process.poll() is None:
            process.kill()


class ForkingProvisioner(SocketProvisioner):
    """Starts a kernel by a fork of the prepared process, and otherwise does what Jupyter does."""

    async def launch_kernel(self, cmd: list[str], **given: Any) -> Any:
        """Fork, and wait until the kernel listens: a client that is too early waits for long."""
        _started.add(self)
        if not _forking:
            return await super().launch_kernel(cmd, **given)
        bound, sockets = _context.Pipe(duplex=False)
        about = (cmd[cmd.index("-f") :], given["env"], given.get("cwd") or os.getcwd(), sockets)
        kernel: Any = _Kernel(target=_serve, args=about)
        kernel.start()
        self.process = kernel  # only now: another thread may kill whatever is named here
        sockets.close()
        with bound, suppress(EOFError):  # it is closed in any case, and nothing is sent
            bound.recv()
        self.pid = self.pgid = self.process.pid  # it leads a group of its own
        return self.connection_info


class _Kernel(_context.Process):  # type: ignore[misc]
    """A process of `multiprocessing` with what Jupyter asks of a `Popen`."""

    stdin = stdout = stderr = None
    wait = _context.Process.join

    def poll(self) -> int | None:
        return self.exitcode  # type: ignore[no-any-return]

    def send_signal(self, number: int) -> None:
        """Asked for where its group is gone: it has ended, and this process does not know yet."""
        os.kill(self.pid, number)


def _serve(arguments: list[str], env: dict[str, str], folder: str, sockets: Any) -> None:
    """Be a kernel, with nothing of the process that this one was forked from."""
    import numpy
    import torch
    from ipykernel.kernelapp import IPKernelApp
    from threadpoolctl import threadpool_limits

    course: Any = multiprocessing.parent_process()  # ends before its kernels only if it was killed
    if not course.is_alive():
        return
    threading.Thread(target=lambda: (course.join(), os._exit(1)), daemon=True).start()
    os.setsid()  # Ctrl-C is for the command line; and processes that it starts end with it
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(env)
    if threads := env.get("OMP_NUM_THREADS"):  # the libraries have read that variable already
        threadpool_limits(int(threads))
        torch.set_num_threads(int(threads))
    torch.seed()  # or all kernels would draw the same where a notebook gives no seed
    numpy.random.seed()
    kernel = IPKernelApp.instance()
    kernel.initialize(arguments)
    kernel.shell.enable_matplotlib("inline")  # matplotlib has chosen its backend already, too
    sockets.close()  # it is bound
    kernel.start()
    atexit._run_exitfuncs()  # such as temporary folders'; a process of multiprocessing has none
