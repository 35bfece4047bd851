"""Errors and correlation of a restored image with its ground truth, by the names that microscopists use for them."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from napari_care_losses.images.checks import checked_pair
from napari_care_losses.images.line_fit import fit_line

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray


def nrmse(restored: ArrayLike, truth: ArrayLike) -> float:
    """Return the root mean squared error over the root mean square of the truth.

    It is scikit-image's `normalized_root_mse` with its default, Euclidean normalisation. What others call NRMSE may be
    normalised by the truth's range or mean. Parameters and errors are those of
    `napari_care_losses.evaluation.metrics.psnr`; the truth scaled as there has no offset, which would make the error
    look small.

    Examples
    --------
    >>> from napari_care_losses.evaluation.squared_error import nrmse
    >>> round(nrmse([[0.0, 2.0], [4.0, 4.0]], [[0.0, 2.0], [4.0, 6.0]]), 3)
    0.267
    """
    image, target = checked_pair(restored, truth)
    return math.sqrt(float(np.square(image - target).mean() / np.square(target).mean()))


def error_map(restored: ArrayLike, truth: ArrayLike) -> NDArray[np.float64]:
    """Return the error map of SQUIRREL (Culley et al. 2018, doi:10.1038/nmeth.4605): absolute errors (Y, X).

    The restored image is first brought to the truth's grey levels by the straight line of least squared error.
    SQUIRREL's resolution scaling function, which blurs a super-resolution image to the resolution of its reference, is
    left out: a restored image and its truth have the same resolution. Parameters and errors are those of
    `napari_care_losses.evaluation.metrics.psnr`; the result is in grey levels of the truth.

    Examples
    --------
    >>> from napari_care_losses.evaluation.squared_error import error_map
    >>> error_map([[0.0, 1.0], [1.0, 2.0]], [[0.0, 2.0], [4.0, 6.0]]).tolist()
    [[0.0, 1.0], [1.0, 0.0]]
    """
    image, target = checked_pair(restored, truth)
    slope, intercept = fit_line(image, target)
    return np.abs(target - (slope * image + intercept))


def rse(restored: ArrayLike, truth: ArrayLike) -> float:
    """Return the resolution-scaled error of SQUIRREL: the root mean square of `error_map`, 0 or more.

    Examples
    --------
    >>> from napari_care_losses.evaluation.squared_error import rse
    >>> round(rse([[0.0, 1.0], [1.0, 2.0]], [[0.0, 2.0], [4.0, 6.0]]), 3)
    0.707
    """
    return math.sqrt(float(np.square(error_map(restored, truth)).mean()))


def rsp(restored: ArrayLike, truth: ArrayLike) -> float:
    """Return the resolution-scaled Pearson coefficient of SQUIRREL: the correlation of the two images, -1..1.

    It is 0 for a constant image; parameters and errors are those of `error_map`.

    Examples
    --------
    >>> from napari_care_losses.evaluation.squared_error import rsp
    >>> round(rsp([[0.0, 1.0], [1.0, 2.0]], [[0.0, 2.0], [4.0, 6.0]]), 3)
    0.949
    """
    image, target = checked_pair(restored, truth)
    if not np.ptp(image) > 0:
        return 0.0
    return float(np.clip(np.corrcoef(image.ravel(), target.ravel())[0, 1], -1, 1))
