"""Images whose planes lie in files of their own: what a set holds, and its planes read when they are asked for."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from napari_care_losses.errors import InputError, UnreadableError
from napari_care_losses.images.frames import Calibration, ImageMetadata
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

AXES = "TZC"
"""The axes by which the planes of a set are counted."""

UNEVEN = 0.1
"""Largest deviation of a step from the mean, as a share of it, at which steps count as even."""


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
    def steps(self) -> dict[str, int]:
        """How many steps the image has along each axis: as many as were promised, or as are named."""
        counts = np.max([*self.planes, (0, 0, 0)], axis=0) + 1
        sizes = (max(int(one), promised) for one, promised in zip(counts, self.promised, strict=True))
        return dict(zip(AXES, sizes, strict=True))


class PlaneSet(NamedTuple):
    """A set of files: what it is called, and its images."""

    name: str
    images: Sequence[PlaneImage]

    @property
    def files(self) -> set[Path]:
        """The files of the set, whether they are there or not."""
        return {plane.path for image in self.images for plane in image.planes.values()}


class PlaneStack:
    """The planes of an image as one array; a file is opened when its plane is asked for.

    Parameters
    ----------
    planes : array of Plane
        One for each place in the leading axes; None where there is none, which must not be asked for.
    frame_shape : tuple of int
        Of every plane.
    dtype : dtype
        Of every plane.

    Attributes
    ----------
    shape, dtype, ndim, chunks
        As of an array.
    """

    def __init__(self, planes: NDArray[np.object_], frame_shape: tuple[int, ...], dtype: np.dtype[Any]) -> None:
        self._planes, self._frame_shape, self.dtype = planes, frame_shape, dtype
        self.shape: tuple[int, ...] = (*planes.shape, *frame_shape)
        self.ndim, self.chunks = len(self.shape), (*(1 for _ in planes.shape), *frame_shape)

    def __getitem__(self, place: Any) -> NDArray[Any]:
        """Return the pixels at a place: integers and slices, one an axis, those of the last axes may be left out."""
        place = place if isinstance(place, tuple) else (place,)
        leading, within = place[: self._planes.ndim], place[self._planes.ndim :]
        chosen = self._planes[leading]
        if not isinstance(chosen, np.ndarray):
            pixels: NDArray[Any] = self._read(chosen)[within]
            return pixels
        empty = np.empty(self._frame_shape, self.dtype)[within]
        parts = [self._read(plane)[within] for plane in chosen.flat] or [empty]
        return np.stack(parts)[: chosen.size].reshape(*chosen.shape, *parts[0].shape)

    def _read(self, plane: Plane) -> NDArray[Any]:
        import tifffile

        pixels: NDArray[Any] = tifffile.imread(plane.path, key=plane.page)
        if pixels.shape != self._frame_shape or pixels.dtype.newbyteorder("=") != self.dtype.newbyteorder("="):
            found, expected = (" x ".join(map(str, shape)) for shape in (pixels.shape, self._frame_shape))
            raise UnreadableError(
                f"{plane.path} holds {found} px of {pixels.dtype.name}, other files of its set {expected} px of "
                f"{self.dtype.name}"
            )
        return pixels


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
    shape = tuple(image.steps.values())
    if math.prod(shape) > MOST_PAGES:
        raise InputError(f"{path} is damaged: its set claims {math.prod(shape):,} planes.")
    planes = np.full(shape, None, object)
    for place, plane in image.planes.items():
        planes[place] = plane
    long = [axis for axis, size in enumerate(shape) if size > 1]
    planes = planes.reshape([shape[axis] for axis in long])
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
    return PlaneStack(planes, frame_shape, dtype), "".join(AXES[axis] for axis in long) + frame_axes, lost


def even_step(places: Sequence[float]) -> float | None:
    """Return the step between places one after the other; None where there are too few or they are not even.

    Examples
    --------
    >>> even_step([0, 0.5, 1.0, 1.51]), even_step([0, 0.5, 3.0]), even_step([1.0])
    (0.5033333333333333, None, None)
    """
    steps = np.diff(np.asarray(places, float))
    if not len(steps) or not np.isfinite(steps).all():
        return None
    mean = float(steps.mean())
    return mean if mean and np.abs(steps - mean).max() <= UNEVEN * abs(mean) else None


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
