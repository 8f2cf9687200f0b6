"""Files are there whole or not at all."""

import os

import pytest

from vae_helpers.files import FileNotWrittenError, write_whole


def test_text_and_bytes_are_written_into_a_folder_that_is_made(tmp_path):
    write_whole(tmp_path / "new" / "a.txt", "é\n")
    write_whole(tmp_path / "new" / "b.bin", b"\x00\x01")
    assert (tmp_path / "new" / "a.txt").read_bytes() == b"\xc3\xa9\n"
    assert (tmp_path / "new" / "b.bin").read_bytes() == b"\x00\x01"
    assert len(list((tmp_path / "new").iterdir())) == 2


def test_a_write_that_fails_leaves_the_old_file_and_says_why(tmp_path, monkeypatch):
    path = tmp_path / "a.txt"
    write_whole(path, "old")

    def full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(FileNotWrittenError, match=r"a\.txt.*No space left.*unchanged.*free some"):
        write_whole(path, "new")
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_folder_that_cannot_be_is_an_error_that_names_the_file(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(FileNotWrittenError, match=r"file/a\.txt: expected to write 1 bytes"):
        write_whole(tmp_path / "file" / "a.txt", "x")


def test_who_may_read_the_file_is_decided_by_the_umask(tmp_path):
    before = os.umask(0o022)
    try:
        write_whole(tmp_path / "a.txt", "x")
    finally:
        os.umask(before)
    assert (tmp_path / "a.txt").stat().st_mode & 0o777 == 0o644
