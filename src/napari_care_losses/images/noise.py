"""How strong the noise of an image is, by several estimators; `napari_care_losses.images.noise_power` has its spectrum.

They answer different questions: `wavelet_noise` is the most robust for one whole image, `median_difference_noise` looks
at few pixels of a large one, `mean_difference_noise` gives the mean variance, that of bright pixels included.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_care_losses.images.checks import checked_frame

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

NORMAL_MAD = 0.6744897501960817
"""Median absolute deviation of a normal distribution of standard deviation 1."""


def wavelet_noise(image: ArrayLike) -> float:
    """Estimate the standard deviation of an image's noise from its finest diagonal wavelet coefficients.

    The median absolute deviation of the Daubechies-2 coefficients over 0.6745 (Donoho and Johnstone 1994,
    doi:10.1093/biomet/81.3.425), as scikit-image's ``estimate_sigma``. Coefficients of flat regions are left out
    (saturated, padded or without a single photon): they hold no noise, and scikit-image leaves out only those that
    escape rounding.

    Parameters
    ----------
    image : (Y, X) array of any real dtype
        One frame.

    Returns
    -------
    float
        In grey levels of the image; 0 for a constant image.

    Raises
    ------
    InputError
        If the image is not 2D, real and finite, or has no pixels.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> round(wavelet_noise(rng.normal(100, 5, (128, 128))), 1)
    4.9
    """
    import pywt

    frame = checked_frame(image)
    details = np.abs(pywt.dwtn(frame, "db2")["dd"])
    with_noise = details[details > 1e-13 * np.abs(frame).max()]
    return float(np.median(with_noise) / NORMAL_MAD) if with_noise.size else 0.0


def median_difference_noise(image: NDArray[Any], *, most_pixels: int) -> float:
    """Estimate the standard deviation of white noise from the median of absolute second differences along both axes.

    Parameters
    ----------
    image : (Y, X) array of any real dtype
        One frame; NaN is left out; of a larger one, every so many rows are looked at.
    most_pixels : int
        About how many pixels are looked at.

    Returns
    -------
    float
        In grey levels of the image; 0 for an image of a single row or column.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> round(median_difference_noise(rng.normal(100, 5, (128, 128)), most_pixels=10_000), 1)
    5.0
    """
    step = 2 * math.ceil(image.size / most_pixels)
    height, width = (size // 2 * 2 for size in image.shape)
    rows = image[:height:step, :width].astype(np.float32) - image[1:height:step, :width]
    differences = np.abs(rows[:, ::2] - rows[:, 1::2])
    differences = differences[np.isfinite(differences)]
    return float(np.median(differences)) / (2 * NORMAL_MAD) if differences.size else 0.0


def mean_difference_noise(windows: NDArray[np.float32]) -> float:
    """Estimate the mean variance of white noise from the mean square of second differences along both axes.

    It is that of windows (N, Y, X) of one image, in squared grey levels. Differences of four neighbours hold hardly
    any signal.
    """
    rows = windows[:, 1:] - windows[:, :-1]
    return float(np.mean(np.square(rows[:, :, 1:] - rows[:, :, :-1]), dtype=np.float64)) / 4
