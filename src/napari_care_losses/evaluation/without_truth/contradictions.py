"""Where a restoration contradicts its input: places at which it removed or invented more than the noise explains."""

from __future__ import annotations

import itertools
import math
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from napari_care_losses.errors import InputError
from napari_care_losses.evaluation.score import Score
from napari_care_losses.images.checks import check_equal_shapes, checked_frame
from napari_care_losses.images.line_fit import fit_line
from napari_care_losses.images.noise.estimate import estimate_noise
from napari_care_losses.images.noise.model import NORMAL_MAD

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from napari_care_losses.images.noise.model import NoiseModel

    Floats = NDArray[np.float64]

RATE = 0.05
"""Expected share of false places among those found."""

SIGMA = 2.0
"""Standard deviation in pixels of the Gaussian over which the residual is averaged."""

SMALLEST = 32
"""Least width and height of an image, in pixels."""

_TRUNCATED = 3.0
# of all noise, what offsets of rows and columns may be
_MOST_OF_LINES = 0.01
# bands of frequencies in cycles a pixel at which a residual is noise alone; how much more power, relative to that of
# the noise, the first may have than the second; least power of the noise, relative to white noise, that is compared
_BANDS, _MOST_FALL, _LEAST_POWER = (0.3, 0.4, 1.0), 2.0, 0.05


CONTRADICTION_SCORES: dict[str, Score] = {
    "contradictions": Score(
        title="Contradicting share",
        help="Share of the frame in which more was removed or invented than the noise of the input explains, 0 to 1.",
        higher_is_better=False,
    )
}
"""How `Contradictions.share` is written."""


class Contradictions(NamedTuple):
    """Where a restoration contradicts its input."""

    deviation: NDArray[np.float32]
    """The averaged residual (Y, X) in its own standard deviations: above 0 where signal was removed, below 0 where it
    was invented."""
    threshold: float
    """Its absolute value from which on a place contradicts; infinite where none does."""

    @property
    def found(self) -> NDArray[np.bool_]:
        """The pixels (Y, X) that contradict."""
        found: NDArray[np.bool_] = np.abs(self.deviation) >= self.threshold
        return found

    @property
    def share(self) -> float:
        """Their share of the frame, 0..1."""
        return float(self.found.mean())

    @property
    def worst(self) -> tuple[int, int] | None:
        """Row and column of the largest deviation; None where no place contradicts."""
        if not math.isfinite(self.threshold):
            return None
        y, x = np.unravel_index(int(np.abs(self.deviation).argmax()), self.deviation.shape)
        return int(y), int(x)

    def marked(self) -> NDArray[np.float32]:
        """Return the deviation (Y, X) where it contradicts, NaN elsewhere."""
        return np.where(self.found, self.deviation, np.float32(np.nan))


def find_contradictions(
    image: ArrayLike,
    restored: ArrayLike,
    noise: NoiseModel | None = None,
    *,
    rate: float = RATE,
    sigma: float = SIGMA,
) -> Contradictions:
    r"""Find where a restoration removed or invented more than the noise of its input explains.

    The restored image :math:`x` is brought to the grey levels of the input :math:`y` by the straight line of least
    squared error. Where only noise was removed, :math:`(y - x) / \sqrt v`, with the variance :math:`v` of the noise at
    the restored brightness, has the variance 1. Its average over a Gaussian has a variance that follows from the
    weights and from the correlation of neighbouring pixels' noise, also at the edges. The places are those of a
    two-sided test of every pixel at a false discovery rate (Benjamini and Hochberg 1995,
    doi:10.1111/j.2517-6161.1995.tb02031.x).

    The estimated noise is corrected by the residual: where its power at high frequencies, at which there is only
    noise, is more than expected, the variance is raised to that; where neighbours share noise, the usual size of the
    averages also raises theirs (an empirical null distribution, Efron 2004, doi:10.1198/016214504000000089). What the
    restoration kept of the noise is missing in the residual: then fewer places are found.

    Parameters
    ----------
    image, restored : (Y, X) array of any real dtype
        The noisy input and what was restored from it, at least 32 x 32 px.
    noise : NoiseModel, optional
        The noise of the input; estimated from it by default.
    rate : float
        Expected share of false pixels among those found, above 0 and below 1.
    sigma : float
        Standard deviation of the Gaussian in pixels, 0.5 or more: about the size of the structures looked for.

    Raises
    ------
    InputError
        If the images are not 2D, real and finite, too small, or differ in shape; if rate or sigma are out of bounds; if
        the input has no noise, or noise of which the average is not known: rows or columns with offsets of their own,
        or correlation that the noise model does not have.

    Examples
    --------
    >>> from scipy.ndimage import gaussian_filter
    >>> from napari_care_losses.images.noise.model import NoiseModel
    >>> rng = np.random.default_rng(0)
    >>> truth = 100 + 2000 * gaussian_filter(rng.random((128, 128)), 6)
    >>> noisy = truth + rng.normal(0, 20, truth.shape)
    >>> find_contradictions(noisy, truth, NoiseModel(least=400)).share
    0.0
    >>> truth[60:66, 40:46] -= 40
    >>> find_contradictions(noisy, truth, NoiseModel(least=400)).worst
    (62, 43)
    """
    if not (0 < rate < 1 and sigma >= 0.5):
        raise InputError(
            f"Expected a rate above 0 and below 1 and a sigma of 0.5 px or more, found {rate} and {sigma}."
        )
    given = checked_frame(image, "The input", smallest=SMALLEST)
    made = checked_frame(restored, "The restored image")
    check_equal_shapes(given, made, "The input and the restored image")
    noise = estimate_noise(given) if noise is None else noise
    slope, intercept = fit_line(made, given)
    result = _contradictions(given, slope * made + intercept, noise, rate, sigma)
    fitting = ~result.found
    if 0.5 < fitting.mean() < 1:
        # what contradicts must not move the line
        slope, intercept = fit_line(made[fitting], given[fitting])
        result = _contradictions(given, slope * made + intercept, noise, rate, sigma)
    return result


