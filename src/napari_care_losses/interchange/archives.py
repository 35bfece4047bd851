"""Reading the files of a model in a folder or a zip archive, within bounds; no path from an archive is ever used."""

from __future__ import annotations

import struct
import zipfile
import zlib
from abc import ABC, abstractmethod
from contextlib import contextmanager
from fnmatch import fnmatchcase
from pathlib import Path, PurePosixPath
from typing import IO, TYPE_CHECKING

from napari_care_losses.errors import ModelFileError

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator

MAX_TEXT = 256 * 1024
"""Bytes of a description (``config.json``, ``rdf.yaml``) at most; real ones have a few thousand."""

MAX_WEIGHTS = 1 << 30
"""Bytes of a file of weights at most; the largest published CSBDeep network has about 100 MB."""

MAX_ARCHIVE = 4 << 30
"""Bytes of an archive at most."""

MAX_FILES = 10_000
"""Files in an archive at most."""

MAX_DIRECTORY = 4 << 20
"""Bytes of an archive's table of contents at most: opening an archive reads all of it."""

_CHUNK = 1 << 20
_IS_LINK, _KIND = 0o120000, 0o170000


class Contents(ABC):
    """The files of a model, by their names without folders."""

    names: Collection[str]

    def read(self, name: str, limit: int = MAX_TEXT) -> bytes:
        """Return a file's bytes; raises `ModelFileError` if it is missing, empty, damaged, or larger than `limit`."""
        data = bytearray()
        self._read(name, limit, data.extend)
        return bytes(data)

    def copy(self, name: str, target: Path, limit: int = MAX_WEIGHTS) -> None:
        """Copy a file to `target`; raises like `read`."""
        with target.open("wb") as file:
            self._read(name, limit, file.write)

    @abstractmethod
    def _read(self, name: str, limit: int, write: Callable[[bytes], object]) -> None:
        """Pass a file to `write` piece by piece, up to `limit` bytes of it."""


@contextmanager
def open_contents(path: Path, markers: Collection[str]) -> Iterator[tuple[Contents, str]]:
    """Open a folder or a zip archive, or the folder a marker file lies in; gives the files and the marker's name.

    Every model has one of the markers, file names such as ``config.json`` or patterns such as ``*.rdf.yaml``; the first
    found counts. In an archive it may lie in a folder; only files beside it belong to the model. Raises
    `ModelFileError` if there is no marker, or the archive is damaged or malicious.
    """
    if is_marker(path.name, markers) and path.is_file():
        yield _Folder(path.parent), path.name
    elif path.is_dir():
        folder = _Folder(path)
        yield folder, _marker(path, markers, folder.names)
    elif path.is_file():
        with _zip(path) as archive:
            members = _checked_members(path, archive)
            found = [name for name in map(PurePosixPath, members) if is_marker(name.name, markers)]
            if not found:
                _marker(path, markers, ())
            depth = min(len(name.parts) for name in found)
            parents = {name.parent for name in found if len(name.parts) == depth}
            if len(parents) > 1:
                raise ModelFileError(f"{path} holds several models: unpack it and name the folder of one.")
            places = {PurePosixPath(name): member for name, member in members.items()}
            own = {name.name: member for name, member in places.items() if name.parent in parents}
            yield _Archive(path, archive, own), _marker(path, markers, own)
    else:
        raise ModelFileError(f"There is no file or folder {path}.")


class _Folder(Contents):
    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            self.names = {file.name for file in path.iterdir()}
        except OSError as error:
            raise ModelFileError(f"{path} cannot be read: {error.strerror or error}.") from error

    def _read(self, name: str, limit: int, write: Callable[[bytes], object]) -> None:
        # A name from a description could be a path; names found in the folder are not.
        if name not in self.names or not (self._path / name).is_file():
            raise ModelFileError(f"{self._path} has no file {name!r}.")
        try:
            with (self._path / name).open("rb") as file:
                _pump(file, limit, write, f"{self._path / name}")
        except OSError as error:
            raise ModelFileError(f"{self._path / name} cannot be read: {error.strerror or error}.") from error


class _Archive(Contents):
    def __init__(self, path: Path, archive: zipfile.ZipFile, members: dict[str, zipfile.ZipInfo]) -> None:
        self._path, self._archive, self._members, self.names = path, archive, members, members.keys()

    def _read(self, name: str, limit: int, write: Callable[[bytes], object]) -> None:
        member = self._members.get(name)
        if member is None:
            raise ModelFileError(f"{self._path} has no file {name!r}.")
        try:
            with self._archive.open(member) as file:
                _pump(file, limit, write, f"{name} in {self._path}")
        except (OSError, zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError) as error:
            # the library raises RuntimeError for encrypted files
            raise ModelFileError(f"{name} in {self._path} is damaged or packed in an unknown way ({error}).") from error


