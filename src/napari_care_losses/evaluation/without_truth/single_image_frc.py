"""The resolution of one image by Fourier ring correlation of two halves of its pixels."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from napari_care_losses.evaluation.spectra import SMALLEST as SMALLEST_HALF
from napari_care_losses.evaluation.spectra import fourier_ring_correlation, resolution
from napari_care_losses.images.checks import checked_frame

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

FINEST = 4.0
"""Finest resolution that can be found, in pixels: of the halves, a pixel is two pixels wide."""

# periods along the smaller side of the image below which a resolution is none
_COARSEST = 8
SMALLEST = 2 * SMALLEST_HALF
"""Least width and height of an image, in pixels."""


def frc_resolution(image: ArrayLike) -> float:
    """Return the resolution of one image by Fourier ring correlation of two halves.

    The method is that of Koho et al. (2019, doi:10.1038/s41467-019-11024-z). Every other pixel along Y and X makes four
    images of half the size, whose noise is independent. Two pairs of them, each a checkerboard's diagonal neighbours,
    are correlated ring by ring, and the two correlations averaged. They were sampled half of their pixels apart, which
    is undone in Fourier space; so no correction has to be calibrated. The resolution is where the correlation first
    falls below 1/7. What is finer than 4 px appears in the halves as coarser structure in which they disagree: of an
    image full of it, the value is too large.

    The noise has to be independent from pixel to pixel. That of a restored image is not: what little is left of it is
    taken for structure, so that the value is the finest detail drawn, true or not.

    Parameters
    ----------
    image : (Y, X) array of any real dtype
        At least 32 x 32 px.

    Returns
    -------
    float
        In pixels; 4, the finest that can be found, where the halves agree throughout, and NaN where they agree in no
        more than structures of an eighth of the image.

    Raises
    ------
    InputError
        If the image is not 2D, real and finite, or too small.

    Examples
    --------
    >>> import numpy as np
    >>> from scipy.ndimage import gaussian_filter
    >>> rng = np.random.default_rng(0)
    >>> image = 50 * gaussian_filter(rng.normal(size=(256, 256)), 3)
    >>> fine, noisy = (frc_resolution(image + rng.normal(0, sigma, image.shape)) for sigma in (0.1, 5.0))
    >>> bool(fine < noisy)
    True
    """
    given = checked_frame(image, smallest=SMALLEST)
    height, width = (size // 2 * 2 for size in given.shape)
    first, right, below, last = (given[y:height:2, x:width:2] for y in (0, 1) for x in (0, 1))
    frequency, falling = fourier_ring_correlation(first, last, shift=(0.5, 0.5))
    _, rising = fourier_ring_correlation(right, below, shift=(0.5, -0.5))
    limit = resolution(frequency, (falling + rising) / 2)
    if math.isnan(limit):
        return FINEST
    return max(FINEST, 2 / limit) if limit > 2 * _COARSEST / min(height, width) else math.nan
