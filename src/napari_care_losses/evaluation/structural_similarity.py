"""Structural similarity of images: SSIM, and MicroSSIM, which was made for microscopy."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from napari_care_losses.images.checks import checked_pair

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import ArrayLike, NDArray

    Moments = tuple[NDArray[np.float64], ...]

SIGMA = 1.5
# 3.5 sigma rounded, as scikit-image truncates it: a window of 11 px
_RADIUS = 5
_WEIGHTS = np.exp(-0.5 * (np.arange(-_RADIUS, _RADIUS + 1) / SIGMA) ** 2)
_WEIGHTS /= _WEIGHTS.sum()
SMALLEST = 2 * _RADIUS + 1
"""Height and width in pixels of the window, and so of the smallest image."""
# rows filtered at once: their intermediate images stay in the CPU's cache
_STRIP = 32
_K1, _K2 = 0.01, 0.03

BACKGROUND_PERCENTILE = 3.0
# the window of 7 px in which MicroSSIM's factor is fitted, and about how many windows are used for it
_FLAT, _MOST_WINDOWS = 7, 2**18
# how far from the factor of least squared error the best one is looked for
_FACTOR_SPAN = 8.0


def ssim(restored: ArrayLike, truth: ArrayLike) -> float:
    """Return the mean structural similarity for a data range of 1 (Wang et al. 2004, doi:10.1109/TIP.2003.819861).

    Gaussian weights of sigma 1.5 px in a window of 11 px, population covariance, without the border of 5 px: equal to
    scikit-image's, and faster, because the two second moments are filtered as their sum, a few rows at a time. At most
    1, reached by equal images only; parameters and errors are those of `napari_care_losses.evaluation.metrics.psnr`.

    Examples
    --------
    >>> import numpy as np
    >>> from napari_care_losses.evaluation.structural_similarity import ssim
    >>> rng = np.random.default_rng(0)
    >>> truth = rng.random((32, 32))
    >>> noisy = truth + rng.normal(0, 0.1, truth.shape)
    >>> round(ssim(truth, truth), 3), round(ssim(noisy, truth), 3)
    (1.0, 0.934)
    """
    restored, truth = checked_pair(restored, truth, smallest=SMALLEST)
    height, width = restored.shape
    total = 0.0
    for top in range(0, height - 2 * _RADIUS, _STRIP):
        rows = slice(top, min(top + _STRIP + 2 * _RADIUS, height))
        total += float(_similarity(restored[rows], truth[rows]).sum())
    return float(total / ((height - 2 * _RADIUS) * (width - 2 * _RADIUS)))


def micro_ssim(restored: ArrayLike, truth: ArrayLike) -> float:
    """Return MicroSSIM, the structural similarity made for microscopy (Ashesh et al. 2024, arXiv:2408.08747).

    SSIM of two images with much background is near 1 whatever the structures are, and it depends on how their levels
    were scaled. Here the background of each image, its percentile 3, is subtracted, both are divided by the largest
    level of the truth, and the restored image is multiplied by the factor for which their SSIM is largest. The factor
    is that of this image. Equal to the package `microssim` 0.0.5 fitted to the same image, with its sample covariance,
    the window of 7 px in which it fits the factor, and the Gaussian one in which it scores. Of frames above 512 x 512
    px, the factor is fitted to evenly spaced strips.

    At most 1, reached by equal images only, whatever their gain and offset; parameters and errors are those of
    `napari_care_losses.evaluation.metrics.psnr`.

    Examples
    --------
    >>> import numpy as np
    >>> from napari_care_losses.evaluation.structural_similarity import micro_ssim
    >>> rng = np.random.default_rng(0)
    >>> truth = rng.random((32, 32))
    >>> noisy = truth + rng.normal(0, 0.1, truth.shape)
    >>> round(micro_ssim(3 * truth + 1, truth), 3), round(micro_ssim(noisy, truth), 3)
    (1.0, 0.936)
    """
    image, target = checked_pair(restored, truth, smallest=SMALLEST)
    target = target - np.percentile(target, BACKGROUND_PERCENTILE)
    peak = float(target.max())
    target /= peak
    image = (image - np.percentile(image, BACKGROUND_PERCENTILE)) / peak
    span = float(np.ptp(target))
    image *= _best_factor(image, target, span)
    height, width = image.shape
    total = 0.0
    for top in range(0, height - 2 * _RADIUS, _STRIP):
        rows = slice(top, min(top + _STRIP + 2 * _RADIUS, height))
        total += float(_scaled(_moments(image[rows], target[rows], _window_mean, SMALLEST), 1.0, span).sum())
    return float(total / ((height - 2 * _RADIUS) * (width - 2 * _RADIUS)))


def _best_factor(restored: NDArray[np.float64], truth: NDArray[np.float64], span: float) -> float:
    """Return the factor of the restored image for which the mean similarity in flat windows is largest."""
    from scipy.optimize import minimize_scalar

    power = float(np.vdot(restored, restored))
    start = float(np.vdot(restored, truth)) / power if power else 0.0
    if start <= 0:
        return 1.0
    tops = range(0, len(restored) - _FLAT + 1, _STRIP * max(1, restored.size // _MOST_WINDOWS))
    strips = [slice(top, top + _STRIP + _FLAT - 1) for top in tops]
    moments = [_moments(restored[rows], truth[rows], _flat_mean, _FLAT) for rows in strips]
    found = tuple(np.concatenate(parts) for parts in zip(*moments, strict=True))
    return start * float(
        minimize_scalar(
            lambda factor: -_scaled(found, start * factor, span).mean(),
            bounds=(1 / _FACTOR_SPAN, _FACTOR_SPAN),
            method="bounded",
            options={"xatol": 1e-6},
        ).x
    )


def _flat_mean(image: NDArray[np.float64]) -> NDArray[np.float64]:
    from scipy.ndimage import uniform_filter

    border = _FLAT // 2
    mean: NDArray[np.float64] = uniform_filter(image, _FLAT)[border:-border, border:-border]
    return mean


def _moments(
    restored: NDArray[np.float64],
    truth: NDArray[np.float64],
    mean: Callable[[NDArray[np.float64]], NDArray[np.float64]],
    width: int,
) -> Moments:
    """Return both means, both sample variances and the sample covariance in windows of some width."""
    of_sample = width**2 / (width**2 - 1)
    mean_r, mean_t = mean(restored), mean(truth)
    return (
        mean_r,
        mean_t,
        of_sample * (mean(restored**2) - mean_r**2),
        of_sample * (mean(truth**2) - mean_t**2),
        of_sample * (mean(restored * truth) - mean_r * mean_t),
    )


def _scaled(moments: Moments, factor: float, span: float) -> NDArray[np.float64]:
    """Return the similarity in every window, of the restored image times a factor."""
    mean_r, mean_t, variance_r, variance_t, covariance = moments
    c1, c2 = (_K1 * span) ** 2, (_K2 * span) ** 2
    similarity: NDArray[np.float64] = (2 * factor * mean_r * mean_t + c1) * (2 * factor * covariance + c2)
    similarity /= ((factor * mean_r) ** 2 + mean_t**2 + c1) * (factor**2 * variance_r + variance_t + c2)
    return similarity


def _similarity(restored: NDArray[np.float64], truth: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the structural similarity of every pixel but the border's."""
    c1, c2 = _K1**2, _K2**2
    mean_r, mean_t = _window_mean(restored), _window_mean(truth)
    product = mean_r * mean_t
    squares = mean_r**2 + mean_t**2
    covariance = _window_mean(restored * truth) - product
    variances = _window_mean(restored**2 + truth**2) - squares
    return (2 * product + c1) * (2 * covariance + c2) / ((squares + c1) * (variances + c2))


def _window_mean(image: NDArray[np.float64]) -> NDArray[np.float64]:
    # imported late: it takes half a second, and the viewer's forms do not need it
    from scipy.ndimage import correlate1d

    # down the columns as a sum of shifted rows, at half the time of the filter, which walks along each column
    rows = len(image) - 2 * _RADIUS
    mean = sum(weight * image[shift : shift + rows] for shift, weight in enumerate(_WEIGHTS))
    averaged: NDArray[np.float64] = correlate1d(mean, _WEIGHTS, axis=1)[:, _RADIUS:-_RADIUS]
    return averaged
