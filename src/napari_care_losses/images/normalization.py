"""Ranges of grey levels: estimate, apply, undo."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from napari_care_losses.compute.cores import in_threads, parts
from napari_care_losses.errors import ParameterError
from napari_care_losses.images.checks import finite
from napari_care_losses.images.sampling import grid_over, one_a_cell, spread
from napari_care_losses.images.usable_pixels import NO_REPAIRS, Repairs, usable_frame
from napari_care_losses.parameters import Parameters, parameter

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from numpy.typing import NDArray

    from napari_care_losses.images.frames import Frames

SAMPLED_FRAMES = 50
SAMPLED_PIXELS = 4_000_000
"""Frames and pixels a channel's range over a stack is estimated from at most."""

FLASH = 4.0
"""A frame whose range is so many times as wide as that of the frames around it does not count for theirs."""

_SEED = 0
# frames on both sides that a frame is compared with, and largest share of flashes
_NEAR, _MOST_FLASHES = 4, 0.1
# pixels counted at once: their grey levels as indices then fit the CPU's cache
_BLOCK = 1 << 20


class Range(NamedTuple):
    """Grey levels that become 0 and 1, in the image's own units."""

    low: float
    high: float

    def apply(self, image: NDArray[Any]) -> NDArray[np.float32]:
        """Return the image in normalised units, float32, not clipped."""
        exact = np.result_type(image.dtype, np.float32)
        normalized: NDArray[Any] = np.subtract(image, self.low, dtype=exact)
        normalized /= self.width
        return normalized.astype(np.float32, copy=False)

    def undo(self, image: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return a normalised image in the units it came from."""
        grey_levels = image * np.float32(self.width)
        grey_levels += np.float32(self.low)
        return grey_levels

    @property
    def width(self) -> float:
        """Distance of the two grey levels; 1 for a constant image, which then stays as it is."""
        width = self.high - self.low
        return width if width > 0 else 1.0


@dataclass(frozen=True, kw_only=True)
class Normalization(Parameters, ABC):
    """Which grey levels become 0 and 1 before the network sees an image."""

    of_dataset: bool = parameter(
        False, "Of the dataset", "Whether they are those of all frames of a stack together, unless the user asks."
    )

    def to_dict(self) -> dict[str, Any]:
        """Return the values; `of_dataset` only where it is set: files of earlier versions have none."""
        return {name: value for name, value in super().to_dict().items() if name != "of_dataset" or value}

    @abstractmethod
    def range_of(self, pixels: NDArray[Any], *, overwrites: bool = False) -> Range:
        """Return the range of finite pixels of any real dtype; `overwrites` as in `percentiles`."""


@dataclass(frozen=True, kw_only=True)
class PercentileNormalization(Normalization):
    """Percentiles of the image become 0 and 1 (CARE: 2 and 99.8)."""

    low: float = parameter(2.0, "Low percentile", "The percentile that becomes 0.", unit="%", low=0, high=50)
    high: float = parameter(99.8, "High percentile", "The percentile that becomes 1.", unit="%", low=50, high=100)

    def range_of(self, pixels: NDArray[Any], *, overwrites: bool = False) -> Range:  # noqa: D102
        return Range(*percentiles(pixels, self.low, self.high, overwrites=overwrites))


@dataclass(frozen=True, kw_only=True)
class Standardization(Normalization):
    """The image's mean becomes 0, and its mean plus its standard deviation 1."""

    def range_of(self, pixels: NDArray[Any], *, overwrites: bool = False) -> Range:  # noqa: D102
        mean = float(pixels.mean(dtype=np.float64))
        return Range(mean, mean + float(pixels.std(dtype=np.float64)))


@dataclass(frozen=True, kw_only=True)
class FixedLevels(Normalization):
    """The same two grey levels for every image."""

    low: float = parameter(0.0, "Low level", "The grey level that becomes 0.")
    high: float = parameter(1.0, "High level", "The grey level that becomes 1.")

    def range_of(self, pixels: NDArray[Any], *, overwrites: bool = False) -> Range:  # noqa: D102
        return Range(self.low, self.high)


_KINDS: dict[str, type[Normalization]] = {
    "percentiles": PercentileNormalization,
    "mean": Standardization,
    "fixed": FixedLevels,
}


def normalization_to_dict(normalization: Normalization) -> dict[str, Any]:
    """Return a normalization as plain values, ready for JSON."""
    kind = next(kind for kind, owner in _KINDS.items() if type(normalization) is owner)
    return normalization.to_dict() if kind == "percentiles" else {"kind": kind, **normalization.to_dict()}


def normalization_from_dict(values: dict[str, Any]) -> Normalization:
    """Return the normalization that plain values describe; raise `ParameterError` if there is none."""
    kind = values.get("kind", "percentiles")
    if kind not in _KINDS:
        raise ParameterError(f"A normalisation must be by one of {', '.join(_KINDS)}; found {kind!r}.")
    return _KINDS[kind].from_dict({name: value for name, value in values.items() if name != "kind"})


def frame_range(image: NDArray[Any], normalization: Normalization) -> Range:
    """Return the range of one frame; raise `InputError` if it holds NaN or infinite values."""
    return normalization.range_of(finite(image))


def stack_ranges(
    frames: Frames, normalization: Normalization, repairs: Repairs = NO_REPAIRS
) -> Generator[int, None, dict[int, Range]]:
    r"""Estimate one range a channel for a whole stack, from a sample of its frames and pixels; the same every time.

    Up to `SAMPLED_FRAMES` frames of a channel are all read; of more, one out of each of as many equal stretches, the
    first and the last among them. Up to `SAMPLED_PIXELS` pixels of those are all used; of more, one out of each cell
    of a grid. Where in its stretch or cell is drawn at random, with a fixed seed: a regular choice would see a
    periodic structure, a stack of planes for instance, always at the same phase.

    The grey level returned for the percentile :math:`100 p` has another rank in the whole stack. Choosing :math:`n`
    pixels moves it by :math:`\sqrt{p (1 - p) / n}` (standard deviation; less where neighbours are alike): at
    4,000,000 pixels by 0.007 percent for the percentile 2 and 0.002 for 99.8. Choosing frames moves it by a fiftieth at
    most of all that the rank of a grey level changes on its way through the stack, and by far less where it changes
    steadily: by 0.08 percent (standard deviation) of that.

    Pixels outside, blank frames and flashes (`FLASH`) are left out. One frame and the sample are in memory.

    Yields
    ------
    int
        Number of frames read so far.

    Returns
    -------
    dict of int to Range
        The range of every channel.

    Raises
    ------
    InputError
        If a sampled pixel is beyond float32.
    """
    channels: dict[int, list[int]] = {}
    for index in range(len(frames)):
        channels.setdefault(frames.channel(index), []).append(index)
    rng = np.random.default_rng(_SEED)
    read = 0
    ranges = {}
    for channel, indices in channels.items():
        sampled = spread(indices, SAMPLED_FRAMES, rng)
        grid = grid_over(frames.frame_shape, SAMPLED_PIXELS // len(sampled))
        samples, blank, widths = [], [], []
        for index in sampled:
            usable = usable_frame(frames[index], f"Frame {index}: ", repairs)
            pixels = np.ma.compressed(one_a_cell(usable.inside, grid, rng))
            if usable.is_blank:
                blank.append(pixels)
            elif pixels.size:
                samples.append(pixels)
                widths.append(normalization.range_of(pixels).width)
            read += 1
            yield read
        usual = [pixels for pixels, flash in zip(samples, _flashes(np.array(widths)), strict=True) if not flash]
        ranges[channel] = joint_range(usual or blank, normalization)
    return ranges


def joint_range(samples: list[NDArray[Any]], normalization: Normalization) -> Range:
    """Return the range of several samples of pixels; one without contrast if there are no pixels."""
    pixels = np.concatenate(samples)
    return normalization.range_of(pixels, overwrites=True) if pixels.size else Range(0, 0)


def _flashes(widths: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Return which of some frames' ranges are far wider than those around them; none if they are many."""
    around = [np.median(widths[max(0, i - _NEAR) : i + _NEAR + 1]) for i in range(len(widths))]
    flashes: NDArray[np.bool_] = widths > FLASH * np.array(around)
    return flashes if flashes.sum() <= max(1, _MOST_FLASHES * len(widths)) else np.zeros_like(flashes)


def mapped(image: NDArray[Any], to: Callable[[NDArray[np.float64]], NDArray[np.float64]]) -> NDArray[np.float64]:
    """Return an image of any real dtype with every grey level mapped in float64, by one thread a core.

    Examples
    --------
    >>> mapped(np.array([[0, 100]], np.uint16), lambda levels: levels / 100)
    array([[0., 1.]])
    """
    result = np.empty(image.shape)
    flat, levels = result.reshape(-1), image.ravel()

    def fill(part: range) -> None:
        for start in part:
            block = slice(start, start + part.step)
            flat[block] = to(levels[block].astype(np.float64, copy=False))

    in_threads(fill, parts(levels.size))
    return result


def percentiles(pixels: NDArray[Any], low: float, high: float, *, overwrites: bool = False) -> tuple[float, float]:
    """Return two percentiles as `numpy.percentile` does, by linear interpolation, in a fraction of its time.

    The pixels are finite and of any real dtype, the percentiles 0 to 100, the lower one first. With `overwrites` the
    pixels may be put in another order, which saves a copy.
    """
    if pixels.dtype.kind in "biu" and pixels.dtype.itemsize <= 2:
        return _percentiles_by_count(pixels, low, high)
    native = pixels.dtype.newbyteorder("=")
    return _percentiles_by_selection(pixels.astype(native, order="C", copy=not overwrites).reshape(-1), low, high)


def _percentiles_by_count(pixels: NDArray[Any], low: float, high: float) -> tuple[float, float]:
    lowest = 0 if pixels.dtype.kind == "b" else int(np.iinfo(pixels.dtype).min)
    values = 1 << (8 * pixels.dtype.itemsize)
    counts = np.zeros(values, np.int64)
    flat = pixels.ravel()
    for start in range(0, flat.size, _BLOCK):
        block = flat[start : start + _BLOCK]
        # subtracted in the type of an index: in the image's own it would overflow
        counts += np.bincount(np.subtract(block, lowest, dtype=np.intp) if lowest else block, minlength=values)
    below = counts.cumsum()

    def level(rank: int) -> float:
        return float(np.searchsorted(below, rank, side="right")) + lowest

    def percentile(percent: float) -> float:
        rank, fraction = _rank(percent, flat.size)
        return _between(level(rank), level(min(rank + 1, flat.size - 1)), fraction)

    return percentile(low), percentile(high)


def _percentiles_by_selection(pixels: NDArray[Any], low: float, high: float) -> tuple[float, float]:
    """Reorder the pixels, which must be flat, until those of the ranks wanted stand in their places."""
    found = []
    first = 0
    for percent in (low, high):
        rank, fraction = _rank(percent, pixels.size)
        # one rank a call: numpy's vectorised selection takes no more
        pixels[first:].partition(rank - first)
        above = pixels[rank + 1 :]
        level = float(pixels[rank])
        found.append(_between(level, float(above.min()) if above.size else level, fraction))
        first = rank
    return found[0], found[1]


def _rank(percent: float, count: int) -> tuple[int, float]:
    """Return the rank at or below a percentile, and the fraction of the way to the next."""
    position = percent / 100 * (count - 1)
    return int(position), position - int(position)


def _between(lower: float, upper: float, fraction: float) -> float:
    # from the nearer end, as numpy does
    return lower + (upper - lower) * fraction if fraction < 0.5 else upper - (upper - lower) * (1 - fraction)
