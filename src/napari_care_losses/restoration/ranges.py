"""The range of every frame of a stack: its own, one for the stack, or one that follows bleaching."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_care_losses.errors import ParameterError
from napari_care_losses.images.normalization import (
    SAMPLED_FRAMES,
    SAMPLED_PIXELS,
    Normalization,
    PercentileNormalization,
    Range,
    joint_range,
    stack_ranges,
)
from napari_care_losses.images.sampling import grid_over, one_a_cell, spread
from napari_care_losses.images.usable_pixels import Repairs, usable_frame

if TYPE_CHECKING:
    from collections.abc import Generator

    from numpy.typing import NDArray

    from napari_care_losses.images.frames import Frames
    from napari_care_losses.restoration.parameters import RestorationParameters

FEWEST_TIMES = 3
"""With fewer time points, one range for the stack stands in for one that follows bleaching."""

_SEED = 0
# least number of sampled time points where several planes are sampled too
_TIMES = 10
# stands in for the width 0 of a blank frame, which has no logarithm, relative to the widest
_BLANK = 1e-6
# the logarithm of a width that is 0 in double precision
_NO_WIDTH = -1e4
# Each point of a smooth course is fitted to this share of all points, but to this many at least.
_SPAN, _NEIGHBOURS = 0.25, 9
_ITERATIONS = 3
# residuals beyond this many median residuals get no weight (Cleveland 1979)
_OUTLIER = 6.0
# A flash needs a range so many times as wide as the shared one, and has that share of its pixels above the latter.
_FLASH, _FLASH_AREA = 6.0, 0.05


@dataclass(frozen=True)
class Ranges(ABC):
    """The range of every frame of a stack, without its pixels: it can be sent to other processes."""

    normalization: Normalization

    @abstractmethod
    def shared(self, index: int) -> Range | None:
        """Return the range of frame `index` as the other frames suggest it; None if every frame has its own."""

    def of(self, index: int, pixels: NDArray[Any]) -> Range:
        """Return the range of frame `index`, whose finite pixels are `pixels`, masked where they do not count.

        A flash has its own: with the shared one its grey levels would be far above all that the network was trained on.
        It is brighter as a whole: a bright object that passes makes none.
        """
        pixels, shared = np.ma.compressed(pixels), self.shared(index)
        if shared is not None:
            # The brightest pixel is found sooner than a range.
            if not pixels.size or float(pixels.max()) - shared.low <= _FLASH * shared.width:
                return shared
            if np.mean(pixels > shared.high) < _FLASH_AREA:
                return shared
        own = joint_range([pixels], self.normalization)
        return own if shared is None or own.width > _FLASH * shared.width else shared


def estimate_ranges(
    frames: Frames, parameters: RestorationParameters, normalization: Normalization
) -> Generator[int, None, Ranges]:
    """Estimate the ranges of a stack from a sample of it; the same every time.

    Parameters
    ----------
    frames : Frames
        The stack. Channels never share a range; the planes of a time point do, unless every frame has its own.
    parameters : RestorationParameters
        Kind of range, and percentiles.
    normalization : Normalization
        The model's, for percentiles that the parameters leave to it.

    Yields
    ------
    int
        Number of frames read so far; nothing if every frame has its own range.

    Raises
    ------
    InputError
        If a sampled pixel is beyond float32, or the low percentile is not below the high one.
    """
    parameters, chosen = parameters.resolved(normalization), chosen_normalization(parameters, normalization)
    if parameters.normalization == "frame":
        return _OwnRanges(chosen)
    if not _follows(frames, parameters):
        channels = yield from stack_ranges(frames, chosen, parameters.repairs)
        return _OneRange(chosen, frames.layout(), channels)
    courses = yield from _courses(frames, chosen, parameters.repairs)
    return _Courses(chosen, frames.layout(), courses)


def chosen_normalization(parameters: RestorationParameters, normalization: Normalization) -> Normalization:
    """Return the percentiles to use: the user's, or the model's where the user gives none.

    Raises `ParameterError` if the low one is not below the high one, or the model does not use percentiles.
    """
    low, high = parameters.low_percentile, parameters.high_percentile
    if not isinstance(normalization, PercentileNormalization):
        if low is not None or high is not None:
            raise ParameterError(
                "This model does not normalise by percentiles: leave the low and the high one to the model (-1)."
            )
        return normalization
    low = normalization.low if low is None else low
    high = normalization.high if high is None else high
    if not low < high:
        raise ParameterError(
            f"The low percentile must be below the high one, found {low:g} % and {high:g} %: lower the one or raise "
            "the other."
        )
    return replace(normalization, low=low, high=high)


def frames_to_sample(frames: Frames, parameters: RestorationParameters, normalization: Normalization) -> int:
    """Return how many frames `estimate_ranges` will read."""
    parameters = parameters.resolved(normalization)
    if parameters.normalization == "frame":
        return 0
    channels, times, planes = map(int, _places(frames).shape)
    if _follows(frames, parameters):
        return channels * math.prod(_sampled(times, planes))
    return channels * min(SAMPLED_FRAMES, times * planes)


@dataclass(frozen=True)
class _OwnRanges(Ranges):
    """Every frame its own."""

    def shared(self, index: int) -> None:
        """Return None."""


@dataclass(frozen=True)
class _OneRange(Ranges):
    """One a channel."""

    frames: Frames
    channels: dict[int, Range]

    def shared(self, index: int) -> Range:
        return self.channels[self.frames.channel(index)]


@dataclass(frozen=True)
class _Course:
    """Low level and width of a range at sampled times; level and logarithm of the width are interpolated linearly."""

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

    def shared(self, index: int) -> Range:
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
    sizes = {axis: size for axis, size in zip(frames.axes, frames.leading_shape, strict=False) if axis in "CTZ"}
    sizes |= {axis: 1 for axis in "CTZ" if axis not in sizes}
    return np.arange(len(frames)).reshape(*sizes.values()).transpose([[*sizes].index(axis) for axis in "CTZ"])


def _sampled(times: int, planes: int) -> tuple[int, int]:
    """Return how many times are sampled, and how many planes of each."""
    some = min(times, max(_TIMES, SAMPLED_FRAMES // planes))
    return some, min(planes, max(1, SAMPLED_FRAMES // some))


def _courses(
    frames: Frames, normalization: Normalization, repairs: Repairs
) -> Generator[int, None, dict[int, _Course]]:
    """Follow the range of every channel over time, in the same planes: their brightness may differ."""
    rng = np.random.default_rng(_SEED)
    read = 0
    courses = {}
    for channel, places in enumerate(_places(frames)):
        some_times, some_planes = _sampled(*places.shape)
        times = spread(range(len(places)), some_times, rng)
        depth = places.shape[1]
        planes = spread(range(depth), some_planes, rng) if some_planes > 1 else [depth // 2]
        grid = grid_over(frames.frame_shape, SAMPLED_PIXELS // some_planes)
        found: dict[int, Range] = {}
        blank = []
        for time in times:
            samples = []
            for index in places[time, planes].tolist():
                usable = usable_frame(frames[index], f"Frame {index}: ", repairs)
                pixels = np.ma.compressed(one_a_cell(usable.inside, grid, rng))
                if usable.is_blank:
                    blank.append(pixels)
                elif pixels.size:
                    samples.append(pixels)
                read += 1
                yield read
            if samples:
                found[time] = joint_range(samples, normalization)
        found = found or {0: joint_range(blank, normalization)}
        courses[channel] = _course(np.array(list(found), np.float64), np.array(list(found.values())))
    return courses


def _course(times: NDArray[np.float64], found: NDArray[np.float64]) -> _Course:
    """Smooth ranges (T, 2) along time: the low level as it is, the width by its logarithm.

    Light that fades exponentially over a constant offset has a width whose logarithm is a straight line.
    """
    widths = found[:, 1] - found[:, 0]
    widest = float(widths.max())
    if len(times) < FEWEST_TIMES:
        return _Course(times, found[:, 0], np.log(np.maximum(widths, np.finfo(np.float64).tiny)))
    if not widest > 0:
        return _Course(times, smoothed(times, found[:, 0]), np.full(len(times), _NO_WIDTH))
    log_widths = np.log(np.maximum(widths, _BLANK * widest))
    return _Course(times, smoothed(times, found[:, 0]), smoothed(times, log_widths))


def smoothed(times: NDArray[np.float64], values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return values smoothed along time by locally weighted linear regression, robust against outliers.

    Each point is fitted to its nearest neighbours, a quarter of all points, with tricube weights; points far off
    the curve lose their weight in further rounds (Cleveland 1979, doi:10.1080/01621459.1979.10481038). The first curve
    is made of repeated medians (Siegel 1982, doi:10.1093/biomet/69.1.242), which outliers cannot move while they are
    fewer than half of the neighbours, such as an object that stays for some frames. A straight line is not changed.

    Parameters
    ----------
    times, values : float64 array (N,)
        Times in ascending order, and the values there.
    """
    count = min(len(times), max(_NEIGHBOURS, round(_SPAN * len(times))))
    distances = np.abs(times[:, None] - times)
    reach = np.sort(distances, axis=1)[:, count - 1]
    # The farthest neighbour keeps a small weight, so that all of three points count.
    near = np.clip(1 - (distances / (1.001 * reach[:, None])) ** 3, 0, None) ** 3
    curve = _repeated_medians(times, values, np.argsort(distances, axis=1, kind="stable")[:, :count])
    for _ in range(_ITERATIONS):
        residuals = np.abs(values - curve)
        typical = float(np.median(residuals))
        if typical <= 1e-9 * float(np.abs(values).max()):
            trust = (residuals <= 1e-6 * np.abs(values).max()).astype(np.float64)
        else:
            trust = np.clip(1 - (residuals / (_OUTLIER * typical)) ** 2, 0, None) ** 2
        curve = _local_lines(times, values, near * trust)
    return curve


