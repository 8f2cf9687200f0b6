"""Files that are there whole or not at all, and files that are not what they should be."""

from __future__ import annotations

import errno
import hashlib
import json
import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any


class FileNotWrittenError(OSError):
    """A file could not be written; what stood in its place before still does."""


class DamagedFileError(ValueError):
    """A file cannot be read as what it should be: half written, or altered by something else."""


def write_whole(path: Path, content: bytes | str) -> None:
    """Write beside the target and rename, so that a kill leaves the old file or the new one.

    Args:
        path: the target; its folder is made if it is missing. What processes that were killed
            left of it beside it is removed.
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
    except BaseException as error:  # Ctrl-C too: nothing half written stays
        with suppress(OSError):  # the folder itself may be what cannot be written to
            temporary.unlink(missing_ok=True)
        if not isinstance(error, OSError):
            raise
        raise FileNotWrittenError(
            error.errno,
            f"{path}: expected to write {len(content):,} bytes, but: {error.strerror}. What was "
            f"there before is unchanged; {_remedy(error)}, and give the same command again",
        ) from error
    remove_left_over(path.parent, path.name)


def ensure_writable(folder: Path) -> None:
    """Make a folder if it is missing and see that it can be written to, before work is lost.

    Raises:
        FileNotWrittenError: it cannot; the message says what to do.
    """
    probe = folder / ".writable"
    write_whole(probe, "")
    probe.unlink(missing_ok=True)


def remove_left_over(folder: Path, name: str = "*") -> None:
    """Remove what killed processes of this machine left of files that they were writing.

    What another user left stays where it may not be removed.

    Args:
        folder: where.
        name: of the file that was to be written; any if "*".
    """
    for left in folder.glob(f"{name}.*.tmp"):
        writer = left.suffixes[-2][1:]
        if not (writer.isdigit() and _alive(int(writer))):
            with suppress(OSError):
                left.unlink(missing_ok=True)


def read_json(path: Path, *, remedy: str) -> Any:
    """What a JSON file holds.

    Args:
        path: the file.
        remedy: what to do if it is missing or damaged, for the message.

    Raises:
        DamagedFileError: it is missing or no JSON; the message names the file.
    """
    try:
        return json.loads(path.read_bytes())
    except FileNotFoundError as error:
        raise DamagedFileError(f"{path}: expected a JSON file, got none; {remedy}") from error
    except ValueError as error:  # of the JSON, or of its UTF-8
        raise DamagedFileError(
            f"{path}: expected a whole JSON file, got a damaged one ({error}); {remedy}"
        ) from error


def sealed(content: Mapping[str, Any]) -> str:
    """A dictionary as JSON that holds its own SHA-256, for `read_sealed`."""
    return _json({**content, "sha256": _seal(content)})


def read_sealed(path: Path, *, remedy: str) -> dict[str, Any]:
    """The dictionary that `sealed` made the content of this file from.

    A digit that was altered in a JSON file is another number; here it is a damaged file.

    Args:
        path: the file.
        remedy: what to do if it is missing or damaged, for the message.

    Raises:
        DamagedFileError: it is missing, or not what was written; the message names the file.
    """
    content = read_json(path, remedy=remedy)
    if not isinstance(content, dict) or content.pop("sha256", None) != _seal(content):
        raise DamagedFileError(
            f"{path}: expected the content that its sha256 was made from, got another; {remedy}"
        )
    return content


def _seal(content: Mapping[str, Any]) -> str:
    return hashlib.sha256(_json(content).encode()).hexdigest()


def _json(content: Any) -> str:
    return json.dumps(content, indent=1, ensure_ascii=False) + "\n"


def _remedy(error: OSError) -> str:
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return (
            "this user may not write there: copy the project to a folder of your own (`cp -r`), or "
            "name a folder of your own where one can be given"
        )
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return "free some space"
    return "take a folder that can be written to"


def _alive(process: int) -> bool:
    try:
        os.kill(process, 0)  # sends nothing, only looks
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:  # another user's
        return True
    return True
