"""Two noisy images of one field, or of the same thing at another time: equal grey levels, and what changes between."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from napari_care_losses.images.noise.estimate import estimate_noise

if TYPE_CHECKING:
    from numpy.typing import NDArray

BLUR = 2.0
"""Sigma in pixels of the Gaussian that leaves hardly any noise where two noisy images are compared."""


def symmetric_map(first: NDArray[Any], second: NDArray[Any]) -> tuple[float, float]:
    """Return gain and offset from the grey levels of one noisy image (Y, X) to those of another of the same field.

    Least squares would flatten: the noise of the image that is mapped counts as contrast (regression dilution). The
    reduced major axis of the blurred images treats both alike. Where the two have nothing in common, the gain is 0.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> light = rng.random((16, 16)).repeat(8, 0).repeat(8, 1) * 50
    >>> gain, offset = symmetric_map(rng.poisson(light), 3 * rng.poisson(light) + 20)
    >>> round(gain, 1), round(offset)
    (3.0, 20)
    """
    blurred, other = (_blurred(image) for image in (first, second))
    spread, other_spread = float(blurred.std(dtype=np.float64)), float(other.std(dtype=np.float64))
    means = float(blurred.mean(dtype=np.float64)), float(other.mean(dtype=np.float64))
    is_related = spread > 0 and float(((blurred - means[0]) * (other - means[1])).mean(dtype=np.float64)) > 0
    gain = other_spread / spread if is_related else 0.0
    return gain, means[1] - gain * means[0]


def changed_share(first: NDArray[Any], second: NDArray[Any]) -> float:
    """Return the share of the structure, 0 to 1, that differs between two noisy images (Y, X) of equal grey levels.

    It is the variance of the difference of the blurred images that the noise of both does not explain, relative to
    what two unrelated images of such structure would give. A change in brightness does not count.
    """
    gain, offset = symmetric_map(second, first)
    if gain == 0:
        return 1.0
    mapped = second.astype(np.float32) * np.float32(gain) + np.float32(offset)
    noises = [_blurred_noise(image) for image in (first.astype(np.float32), mapped)]
    images = _blurred(first), _blurred(mapped)
    structure = sum(float(image.var(dtype=np.float64)) for image in images) - sum(noises)
    difference = float((images[0] - images[1]).var(dtype=np.float64)) - sum(noises)
    return float(np.clip(difference / structure, 0.0, 1.0)) if structure > 0 else 0.0


def shows_structure(image: NDArray[Any]) -> bool:
    """Return whether the structure of a noisy image (Y, X) is stronger than its noise once that is blurred.

    Examples
    --------
    >>> noise = np.random.default_rng(0).poisson(5, (64, 64))
    >>> shows_structure(noise), shows_structure(noise + np.arange(64))
    (False, True)
    """
    image = image.astype(np.float32)
    return float(_blurred(image).var(dtype=np.float64)) > 2 * _blurred_noise(image)


def _blurred_noise(image: NDArray[np.float32]) -> float:
    """Return the variance of the noise of an image once that is blurred."""
    noise = estimate_noise(image)
    pixels = float(noise.variance_of(image).mean()) * noise.correlated_pixels
    # the blur takes the mean of so many pixels
    return pixels / (4 * np.pi * BLUR**2)


def _blurred(image: NDArray[Any]) -> NDArray[np.float32]:
    from scipy.ndimage import gaussian_filter

    blurred: NDArray[np.float32] = gaussian_filter(image.astype(np.float32), BLUR)
    return blurred
