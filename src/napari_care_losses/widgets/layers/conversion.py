"""Layers as frames, and frames as layers that lie exactly on the layer they came from."""

from __future__ import annotations

import math
import os
import shutil
import tempfile
import weakref
from typing import TYPE_CHECKING, Any

import numpy as np
from napari.layers import Image
from napari.utils.transforms import Affine

from napari_care_losses.errors import InputError, OutputError
from napari_care_losses.images.frames import Frames, ImageMetadata, name_axes
from napari_care_losses.images.partial_stack import PartialStack
from napari_care_losses.io.units import calibration_of

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from napari.components import Dims
    from napari.layers import Layer
    from numpy.typing import NDArray

KEY = "napari-care-losses"
"""Key of our entry in the metadata of a layer."""

PROVENANCE = "provenance"
"""Entry there: how the layer was made, as `napari_care_losses.provenance.Record.texts` gives it."""

AXIS_NAMES = {
    "t": "T",
    "time": "T",
    "z": "Z",
    "plane": "Z",
    "depth": "Z",
    "c": "C",
    "ch": "C",
    "channel": "C",
    "channels": "C",
}
"""Axes by their labels in lower case; other labels (napari's own "-3", "field", ...) leave the axis open."""

CONTRAST_PERCENTILES = (1.0, 99.8)
"""Percentiles shown as black and white in every layer, so that layers can be compared by eye."""

PLACING = ("scale", "translate", "rotate", "shear", "affine", "units")
"""Events of a layer that move its frames, and the attributes that place it."""

LARGEST_IN_MEMORY = 500 * 2**20
"""Results of more bytes lie in a temporary file."""


def layer_frames(layer: Layer) -> Frames:
    """Return the frames of an image layer, lazily; of a multiscale layer the full resolution.

    Pixel size and steps are its scale, where its units are known lengths and times.

    Raises
    ------
    InputError
        If the layer is no image, is RGB, or has other axes than T, Z, C, Y and X.
    """
    if not isinstance(layer, Image):
        raise InputError(f"{layer.name} is no image layer: choose one.")
    if layer.rgb:
        raise InputError(f"{layer.name} is a colour (RGB) image: choose grey levels, e.g. one of its channels.")
    data = layer.data[0] if layer.multiscale else layer.data
    try:
        axes = axes_of(layer.axis_labels, data.shape)
        steps = {axis: (abs(size), unit) for axis, size, unit in zip(axes, layer.scale, layer.units, strict=True)}
        return Frames(data, axes, calibration_of(steps), metadata=_metadata(layer, axes))
    except InputError as error:
        raise InputError(f"{layer.name}: {error}") from error


def _metadata(layer: Image, axes: str) -> ImageMetadata:
    """Return name, colour, contrast and position of a layer as files hold them."""
    placed = zip(axes, zip(layer.translate.tolist(), map(str, layer.units), strict=True), strict=True)
    position = {axis: place for axis, place in placed if axis in "ZYX" and place[0]}
    low, high = map(float, layer.contrast_limits)
    colour = "".join(f"{round(255 * part):02X}" for part in layer.colormap.colors[-1][:3])
    channel = {"label": layer.name, "color": colour, "window": {"start": low, "end": high}}
    mark = layer.metadata.get(KEY, {})
    # what was made is not there any more where the user has replaced it
    is_as_made = "pixels" in mark and mark["pixels"]() is pixels_of(layer.data)
    return ImageMetadata(
        channels=() if "C" in axes else (channel,),
        position=position,
        provenance=mark.get(PROVENANCE, {}) if is_as_made else {},
    )


def pixels_of(data: Any) -> Any:
    """Return an array that is the same object for a layer's data while they are filled and after."""
    return data.array if isinstance(data, PartialStack) else data


def axes_of(labels: Sequence[str], shape: Sequence[int]) -> str:
    """Return the letters of a layer's axes: by its labels, those left open as `name_axes` names them.

    Raises
    ------
    InputError
        If the labels put another axis than Y and X last.
    """
    known = [AXIS_NAMES.get(label.lower(), "") for label in labels]
    if any(known[-2:]):
        raise InputError(f"expected Y and X as the last two axes, found {', '.join(labels[-2:])}: transpose it first.")
    return name_axes(shape, known[:-2])


def shown_index(layer: Image, dims: Dims) -> int:
    """Return which of the layer's frames the viewer shows; the nearest where the slider stands outside of it."""
    frames_shape = full_shape(layer)[:-2]
    if not frames_shape:
        return 0
    place = np.rint(np.asarray(layer.world_to_data(dims.point[-layer.ndim :]))[: len(frames_shape)])
    nearest = np.clip(np.nan_to_num(place), 0, np.asarray(frames_shape) - 1).astype(int)
    return int(np.ravel_multi_index(tuple(nearest), frames_shape))


