"""Files that are whole or absent, and nothing left of attempts that were killed."""

import os
import subprocess
import sys

import pytest

from napari_care_losses.errors import OutputError
from napari_care_losses.io.whole_files import _NODE, check_room, replacing


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_a_file_appears_whole_or_not_at_all(tmp_path):
    path = tmp_path / "a.json"
    with pytest.raises(ZeroDivisionError), replacing(path) as temporary:
        temporary.write_text("half")
        raise ZeroDivisionError
    assert names(tmp_path) == []
    with replacing(path) as temporary:
        temporary.write_text("whole")
        assert not path.exists()
    assert path.read_text() == "whole"
    assert names(tmp_path) == ["a.json"]


def test_what_a_killed_process_left_is_removed_and_that_of_a_living_one_is_not(tmp_path):
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    left = [f".a.json.{_NODE}.{dead.pid}.tmp", f".b.json.{_NODE}.{dead.pid}.tmp"]
    alive = [f".a.json.{_NODE}.{os.getppid()}.tmp", f".a.json.elsewhere.{dead.pid}.tmp"]
    for name in (*left, *alive):
        (tmp_path / name).write_text("")
    with replacing(tmp_path / "a.json") as temporary:
        temporary.write_text("whole")
    assert names(tmp_path) == sorted([*alive, left[1], "a.json"])


def test_a_disk_without_room_is_refused(tmp_path):
    check_room(tmp_path / "a.tif", 1)
    with pytest.raises(OutputError, match=r"needs 1,000,000,000,000\.0 MB, but only .* MB are free there"):
        check_room(tmp_path / "a.tif", 10**18)
