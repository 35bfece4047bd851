"""Whether a restoration can be trusted where there is no ground truth: what it left out, and whether it flickers."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from napari_care_losses.core.errors import InputError

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from napari_care_losses.core.metrics import GreyLevels


GRID = 8
"""Regions along each side of a frame that `region_means` divides it into."""

SLOPE_TOLERANCE = 0.05
LEAST_R2 = 0.99
"""How far the slope may be from 1, and how much the line must explain, for grey levels to be measured."""

_SMALLEST = 16


def residual(image: ArrayLike, restored: ArrayLike) -> NDArray[np.float32]:
    """Return what the restoration left out: input minus restored, in the grey levels of the input.

    The restored image is first brought to the input by the affine map of least squared error: a restoration that is
    brighter or darker by a gain or an offset has lost no signal.

    Parameters
    ----------
    image, restored : (Y, X) array of any real dtype
        The input and what was made of it.

    Returns
    -------
    (Y, X) float32
        Noise alone where nothing was lost.

    Raises
    ------
    InputError
        If the images are not 2D, real and finite, or differ in shape.
    """
    given, made = _checked(image, "The input"), _checked(restored, "The restored image")
    if given.shape != made.shape:
        raise InputError(
            f"The input and the restored image must have the same shape, found {given.shape} and {made.shape}."
        )
    centred, target = made - made.mean(), given - given.mean()
    power = float(np.vdot(centred, centred))
    slope = float(np.vdot(centred, target)) / power if np.ptp(made) > 0 else 0.0
    left: NDArray[np.float32] = (target - slope * centred).astype(np.float32)
    return left


def structure_left(image: ArrayLike, restored: ArrayLike) -> float:
    """Return the share of the residual's power that is structure and not noise: signal lost or invented.

    Parameters
    ----------
    image, restored : (Y, X) array of any real dtype
        The input and what was made of it.

    Returns
    -------
    float
        0..1; about 0 where the residual is white noise.

    Raises
    ------
    InputError
        If the images are not 2D, real and finite, differ in shape or are smaller than 16 x 16 px.
    """
    left = residual(image, restored)
    if min(left.shape) < _SMALLEST:
        raise InputError(f"The images must be at least {_SMALLEST} x {_SMALLEST} px, found shape {left.shape}.")
    power = _radial_power(left)
    floor = np.median(power[len(power) // 2 :, 1])
    total = float((power[:, 0] * power[:, 1]).sum())
    above = float((power[:, 0] * np.maximum(power[:, 1] - floor, 0)).sum())
    return above / total if total > 0 else 0.0


def region_means(image: ArrayLike, grid: int = GRID) -> NDArray[np.float64]:
    """Return the means of ``grid`` x ``grid`` equal regions of a frame, row by row.

    Parameters
    ----------
    image : (Y, X) array of any real dtype
        A frame of at least ``grid`` px a side.
    grid : int
        Regions along each side.

    Returns
    -------
    float64 array (grid * grid,)
        Their means, in grey levels; sizes differ by a pixel where the frame cannot be divided.

    Raises
    ------
    InputError
        If the image is not 2D and real, or smaller than the grid.
    """
    array = np.asarray(image)
    if array.ndim != 2 or array.dtype.kind not in "biuf" or min(array.shape) < grid:
        raise InputError(
            f"Expected a single frame of real numbers of at least {grid} x {grid} px, found {array.dtype} of shape "
            f"{array.shape}."
        )
    edges = [np.arange(grid + 1) * size // grid for size in array.shape]
    sums = np.add.reduceat(np.add.reduceat(array, edges[0][:-1], axis=0, dtype=np.float64), edges[1][:-1], axis=1)
    means: NDArray[np.float64] = (sums / np.outer(*map(np.diff, edges))).ravel()
    return means


def flicker(input_means: ArrayLike, restored_means: ArrayLike) -> float:
    """Return how much more the restored regions jump from frame to frame than the input's.

    Parameters
    ----------
    input_means, restored_means : array (T, regions)
        What `region_means` gives for frames in order of time, input and restored.

    Returns
    -------
    float
        About 1 where the restored movie is as steady as its input, larger where it flickers; NaN for fewer than
        two frames.

    Raises
    ------
    InputError
        If the shapes differ.
    """
    given, made = np.asarray(input_means, np.float64), np.asarray(restored_means, np.float64)
    if given.ndim != 2 or given.shape != made.shape:
        raise InputError(f"Expected region means (T, regions) of equal shape, found {given.shape} and {made.shape}.")
    if len(given) < 2:
        return float("nan")
    jumps, expected = np.abs(np.diff(made, axis=0)).mean(), np.abs(np.diff(given, axis=0)).mean()
    return float(jumps / expected) if expected > 0 else float("nan")


def measurable(levels: GreyLevels) -> str:
    """Say in words whether grey levels of a restoration may be measured.

    They may where slope and R2 of restored against true grey levels are within `SLOPE_TOLERANCE` of 1 and above
    `LEAST_R2`; where the slope alone is off, ratios of differences within the image still hold.

    Parameters
    ----------
    levels : GreyLevels
        What `napari_care_losses.core.metrics.grey_levels` gives.
    """
    figures = f"slope {levels.slope:.2f}, R2 {levels.r2:.3f}"
    if not levels.r2 > LEAST_R2:
        return f"Do not measure grey levels: {figures}."
    if abs(levels.slope - 1) <= SLOPE_TOLERANCE:
        return f"Grey levels may be measured: {figures}."
    return f"Measure only ratios of grey levels within this image: {figures}."


def _radial_power(image: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return number and mean power of the frequencies in rings of one cycle a frame, up to the Nyquist frequency."""
    from scipy.fft import rfft2

    power = np.abs(rfft2(image)) ** 2
    y = np.fft.fftfreq(image.shape[0])[:, None]
    x = np.fft.rfftfreq(image.shape[1])[None, :]
    rings = (np.hypot(y, x) * min(image.shape)).astype(np.intp)
    counts = np.bincount(rings.ravel())
    sums = np.bincount(rings.ravel(), power.ravel())
    kept = slice(0, min(image.shape) // 2)
    return np.stack([counts, sums / np.maximum(counts, 1)], axis=1)[kept]


def _checked(image: ArrayLike, title: str) -> NDArray[np.float64]:
    array = np.asarray(image)
    if array.ndim != 2 or array.dtype.kind not in "biuf":
        raise InputError(f"{title} must be a single frame of real numbers, found {array.dtype} of shape {array.shape}.")
    array = array.astype(np.float64, copy=False)
    if not np.isfinite(array).all():
        raise InputError(f"{title} must be finite everywhere, found NaN or infinite pixels; replace them first.")
    return array
