"""The straight line of least squares through pairs of pixels."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import ArrayLike


def fit_line(x: ArrayLike, y: ArrayLike) -> tuple[float, float]:
    """Return slope and intercept of ``y = slope * x + intercept`` of least squared error, ``slope = cov / var(x)``.

    Parameters
    ----------
    x, y : arrays of equal shape, of any real dtype
        Where `x` is constant, the slope is 0 and the intercept the mean of `y`.

    Examples
    --------
    >>> fit_line([0, 1, 2], [1, 3, 5])
    (2.0, 1.0)
    """
    x, y = np.asarray(x, np.float64), np.asarray(y, np.float64)
    x_mean, y_mean = float(x.mean()), float(y.mean())
    centred = x - x_mean
    power = float(np.vdot(centred, centred))
    # a constant's deviations are rounding at most, and their ratio anything
    slope = float(np.vdot(centred, y - y_mean)) / power if power > 0 and np.ptp(x) > 0 else 0.0
    return slope, y_mean - slope * x_mean
