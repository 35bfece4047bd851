"""The axis that scores are plotted over, and moving the viewer's slider along it."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from napari_care_losses.widgets.layers.conversion import AXIS_NAMES, layer_frames
from napari_care_losses.widgets.restore.preview.visible_region import camera_of

if TYPE_CHECKING:
    from napari.components import ViewerModel
    from napari.layers import Image
    from numpy.typing import NDArray

CLOSE = 4.0
"""Least size on the screen of a pixel that is looked at, in the screen's pixels."""

_NAMELESS = re.compile(r"(axis )?-?\d*")
"""Labels that napari gives by itself."""


@dataclass(frozen=True)
class TimeAxis:
    """An axis in front of Y and X, along which scores are plotted."""

    length: int
    """Frames along it."""
    stride: int
    """Number of frames from one to the next along it."""
    label: str
    """Name and unit: "frame", "time (s)", "z (µm)", "field"."""
    start: float = 0.0
    step: float = 1.0
    """Value of the first frame, and between two frames, in that unit."""
    is_time: bool = True
    """Whether the axis is time, as far as the layer says."""

    def step_of(self, index: int) -> int:
        """Return the place along the axis of a frame."""
        return index // self.stride % self.length

    def line(self, index: int) -> range:
        """Return the frames that differ from a frame only in their place along the axis."""
        first = index - self.step_of(index) * self.stride
        return range(first, first + self.length * self.stride, self.stride)

    def values(self) -> NDArray[np.float64]:
        """Return the value of every place along the axis."""
        return self.start + self.step * np.arange(self.length)


def time_axis(layer: Image) -> TimeAxis | None:
    """Return the time axis of a layer; its planes where it has none; None for single images.

    Raises
    ------
    InputError
        If the layer is no stack of frames; see `layer_frames`.
    """
    frames = layer_frames(layer)
    lengths = dict(zip(frames.axes[:-2], frames.leading_shape, strict=True))
    letter = next((letter for letter in "TZ" if lengths.get(letter, 1) > 1), None)
    if letter is None:
        return None
    dimension = frames.axes.index(letter)
    name = layer.axis_labels[dimension]
    is_named = _NAMELESS.fullmatch(name) is None
    is_time = letter == "T" and (not is_named or AXIS_NAMES.get(name.lower()) == "T")
    length, stride = frames.leading_shape[dimension], math.prod(frames.leading_shape[dimension + 1 :])
    unit = f"{layer.units[dimension]:~P}"
    step = float(layer.scale[dimension])
    if unit in ("", "pixel", "px") or not step:
        plain = "frame" if is_time else name if is_named else "plane"
        return TimeAxis(length, stride, plain, is_time=is_time)
    quantity = "time" if is_time else "z" if letter == "Z" else name
    return TimeAxis(length, stride, f"{quantity} ({unit})", float(layer.translate[dimension]), step, is_time)


def look_at(viewer: ViewerModel, layer: Image, index: int, y: int, x: int) -> None:
    """Let the viewer show frame `index` of a layer, a pixel of it in the middle and close; as `move_slider`."""
    move_slider(viewer, layer, index)
    world = layer.data_to_world((*layer_frames(layer).position(index), y, x))
    first = viewer.dims.ndim - layer.ndim
    shown = [axis - first for axis in viewer.dims.displayed if axis >= first]
    camera = camera_of(viewer)
    camera.center = [float(world[axis]) for axis in shown]
    camera.zoom = max(camera.zoom, CLOSE / min(abs(float(layer.scale[axis])) for axis in shown))


def move_slider(viewer: ViewerModel, layer: Image, index: int) -> None:
    """Let the viewer show frame `index` of a layer: the inverse of `shown_index`.

    Raises
    ------
    InputError
        If the layer is no stack of frames.
    """
    place, dims = layer_frames(layer).position(index), viewer.dims
    if not place:
        return
    point = np.array(layer.world_to_data(dims.point[-layer.ndim :]), np.float64)
    point[: len(place)] = place
    target = layer.data_to_world(point)
    axes = range(dims.ndim - layer.ndim, dims.ndim - layer.ndim + len(place))
    dims.set_point(list(axes), [float(value) for value in target[: len(place)]])
