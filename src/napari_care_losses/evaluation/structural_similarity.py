"""Structural similarity of images: SSIM, and MicroSSIM, which was made for microscopy."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
from numpy.lib.stride_tricks import as_strided

from napari_care_losses.compute.cores import in_threads
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
PART_PIXELS = 1 << 20
"""About as many pixels does `ssim_of_a_part` look at."""
# rows and columns of the result that are computed at once: their intermediate images stay in the CPU's cache
_BLOCK = (128, 256)
_SAMPLE = 8
# as many values side by side are averaged by one product with a matrix (_STEP, _STEP + 2 * _RADIUS)
_STEP = 16
# grey levels around a block's mean, for a data range of 1, up to which float32 changes no score by more than 1e-6
_FLOAT32_REACH = 4.0
# rows of which MicroSSIM is computed at once
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
    scikit-image's within 1e-6, and faster: block by block, in one thread a core, in float32 where grey levels allow it,
    averaged by products with a matrix. At most 1, reached by equal images only; parameters and errors are those of
    `napari_care_losses.evaluation.metrics.psnr`.

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
    return ssim_of_checked(*checked_pair(restored, truth, smallest=SMALLEST))


def ssim_of_checked(restored: NDArray[np.float64], truth: NDArray[np.float64]) -> float:
    """Return `ssim` of images that `checked_pair` has returned."""
    return _mean_similarity(restored, truth, every=1)


def ssim_of_a_part(restored: NDArray[np.float64], truth: NDArray[np.float64]) -> float:
    """Return the mean similarity in blocks spread evenly over large images, about a million pixels of them."""
    return _mean_similarity(restored, truth, every=max(1, round(restored.size / PART_PIXELS)))


def _mean_similarity(restored: NDArray[np.float64], truth: NDArray[np.float64], *, every: int) -> float:
    """Return the mean similarity, of one block out of `every` so many in each row of blocks."""
    height, width = (size - 2 * _RADIUS for size in restored.shape)

    # one for each thread that there is, taken and given back
    free: list[_Workspace] = []

    def total(top: int) -> tuple[float, int]:
        rows = slice(top, min(top + _BLOCK[0], height) + 2 * _RADIUS)
        work = free.pop() if free else _Workspace(np.float32)
        sums, pixels = [], 0
        # another first block in every row, so that the chosen ones do not stand in columns
        for left in range(top // _BLOCK[0] % every * _BLOCK[1], width, every * _BLOCK[1]):
            block = rows, slice(left, min(left + _BLOCK[1], width) + 2 * _RADIUS)
            fits = work.load(restored[block], truth[block])
            sums.append((work if fits else _in_float64(restored[block], truth[block])).sum_of_similarity())
            pixels += (rows.stop - top - 2 * _RADIUS) * (block[1].stop - left - 2 * _RADIUS)
        free.append(work)
        return math.fsum(sums), pixels

    totals = in_threads(total, range(0, height, _BLOCK[0]))
    return math.fsum(similarity for similarity, _ in totals) / sum(pixels for _, pixels in totals)


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
    return micro_ssim_of_checked(*checked_pair(restored, truth, smallest=SMALLEST))


def micro_ssim_of_checked(restored: NDArray[np.float64], truth: NDArray[np.float64]) -> float:
    """Return `micro_ssim` of images that `checked_pair` has returned."""
    image, target = restored, truth
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


def _in_float64(restored: NDArray[np.float64], truth: NDArray[np.float64]) -> _Workspace:
    work = _Workspace(np.float64)
    work.load(restored, truth)
    return work


class _Workspace:
    """Computes the similarity of blocks in arrays that it keeps: new memory for every block would cost a third more."""

    def __init__(self, dtype: type[np.float32 | np.float64]) -> None:
        self._dtype = dtype
        height, width = _BLOCK
        # both centred images, the square of their difference, the sum of their squares; then their means in windows
        self._images = np.zeros((4, height + 2 * _RADIUS, width + 2 * _RADIUS), dtype)
        self._rows = np.empty((4, height, width + 2 * _RADIUS), dtype)
        self._means = np.empty((4, height, width), dtype)
        self._spare = np.empty((height + 2 * _RADIUS, width + 2 * _RADIUS), dtype)
        self._weights = np.zeros((_STEP, _STEP + 2 * _RADIUS), dtype)
        for row in range(_STEP):
            self._weights[row, row : row + SMALLEST] = _WEIGHTS
        self._shape = (0, 0)
        self._middles = (0.0, 0.0)

    def load(self, restored: NDArray[np.float64], truth: NDArray[np.float64]) -> bool:
        """Take a block of both images with its border; return whether its grey levels may be computed in float32."""
        height, width = restored.shape
        self._shape = height - 2 * _RADIUS, width - 2 * _RADIUS
        # about the means: of some pixels
        of_restored, of_truth = (float(image[::_SAMPLE, ::_SAMPLE].mean()) for image in (restored, truth))
        self._middles = of_restored, of_truth
        first, second, square, squares = self._images[:, :height, :width]
        np.subtract(restored, self._middles[0], out=first, casting="same_kind")
        np.subtract(truth, self._middles[1], out=second, casting="same_kind")
        both = self._images[:2, :height, :width]
        if self._dtype is np.float32 and max(float(both.max()), -float(both.min())) > _FLOAT32_REACH:
            return False
        np.subtract(first, second, out=square)
        np.square(square, out=square)
        np.square(first, out=squares)
        squares += np.square(second, out=self._spare[:height, :width])
        return True

    def sum_of_similarity(self) -> float:
        r"""Return the sum of the similarities of all pixels of the block but its border's.

        With :math:`d` the difference of the images, :math:`m` means and :math:`v` variances in a window,

        .. math:: \left(1 - \frac{m_d^2}{m_r^2 + m_t^2 + c_1}\right) \left(1 - \frac{v_d}{v_r + v_t + c_2}\right) ,

        which needs no difference of large numbers where the images are alike. Variances do not depend on an offset.
        """
        self._average()
        height, width = self._shape
        dtype, (of_restored, of_truth) = self._dtype, self._middles
        mean_r, mean_t, spread, power = self._means[:, :height, :width]
        difference, spare = self._images[0, :height, :width], self._spare[:height, :width]
        np.subtract(mean_r, mean_t, out=difference)
        spread -= np.square(difference, out=spare)
        power -= np.square(mean_r, out=spare)
        power -= np.square(mean_t, out=spare)
        power += dtype(_K2**2)
        spread /= power
        difference += dtype(of_restored - of_truth)
        mean_r += dtype(of_restored)
        mean_t += dtype(of_truth)
        np.square(mean_r, out=mean_r)
        mean_r += np.square(mean_t, out=spare)
        mean_r += dtype(_K1**2)
        np.square(difference, out=difference)
        difference /= mean_r
        # (1 - difference) * (1 - spread) less 1, which keeps the digits of what is near 1
        np.subtract(dtype(1), spread, out=spare)
        difference *= spare
        difference += spread
        return height * width - float(difference.sum(dtype=np.float64))

    def _average(self) -> None:
        """Average the images over windows, by products with a matrix.

        It is mostly zeros, and yet three times as fast as a filter: the CPU multiplies matrices as fast as it can.
        """
        down, across, taken = _BLOCK[0] // _STEP, _BLOCK[1] // _STEP, self._weights.shape[1]
        of_image, of_row, of_pixel = self._images.strides
        width = self._images.shape[2]
        strips = as_strided(self._images, (4, down, taken, width), (of_image, _STEP * of_row, of_row, of_pixel))
        np.matmul(self._weights, strips, out=self._rows.reshape(4, down, _STEP, width))
        of_image, of_row, of_pixel = self._rows.strides
        windows = as_strided(self._rows, (4, across, _BLOCK[0], taken), (of_image, _STEP * of_pixel, of_row, of_pixel))
        of_image, of_row, of_pixel = self._means.strides
        result = as_strided(self._means, (4, across, _BLOCK[0], _STEP), (of_image, _STEP * of_pixel, of_row, of_pixel))
        np.matmul(windows, self._weights.T, out=result)


def _window_mean(image: NDArray[np.float64]) -> NDArray[np.float64]:
    # imported late: it takes half a second, and the viewer's forms do not need it
    from scipy.ndimage import correlate1d

    # down the columns as a sum of shifted rows, at half the time of the filter, which walks along each column
    rows = len(image) - 2 * _RADIUS
    mean = sum(weight * image[shift : shift + rows] for shift, weight in enumerate(_WEIGHTS))
    averaged: NDArray[np.float64] = correlate1d(mean, _WEIGHTS, axis=1)[:, _RADIUS:-_RADIUS]
    return averaged
