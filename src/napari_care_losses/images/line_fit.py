"""The straight line of least squares through pairs of pixels."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_care_losses.compute.cores import in_threads, parts

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

# pixels whose mean is near that of all, and the share of squares that rounding may make
_SAMPLE, _ROUNDING = 4096, 1e-9


def fit_line(x: ArrayLike, y: ArrayLike, weights: ArrayLike | None = None) -> tuple[float, float]:
    """Return slope and intercept of ``y = slope * x + intercept`` of least squared error, ``slope = cov / var(x)``.

    Parameters
    ----------
    x, y : arrays of equal shape, of any real dtype
        Where `x` is constant, the slope is 0 and the intercept the mean of `y`.
    weights : array of that shape, optional
        What each squared error counts, above 0; by default all count the same.

    Examples
    --------
    >>> fit_line([0, 1, 2], [1, 3, 5])
    (2.0, 1.0)
    """
    if weights is None:
        return _fit_unweighted(np.asarray(x), np.asarray(y))
    x, y, counted = np.asarray(x, np.float64), np.asarray(y, np.float64), np.asarray(weights, np.float64)
    x_mean, y_mean = (float(np.average(values, weights=counted)) for values in (x, y))
    centred = x - x_mean
    weighted = centred * counted
    power = float(np.vdot(weighted, centred))
    # a constant's deviations are rounding at most, and their ratio anything
    slope = float(np.vdot(weighted, y - y_mean)) / power if power > 0 and np.ptp(x) > 0 else 0.0
    return slope, y_mean - slope * x_mean


def _fit_unweighted(x: NDArray[Any], y: NDArray[Any]) -> tuple[float, float]:
    x, y = x.ravel(), y.ravel()
    count = x.size
    # sums of deviations from about the means lose no digits, and need one look at the pixels
    near_x, near_y = (float(values[:: max(1, count // _SAMPLE)].mean(dtype=np.float64)) for values in (x, y))
    sums = in_threads(lambda part: _sums(x, y, near_x, near_y, part), parts(count))
    of_x, of_y, squares, products = (math.fsum(each) for each in zip(*sums, strict=True))
    power, shared = squares - of_x * of_x / count, products - of_x * of_y / count
    x_mean, y_mean = near_x + of_x / count, near_y + of_y / count
    # a constant's deviations are rounding at most, and their ratio anything
    is_constant = power <= _ROUNDING * count * x_mean**2 and not x.max() > x.min()
    slope = 0.0 if is_constant or power <= 0 else shared / power
    return slope, y_mean - slope * x_mean


def _sums(
    x: NDArray[Any], y: NDArray[Any], near_x: float, near_y: float, part: range
) -> tuple[float, float, float, float]:
    """Return the sums of x and y, of x squared and of their products, all less some values, over blocks of pixels."""
    totals = []
    for start in part:
        block = slice(start, start + part.step)
        first = np.subtract(x[block], near_x, dtype=np.float64)
        second = np.subtract(y[block], near_y, dtype=np.float64)
        of_first, of_second = float(first.sum()), float(second.sum())
        second *= first
        first *= first
        totals.append((of_first, of_second, float(first.sum()), float(second.sum())))
    of_x, of_y, squares, products = (math.fsum(each) for each in zip(*totals, strict=True))
    return of_x, of_y, squares, products
