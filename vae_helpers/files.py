"""Files that are there whole or not at all."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path


class FileNotWrittenError(OSError):
    """A file could not be written; what stood in its place before still does."""


def write_whole(path: Path, content: bytes | str) -> None:
    """Write beside the target and rename, so that a kill leaves the old file or the new one.

    Args:
        path: the target; its folder is made if it is missing.
        content: all of it; text becomes UTF-8.

    Raises:
        FileNotWrittenError: the disk is full, the folder cannot be written to, and the like.
    """
    temporary = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with temporary.open("wb") as file:
            file.write(content.encode() if isinstance(content, str) else content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except OSError as error:
        with suppress(OSError):  # the folder itself may be what cannot be written to
            temporary.unlink(missing_ok=True)
        raise FileNotWrittenError(
            error.errno,
            f"{path}: expected to write {len(content):,} bytes, but: {error.strerror}. What was "
            "there before is unchanged; free some space or take a folder that can be written to, "
            "and give the same command again",
        ) from error
