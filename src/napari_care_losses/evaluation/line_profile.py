"""Intensity along a line across an image."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from napari_care_losses.errors import InputError
from napari_care_losses.images.checks import real_frame

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray


def line_profile(
    image: ArrayLike, start: tuple[float, float], stop: tuple[float, float], width: int = 1
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the intensity along a line, interpolated linearly between pixels.

    Parameters
    ----------
    image : (Y, X) array of any real dtype
        One frame.
    start, stop : tuple of float
        Ends of the line (y, x) in pixels; whole numbers are centres of pixels.
    width : int
        Number of parallel lines, one pixel apart, that are averaged.

    Returns
    -------
    distance : (N,) float64
        Distance from the start in pixels, evenly spaced by one pixel or a little less; both ends included.
    intensity : (N,) float64
        In grey levels of the image; NaN where the line lies outside of it.

    Raises
    ------
    InputError
        If the image is not 2D and real, the ends are not finite, or the width is below 1.
    """
    array = real_frame(image)
    if not np.isfinite([*start, *stop]).all():
        raise InputError(f"The ends of a profile must be finite, found {start} and {stop}: draw the line again.")
    if width < 1:
        raise InputError(f"A profile must be at least 1 pixel wide, found {width}.")
    along = np.subtract(stop, start, dtype=np.float64)
    length = math.hypot(*along)
    distance = np.linspace(0, length, math.ceil(length) + 1)
    direction = along / length if length else np.zeros(2)
    # perpendicular to the line, centred on it
    offsets = (np.arange(width) - (width - 1) / 2)[:, None]
    y = start[0] + distance * direction[0] - offsets * direction[1]
    x = start[1] + distance * direction[1] + offsets * direction[0]
    lines = _interpolated(array, y, x)
    # parallel lines are averaged where they lie inside the image
    is_inside = np.isfinite(lines)
    counts, sums = is_inside.sum(axis=0), np.where(is_inside, lines, 0).sum(axis=0)
    return distance, np.divide(sums, counts, out=np.full(distance.size, np.nan), where=counts > 0)


def _interpolated(image: NDArray[np.float64], y: NDArray[np.float64], x: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the image at points between its pixels' centres; NaN outside of them."""
    height, width = image.shape
    # rounding must not put the end of a line along the edge outside
    y, x = np.round(y, 9), np.round(x, 9)
    is_inside = (y >= 0) & (y <= height - 1) & (x >= 0) & (x <= width - 1)
    y, x = np.where(is_inside, y, 0), np.where(is_inside, x, 0)
    top, left = y.astype(np.intp), x.astype(np.intp)
    below, right = np.minimum(top + 1, height - 1), np.minimum(left + 1, width - 1)
    down, across = y - top, x - left
    upper = image[top, left] * (1 - across) + image[top, right] * across
    lower = image[below, left] * (1 - across) + image[below, right] * across
    return np.where(is_inside, upper * (1 - down) + lower * down, np.nan)
