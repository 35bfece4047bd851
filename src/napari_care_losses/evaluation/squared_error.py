"""Errors and correlation of a restored image with its ground truth, by the names that microscopists use for them."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from napari_care_losses.compute.cores import in_threads, parts
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
    return nrmse_of_checked(*checked_pair(restored, truth))


def nrmse_of_checked(restored: NDArray[np.float64], truth: NDArray[np.float64]) -> float:
    """Return `nrmse` of images that `checked_pair` has returned."""
    return math.sqrt(mean_squared_error(restored, truth) / mean_squared_error(truth))


def mean_squared_error(image: NDArray[np.float64], other: NDArray[np.float64] | None = None) -> float:
    """Return the mean squared difference of two images of one shape, or the mean square of one.

    Examples
    --------
    >>> from napari_care_losses.evaluation.squared_error import mean_squared_error
    >>> mean_squared_error(np.array([1.0, 2.0]), np.array([1.0, 4.0]))
    2.0
    """
    first, second = image.ravel(), None if other is None else other.ravel()

    def total(part: range) -> float:
        blocks = (slice(start, start + part.step) for start in part)
        errors = (first[block] if second is None else first[block] - second[block] for block in blocks)
        return math.fsum(float(np.square(error).sum()) for error in errors)

    return math.fsum(in_threads(total, parts(first.size))) / first.size


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
    return rse_of_checked(*checked_pair(restored, truth))


def rse_of_checked(restored: NDArray[np.float64], truth: NDArray[np.float64]) -> float:
    """Return `rse` of images that `checked_pair` has returned."""
    slope, intercept = fit_line(restored, truth)
    return math.sqrt(mean_squared_error(slope * restored + intercept, truth))


def rsp(restored: ArrayLike, truth: ArrayLike) -> float:
    """Return the resolution-scaled Pearson coefficient of SQUIRREL: the correlation of the two images, -1..1.

    It is 0 for a constant image; parameters and errors are those of `error_map`.

    Examples
    --------
    >>> from napari_care_losses.evaluation.squared_error import rsp
    >>> round(rsp([[0.0, 1.0], [1.0, 2.0]], [[0.0, 2.0], [4.0, 6.0]]), 3)
    0.949
    """
    return rsp_of_checked(*checked_pair(restored, truth))


def rsp_of_checked(restored: NDArray[np.float64], truth: NDArray[np.float64]) -> float:
    """Return `rsp` of images that `checked_pair` has returned."""
    if not np.ptp(restored) > 0:
        return 0.0
    return float(np.clip(np.corrcoef(restored.ravel(), truth.ravel())[0, 1], -1, 1))
