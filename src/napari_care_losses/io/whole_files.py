"""Files that are whole or absent: locked while they are made, written beside, then renamed."""

from __future__ import annotations

import glob
import os
import platform
import shutil
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

import psutil

from napari_care_losses.errors import InputError, OutputError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_NODE = platform.node() or "here"


def check_folder(path: Path) -> None:
    """Check that the folder of a file to be made exists.

    Raises
    ------
    InputError
        If it does not.
    """
    if not path.parent.is_dir():
        raise InputError(f"The folder {path.parent} does not exist: make it first.")


def make_folder(folder: Path, *, parents: bool = False, what: str = "folder") -> None:
    """Make a folder, called `what` in the error, unless it exists.

    Raises
    ------
    InputError
        If it cannot be made.
    """
    try:
        folder.mkdir(parents=parents, exist_ok=True)
    except OSError as error:
        raise InputError(f"The {what} {folder} cannot be made: {error.strerror or error}.") from error


def check_room(path: Path, needed: int) -> None:
    """Check that the disk of a file to be made has room for `needed` bytes.

    Raises
    ------
    OutputError
        If it has not.
    """
    free = shutil.disk_usage(path.parent).free
    if needed > free:
        raise OutputError(f"{path} needs {needed / 1e6:,.1f} MB, but only {free / 1e6:,.1f} MB are free there.")


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Keep other runs, of this process or another, from making the file `path` while the context lasts.

    The lock belongs to the operating system and lies on a hidden file beside `path`: it ends with the process, however
    that ends.

    Raises
    ------
    InputError
        If the folder does not exist, or another run makes the file.
    OutputError
        If the folder cannot be written to.
    """
    from filelock import FileLock, Timeout

    check_folder(path)
    file = path.with_name(f".{path.name}.lock")
    # not bound to a thread: a generator may be closed by another thread than the one that began it
    lock = FileLock(file, thread_local=False)
    try:
        lock.acquire(blocking=False)
    except Timeout as error:
        raise InputError(
            f"{path} is being made by another run: wait until it has ended, or choose another name."
        ) from error
    except OSError as error:
        raise OutputError(f"{path} cannot be written: {error.strerror or error}.") from error
    try:
        yield
    finally:
        # removed before the release, while no other run can hold the lock
        with suppress(OSError):
            file.unlink()
        with suppress(OSError):
            lock.release()


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`; what was written there replaces `path` if the block succeeds.

    Raises
    ------
    InputError
        If the folder does not exist.
    OutputError
        If the file cannot be written.
    """
    check_folder(path)
    temporary = path.with_name(f".{path.name}.{_NODE}.{os.getpid()}.tmp")
    try:
        _remove_abandoned(path)
        yield temporary
        temporary.chmod(0o666 & ~_umask())
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except OSError as error:
        raise OutputError(f"{path} cannot be written: {error.strerror or error}.") from error
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)


def _remove_abandoned(path: Path) -> None:
    """Remove temporary files of `path` that processes of this machine left when they were killed."""
    for left in path.parent.glob(f".{glob.escape(path.name)}.{glob.escape(_NODE)}.*.tmp"):
        process = left.name.split(".")[-2]
        if process.isdigit() and not psutil.pid_exists(int(process)):
            left.unlink(missing_ok=True)


def _umask() -> int:
    """Return the process's file mode mask, which can only be read by setting it."""
    mask = os.umask(0o077)
    os.umask(mask)
    return mask
