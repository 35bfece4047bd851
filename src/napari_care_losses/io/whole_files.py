"""Files that are whole or absent: locked while they are made, written beside, then renamed."""

from __future__ import annotations

import ctypes
import glob
import os
import platform
import shutil
import sys
import time
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, ParamSpec, TypeVar

import psutil

from napari_care_losses.errors import InputError, OutputError
from napari_care_losses.io.file_names import is_name_on_windows
from napari_care_losses.io.remote.address import check_local, is_address

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

Given = ParamSpec("Given")
Made = TypeVar("Made")

_NODE = platform.node() or "here"
_IS_WINDOWS = sys.platform == "win32"

_IN_USE = frozenset({5, 32, 33})
"""Errors of Windows where another program has a file open: access denied, sharing violation, lock violation."""
_PAUSES = tuple(0.05 * 2**number for number in range(6))
"""Seconds between attempts; 3 in all."""

_MOST_BYTES = 255
"""Of a name, on the file systems of all three systems."""
_INSIDE = 84
"""Characters that files in an OME-Zarr image or plate add to its path: those of a chunk while it is written."""
_JOURNAL = len(".partial.json")
"""Characters that the list of finished frames adds."""


def check_folder(path: Path) -> None:
    """Check that the folder of a file to be made exists, and that its path is short enough, work under way included.

    Raises
    ------
    InputError
        If not.
    """
    check_local(path)
    if not path.parent.is_dir():
        raise InputError(f"The folder {path.parent} does not exist: make it first.")
    if _IS_WINDOWS and not is_name_on_windows(path.name):
        raise InputError(
            f'Windows allows no file {path.name[:60]!r}: a name has none of : * ? " < > |, does not end in a dot or a '
            "space, and is none that Windows keeps for a device (con, nul, com1). Choose another name."
        )
    added = len(_beside(path, 10**7).name.encode()) - len(path.name.encode())
    if len(path.name.encode()) + added > _MOST_BYTES:
        raise InputError(
            f"The name {path.name[:60]}... is too long: at most {_MOST_BYTES - added} bytes, for work under way lies "
            "beside it under a longer one. Choose a shorter name."
        )
    check_length(path, max(added, _INSIDE if path.suffix.lower() == ".zarr" else _JOURNAL))


def check_length(path: Path, added: int = 0) -> None:
    """Check that the path of a file is short enough, with so many characters that are added while it is made.

    Raises
    ------
    InputError
        If it is not.
    """
    most, length = _longest_path(), len(str(path.absolute())) + added
    if length > most:
        raise InputError(
            f"{path} is too long: with what is added while it is made it takes {length} characters, and Windows allows "
            f"{most}. Choose a shorter name or another folder, or allow long paths in the settings of Windows."
        )


def _longest_path() -> int:
    """Return the most characters of a path that Windows allows as it is set; elsewhere no path is that long."""
    if sys.platform != "win32":
        return sys.maxsize
    allows = getattr(ctypes.WinDLL("ntdll"), "RtlAreLongPathsEnabled", None)
    return 32_767 if allows is not None and allows() & 0xFF else 259


def _beside(path: Path, process: int) -> Path:
    """Return where a process writes what is to replace `path`."""
    return path.with_name(f".{path.name}.{_NODE}.{process}.tmp")


def is_same(first: Path, second: Path) -> bool:
    """Return whether two paths lead to one file or folder: by links, or where the file system ignores case.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = Path(folder)
    ...     is_same(path / "a.tif", path / ".." / path.name / "a.tif"), is_same(path / "a.tif", path / "b.tif")
    (True, False)
    """
    if first.resolve() == second.resolve():
        return True
    if is_address(first) or is_address(second):
        return False
    try:
        return first.samefile(second)
    except OSError:
        return False


def overlap(first: Path, second: Path) -> bool:
    """Return whether two paths lead to one file or folder, or one of them into the other."""
    if is_address(first) or is_address(second):
        return first == second
    first, second = first.resolve(), second.resolve()
    return any(is_same(one, second) for one in (first, *first.parents)) or any(
        is_same(first, one) for one in second.parents
    )


def make_folder(folder: Path, *, parents: bool = False, what: str = "folder") -> None:
    """Make a folder, called `what` in the error, unless it exists.

    Raises
    ------
    InputError
        If it cannot be made.
    """
    check_local(folder)
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


def patiently(change: Callable[Given, Made], *arguments: Given.args, **options: Given.kwargs) -> Made:
    """Change files, and try again for 3 s where Windows says that another program has one of them open.

    Virus scanners, search indexes and cloud folders open for a moment whatever is new.

    Parameters
    ----------
    change : callable
        What changes them; doing it again must be allowed.
    *arguments, **options : object
        Its arguments.

    Returns
    -------
    object
        What `change` returns.

    Raises
    ------
    OSError
        That of the last attempt; at once where it is of another kind.

    Examples
    --------
    >>> import os, tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     first, second = os.path.join(folder, "a"), os.path.join(folder, "b")
    ...     os.mkdir(first)
    ...     patiently(os.replace, first, second)
    ...     os.listdir(folder)
    ['b']
    """
    for pause in _PAUSES:
        try:
            return change(*arguments, **options)
        except OSError as error:
            if getattr(error, "winerror", None) not in _IN_USE:
                raise
            time.sleep(pause)
    return change(*arguments, **options)


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
        If the folder cannot be written to, or `path` is there and in use, which Windows does not let be replaced.
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
        check_replaceable(path)
        yield
    finally:
        # Removed before the release, while no other run can hold the lock. Windows deletes no open file: there after
        # it, where it fails if another run has the file open meanwhile.
        is_removed = _unlinked(file)
        with suppress(OSError):
            lock.release()
        if not is_removed:
            _unlinked(file)


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
    temporary = _beside(path, os.getpid())
    try:
        _remove_abandoned(path)
        yield temporary
        temporary.chmod(0o666 & ~_umask())
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())
        patiently(os.replace, temporary, path)
    except OSError as error:
        hint = " Close what has it open." if getattr(error, "winerror", None) in _IN_USE and path.exists() else ""
        raise OutputError(f"{path} cannot be written: {error.strerror or error}.{hint}") from error
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)


def _remove_abandoned(path: Path) -> None:
    """Remove temporary files of `path` that processes of this machine left when they were killed."""
    for left in path.parent.glob(f".{glob.escape(path.name)}.{glob.escape(_NODE)}.*.tmp"):
        process = left.name.split(".")[-2]
        if process.isdigit() and not psutil.pid_exists(int(process)):
            _unlinked(left)


def check_replaceable(path: Path) -> None:
    """Check that a file can be made or replaced, as far as that can be known before the work.

    Raises
    ------
    InputError
        As `check_folder`.
    OutputError
        If a file or folder is there and in use, which keeps it from being replaced on Windows.
    """
    check_folder(path)
    try:
        if path.exists():
            # To its own name: nothing happens, if it may. Not `os.replace`, which Windows refuses for folders.
            patiently(os.rename, path, path)
    except OSError as error:
        raise OutputError(
            f"{path} cannot be replaced ({error.strerror or error}). Close what has it open, such as a layer or "
            "another program, or choose another name."
        ) from error


def _unlinked(file: Path) -> bool:
    """Delete a file, and return whether that was possible."""
    try:
        file.unlink(missing_ok=True)
    except OSError:
        return False
    return True


def _umask() -> int:
    """Return the process's file mode mask, which can only be read by setting it."""
    mask = os.umask(0o077)
    os.umask(mask)
    return mask
