"""Checks of a restoration without a ground truth: structure left in the residual, and flicker."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from napari_care_losses.errors import InputError
from napari_care_losses.images.checks import check_equal_shapes, checked_frame, real_frame
from napari_care_losses.images.line_fit import fit_line
from napari_care_losses.images.noise.estimate import estimate_noise
from napari_care_losses.images.noise.power import structure_power

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from napari_care_losses.evaluation.metrics import GreyLevels


GRID = 8
"""Regions along each side of a frame that `region_means` divides it into."""

SLOPE_TOLERANCE = 0.05
LEAST_R2 = 0.99
"""How far the slope may be from 1, and how much the line must explain, for grey levels to be measured."""

_SMALLEST = 16
# what is smaller than this share of an image is rounding, not signal
_ROUNDING = 1e-6


def residual(image: ArrayLike, restored: ArrayLike) -> NDArray[np.float32]:
    """Return input minus restored image, in the grey levels of the input: noise alone where nothing was lost.

    The restored image is first brought to the input by the affine map of least squared error: a restoration that is
    brighter or darker by a gain or an offset has lost no signal. Both are (Y, X), of any real dtype.

    Raises
    ------
    InputError
        If the images are not 2D, real and finite, or differ in shape.
    """
    given, made = checked_frame(image, "The input"), checked_frame(restored, "The restored image")
    check_equal_shapes(given, made, "The input and the restored image")
    slope, intercept = fit_line(made, given)
    left: NDArray[np.float32] = (given - (slope * made + intercept)).astype(np.float32)
    return left


def structure_left(image: ArrayLike, restored: ArrayLike) -> float:
    """Return the share of the residual's power that is structure and not noise: signal lost or invented.

    Noise has the same power at all frequencies, or falls as what neighbours share of it in the input, and optics pass
    structure at the lower frequencies only: power there above the noise's is structure (see
    `napari_care_losses.images.noise.power.structure_power`). The share is a lower bound: noise that the restored image
    shares with its input is missing from the residual and hides structure. It is 0..1: about 0 where the residual is
    noise, and for a restored image that is its input.

    Parameters and errors are those of `residual`; images must be at least 16 x 16 px.
    """
    left = residual(image, restored)
    if min(left.shape) < _SMALLEST:
        raise InputError(f"The images must be at least {_SMALLEST} x {_SMALLEST} px, found shape {left.shape}.")
    spread = float(left.std())
    if not spread > _ROUNDING * float(np.std(np.asarray(image), dtype=np.float64)):
        return 0.0
    power = structure_power(left / np.float32(spread), estimate_noise(image))
    return power.structure / power.total


def region_means(image: ArrayLike, grid: int = GRID) -> NDArray[np.float64]:
    """Return the means (grid * grid,) of equal regions of a frame (Y, X), row by row, in grey levels.

    Sizes differ by a pixel where the frame cannot be divided. Raises `InputError` if the image is not 2D and real, or
    smaller than the grid.
    """
    array = real_frame(image, smallest=grid)
    edges = [np.arange(grid + 1) * size // grid for size in array.shape]
    sums = np.add.reduceat(np.add.reduceat(array, edges[0][:-1], axis=0, dtype=np.float64), edges[1][:-1], axis=1)
    means: NDArray[np.float64] = (sums / np.outer(*map(np.diff, edges))).ravel()
    return means


def flicker(input_means: ArrayLike, restored_means: ArrayLike) -> float:
    """Return how much more the restored regions jump from frame to frame than the input's.

    A jump is the distance of a region's mean from the mean of the frames before and after, which bleaching and steady
    motion leave at 0. Of each region the root mean square of its jumps is taken, over that of the input's jumps; the
    median of the regions is returned, so that a region that something moves through does not decide. A gain between
    input and restored image is no flicker: restored means are first divided by the slope of their line on the input's.

    Parameters
    ----------
    input_means, restored_means : array (T, regions)
        What `region_means` gives for frames in order of time, input and restored.

    Returns
    -------
    float
        About 1 where the restored movie is as steady as its input, larger where it flickers, smaller where it is
        steadier; NaN for fewer than 3 frames, and where the input does not change.

    Raises
    ------
    InputError
        If the shapes differ.
    """
    given, made = np.asarray(input_means, np.float64), np.asarray(restored_means, np.float64)
    if given.ndim != 2 or given.shape != made.shape:
        raise InputError(f"Expected region means (T, regions) of equal shape, found {given.shape} and {made.shape}.")
    if len(given) < 3:
        return math.nan
    slope, _ = fit_line(given, made)
    expected, found = _jumps(given), _jumps(made) / (slope if slope > 0 else 1.0)
    changes = expected > _ROUNDING * max(float(np.abs(given).max()), 1e-300)
    return float(np.median(found[changes] / expected[changes])) if changes.any() else math.nan


def _jumps(means: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the root mean square jump of each region."""
    jumps: NDArray[np.float64] = np.sqrt(np.square(means[1:-1] - (means[:-2] + means[2:]) / 2).mean(axis=0))
    return jumps


def measurable(levels: GreyLevels) -> str:
    """Return a sentence on whether grey levels of a restoration may be measured.

    They may where the slope of restored against true grey levels is within `SLOPE_TOLERANCE` of 1 and R2 above
    `LEAST_R2`; where the slope alone is off, ratios of grey levels above background still hold within the image.
    """
    found = f"slope {levels.slope:.2f}, R2 {levels.r2:.3f}"
    if not (levels.r2 > LEAST_R2 and levels.slope > 0):
        return f"Do not measure grey levels: {found}."
    if abs(levels.slope - 1) <= SLOPE_TOLERANCE + _ROUNDING:
        return f"Grey levels may be measured: {found}."
    return f"Measure only ratios within this image, background subtracted: {found}."
