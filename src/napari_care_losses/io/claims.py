"""A file being made is claimed: no other run, of this process or another, makes the same one meanwhile."""

from __future__ import annotations

from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from filelock import FileLock, Timeout

from napari_care_losses.errors import InputError, OutputError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@contextmanager
def claimed(path: Path) -> Iterator[None]:
    """Claim the file `path` while the context lasts.

    The claim is a lock of the operating system on a hidden file beside it: it ends with the process, however that ends.

    Raises
    ------
    InputError
        If the folder does not exist, or another run makes the file.
    OutputError
        If the folder cannot be written to.
    """
    if not path.parent.is_dir():
        raise InputError(f"The folder {path.parent} does not exist: make it first.")
    file = path.with_name(f".{path.name}.lock")
    # of no thread: a generator may be closed by another one than it was begun by
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
        # first, while nobody else can have claimed it
        with suppress(OSError):
            file.unlink()
        with suppress(OSError):
            lock.release()
