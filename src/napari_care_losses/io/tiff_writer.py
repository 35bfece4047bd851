"""TIFF files: read lazily as frames, written one frame at a time in any order, whole or not at all."""

from __future__ import annotations

import io
import logging
import os
import weakref
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

import numpy as np
import tifffile

from napari_care_losses.errors import InputError, OutputError, ResumeError
from napari_care_losses.images.frames import LEADING_AXES, Calibration, Frames
from napari_care_losses.io.claims import claimed
from napari_care_losses.io.saving import fill
from napari_care_losses.io.tiff_reader import LARGEST_PAGE, check_chain, check_claim, check_neighbours
from napari_care_losses.io.whole_files import check_room
from napari_care_losses.io.written_frames import Journal, job_digest, job_mark

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import zarr
    from numpy.typing import NDArray


def read_tiff(path: Path) -> Frames:
    """Open a TIFF file (plain, ImageJ, OME, BigTIFF; compressed or not) as lazy frames.

    Raises
    ------
    InputError
        If the file is missing, is no readable TIFF, or holds no stack of grey-level frames.
    """
    if not path.is_file():
        raise InputError(f"There is no file {path}.")
    try:
        with _listening() as complaints, tifffile.TiffFile(path) as tiff:
            check_chain(path, tiff)
            check_neighbours(path, tiff.ome_metadata or "")
            if not tiff.series:
                raise InputError(f"{path} holds no image.")
            if any("invalid page offset" in said for said in complaints) or not _reaches_its_end(tiff.series[0]):
                raise InputError(f"{path} cannot be read whole: it is cut short, copy it again.")
            check_claim(path, tiff.series[0].keyframe)
            calibration = _tiff_calibration(tiff)
            data = _level(path, tiff.series[0], 0)
            axes = _tiff_axes(tiff.series[0], len(data.shape))
    except InputError:
        raise
    except Exception as error:
        raise InputError(f"{path} cannot be read as TIFF ({error}); is it whole?") from error
    try:
        return Frames(data, axes, calibration)
    except InputError as error:
        raise InputError(f"{path}: {error}") from error


def smaller_copies(path: Path) -> list[zarr.Array[Any]]:
    """Return the coarser resolutions of a pyramidal TIFF file that `read_tiff` can read, read lazily; often none."""
    with tifffile.TiffFile(path) as tiff:
        series = tiff.series[0]
        return [_level(path, series, number) for number in range(1, len(series.levels))]


def _level(path: Path, series: tifffile.TiffPageSeries, number: int) -> zarr.Array[Any]:
    """Return one resolution of a series as a lazy array."""
    import zarr

    page = series.levels[number].keyframe
    # Stored in strips, of which a page may have thousands, it is read many times faster as a whole.
    mode = "page" if not page.is_tiled and page.nbytes <= LARGEST_PAGE else None
    store = tifffile.imread(path, aszarr=True, level=number, chunkmode=mode)
    data = zarr.open_array(store, mode="r")
    weakref.finalize(data, store.close)
    return data


@contextmanager
def _listening() -> Iterator[list[str]]:
    """Collect what tifffile logs of a damaged file instead of showing it: the caller raises one clear error."""
    said: list[str] = []

    def hear(record: logging.LogRecord) -> bool:
        said.append(record.getMessage())
        return False

    logger = logging.getLogger("tifffile")
    logger.addFilter(hear)
    try:
        yield said
    finally:
        logger.removeFilter(hear)


def _reaches_its_end(series: tifffile.TiffPageSeries) -> bool:
    """Return whether the pixels of a series lie within its file, judged by its first and last page."""
    if series.dataoffset is not None:
        return bool(series.dataoffset + series.nbytes <= series.keyframe.parent.filehandle.size)
    for page in (series[0], series[len(series) - 1]):
        if page is not None:
            end = max((at + n for at, n in zip(page.dataoffsets, page.databytecounts, strict=True)), default=0)
            if end > page.parent.filehandle.size:
                return False
    return True


def _tiff_axes(series: tifffile.TiffPageSeries, count: int) -> str:
    """Return the axes, `count` of them, of a series; those of unknown meaning become time, then Z."""
    # releases of tifffile differ in whether axes of length 1 are left out by themselves
    squeezed = "".join(axis for axis, size in zip(series.axes, series.shape, strict=True) if size > 1 or axis in "YX")
    axes = next((axes for axes in (squeezed, series.axes) if len(axes) == count), squeezed)
    if "S" not in axes and not (len(axes) == count and axes.endswith("YX")):
        # images one pixel high or wide lose an axis that is theirs
        return ""
    free = [letter for letter in LEADING_AXES[:2] if letter not in axes]
    return "".join(axis if axis in "TZCYXS" or not free else free.pop(0) for axis in axes)


