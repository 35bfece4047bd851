"""Stacks being written, whatever the format: frames in any order, the result in place only once it is whole."""

from __future__ import annotations

import glob
import math
import os
import shutil
from abc import ABC, abstractmethod
from contextlib import ExitStack, contextmanager, suppress
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_care_losses.errors import OutputError
from napari_care_losses.images.axes import named_axes_only
from napari_care_losses.io.ome_zarr_reader import VERSIONS
from napari_care_losses.io.whole_files import check_folder, check_room, patiently
from napari_care_losses.io.written_frames import Journal, job_mark, journal_path, partial_path

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from numpy.typing import NDArray

    from napari_care_losses.images.frames import Frames


class StackWriter(ABC):
    """A stack being written.

    The pixels go to ``NAME.partial`` beside the result and every finished frame is noted in ``NAME.partial.json``, so
    that a run that was killed can be resumed. No program opens the partial stack; `close` makes it whole and moves it
    into place.

    Parameters
    ----------
    path : Path
        The file or folder to make. Its own folder must exist.
    like : Frames
        Shape, axes and calibration of the stack.
    dtype : dtype
        Type of the pixels written.
    job : dict
        What makes the pixels: input, model, settings; plain values. A partial stack of another job is not resumed.
    resume : bool
        Whether to continue a partial stack where there is one.
    zarr_version : str
        One of `napari_care_losses.io.ome_zarr_reader.VERSIONS`; without meaning for other formats.

    Raises
    ------
    InputError
        If the folder is missing, or the format cannot store such pixels.
    ResumeError
        If the partial stack belongs to another job.
    OutputError
        If the stack cannot be written or the disk is too full; so do all methods.
    """

    def __init__(
        self,
        path: Path,
        like: Frames,
        *,
        dtype: np.typing.DTypeLike = np.float32,
        job: dict[str, Any],
        resume: bool,
        zarr_version: str = VERSIONS[0],
    ) -> None:
        self.path, self.partial = path, partial_path(path)
        like = named_axes_only(like)
        self._like, self._version = like, zarr_version
        check_folder(path)
        self._dtype = self._checked_type(np.dtype(dtype)).newbyteorder("<")
        self._journal = Journal(path, job)
        self._mark = job_mark(job)
        self._opened = ExitStack()
        with _clear_errors(f"{path} cannot be written"):
            put_back(path)
            values = self._journal.reopen() if resume and self.partial.exists() else None
            if values is None or not self._accepts(values):
                check_room(path, math.prod(like.shape) * self._dtype.itemsize)
                patiently(self._begin)
            self._open()

    @property
    def done(self) -> set[int]:
        """The frames written so far."""
        return self._journal.done

    def write(self, index: int, frame: NDArray[Any]) -> None:
        """Store frame `index`, an array (Y, X) of the stack's dtype."""
        with writing_frame(index, self.path):
            self._store(index, frame)
            self._journal.note(index)

    def mark_done(self, index: int) -> None:
        """Note that another process has written frame `index`."""
        with writing_frame(index, self.path):
            self._journal.note(index)

    def close(self) -> None:
        """Move the whole stack into place."""
        with _clear_errors(f"{self.path} cannot be put in place"):
            self._finish()
            self._journal.remove()

    def suspend(self) -> None:
        """Close the files; what is done stays beside for a later run."""
        # a full disk or a lost drive has been reported already, with the frame that could not be written
        with suppress(OSError):
            self._opened.close()

    def discard(self) -> None:
        """Close and remove all that was written."""
        self.suspend()
        with suppress(OSError):
            self._remove_partial()

    def _begin(self) -> None:
        self._remove_partial()
        self._journal.begin(self._create())

    def _remove_partial(self) -> None:
        # the journal first: without it, what is left is not taken for done
        self._journal.remove()
        if self.partial.is_dir():
            shutil.rmtree(self.partial)
        else:
            self.partial.unlink(missing_ok=True)

    @classmethod
    def is_result_of(cls, path: Path, job: dict[str, Any]) -> bool:
        """Return whether `path` is the whole result of this very job."""
        return not partial_path(path).exists() and cls._read_mark(path) == job_mark(job)

    @abstractmethod
    def _checked_type(self, dtype: np.dtype[Any]) -> np.dtype[Any]:
        """Return the type in which pixels are stored without loss; refuse what the format cannot do."""

    @abstractmethod
    def _create(self) -> dict[str, Any]:
        """Make an empty partial stack; return the plain values that `_accepts` needs to continue it."""

    @abstractmethod
    def _accepts(self, values: dict[str, Any]) -> bool:
        """Return whether the partial stack that was created with these values can be continued."""

    @abstractmethod
    def _open(self) -> None:
        """Open the partial stack for frames; what is to be closed goes into `_opened`."""

    @abstractmethod
    def _store(self, index: int, frame: NDArray[Any]) -> None:
        """Write the pixels of a frame."""

    @abstractmethod
    def _finish(self) -> None:
        """Make the partial stack whole and move it to its path."""

    @staticmethod
    @abstractmethod
    def _read_mark(path: Path) -> str | None:
        """Return the job that a whole stack is marked with."""


def put_back(path: Path) -> None:
    """Put a folder back that a killed run had moved aside to replace it, or remove it where another is in place.

    Raises
    ------
    OSError
        If that fails.
    """
    for replaced in path.parent.glob(f".{glob.escape(path.name)}.*.old"):
        if path.exists():
            patiently(shutil.rmtree, replaced)
        else:
            patiently(os.replace, replaced, path)


def clear_remains(path: Path) -> None:
    """Remove what a run that was killed when `path` was whole has left beside it."""
    journal_path(path).unlink(missing_ok=True)
    put_back(path)


@contextmanager
def writing_frame(index: int, path: Path) -> Iterator[None]:
    """Raise an `OutputError` that names the frame where the disk fails."""
    with _clear_errors(f"Frame {index} of {path} cannot be written", "; what is done stays beside it"):
        yield


@contextmanager
def _clear_errors(problem: str, hint: str = "") -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise OutputError(f"{problem}: {error.strerror or error}{hint}.") from error
