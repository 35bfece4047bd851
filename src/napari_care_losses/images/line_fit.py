"""The straight line of least squares through pairs of pixels."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import ArrayLike


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
    x, y = np.asarray(x, np.float64), np.asarray(y, np.float64)
    counted = None if weights is None else np.asarray(weights, np.float64)
    x_mean, y_mean = (float(np.average(values, weights=counted)) for values in (x, y))
    centred = x - x_mean
    weighted = centred if counted is None else centred * counted
    power = float(np.vdot(weighted, centred))
    # a constant's deviations are rounding at most, and their ratio anything
    slope = float(np.vdot(weighted, y - y_mean)) / power if power > 0 and np.ptp(x) > 0 else 0.0
    return slope, y_mean - slope * x_mean
