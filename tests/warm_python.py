"""Python processes that begin at once, for tests of what another process does.

torch takes two seconds to import, and three more when the first optimiser is made. A server does
both once and forks a process for every piece of code; none of our modules is loaded in it yet. Its
hash seed is another one than ours, and root's right to write anywhere is taken from it.
"""

import atexit
import os
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import types
from multiprocessing.connection import Connection
from pathlib import Path

AS_A_USER = (
    ["setpriv", "--bounding-set=-dac_override,-dac_read_search,-fowner"]
    if os.geteuid() == 0 and shutil.which("setpriv")
    else []
)
"""Root may write anywhere; without these capabilities only where the permission bits say so."""


class WarmPython:
    """Runs code as `python -c` does, in forks of a process that has imported torch."""

    def __init__(self):
        self._folder = tempfile.TemporaryDirectory()
        self._address = str(Path(self._folder.name) / "socket")
        self._server = subprocess.Popen(
            [*AS_A_USER, sys.executable, __file__, self._address],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, "PYTHONHASHSEED": "7", "OMP_NUM_THREADS": "1"},
        )

    def start(self, code, *arguments, folder, env=None):
        """A process in a folder, with `env` in place of our environment."""
        if not self._server.stdout.closed:
            assert self._server.stdout.readline() == b"it listens\n"
            self._server.stdout.close()
        job = {"code": code, "arguments": [*map(str, arguments)], "folder": str(folder)}
        return WarmProcess(self._address, {**job, "env": dict(os.environ if env is None else env)})

    def run(self, code, *arguments, folder, env=None):
        """What such a process has written when it has ended, as of `subprocess.run`."""
        return self.start(code, *arguments, folder=folder, env=env).end()

    def close(self):
        """End the server; what it has started goes on."""
        self._server.stdin.close()
        self._server.wait()
        self._server.stdout.close()
        self._folder.cleanup()


class WarmProcess:
    """A process that has begun; `end` must be called."""

    def __init__(self, address, job):
        self._job, self._written = job, tempfile.TemporaryDirectory()
        self._files = [Path(self._written.name) / name for name in ("out", "err")]
        for path in self._files:
            path.touch()
        client = socket.socket(socket.AF_UNIX)
        client.connect(address)
        self._connection = Connection(client.detach())
        self._connection.send({**job, "files": [*map(str, self._files)]})
        self.pid = self._connection.recv()

    def end(self, timeout=120):
        """Wait for it, and return what it has written."""
        with self._written, self._connection:
            if not self._connection.poll(timeout):
                os.kill(self.pid, signal.SIGKILL)
            status = self._connection.recv()
            out, err = (path.read_text(encoding="utf-8") for path in self._files)
        return subprocess.CompletedProcess(self._job["arguments"], status, out, err)


def next_job(address):
    """Fork a process for every job that comes; this returns in the process of a job alone."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for the keepers
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(address)
    listener.listen()
    print("it listens", flush=True)
    while True:
        ready, _, _ = select.select([listener, 0], [], [])
        if 0 in ready:  # the tests have ended
            os._exit(0)
        connection = Connection(listener.accept()[0].detach())
        if os.fork() == 0:
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            listener.close()
            return keep(connection)
        connection.close()


def keep(connection):
    """Fork the process of a job, in which this returns, and say how it ends."""
    job = connection.recv()
    process = os.fork()
    if process == 0:
        connection.close()
        return job
    connection.send(process)
    _, status = os.waitpid(process, 0)
    connection.send(os.waitstatus_to_exitcode(status))
    os._exit(0)


def become(job):
    """Be `python -c`, but for its slow end: what torch has loaded is not taken down in order."""
    os.chdir(job["folder"])
    os.environ.clear()
    os.environ.update(job["env"])
    sys.dont_write_bytecode = "PYTHONDONTWRITEBYTECODE" in os.environ
    for number, path in enumerate([os.devnull, *job["files"]]):
        with open(path, "r+b") as file:
            os.dup2(file.fileno(), number)
    signal.signal(signal.SIGINT, signal.default_int_handler)  # whatever started the tests
    sys.argv = ["-c", *job["arguments"]]
    first = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    sys.path[:1] = ["", *filter(None, first)]  # in place of the folder of this file
    main = sys.modules["__main__"] = types.ModuleType("__main__")
    status = 0
    try:
        exec(compile(job["code"], "<string>", "exec"), vars(main))
    except SystemExit as end:
        status = end.code or 0
    except BaseException:
        sys.excepthook(*sys.exc_info())
        status = 1
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


if __name__ == "__main__":
    import torch
    from torchvision import datasets  # noqa: F401

    torch.set_num_threads(1)
    network = torch.nn.Linear(1, 1)
    network(torch.ones(1)).backward()
    torch.optim.Adam(network.parameters(), fused=True).step()
    become(next_job(sys.argv[1]))
