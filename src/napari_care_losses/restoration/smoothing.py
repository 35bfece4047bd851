"""Values smoothed along time, past outliers."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

SPAN = 0.25
"""Share of all points that each point of the smoothed course is fitted to."""

_NEIGHBOURS = 9
_ITERATIONS = 3
# residuals beyond this many median residuals get no weight (Cleveland 1979)
_OUTLIER = 6.0


def smoothed(times: NDArray[np.float64], values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return values smoothed along time by locally weighted linear regression, robust against outliers.

    Each point is fitted to its nearest neighbours, a share `SPAN` of all points, with tricube weights; points far off
    the curve lose their weight in further rounds (Cleveland 1979, doi:10.1080/01621459.1979.10481038). The first curve
    is one of repeated medians, which points off it cannot move while they are fewer than half of the neighbours
    (Siegel 1982, doi:10.1093/biomet/69.1.242): an object that stays for some frames of a short movie is passed over. A
    straight line stays as it is.

    Parameters
    ----------
    times, values : float64 array (N,)
        Times in ascending order, and the values there.

    Returns
    -------
    float64 array (N,)
        The smoothed values.
    """
    count = min(len(times), max(_NEIGHBOURS, round(SPAN * len(times))))
    distances = np.abs(times[:, None] - times)
    reach = np.sort(distances, axis=1)[:, count - 1]
    # the farthest neighbour keeps a little weight: of three points, all three count
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
    """Return, at each time, the line through its neighbours whose slope is the median of each one's median slope."""
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
    """Return, at each time, the line of least squares with the weights of its row."""
    total = weights.sum(axis=1)
    # where every neighbour is an outlier the nearest value stands alone
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
