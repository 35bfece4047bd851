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

MOST_CHANNELS_LAST = 5
"""Pixels of the last axis up to which it may be the channel, where both axes before it are far longer."""

LEADING_AXES = "TZC"
"""Axes that may stand in front of Y and X, in any combination and order."""

UNNAMED = "1"
"""Stands for an axis of one step that is none of them, such as the position of a single field."""


@dataclass(frozen=True, kw_only=True)
class Calibration:
    """Physical size of a pixel and time between frames; None where unknown."""

    pixel_size: tuple[float, float] | None = None
    """Height and width of a pixel, in micrometres."""
    z_step: float | None = None
    """Distance of planes, in micrometres."""
    time_step: float | None = None
    """Time between frames, in seconds."""

    @property
    def square_pixel(self) -> float | None:
        """Width of a pixel in micrometres, if it is known and pixels are square."""
        size = self.pixel_size
        return size[1] if size is not None and math.isclose(*size, rel_tol=0.01) else None


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
    provenance : mapping of str to str
        How the pixels were made, as `napari_care_losses.provenance.Record.texts` gives it; empty where unknown.
    """

    channels: Sequence[Mapping[str, Any]] = ()
    rendering: Mapping[str, Any] = field(default_factory=dict)
    position: Mapping[str, tuple[float, str]] = field(default_factory=dict)
    provenance: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Frames:
    """A stack of 2D frames, read one at a time.

    Parameters
    ----------
    data : array of shape (..., Y, X)
        Anything with ``shape``, ``dtype`` and indexing: numpy, dask, zarr. Up to three leading axes, and any number of
        one step.
    axes : str, optional
        One letter an axis: T, Z, C in any combination and order, 1 for others of one step, then YX. By default as from
        `name_axes`.
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
        axes = self.axes or name_axes(shape)
        if len(shape) < 2 or len(axes.replace(UNNAMED, "")) > 2 + len(LEADING_AXES):
            raise InputError(
                f"Expected an image (Y, X) or a stack with up to three axes (T, Z, C) in front, found shape {shape}."
            )
        if not self.axes or axes[-3:] == "CYX":
            # programs that know no axes call 64 x 72 px of 2 channels 64 channels
            _check_channels_last(shape)
        if "S" in axes:
            raise InputError(_colour_problem(shape, dtype))
        leading = axes[:-2].replace(UNNAMED, "")
        fits = len(axes) == len(shape) and axes.endswith("YX") and len(set(leading)) == len(leading)
        fits = fits and all(size == 1 for axis, size in zip(axes, shape, strict=True) if axis == UNNAMED)
        if not fits or not set(leading) <= set(LEADING_AXES):
            raise InputError(f"Axes {axes!r} do not describe shape {shape}: expected T, Z, C in any order, then YX.")
        if dtype.kind not in "buif":
            raise InputError(f"Expected real numbers (integers or floats), found {dtype}.")
        if 0 in shape:
            raise InputError(f"Expected at least one pixel, found the empty shape {shape}.")
        object.__setattr__(self, "axes", axes)
        object.__setattr__(self, "pixels", cached(self.data))
        if self.stop is None:
            first = self.selected_axis
            object.__setattr__(self, "stop", 1 if first is None else int(shape[first]))

    @property
    def leading_shape(self) -> tuple[int, ...]:
        """Size of every axis in front of Y and X, after selection."""
        sizes = [int(size) for size in self.data.shape[:-2]]
        first = self.selected_axis
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
    def selected_axis(self) -> int | None:
        """Place of the axis that `select` counts along: the first of several steps in front that is not the channel."""
        able = [place for place, axis in enumerate(self.axes[:-2]) if axis not in ("C", UNNAMED)]
        return next((place for place in able if self.data.shape[place] > 1), able[0] if able else None)

    @property
    def selectable(self) -> int:
        """Number of steps along the selected axis: what `select` counts."""
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
        first = self.selected_axis
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

    def whole(self) -> Self:
        """Return the stack without selection."""
        return replace(self, start=0, stop=None, steps=None)

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
            axis = self.axes[self.selected_axis or 0]
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
        axis = self.selected_axis
        unknown = {} if axis is None else {"z_step" if self.axes[axis] == "Z" else "time_step": None}
        return replace(parts[0], steps=chosen, calibration=replace(self.calibration, **unknown))


def name_axes(shape: Sequence[int], known: Sequence[str] = ()) -> str:
    """Return a letter for every axis of an array (..., Y, X): T, Z, C in this order for those that are not known.

    Where there are more than three in front, those of one step are called 1.

    Examples
    --------
    >>> name_axes((5, 4, 64, 64)), name_axes((5, 1, 3, 2, 64, 64)), name_axes((5, 4, 64, 64), ["C", ""])
    ('TZYX', 'T1ZCYX', 'CTYX')
    """
    leading = shape[:-2]
    known = known or [""] * len(leading)
    free = (letter for letter in LEADING_AXES if letter not in known)
    is_crowded = len(leading) > len(LEADING_AXES)
    letters = (
        letter or (UNNAMED if is_crowded and size == 1 else next(free, "?"))
        for letter, size in zip(known, leading, strict=True)
    )
    return "".join(letters) + "YX"


class _Layout(NamedTuple):
    """In place of an array."""

    shape: tuple[int, ...]
    dtype: np.dtype[Any]


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
