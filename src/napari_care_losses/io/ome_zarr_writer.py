"""OME-Zarr images written one frame at a time in any order."""

from __future__ import annotations

import math
import os
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_care_losses.errors import InputError, ResumeError
from napari_care_losses.io.ome_metadata import for_omero
from napari_care_losses.io.ome_zarr_reader import VERSIONS, is_zarr
from napari_care_losses.io.stack_writer import StackWriter, put_back, writing_frame
from napari_care_losses.io.units import steps_of, unit_factor
from napari_care_losses.io.whole_files import patiently

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from napari_care_losses.images.frames import Frames

LARGEST_CHUNK = 1024
"""Height and width in pixels up to which a frame is one chunk; larger ones are cut into equal parts."""

LARGEST_PLAIN = 2048
"""Height and width up to which a frame has no smaller copies; larger ones get levels of half the size, down to this."""

MARK = "napari_care_losses"
"""The attribute that tells of which job an image is the result."""

PROVENANCE = "napari_care_losses_provenance"
"""The attribute that tells how an image was made, as `napari_care_losses.provenance.Record.texts` gives it."""

HALF_WRITTEN = "*.????????????????????????????????.partial"
"""Names under which zarr writes a chunk before it renames it; what a killed run leaves of them is of no use."""

_AXES = "TCZ"  # the order the specification prescribes
_TYPES = {"T": "time", "C": "channel", "Z": "space", "Y": "space", "X": "space"}


class OmeZarrStackWriter(StackWriter):
    """An OME-Zarr image being written; see `StackWriter`.

    The axes in front are put into the order T, C, Z. A frame is a whole number of chunks, and there are no shards:
    several processes can write frames at the same time (`FrameWriter`). The partial image lacks the metadata by which
    programs know an image: `close` adds them.
    """

    def _checked_type(self, dtype: np.dtype[Any]) -> np.dtype[Any]:
        if self._version not in VERSIONS:
            raise InputError(f"OME-Zarr {self._version} cannot be written: choose one of {', '.join(VERSIONS)}.")
        if self.path.exists() and not is_zarr(self.path):
            raise InputError(f"{self.path} exists and is no OME-Zarr image: choose another name.")
        return dtype

    def _accepts(self, values: dict[str, Any]) -> bool:
        if not is_zarr(self.partial):
            return False
        if values.get("version") != self._version:
            raise ResumeError(
                f"The stopped run beside {self.path} wrote OME-Zarr {values.get('version')}, not {self._version}: "
                "choose that version, or leave out --resume to start afresh."
            )
        return True

    def _create(self) -> dict[str, Any]:
        import numcodecs
        import zarr
        from zarr.codecs import BloscCodec

        like, axes, is_v2 = self._like, _ordered_axes(self._like), self._version == "0.4"
        leading = [like.leading_shape[like.axes.index(axis)] for axis in axes[:-2]]
        # lossless, quick, and known to every reader; shuffled, the bytes of numbers compress better
        compressor = numcodecs.Blosc("lz4", 5) if is_v2 else BloscCodec(cname="lz4", clevel=5, shuffle="shuffle")
        group = zarr.create_group(self.partial, zarr_format=2 if is_v2 else 3)
        for number, shape in enumerate(_level_shapes(like.frame_shape)):
            group.create_array(
                str(number),
                shape=(*leading, *shape),
                chunks=(*(1 for _ in leading), *map(_chunk, shape)),
                dtype=self._dtype,
                fill_value=0,
                compressors=compressor,
                chunk_key_encoding={"name": "v2", "separator": "/"} if is_v2 else None,
                dimension_names=None if is_v2 else list(axes.lower()),
            )
        return {"version": self._version}

    def _open(self) -> None:
        self._frames = FrameWriter(self.partial, self._like.axes, self._like.leading_shape)

    def _store(self, index: int, frame: NDArray[Any]) -> None:
        self._frames.write(index, frame)

    def _finish(self) -> None:
        import zarr

        metadata = _ome_metadata(self._like, self.path.name.split(".")[0])
        if self._version == "0.4":
            metadata["multiscales"][0]["version"] = "0.4"
        else:
            metadata = {"ome": {"version": self._version, **metadata}}
        made = {PROVENANCE: dict(self._like.metadata.provenance)} if self._like.metadata.provenance else {}
        attributes = zarr.open_group(self.partial, mode="r+").attrs
        patiently(attributes.update, {MARK: self._mark, **made, **metadata})
        for half_written in self.partial.rglob(HALF_WRITTEN):
            half_written.unlink()
        put_in_place(self.partial, self.path)

    @staticmethod
    def _read_mark(path: Path) -> str | None:
        return read_mark(path)