def _tiff_calibration(tiff: tifffile.TiffFile) -> Calibration:
    if tiff.is_ome:
        return _ome_calibration(tiff.ome_metadata or "")
    page = tiff.pages.first
    imagej = tiff.imagej_metadata or {}
    pixel_size = None
    per_unit = {
        1: {"um": 1.0, "micron": 1.0, "\\u00B5m": 1.0, "nm": 1e-3}.get(imagej.get("unit", "")),
        2: 25400.0,
        3: 1e4,
    }
    unit = per_unit.get(int(page.resolutionunit)) if "XResolution" in page.tags else None
    x, y = page.resolution if unit else (0.0, 0.0)
    if unit and x > 0 and y > 0 and (x, y) not in {(1, 1), (72, 72)}:
        pixel_size = (unit / y, unit / x)
    return Calibration(pixel_size=pixel_size, z_step=imagej.get("spacing"), time_step=imagej.get("finterval"))


def _ome_calibration(xml: str) -> Calibration:
    pixels = tifffile.xml2dict(xml).get("OME", {}).get("Image", {})
    pixels = (pixels[0] if isinstance(pixels, list) else pixels).get("Pixels", {})

    def length(name: str) -> float | None:
        factor = {"µm": 1.0, "nm": 1e-3, "mm": 1e3}.get(pixels.get(f"{name}Unit", "µm"))
        value = pixels.get(name)
        return None if value is None or factor is None else float(value) * factor

    y, x = length("PhysicalSizeY"), length("PhysicalSizeX")
    seconds = {"s": 1.0, "ms": 1e-3, "min": 60.0}.get(pixels.get("TimeIncrementUnit", "s"))
    step = pixels.get("TimeIncrement")
    return Calibration(
        pixel_size=(y, x) if x and y else None,
        z_step=length("PhysicalSizeZ"),
        time_step=float(step) * seconds if step is not None and seconds else None,
    )


class TiffStack:
    """A TIFF stack being written: frames in any order, the file in place only once it is whole.

    The pixels go to ``NAME.partial`` beside the file and every finished frame is noted in ``NAME.partial.json``, so
    that a run that was killed can be resumed. No program opens the partial file, whose first bytes are missing: `close`
    writes them and moves the whole file into place. The format is OME-TIFF (BigTIFF from 4 GB on), uncompressed.

    Parameters
    ----------
    path : Path
        The file to make. Its folder must exist.
    like : Frames
        Shape, axes and calibration of the stack.
    dtype : dtype
        Type of the pixels written.
    job : dict
        What makes the pixels: input, model, settings; plain values. A partial file of another job is not resumed.
    resume : bool
        Whether to go on with a partial file where there is one.

    Raises
    ------
    InputError
        If the folder is missing, or OME-TIFF has no such type of pixels.
    ResumeError
        If the partial file belongs to another job.
    OutputError
        If the file cannot be written or the disk is too full.
    """

    def __init__(
        self, path: Path, like: Frames, *, dtype: np.typing.DTypeLike = np.float32, job: dict[str, Any], resume: bool
    ) -> None:
        self.path = path
        self._count = len(like)
        self._dtype = _stored(np.dtype(dtype)).newbyteorder("<")
        self._frame_bytes = int(np.prod(like.frame_shape)) * self._dtype.itemsize
        self._partial = _partial_path(path)
        self._journal = Journal(path, job)
        if not path.parent.is_dir():
            raise InputError(f"The folder {path.parent} does not exist: make it first.")
        try:
            if not (resume and self._reopen()):
                self._create(like)
            self._file = self._partial.open("r+b")
        except OSError as error:
            raise OutputError(f"{path} cannot be written: {error.strerror or error}.") from error

    @property
    def done(self) -> set[int]:
        """The frames written so far."""
        return self._journal.done

    def _reopen(self) -> bool:
        values = self._journal.reopen() if self._partial.is_file() else None
        # without a head it is of an earlier version
        if values is None or "head" not in values:
            return False
        try:
            offset, head = int(values["offset"]), bytes.fromhex(values["head"])
        except (KeyError, ValueError, TypeError, OverflowError):
            offset, head = -1, b""
        if not len(head) <= offset:
            raise ResumeError(f"{self._partial} is damaged: leave out --resume to start afresh, or remove it.")
        self._offset, self._head = offset, head
        return self._partial.stat().st_size >= self._offset + self._count * self._frame_bytes

    def _create(self, like: Frames) -> None:
        needed = self._frame_bytes * len(like)
        check_room(self.path, needed)
        self._journal.remove()
        with (
            _Headless(self._partial, "w+") as file,
            tifffile.TiffWriter(file, ome=True, bigtiff=needed >= 2**32 - 2**25) as tiff,
        ):
            offset, _ = tiff.write(  # type: ignore[misc]
                data=None,
                shape=like.shape,
                dtype=self._dtype,
                photometric="minisblack",
                metadata=_ome_metadata(like),
                software=job_mark(self._journal.digest),
                returnoffset=True,
                **_resolution(like.calibration),
            )
        self._offset, self._head = int(offset), file.head
        self._journal.begin({"offset": self._offset, "head": self._head.hex()})

    def write(self, index: int, frame: NDArray[Any]) -> None:
        """Store frame `index`, an array (Y, X) of the stack's dtype."""
        try:
            self._file.seek(self._offset + index * self._frame_bytes)
            self._file.write(np.ascontiguousarray(frame, dtype=self._dtype).data)
            self._file.flush()
            self._journal.note(index)
        except OSError as error:
            raise OutputError(
                f"Frame {index} of {self.path} cannot be written: {error.strerror or error}; "
                f"what is done stays in {self._partial.name}."
            ) from error

    def close(self) -> None:
        """Move the whole file into place."""
        try:
            self._file.seek(0)
            self._file.write(self._head)
            self._file.flush()
            os.fsync(self._file.fileno())
            self._file.close()
            os.replace(self._partial, self.path)
            self._journal.remove()
        except OSError as error:
            raise OutputError(f"{self.path} cannot be put in place: {error.strerror or error}.") from error

    def suspend(self) -> None:
        """Close the files; what is done stays beside for a later run."""
        # a full disk or a drive that is gone has been said already, of the frame that could not be written
        with suppress(OSError):
            self._file.close()

    def discard(self) -> None:
        """Close and remove all that was written."""
        self.suspend()
        with suppress(OSError):
            self._partial.unlink(missing_ok=True)
            self._journal.remove()


