"""Metrics and grey levels of a restored image against its ground truth, by the protocol of CARE.

The ground truth is scaled by its percentiles 0.1 and 99.9; the restored image is aligned to it by the affine map of
least squared error; then every entry of `METRICS` is computed with a data range of 1 (Weigert et al. 2018,
doi:10.1038/s41592-018-0216-7). Alignment hides wrong brightness: unaligned scores and `grey_levels` show it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from napari_care_losses.errors import InputError
from napari_care_losses.evaluation.score import Score
from napari_care_losses.evaluation.squared_error import (
    mean_squared_error,
    nrmse,
    nrmse_of_checked,
    rse,
    rse_of_checked,
    rsp,
    rsp_of_checked,
)
from napari_care_losses.evaluation.structural_similarity import (
    BACKGROUND_PERCENTILE,
    SIGMA,
    SMALLEST,
    micro_ssim,
    micro_ssim_of_checked,
    ssim,
    ssim_of_a_part,
    ssim_of_checked,
)
from napari_care_losses.images.checks import check_equal_shapes, checked_pair, finite_frame
from napari_care_losses.images.line_fit import fit_line
from napari_care_losses.images.normalization import mapped, percentiles

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import ArrayLike, NDArray

LOW_PERCENTILE = 0.1
HIGH_PERCENTILE = 99.9

# 200 dB: what is left of a perfect image after alignment in float64 is far below, what any camera records far above
_PERFECT = 1e-20


@dataclass(frozen=True, kw_only=True)
class Metric(Score):
    """One entry of `METRICS`: a score of a restored image against its ground truth.

    Examples
    --------
    >>> from napari_care_losses.evaluation.metrics import METRICS
    >>> [metric.label for metric in METRICS.values()]
    ['PSNR (dB)', 'SSIM', 'MicroSSIM', 'NRMSE', 'RSE', 'RSP']
    >>> METRICS["psnr"].with_unit(31.4159)
    '31.42 dB'
    """

    function: Callable[[ArrayLike, ArrayLike], float]
    """From a restored image and its ground truth, both (Y, X) with a data range of 1, to the value."""
    of_checked: Callable[[NDArray[np.float64], NDArray[np.float64]], float]
    """The same of images that `napari_care_losses.images.checks.checked_pair` has returned: checking them for every
    metric would take as long as computing it."""
    of_a_part: Callable[[NDArray[np.float64], NDArray[np.float64]], float] | None = None
    """About the same value in a fraction of its time, from a part of large images; None where it is not worth it."""
    definition: str
    """What a reader needs to compute the same value, after the title."""
    source: str = ""
    """The paper that defines it; empty for common knowledge."""
    is_main: bool = False
    """Whether it is shown where there is little room."""


@dataclass(frozen=True, eq=False)
class ScaledTruth:
    """A ground truth (Y, X) scaled to 0..1 by `low` and `high`, its own percentiles 0.1 and 99.9, and not clipped."""

    image: NDArray[np.float64]
    low: float
    high: float

    def match(self, restored: ArrayLike, *, aligned: bool) -> NDArray[np.float64]:
        """Return a restored image (Y, X) aligned to the scaled truth, or scaled by the same percentiles."""
        image = finite_frame(restored, "The restored image", smallest=SMALLEST)
        check_equal_shapes(image, self.image, "The restored image and the ground truth")
        if aligned:
            slope, intercept = fit_line(image, self.image)
            return mapped(image, lambda levels: slope * levels + intercept)
        return mapped(image, lambda levels: (levels - self.low) / (self.high - self.low))


@dataclass(frozen=True)
class GreyLevels:
    """The regression line of restored against true grey levels: ``restored = slope * truth + intercept``.

    Differences of brightness may be measured as they are where the slope is 1. `r2` is the share of the restored
    image's variance that the line explains, 0..1; 0 for a constant image.
    """

    slope: float
    intercept: float
    r2: float


def psnr(restored: ArrayLike, truth: ArrayLike) -> float:
    """Return the peak signal-to-noise ratio for a data range of 1: ``-10 log10(mean((restored - truth)**2))``.

    Parameters
    ----------
    restored, truth : (Y, X) array of any real dtype
        Images of equal shape, scaled so that the truth spans about 0..1; the errors are those of `score`.

    Returns
    -------
    float
        In dB; ``math.inf`` for images that are equal to rounding (200 dB).

    Examples
    --------
    >>> import numpy as np
    >>> from napari_care_losses.evaluation.metrics import psnr
    >>> truth = np.random.default_rng(0).random((32, 32))
    >>> round(psnr(truth + 0.01, truth), 3)
    40.0
    """
    return psnr_of_checked(*checked_pair(restored, truth, smallest=SMALLEST))


def psnr_of_checked(restored: NDArray[np.float64], truth: NDArray[np.float64]) -> float:
    """Return `psnr` of images that `checked_pair` has returned."""
    error = mean_squared_error(restored, truth)
    return math.inf if error <= _PERFECT else -10 * math.log10(error)


METRICS: dict[str, Metric] = {
    "psnr": Metric(
        title="PSNR",
        unit="dB",
        digits=2,
        help="Peak signal-to-noise ratio: how small the differences to the ground truth are. Higher is better; 3 dB "
        "more halves the squared error.",
        function=psnr,
        of_checked=psnr_of_checked,
        definition="with a data range of 1",
        is_main=True,
    ),
    "ssim": Metric(
        title="SSIM",
        help="Structural similarity: how alike the local patterns are, up to 1. Higher is better.",
        function=ssim,
        of_checked=ssim_of_checked,
        of_a_part=ssim_of_a_part,
        definition=f"with Gaussian weights of sigma {SIGMA:g} px",
        source="Wang et al. 2004, doi:10.1109/TIP.2003.819861",
        is_main=True,
    ),
    "micro_ssim": Metric(
        title="MicroSSIM",
        help="Structural similarity made for microscopy: background is subtracted, and the brightness fitted, so that "
        "empty background does not hide lost structures. Up to 1; higher is better.",
        function=micro_ssim,
        of_checked=micro_ssim_of_checked,
        definition=f"fitted to each image, background the percentile {BACKGROUND_PERCENTILE:g}",
        source="Ashesh et al. 2024, arXiv:2408.08747",
    ),
    "nrmse": Metric(
        title="NRMSE",
        help="Normalised root mean squared error: the usual error relative to the brightness of the ground truth (its "
        "root mean square above its dark level). 0 is perfect; lower is better.",
        function=nrmse,
        of_checked=nrmse_of_checked,
        definition="the root mean squared error over the root mean square of the scaled truth",
        higher_is_better=False,
    ),
    "rse": Metric(
        title="RSE",
        help="Resolution-scaled error of SQUIRREL: the usual error after brightness is fitted, as a share of the "
        "ground truth's range. 0 is perfect; lower is better. The differences in Compare are its error map.",
        function=rse,
        of_checked=rse_of_checked,
        definition="the root mean squared error after a straight line is fitted, without a resolution scaling function",
        source="Culley et al. 2018, doi:10.1038/nmeth.4605",
        higher_is_better=False,
    ),
    "rsp": Metric(
        title="RSP",
        help="Resolution-scaled Pearson coefficient of SQUIRREL: how well restored and true brightness correlate, from "
        "-1 to 1. Higher is better.",
        function=rsp,
        of_checked=rsp_of_checked,
        definition="the Pearson correlation of the pixels, without a resolution scaling function",
        source="Culley et al. 2018, doi:10.1038/nmeth.4605",
    ),
}
"""Every metric; a new entry appears in all scores, tables, reports and forms."""

MAIN_METRICS = tuple(name for name, metric in METRICS.items() if metric.is_main)
"""The names of those that are shown where there is little room, unless more are asked for."""

GREY_LEVEL_SCORES: dict[str, Score] = {
    "slope": Score(
        title="Slope",
        help="Restored grey levels for each true one, without alignment: where input and truth have the same exposure, "
        "brightness may be measured only if it is near 1.",
        higher_is_better=None,
    ),
    "r2": Score(title="R\u00b2", help="Share of the restored image's variance that true brightness explains, 0 to 1."),
}
"""The values of `GreyLevels` that tables show."""

ALIGNMENT_HELP = (
    "Scale and shift each image's grey levels to fit the ground truth before scoring, as the CARE papers do: exposures "
    "differ in brightness. Switched off, wrong brightness counts too."
)
"""What aligned scores are, for tooltips."""


def scale_truth(truth: ArrayLike) -> ScaledTruth:
    """Scale a ground truth, a (Y, X) array of any real dtype, to 0..1 by its percentiles 0.1 and 99.9.

    Raises
    ------
    InputError
        If the image is not 2D, real and finite, smaller than 11 x 11 px, or if its percentiles coincide.
    """
    image = finite_frame(truth, "The ground truth", smallest=SMALLEST)
    # of float32 and small integers as they are: fewer bytes, and the same percentiles
    is_small = image.dtype.itemsize <= 4 and image.dtype != np.float16
    low, high = percentiles(image if is_small else image.astype(np.float64), LOW_PERCENTILE, HIGH_PERCENTILE)
    if not high > low:
        raise InputError(
            f"The ground truth must have contrast, found percentiles {LOW_PERCENTILE:g} and {HIGH_PERCENTILE:g} that "
            f"are both {low:g}; choose a frame that shows structure."
        )
    return ScaledTruth(mapped(image, lambda levels: (levels - low) / (high - low)), low, high)


def align(restored: ArrayLike, truth: ArrayLike) -> NDArray[np.float64]:
    """Map a restored image to its truth by the ``a * restored + b`` of least squared error, ``a = cov / var``.

    Both are (Y, X), of any real dtype, each in its own grey levels; the result is float64, in those of the truth. A
    constant image becomes the mean of the truth. The errors are those of `score`.

    Examples
    --------
    >>> import numpy as np
    >>> from napari_care_losses.evaluation.metrics import align
    >>> truth = np.random.default_rng(0).random((32, 32))
    >>> bool(np.allclose(align(3 * truth + 100, truth), truth))
    True
    """
    restored, truth = checked_pair(restored, truth, smallest=SMALLEST)
    slope, intercept = fit_line(restored, truth)
    return mapped(restored, lambda levels: slope * levels + intercept)


def score(restored: ArrayLike, truth: ArrayLike | ScaledTruth, *, aligned: bool = True) -> dict[str, float]:
    """Score a restored image by every entry of `METRICS`.

    Parameters
    ----------
    restored : (Y, X) array of any real dtype
        The image to score.
    truth : (Y, X) array of any real dtype, or ScaledTruth
        The ground truth; the result of `scale_truth` saves time where many images are scored against one frame.
    aligned : bool
        True aligns the image to the scaled truth (the protocol of CARE). False scales it by the percentiles of the
        truth instead, for images that share the truth's grey levels.

    Returns
    -------
    dict of str to float
        By metric.

    Raises
    ------
    InputError
        If the images are not 2D, real and finite, differ in shape, are smaller than 11 x 11 px, or if the truth has no
        contrast.

    Examples
    --------
    >>> import numpy as np
    >>> from napari_care_losses.evaluation.metrics import score
    >>> rng = np.random.default_rng(0)
    >>> truth = rng.poisson(100, (32, 32))
    >>> noisy = truth + rng.normal(0, 5, truth.shape)
    >>> {name: round(value, 2) for name, value in score(noisy, truth).items()}
    {'psnr': 22.7, 'ssim': 0.88, 'micro_ssim': 0.88, 'nrmse': 0.15, 'rse': 0.07, 'rsp': 0.89}
    """
    scaled = truth if isinstance(truth, ScaledTruth) else scale_truth(truth)
    image = scaled.match(restored, aligned=aligned)
    return {name: metric.of_checked(image, scaled.image) for name, metric in METRICS.items()}


def grey_levels(restored: ArrayLike, truth: ArrayLike) -> GreyLevels:
    """Fit a line to restored against true grey levels, unaligned: it shows whether brightness may be measured.

    Parameters and errors are those of `align`.

    Examples
    --------
    >>> import numpy as np
    >>> from napari_care_losses.evaluation.metrics import grey_levels
    >>> truth = np.random.default_rng(0).poisson(100, (32, 32))
    >>> levels = grey_levels(0.5 * truth + 10, truth)
    >>> round(levels.slope, 3), round(levels.intercept, 3), round(levels.r2, 3)
    (0.5, 10.0, 1.0)
    """
    restored, truth = checked_pair(restored, truth, smallest=SMALLEST)
    slope, intercept = fit_line(truth, restored)
    if not np.ptp(restored) > 0:
        return GreyLevels(slope=0.0, intercept=float(restored.flat[0]), r2=0.0)
    return GreyLevels(slope, intercept, r2=float(slope**2 * truth.var() / restored.var()))
