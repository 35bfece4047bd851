"""Whether the uncertainty of a restoration is right: how many true pixels lie within its intervals."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from napari_care_losses.errors import InputError, UnreadableError
from napari_care_losses.evaluation.metrics import align
from napari_care_losses.evaluation.score import Score
from napari_care_losses.images.line_fit import fit_line

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from napari_care_losses.images.frames import Frames

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


_DARK, _BRIGHT = 50, 90
_OF = "Share of the true grey levels within the interval, 0 to 1: the one it promises, if it holds"

COVERAGE_SCORES: dict[str, Score] = {
    "coverage": Score(title="Coverage", digits=3, help=f"{_OF}.", higher_is_better=None),
    "coverage_dark": Score(
        title="Coverage, darker half", digits=3, help=f"{_OF}, in the darker half of the frame.", higher_is_better=None
    ),
    "coverage_bright": Score(
        title="Coverage, brightest tenth",
        digits=3,
        help=f"{_OF}, in the brightest tenth of the frame.",
        higher_is_better=None,
    ),
    "interval_width": Score(
        title="Interval width",
        help="Mean distance of upper and lower end, in the truth's grey levels: of two intervals that hold, the "
        "narrower one says more.",
        higher_is_better=False,
    ),
}
"""What is told of intervals beside a ground truth."""


class Coverage(NamedTuple):
    """How many true grey levels intervals hold; values by the names of `COVERAGE_SCORES`."""

    coverage: float
    coverage_dark: float
    """Where the restored image is at most its median."""
    coverage_bright: float
    """Where it is at least its percentile 90."""
    interval_width: float


def interval_coverage(
    restored: ArrayLike, lower: ArrayLike, upper: ArrayLike, truth: ArrayLike, *, aligned: bool = True
) -> Coverage:
    """Return how many true grey levels lie between lower and upper ends, also of dark and of bright pixels.

    Parameters
    ----------
    restored, lower, upper : (Y, X) array of any real dtype
        The restored image and the ends of the intervals, in the same grey levels.
    truth : (Y, X) array of any real dtype
        The ground truth.
    aligned : bool
        As in `coverage`: the map of the restored image is that of both ends.

    Raises
    ------
    InputError
        If the images are not 2D, real and finite, differ in shape, if the truth has no contrast, or if a lower end is
        above the upper one.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> truth = rng.random((64, 64))
    >>> restored = truth + rng.uniform(-0.1, 0.1, truth.shape)
    >>> round(interval_coverage(restored, restored - 0.05, restored + 0.05, truth, aligned=False).coverage, 1)
    0.5
    """
    mean, low, high, target = (np.asarray(each) for each in (restored, lower, upper, truth))
    for end in (low, high):
        if end.dtype.kind not in "biuf" or end.shape != mean.shape or not np.isfinite(end).all():
            raise InputError(
                f"The ends of intervals must hold a finite number for each pixel of the restored image of shape "
                f"{mean.shape}, found {end.dtype} of shape {end.shape}."
            )
    if (low > high).any():
        raise InputError("A lower end of the intervals is above the upper one: swap the two.")
    # checks both images
    align(mean, target)
    slope, intercept = fit_line(mean, target) if aligned else (1.0, 0.0)
    ends = np.sort([slope * low.astype(np.float64) + intercept, slope * high.astype(np.float64) + intercept], axis=0)
    is_held = (target >= ends[0]) & (target <= ends[1])
    dark, bright = np.percentile(mean, [_DARK, _BRIGHT])
    return Coverage(
        coverage=float(is_held.mean()),
        coverage_dark=float(is_held[mean <= dark].mean()),
        coverage_bright=float(is_held[mean >= bright].mean()),
        interval_width=float((ends[1] - ends[0]).mean()),
    )


def add_coverage(
    scores: dict[str, Any], restored: Frames, ends: tuple[Frames, Frames], truth: Frames, *, aligned: bool = True
) -> None:
    """Add to scores of a stack called ``restored`` what its intervals hold, of each frame and in the mean.

    The values are called as in `COVERAGE_SCORES`.

    Raises
    ------
    InputError
        If the ends are not those of the restored stack.
    """
    lower, upper = ends
    for end in ends:
        if (len(end), end.frame_shape) != (len(restored), restored.frame_shape):
            raise InputError(
                f"The ends of the intervals must be {len(restored)} frames of {restored.frame_shape}, found {len(end)} "
                f"of {end.frame_shape}."
            )
    found: list[Coverage] = []
    for index, row in enumerate(scores["frames"]):
        try:
            found.append(interval_coverage(restored[index], lower[index], upper[index], truth[index], aligned=aligned))
        except UnreadableError:
            raise
        except InputError as error:
            raise InputError(f"Frame {index}: {error}") from error
        row["restored"] |= found[-1]._asdict()
    means: NDArray[np.float64] = np.mean(found, axis=0)
    scores["mean"]["restored"] |= dict(zip(Coverage._fields, means.tolist(), strict=True))
