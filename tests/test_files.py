"""Files are there whole or not at all."""

import errno
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from vae_helpers.store.files import (
    DamagedFileError,
    FileNotWrittenError,
    ensure_writable,
    read_json,
    read_sealed,
    remove_left_over,
    sealed,
    write_whole,
)


def test_text_and_bytes_are_written_into_a_folder_that_is_made(tmp_path):
    folder = tmp_path / "new" / "newer"
    write_whole(folder / "a.txt", "é\n")
    write_whole(folder / "b.bin", b"\x00\x01")
    assert (folder / "a.txt").read_bytes() == b"\xc3\xa9\n"
    assert (folder / "b.bin").read_bytes() == b"\x00\x01"
    assert len(list(folder.iterdir())) == 2


def test_a_write_that_fails_leaves_the_old_file_and_says_why(tmp_path, monkeypatch):
    path = tmp_path / "a.txt"
    write_whole(path, "old")

    def full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(FileNotWrittenError, match=r"a\.txt.*No space left.*unchanged.*free some"):
        write_whole(path, "new")
    assert path.read_text(encoding="utf-8") == "old"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    ("number", "remedy"),
    [
        (errno.EACCES, "copy the project to a folder of your own"),
        (errno.EROFS, "copy the project to a folder of your own"),
        (errno.EDQUOT, "free some space, and give the same command again"),
        (errno.EIO, "take a folder that can be written to"),
    ],
)
def test_what_to_do_depends_on_why_a_file_cannot_be_written(tmp_path, monkeypatch, number, remedy):
    def refused(descriptor):
        raise OSError(number, "no")

    monkeypatch.setattr(os, "fsync", refused)
    with pytest.raises(FileNotWrittenError, match=re.escape(remedy)) as caught:
        write_whole(tmp_path / "a.txt", "new")
    assert caught.value.errno == number


def test_what_may_not_be_removed_is_left_where_it_is(tmp_path, monkeypatch, dead):
    names = [f"{name}.{dead}.tmp" for name in ("another's.txt", "mine.txt")]
    for name in names:
        (tmp_path / name).write_text("half", encoding="utf-8")
    unlink = Path.unlink

    def allowed(path, **options):
        if path.name == names[0]:
            raise PermissionError(errno.EACCES, "Permission denied")
        unlink(path, **options)

    monkeypatch.setattr(Path, "unlink", allowed)
    remove_left_over(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == names[:1]


def test_a_folder_that_cannot_be_is_an_error_that_names_the_file(tmp_path):
    (tmp_path / "file").write_text("", encoding="utf-8")
    with pytest.raises(FileNotWrittenError, match=r"file/a\.txt: expected to write 1 bytes"):
        write_whole(tmp_path / "file" / "a.txt", "x")


def test_a_folder_that_can_be_written_to_is_made_and_holds_nothing_new(tmp_path):
    ensure_writable(tmp_path / "new" / "newer")
    assert list((tmp_path / "new" / "newer").iterdir()) == []


def test_who_may_read_the_file_is_decided_by_the_umask(tmp_path):
    before = os.umask(0o022)
    try:
        write_whole(tmp_path / "a.txt", "x")
    finally:
        os.umask(before)
    assert (tmp_path / "a.txt").stat().st_mode & 0o777 == 0o644


def test_an_interrupted_write_leaves_nothing_beside_the_old_file(tmp_path, monkeypatch):
    def interrupted(descriptor):
        raise KeyboardInterrupt

    write_whole(tmp_path / "a.txt", "old")
    monkeypatch.setattr(os, "fsync", interrupted)
    with pytest.raises(KeyboardInterrupt):
        write_whole(tmp_path / "a.txt", "new")
    assert (tmp_path / "a.txt").read_text(encoding="utf-8") == "old"
    assert list(tmp_path.iterdir()) == [tmp_path / "a.txt"]


@pytest.fixture
def dead():
    """The number of a process that is no more."""
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        process.wait()
    return process.pid


def test_what_a_killed_process_left_is_removed_and_what_a_living_one_writes_is_not(tmp_path, dead):
    names = [
        f"{name}.{writer}.tmp" for name in ("a.txt", "b.txt") for writer in (dead, os.getpid())
    ]
    for name in (*names, "mine.tmp"):
        (tmp_path / name).write_text("half", encoding="utf-8")
    write_whole(tmp_path / "a.txt", "whole")
    left = {path.name for path in tmp_path.iterdir()}
    assert left == {"a.txt", "mine.tmp", f"b.txt.{dead}.tmp", f"b.txt.{os.getpid()}.tmp"}
    remove_left_over(tmp_path)
    left = {path.name for path in tmp_path.iterdir()}
    assert left == {"a.txt", "mine.tmp", f"b.txt.{os.getpid()}.tmp"}


@pytest.mark.parametrize("content", [b"", b'{"a": 1', b"\xff\xfe", None])
def test_a_json_file_that_is_none_is_named_with_what_to_do(tmp_path, content):
    path = tmp_path / "a.json"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(DamagedFileError, match=r"a\.json: expected a.* JSON file, got .*; do this"):
        read_json(path, remedy="do this")


def test_what_was_sealed_comes_back_and_no_altered_byte_of_it_does(tmp_path):
    path, content = tmp_path / "a.json", {"loss": 99.25, "name": "é", "epochs": [1, 2]}
    text = sealed(content).encode()
    path.write_bytes(text)
    assert read_sealed(path, remedy="do this") == content
    for place in range(len(text) - 1):
        path.write_bytes(text[:place] + bytes([text[place] ^ 1]) + text[place + 1 :])
        with pytest.raises(DamagedFileError, match=r"a\.json: expected .*; do this"):
            read_sealed(path, remedy="do this")
