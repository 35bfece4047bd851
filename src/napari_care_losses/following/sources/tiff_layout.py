"""What the frames of a TIFF file that is being written have in common, as its first page says."""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree

from napari_care_losses.errors import InputError
from napari_care_losses.following.source import Layout

if TYPE_CHECKING:
    from pathlib import Path

    import tifffile

    from napari_care_losses.images.frames import Calibration, ImageMetadata


def layout_of(path: Path, tiff: tifffile.TiffFile, calibration: Calibration, metadata: ImageMetadata) -> Layout:
    """Return what all frames have in common; channels and planes where the description names them.

    Raises
    ------
    InputError
        If the pages are no grey-level frames, or do not come one time point after the other.
    """
    first = tiff.pages.first
    if tiff.is_micromanager:
        raise InputError(
            f"{path} is a stack of Micro-Manager, whose index is written at the end: restore it once it is finished."
        )
    if first.samplesperpixel > 1 or len(first.shape) != 2 or first.dtype is None:
        raise InputError(f"{path}: expected pages of one grey-level frame, found pages of shape {first.shape}.")
    steps = _of_imagej(tiff) if tiff.is_imagej else _of_ome(path, tiff) if tiff.is_ome else {}
    inner = {axis: size for axis, size in steps.items() if size > 1}
    return Layout(
        frame_shape=first.shape,
        dtype=first.dtype,
        axes="".join(["T", *inner, "YX"]),
        inner=tuple(inner.values()),
        calibration=calibration,
        metadata=metadata,
    )


def promised_in_one_block(tiff: tifffile.TiffFile) -> float:
    """Return up to how many frames may follow the first page without pages of their own."""
    if tiff.is_imagej:
        told = tiff.imagej_metadata or {}
        return max(int(told.get("images", 1)), math.prod(int(told.get(name, 1)) for name in _IMAGEJ))
    if not tiff.is_shaped:
        return 1
    # tifffile writes the number of frames, and their pages, at the end
    description = tiff.pages.first.description
    shape = json.loads(description).get("shape", []) if description.startswith("{") else []
    return math.inf if len(shape) == 2 else math.prod(shape[:-2])


_IMAGEJ = ("frames", "slices", "channels")


def _of_imagej(tiff: tifffile.TiffFile) -> dict[str, int]:
    """Return planes and channels of a time point; slices alone are a movie's frames more often than not."""
    told = tiff.imagej_metadata or {}
    frames, slices, channels = (int(told.get(name, 1)) for name in _IMAGEJ)
    return {} if channels == frames == 1 else {"Z": slices, "C": channels}


def _of_ome(path: Path, tiff: tifffile.TiffFile) -> dict[str, int]:
    pixels: Any = next(one for one in ElementTree.fromstring(tiff.ome_metadata or "").iter() if "SizeC" in one.attrib)
    order = str(pixels.get("DimensionOrder", "XYCZT"))[2:][::-1]
    sizes = {axis: int(pixels.get(f"Size{axis}", 1)) for axis in order if axis != "T"}
    if math.prod(sizes.values()) > 1 and order[0] != "T" and any(sizes[axis] > 1 for axis in order[: order.index("T")]):
        raise InputError(
            f"{path} holds all time points of one channel or plane before the next one: restore it once it is finished."
        )
    return sizes
