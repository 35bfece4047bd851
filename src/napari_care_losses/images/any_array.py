"""Arrays of any library (numpy, dask, zarr, h5py, TensorStore, xarray, torch): pixel type, chunks, size."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
from psutil import virtual_memory

from napari_care_losses.errors import InputError

if TYPE_CHECKING:
    from numpy.typing import NDArray

LARGEST_UNASKED = 1 << 28
"""Bytes of a frame up to which it is read without looking at the machine's memory."""

MOST_PIECES = 1 << 18
"""Chunks of a frame up to which it is read; each takes some tenth of a millisecond at least."""


def pixel_type(data: Any) -> np.dtype[Any]:
    """Return the type of an array's pixels as numpy's; arrays of some libraries have types of their own.

    Raises
    ------
    InputError
        If numpy has no such type.

    Examples
    --------
    >>> pixel_type(np.zeros((2, 2), np.uint16))
    dtype('uint16')
    """
    try:
        dtype: np.dtype[Any] = np.dtype(data.dtype)
    except TypeError:
        try:
            dtype = to_numpy(data[(slice(0, 0),) * len(data.shape)]).dtype
        except (RuntimeError, TypeError, ValueError) as error:
            raise InputError(f"Expected real numbers that numpy knows, found {data.dtype}.") from error
    return dtype


def to_numpy(pixels: Any) -> NDArray[Any]:
    """Return pixels as a numpy array, from wherever they are."""
    try:
        return np.asarray(pixels)
    except TypeError:
        # CuPy copies from the GPU only when it is asked by this name
        if not hasattr(pixels, "get"):
            raise
        return np.asarray(pixels.get())


def chunks_of(data: Any) -> tuple[Any, ...] | None:
    """Return the size of an array's chunks along every axis; None if it says nothing of chunks.

    A size is a number, or, where chunks differ, a tuple of the sizes of all.

    Examples
    --------
    >>> import dask.array as da
    >>> chunks_of(da.zeros((5, 4), chunks=(2, 4)))
    ((2, 2, 1), (4,))
    """
    try:
        chunks = getattr(data, "chunks", None)
        if chunks is None:
            # TensorStore
            chunks = data.chunk_layout.read_chunk.shape
    except (AttributeError, NotImplementedError):
        # zarr refuses to answer for chunks of several sizes
        return None
    is_known = isinstance(chunks, tuple) and len(chunks) == len(data.shape)
    return chunks if is_known and all(isinstance(along, (int, tuple)) and along for along in chunks) else None


def check_frame_size(data: Any) -> None:
    """Refuse to read frames that the machine cannot hold: a damaged file may claim frames of any size.

    Raises
    ------
    InputError
        If a frame, or a chunk, takes more than the machine's memory, or a frame lies in too many chunks.
    """
    if isinstance(data, np.ndarray):
        return
    height, width = frame = tuple(map(int, data.shape[-2:]))
    unpacked = math.prod(frame)
    chunks = chunks_of(data)
    if chunks is not None and all(isinstance(along, int) for along in chunks):
        # a chunk is unpacked as a whole
        unpacked = max(unpacked, math.prod(chunks))
        pieces = math.prod(-(-size // along) for size, along in zip(frame, chunks[-2:], strict=True))
        if pieces > MOST_PIECES:
            raise InputError(
                f"A frame of {height} x {width} px is stored in {pieces:,} pieces, more than can be read in reasonable "
                "time: store it in larger chunks; is the file damaged?"
            )
    needed = unpacked * pixel_type(data).itemsize
    if needed > LARGEST_UNASKED and needed > virtual_memory().total:
        raise InputError(
            f"A frame of {height} x {width} px takes {needed / 1e9:.0f} GB to read, more than this machine's memory: "
            "crop the image, or store it in smaller chunks; is the file damaged?"
        )
