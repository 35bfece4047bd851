"""Some of the frames of a stack, by their numbers, and a part of every frame."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from napari_care_losses.errors import InputError
from napari_care_losses.images.axes import truth_of

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


EVERYTHING = Selection()
"""Every frame, whole."""


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


def as_ranges(numbers: Iterable[int]) -> list[tuple[int, int]]:
    """Return the ranges that ascending numbers make, as `parse_ranges` gives them.

    Examples
    --------
    >>> as_ranges([0, 1, 5])
    [(0, 2), (5, 6)]
    """
    ranges: list[tuple[int, int]] = []
    for number in numbers:
        if ranges and ranges[-1][1] == number:
            ranges[-1] = (ranges[-1][0], number + 1)
        else:
            ranges.append((number, number + 1))
    return ranges


def numbered(frames: Frames, ranges: Sequence[tuple[int, int]]) -> tuple[int, ...]:
    """Return the indices of the frames in some ranges counted over all axes in front, ascending.

    Raises
    ------
    InputError
        If the ranges reach beyond the stack.

    Examples
    --------
    >>> from napari_care_losses.images.frames import Frames
    >>> numbered(Frames(np.zeros((3, 2, 8, 8)), "TZYX"), [(4, 6), (1, 2)])
    (1, 4, 5)
    """
    for start, stop in ranges:
        if not 0 <= start < stop <= len(frames):
            raise InputError(
                f"Frames {start}:{stop} were asked for, but the stack has {len(frames)} in all (0:{len(frames)}); the "
                "start must come before the stop."
            )
    return tuple(sorted(index for start, stop in ranges for index in range(start, stop)))


def chosen_stack(frames: Frames, selection: Selection) -> Frames:
    """Return the stack that a selection makes; raise `InputError` where its frames make none.

    Examples
    --------
    >>> from napari_care_losses.images.frames import Frames
    >>> from napari_care_losses.images.regions import Region
    >>> chosen_stack(Frames(np.zeros((3, 8, 8)), "TYX"), Selection((1, 2), Region(0, 2, 4, 8))).shape
    (2, 2, 4)
    """
    chosen = frames
    if selection.frames is not None:
        some = only_frames(frames, selection.frames)
        if some is None:
            raise InputError(
                "The frames chosen make no stack, such as two planes of one time and three of another: choose the same "
                "of each."
            )
        chosen = some
    if selection.region is None:
        return chosen
    y0, y1, x0, x1 = selection.region
    height, width = frames.frame_shape
    if not (0 <= y0 < y1 <= height and 0 <= x0 < x1 <= width):
        raise InputError(
            f"The region {y0}:{y1},{x0}:{x1} was asked for, but the frames are {height} x {width} px "
            f"(0:{height},0:{width})."
        )
    return part_of(chosen, selection.region)


def channel_of(frames: Frames, number: int) -> Frames:
    """Return the frames of one channel of a stack.

    Raises
    ------
    InputError
        If there is no such channel.

    Examples
    --------
    >>> from napari_care_losses.images.frames import Frames
    >>> channel_of(Frames(np.zeros((3, 2, 8, 8)), "TCYX"), 1).shape
    (3, 1, 8, 8)
    """
    count = frames.leading_shape[frames.axes.index("C")] if "C" in frames.axes else 1
    if not 0 <= number < count:
        raise InputError(f"Channel {number} was asked for, but there are {count}, counted from 0.")
    some = only_frames(frames, [index for index in range(len(frames)) if frames.channel(index) == number])
    assert some is not None
    return some


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


def chosen_truth(
    truth: Frames, whole: Frames, *, channel: int | None = None, ranges: Sequence[tuple[int, int]] | None = None
) -> Frames:
    """Return the frames of a truth that belong to what was chosen of its stack.

    Parameters
    ----------
    truth : Frames
        All frames, or one for every frame of a movie, or just those that were chosen; of one channel, or of all.
    whole : Frames
        The stack, of the channel chosen, before frames were.
    channel, ranges
        What was chosen, as `channel_of` and `Frames.select_ranges` take it.

    Raises
    ------
    InputError
        If the truth has no such channel or frames.

    Examples
    --------
    >>> from napari_care_losses.images.frames import Frames
    >>> both = Frames(np.zeros((9, 2, 8, 8)), "TCYX")
    >>> chosen_truth(both, channel_of(both, 1), channel=1, ranges=[(0, 4)]).shape
    (4, 1, 8, 8)
    """
    several = "C" in truth.axes and truth.leading_shape[truth.axes.index("C")] > 1
    if channel is not None and several:
        truth = channel_of(truth, channel)
    truth = truth_of(truth, whole)
    if ranges is None or truth.selectable == sum(stop - start for start, stop in ranges):
        return truth
    return truth.select_ranges(ranges)


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
