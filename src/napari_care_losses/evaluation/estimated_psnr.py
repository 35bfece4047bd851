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

PROBES = 2
_STEP = 0.1
_CUTOFFS = (0.25, 0.3, 0.35, 0.4)
"""Cycles a pixel from which on what was removed is taken for noise alone: the first that the data allow."""
_FINEST = 0.45
_WHITE = 0.1
"""Largest correlation of neighbouring pixels at which noise counts as independent."""
_SATURATED = 0.01
_LEAST_SIZE = 64
_SURE = 2.0
"""Standard deviations between an estimate and the ends of its interval."""


class EstimatedPsnr(NamedTuple):
    """An estimated PSNR in dB, and the interval that holds the true one in about 19 of 20 images."""

    psnr: float
    least: float
    most: float
    """Infinite where the error cannot be told from none."""


def estimate_psnr(image: ArrayLike, restore: Restore, noise: NoiseModel, *, seed: int = 0) -> EstimatedPsnr:
    r"""Estimate the PSNR of a restoration from the noisy image alone.

    For a restoration :math:`f` of :math:`y` with independent noise of variance :math:`v` in each pixel, the mean squared
    error is estimated by

    .. math:: \overline{(f(y) - y)^2} - \bar v + 2\, \overline{v f'(y)}

    (Ramani, Blu, Unser 2008, doi:10.1109/TIP.2008.2001404). The error of a good restoration is a small part of
    :math:`\bar v`, which therefore has to be known to less than a percent. So it is measured in what the restoration
    removed, :math:`y - f(y)`, at the high frequencies where there is nothing but noise; the noise model says how it is
    spread over dark and bright pixels. Restored grey levels are first brought to those of the image by a straight line.

    Parameters
    ----------
    image : array_like, shape (Y, X)
        A noisy frame of at least 64 x 64 px, or a window of one.
    restore : callable
        Restores a frame of that shape; called three times.
    noise : NoiseModel
        Its noise.
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
    >>> abs(estimate.psnr - true) < 1, estimate.least < true < estimate.most
    (True, True)
    """
    given = checked_frame(image).astype(np.float64)
    if reason := obstacle(given, noise):
        raise InputError(f"The PSNR cannot be estimated: {reason}.")
    restored, slope = _levelled(np.asarray(restore(given.astype(np.float32)), np.float64), given)
    variance = noise.variance(restored)
    share = variance / variance.mean()
    spectra = _Spectra(given.shape)
    rng = np.random.default_rng(seed)
    step = _STEP * math.sqrt(float(variance.mean()))
    responses, gains = [], []
    for _ in range(PROBES):
        signs = rng.choice((-1.0, 1.0), given.shape)
        changed = slope * np.asarray(restore((given + step * signs).astype(np.float32)), np.float64)
        change = (changed - slope * (restored - restored.mean()) / slope - changed.mean()) / step
        responses.append(float((share * signs * change).mean()))
        gains.append(spectra.gain(signs, change))
    removed = given - restored
    level, cutoff = _noise_level(spectra.power(removed), np.mean(gains, axis=0), spectra)
    response = float(np.mean(responses))
    error = float(np.square(removed).mean()) - level + 2 * level * response
    # the noise below the cutoff is another than that which was measured above; bright pixels count more
    pixels = given.size / float(np.square(share).mean())
    below = math.pi * cutoff**2
    spread = level * math.sqrt(2 * below / pixels + 2 * (below + 2 * response) ** 2 / ((1 - below) * pixels))
    spread = math.hypot(spread, 2 * level * float(np.std(responses)) / math.sqrt(PROBES))
    ends = np.percentile(restored, [0.1, 99.9])
    span = float(ends[1] - ends[0])

    def decibels(squared: float) -> float:
        return 10 * math.log10(span**2 / squared) if squared > 0 else math.inf

    return EstimatedPsnr(
        decibels(max(error, spread / 2)), decibels(max(error, 0) + _SURE * spread), decibels(error - _SURE * spread)
    )
