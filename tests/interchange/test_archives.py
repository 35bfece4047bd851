"""Malicious archives: nothing is written outside the folder, sizes are limited, failures raise ModelFileError."""

import struct
import tracemalloc
import warnings
import zipfile

import pytest
from fixtures.cli_runs import names
from fixtures.csbdeep_models import csbdeep_files, zip_of
from fixtures.imported_models import read_foreign

from napari_care_losses.errors import ModelFileError
from napari_care_losses.interchange import archives
from napari_care_losses.interchange.archives import open_contents

MARKER = ("config.json",)


def entry(name, mode=0o100644):
    """Return an entry of an archive whose name is not changed."""
    info = zipfile.ZipInfo("x")
    info.filename = name
    info.external_attr = mode << 16
    return info


def read(path, name="config.json", limit=1000):
    with open_contents(path, MARKER) as (contents, _):
        return contents.read(name, limit)


@pytest.mark.parametrize(
    "name", ["../evil.h5", "/tmp/evil.h5", "a/../../evil.h5", "..\\evil.h5", "\\evil.h5", "C:\\evil.h5", "C:evil.h5"]
)
def test_an_archive_with_a_path_outside_its_folder_is_refused(tmp_path, name):
    inside = tmp_path / "inside"
    inside.mkdir()
    path = zip_of(inside / "m.zip", [*csbdeep_files(), (entry(name), b"evil")])
    with pytest.raises(ModelFileError, match="not trusted: it names a file"):
        read_foreign(path)
    assert names(tmp_path) == ["inside"]
    assert names(inside) == ["m.zip"]


def test_an_archive_with_a_link_is_refused(tmp_path):
    path = zip_of(tmp_path / "m.zip", [*csbdeep_files(), (entry("link.h5", mode=0o120777), b"/etc/passwd")])
    with pytest.raises(ModelFileError, match=r"'link\.h5' is a link"):
        read_foreign(path)


