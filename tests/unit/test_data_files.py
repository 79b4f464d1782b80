"""A file that is written whole is there whole, or as it was."""

import errno
import os

import pytest

from labsupport.files import write_whole


def test_text_and_bytes_arrive_as_they_are(tmp_path):
    write_whole(tmp_path / "new" / "folder" / "text", "é\r\n")
    assert (tmp_path / "new" / "folder" / "text").read_bytes() == "é\r\n".encode()
    write_whole(tmp_path / "data", b"\x00\xff")
    write_whole(tmp_path / "data", b"\x01")
    assert (tmp_path / "data").read_bytes() == b"\x01"


def test_rights_are_those_of_a_file_that_is_opened_to_be_written(tmp_path):
    (tmp_path / "opened").write_text("")
    write_whole(tmp_path / "whole", "")
    assert (tmp_path / "whole").stat().st_mode == (tmp_path / "opened").stat().st_mode
    (tmp_path / "whole").chmod(0o600)
    write_whole(tmp_path / "whole", "a secret stays one")
    assert (tmp_path / "whole").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("step", ["fsync", "replace"])
def test_a_full_disk_leaves_what_was_there_and_no_part(tmp_path, monkeypatch, step):
    def full(*args):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    (tmp_path / "kept").write_text("before")
    monkeypatch.setattr(os, step, full)
    with pytest.raises(OSError, match="No space left"):
        write_whole(tmp_path / "kept", "after")
    assert [p.name for p in tmp_path.iterdir()] == ["kept"]
    assert (tmp_path / "kept").read_text() == "before"
