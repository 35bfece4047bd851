"""Images whose planes lie in files of their own: what a set holds, and its planes read when they are asked for."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from napari_care_losses.errors import InputError, UnreadableError
from napari_care_losses.images.frames import Calibration, ImageMetadata
from napari_care_losses.io.formats.opened import PlaneStack, grid_of, steps_of_planes
from napari_care_losses.io.tiff_pages import (
    MOST_NAMED,
    MOST_PAGES,
    AbsentFrames,
    check_chain,
    check_size,
    readable_tiff,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray


class Plane(NamedTuple):
    """Where a plane lies: a file, and the number of its page."""

    path: Path
    page: int = 0


@dataclass(frozen=True, kw_only=True)
class PlaneImage:
    """One image of a set.

    Attributes
    ----------
    planes : mapping of (int, int, int) to Plane
        The planes that the set names, by their place along T, Z and C.
    promised : (int, int, int)
        How many steps along T, Z and C its description names; 1 where it says nothing.
    calibration : Calibration
        Pixel size and steps.
    metadata : ImageMetadata
        Channels and stage position.
    name : str
        What tells it from the other images of the set.
    note : str
        What is to be known of it; often empty.
    """

    planes: Mapping[tuple[int, int, int], Plane]
    promised: tuple[int, int, int] = (1, 1, 1)
    calibration: Calibration = field(default_factory=Calibration)
    metadata: ImageMetadata = field(default_factory=ImageMetadata)
    name: str = ""
    note: str = ""

    @property
    def shape(self) -> tuple[int, int, int]:
        """Steps along T, Z and C: as many as were promised, or as are named."""
        return steps_of_planes(self.planes, self.promised)


class PlaneSet(NamedTuple):
    """A set of files: what it is called, and its images."""

    name: str
    images: Sequence[PlaneImage]

    @property
    def files(self) -> set[Path]:
        """The files of the set, whether they are there or not."""
        return {plane.path for image in self.images for plane in image.planes.values()}


def open_planes(path: Path, image: PlaneImage) -> tuple[PlaneStack, str, AbsentFrames | None]:
    """Open an image of a set.

    Parameters
    ----------
    path : Path
        The file by which the set was named, for messages.
    image : PlaneImage
        The image.

    Returns
    -------
    stack : PlaneStack
        Its pixels, read lazily, without axes of a single step.
    axes : str
        A letter for each axis.
    absent : AbsentFrames or None
        The planes that are not there.

    Raises
    ------
    InputError
        If a file is damaged, or none is there.
    """
    sizes = {plane.path: _size(plane.path) for plane in image.planes.values()}
    # a cut one is shorter than the others
    first = max(image.planes.values(), key=lambda plane: sizes[plane.path])
    if not sizes[first.path]:
        raise InputError(f"There is no file {first.path}.")
    frame_shape, frame_axes, dtype, smallest = _look_at(first)
    shape = image.shape
    if math.prod(shape) > MOST_PAGES:
        raise InputError(f"{path} is damaged: its set claims {math.prod(shape):,} planes.")
    planes, axes = grid_of(image.planes, shape)
    absent = [
        one for one, plane in enumerate(planes.flat) if plane is None or sizes[plane.path] < smallest * (plane.page + 1)
    ]
    lost = None
    if absent:
        names = sorted({plane.path.name for plane in planes.flat[absent] if plane is not None})
        shown = ", ".join(f"{name!r:.80}" for name in names[:MOST_NAMED]) + ", ..." * (len(names) > MOST_NAMED)
        is_lost = f"{shown} of its set {'is' if len(names) == 1 else 'are'} not there or cut short"
        reason = is_lost if names else "the acquisition was stopped, or files of its set are lost"
        lost = AbsentFrames(f"{path} cannot be read whole, {reason}", planes.shape, absent)
    return PlaneStack(planes, frame_shape, dtype, partial(_read, frame_shape, dtype)), axes + frame_axes, lost


def _read(frame_shape: tuple[int, ...], dtype: np.dtype[Any], plane: Plane) -> NDArray[Any]:
    """Return the pixels of a plane, which has this shape and type."""
    import tifffile

    pixels: NDArray[Any] = tifffile.imread(plane.path, key=plane.page)
    if pixels.shape != frame_shape or pixels.dtype.newbyteorder("=") != dtype.newbyteorder("="):
        found, expected = (" x ".join(map(str, shape)) for shape in (pixels.shape, frame_shape))
        raise UnreadableError(
            f"{plane.path} holds {found} px of {pixels.dtype.name}, other files of its set {expected} px of "
            f"{dtype.name}"
        )
    return pixels


def _size(path: Path) -> int:
    """Return the bytes of a file, 0 where it is not there."""
    try:
        return path.stat().st_size
    except OSError:
        return 0


def _look_at(plane: Plane) -> tuple[tuple[int, ...], str, np.dtype[Any], int]:
    """Return shape, axes and type of a plane, and the fewest bytes of a file that holds such a plane."""
    with readable_tiff(plane.path, is_ome=False) as (tiff, _):
        check_chain(plane.path, tiff)
        if plane.page >= len(tiff.pages):
            raise InputError(
                f"{plane.path} has {len(tiff.pages)} pages, counted from 0: there is no page {plane.page}."
            )
        page = tiff.pages[plane.page]
        check_size(plane.path, page)
        smallest = page.nbytes if tiff.pages.first.compression == 1 else 1
        return page.shape, page.axes, np.dtype(page.dtype), smallest