def test_an_archive_with_two_files_of_one_name_is_refused(tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        path = zip_of(tmp_path / "m.zip", [*csbdeep_files(), *csbdeep_files("direct")])
    with pytest.raises(ModelFileError, match="two files"):
        read_foreign(path)


@pytest.mark.parametrize("name", ["config.json", "weights_best.h5"])
def test_reading_a_zip_bomb_stops_at_the_limit(tmp_path, monkeypatch, name):
    """The archive holds 100 MB of zeros in 100 KB."""
    monkeypatch.setattr("napari_care_losses.interchange.archives.MAX_WEIGHTS", 10 << 20)
    files = dict(csbdeep_files()) | {name: bytes(100 << 20)}
    path = zip_of(tmp_path / "m.zip", files.items())
    assert path.stat().st_size < 1 << 20
    limit = 10 << 20
    tracemalloc.start()
    try:
        with open_contents(path, MARKER) as (contents, _), pytest.raises(ModelFileError, match="is larger than"):
            contents.copy(name, tmp_path / "out", limit)
        assert tracemalloc.get_traced_memory()[1] < 8 << 20
    finally:
        tracemalloc.stop()
    assert (tmp_path / "out").stat().st_size <= limit
    if name == "config.json":
        with pytest.raises(ModelFileError, match=r"config\.json in .* is larger than"):
            read_foreign(path)


def test_a_file_larger_than_its_header_states_is_refused(tmp_path):
    """The headers state 10 bytes; the data have a megabyte."""
    path = zip_of(tmp_path / "m.zip", [("config.json", b"x" * (1 << 20))])
    data = bytearray(path.read_bytes())
    for header, at in ((b"PK\3\4", 22), (b"PK\1\2", 24)):
        struct.pack_into("<L", data, data.index(header) + at, 10)
    path.write_bytes(data)
    with pytest.raises(ModelFileError, match="is damaged"):
        read(path)


def test_a_damaged_or_encrypted_file_in_an_archive_is_refused(tmp_path):
    path = zip_of(tmp_path / "m.zip", [("config.json", b"{}" * 200)])
    whole = path.read_bytes()
    damaged = bytearray(whole)
    damaged[45] ^= 0xFF
    path.write_bytes(damaged)
    with pytest.raises(ModelFileError, match="is damaged"):
        read(path)
    encrypted = bytearray(whole)
    for header, at in ((b"PK\3\4", 6), (b"PK\1\2", 8)):
        encrypted[encrypted.index(header) + at] |= 1
    path.write_bytes(encrypted)
    with pytest.raises(ModelFileError, match="encrypted"):
        read(path)
    unknown = bytearray(whole)
    for header, at in ((b"PK\3\4", 8), (b"PK\1\2", 10)):
        struct.pack_into("<H", unknown, unknown.index(header) + at, 99)
    path.write_bytes(unknown)
    with pytest.raises(ModelFileError, match="unknown way"):
        read(path)


def test_too_many_files_or_a_too_large_table_of_contents_are_refused(tmp_path, monkeypatch):
    path = zip_of(tmp_path / "m.zip", [("config.json", b"{}"), *((f"{number}", b"") for number in range(50))])
    monkeypatch.setattr(archives, "MAX_FILES", 20)
    with pytest.raises(ModelFileError, match="more than 20 files"):
        read(path)
    monkeypatch.setattr(archives, "MAX_DIRECTORY", 1000)
    with pytest.raises(ModelFileError, match="table of contents of"):
        read(path)
    monkeypatch.setattr(archives, "MAX_ARCHIVE", 1000)
    with pytest.raises(ModelFileError, match="larger than"):
        read(path)


def test_the_limit_holds_for_a_table_of_contents_in_64_bit_form(tmp_path, monkeypatch):
    path = zip_of(tmp_path / "m.zip", [("config.json", b"{}")])
    plain = path.read_bytes()
    end = plain.rindex(b"PK\5\6")
    start, size = struct.unpack_from("<L", plain, end + 16)[0], struct.unpack_from("<L", plain, end + 12)[0]

    def with_record(size):
        record = struct.pack("<4sQ2H2L4Q", b"PK\6\6", 44, 45, 45, 0, 0, 1, 1, size, start)
        locator = struct.pack("<4sLQL", b"PK\6\7", 0, end, 1)
        return plain[:end] + record + locator + plain[end:]

    path.write_bytes(with_record(size))
    assert read(path) == b"{}"
    path.write_bytes(with_record(1 << 40))
    with pytest.raises(ModelFileError, match="table of contents of"):
        read(path)
    path.write_bytes(plain[:end] + struct.pack("<4sLQL", b"PK\6\7", 0, 1 << 62, 1) + plain[end:])
    with pytest.raises(ModelFileError):
        read(path)


@pytest.mark.parametrize("cut", [0, 1, 10, 100, -1, -10, -60, -200])
def test_a_truncated_archive_is_refused(tmp_path, cut):
    path = zip_of(tmp_path / "m.zip", csbdeep_files())
    path.write_bytes(path.read_bytes()[:cut])
    with pytest.raises(ModelFileError, match=r"m\.zip"):
        read_foreign(path)


def test_any_damaged_byte_raises_a_model_file_error(tmp_path):
    files = [(name, content) for name, content in csbdeep_files() if name.endswith("json")]
    whole = zip_of(tmp_path / "m.zip", files).read_bytes()
    for place in range(len(whole)):
        damaged = bytearray(whole)
        damaged[place] ^= 0x55
        (tmp_path / "m.zip").write_bytes(damaged)
        with pytest.raises(ModelFileError):
            read_foreign(tmp_path / "m.zip")


def test_an_archive_with_several_models_is_refused(tmp_path):
    path = zip_of(tmp_path / "m.zip", csbdeep_files(prefix="a/") + csbdeep_files("direct", prefix="b/"))
    with pytest.raises(ModelFileError, match="several models"):
        read_foreign(path)


@pytest.mark.parametrize("name", ["../secret", "/etc/passwd", "sub/file", "missing", "..", ""])
def test_only_files_beside_the_marker_can_be_read(tmp_path, name):
    folder = tmp_path / "model"
    (folder / "sub").mkdir(parents=True)
    for file in (folder / "config.json", folder / "sub" / "file", tmp_path / "secret"):
        file.write_text("{}")
    archive = zip_of(tmp_path / "m.zip", [("m/config.json", b"{}"), ("secret", b"{}"), ("m/sub/file", b"{}")])
    for path in (folder, archive):
        assert read(path) == b"{}"
        with pytest.raises(ModelFileError, match="has no file"):
            read(path, name)
