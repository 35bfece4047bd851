"""A lazy stack of 2D frames over any array."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, NamedTuple, Self

import numpy as np

from napari_care_losses.errors import InputError, UnreadableError
from napari_care_losses.images.any_array import check_frame_size, pixel_type, to_numpy
from napari_care_losses.images.chunk_cache import cached

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from numpy.typing import NDArray

DEFAULT_AXES = {2: "YX", 3: "TYX", 4: "TZYX", 5: "TZCYX"}
"""Axes of an array without named ones, by their number."""

MOST_CHANNELS_LAST = 5
"""Pixels of the last axis up to which it may be the channel, where both axes before it are far longer."""

LEADING_AXES = "TZC"
"""Axes that may stand in front of Y and X, in any combination and order."""


@dataclass(frozen=True, kw_only=True)
class Calibration:
    """Physical size of a pixel and time between frames; None where unknown."""

    pixel_size: tuple[float, float] | None = None
    """Height and width of a pixel, in micrometres."""
    z_step: float | None = None
    """Distance of planes, in micrometres."""
    time_step: float | None = None
    """Time between frames, in seconds."""


@dataclass(frozen=True, kw_only=True)
class ImageMetadata:
    """What files say of a stack beside pixels, axes and steps; it is carried along to files written.

    Attributes
    ----------
    channels : sequence of mapping
        For each channel, in the words of OMERO: ``label``, ``color`` (RRGGBB), ``window`` (start, end) and more.
    rendering : mapping
        Other settings of rendering, in the words of OMERO.
    position : mapping of str to (float, str)
        Where the first pixel lies along an axis, and the unit.
    """

    channels: Sequence[Mapping[str, Any]] = ()
    rendering: Mapping[str, Any] = field(default_factory=dict)
    position: Mapping[str, tuple[float, str]] = field(default_factory=dict)


@dataclass(frozen=True)
class Frames:
    """A stack of 2D frames, read one at a time.

    Parameters
    ----------
    data : array of shape (..., Y, X)
        Anything with ``shape``, ``dtype`` and indexing: numpy, dask, zarr. Up to three leading axes.
    axes : str, optional
        One letter an axis: T, Z, C in any combination and order, then YX. By default T, then Z, then C are
        given to the leading axes from the last to the first ("YX", "TYX", "ZTYX", ...).
    calibration : Calibration
        Pixel size and steps, carried along to files written.
    note : str
        What is to be known of the file they were read from, such as frames that are not in it; often empty.
    metadata : ImageMetadata
        Channels and stage position, carried along to files written.
    steps : tuple of int, optional
        The steps taken along the axis of `select`, where they do not follow one another.

    Attributes
    ----------
    pixels : array of shape (..., Y, X)
        The data, of which a chunk of several frames is unpacked once for all of them.

    Raises
    ------
    InputError
        If the array has no Y and X, too many axes, an RGB axis, or values that are not real numbers; without `axes`,
        also if its last axis looks like the channel.
    """

    data: Any
    axes: str = ""
    calibration: Calibration = field(default_factory=Calibration)
    start: int = 0
    stop: int | None = None
    note: str = ""
    metadata: ImageMetadata = field(default_factory=ImageMetadata)
    steps: tuple[int, ...] | None = None
    pixels: Any = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        shape, dtype = tuple(self.data.shape), pixel_type(self.data)
        long = [axis for axis, size in enumerate(shape[:-2]) if size != 1]
        if not self.axes and len(long) <= len(LEADING_AXES) < len(shape) - 2:
            object.__setattr__(self, "data", Rearranged(self.data, long))
            shape = self.data.shape
        if len(shape) < 2 or len(shape) > 2 + len(LEADING_AXES):
            raise InputError(
                f"Expected an image (Y, X) or a stack with up to three axes (T, Z, C) in front, found shape {shape}."
            )
        axes = self.axes or DEFAULT_AXES[len(shape)]
        if not self.axes or axes[-3:] == "CYX":
            # programs that know no axes call 64 x 72 px of 2 channels 64 channels
            _check_channels_last(shape)
        if "S" in axes:
            raise InputError(_colour_problem(shape, dtype))
        leading = axes[:-2]
        fits = len(axes) == len(shape) and axes.endswith("YX") and len(set(leading)) == len(leading)
        if not fits or not set(leading) <= set(LEADING_AXES):
            raise InputError(f"Axes {axes!r} do not describe shape {shape}: expected T, Z, C in any order, then YX.")
        if dtype.kind not in "buif":
            raise InputError(f"Expected real numbers (integers or floats), found {dtype}.")
        if 0 in shape:
            raise InputError(f"Expected at least one pixel, found the empty shape {shape}.")
        object.__setattr__(self, "axes", axes)
        object.__setattr__(self, "pixels", cached(self.data))
        if self.stop is None:
            first = selected_axis(axes)
            object.__setattr__(self, "stop", 1 if first is None else int(shape[first]))

    @property
    def leading_shape(self) -> tuple[int, ...]:
        """Size of every axis in front of Y and X, after selection."""
        sizes = [int(size) for size in self.data.shape[:-2]]
        first = selected_axis(self.axes)
        if first is not None:
            sizes[first] = self.selectable
        return tuple(sizes)

    @property
    def frame_shape(self) -> tuple[int, int]:
        """(Y, X) of every frame."""
        height, width = self.data.shape[-2:]
        return int(height), int(width)

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the whole stack, after selection."""
        return (*self.leading_shape, *self.frame_shape)

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the pixels as stored."""
        return pixel_type(self.data)

    @property
    def selectable(self) -> int:
        """Number of steps along the first axis in front that is not the channel: what `select` counts."""
        assert self.stop is not None
        return self.stop - self.start if self.steps is None else len(self.steps)

    def __len__(self) -> int:
        return math.prod(self.leading_shape)

    def __getitem__(self, index: int) -> NDArray[Any]:
        """Return frame `index` (counted in C order over the leading axes) as a numpy array (Y, X)."""
        if not 0 <= index < len(self):
            raise IndexError(f"frame {index} of {len(self)}")
        check_frame_size(self.data)
        try:
            return to_numpy(self.pixels[self.position(index)])
        except MemoryError:
            raise
        except Exception as error:  # readers of damaged files raise errors of every kind
            raise UnreadableError(
                f"Frame {index} cannot be read ({error}): is the file whole, and its drive still there?"
            ) from error

    def __iter__(self) -> Iterator[NDArray[Any]]:
        return (self[index] for index in range(len(self)))

    def position(self, index: int) -> tuple[int, ...]:
        """Return the place of frame `index` in the leading axes of `data`."""
        place = [int(i) for i in np.unravel_index(index, self.leading_shape)] if self.leading_shape else []
        first = selected_axis(self.axes)
        if first is not None:
            place[first] = self.start + place[first] if self.steps is None else self.steps[place[first]]
        return tuple(place)

    def channel(self, index: int) -> int:
        """Return the channel of frame `index`; 0 where there is no channel axis."""
        return self.position(index)[self.axes.index("C")] if "C" in self.axes else 0

    @property
    def channels(self) -> Sequence[Mapping[str, Any]]:
        """What is known of every channel; empty where it is nothing, or of another number of channels."""
        count = self.data.shape[self.axes.index("C")] if "C" in self.axes else 1
        return self.metadata.channels if len(self.metadata.channels) == count else ()

    def layout(self) -> Self:
        """Return the stack without its pixels: how its frames are counted, which can be sent to other processes."""
        return replace(self, data=_Layout(tuple(map(int, self.data.shape)), self.dtype))

    def select(self, start: int, stop: int) -> Self:
        """Return the frames from `start` up to, not including, `stop` along time (or Z where there is no time).

        Raises `InputError` if they are not there.
        """
        if not 0 <= start < stop <= self.selectable:
            raise InputError(
                f"Frames {start}:{stop} were asked for, but the stack has {self.selectable} "
                f"(0:{self.selectable}); the start must come before the stop."
            )
        metadata = self.metadata
        if start:
            axis = self.axes[selected_axis(self.axes) or 0]
            position = {letter: place for letter, place in metadata.position.items() if letter != axis}
            metadata = replace(metadata, position=position)
        steps = None if self.steps is None else self.steps[start:stop]
        return replace(self, start=self.start + start, stop=self.start + stop, metadata=metadata, steps=steps)

    def select_ranges(self, ranges: Sequence[tuple[int, int]]) -> Self:
        """Return the frames of several ranges, one after the other; raises as `select`.

        Where they leave frames out in between, the step along the axis is unknown.
        """
        parts = [self.select(*one) for one in ranges]
        chosen = tuple(step for part in parts for step in part.steps or range(part.start, part.stop or 0))
        if chosen == tuple(range(chosen[0], chosen[-1] + 1)):
            return replace(parts[0], stop=chosen[-1] + 1, steps=None)
        axis = selected_axis(self.axes)
        unknown = {} if axis is None else {"z_step" if self.axes[axis] == "Z" else "time_step": None}
        return replace(parts[0], steps=chosen, calibration=replace(self.calibration, **unknown))


class _Layout(NamedTuple):
    """In place of an array."""

    shape: tuple[int, ...]
    dtype: np.dtype[Any]


class Rearranged:
    """A lazy array seen with other axes in front of Y and X.

    Parameters
    ----------
    data : array (..., Y, X)
        Anything with ``shape``, ``dtype`` and indexing.
    order : sequence of int or None
        Its leading axes in the order wanted; those left out have one step. None is a new axis of one step.
    """

    def __init__(self, data: Any, order: Sequence[int | None]) -> None:
        self._data, self._order = cached(data), list(order)
        leading = (1 if axis is None else int(data.shape[axis]) for axis in order)
        self.shape: tuple[int, ...] = (*leading, *map(int, data.shape[-2:]))
        self.dtype = pixel_type(data)

    def __getitem__(self, place: tuple[int, ...]) -> Any:
        """Return the frame at a place in the leading axes."""
        there = [0] * (len(self._data.shape) - 2)
        for axis, index in zip(self._order, place, strict=True):
            if axis is not None:
                there[axis] = index
        return self._data[tuple(there)]


class SomeSteps:
    """An array of which some steps along a leading axis are left out; reads nothing before it is asked.

    Parameters
    ----------
    data : array (..., Y, X)
        Anything with ``shape``, ``dtype``, ``chunks`` and indexing.
    axis : int
        One of its leading axes.
    steps : sequence of int
        The steps along it that are kept.

    Attributes
    ----------
    shape, dtype, ndim, chunks
        As of an array.
    """

    def __init__(self, data: Any, axis: int, steps: Sequence[int]) -> None:
        self._data, self._axis, self._steps = data, axis, list(steps)
        self.shape: tuple[int, ...] = (*data.shape[:axis], len(self._steps), *data.shape[axis + 1 :])
        self.dtype, self.ndim, self.chunks = data.dtype, len(self.shape), data.chunks

    def __getitem__(self, place: tuple[Any, ...]) -> Any:
        """Return the pixels at a place: integers and slices, one an axis, those of the last axes may be left out."""
        before, step, after = place[: self._axis], place[self._axis], place[self._axis + 1 :]
        if not isinstance(step, slice):
            return self._data[(*before, self._steps[step], *after)]
        parts = [self._data[(*before, one, *after)] for one in self._steps[step]]
        return np.stack(parts, axis=sum(isinstance(one, slice) for one in before))


def in_axes_of(frames: Frames, like: Frames) -> Frames:
    """Return a stack with the axes of another of the same field; as it is where it cannot be of that field.

    Axes of one step are left out or added, and the others put in the same order: file formats prescribe different ones.
    Where their letters differ, those of the same number of steps are the same.
    """
    ours, theirs = _long_axes(frames), _long_axes(like)
    if frames.axes == like.axes:
        return frames
    if list(ours.values()) == list(theirs.values()) and set(ours) != set(theirs):
        names = dict(zip(theirs, ours, strict=True))
    else:
        names = {axis: axis for axis in frames.axes if axis in like.axes}
    if not set(ours) <= set(names.values()):
        return frames
    order = [frames.axes.index(names[axis]) if axis in names else None for axis in like.axes[:-2]]
    data = Rearranged(_Chosen(frames), order)
    return replace(frames, data=data, axes=like.axes, start=0, stop=None, steps=None)


def truth_of(truth: Frames, frames: Frames) -> Frames:
    """Return a truth with the axes of its stack; one frame is the truth of every frame of a movie."""
    truth = in_axes_of(truth, frames)
    is_movie = set(_long_axes(frames)) == {"T"}
    if not (is_movie and len(truth) == 1 and truth.frame_shape == frames.frame_shape):
        return truth
    return Frames(np.broadcast_to(truth[0], frames.shape), frames.axes, truth.calibration, note=truth.note)


def _long_axes(frames: Frames) -> dict[str, int]:
    """Return the axes in front of Y and X that have several steps, and how many."""
    return {axis: size for axis, size in zip(frames.axes, frames.leading_shape, strict=False) if size > 1}


class _Chosen:
    """The frames of a selection as an array of their own."""

    def __init__(self, frames: Frames) -> None:
        self._frames, self.shape, self.dtype = frames, frames.shape, frames.dtype

    def __getitem__(self, place: tuple[int, ...]) -> Any:
        index = int(np.ravel_multi_index(place, self._frames.leading_shape)) if place else 0
        return self._frames.pixels[self._frames.position(index)]


def selected_axis(axes: str) -> int | None:
    """Return the axis along which frames are selected: the first in front of Y and X that is not the channel."""
    return next((i for i, axis in enumerate(axes[:-2]) if axis != "C"), None)


def _check_channels_last(shape: tuple[int, ...]) -> None:
    if len(shape) > 2 and 1 < shape[-1] <= MOST_CHANNELS_LAST and min(shape[-3:-1]) >= 8 * shape[-1]:
        raise InputError(
            f"Are channels last in shape {shape}? Then put them in front of Y and X (numpy.moveaxis(image, -1, -3)) "
            f"and save it so; if each frame is {shape[-2]} x {shape[-1]} px, name its axes (T, Z, C, Y, X)."
        )


def _colour_problem(shape: tuple[int, ...], dtype: np.dtype[Any]) -> str:
    if shape[-1] == 2:
        return f"Expected grey levels, found an image with transparency (alpha) of shape {shape}: save it without."
    channels = "" if dtype == np.uint8 else ", or, if the last axis is channels, put it in front: C, Y, X"
    return f"Expected grey levels, found a colour (RGB) image of shape {shape}: convert it first{channels}."