class _Headless(io.FileIO):
    """A file of which the first bytes, by which programs know what it is, are held back and stay zero."""

    head = b""

    def write(self, data: Any, /) -> int:
        missing = 4 - self.tell()
        if missing <= 0:
            return super().write(data)
        held, rest = bytes(data[:missing]), bytes(data[missing:])
        self.head += held
        return super().write(bytes(len(held)) + rest)


def is_finished(path: Path, job: dict[str, Any]) -> bool:
    """Return whether `path` is the whole result of this very job."""
    if not path.is_file() or _partial_path(path).exists():
        return False
    try:
        with tifffile.TiffFile(path) as tiff:
            return bool(tiff.pages.first.software == job_mark(job_digest(job)))
    except (tifffile.TiffFileError, OSError):
        return False


def _partial_path(path: Path) -> Path:
    return path.with_name(path.name + ".partial")


def _stored(dtype: np.dtype[Any]) -> np.dtype[Any]:
    """Return the type in which pixels of another are stored without loss; OME-TIFF has not all of numpy's."""
    wider: dict[str, np.dtype[Any]] = {"bool": np.dtype(np.uint8), "float16": np.dtype(np.float32)}
    stored = wider.get(dtype.name, dtype)
    if stored.name in ("int64", "uint64") or stored.itemsize > 8:
        raise InputError(f"OME-TIFF cannot store pixels of {dtype.name}: convert them, or save as OME-Zarr.")
    return stored


def _ome_metadata(like: Frames) -> dict[str, Any]:
    calibration = like.calibration
    metadata: dict[str, Any] = {"axes": like.axes}
    if calibration.pixel_size:
        height, width = calibration.pixel_size
        metadata |= {"PhysicalSizeY": height, "PhysicalSizeX": width}
        metadata |= {"PhysicalSizeYUnit": "µm", "PhysicalSizeXUnit": "µm"}
    if calibration.z_step and "Z" in like.axes:
        metadata |= {"PhysicalSizeZ": calibration.z_step, "PhysicalSizeZUnit": "µm"}
    if calibration.time_step and "T" in like.axes:
        metadata |= {"TimeIncrement": calibration.time_step, "TimeIncrementUnit": "s"}
    return metadata


def _resolution(calibration: Calibration) -> dict[str, Any]:
    if not calibration.pixel_size:
        return {}
    height, width = calibration.pixel_size
    return {"resolution": (1e4 / width, 1e4 / height), "resolutionunit": "CENTIMETER"}


def write_tiff(path: Path, frames: Frames) -> None:
    """Write a stack to a TIFF file of the same dtype; an existing file is replaced once the new one is whole.

    Raises
    ------
    InputError
        If the folder is missing, or another run makes the file.
    OutputError
        If the file cannot be written.
    """
    with claimed(path):
        fill(TiffStack(path, frames, dtype=frames.dtype, job={}, resume=False), frames)
