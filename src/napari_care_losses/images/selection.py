"""Some of the frames of a stack, by their numbers, and a part of every frame."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from napari_care_losses.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence

    from numpy.typing import NDArray

    from napari_care_losses.images.frames import Frames
    from napari_care_losses.images.regions import Region


class Selection(NamedTuple):
    """What of a stack is asked for: some of its frames, and of these a part."""

    frames: tuple[int, ...] | None = None
    """Indices of the frames, ascending; None for all."""
    region: Region | None = None
    """The part of every frame; None for whole frames."""


def parse_ranges(text: str) -> list[tuple[int, int]]:
    """Return the ranges of frames that a text names: A:B is A up to, not including, B; commas separate several.

    Raises
    ------
    InputError
        If the text names no ranges, or some that overlap.

    Examples
    --------
    >>> parse_ranges("0:2,3:10")
    [(0, 2), (3, 10)]
    """
    ranges = [_parse_range(part) for part in text.split(",")]
    if any(shared_frames([one], ranges[:place]) for place, one in enumerate(ranges)):
        raise InputError(f"expected ranges that do not overlap, found {text!r}")
    return ranges


def shared_frames(ranges: Iterable[tuple[int, float]], others: Sequence[tuple[int, float]]) -> list[tuple[int, float]]:
    """Return the ranges of frames that lie in a range of one list and in one of the other.

    Examples
    --------
    >>> shared_frames([(0, 4), (8, 9)], [(2, 8)])
    [(2, 4)]
    """
    cuts = [(max(one[0], other[0]), min(one[1], other[1])) for one in ranges for other in others]
    return [(start, stop) for start, stop in cuts if start < stop]


def _parse_range(text: str) -> tuple[int, int]:
    try:
        start, stop = (int(part) for part in text.split(":"))
    except ValueError:
        alone = text.strip()
        hint = f" (frame {alone} alone is {alone}:{int(alone) + 1})" if alone.isdecimal() else ""
        raise InputError(f"expected A:B, two whole numbers such as 0:60, found {text!r}{hint}") from None
    return start, stop


def frames_in(frames: Frames, ranges: Sequence[tuple[int, int]]) -> tuple[int, ...]:
    """Return the indices of the frames in some ranges along time (or Z where there is no time), ascending.

    Raises
    ------
    InputError
        If the ranges reach beyond the stack.

    Examples
    --------
    >>> from napari_care_losses.images.frames import Frames
    >>> frames_in(Frames(np.zeros((3, 2, 8, 8)), "TCYX"), [(0, 1), (2, 3)])
    (0, 1, 4, 5)
    """
    axis, steps = frames.selected_axis, np.zeros(frames.selectable, bool)
    for start, stop in ranges:
        # it says where they are not there
        frames.select(start, stop)
        steps[start:stop] = True
    indices = np.arange(len(frames)).reshape(frames.leading_shape)
    return tuple(np.sort((indices if axis is None else indices.compress(steps, axis)).reshape(-1)).tolist())


def only_frames(frames: Frames, indices: Collection[int]) -> Frames | None:
    """Return a stack of some frames; None where they make none, as two planes of one time and three of another.

    Where frames in between are left out, the step along the axis is unknown.

    Examples
    --------
    >>> from napari_care_losses.images.frames import Frames
    >>> movie = Frames(np.arange(4 * 64).reshape(4, 8, 8), "TYX")
    >>> only_frames(movie, [1, 3]).shape
    (2, 8, 8)
    """
    places = np.array([np.unravel_index(index, frames.leading_shape) for index in sorted(set(indices))], int)
    steps = [np.unique(along).tolist() for along in places.T]
    if not len(places) or math.prod(map(len, steps)) != len(places):
        return None
    calibration, metadata = frames.calibration, frames.metadata
    for axis, kept, size in zip(frames.axes, steps, frames.leading_shape, strict=False):
        if len(kept) == size:
            continue
        if axis == "C":
            metadata = replace(metadata, channels=tuple(frames.channels[one] for one in kept if frames.channels))
        elif kept[-1] - kept[0] >= len(kept):
            calibration = replace(calibration, **{"z_step" if axis == "Z" else "time_step": None})
        if kept[0]:
            position = {letter: place for letter, place in metadata.position.items() if letter != axis}
            metadata = replace(metadata, position=position)
    data = _Picked(frames, steps)
    return replace(frames, data=data, calibration=calibration, metadata=metadata, start=0, stop=None, steps=None)


def part_of(frames: Frames, region: Region) -> Frames:
    """Return a stack of which every frame is a part of the given one, read when asked for.

    Examples
    --------
    >>> from napari_care_losses.images.frames import Frames
    >>> from napari_care_losses.images.regions import Region
    >>> part_of(Frames(np.arange(2 * 64).reshape(2, 8, 8), "TYX"), Region(0, 2, 4, 8))[0]
    array([[ 4,  5,  6,  7],
           [12, 13, 14, 15]])
    """
    position = {letter: place for letter, place in frames.metadata.position.items() if letter not in "YX"}
    return replace(frames, data=_Part(frames, region), metadata=replace(frames.metadata, position=position))


class _Picked:
    """An array of the frames at some steps along every leading axis."""

    def __init__(self, frames: Frames, steps: Sequence[Sequence[int]]) -> None:
        self._frames, self._steps, self.dtype = frames, steps, frames.dtype
        self.shape: tuple[int, ...] = (*map(len, steps), *frames.frame_shape)

    def __getitem__(self, place: tuple[int, ...]) -> NDArray[Any]:
        there = [steps[at] for steps, at in zip(self._steps, place, strict=True)]
        return self._frames[int(np.ravel_multi_index(there, self._frames.leading_shape)) if there else 0]


class _Part:
    """An array of which a part of every frame is kept."""

    def __init__(self, frames: Frames, region: Region) -> None:
        self._data, self._slices, self.dtype = frames.pixels, region.slices, frames.dtype
        self.shape: tuple[int, ...] = (*map(int, frames.data.shape[:-2]), *region.shape)

    def __getitem__(self, place: tuple[int, ...]) -> Any:
        return self._data[(*place, *self._slices)]
