"""Eight statistics of a noisy image, compared by `models.match` with those of a model's training images.

They do not depend on gain and offset of the grey levels, and little on how much of the frame the cells fill; those of
structure hardly depend on the exposure. How they were chosen: ``docs/explanation/model_match.md``.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_care_losses.errors import InputError
from napari_care_losses.images.checks import countable, finite
from napari_care_losses.images.noise.estimate import estimate_noise
from napari_care_losses.images.normalization import PercentileNormalization, percentiles
from napari_care_losses.images.sampling import windows_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

    FloatArray = NDArray[np.float32]

SMALLEST_SIDE = 32
"""Smallest width and height of a frame that can be measured, in pixels."""

# Sigma of the blur from one level of the pyramid to the next, in px of its grid: it doubles the width of the blur,
# to 1, 2, 4 and 8 px of the image.
_DOUBLING = math.sqrt(3)
# sigma of the neighbourhood in which directions are compared, in px of the level's grid
_NEIGHBOURHOOD = 3.0
# Power without noise is at least this share of the noise's; the difference may be negative.
_LEAST_SHARE = 0.03
# least mean square of the light, relative to the squared range: blurring removes patterns of a few pixels
_LEAST_LIGHT = 1e-8


@dataclass(frozen=True)
class ImageStatistics:
    """Statistics of one noisy frame."""

    noise: float
    """Standard deviation of the noise, relative to the range from percentile 2 to 99.8."""
    noise_in_light: float
    """The same, relative to the root mean square of the light: the image blurred by 8 px, minus its darkest level."""
    fine: float
    medium: float
    coarse: float
    """Detail about 3, 6 and 13 px wide, relative to the same light: root mean square of the differences of images
    blurred by 1, 2, 4 and 8 px, without the noise in them."""
    fine_lines: float
    coarse_lines: float
    """Share of the detail that runs in one direction, 0 (spots, texture) to 1 (parallel lines): coherence of the
    structure tensor (Bigun and Granlund 1987) at 2 and 4 px, without the noise in it; an estimate, which may exceed 1
    where noise prevails."""
    bright: float
    """Percentile 90 of the image blurred by 2 px, relative to its percentile 98, both above the darkest level: small
    where little of the frame is bright."""


def measure(image: NDArray[Any]) -> ImageStatistics:
    """Measure a noisy frame (Y, X) of any real dtype; the result is the same for ``a * image + b`` with ``a`` above 0.

    Raises
    ------
    InputError
        If the frame is not 2D or too small, holds NaN or infinite values, or is constant.
    """
    if image.ndim != 2 or min(image.shape) < SMALLEST_SIDE:
        raise InputError(f"Expected one frame of at least {SMALLEST_SIDE} px a side, found shape {image.shape}.")
    windows = finite(windows_of(image))
    low, high = percentiles(windows, PercentileNormalization().low, PercentileNormalization().high)
    if not high > low:
        raise InputError("Expected a frame with structure, found one of nearly constant grey level.")
    normalized = (countable(windows).astype(np.float64) - low) / (high - low)
    noise = estimate_noise(image)
    variance = float(noise.variance(windows.mean(dtype=np.float64))) / (high - low) ** 2
    return _measured(normalized.astype(np.float32), variance, noise.correlated_pixels)


def _measured(windows: FloatArray, variance: float, correlated_pixels: float) -> ImageStatistics:
    """Measure windows (N, Y, X), normalised, whose noise has a mean variance; so many of its pixels vary as one."""
    pairs = _pyramid(windows)
    # what blurs leave of noise that neighbours share
    blurred_variance = variance * correlated_pixels
    blurred = pairs[2][1]
    darkest = float(np.percentile(blurred, 2))
    light = max(_mean_square(np.maximum(blurred - darkest, 0)), _LEAST_LIGHT)
    detail = []
    for i, (finer, coarser) in enumerate(pairs):
        noise = blurred_variance * _difference_gain(2.0**i)
        detail.append(math.sqrt(max(_mean_square(finer - coarser) - noise, _LEAST_SHARE * noise) / light))
    lines = [_coherence(pairs[i][0], blurred_variance * _gradient_gain(2.0**i)) for i in (1, 2)]
    most, bright = (float(level) - darkest for level in np.percentile(pairs[1][0], [90, 98]))
    return ImageStatistics(
        noise=math.sqrt(variance),
        noise_in_light=math.sqrt(variance / light),
        fine=detail[0],
        medium=detail[1],
        coarse=detail[2],
        fine_lines=lines[0],
        coarse_lines=lines[1],
        bright=most / bright if bright > 0 else 0.0,
    )


def _pyramid(windows: FloatArray) -> list[tuple[FloatArray, FloatArray]]:
    """Return the windows blurred by 1 and 2, by 2 and 4, by 4 and 8 px, on grids of every, every 2nd, every 4th px."""
    finer = _blurred(windows, 1.0)
    pairs = []
    for _ in range(3):
        coarser = _blurred(finer, _DOUBLING)
        pairs.append((finer, coarser))
        finer = coarser[:, ::2, ::2]
    return pairs


def _blurred(windows: FloatArray, sigma: float) -> FloatArray:
    from scipy.ndimage import gaussian_filter

    blurred: FloatArray = gaussian_filter(windows, sigma, mode="reflect", truncate=3.0, axes=(1, 2))
    return blurred


def _mean_square(image: FloatArray) -> float:
    return float(np.mean(np.square(image), dtype=np.float64))


def _difference_gain(sigma: float) -> float:
    """Return the share of white noise's variance in the difference of blurs by `sigma` and twice that, in px."""
    return (1 + 1 / 4 - 4 / 5) / (4 * math.pi * sigma**2)


def _gradient_gain(sigma: float) -> float:
    """Return the share of white noise's variance in half the difference of two places 2 `sigma` apart, after a blur."""
    return (1 - math.exp(-1)) / (8 * math.pi * sigma**2)


def _coherence(level: FloatArray, noise: float) -> float:
    """Return the coherence of a blurred image, weighted by its gradients; `noise` is the variance in each of them."""
    y, x = (np.asarray(gradient, np.float32) for gradient in np.gradient(level, axis=(1, 2)))
    yy, xx, yx = (_blurred(product, _NEIGHBOURHOOD) for product in (y * y, x * x, y * x))
    total = float((yy + xx).mean(dtype=np.float64))
    directed = float(np.hypot(yy - xx, 2 * yx).mean(dtype=np.float64))
    return directed / max(total - 2 * noise, 0.1 * total) if total > 0 else 0.0
