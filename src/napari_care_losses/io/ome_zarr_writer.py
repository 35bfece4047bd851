"""OME-Zarr images written one frame at a time in any order, whole or not at all."""

from __future__ import annotations

import glob
import math
import os
import shutil
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_care_losses.errors import InputError, OutputError, ResumeError
from napari_care_losses.io.ome_zarr_reader import VERSIONS, is_zarr
from napari_care_losses.io.whole_files import check_room
from napari_care_losses.io.written_frames import Journal, job_digest, job_mark

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from napari_care_losses.images.frames import Frames

LARGEST_CHUNK = 1024
"""Height and width in pixels up to which a frame is one chunk; larger ones are cut into equal parts."""

LARGEST_PLAIN = 2048
"""Height and width up to which a frame has no smaller copies: viewers show it as it is.

Larger ones get levels of half the size each, down to this.
"""

MARK = "napari_care_losses"
"""The attribute that says which job an image is the result of."""

HALF_WRITTEN = "*.????????????????????????????????.partial"
"""Names under which zarr writes a chunk before it gives it its own; what a killed run leaves of them is of no use."""

_AXES = "TCZ"  # the order the specification prescribes
_TYPES = {"T": "time", "C": "channel", "Z": "space", "Y": "space", "X": "space"}


class OmeZarrStack:
    """An OME-Zarr image being written: frames in any order, the folder in place only once it is whole.

    The pixels go to ``NAME.partial`` beside it, finished frames are noted beside that
    (`napari_care_losses.io.written_frames`); only `close` gives it the metadata by which programs know an image. A
    frame is a whole number of chunks, and there are no shards: frames can be written at the same time, by several
    processes too (`FrameWriter`).

    Parameters
    ----------
    path : Path
        The folder to make, ``NAME.ome.zarr``. Its own folder must exist.
    like : Frames
        Shape, axes and calibration of the stack. The axes in front are put into the order T, C, Z.
    dtype : dtype
        Type of the pixels written.
    job : dict
        What makes the pixels: input, model, settings; plain values. A partial image of another job is not resumed.
    resume : bool
        Whether to go on with a partial image where there is one.
    version : str
        One of `napari_care_losses.io.ome_zarr_reader.VERSIONS`.

    Raises
    ------
    InputError
        If the folder is missing, or something else than an OME-Zarr image lies at `path`.
    ResumeError
        If the partial image belongs to another job or version.
    OutputError
        If the image cannot be written or the disk is too full.
    """

    def __init__(
        self,
        path: Path,
        like: Frames,
        *,
        dtype: np.typing.DTypeLike = np.float32,
        job: dict[str, Any],
        resume: bool,
        version: str = VERSIONS[0],
    ) -> None:
        if version not in VERSIONS:
            raise InputError(f"OME-Zarr {version} cannot be written: choose one of {', '.join(VERSIONS)}.")
        if not path.parent.is_dir():
            raise InputError(f"The folder {path.parent} does not exist: make it first.")
        if path.exists() and not is_zarr(path):
            raise InputError(f"{path} exists and is no OME-Zarr image: choose another name.")
        self.path = path
        self.partial = path.with_name(path.name + ".partial")
        self._version, self._dtype = version, np.dtype(dtype).newbyteorder("<")
        self._journal = Journal(path, job)
        self._attributes = _attributes(like, version, path, job_mark(self._journal.digest))
        try:
            put_back(path)
            if not (resume and self._reopen()):
                self._create(like)
            self._writer = FrameWriter(self.partial, like.axes, like.leading_shape)
        except OSError as error:
            raise OutputError(f"{path} cannot be written: {error.strerror or error}.") from error

    @property
    def done(self) -> set[int]:
        """The frames written so far."""
        return self._journal.done

    def _reopen(self) -> bool:
        values = self._journal.reopen() if is_zarr(self.partial) else None
        if values is None:
            return False
        if values.get("version") != self._version:
            raise ResumeError(
                f"The stopped run beside {self.path} wrote OME-Zarr {values.get('version')}, not {self._version}: "
                "choose that version, or leave out --resume to start afresh."
            )
        return True

    def _create(self, like: Frames) -> None:
        check_room(self.path, math.prod(like.shape) * self._dtype.itemsize)
        self._journal.remove()
        if self.partial.exists():
            shutil.rmtree(self.partial)
        _create_image(self.partial, like, self._dtype, self._version)
        self._journal.begin({"version": self._version})

    def write(self, index: int, frame: NDArray[Any]) -> None:
        """Store frame `index`, an array (Y, X) of the stack's dtype."""
        self._writer.write(index, frame)
        self.note(index)

    def note(self, index: int) -> None:
        """Note that frame `index` has been written, by another process for instance."""
        try:
            self._journal.note(index)
        except OSError as error:
            raise _unwritten(index, self.path, error) from error

    def close(self) -> None:
        """Move the whole image into place."""
        import zarr

        replaced = self.path.with_name(f".{self.path.name}.{os.getpid()}.old")
        try:
            zarr.open_group(self.partial, mode="r+").attrs.update(self._attributes)
            for half_written in self.partial.rglob(HALF_WRITTEN):
                half_written.unlink()
            # A folder cannot be replaced by another in one step.
            if self.path.exists():
                os.replace(self.path, replaced)
            os.replace(self.partial, self.path)
            self._journal.remove()
        except OSError as error:
            if replaced.exists() and not self.path.exists():
                with suppress(OSError):
                    os.replace(replaced, self.path)
            raise OutputError(f"{self.path} cannot be put in place: {error.strerror or error}.") from error
        shutil.rmtree(replaced, ignore_errors=True)

    def suspend(self) -> None:
        """Leave what is done beside for a later run."""

    def discard(self) -> None:
        """Remove all that was written."""
        shutil.rmtree(self.partial, ignore_errors=True)
        with suppress(OSError):
            self._journal.remove()


