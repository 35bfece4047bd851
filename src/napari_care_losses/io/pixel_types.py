"""Pixel types of results: what becomes of grey levels that are cast, and whether the image survives it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from napari_care_losses.errors import InputError
from napari_care_losses.images.sampling import evenly_spaced

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from napari_care_losses.images.frames import Frames

OUTPUT_TYPES = ("float32", "uint16", "uint8")
"""Pixel types that results are cast to."""

LARGEST_ROUNDING = 0.1
"""Largest error of rounding, relative to the standard deviation of an image."""

_LOOKED_AT = 3


def cast_pixels(image: NDArray[Any], dtype: str) -> tuple[NDArray[Any], int]:
    """Return the image in one of `OUTPUT_TYPES` and the number of pixels that had to be clipped; NaN becomes 0."""
    if dtype == "float32":
        return image.astype(np.float32, copy=False), 0
    bounds = np.iinfo(dtype)
    rounded = np.rint(image)
    clipped = image.size - int(((rounded >= bounds.min) & (rounded <= bounds.max)).sum())
    return np.clip(np.nan_to_num(rounded), bounds.min, bounds.max).astype(dtype), clipped


def check_cast(frames: Frames, dtype: str) -> None:
    """Check that images with the grey levels of these survive a cast; the first, the middle and the last are read.

    Raises
    ------
    InputError
        If rounding would change an image by more than `LARGEST_ROUNDING`, or clipping leave a single grey level.
    """
    if dtype == "float32":
        return
    bounds = np.iinfo(dtype)
    for index in evenly_spaced(range(len(frames)), _LOOKED_AT):
        frame = frames[index]
        pixels = frame[np.isfinite(frame)].astype(np.float64)
        if not pixels.size or pixels.std() == 0:
            continue
        rounded = np.rint(pixels)
        left = len(np.unique(np.clip(rounded, bounds.min, bounds.max)))
        error = float(np.sqrt(np.mean((rounded - pixels) ** 2)) / pixels.std())
        if error > LARGEST_ROUNDING or left == 1:
            raise InputError(
                f"As {dtype}, {left} grey levels would be left of frame {index}, which reaches from {pixels.min():.4g} "
                f"to {pixels.max():.4g}: save as float32, or scale the image to 0..{bounds.max} first."
            )