def is_marker(name: str, markers: Collection[str]) -> bool:
    """Whether a file name is one of the markers; hidden files, such as macOS makes beside others, are none."""
    return not name.startswith(".") and any(fnmatchcase(name, marker) for marker in markers)


def _marker(path: Path, markers: Collection[str], names: Collection[str]) -> str:
    for marker in markers:
        found = sorted(name for name in names if is_marker(name, (marker,)))
        if len(found) > 1:
            raise ModelFileError(f"{path} holds several models: name one of {', '.join(found)[:300]}.")
        if found:
            return found[0]
    plain = [marker for marker in markers if "*" not in marker]
    raise ModelFileError(f"{path} is not a model in a known format: it has no {' and no '.join(plain)}.")


def _pump(file: IO[bytes], limit: int, write: Callable[[bytes], object], what: str) -> None:
    """Copy a file in pieces; limits the bytes that come out, whatever a header claims."""
    left = limit
    while piece := file.read(min(_CHUNK, left + 1)):
        if len(piece) > left:
            raise ModelFileError(f"{what} is larger than the {limit:,} bytes that are read of such a file.")
        left -= len(piece)
        write(piece)
    if left == limit:
        raise ModelFileError(f"{what} is empty: it has 0 bytes.")


@contextmanager
def _zip(path: Path) -> Iterator[zipfile.ZipFile]:
    try:
        _check_directory(path)
        archive = zipfile.ZipFile(path)
    except OSError as error:
        raise ModelFileError(f"{path} cannot be read: {error.strerror or error}.") from error
    except (zipfile.BadZipFile, NotImplementedError, ValueError, struct.error) as error:
        raise ModelFileError(f"{path} is neither a folder nor a zip archive ({error}).") from error
    with archive:
        yield archive


def _check_directory(path: Path) -> None:
    """Refuse an archive whose table of contents would fill the memory when it is opened."""
    size = path.stat().st_size
    if not size:
        raise ModelFileError(f"{path} is empty: it has 0 bytes.")
    if size > MAX_ARCHIVE:
        raise ModelFileError(f"{path} is larger than {MAX_ARCHIVE >> 30} GiB: no model is.")
    with path.open("rb") as file:
        file.seek(max(0, size - (1 << 16) - 64))
        tail = file.read()
        end = tail.rfind(b"PK\5\6")
        if end < 0:
            raise ModelFileError(f"{path} is neither a folder nor a zip archive.")
        (claimed,) = struct.unpack_from("<L", tail, end + 12)
        # the 64-bit form keeps its sizes in a record of its own, to which a locator before the end points
        if end >= 20 and tail[end - 20 : end - 16] == b"PK\6\7":
            file.seek(struct.unpack_from("<Q", tail, end - 12)[0])
            record = file.read(56)
            claimed = max(struct.unpack_from("<Q", record, 40)[0], 0 if claimed == 0xFFFFFFFF else claimed)
    if claimed > MAX_DIRECTORY:
        raise ModelFileError(f"{path} has a table of contents of {claimed:,} bytes: no model's archive has.")


def _checked_members(path: Path, archive: zipfile.ZipFile) -> dict[str, zipfile.ZipInfo]:
    """Return the files of an archive by name.

    An archive with names that lead out of its folder, with links or with two files of one name is refused as a whole.
    """
    members: dict[str, zipfile.ZipInfo] = {}
    if len(archive.infolist()) > MAX_FILES:
        raise ModelFileError(f"{path} holds more than {MAX_FILES:,} files: no model does.")
    for member in archive.infolist():
        name = member.filename
        # the library cuts a name at a zero byte and turns backslashes on Windows: check it as written
        written = member.orig_filename
        parts = written.replace("\\", "/").split("/")
        if not name or written.startswith(("/", "\\")) or ".." in parts or ":" in written or "\0" in written:
            raise ModelFileError(f"{path} is not trusted: it names a file {written!r}, outside its folder.")
        if (member.external_attr >> 16) & _KIND == _IS_LINK:
            raise ModelFileError(f"{path} is not trusted: {written!r} is a link.")
        if name in members:
            raise ModelFileError(f"{path} is not trusted: it holds two files {name!r}.")
        if not member.is_dir():
            members[name] = member
    return members
