"""Files of stacks, of whatever format: TIFF, or OME-Zarr where a name or a folder says so."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from napari_care_losses.errors import InputError
from napari_care_losses.io.claims import claimed
from napari_care_losses.io.ome_zarr_reader import VERSIONS, is_zarr
from napari_care_losses.io.saving import fill
from napari_care_losses.io.written_frames import journal_path

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from napari_care_losses.images.frames import Frames

TIFF_SUFFIXES = (".tif", ".tiff")
ZARR_SUFFIX = ".zarr"

NEW_SUFFIXES = {"tiff": ".tif", "ome-zarr": ".ome.zarr"}
"""The formats that are written, and how their names end."""


class Stack(Protocol):
    """A stack being written: `napari_care_losses.io.tiff_writer.TiffStack` is one, and says what its methods do."""

    path: Path

    @property
    def done(self) -> set[int]:
        """The frames written so far."""

    def write(self, index: int, frame: NDArray[Any]) -> None:
        """Store frame `index`."""

    def close(self) -> None:
        """Move the whole file into place."""

    def suspend(self) -> None:
        """Close the files; what is done stays beside for a later run."""

    def discard(self) -> None:
        """Close and remove all that was written."""


def is_stack(path: Path) -> bool:
    """Return whether a path looks like a file of a stack: a TIFF file by its name, OME-Zarr by what lies in it.

    What is still being written does not.
    """
    if path.name.startswith(".") or path.name.endswith(".partial"):
        return False
    return (path.suffix.lower() in TIFF_SUFFIXES and path.is_file()) or is_zarr(path)


def is_ome_zarr_name(path: Path) -> bool:
    """Return whether a file of this name is written as OME-Zarr."""
    return path.suffix.lower() == ZARR_SUFFIX


def bare_name(path: Path) -> str:
    """Return a file's name without what says that it is TIFF or Zarr."""
    name = path.stem if path.suffix else path.name
    return name[:-4] if is_ome_zarr_name(path) and name.lower().endswith(".ome") else name


def read_stack(path: Path) -> Frames:
    """Open a file as lazy frames.

    Parameters
    ----------
    path : Path
        A TIFF file, or an OME-Zarr image.

    Raises
    ------
    InputError
        If the file is missing, damaged, or holds no stack of grey-level frames.
    """
    try:
        if is_zarr(path) or path.suffix.lower() == ZARR_SUFFIX:
            from napari_care_losses.io.ome_zarr_reader import read_ome_zarr

            return read_ome_zarr(path)
        from napari_care_losses.io.tiff_writer import read_tiff

        return read_tiff(path)
    except OSError as error:
        # a folder that may not be looked into, a name that is too long
        raise InputError(f"{str(path)[:200]} cannot be read: {error.strerror or error}.") from error


def size_and_time(path: Path) -> tuple[int, int]:
    """Return bytes and time of the last change, in nanoseconds, of a file; of OME-Zarr, of all files in its folder.

    Raises
    ------
    OSError
        If it cannot be read.
    """
    if not path.is_dir():
        status = path.stat()
        return status.st_size, status.st_mtime_ns
    size = modified = 0
    for folder, _, names in os.walk(path):
        for name in names:
            status = os.stat(os.path.join(folder, name))
            size, modified = size + status.st_size, max(modified, status.st_mtime_ns)
    return size, modified


def new_stack(
    path: Path,
    like: Frames,
    *,
    dtype: np.typing.DTypeLike = np.float32,
    job: dict[str, Any],
    resume: bool,
    zarr_version: str = VERSIONS[0],
) -> Stack:
    """Return a stack to be written: OME-Zarr where the name ends in ``.zarr``, else TIFF.

    Parameters and errors are those of `napari_care_losses.io.tiff_writer.TiffStack` and
    `napari_care_losses.io.ome_zarr_writer.OmeZarrStack`.
    """
    if is_ome_zarr_name(path):
        from napari_care_losses.io.ome_zarr_writer import OmeZarrStack

        return OmeZarrStack(path, like, dtype=dtype, job=job, resume=resume, version=zarr_version)
    from napari_care_losses.io.tiff_writer import TiffStack

    return TiffStack(path, like, dtype=dtype, job=job, resume=resume)


def is_finished(path: Path, job: dict[str, Any]) -> bool:
    """Return whether `path` is the whole result of this very job."""
    if is_ome_zarr_name(path):
        from napari_care_losses.io.ome_zarr_writer import is_finished_ome_zarr

        return is_finished_ome_zarr(path, job)
    from napari_care_losses.io.tiff_writer import is_finished

    return is_finished(path, job)


def clear_remains(path: Path) -> None:
    """Remove what a run that was killed when `path` was whole has left beside it."""
    journal_path(path).unlink(missing_ok=True)
    if is_ome_zarr_name(path):
        from napari_care_losses.io.ome_zarr_writer import put_back

        put_back(path)


def write_stack(path: Path, frames: Frames, *, zarr_version: str = VERSIONS[0]) -> None:
    """Write a stack to a file of the same dtype; an existing file is replaced once the new one is whole.

    Raises
    ------
    InputError
        If the folder is missing, or another run makes the file.
    OutputError
        If the file cannot be written.
    """
    with claimed(path):
        fill(
            new_stack(path, frames, dtype=frames.dtype, job={}, resume=False, zarr_version=zarr_version),
            frames,
        )
