"""What is asked of a single frame before anything is computed from it."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_care_losses.errors import InputError

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray


def checked_frame(image: ArrayLike, title: str = "The image", *, smallest: int = 1) -> NDArray[np.float64]:
    """Return one 2D frame of real, finite numbers as float64.

    Parameters
    ----------
    image : (Y, X) array of any real dtype
        The frame.
    title : str
        What the error calls it.
    smallest : int
        Height and width that it needs at least, in pixels.

    Raises
    ------
    InputError
        If it is not 2D and real, smaller than that, or holds NaN or infinite pixels.
    """
    return finite_frame(image, title, smallest=smallest).astype(np.float64, copy=False)


def finite_frame(image: ArrayLike, title: str = "The image", *, smallest: int = 1) -> NDArray[Any]:
    """Return one 2D frame of real, finite numbers as it is; else as `checked_frame`."""
    array = real_frame(image, title, smallest=smallest)
    problem = unusable(array)
    if problem:
        raise InputError(f"{title} must be finite everywhere: {problem} first.")
    return array


def real_frame(image: ArrayLike, title: str = "The image", *, smallest: int = 1) -> NDArray[Any]:
    """Return one 2D frame of real numbers as it is, NaN and infinite ones included; else as `checked_frame`."""
    array = np.asarray(image)
    if array.dtype.kind not in "biuf":
        raise InputError(f"{title} must hold real numbers, found dtype {array.dtype}; convert it first.")
    if array.ndim != 2 or array.size == 0:
        raise InputError(f"{title} must be a single 2D frame, found shape {array.shape}; select one frame.")
    if min(array.shape) < smallest:
        raise InputError(
            f"{title} must be at least {smallest} x {smallest} px, found shape {array.shape}; choose a larger region."
        )
    return array


def check_equal_shapes(first: NDArray[Any], second: NDArray[Any], names: str) -> None:
    """Raise `InputError` unless two frames have the same shape; `names` says which they are."""
    if first.shape != second.shape:
        raise InputError(
            f"{names} must have the same shape, found {first.shape} and {second.shape}; choose the two images of one "
            "pair."
        )


def checked_pair(
    restored: ArrayLike, truth: ArrayLike, *, smallest: int = 1
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return a restored image and its ground truth, both (Y, X), as float64.

    Raises
    ------
    InputError
        If one of them is not 2D, real and finite, or smaller than `smallest` px, if they differ in shape, or if the
        truth is constant.
    """
    image = checked_frame(restored, "The restored image", smallest=smallest)
    target = checked_frame(truth, "The ground truth", smallest=smallest)
    check_equal_shapes(image, target, "The restored image and the ground truth")
    if not np.ptp(target) > 0:
        raise InputError(
            f"The ground truth must have contrast, found {target.flat[0]:g} in every pixel; "
            "choose a frame that shows structure."
        )
    return image, target


def countable(image: NDArray[Any]) -> NDArray[Any]:
    """Return the image in a type numpy and scipy can take percentiles and maxima of without overflow or rounding.

    Booleans cannot be subtracted, the distance of two signed integers may not fit their type, and half precision is
    too coarse (and unknown to scipy).
    """
    if image.dtype.kind in "bi" or (image.dtype.itemsize == 2 and image.dtype.kind == "f"):
        return image.astype(np.result_type(image.dtype, np.float32))
    return image


def has_value(image: NDArray[Any]) -> NDArray[np.bool_]:
    """Return which pixels are finite in float32."""
    is_wider = image.dtype.kind == "f" and image.dtype.itemsize > 4
    held: NDArray[np.bool_] = np.abs(image) <= float(np.finfo(np.float32).max) if is_wider else np.isfinite(image)
    return held


def finite(pixels: NDArray[Any], where: str = "") -> NDArray[Any]:
    """Return the pixels; raise `InputError`, its message starting with `where`, unless all are finite in float32."""
    problem = unusable(pixels)
    if problem:
        raise InputError(f"{where}{problem} before restoring.")
    return pixels


def unusable(pixels: NDArray[Any]) -> str:
    """Return what is wrong with pixels that cannot be computed with, and what to do; empty if nothing is."""
    if pixels.dtype.kind != "f" or pixels.size == 0:
        return ""
    # both are NaN if any pixel is; they take no memory, and a fifth of the time of looking at every pixel
    lowest, highest = float(pixels.min()), float(pixels.max())
    if not (math.isfinite(lowest) and math.isfinite(highest)):
        unknown = pixels.size - int(np.isfinite(pixels).sum())
        return f"{unknown} of {pixels.size} pixels are NaN or infinite: replace them"
    if pixels.dtype.itemsize > 4:
        largest, single = max(-lowest, highest), np.finfo(np.float32)
        if largest > float(single.max) or 0 < largest < float(single.tiny):
            return f"the pixels reach {largest:.3g}, which float32 cannot hold: scale them"
    return ""
