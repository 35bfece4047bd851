"""Percentile ranges: estimate, apply, undo."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from napari_care_losses.core.errors import InputError
from napari_care_losses.core.parameters import Parameters, parameter

if TYPE_CHECKING:
    from collections.abc import Generator

    from numpy.typing import NDArray

    from napari_care_losses.core.frames import Frames

SAMPLED_FRAMES = 50
SAMPLED_PIXELS = 4_000_000
"""Frames and pixels a channel's range over a stack is estimated from at most, both on a regular grid."""


@dataclass(frozen=True, kw_only=True)
class Normalization(Parameters):
    """Which grey levels become 0 and 1 before the network sees an image (CARE: percentiles 2 and 99.8)."""

    low: float = parameter(2.0, "Low percentile", "The percentile that becomes 0.", unit="%", low=0, high=50)
    high: float = parameter(99.8, "High percentile", "The percentile that becomes 1.", unit="%", low=50, high=100)


class Range(NamedTuple):
    """Grey levels that become 0 and 1, in the image's own units."""

    low: float
    high: float

    def apply(self, image: NDArray[Any]) -> NDArray[np.float32]:
        """Return the image in normalised units, float32, not clipped."""
        exact = np.result_type(image.dtype, np.float32)
        return ((image.astype(exact) - self.low) / self.width).astype(np.float32, copy=False)

    def undo(self, image: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return a normalised image in the units it came from."""
        return image * np.float32(self.width) + np.float32(self.low)

    @property
    def width(self) -> float:
        """Distance of the two levels; 1 for a constant image, which then stays as it is."""
        width = self.high - self.low
        return width if width > 0 else 1.0


def countable(image: NDArray[Any]) -> NDArray[Any]:
    """Return the image in a type numpy and scipy can take percentiles and maxima of without overflow or rounding.

    Booleans cannot be subtracted, the distance of two signed integers may not fit their type, and half precision is
    too coarse (and unknown to scipy).
    """
    if image.dtype.kind in "bi" or (image.dtype.itemsize == 2 and image.dtype.kind == "f"):
        return image.astype(np.result_type(image.dtype, np.float32))
    return image


def frame_range(image: NDArray[Any], normalization: Normalization) -> Range:
    """Return the range of one frame.

    Raises
    ------
    InputError
        If the frame holds NaN or infinite values.
    """
    return _percentile_range(finite(image), normalization)


def stack_ranges(frames: Frames, normalization: Normalization) -> Generator[int, None, dict[int, Range]]:
    """Estimate one range a channel for a whole stack, from a regular sample of its frames and pixels.

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
        If a sampled frame holds NaN or infinite values.
    """
    channels: dict[int, list[int]] = {}
    for index in range(len(frames)):
        channels.setdefault(frames.channel(index), []).append(index)
    read = 0
    ranges = {}
    for channel, indices in channels.items():
        sampled = indices[:: math.ceil(len(indices) / SAMPLED_FRAMES)]
        step = math.ceil(math.sqrt(len(sampled) * math.prod(frames.frame_shape) / SAMPLED_PIXELS))
        pixels = []
        for index in sampled:
            pixels.append(finite(frames[index][::step, ::step].ravel(), f"Frame {index}: "))
            read += 1
            yield read
        ranges[channel] = _percentile_range(np.concatenate(pixels), normalization)
    return ranges


def finite(pixels: NDArray[Any], where: str = "") -> NDArray[Any]:
    """Return the pixels, all finite.

    Raises
    ------
    InputError
        If some are NaN or infinite; the message starts with `where`.
    """
    if pixels.dtype.kind == "f" and not np.isfinite(pixels).all():
        count = int(pixels.size - np.isfinite(pixels).sum())
        raise InputError(f"{where}{count} of {pixels.size} pixels are NaN or infinite: replace them before restoring.")
    return pixels


def _percentile_range(pixels: NDArray[Any], normalization: Normalization) -> Range:
    low, high = np.percentile(countable(pixels), [normalization.low, normalization.high])
    return Range(float(low), float(high))
