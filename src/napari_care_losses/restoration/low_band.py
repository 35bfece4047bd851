"""Replaces the low band of a restoration by its input's, where the training loss leaves it free.

A loss of a difference of Gaussians does not respond to slow changes of brightness, so that the restoration's low band
is arbitrary. The input's is nearly free of noise (a blur of sigma 5 px divides the noise variance by 4 pi 25, about
314). Input and clean image were normalised by their own percentiles: the network's detail is larger than the input's by
a gain, which is estimated where signal dominates.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from napari_care_losses.images.noise.estimate import estimate_noise

if TYPE_CHECKING:
    from typing import Any

    from numpy.typing import NDArray
    from scipy import sparse

DEFAULT_SIGMA = 5.0
"""Sigma of the low band in pixels, that of the paper's bandpass loss."""

NOISE_LEFT = 0.003
"""Largest standard deviation of the noise in the input's low band, relative to the range of grey levels."""

LARGEST_SIGMA = 12.0
"""Largest sigma that noise raises the default to, in pixels: small receptive fields do not reach farther."""

GAIN_BAND = (0.8, 1.6)
"""Sigmas of the band that the gain is estimated from, relative to sigma.

In finer bands, noise that the network left correlates with the input's and lowers the gain; in coarser ones, what the
network left out of the low band does.
"""

GAIN_BOUNDS = (0.1, 10.0)
"""Gains outside are those of images without structure and are clipped; without correlation the gain is 1."""

GRID_SIGMA, GRID_STEP = 0.5, 0.6
"""Blur before an image is sampled on the coarse grid, and the grid's largest step, relative to sigma.

Together they suppress frequencies that the grid cannot hold to 1e-6.
"""

TRUNCATE = 4.0
"""Radius of a Gaussian's window, in sigmas."""

LEAST_BAND = 1e-4
"""Least share of an image's contrast in the gain's band; with less, rounding would change the gain.

Bands of real images hold a thousand times as much; a band much coarser than the image holds almost nothing.
"""


def noise_limited_sigma(image: NDArray[Any], least: float = DEFAULT_SIGMA, *, data_range: float = 1.0) -> float:
    r"""Return the sigma of the low band that lets little of the input's noise through, in pixels.

    A blur leaves :math:`s / (2 \sqrt{\pi} \sigma)` of white noise of standard deviation :math:`s`, and
    :math:`\sqrt{n}` times that if :math:`n` pixels vary as one, so

    .. math:: \sigma = \frac{s \sqrt{n}}{2 \sqrt{\pi} \cdot 0.003 R}

    for the noise at the median brightness and 0.003 of the data range :math:`R` (`NOISE_LEFT`), within `least` and
    `LARGEST_SIGMA`; see ``docs/explanation/low_band.md``.

    Parameters
    ----------
    image : array (Y, X)
        The input.
    least : float
        Sigma above which the training loss leaves structure free, in pixels.
    data_range : float
        Range of the image's grey levels; 1 if it is normalised.
    """
    noise, usual = estimate_noise(image), float(np.nanmedian(image)) if np.isfinite(image).any() else 0.0
    spread = math.sqrt(float(noise.variance(usual)) * noise.correlated_pixels)
    return max(least, min(LARGEST_SIGMA, spread / (2 * math.sqrt(math.pi) * NOISE_LEFT * data_range)))


def estimate_gain(restored: NDArray[np.float32], image: NDArray[np.float32], sigma: float = DEFAULT_SIGMA) -> float:
    r"""Return the ratio of the restoration's structure to the input's.

    With :math:`d_r` and :math:`d_x` the bands between 0.8 and 1.6 sigma of restoration and input (`GAIN_BAND`),

    .. math:: a = \sum d_r^2 / \sum d_r d_x .

    The input's noise is nearly uncorrelated with the restoration and drops out of the denominator; in a regression of
    :math:`d_r` on :math:`d_x` its square would stay.

    Parameters
    ----------
    restored, image : float32 array (Y, X)
        Restoration and input in the same normalised units.
    sigma : float
        Sigma of the low band, in pixels.
    """
    grid = _Grid.over(restored.shape, sigma)
    centred_restored, centred_image = _centred(restored)[0], _centred(image)[0]
    return _gain(grid.sample(centred_restored), grid.sample(centred_image), grid)


def _gain(restored: NDArray[np.float32], image: NDArray[np.float32], grid: _Grid) -> float:
    """Return the gain of two images on the grid, without their mean, whose rounding could exceed a coarse band."""
    fine, coarse = (factor * grid.sigma for factor in GAIN_BAND)
    detail_restored, detail_image = (
        grid.blurred(each, fine) - grid.blurred(each, coarse) for each in (restored, image)
    )
    shared = float(np.vdot(detail_restored, detail_image))
    pairs = ((detail_restored, restored), (detail_image, image))
    if shared <= 0 or any(np.linalg.norm(detail) <= LEAST_BAND * np.linalg.norm(full) for detail, full in pairs):
        return 1.0
    return float(np.clip(float(np.vdot(detail_restored, detail_restored)) / shared, *GAIN_BOUNDS))


def _centred(image: NDArray[np.float32]) -> tuple[NDArray[np.float32], np.float32]:
    """Return an image without its mean, and the mean."""
    mean = image.mean(dtype=np.float64).astype(np.float32)
    return image - mean, mean


