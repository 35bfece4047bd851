"""Files behind an address: read through fsspec, asked for again where a network fails, errors in plain words."""

from __future__ import annotations

import asyncio
import os
import time
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zarr.abc.store import OffsetByteRequest, RangeByteRequest, Store, SuffixByteRequest

from napari_care_losses.errors import InputError, MissingLibraryError, UnreadableError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable

    from zarr.abc.store import ByteRequest
    from zarr.core.buffer import Buffer, BufferPrototype

TRIES = 3
"""How often a file is asked for where the network fails."""

PAUSE = 0.5
"""Seconds before the second try; twice as many before the third."""

SECONDS_TO_CONNECT, SECONDS_OF_SILENCE = 15, 60
"""Seconds after which a server that does not answer, or sends nothing more, is given up."""

LATER = {408, 425, 429, 500, 502, 503, 504}
"""Statuses of HTTP that may be others in a moment."""

AWS = ("AWS_ACCESS_KEY_ID", "AWS_PROFILE", "AWS_WEB_IDENTITY_TOKEN_FILE", "AWS_CONTAINER_CREDENTIALS_FULL_URI")
"""Variables of the environment that say how AWS is signed into."""


class RemoteStore(Store):
    """The files below an address, as zarr reads them; threads of zarr wait for them.

    Parameters
    ----------
    address : str
        Of the group or array.
    """

    supports_writes = supports_deletes = supports_partial_writes = supports_listing = False

    def __init__(self, address: str) -> None:
        super().__init__(read_only=True)
        self._address = address.rstrip("/")

    def __eq__(self, other: object) -> bool:
        return isinstance(other, RemoteStore) and other._address == self._address

    def __repr__(self) -> str:
        return f"RemoteStore({self._address!r})"

    async def get(self, key: str, prototype: BufferPrototype, byte_range: ByteRequest | None = None) -> Buffer | None:
        """Return a file, or a part of it; None where there is none."""
        stored = await asyncio.to_thread(read_remote, f"{self._address}/{key}", *_limits(byte_range))
        return None if stored is None else prototype.buffer.from_bytes(stored)

    async def get_partial_values(
        self, prototype: BufferPrototype, key_ranges: Iterable[tuple[str, ByteRequest | None]]
    ) -> list[Buffer | None]:
        """Return parts of files."""
        return list(await asyncio.gather(*(self.get(key, prototype, part) for key, part in key_ranges)))

    async def exists(self, key: str) -> bool:
        """Return whether there is such a file."""
        return await asyncio.to_thread(read_remote, f"{self._address}/{key}") is not None

    async def set(self, key: str, value: Buffer) -> None:
        """Write nothing."""
        raise InputError(f"{self._address} is read only.")

    async def set_partial_values(self, key_start_values: Iterable[tuple[str, int, Any]]) -> None:
        """Write nothing; older releases of zarr ask for this method."""
        raise InputError(f"{self._address} is read only.")

    async def delete(self, key: str) -> None:
        """Delete nothing."""
        raise InputError(f"{self._address} is read only.")

    async def list(self) -> AsyncIterator[str]:
        """List nothing: servers need not list."""
        nothing: tuple[str, ...] = ()
        for name in nothing:
            yield name

    async def list_prefix(self, prefix: str) -> AsyncIterator[str]:
        """List nothing."""
        async for name in self.list():
            yield name

    async def list_dir(self, prefix: str) -> AsyncIterator[str]:
        """List nothing."""
        async for name in self.list():
            yield name


def read_remote(address: str, start: int | None = None, end: int | None = None) -> bytes | None:
    """Return a file behind an address, or the bytes from `start` up to `end`; None where there is none.

    Raises
    ------
    UnreadableError
        If it may not be read, or the network failed `TRIES` times.
    MissingLibraryError
        If the library for such addresses is not installed.
    """
    files = _filesystem(address.split(":")[0], os.getpid())
    for number in range(TRIES):
        try:
            stored: bytes = files.cat_file(address, start=start, end=end)
            return stored
        except (FileNotFoundError, IsADirectoryError, NotADirectoryError):
            return None
        except Exception as error:
            # libraries of networks raise errors of every kind
            reason, is_passing = _explained(error)
            if not is_passing or number == TRIES - 1:
                again = f", tried {number + 1} times" if number else ""
                raise UnreadableError(f"{address} cannot be read: {reason}{again}.") from error
            time.sleep(PAUSE * 2**number)
    return None


@lru_cache
def _filesystem(protocol: str, process: int) -> Any:
    """Return what reads addresses of a protocol, in this process: one for all, so that connections are kept."""
    import fsspec

    try:
        if protocol == "s3":
            import s3fs  # noqa: F401 - whether it is there

            seconds = {"connect_timeout": SECONDS_TO_CONNECT, "read_timeout": SECONDS_OF_SILENCE}
            options: dict[str, Any] = {"config_kwargs": {**seconds, "retries": {"max_attempts": 1}}}
            # what needs no keys is read without asking for any
            if not _is_signed_in(fsspec.config.conf.get("s3", {})):
                options["anon"] = True
        else:
            import aiohttp

            limits = aiohttp.ClientTimeout(sock_connect=SECONDS_TO_CONNECT, sock_read=SECONDS_OF_SILENCE)
            options = {"client_kwargs": {"timeout": limits}}
        return fsspec.filesystem(protocol, skip_instance_cache=True, **options)
    except ImportError as error:
        raise MissingLibraryError(
            f'Addresses that begin with {protocol}:// need libraries: pip install "napari-care-losses[remote]"'
        ) from error


def _is_signed_in(configured: dict[str, Any]) -> bool:
    """Return whether the environment, or the settings of fsspec or AWS, say how S3 is signed into."""
    if {"anon", "key", "profile"} & configured.keys() or any(os.environ.get(name) for name in AWS):
        return True
    file = os.environ.get("AWS_SHARED_CREDENTIALS_FILE") or str(Path.home() / ".aws" / "credentials")
    return Path(file).is_file()


def _explained(error: Exception) -> tuple[str, bool]:
    """Return why a file could not be read, in plain words and without keys, and whether it may be in a moment."""
    causes = [error, error.__cause__, error.__context__]
    names = {type(one).__name__ for one in causes if one is not None}
    status = next((one for one in (getattr(cause, "status", None) for cause in causes) if isinstance(one, int)), 0)
    if isinstance(error, PermissionError) or status in (401, 403):
        return "the server refuses access (403); a private image needs keys in the environment", False
    if status:
        return f"the server answers with status {status}", status in LATER
    if names & {"ClientConnectorDNSError", "gaierror"}:
        return "there is no machine of this name, or no network", True
    if names & {"TimeoutError", "FSTimeoutError", "ServerTimeoutError", "SocketTimeoutError", "ReadTimeoutError"} or (
        isinstance(error, TimeoutError)
    ):
        return "the server does not answer in time", True
    if names & {"ClientPayloadError", "ServerDisconnectedError", "ClientOSError", "IncompleteRead"}:
        return "the connection broke off", True
    if isinstance(error, ConnectionError) or any("Connect" in name for name in names):
        return "the server cannot be reached", True
    return f"{type(error).__name__}", isinstance(error, OSError)


def _limits(part: ByteRequest | None) -> tuple[int | None, int | None]:
    """Return where a part of a file starts and ends; negative from its end."""
    if isinstance(part, RangeByteRequest):
        return part.start, part.end
    if isinstance(part, OffsetByteRequest):
        return part.offset, None
    return (-part.suffix, None) if isinstance(part, SuffixByteRequest) else (None, None)