def shown_first(shown: int, count: int) -> list[int]:
    """Return the indices of `count` frames: the shown one, then the others outward from it."""
    return sorted(range(count), key=lambda index: abs(index - shown))


def placement(layer: Image, place: Sequence[int] = ()) -> dict[str, Any]:
    """Return the options that put a new layer exactly onto this one, its first pixel onto the one at `place`."""
    options = {name: getattr(layer, name) for name in (*PLACING, "axis_labels")}
    if any(place):
        linear = Affine(scale=layer.scale, rotate=layer.rotate, shear=layer.shear).linear_matrix
        options["translate"] = np.asarray(layer.translate) + linear @ np.asarray(place, float)
    return options


def comparable_limits(image: NDArray[Any]) -> tuple[float, float]:
    """Return contrast limits that show images of different brightness alike, by the pixels that have a value."""
    valued = image[np.isfinite(image)]
    low, high = np.percentile(valued, CONTRAST_PERCENTILES) if valued.size else (0.0, 1.0)
    return float(low), float(high if high > low else low + 1)


def new_array(
    shape: tuple[int, ...], frames: Collection[int] | None = None, *, largest_in_memory: int = LARGEST_IN_MEMORY
) -> NDArray[np.float32]:
    """Return a float32 array of zeros; a large one lies in a temporary file that vanishes with it.

    Parameters
    ----------
    shape : tuple of int
        (..., Y, X).
    frames : collection of int, optional
        The frames that will be filled; the disk need have room for these only. By default all. See `reserve`.
    largest_in_memory : int
        Bytes of an array that lies in memory at most.

    Raises
    ------
    OutputError
        If the disk has no room for it.
    """
    size = math.prod(shape) * 4
    if size <= largest_in_memory:
        return np.zeros(shape, np.float32)
    try:
        # the file has no name and only the array keeps it open: both vanish together
        with tempfile.TemporaryFile() as file:
            room = _Room(file.fileno(), math.prod(shape[-2:]) * 4)
            # files of Windows have no holes
            room.reserve(range(math.prod(shape[:-2])) if frames is None or os.name != "posix" else frames)
            array = np.memmap(file, np.float32, mode="r+" if os.name == "posix" else "w+", shape=shape)
    except OSError as error:
        raise OutputError(_no_room(size, error.strerror or str(error))) from error
    array.room = room
    return array


def reserve(array: NDArray[np.float32], frames: Collection[int]) -> None:
    """Make room on the disk for more frames of an array of `new_array`; raise `OutputError` where there is none."""
    room = getattr(array, "room", None)
    if room is not None and frames and os.name == "posix":
        room.reserve(frames)


class _Room:
    """The room that frames of some bytes have in an open file."""

    def __init__(self, file: int, frame_size: int) -> None:
        self._frame_size = frame_size
        self._file = os.dup(file)
        weakref.finalize(self, os.close, self._file)

    def reserve(self, frames: Collection[int]) -> None:
        size = len(frames) * self._frame_size
        try:
            if shutil.disk_usage(tempfile.gettempdir()).free < size:
                raise OutputError(_no_room(size, "not enough space"))
            if hasattr(os, "posix_fallocate"):
                for first, last in _runs(sorted(frames)):
                    start, length = first * self._frame_size, (last + 1 - first) * self._frame_size
                    os.posix_fallocate(self._file, start, length)
        except OSError as error:
            raise OutputError(_no_room(size, error.strerror or str(error))) from error


def _runs(numbers: Sequence[int]) -> list[tuple[int, int]]:
    """Return the first and the last of every run of ascending numbers that follow one another."""
    starts = [at for at, number in enumerate(numbers) if not at or number != numbers[at - 1] + 1]
    ends = [*(start - 1 for start in starts[1:]), len(numbers) - 1]
    return [(numbers[start], numbers[end]) for start, end in zip(starts, ends, strict=True)] if numbers else []


def _no_room(size: int, reason: str) -> str:
    return (
        f"The result needs {size / 2**30:.1f} GiB in the temporary folder {tempfile.gettempdir()} ({reason}): free "
        "some space, or point the environment variable TMPDIR to a larger disk."
    )


def full_shape(layer: Image) -> tuple[int, ...]:
    """Return the shape of a layer's data, of a multiscale layer at full resolution."""
    data = layer.data[0] if layer.multiscale else layer.data
    return tuple(int(size) for size in data.shape)
