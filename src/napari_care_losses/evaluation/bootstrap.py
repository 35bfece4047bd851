"""Confidence intervals for the mean of values that are not independent, such as those of a movie's frames."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

CONFIDENCE = 0.95

NO_INTERVAL = (math.nan, math.nan)

RESAMPLINGS = 10_000
"""Number of series that the bootstrap draws."""

FEWEST_FRAMES = 10
"""Values below which there is no interval: too few blocks to draw from."""


def block_interval(values: ArrayLike, *, seed: int = 0) -> tuple[float, float]:
    """Return the 95 % interval of the mean of a time series by the moving-block bootstrap.

    Blocks of neighbouring values are drawn with replacement (Kuensch 1989, doi:10.1214/aos/1176347265), which keeps
    their correlation. Few blocks of `block_length` vary too little: they are made twice as long, and the interval is
    widened to Student's for as many values as there are blocks.

    Parameters
    ----------
    values : (N,) array of float
        In the order of time.
    seed : int
        Of the drawings.

    Returns
    -------
    low, high : float
        NaN for fewer than 10 values, or where some are not finite.
    """
    series = np.asarray(values, np.float64)
    if series.size < FEWEST_FRAMES or not np.isfinite(series).all():
        return NO_INTERVAL
    length = min(2 * block_length(series), series.size // 3)
    sums = np.concatenate([[0.0], np.cumsum(series - series.mean())])
    blocks = (sums[length:] - sums[:-length]) / length
    drawn = np.random.default_rng(seed).integers(blocks.size, size=(RESAMPLINGS, math.ceil(series.size / length)))
    # values near the ends lie in fewer blocks, which shifts the mean of all drawings
    means = blocks[drawn].mean(axis=1) - blocks.mean()
    low, high = np.quantile(means, ((1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2)) * _widening(series.size / length)
    return float(series.mean() + low), float(series.mean() + high)


def _widening(blocks: float) -> float:
    """Return how much wider Student's interval from so many values is than that of a known spread."""
    from scipy.special import ndtri, stdtrit

    share = (1 + CONFIDENCE) / 2
    return float(stdtrit(blocks - 1, share) / ndtri(share) * math.sqrt(blocks / (blocks - 1)))


def block_length(values: ArrayLike) -> int:
    """Return the block length with which the bootstrap estimates the variance of a mean best: from 1 to N / 3.

    The rule of Politis and White 2004 (doi:10.1081/ETC-120028836) for blocks of fixed length, with the correction of
    Patton, Politis and White 2009 (doi:10.1080/07474930802459016). `values` are a time series (N,).
    """
    series = np.asarray(values, np.float64)
    count = series.size
    centred = series - series.mean()
    longest = max(1, count // 3)
    correlations = np.correlate(centred, centred, "full")[count - 1 :] / count
    if not correlations[0] > 0:
        return 1
    insignificant = 2 * math.sqrt(math.log10(count) / count)
    needed = max(5, math.ceil(math.sqrt(math.log10(count))))
    furthest = min(count - 1, math.ceil(math.sqrt(count)) + needed)
    is_small = np.abs(correlations[1:] / correlations[0]) < insignificant
    lags = next((lag for lag in range(furthest) if is_small[lag : lag + needed].all()), furthest)
    reach = min(2 * max(lags, 1), count - 1)
    lag = np.arange(-reach, reach + 1)
    taper = np.clip(2 * (1 - np.abs(lag) / reach), 0, 1)
    tapered = taper * correlations[np.abs(lag)]
    slope, spectrum = float(np.abs(lag) @ tapered), float(tapered.sum())
    if spectrum <= 0:
        return 1
    return int(np.clip(math.ceil((1.5 * (slope / spectrum) ** 2 * count) ** (1 / 3)), 1, longest))