def put_in_place(partial: Path, path: Path) -> None:
    """Move a whole folder to its path, and remove one that it replaces; raises `OSError` if that fails."""
    try:
        # a folder cannot be replaced by another in one step
        if path.exists():
            aside = path.with_name(f".{path.name}.{os.getpid()}.old")
            patiently(os.replace, path, aside)
        patiently(os.replace, partial, path)
    finally:
        with suppress(OSError):
            put_back(path)


def read_mark(path: Path) -> str | None:
    """Return the job that an OME-Zarr image or plate is marked with; None where it has no mark."""
    import zarr

    try:
        mark = zarr.open_group(path, mode="r").attrs.get(MARK) if is_zarr(path) else None
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return mark if isinstance(mark, str) else None


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

    @property
    def times(self) -> int:
        """Number of steps along time that there is room for."""
        return int(self._levels[0].shape[0])

    def make_room(self, times: int) -> None:
        """Let the image, of which time is the first axis, have so many steps along it.

        Raises
        ------
        OutputError
            If it cannot be written.
        """
        with writing_frame(0, self._path):
            self._check_presence()
            for array in self._levels:
                patiently(array.resize, (times, *array.shape[1:]))
            self._shape = (times, *self._shape[1:])

    def write(self, index: int, frame: NDArray[Any]) -> None:
        """Store frame `index`, an array (Y, X), and its smaller copies; writing it again changes nothing.

        Raises
        ------
        OutputError
            If it cannot be written.
        """
        place = np.unravel_index(index, self._shape) if self._shape else ()
        there = tuple(int(place[axis]) for axis in self._order)
        with writing_frame(index, self._path):
            self._check_presence()
            for number, array in enumerate(self._levels):
                frame = frame if number == 0 else halved(frame)
                patiently(array.__setitem__, there, frame)
            self._check_presence()

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


def _ordered_axes(like: Frames) -> str:
    return "".join(axis for axis in _AXES if axis in like.axes[:-2]) + "YX"


def _level_shapes(shape: tuple[int, int]) -> list[tuple[int, int]]:
    shapes = [shape]
    while max(shapes[-1]) > LARGEST_PLAIN:
        shapes.append((math.ceil(shapes[-1][0] / 2), math.ceil(shapes[-1][1] / 2)))
    return shapes


def _chunk(size: int) -> int:
    return math.ceil(size / math.ceil(size / LARGEST_CHUNK))


def _ome_metadata(like: Frames, name: str) -> dict[str, Any]:
    """Return what makes an OME-Zarr image of a group of arrays."""
    axes, steps = _ordered_axes(like), {"C": None, **steps_of(like.calibration)}
    listed = []
    for axis in axes:
        unit = {"unit": "second" if axis == "T" else "micrometer"} if steps[axis] else {}
        listed.append({"name": axis.lower(), "type": _TYPES[axis], **unit})
    scale = [steps[axis] or 1.0 for axis in axes]
    datasets = []
    for level in range(len(_level_shapes(like.frame_shape))):
        factors = [2.0**level if axis in "YX" else 1.0 for axis in axes]
        transformations: list[dict[str, Any]] = [
            {"type": "scale", "scale": [step * factor for step, factor in zip(scale, factors, strict=True)]}
        ]
        if level:
            # the centre of a pixel is that of the pixels it is the mean of
            shift = [step * (factor - 1) / 2 for step, factor in zip(scale, factors, strict=True)]
            transformations.append({"type": "translation", "translation": shift})
        datasets.append({"path": str(level), "coordinateTransformations": transformations})
    image: dict[str, Any] = {"name": name, "axes": listed, "datasets": datasets, "type": "mean"}
    position = [_in_units(like.metadata.position.get(axis), axis, bool(steps[axis])) for axis in axes]
    if any(position):
        image["coordinateTransformations"] = [
            {"type": "scale", "scale": [1.0] * len(axes)},
            {"type": "translation", "translation": position},
        ]
    return {"multiscales": [image], **for_omero(like)}


def _in_units(place: tuple[float, str] | None, axis: str, has_unit: bool) -> float:
    """Return a position in the unit that the axis is written with; 0 where it is unknown."""
    number, unit = place or (0.0, "")
    factor = unit_factor(axis, unit) if has_unit else 1.0 if unit in ("", "pixel") else None
    return number * (factor or 0.0)