def _contradictions(given: Floats, made: Floats, noise: NoiseModel, rate: float, sigma: float) -> Contradictions:
    """Find the contradictions of a restored image in the grey levels of the input."""
    variance = noise.variance(made)
    _check(noise, float(variance.mean()))
    standard = (given - made) / np.sqrt(np.maximum(variance, np.finfo(np.float64).tiny))
    standard /= math.sqrt(max(1.0, _level(standard, noise)))
    deviation = _averaged(standard, noise, sigma)
    size = np.abs(deviation)
    if not noise.is_white:
        # how much neighbours share is known less well than the variance of one pixel
        usual = max(1.0, float(np.median(size)) / NORMAL_MAD)
        deviation, size = deviation / np.float32(usual), size / np.float32(usual)
    return Contradictions(deviation, _threshold(size, rate))


def _check(noise: NoiseModel, variance: float) -> None:
    """Refuse noise whose averages have a variance that is not known."""
    if not variance > 0:
        raise InputError("Where the restoration contradicts its input cannot be told: the input holds no noise.")
    if noise.rows + noise.columns > _MOST_OF_LINES * variance:
        raise InputError(
            "Where the restoration contradicts its input cannot be told: rows or columns of the input have offsets of "
            "their own."
        )


def _level(standard: Floats, noise: NoiseModel) -> float:
    """Return the power of a standardised residual at high frequencies, relative to that of the noise.

    Raises `InputError` where it falls from one band to the next otherwise than the noise does.
    """
    y, x = np.fft.fftfreq(standard.shape[0]), np.fft.rfftfreq(standard.shape[1])
    power = np.square(np.abs(np.fft.rfft2(standard))) / standard.size
    expected = noise.spectrum(y, x)
    # columns that stand for their conjugates too
    weights = np.where((x > 0) & (x < 0.5), 2.0, 1.0)
    radius = np.hypot(y[:, None], x)
    levels = []
    for least, most in itertools.pairwise(_BANDS):
        band = weights * ((radius >= least) & (radius < most))
        noise_power = float(np.average(expected, weights=band))
        levels.append(float(np.average(power, weights=band)) / noise_power if noise_power >= _LEAST_POWER else None)
    below, high = levels
    if high is None:
        return 1.0
    if below is not None and below > _MOST_FALL * high:
        raise InputError(
            "Where the restoration contradicts its input cannot be told: what it removed correlates from pixel to "
            "pixel otherwise than the noise that the input seems to have."
        )
    return high


def _averaged(standard: Floats, noise: NoiseModel, sigma: float) -> NDArray[np.float32]:
    """Return the average over a Gaussian (Y, X), in its own standard deviations."""
    from scipy.ndimage import correlate1d

    radius = math.ceil(_TRUNCATED * sigma)
    kernel = np.exp(-0.5 * (np.arange(-radius, radius + 1) / sigma) ** 2)
    sums = correlate1d(correlate1d(standard, kernel, axis=0, mode="constant"), kernel, axis=1, mode="constant")
    lags = np.array(noise.correlation)
    along = [_shared_weights(kernel, size, count) for size, count in zip(standard.shape, lags.shape, strict=True)]
    variance = along[0].T @ lags @ along[1]
    averaged: NDArray[np.float32] = (sums / np.sqrt(np.maximum(variance, np.finfo(np.float64).tiny))).astype(np.float32)
    return averaged


def _shared_weights(kernel: Floats, size: int, lags: int) -> Floats:
    """Return, for each lag and each place along an axis (lags, size), the products of weights so far apart, summed.

    Weights beyond the ends of the axis do not count. A lag stands for both directions.
    """
    radius = len(kernel) // 2
    place = np.arange(size)[:, None] + np.arange(-radius, radius + 1)
    weights = np.where((place >= 0) & (place < size), kernel, 0.0)
    shared = np.zeros((lags, size))
    for lag in range(min(lags, len(kernel))):
        products = weights[:, : len(kernel) - lag] * weights[:, lag:]
        shared[lag] = (2 if lag else 1) * products.sum(1)
    return shared


def _threshold(deviation: NDArray[np.float32], rate: float) -> float:
    """Return the least absolute deviation that is found at a false discovery rate; infinite where none is."""
    from scipy.special import ndtr

    largest = np.sort(deviation[2 * ndtr(-deviation.astype(np.float64)) <= rate])[::-1].astype(np.float64)
    is_found = 2 * ndtr(-largest) <= rate * np.arange(1, largest.size + 1) / deviation.size
    return float(largest[np.flatnonzero(is_found)[-1]]) if is_found.any() else math.inf
