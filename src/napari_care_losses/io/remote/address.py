"""Addresses of OME-Zarr on other machines, used as paths are."""

from __future__ import annotations

import re
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from napari_care_losses.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Generator

    _Base = Path
else:
    _Base = PurePosixPath

PROTOCOLS = ("https", "http", "s3")
"""What addresses begin with, before ``://``."""

_ADDRESS = re.compile(rf"({'|'.join(PROTOCOLS)}):/{{1,2}}(?=[^/])", re.I)

MARKERS = ("zarr.json", ".zgroup", ".zattrs", ".zarray")
"""Files of which a group of Zarr holds at least one."""


class RemotePath(_Base):
    """The address of a group of Zarr, or of a file in one; it has the methods of a path that look and none that write.

    Made by `located`. Only the files in `MARKERS` are looked for; an address is a folder if one of them is there.
    """

    def __str__(self) -> str:
        # paths have single slashes
        return super().__str__().replace(":/", "://", 1)

    def is_file(self) -> bool:
        """Return whether it is a marker that is there; raises `UnreadableError` if the server cannot be asked."""
        from napari_care_losses.io.remote.store import read_remote

        return self.name in MARKERS and read_remote(str(self)) is not None

    def is_dir(self) -> bool:
        """Return whether a group of Zarr is there; raises as `is_file`."""
        return any((self / marker).is_file() for marker in MARKERS)

    def exists(self) -> bool:
        """Return whether a group of Zarr or a marker is there; raises as `is_file`."""
        return self.is_file() or self.is_dir()

    def iterdir(self) -> Generator[RemotePath, None, None]:
        """Yield the groups in it that are called 0, 1, 2 and so on: servers list no folders."""
        number = 0
        while (one := self / str(number)).is_dir():
            yield one
            number += 1

    def resolve(self, strict: bool = False) -> RemotePath:
        """Return it as it is."""
        return self

    def absolute(self) -> RemotePath:
        """Return it as it is."""
        return self


def is_address(text: object) -> bool:
    """Return whether a text is an address rather than the path of a file.

    Examples
    --------
    >>> is_address("https://example.org/cells.zarr"), is_address("cells.zarr"), is_address("C:/cells.zarr")
    (True, False, False)
    """
    return isinstance(text, RemotePath) or bool(_ADDRESS.match(str(text)))


def located(text: Path | str) -> Path:
    """Return a path of this machine, or a `RemotePath` for an address.

    Raises
    ------
    InputError
        If an address holds a user, a password or a query: they would be written into results.

    Examples
    --------
    >>> path = located("s3://bucket/plate.zarr") / "A" / "1"
    >>> str(path), path.name, str(path.parents[1])
    ('s3://bucket/plate.zarr/A/1', '1', 's3://bucket/plate.zarr')
    """
    if isinstance(text, RemotePath) or not is_address(text):
        return Path(text) if isinstance(text, str) else text
    protocol, rest = re.split(":/{1,2}", str(text), maxsplit=1)
    if set("@?#") & set(rest):
        raise InputError(
            f"An address that begins with {protocol.lower()}:// holds a user, a password or a query (@, ?, #): leave "
            "it out, for it would be written into results. Keys of S3 are taken from the environment or AWS's settings."
        )
    return RemotePath(f"{protocol.lower()}://{rest}")


def check_local(path: Path) -> None:
    """Raise `InputError` if a result would be written to an address."""
    if is_address(path):
        raise InputError(f"{path} is the address of another machine, where nothing is written: name a file here.")
