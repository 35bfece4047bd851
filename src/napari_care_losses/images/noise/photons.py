"""The photons behind the grey levels of an image with read noise."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    FloatArray = NDArray[np.float64]

AROUND = 2.0
"""Sigma in pixels of the Gaussian that gives the light at a pixel."""

# read noise that is looked for, as its variance in photons: on a lattice of so many times the one before
_LEAST, _MOST, _STEP = 0.06, 100.0, 1.5
# darkest share of the pixels that it is looked for in, and how many of them
_DARK, _PIXELS = 50.0, 4000
# percentile of the light that stands for the darkest place, which has photons too, but not fewer than none
_DARKEST = 1.0
# logarithm of the likelihood below which a pixel is hot, or has other light than the ones around it
_OUTLIER = -15.0
# photons beyond which the posterior is as good as 0, in its standard deviations
_DEVIATIONS = 4.0


def light_around(levels: FloatArray) -> FloatArray:
    """Return the mean level (Y, X) around each pixel of an image (Y, X)."""
    from scipy.ndimage import gaussian_filter

    light: FloatArray = gaussian_filter(levels, AROUND)
    return light


def draw_photons(levels: FloatArray, light: FloatArray, read_noise: float, rng: np.random.Generator) -> FloatArray:
    r"""Draw how many photons there were in each pixel, given its grey level.

    A level is :math:`y = k + n`, where the number of photons :math:`k` is Poisson's, of mean :math:`\lambda`, and the
    read noise :math:`n` is normal, of variance :math:`s^2`. So :math:`k` is drawn from

    .. math:: P(k | y) \propto \frac{\lambda^k}{k!} \exp\left(-\frac{(y - k)^2}{2 s^2}\right)

    Parameters
    ----------
    levels : array (...)
        Grey levels in units of a photon, 0 for none.
    light : array (...)
        The means :math:`\lambda`; where they are negative, there are no photons.
    read_noise : float
        The variance :math:`s^2`, above 0, in photons squared.
    rng : numpy.random.Generator
        Draws.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> photons = rng.poisson(3, 10_000)
    >>> levels = photons + rng.normal(0, 1, 10_000)
    >>> drawn = draw_photons(levels, np.full(10_000, 3.0), 1.0, rng)
    >>> print(f"{drawn.mean():.1f} {drawn.var():.1f}")
    3.0 3.0
    """
    least, logs = _posterior(levels, light, read_noise)
    rising = np.exp(logs - logs.max(-1, keepdims=True)).cumsum(-1)
    drawn: FloatArray = least + (rising < rng.random(levels.shape)[..., None] * rising[..., -1:]).sum(-1)
    return drawn


def read_noise_of(levels: FloatArray) -> float:
    """Return the variance of the read noise of an image, in photons squared: the one under which it is likeliest.

    Parameters
    ----------
    levels : array (Y, X)
        Grey levels in units of a photon, 0 where the variance of all noise would be 0.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> levels = rng.poisson(np.linspace(0.5, 6, 128), (128, 128)) + rng.normal(0, 2, (128, 128)) + 2**2
    >>> 3 < read_noise_of(levels) < 5
    True
    """
    light = light_around(levels)
    dark = np.flatnonzero(light <= np.percentile(light, _DARK))
    dark = dark[:: max(1, dark.size // _PIXELS)]
    seen, expected = levels.ravel()[dark], light.ravel()[dark]
    most = min(float(np.percentile(light, _DARKEST)), _MOST)
    best, largest = 0.0, -np.inf
    variance = _LEAST
    while variance <= most:
        _, logs = _posterior(seen - variance, expected - variance, variance)
        likelihood = np.log(np.exp(logs - logs.max(-1, keepdims=True)).sum(-1)) + logs.max(-1) - np.log(variance) / 2
        total = float(np.maximum(likelihood, _OUTLIER).mean())
        best, largest = (variance, total) if total > largest else (best, largest)
        variance *= _STEP
    return best


def _posterior(levels: FloatArray, light: FloatArray, read_noise: float) -> tuple[FloatArray, FloatArray]:
    """Return the least numbers (...) of photons, and the logarithms (..., N) of the likelihoods from there on."""
    from scipy.special import gammaln, xlogy

    light = np.maximum(light, 0)
    share = light / (light + read_noise)
    reach = int(np.ceil(_DEVIATIONS * np.sqrt(share.max() * read_noise))) + 1
    least = np.maximum(np.rint(light + share * (levels - light)) - reach, 0)
    photons = least[..., None] + np.arange(2 * reach + 1)
    logs: FloatArray = xlogy(photons, light[..., None]) - light[..., None] - gammaln(photons + 1)
    logs -= np.square(levels[..., None] - photons) / (2 * read_noise)
    return least, logs
