"""The range of every frame of a stack: its own, one for all, or one that follows bleaching."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_care_losses.errors import InputError, ParameterError
from napari_care_losses.images.checks import finite
from napari_care_losses.images.normalization import (
    SAMPLED_FRAMES,
    SAMPLED_PIXELS,
    Levels,
    Normalization,
    Range,
    frame_range,
    stack_ranges,
)
from napari_care_losses.images.sampling import grid_over, one_a_cell, spread
from napari_care_losses.restoration.smoothing import smoothed

if TYPE_CHECKING:
    from collections.abc import Generator

    from numpy.typing import NDArray

    from napari_care_losses.images.frames import Frames
    from napari_care_losses.restoration.parameters import RestorationParameters

FEWEST_TIMES = 3
"""Time points below which there is no course to follow: one range for the stack then."""

_SEED = 0
# time points that are sampled at least where there are several planes to be sampled too
_TIMES = 10
# a blank frame's width in place of 0, which has no logarithm, as a share of the widest
_BLANK = 1e-6
# the logarithm of a width that is 0 in double precision
_NO_WIDTH = -1e4


class Ranges(ABC):
    """The range of every frame of a stack; without its pixels, so that it can be sent to other processes."""

    @abstractmethod
    def of(self, index: int, frame: NDArray[Any]) -> Range:
        """Return the range of a frame.

        Parameters
        ----------
        index : int
            Its place in the stack.
        frame : array (Y, X) of any real dtype
            Its pixels, which have been read already.

        Raises
        ------
        InputError
            If the frame holds NaN or infinite values; the message names it.
        """


def estimate_ranges(
    frames: Frames, parameters: RestorationParameters, normalization: Levels
) -> Generator[int, None, Ranges]:
    """Estimate the ranges of a stack from a sample of it; the same every time.

    Parameters
    ----------
    frames : Frames
        The stack. Channels never share a range; the planes of a time point always do, but for every frame's own.
    parameters : RestorationParameters
        Whose percentiles, and which.
    normalization : Levels
        The model's: its percentiles, for those that the parameters leave to it.

    Yields
    ------
    int
        Number of frames read so far; nothing where every frame has its own range.

    Returns
    -------
    Ranges
        The range of every frame.

    Raises
    ------
    InputError
        If a sampled pixel is NaN or infinite, or if the percentiles do not go together.
    """
    levels = chosen_levels(parameters, normalization)
    if parameters.normalization == "frame":
        return _OwnRanges(levels)
    if not _follows(frames, parameters):
        return _OneRange(frames.layout(), (yield from stack_ranges(frames, levels)))
    return _Courses(frames.layout(), (yield from _courses(frames, levels)))


def chosen_levels(parameters: RestorationParameters, normalization: Levels) -> Levels:
    """Return the levels to be used: the user's percentiles, and the model's where the user leaves them to it.

    Raises
    ------
    ParameterError
        If the low one is not below the high one, or the model does not normalise by percentiles.
    """
    low, high = parameters.low_percentile, parameters.high_percentile
    if not isinstance(normalization, Normalization):
        if low is not None or high is not None:
            raise ParameterError(
                "This model does not normalise by percentiles: leave the low and the high one to the model (-1)."
            )
        return normalization
    levels = Normalization(
        low=normalization.low if low is None else low,
        high=normalization.high if high is None else high,
    )
    if not levels.low < levels.high:
        raise ParameterError(
            f"The low percentile must be below the high one, found {levels.low:g} % and {levels.high:g} %: lower the "
            "one or raise the other."
        )
    return levels


def frames_to_sample(frames: Frames, parameters: RestorationParameters) -> int:
    """Return how many frames `estimate_ranges` will read."""
    if parameters.normalization == "frame":
        return 0
    channels, times, planes = map(int, _places(frames).shape)
    if _follows(frames, parameters):
        return channels * math.prod(_sampled(times, planes))
    return channels * min(SAMPLED_FRAMES, times * planes)


@dataclass(frozen=True)
class _OwnRanges(Ranges):
    """Every frame its own."""

    levels: Levels

    def of(self, index: int, frame: NDArray[Any]) -> Range:
        try:
            return frame_range(frame, self.levels)
        except InputError as error:
            raise InputError(f"Frame {index}: {error}") from error


@dataclass(frozen=True)
class _OneRange(Ranges):
    """One a channel."""

    frames: Frames
    channels: dict[int, Range]

    def of(self, index: int, frame: NDArray[Any]) -> Range:
        finite(frame, f"Frame {index}: ")
        return self.channels[self.frames.channel(index)]


@dataclass(frozen=True)
class _Course:
    """Low level and width of a range at sampled times; lines of the level and of the logarithm in between."""

    times: NDArray[np.float64]
    lows: NDArray[np.float64]
    log_widths: NDArray[np.float64]

    def at(self, time: float) -> Range:
        low = float(np.interp(time, self.times, self.lows))
        return Range(low, low + float(np.exp(np.interp(time, self.times, self.log_widths))))


@dataclass(frozen=True)
class _Courses(Ranges):
    """One course over time a channel."""

    frames: Frames
    channels: dict[int, _Course]

    def of(self, index: int, frame: NDArray[Any]) -> Range:
        finite(frame, f"Frame {index}: ")
        return self.channels[self.frames.channel(index)].at(_time(self.frames, index))


def _follows(frames: Frames, parameters: RestorationParameters) -> bool:
    if parameters.normalization != "bleaching" or "T" not in frames.axes:
        return False
    return frames.leading_shape[frames.axes.index("T")] >= FEWEST_TIMES


def _time(frames: Frames, index: int) -> int:
    place: np.intp = np.unravel_index(index, frames.leading_shape)[frames.axes.index("T")]
    return int(place)


def _places(frames: Frames) -> NDArray[np.intp]:
    """Return the index of every frame, by channel, time and plane."""
    places = np.arange(len(frames)).reshape(*frames.leading_shape, *(1 for axis in "CTZ" if axis not in frames.axes))
    axes = frames.axes[:-2] + "".join(axis for axis in "CTZ" if axis not in frames.axes)
    return places.transpose([axes.index(axis) for axis in "CTZ"])


def _sampled(times: int, planes: int) -> tuple[int, int]:
    """Return how many times are sampled, and how many planes of each."""
    some = min(times, max(_TIMES, SAMPLED_FRAMES // planes))
    return some, min(planes, max(1, SAMPLED_FRAMES // some))


def _courses(frames: Frames, levels: Levels) -> Generator[int, None, dict[int, _Course]]:
    """Follow the range of every channel over time.

    The same planes are sampled at every time: others would add the brightness of planes to that of times.
    """
    rng = np.random.default_rng(_SEED)
    read = 0
    courses = {}
    for channel, places in enumerate(_places(frames)):
        some_times, some_planes = _sampled(*places.shape)
        times = spread(range(len(places)), some_times, rng)
        depth = places.shape[1]
        planes = spread(range(depth), some_planes, rng) if some_planes > 1 else [depth // 2]
        grid = grid_over(frames.frame_shape, SAMPLED_PIXELS // some_planes)
        found = []
        for time in times:
            sample = np.empty((some_planes, *grid), frames.dtype)
            for pixels, index in zip(sample, places[time, planes].tolist(), strict=True):
                pixels[:] = finite(one_a_cell(frames[index], grid, rng), f"Frame {index}: ")
                read += 1
                yield read
            found.append(levels.range_of(sample, overwrites=True))
        courses[channel] = _course(np.array(times, np.float64), np.array(found))
    return courses


def _course(times: NDArray[np.float64], found: NDArray[np.float64]) -> _Course:
    """Smooth ranges (T, 2) along time: the low level as it is, the width by its logarithm.

    Light that fades exponentially over a constant offset has a width whose logarithm is a straight line.
    """
    widths = found[:, 1] - found[:, 0]
    widest = float(widths.max())
    if not widest > 0:
        return _Course(times, smoothed(times, found[:, 0]), np.full(len(times), _NO_WIDTH))
    log_widths = np.log(np.maximum(widths, _BLANK * widest))
    return _Course(times, smoothed(times, found[:, 0]), smoothed(times, log_widths))
