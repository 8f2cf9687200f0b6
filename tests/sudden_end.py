"""Ends a process, or fills its disk, at one chosen point of the files that it writes.

`store.files.write_whole` is used by everything that writes, and each of its calls has three
points: the content is being written, it is about to be renamed, it has just been renamed. Whatever
removes a file is one more point.
"""

import errno
import itertools
import os
import signal


def sudden_end(point, *, share=0.5, full=False):
    """Count the points of this process from now on and end it at one of them.

    Args:
        point: the number of the one where it happens; None only counts.
        share: of the content that has been written until then, if that is being written.
        full: whether the disk is full there, instead of the process being killed.

    Returns:
        A function that says how many points there were so far.
    """
    numbers = itertools.count()
    passed = [0]
    real = {name: getattr(os, name) for name in ("fsync", "replace", "unlink")}

    def reached():
        passed[0] = next(numbers) + 1
        return passed[0] - 1 == point

    def end():
        if full:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        os.kill(os.getpid(), signal.SIGKILL)

    def fsync(descriptor):
        if reached():
            os.ftruncate(descriptor, int(share * os.fstat(descriptor).st_size))
            end()
        real["fsync"](descriptor)

    def replace(source, target):
        if reached():
            end()
        real["replace"](source, target)
        if reached() and not full:  # it is too late for a full disk
            end()

    def unlink(path, *, dir_fd=None):
        if reached() and not full:
            end()
        real["unlink"](path, dir_fd=dir_fd)

    os.fsync, os.replace, os.unlink = fsync, replace, unlink
    return lambda: passed[0]