def put_back(path: Path) -> None:
    """Put an image back that a run killed while replacing it had moved aside, or remove it where another is in place.

    Raises
    ------
    OSError
        If that fails.
    """
    for replaced in path.parent.glob(f".{glob.escape(path.name)}.*.old"):
        if path.exists():
            shutil.rmtree(replaced)
        else:
            os.replace(replaced, path)


class FrameWriter:
    """Writes frames into an OME-Zarr image that has been created; in as many processes at once as there are frames.

    Parameters
    ----------
    path : Path
        The image's folder.
    axes : str
        The axes of the stack, by which frames are counted; YX last.
    leading_shape : tuple of int
        Size of every axis in front of Y and X.
    """

    def __init__(self, path: Path, axes: str, leading_shape: tuple[int, ...]) -> None:
        import zarr

        self._path, self._shape = path, leading_shape
        self._order = [axes.index(axis) for axis in _AXES if axis in axes[:-2]]
        self._levels: list[Any] = []
        # so that a chunk of zeros is not taken for a lost one
        with zarr.config.set({"array.write_empty_chunks": True}):
            while (path / str(len(self._levels))).is_dir():
                self._levels.append(zarr.open_array(path / str(len(self._levels)), mode="r+"))

    def write(self, index: int, frame: NDArray[Any]) -> None:
        """Store frame `index`, an array (Y, X), and its smaller copies; writing it again changes nothing.

        Raises
        ------
        OutputError
            If it cannot be written.
        """
        place = np.unravel_index(index, self._shape) if self._shape else ()
        there = tuple(int(place[axis]) for axis in self._order)
        try:
            self._check_presence()
            for number, array in enumerate(self._levels):
                frame = frame if number == 0 else halved(frame)
                array[there] = frame
            self._check_presence()
        except OSError as error:
            raise _unwritten(index, self._path, error) from error

    def _check_presence(self) -> None:
        """Check that the image is still there: zarr makes missing folders anew, under a drive that is gone."""
        if not is_zarr(self._path):
            raise FileNotFoundError("its folder is gone")


