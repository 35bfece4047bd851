"""An array that grows along time, or is filled frame by frame."""

from __future__ import annotations

import time
from bisect import bisect_right
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_care_losses.errors import InputError, UnreadableError
from napari_care_losses.following.source import Arrived, FrameGoneError, Layout
from napari_care_losses.following.sources.received_frames import ReceivedFrames
from napari_care_losses.images.any_array import to_numpy

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from napari_care_losses.images.frames import Frames

AHEAD = 32
"""Frames of a preallocated array that are looked for in one go."""


class GrowingArray(ReceivedFrames):
    """The frames of a stack whose array is replaced by longer ones, or whose frames are filled one after the other.

    Of an array that was made as long as the movie will be, frames of nothing but zeros at its end have not come yet.

    Parameters
    ----------
    name : str
        What the user calls it.
    frames : Frames
        What there is so far; time is its first axis.

    Raises
    ------
    InputError
        If time is not the first axis.

    Examples
    --------
    >>> import numpy as np
    >>> from napari_care_losses.images.frames import Frames
    >>> movie = np.zeros((5, 4, 4), np.uint16)
    >>> movie[:2] = 7
    >>> source = GrowingArray("movie", Frames(movie))
    >>> source.poll().count
    2
    >>> movie[2] = 7
    >>> source.poll().count
    3
    >>> source.grow(Frames(np.full((8, 4, 4), 7, np.uint16)))
    >>> source.poll().count
    8
    """

    keeps_frames = True

    def __init__(self, name: str, frames: Frames) -> None:
        super().__init__(name)
        self._frames = frames
        self._layout = _layout(frames, name)
        self._count = 0
        self._is_first_look = True
        # numbers of frames that had come at these times
        self._counts: list[int] = []
        self._times: list[float] = []

    def grow(self, frames: Frames) -> None:
        """Go on with a longer stack, of which the frames so far are the same."""
        with self._changed:
            try:
                after = _layout(frames, self.name)
            except InputError as error:
                self._has_ended, self.is_changed, self._note = True, True, str(error)
            else:
                before = self._layout
                assert before is not None
                same = [(one.frame_shape, one.dtype, one.axes, one.inner) for one in (before, after)]
                if same[0] != same[1] or len(frames) < len(self._frames):
                    self._has_ended = self.is_changed = True
                    self._note = f"{self.name} was replaced by data of shape {frames.shape}, {frames.dtype}."
                else:
                    self._frames = frames
            self._wake()

    def poll(self) -> Arrived:
        """Look how far the array is filled."""
        with self._changed:
            frames, has_ended, note = self._frames, self._has_ended, self._note
        if not has_ended:
            count = self._filled(frames)
            if count > self._count:
                if not self._is_first_look:
                    self._counts.append(self._count)
                    self._times.append(time.monotonic())
                self._count = count
            self._is_first_look = False
        return Arrived(self._count, has_ended=has_ended, note=note)

    def frame(self, number: int) -> NDArray[Any]:
        """Return a frame (Y, X); raises `UnreadableError` if it cannot be read."""
        with self._changed:
            frames = self._frames
        if not 0 <= number < len(frames):
            raise FrameGoneError(f"{self.name} has no frame {number}.")
        return np.array(_read(frames, number))

    def arrival(self, number: int) -> float | None:
        """Return when a frame was seen first, in seconds of `time.monotonic`; None of those that were there before."""
        place = bisect_right(self._counts, number) - 1
        return self._times[place] if place >= 0 else None

    def _filled(self, frames: Frames) -> int:
        """Return how many frames have come."""
        count, whole = self._count, len(frames)
        if count == whole or not _is_blank(frames, whole - 1):
            return whole
        if self._is_first_look:
            return _boundary(frames)
        # a dark frame between others has come, too
        for _ in range(AHEAD):
            steps = next(
                (step for step in (1, 2) if count + step < whole and not _is_blank(frames, count + step - 1)), 0
            )
            if not steps:
                break
            count += steps
        return count


def _boundary(frames: Frames) -> int:
    """Return the number of frames before the blank ones at the end, found by halving."""
    low, high = 0, len(frames) - 1
    while low < high:
        middle = (low + high) // 2
        if _is_blank(frames, middle):
            high = middle
        else:
            low = middle + 1
    return low


def _is_blank(frames: Frames, number: int) -> bool:
    return not _read(frames, number).any()


def _read(frames: Frames, number: int) -> NDArray[Any]:
    # from the data themselves: chunks that are kept may have been read before they were filled
    try:
        return to_numpy(frames.data[frames.position(number)])
    except MemoryError:
        raise
    except Exception as error:  # arrays of other libraries raise errors of every kind
        raise UnreadableError(f"Frame {number} cannot be read ({error}).") from error


def _layout(frames: Frames, name: str) -> Layout:
    axes = frames.axes
    if not axes.startswith("T") or not set(axes[1:-2]) <= {"Z", "C"}:
        raise InputError(
            f"{name}: expected time as the first axis of a stack that grows, found the axes {axes}: label it t, or "
            "transpose it."
        )
    return Layout(
        frame_shape=frames.frame_shape,
        dtype=frames.dtype,
        axes=axes,
        inner=frames.leading_shape[1:],
        calibration=frames.calibration,
        metadata=frames.metadata,
    )
