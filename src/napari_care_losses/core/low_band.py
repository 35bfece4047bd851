"""Tying the low band of a restoration to its input's, where the training loss left it free.

A loss that passes the images through a difference of Gaussians does not respond to slow changes of brightness: the
restoration's low band is arbitrary. The input's low band is nearly free of noise (a blur of sigma 5 px divides the
noise variance by 4 pi 25, about 314), so it can stand in. But input and clean image were normalised by percentiles of
their own, so that the network's detail is larger than the input's by a gain, which is estimated where signal dominates.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy.ndimage import gaussian_filter

if TYPE_CHECKING:
    from numpy.typing import NDArray

DEFAULT_SIGMA = 5.0
"""Sigma of the low band in pixels, that of the paper's bandpass loss."""

GAIN_BAND = (0.8, 1.6)
"""Edges of the band the gain is taken from, relative to sigma.

Noise that the network let through correlates with the input's and makes the gain too small, the more the finer the
band; what the network left out of the low band does so the more the coarser it is.
"""

GAIN_BOUNDS = (0.1, 10.0)
"""Gains outside are those of images without structure: they are clipped, and 1 where the two do not correlate."""


def estimate_gain(restored: NDArray[np.float32], image: NDArray[np.float32], sigma: float = DEFAULT_SIGMA) -> float:
    r"""Return how much larger the restoration's structure is than the input's.

    With :math:`d_r` and :math:`d_x` the bands between 0.8 and 1.6 sigma of restoration and input (`GAIN_BAND`),

    .. math:: a = \sum d_r^2 / \sum d_r d_x .

    The input's noise is nearly uncorrelated with the restoration and drops out of the denominator; the regression of
    :math:`d_r` on :math:`d_x` would have it squared there.

    Parameters
    ----------
    restored, image : float32 array (Y, X)
        Restoration and input in the same normalised units.
    sigma : float
        Sigma of the low band, in pixels.
    """
    detail_restored, detail_image = _band(restored, sigma), _band(image, sigma)
    power = float(np.vdot(detail_restored, detail_restored))
    shared = float(np.vdot(detail_restored, detail_image))
    if power <= 0 or shared <= 0:
        return 1.0
    return float(np.clip(power / shared, *GAIN_BOUNDS))


def tie_low_band(
    restored: NDArray[np.float32], image: NDArray[np.float32], sigma: float = DEFAULT_SIGMA
) -> NDArray[np.float32]:
    r"""Return the restoration with its low band replaced by the input's and its detail in the input's units.

    .. math:: (r - G_\sigma r) / a + G_\sigma x

    with the gain :math:`a` of `estimate_gain`. Up to the factor :math:`a` and a constant, which an affine alignment
    does not see, this is :math:`r - G_\sigma r + a G_\sigma x`. Blurs reflect at the edge.

    Parameters
    ----------
    restored, image : float32 array (Y, X)
        Restoration and input in the same normalised units.
    sigma : float
        Structure coarser than this comes from the input, in pixels.
    """
    gain = estimate_gain(restored, image, sigma)
    return (restored - _blur(restored, sigma)) / np.float32(gain) + _blur(image, sigma)


def _band(image: NDArray[np.float32], sigma: float) -> NDArray[np.float32]:
    fine, coarse = GAIN_BAND
    return _blur(image, fine * sigma) - _blur(image, coarse * sigma)


def _blur(image: NDArray[np.float32], sigma: float) -> NDArray[np.float32]:
    blurred: NDArray[np.float32] = gaussian_filter(image, sigma, mode="reflect")
    return blurred
