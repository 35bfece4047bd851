"""How strong the noise of an image is."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from napari_care_losses.errors import InputError

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray


_NORMAL_MAD = 0.6744897501960817


def estimate_noise(image: ArrayLike) -> float:
    """Estimate the standard deviation of an image's noise from its finest diagonal wavelet coefficients.

    The median absolute deviation of the Daubechies-2 coefficients over 0.6745 (Donoho and Johnstone 1994,
    doi:10.1093/biomet/81.3.425), as scikit-image's ``estimate_sigma``. Coefficients of flat regions are left out
    (saturated, padded or without a single photon): they tell nothing of the noise, and scikit-image leaves out only
    those that escape rounding.

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
    """
    return _noise_of(_checked_frame(image))


def _noise_of(frame: NDArray[np.float64]) -> float:
    import pywt

    details = np.abs(pywt.dwtn(frame, "db2")["dd"])
    told = details[details > 1e-13 * np.abs(frame).max()]
    return float(np.median(told) / _NORMAL_MAD) if told.size else 0.0


def _checked_frame(image: ArrayLike) -> NDArray[np.float64]:
    array = np.asarray(image)
    if array.dtype.kind not in "biuf":
        raise InputError(f"The image must hold real numbers, found dtype {array.dtype}; convert it first.")
    if array.ndim != 2 or array.size == 0:
        raise InputError(f"The image must be a single 2D frame, found shape {array.shape}; select one frame.")
    array = array.astype(np.float64, copy=False)
    if not np.isfinite(array).all():
        raise InputError("The image must be finite everywhere, found NaN or infinite pixels; replace them first.")
    return array