def halved(image: NDArray[Any]) -> NDArray[Any]:
    """Return an image (Y, X) of half the size: means of 2 x 2 pixels, of those that are there at odd edges."""
    height, width = image.shape
    padded = np.pad(image.astype(np.float32, copy=False), ((0, height % 2), (0, width % 2)), mode="edge")
    mean: NDArray[Any] = padded.reshape(padded.shape[0] // 2, 2, padded.shape[1] // 2, 2).mean(axis=(1, 3))
    return mean if image.dtype.kind == "f" else np.rint(mean).astype(image.dtype)


def is_finished_ome_zarr(path: Path, job: dict[str, Any]) -> bool:
    """Return whether `path` is the whole result of this very job."""
    import zarr

    if not is_zarr(path) or path.with_name(path.name + ".partial").exists():
        return False
    try:
        attributes = zarr.open_group(path, mode="r").attrs
        return bool(attributes.get(MARK) == job_mark(job_digest(job)))
    except (OSError, ValueError, KeyError, TypeError):
        return False


def _attributes(like: Frames, version: str, path: Path, mark: str) -> dict[str, Any]:
    """Return what makes an OME-Zarr image of a group of arrays."""
    metadata = _ome_metadata(_ordered_axes(like), like, len(_level_shapes(like.frame_shape)), path.name.split(".")[0])
    if version == "0.4":
        metadata["multiscales"][0]["version"] = version
        return {MARK: mark, **metadata}
    return {MARK: mark, "ome": {"version": version, **metadata}}


def _ordered_axes(like: Frames) -> str:
    return "".join(axis for axis in _AXES if axis in like.axes[:-2]) + "YX"


def _create_image(path: Path, like: Frames, dtype: np.dtype[Any], version: str) -> None:
    import numcodecs
    import zarr
    from zarr.codecs import BloscCodec

    axes = _ordered_axes(like)
    leading = [like.leading_shape[like.axes.index(axis)] for axis in axes[:-2]]
    shapes = _level_shapes(like.frame_shape)
    is_v2 = version == "0.4"
    group = zarr.create_group(path, zarr_format=2 if is_v2 else 3)
    # Lossless, quick, and known to every reader; the bytes of numbers are put apart first, which makes them compress.
    for number, shape in enumerate(shapes):
        group.create_array(
            str(number),
            shape=(*leading, *shape),
            chunks=(*(1 for _ in leading), *(_chunk(size) for size in shape)),
            dtype=dtype,
            fill_value=0,
            compressors=numcodecs.Blosc("lz4", 5) if is_v2 else BloscCodec(cname="lz4", clevel=5, shuffle="shuffle"),
            **(
                {"chunk_key_encoding": {"name": "v2", "separator": "/"}}
                if is_v2
                else {"dimension_names": list(axes.lower())}
            ),
        )


def _level_shapes(shape: tuple[int, int]) -> list[tuple[int, int]]:
    shapes = [shape]
    while max(shapes[-1]) > LARGEST_PLAIN:
        shapes.append((math.ceil(shapes[-1][0] / 2), math.ceil(shapes[-1][1] / 2)))
    return shapes


def _chunk(size: int) -> int:
    return math.ceil(size / math.ceil(size / LARGEST_CHUNK))


def _ome_metadata(axes: str, like: Frames, levels: int, name: str) -> dict[str, Any]:
    calibration = like.calibration
    height, width = calibration.pixel_size or (None, None)
    steps = {"T": calibration.time_step, "C": None, "Z": calibration.z_step, "Y": height, "X": width}
    listed = []
    for axis in axes:
        entry = {"name": axis.lower(), "type": _TYPES[axis]}
        if steps[axis]:
            entry["unit"] = "second" if axis == "T" else "micrometer"
        listed.append(entry)
    scale = [steps[axis] or 1.0 for axis in axes]
    datasets = []
    for level in range(levels):
        factors = [2.0**level if axis in "YX" else 1.0 for axis in axes]
        transformations: list[dict[str, Any]] = [
            {"type": "scale", "scale": [step * factor for step, factor in zip(scale, factors, strict=True)]}
        ]
        if level:
            # the centre of a pixel is that of the pixels it is the mean of
            shift = [step * (factor - 1) / 2 for step, factor in zip(scale, factors, strict=True)]
            transformations.append({"type": "translation", "translation": shift})
        datasets.append({"path": str(level), "coordinateTransformations": transformations})
    return {"multiscales": [{"name": name, "axes": listed, "datasets": datasets, "type": "mean"}]}


def _unwritten(index: int, path: Path, error: OSError) -> OutputError:
    return OutputError(
        f"Frame {index} of {path} cannot be written: {error.strerror or error}; what is done stays beside it."
    )
