"""What noise an image has, whatever the microscope: one model for estimates, simulation and checks.

`napari_care_losses.images.noise.estimate` estimates it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

NORMAL_MAD = 0.6744897501960817
"""Median absolute deviation of a normal distribution of standard deviation 1."""

# Anscombe's: with it, the variance of the root hardly depends on the number of photons
_ANSCOMBE = 3 / 8
# sigma in pixels over which the brightness around a pixel is averaged
_AROUND = 2.0
# of more photons, those drawn are as good as normally distributed
_MOST_PHOTONS = 1e4


@dataclass(frozen=True)
class NoiseModel:
    """The noise of an image: its variance at each brightness, and how neighbouring pixels correlate.

    The variance is ``max(least, slope * brightness + intercept)``, plus that of whole rows and columns. This is photon
    noise with any gain and offset, and read noise; `least` also holds where grey levels are cut off at black. The
    correlation is that of noise that was blurred, interpolated or compressed after it was recorded.

    Attributes
    ----------
    slope : float
        Variance for each grey level, 0 or more: the gain, where photons are what fluctuates.
    intercept : float
        Variance at level 0 by the same line; negative where black is not 0.
    least : float
        Least variance, 0 or more.
    correlation : tuple of tuples of float
        Correlation of two pixels at lags (y, x) from 0 on, the same to all four sides; 1 at lag (0, 0).
    rows, columns : float
        Variance of an offset that all pixels of a row, or of a column, share.

    Examples
    --------
    >>> noise = NoiseModel(slope=2, intercept=-196)
    >>> noise.variance([100.0, 150.0]).round(6).tolist()
    [4.0, 104.0]
    >>> noise.is_white, noise.correlated_pixels
    (True, 1.0)
    """

    slope: float = 0.0
    intercept: float = 0.0
    least: float = 0.0
    correlation: tuple[tuple[float, ...], ...] = ((1.0,),)
    rows: float = 0.0
    columns: float = 0.0

    @property
    def is_white(self) -> bool:
        """Whether pixels do not share any noise."""
        lags = np.array(self.correlation)
        return not (lags.ravel()[1:].any() or self.rows or self.columns)

    @property
    def correlated_pixels(self) -> float:
        """Number of pixels that vary as one: the mean of N pixels has so many times the variance of white noise."""
        return max(float(_all_lags(self.correlation).sum()), 1e-3)

    @property
    def neighbour_correlations(self) -> tuple[float, float]:
        """Correlation of two neighbours along Y and along X, where noise is least, offsets of rows and columns too.

        Examples
        --------
        >>> NoiseModel(least=1, rows=3).neighbour_correlations
        (0.0, 0.75)
        """
        lags = np.array(self.correlation)
        nearest = (max([0.0, *of.tolist()]) for of in (lags[1:2, 0], lags[0, 1:2]))
        offsets = self.rows + self.columns
        own = self.least if offsets else 1.0
        along_y, along_x = (
            (correlation * own + shared) / (own + offsets)
            for correlation, shared in zip(nearest, (self.columns, self.rows), strict=True)
        )
        return along_y, along_x

    def variance(self, brightness: ArrayLike) -> NDArray[np.float64]:
        """Return the variance of the noise at grey levels that are free of it, in their square."""
        return np.square(self._deviation(brightness)) + (self.rows + self.columns)

    def variance_of(self, image: ArrayLike) -> NDArray[np.float64]:
        """Return the variance of the noise in each pixel of a noisy frame (Y, X), at the mean brightness around it."""
        from scipy.ndimage import gaussian_filter

        return self.variance(gaussian_filter(np.asarray(image, np.float64), _AROUND, mode="reflect"))

    def covary(self, values: ArrayLike, brightness: ArrayLike) -> NDArray[np.float64]:
        """Return the covariance matrix of all pixels' noise times values (Y, X), for the brightness (Y, X) of each."""
        from scipy.ndimage import convolve

        vector, deviation = np.asarray(values, np.float64), self._deviation(brightness)
        product: NDArray[np.float64] = deviation * convolve(
            deviation * vector, _all_lags(self.correlation), mode="constant"
        )
        product += self.rows * vector.sum(1, keepdims=True)
        product += self.columns * vector.sum(0, keepdims=True)
        return product

    def draw(self, brightness: ArrayLike, rng: np.random.Generator) -> NDArray[np.float64]:
        """Draw noise for an image (Y, X) without noise; that of few photons is skewed, as theirs is.

        Examples
        --------
        >>> noise = NoiseModel(slope=2).draw(np.full((100, 100), 50), np.random.default_rng(0))
        >>> round(float(noise.std()), 1)
        10.0
        """
        deviation = self._deviation(brightness)
        drawn = self._uncorrelated(deviation, rng)
        lags = _all_lags(self.correlation)
        if lags.size > 1:
            kernel = np.zeros(drawn.shape)
            places = (np.arange(size) - size // 2 for size in lags.shape)
            wrapped = (place % size for place, size in zip(places, drawn.shape, strict=True))
            np.add.at(kernel, np.ix_(*wrapped), lags)
            power = np.maximum(np.fft.rfft2(kernel).real, 0)
            shaped = np.fft.irfft2(np.fft.rfft2(drawn) * np.sqrt(power), drawn.shape)
            # what is not the spectrum of any noise was set to 0
            mean = np.square(np.fft.irfft2(np.sqrt(power), drawn.shape)).sum()
            drawn = shaped / math.sqrt(float(mean))
        rows, columns = rng.normal(size=(drawn.shape[0], 1)), rng.normal(size=(1, drawn.shape[1]))
        noise: NDArray[np.float64] = deviation * drawn + math.sqrt(self.rows) * rows + math.sqrt(self.columns) * columns
        return noise

    def _uncorrelated(self, deviation: NDArray[np.float64], rng: np.random.Generator) -> NDArray[np.float64]:
        """Return noise (Y, X) of variance 1, that of as many photons as explain its standard deviation."""
        if not self.slope:
            return rng.normal(size=deviation.shape)
        photons = np.minimum(np.square(deviation / self.slope), _MOST_PHOTONS)
        root = np.sqrt(np.where(photons > 0, photons, 1))
        return (rng.poisson(photons) - photons) / root

    def spectrum(self, y: NDArray[np.floating], x: NDArray[np.floating]) -> NDArray[np.float64]:
        """Return the power (N, M) of noise of variance 1 at frequencies along Y (N,) and X (M,), in cycles a pixel."""
        quadrant = np.array(self.correlation)
        along_y, along_x = (
            np.cos(2 * np.pi * np.outer(frequencies, np.arange(lags))) * np.where(np.arange(lags), 2, 1)
            for frequencies, lags in zip((y, x), quadrant.shape, strict=True)
        )
        power: NDArray[np.float64] = np.maximum(along_y @ quadrant @ along_x.T, 0)
        return power

    def stabilize(self, image: ArrayLike) -> NDArray[np.float64]:
        r"""Return an image whose noise has variance 1 everywhere: the generalised Anscombe transform.

        With the slope :math:`g` and the intercept :math:`c`, a grey level :math:`y` becomes

        .. math:: \frac{2}{g} \sqrt{g y + c + \tfrac{3}{8} g^2}

        up to a constant (Starck, Murtagh, Bijaoui 1998); below the level of the least variance, its tangent, so that
        no noise is cut off. The variance of rows and columns is left out.
        """
        levels = np.asarray(image, np.float64)
        if not self.slope:
            return levels / math.sqrt(max(self.intercept, self.least))
        photons = (self.slope * levels + self.intercept) / self.slope**2 + _ANSCOMBE
        least = self._least_photons
        # a difference of roots, without the loss of digits where photons are many
        bright = np.maximum(photons, least)
        stable: NDArray[np.float64] = 2 * (bright - least) / (np.sqrt(bright) + math.sqrt(least))
        return stable + np.minimum(photons - least, 0) / math.sqrt(least)

    def undo_stabilize(self, stabilized: ArrayLike) -> NDArray[np.float64]:
        """Return the grey levels of a denoised image that was made by `stabilize`.

        The closed form of the exact unbiased inverse (Makitalo and Foi 2011, doi:10.1109/TIP.2011.2121085): the plain
        inverse of a root would be too dark, where photons are few.
        """
        stable = np.asarray(stabilized, np.float64)
        if not self.slope:
            return stable * math.sqrt(max(self.intercept, self.least))
        least = self._least_photons
        root = np.maximum(stable, 0) / 2 + math.sqrt(least)
        photons = np.maximum(stable, 0) * (root + math.sqrt(least)) / 2 + np.minimum(stable, 0) * math.sqrt(least)
        photons += least - _ANSCOMBE + _bias_of_root(2 * root)
        levels: NDArray[np.float64] = (photons * self.slope**2 - self.intercept) / self.slope
        return levels

    @property
    def _least_photons(self) -> float:
        return self.least / self.slope**2 + _ANSCOMBE

    def _deviation(self, brightness: ArrayLike) -> NDArray[np.float64]:
        line = self.slope * np.asarray(brightness, np.float64) + self.intercept
        deviation: NDArray[np.float64] = np.sqrt(np.maximum(line, self.least))
        return deviation


def _all_lags(correlation: tuple[tuple[float, ...], ...]) -> NDArray[np.float64]:
    """Return the correlation (2 N - 1, 2 N - 1) at all lags, lag (0, 0) in the middle."""
    quadrant = np.array(correlation)
    half = np.concatenate([quadrant[:0:-1], quadrant])
    lags: NDArray[np.float64] = np.concatenate([half[:, :0:-1], half], axis=1)
    return lags


def _bias_of_root(root: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return what Anscombe's root of photons, squared back, lacks to their mean, where the root is denoised."""
    bias: NDArray[np.float64] = (
        math.sqrt(1.5) / 4 / root - 11 / 8 / root**2 + 5 / 8 * math.sqrt(1.5) / root**3 + _ANSCOMBE - 1 / 8
    )
    return bias
