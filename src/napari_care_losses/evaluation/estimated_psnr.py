"""The PSNR of a restoration without a ground truth: Stein's estimate, with the noise measured in what was removed."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from napari_care_losses.errors import InputError
from napari_care_losses.images.checks import checked_frame

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import ArrayLike, NDArray

    from napari_care_losses.images.noise.model import NoiseModel

    Restore = Callable[[NDArray[np.float32]], ArrayLike]
    Floats = NDArray[np.float64]

PROBES = 2
SMALLEST = 64
"""Least width and height of an image, in pixels."""
# what a probe changes, relative to the noise
_STEP = 0.1
# cycles a pixel from which on what was removed is taken for noise alone: the first that does not contradict it
_CUTOFFS = (0.25, 0.3, 0.35, 0.4)
_MOST_CORRELATED = 0.1
_MOST_SATURATED = 0.01
_MOST_OF_LINES = 0.01
# share of the noise of high frequency that has to be removed for it to be measured there; else the noise model says how
# much there is, with this standard deviation
_LEAST_REMOVED, _SPREAD_OF_MODEL = 0.95, 0.1
# of images of known error, the standard deviation that chance does not explain, relative to the error
_UNEXPLAINED = 0.12
# standard deviations between an estimate and the ends of its interval
_SURE = 2.0


class EstimatedPsnr(NamedTuple):
    """An estimated PSNR in dB, and an interval that holds the true one in most images."""

    psnr: float
    least: float
    most: float
    """Infinite where the error cannot be told from none."""

    def interval(self, digits: int = 0) -> str:
        """Return the interval in words.

        Examples
        --------
        >>> EstimatedPsnr(33, 31.7, 34.4).interval(), EstimatedPsnr(33, 31.7, math.inf).interval(1)
        ('32 to 34', '31.7 or more')
        """
        return f"{self.least:.{digits}f} {f'to {self.most:.{digits}f}' if math.isfinite(self.most) else 'or more'}"


def estimate_psnr(image: ArrayLike, restore: Restore, noise: NoiseModel, *, seed: int = 0) -> EstimatedPsnr:
    r"""Estimate the PSNR of a restoration from the noisy image alone.

    For a restoration :math:`f` of :math:`y` with independent noise of variance :math:`v` in each pixel, the mean
    squared error is estimated by

    .. math:: \overline{(f(y) - y)^2} - \bar v + 2\, \overline{v f'(y)}

    (Ramani, Blu, Unser 2008, doi:10.1109/TIP.2008.2001404). The error of a good restoration is a small part of
    :math:`\bar v`, which has to be known to less than a percent. So it is measured in what the restoration removed,
    :math:`y - f(y)`, at the high frequencies, where images hold hardly anything but noise; the noise model says how it
    is spread over dark and bright pixels. What little noise a restoration passes on there is left out: this errs on
    the careful side. Restored levels are first brought to those of the image by a straight line.

    Parameters
    ----------
    image : array_like, shape (Y, X)
        A noisy frame of at least 64 x 64 px, or a window of one.
    restore : callable
        Restores a frame of that shape; called three times.
    noise : NoiseModel
        The noise of the frame.
    seed : int
        Of the probes; the same seed gives the same estimate.

    Returns
    -------
    EstimatedPsnr
        In dB, relative to the range of the restored image between its percentiles 0.1 and 99.9.

    Raises
    ------
    InputError
        If it cannot be estimated; the text says why.

    Examples
    --------
    >>> from scipy.ndimage import gaussian_filter
    >>> from napari_care_losses.images.noise.model import NoiseModel
    >>> rng = np.random.default_rng(0)
    >>> truth = 1000 * gaussian_filter(rng.random((256, 256)), 6)
    >>> noisy = truth + rng.normal(0, 20, truth.shape)
    >>> estimate = estimate_psnr(noisy, lambda frame: gaussian_filter(frame, 3), NoiseModel(least=400))
    >>> error = np.square(gaussian_filter(noisy, 3) - truth).mean()
    >>> true = 10 * np.log10(np.ptp(np.percentile(truth, [0.1, 99.9])) ** 2 / error)
    >>> bool(abs(estimate.psnr - true) < 1), bool(estimate.least < true < estimate.most)
    (True, True)
    """
    given = checked_frame(image).astype(np.float64)
    if reason := _obstacle(given, noise):
        raise InputError(f"The PSNR of this image cannot be estimated: {reason}.")
    plain = np.asarray(restore(given.astype(np.float32)), np.float64)
    if not plain.var():
        raise InputError("The PSNR cannot be estimated: the restored image is constant.")
    slope = float(np.cov(plain.ravel(), given.ravel(), ddof=0)[0, 1] / plain.var())
    restored = given.mean() + slope * (plain - plain.mean())
    variance = noise.variance(restored)
    share = variance / variance.mean()
    step = _STEP * math.sqrt(float(variance.mean()))
    rng = np.random.default_rng(seed)
    responses, left_over = [], []
    for _ in range(PROBES):
        signs = rng.choice((-1.0, 1.0), given.shape)
        changed = np.asarray(restore((given + step * signs).astype(np.float32)), np.float64)
        change = slope * (changed - plain) / step
        responses.append(float((share * signs * change).mean()))
        left_over.append(_high_power(signs - change)[-1])
    removed = given - restored
    response = float(np.mean(responses))
    level, cutoff = _noise_level(_high_power(removed), removed.size)
    relative_spread = _relative_spread(cutoff, response, given.size / float(np.square(share).mean()))
    if np.mean(left_over) < _LEAST_REMOVED:
        # too little of the noise is in what was removed
        level, relative_spread = float(variance.mean()), _SPREAD_OF_MODEL
    error = float(np.square(removed).mean()) - level + 2 * level * response
    spread = level * relative_spread
    spread = math.hypot(spread, 2 * level * float(np.std(responses)) / math.sqrt(PROBES - 1), _UNEXPLAINED * error)
    span = float(np.ptp(np.percentile(restored, [0.1, 99.9])))
    squared = max(error, spread / 2), max(error, 0) + _SURE * spread, error - _SURE * spread
    return EstimatedPsnr(*(10 * math.log10(span**2 / each) if each > 0 else math.inf for each in squared))


def _obstacle(image: Floats, noise: NoiseModel) -> str:
    """Return why the PSNR of restorations of an image cannot be estimated, or nothing."""
    if min(image.shape) < SMALLEST:
        return f"at least {SMALLEST} x {SMALLEST} px are needed, found {image.shape[1]} x {image.shape[0]}"
    variance = float(noise.variance(image).mean())
    if variance <= 0:
        return "it holds no noise"
    lags = np.array(noise.correlation)
    correlated = float(np.abs([*lags[1:2, 0], *lags[0, 1:2]]).max(initial=0))
    if correlated > _MOST_CORRELATED:
        return f"its noise is not independent: that of neighbouring pixels correlates ({correlated:.2f})"
    if noise.rows + noise.columns > _MOST_OF_LINES * variance:
        return "rows or columns have offsets of their own"
    saturated = float((image == image.max()).mean())
    if saturated > _MOST_SATURATED:
        return f"{saturated:.0%} of the pixels are saturated"
    return ""


def _high_power(image: Floats) -> Floats:
    """Return the variance that an image would have if its power from each cutoff on were that at all frequencies."""
    y, x = np.fft.fftfreq(image.shape[0])[:, None], np.fft.rfftfreq(image.shape[1])[None]
    radius = np.hypot(y, x)
    power = np.square(np.abs(np.fft.rfft2(image))) / image.size
    # columns that stand for their conjugates too
    both = np.where((x > 0) & (x < 0.5), 2.0, 1.0)
    return np.array([np.average(power, weights=both * (radius >= cutoff)) for cutoff in _CUTOFFS])


def _noise_level(levels: Floats, pixels: int) -> tuple[float, float]:
    """Return the variance of the noise, and the cutoff from which on it is measured, from that found from each on."""
    for level, cutoff in zip(levels.tolist(), _CUTOFFS, strict=True):
        chance = math.sqrt(2 / pixels * (1 / _above(_CUTOFFS[-1]) - 1 / _above(cutoff)))
        if level <= levels[-1] * (1 + 3 * chance):
            break
    return level, cutoff


def _above(cutoff: float) -> float:
    """Return the share of all frequencies that lie above a cutoff."""
    return 1 - math.pi * cutoff**2


def _relative_spread(cutoff: float, response: float, pixels: float) -> float:
    """Return the standard deviation of the estimated error relative to the noise, which is unknown below the cutoff."""
    below = 1 - _above(cutoff)
    return math.sqrt(2 / pixels * (below + (below - 2 * response) ** 2 / _above(cutoff)))
