"""Whether the predicted Laplace scale of a restoration is right: how many true pixels lie within its intervals."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from napari_care_losses.errors import InputError
from napari_care_losses.evaluation.metrics import align
from napari_care_losses.images.line_fit import fit_line

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

INTERVALS = (0.5, 0.9)
"""Central intervals whose coverage is counted: the share of true pixels each promises to hold."""


def coverage(restored: ArrayLike, scale: ArrayLike, truth: ArrayLike, *, aligned: bool = True) -> dict[float, float]:
    r"""Return the fraction of true pixels within the central intervals of the predicted Laplace distribution.

    A Laplace distribution of location :math:`\mu` and scale :math:`s` holds the share :math:`p` within
    :math:`|t - \mu| \le -s \ln(1 - p)`: 0.69 s for 50 %, 2.30 s for 90 %.

    Parameters
    ----------
    restored, scale : (Y, X) array of any real dtype
        The restored image and the Laplace scale of every pixel, in the same grey levels.
    truth : (Y, X) array of any real dtype
        The ground truth.
    aligned : bool
        Whether restored image and scale are first brought to the grey levels of the truth by the affine map of
        `metrics.align` (the scale by its slope alone): input and truth are seldom recorded at one gain. False compares
        them as they are.

    Returns
    -------
    dict of float to float
        By the share each of `INTERVALS` promises, the share found; larger means that the scale is too large
        (cautious), smaller that it is too small (overconfident).

    Raises
    ------
    InputError
        If the images are not 2D, real and finite, differ in shape, if the truth has no contrast, or if a scale is
        negative.
    """
    mean, width, target = (np.asarray(each) for each in (restored, scale, truth))
    if width.dtype.kind not in "biuf" or width.shape != mean.shape or not np.isfinite(width).all() or (width < 0).any():
        raise InputError(
            f"The scale must hold a finite number of at least 0 for each pixel of the restored image of shape "
            f"{mean.shape}, found {width.dtype} of shape {width.shape}."
        )
    placed = align(mean, target)
    slope = abs(fit_line(mean, target)[0])
    if not aligned:
        placed, slope = mean.astype(np.float64), 1.0
    distances = np.abs(target - placed)
    half_widths = slope * width.astype(np.float64)
    return {share: float((distances <= -math.log(1 - share) * half_widths).mean()) for share in INTERVALS}
