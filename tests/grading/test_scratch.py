"""Temporary folders: sockets' paths in them must not get too long."""

import socket
import tempfile
from pathlib import Path

from labsupport.grading.running import scratch as module


def test_a_temporary_folder_with_a_long_name_is_not_used(tmp_path, monkeypatch):
    long = tmp_path / ("a" * 60)
    long.mkdir()
    for wanted, used in ((str(long), "/tmp"), ("/tmp", "/tmp")):
        monkeypatch.setattr(tempfile, "tempdir", wanted)
        assert module._place() == used


def test_the_longest_that_is_used_has_room_for_a_socket():
    deepest = f"{module.PREFIX}{'x' * 8}/box-{'x' * 8}/{'x' * 12}/ready.sock"
    place = Path("/" + "p" * (module.LONGEST - 1)) / deepest
    assert len(str(place)) <= 107
    with socket.socket(socket.AF_UNIX) as door:
        try:
            door.bind(str(place))
        except OSError as error:  # there is no such folder; a long path would be refused before
            assert "too long" not in str(error)