def tie_low_band(
    restored: NDArray[np.float32],
    image: NDArray[np.float32],
    sigma: float = DEFAULT_SIGMA,
    *,
    gain: float | None = None,
) -> NDArray[np.float32]:
    r"""Return the restoration with its low band replaced by the input's and its detail in the input's units.

    .. math:: (r - G_\sigma r) / a + G_\sigma x

    with the gain :math:`a` of `estimate_gain`. Blurs reflect at the edge. It is computed as
    :math:`r / a + G_\sigma (x - r / a)`, with one blur, on a coarse grid: a blur of :math:`\sigma / 2` before the
    sampling, the rest with the interpolation. This differs from the full blur by less than 1e-5 of the data range.

    Parameters
    ----------
    restored, image, sigma
        As in `estimate_gain`.
    gain : float, optional
        The gain where it is known, such as that of the whole image for a part of it.
    """
    grid = _Grid.over(restored.shape, sigma)
    (detail, _), (centred, level) = _centred(restored), _centred(image)
    coarse_restored, coarse_image = grid.sample(detail), grid.sample(centred)
    if gain is None:
        gain = _gain(coarse_restored, coarse_image, grid)
    coarse_restored /= np.float32(gain)
    coarse_image -= coarse_restored
    tied = grid.fill(coarse_image)
    detail /= np.float32(gain)
    tied += detail
    tied += level
    return tied


class _Grid(NamedTuple):
    """A coarse grid over a frame, symmetric to it; an image on it is blurred by `blur` and transposed, (X, Y)."""

    shape: tuple[int, int]  # (Y, X) of the frame
    points: tuple[int, int]  # (Y, X) of the grid
    sigma: float  # of the low band, in pixels
    blur: float  # sigma in pixels; 0 where the grid is the frame's own

    @classmethod
    def over(cls, shape: tuple[int, ...], sigma: float) -> _Grid:
        """Return the grid for a frame (Y, X)."""
        height, width = shape
        step = GRID_STEP * sigma
        # A Gaussian much narrower than a pixel cannot be sampled.
        if step < 1:
            return cls((height, width), (height, width), sigma, 0)
        return cls((height, width), (math.ceil(height / step), math.ceil(width / step)), sigma, GRID_SIGMA * sigma)

    def sample(self, image: NDArray[np.float32]) -> NDArray[np.float32]:
        """Blur a frame and sample it on the grid."""
        down_y, down_x = (_blur_matrix(*axis, self.blur) for axis in zip(self.shape, self.points, strict=True))
        return _product(down_x, _product(down_y, image).T)

    def fill(self, coarse: NDArray[np.float32]) -> NDArray[np.float32]:
        """Interpolate an image on the grid to the frame, and increase its blur to sigma."""
        rest = math.sqrt(self.sigma**2 - self.blur**2)
        up_y, up_x = (_blur_matrix(*axis, rest, in_targets=True) for axis in zip(self.points, self.shape, strict=True))
        return _product(up_y, _product(up_x, coarse).T)

    def blurred(self, coarse: NDArray[np.float32], sigma: float) -> NDArray[np.float32]:
        """Increase the blur of an image on the grid to another sigma, in pixels."""
        rest = math.sqrt(max(0.0, sigma**2 - self.blur**2))
        blur_y, blur_x = (
            _blur_matrix(count, count, rest * count / size) for size, count in zip(self.shape, self.points, strict=True)
        )
        return _product(blur_y, _product(blur_x, coarse).T).T


@lru_cache(maxsize=16)
def _blur_matrix(samples: int, targets: int, sigma: float, *, in_targets: bool = False) -> sparse.csr_array:
    """Return the matrix that blurs `samples` values, reflected at both ends, and resamples them at `targets` points.

    Both divide the same length evenly; `sigma` is in distances of samples, or of targets if `in_targets`. A product
    with a sparse matrix runs along whole rows, which is faster than scipy's filters. Those of a frame, a few hundred kB
    each, are kept for the next one: making them takes as long as using them.
    """
    # imported here: it takes a tenth of a second, and most restorations have no use for it
    from scipy import sparse

    if sigma == 0:
        return sparse.eye_array(targets, samples, dtype=np.float32, format="csr")
    if in_targets:
        sigma *= samples / targets
    centres = (np.arange(targets) + 0.5) * (samples / targets) - 0.5
    radius = math.ceil(TRUNCATE * sigma)
    columns = np.floor(centres).astype(np.int64)[:, None] + np.arange(-radius, radius + 2)
    weights = np.exp(-0.5 * ((columns - centres[:, None]) / sigma) ** 2)
    weights /= weights.sum(axis=1, keepdims=True)
    columns %= 2 * samples
    columns = np.minimum(columns, 2 * samples - 1 - columns)
    rows = np.repeat(np.arange(targets), columns.shape[1])
    entries = weights.ravel().astype(np.float32), (rows, columns.ravel())
    return sparse.csr_array(entries, shape=(targets, samples))


def _product(matrix: sparse.csr_array, image: NDArray[np.float32]) -> NDArray[np.float32]:
    product: NDArray[np.float32] = matrix @ np.ascontiguousarray(image)
    return product
