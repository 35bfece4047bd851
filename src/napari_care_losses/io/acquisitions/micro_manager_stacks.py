"""Stacks as Micro-Manager writes them (MMStack and NDTiff), in one file or in several.

Where their planes lie is taken from their own index: the OME-XML in such a file puts other planes in place of missing
ones.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_care_losses.errors import InputError, printable
from napari_care_losses.io.acquisitions.micro_manager import described, promised_steps, table_of
from napari_care_losses.io.tiff_pages import MOST_NAMED, MOST_PAGES, leaves_folder

if TYPE_CHECKING:
    import tifffile
    from numpy.typing import NDArray

    from napari_care_losses.images.frames import Calibration, ImageMetadata

INDEX = "NDTiff.index"
"""The file beside NDTiff files that says where their planes lie."""

PLANE_TAG = 51123
"""The tag of a page that describes its plane."""

STACKS = ("mmstack", "ndtiff")
"""tifffile's names for these formats."""

POSITIONS = "R"
"""tifffile's letter for the axis of positions."""


def series_of_positions(path: Path, tiff: tifffile.TiffFile) -> list[tifffile.TiffPageSeries]:
    """Return the images in a stack of Micro-Manager: one for every position that the file holds planes of.

    Planes that were promised and are not there are None. Other files have none.

    Raises
    ------
    InputError
        If files of its set are missing that it cannot be read without, or it holds tiles.
    """
    told = tiff.micromanager_metadata
    if not told:
        return []
    version = told.get("MajorVersion", 0)
    if version:
        _check_index(path, version)
    elif not tiff.is_mmstack:
        return []
    series = tiff.series[0]
    if series.kind not in STACKS:
        return []
    axes, shape = series.get_axes(squeeze=False), series.get_shape(squeeze=False)
    count = len(axes) - series.keyframe.ndim
    axes, shape = axes[:count], shape[:count]
    if any(size > 1 for axis, size in zip(axes, shape, strict=True) if axis in "JK"):
        raise InputError(
            f"{path} holds tiles of a larger image in rows and columns: save it stitched, or as positions."
        )
    pages = np.empty(math.prod(shape), object)
    pages[:] = [series[number] for number in range(len(pages))]
    pages = pages.reshape(shape)
    here = list(range(shape[axes.index(POSITIONS)] if POSITIONS in axes else 1))
    if series.kind == "mmstack":
        pages, here = _with_promised(path, tiff, axes, pages)
    if POSITIONS not in axes:
        pages, axes = pages[None], POSITIONS + axes
    pages = np.moveaxis(pages, axes.index(POSITIONS), 0)
    axes = axes.replace(POSITIONS, "")
    labels = table_of(told.get("Summary")).get("StagePositions")
    return [_series(tiff, series, pages[one], axes, _label(labels, one)) for one in here]


def files_of_stack(path: Path, series: tifffile.TiffPageSeries) -> set[Path]:
    """Return the files beside `path`, itself included, that hold planes of an image."""
    return {path} | {path.with_name(Path(page.parent.filehandle.path).name) for page in series if page is not None}


def described_stack(tiff: tifffile.TiffFile, series: tifffile.TiffPageSeries) -> tuple[Calibration, ImageMetadata]:
    """Return steps and metadata of an image in a stack."""
    summary = table_of((tiff.micromanager_metadata or {}).get("Summary"))
    first = next(page for page in series if page is not None)
    # pages of NDTiff are known by the place of their pixels only
    own = first if first.parent is tiff and first.offset else tiff.pages.first
    told = table_of(getattr(own.aspage().tags.get(PLANE_TAG), "value", None))
    if own is not first:
        told = {key: value for key, value in told.items() if not key.endswith("PositionUm")}
    return described(summary, told)


def _with_promised(
    path: Path, tiff: tifffile.TiffFile, axes: str, pages: NDArray[np.object_]
) -> tuple[NDArray[np.object_], list[int]]:
    """Return the pages of MMStack with those that were promised and are not there, and the positions that are.

    tifffile leaves out what lies in files that are not there.
    """
    told = tiff.micromanager_metadata or {}
    summary, columns = table_of(told.get("Summary")), {"C": 0, "Z": 1, "T": 2, POSITIONS: 3}
    index = told["IndexMap"]
    # a program that was killed leaves room for planes that never came
    own = index[index[:, 4] > 0][:, [columns[axis] for axis in axes]]
    if not len(own):
        raise InputError(f"{path} is damaged: its index names no plane.")
    sizes = np.maximum(own.max(axis=0) + 1, [promised_steps(summary, axis) for axis in axes])
    if math.prod(map(int, sizes)) > MOST_PAGES:
        raise InputError(f"{path} is damaged: it claims {math.prod(map(int, sizes)):,} planes.")
    start = own.min(axis=0) if (sizes > pages.shape).any() else np.zeros(len(axes), int)
    sizes = np.maximum(sizes, start + pages.shape)
    whole = np.full(sizes, None, object)
    whole[tuple(slice(first, first + size) for first, size in zip(start, pages.shape, strict=True))] = pages
    return whole, np.unique(own[:, axes.index(POSITIONS)]).tolist()


def _series(
    tiff: tifffile.TiffFile, like: tifffile.TiffPageSeries, pages: NDArray[np.object_], axes: str, name: str
) -> tifffile.TiffPageSeries:
    import tifffile as library

    frame = like.keyframe
    return library.TiffPageSeries(
        pages.ravel().tolist(),
        (*pages.shape, *frame.shape),
        like.dtype,
        axes + frame.axes,
        parent=tiff,
        name=name,
        kind=like.kind,
        multifile=like.is_multifile,
    )


def _label(labels: Any, position: int) -> str:
    told = labels[position] if isinstance(labels, list) and position < len(labels) else None
    label = table_of(told).get("Label")
    return printable(label) if isinstance(label, str) and label else f"position {position}"


def _check_index(path: Path, version: int) -> None:
    """Refuse NDTiff whose index is not there, is of another version, or names files that are not beside it."""
    import tifffile

    index = path.with_name(INDEX)
    if version < 2:
        raise InputError(f"{path} is NDTiff of version {version}, which is not read: save it as OME-TIFF.")
    if not index.is_file():
        raise InputError(f"{path} is part of a set that {INDEX} describes, which is not beside it: copy it there.")
    names = [entry[1] for entry in tifffile.read_ndtiff_index(index)]
    if not names:
        raise InputError(f"{index} is damaged: it names no plane.")
    if path.name not in names:
        raise InputError(f"{path} is none of the files that {INDEX} names: was it renamed?")
    for name in set(names):
        if leaves_folder(name):
            raise InputError(f"{index} is not trusted: it names a file {name!r:.80}, outside its folder.")
    lost = {name for name in names if not path.with_name(name).is_file()}
    if lost:
        count = sum(name in lost for name in names)
        shown = ", ".join(f"{name!r:.80}" for name in sorted(lost)[:MOST_NAMED])
        raise InputError(
            f"{path} cannot be read whole, {shown}, named in {INDEX}, are not beside it: {count} of {len(names)} "
            "frames are missing. Copy them there."
        )