def _repeated_medians(
    times: NDArray[np.float64], values: NDArray[np.float64], neighbours: NDArray[np.intp]
) -> NDArray[np.float64]:
    """Return, at each time, the value of the line whose slope is the median of its neighbours' median slopes."""
    near, level = times[neighbours], values[neighbours]
    others = ~np.eye(neighbours.shape[1], dtype=bool)
    # (points, neighbours, other neighbours)
    runs = (near[:, None] - near[:, :, None])[:, others].reshape(*near.shape, -1)
    rises = (level[:, None] - level[:, :, None])[:, others].reshape(*near.shape, -1)
    slopes = np.median(np.median(rises / runs, axis=2), axis=1)
    line: NDArray[np.float64] = np.median(level - slopes[:, None] * (near - times[:, None]), axis=1)
    return line


def _local_lines(
    times: NDArray[np.float64], values: NDArray[np.float64], weights: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return, at each time, the value of the least-squares line with the weights of its row."""
    total = weights.sum(axis=1)
    # Where every neighbour is an outlier, the nearest value is taken.
    alone = total <= 1e-12
    weights = np.where(alone[:, None], np.eye(len(times)), weights)
    total = np.where(alone, 1.0, total)
    mean_time = weights @ times / total
    mean_value = weights @ values / total
    centred = times - mean_time[:, None]
    spread_of_times = (weights * centred**2).sum(axis=1)
    slope = (weights * centred * values).sum(axis=1) / np.where(spread_of_times > 0, spread_of_times, 1)
    line: NDArray[np.float64] = mean_value + slope * (times - mean_time)
    return line
