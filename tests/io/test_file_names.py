"""Names that hold on Linux, macOS and Windows."""

import sys

import pytest

from napari_care_losses.errors import InputError
from napari_care_losses.io import whole_files
from napari_care_losses.io.file_names import (
    LONGEST_NAME,
    is_file_name,
    is_name_on_windows,
    same_file,
    suggested_file_name,
)
from napari_care_losses.io.whole_files import check_folder

FOREIGN = (
    'a: b*?"<>|',
    "con",
    "CON.tif",
    "nul .txt",
    "x.",
    "x ",
    "a/b",
    "a\\b",
    ".x",
    "..",
    "",
    "a\nb",
    "com1",
    "é" * 150,
)


@pytest.mark.parametrize("text", FOREIGN)
def test_a_text_that_is_no_name_everywhere_gives_one_that_is(text):
    assert not is_file_name(text)
    assert is_file_name(suggested_file_name(text))


@pytest.mark.parametrize("name", ["low (1)", "Zelle ä-2", "細胞", "v1.2", "console", "x" * LONGEST_NAME])
def test_a_good_name_stays(name):
    assert is_file_name(name)
    assert suggested_file_name(name) == name


@pytest.mark.parametrize("name", ["con.tif", "Nul", "a:b.tif", "x?.tif", "x.", "x ", "a\tb"])
def test_a_name_that_windows_would_read_otherwise_is_refused_there_alone(tmp_path, monkeypatch, name):
    assert not is_name_on_windows(name)
    monkeypatch.setattr(whole_files, "_IS_WINDOWS", False)
    check_folder(tmp_path / name)
    monkeypatch.setattr(whole_files, "_IS_WINDOWS", True)
    with pytest.raises(InputError, match=r"Windows allows no file .* Choose another name"):
        check_folder(tmp_path / name)
    check_folder(tmp_path / "console.tif")


def test_names_of_one_file_are_told_from_others():
    assert same_file("Strasse") == same_file("STRASSE")
    assert same_file("u\u0308ber") == same_file("ÜBER")
    assert same_file("a") != same_file("b")


def test_too_long_a_name_is_said_before_the_work(tmp_path):
    added = len(whole_files._beside(tmp_path / "a", 10**7).name) - 1
    longest = "x" * (255 - added)
    check_folder(tmp_path / longest)
    (tmp_path / f".{longest}.{whole_files._NODE}.{10**7}.tmp").write_bytes(b"")
    with pytest.raises(InputError, match=f"too long: at most {255 - added} bytes"):
        check_folder(tmp_path / (longest + "x"))


def test_too_long_a_path_is_said_where_windows_allows_no_long_ones(tmp_path, monkeypatch):
    monkeypatch.setattr(whole_files, "_longest_path", lambda: 259)
    folder = tmp_path / ("d" * 100) / ("e" * 100)
    folder.mkdir(parents=True)
    check_folder(tmp_path / "a.tif")
    with pytest.raises(InputError, match="Windows allows 259"):
        check_folder(folder / "a.tif")


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has a limit")
def test_elsewhere_a_path_may_be_long(tmp_path):
    assert whole_files._longest_path() == sys.maxsize
