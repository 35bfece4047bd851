"""The power of structure and of noise in an image, by spatial frequency."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from napari_care_losses.images.noise.model import NoiseModel

NOISE_FROM = 0.4
"""Cycles a pixel above which optics pass next to no structure; the corner of the spectrum lies at 0.71."""

# rings of frequency grow by a fifth from one to the next: in thin rings, random noise would look like structure
_RING = 1.2
# of frequencies along one axis, for the spectrum of noise that is not white
_BINS = 16
# standard errors by which structure must exceed the noise
_CHANCE = 3
# the median of an exponential distribution as a share of its mean, and its standard error for one value
_MEDIAN, _ERROR = math.log(2), 1.44
# noise with a shape: its level is taken where it has this share of its largest power, at this share of the frequencies,
# the highest; relative error of the shape
_LEAST_POWER, _HIGHEST, _SHAPE_ERROR = 0.1, 0.1, 0.1


class Power(NamedTuple):
    """An image's power, all of it and the part that exceeds the noise."""

    total: float
    structure: float


class _Spectrum(NamedTuple):
    """Powers, with absolute frequencies along Y and X in cycles a pixel.

    The two axes of frequency are left out: stripes of a camera lie on them, and what the edges of the image leak.
    """

    powers: NDArray[np.float32]
    y: NDArray[np.float32]
    x: NDArray[np.float32]


def structure_power(image: NDArray[np.float32], noise_model: NoiseModel) -> Power:
    """Separate the power of structure from that of noise.

    Noise of a camera is independent from pixel to pixel: its power is the same at all frequencies, even where its
    variance depends on the signal. Its level is taken from the highest frequencies, where there is no structure: the
    median, which some lines of interference do not move. The spectrum of noise that neighbours share has the shape that
    the model says. Where they share too little for it to tell, the spectrum falls a little along Y and along X
    independently; the corner of the spectrum is then lower than its sides, and the low frequencies follow from both:
    ``N(y, x) = N(y, high) N(high, x) / N(high, high)``. Structure is what the rings of lower frequency hold
    significantly above the noise.

    Parameters
    ----------
    image : float32 array (Y, X)
        At least 16 px a side, its standard deviation about 1.
    noise_model : NoiseModel
        The noise in it; only its correlation matters.
    """
    spectrum = _spectrum(image)
    noise, error = _noise(spectrum)
    shape = noise_model.spectrum(spectrum.y, spectrum.x)
    # both must find that neighbours share noise: the model is of an image with structure
    if isinstance(noise, np.ndarray) and np.ptp(shape) > 0:
        noise, error = _shaped(spectrum, shape)
    squared = spectrum.y[:, None] ** 2 + spectrum.x**2
    number = np.log(squared)
    number -= 2 * math.log(float(spectrum.x[0]))
    number /= 2 * math.log(_RING)
    kept = int(2 * math.log(NOISE_FROM / float(spectrum.x[0])) / (2 * math.log(_RING)))
    rings = np.maximum(number, 0, out=number).astype(np.intp).ravel()
    counts = np.bincount(rings)[:kept]
    found = np.bincount(rings, spectrum.powers.ravel())[:kept]
    expected = np.bincount(rings, noise.ravel())[:kept] if isinstance(noise, np.ndarray) else counts * noise
    chance = expected * np.sqrt(1 / np.maximum(counts, 1) + error**2)
    structure = np.where(found > expected + _CHANCE * chance, found - expected, 0).sum()
    return Power(float(spectrum.powers.sum(dtype=np.float64)), float(structure))


def _spectrum(image: NDArray[np.float32]) -> _Spectrum:
    from scipy.fft import rfft2

    height, width = image.shape
    columns = slice(1, (width + 1) // 2)
    transformed = rfft2(image)[1:, columns]
    powers = np.square(transformed.real) + np.square(transformed.imag)
    y = np.abs(np.fft.fftfreq(height)[1:]).astype(np.float32)
    return _Spectrum(powers, y, np.fft.rfftfreq(width)[columns].astype(np.float32))


def _noise(spectrum: _Spectrum) -> tuple[NDArray[np.float32] | float, float]:
    """Return the power of the noise, one number where it is white, and its relative standard error."""
    powers, y, x = spectrum
    high_y, high_x = y > NOISE_FROM, x > NOISE_FROM
    corner = powers[np.ix_(high_y, high_x)]
    sides = [powers[np.ix_(high_y, ~high_x)], powers[np.ix_(~high_y, high_x)]]
    if min(part.size for part in (corner, *sides)) < _BINS:
        return _white(spectrum)
    level = _level(corner)
    error = _ERROR * math.sqrt(1 / corner.size + 1 / min(side.size for side in sides))
    if max(_level(side) for side in sides) <= level * (1 + _CHANCE * error):
        return _white(spectrum)
    along_x, along_y = _profile(powers[high_y].T, x), _profile(powers[:, high_x], y)
    separable: NDArray[np.float32] = along_y[:, None] * (along_x / np.float32(level))
    bins = min(high_y.sum() * len(x), high_x.sum() * len(y)) / _BINS
    return separable, _ERROR * math.sqrt(1 / corner.size + 2 / bins)


def _shaped(spectrum: _Spectrum, shape: NDArray[np.float64]) -> tuple[NDArray[np.float32], float]:
    """Return the power of noise whose spectrum has a shape, and its relative standard error."""
    squared = spectrum.y[:, None] ** 2 + spectrum.x**2
    holds_noise = shape >= _LEAST_POWER * shape.max()
    high = holds_noise & (squared >= np.quantile(squared[holds_noise], 1 - _HIGHEST))
    noise = (_level(spectrum.powers[high] / shape[high]) * shape).astype(np.float32)
    return noise, math.hypot(_ERROR / math.sqrt(np.count_nonzero(high)), _SHAPE_ERROR)


def _white(spectrum: _Spectrum) -> tuple[float, float]:
    high = spectrum.powers[spectrum.y[:, None] ** 2 + spectrum.x**2 > NOISE_FROM**2]
    return _level(high), _ERROR / math.sqrt(high.size)


def _profile(powers: NDArray[np.float32], frequencies: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the level of each frequency of the first axis, taken in bins, with lines in between."""
    number = np.minimum((frequencies * (2 * _BINS)).astype(np.intp), _BINS - 1)
    filled = np.unique(number)
    levels = [_level(powers[number == each]) for each in filled]
    profile: NDArray[np.float32] = np.interp(frequencies, (filled + 0.5) / (2 * _BINS), levels).astype(np.float32)
    return profile


def _level(powers: NDArray[np.float32]) -> float:
    """Return the mean of exponentially distributed powers, from their median."""
    return float(np.median(powers)) / _MEDIAN
