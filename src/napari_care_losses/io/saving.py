"""Saving a stack that is in memory or read lazily: as TIFF or OME-Zarr, in the pixel type asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from napari_care_losses.errors import InputError
from napari_care_losses.io.claims import claimed

if TYPE_CHECKING:
    from collections.abc import Generator
    from pathlib import Path

    from numpy.typing import NDArray

    from napari_care_losses.images.frames import Frames
    from napari_care_losses.io.stacks import Stack

OUTPUT_TYPES = ("float32", "uint16", "uint8")


class Saved(NamedTuple):
    """A frame has been written.

    Attributes
    ----------
    done, total : int
        Frames written and frames in all.
    clipped : int
        Pixels so far that had to be clipped to fit the type.
    """

    done: int
    total: int
    clipped: int


def cast(image: NDArray[Any], dtype: str) -> tuple[NDArray[Any], int]:
    """Return the image in one of `OUTPUT_TYPES` and the number of pixels that had to be clipped."""
    if dtype == "float32":
        return image.astype(np.float32, copy=False), 0
    bounds = np.iinfo(dtype)
    rounded = np.rint(image)
    clipped = int(((rounded < bounds.min) | (rounded > bounds.max)).sum())
    return np.clip(rounded, bounds.min, bounds.max).astype(dtype), clipped


def save_stack(frames: Frames, path: Path, *, dtype: str = "float32") -> Generator[Saved, None, None]:
    """Write a stack to an OME-TIFF file or an OME-Zarr image with its pixel size, frame by frame.

    An existing file is replaced once the new one is whole; closed before the end, nothing is left behind.

    Parameters
    ----------
    frames : Frames
        The stack. NaN marks pixels that are missing, which only float32 can keep.
    path : Path
        The file to make, OME-Zarr where it ends in ``.zarr``.
    dtype : str
        One of `OUTPUT_TYPES`; integers are rounded and clipped.

    Yields
    ------
    Saved
        After every frame.

    Raises
    ------
    InputError
        If the folder is missing, another run makes the file, or pixels that are missing should become integers.
    OutputError
        If the file cannot be written.
    """
    from napari_care_losses.io.stacks import new_stack

    with claimed(path):
        stack = new_stack(path, frames, dtype=dtype, job={}, resume=False)
        clipped = 0
        try:
            for index, frame in enumerate(frames):
                if dtype != "float32" and np.isnan(frame).any():
                    raise InputError(
                        f"Frame {index} holds pixels without a value, which {dtype} cannot express: restore the "
                        "missing frames first, or save as float32."
                    )
                pixels, outside = cast(frame, dtype)
                stack.write(index, pixels)
                clipped += outside
                yield Saved(index + 1, len(frames), clipped)
        except BaseException:
            stack.discard()
            raise
        stack.close()


def fill(stack: Stack, frames: Frames) -> None:
    """Write all frames to a new stack of their dtype and close it; one that cannot be filled is discarded."""
    try:
        for index, frame in enumerate(frames):
            stack.write(index, frame)
    except BaseException:
        stack.discard()
        raise
    stack.close()
