"""An image of a file, opened and not read: its planes one by one, which image was asked for, steps left out."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from napari_care_losses.errors import InputError, UnreadableError
from napari_care_losses.images.axes import SomeSteps
from napari_care_losses.images.frames import Calibration, Frames, ImageMetadata
from napari_care_losses.io.tiff_pages import MOST_PAGES, AbsentFrames, choice_of_images

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

AXES = "TZC"
"""The axes by which planes are counted."""

UNEVEN = 0.1
"""Largest deviation of a step from the mean, as a share of it, at which steps count as even."""


class OpenedImage(NamedTuple):
    """One image of a file, none of its pixels read yet.

    Attributes
    ----------
    levels : list of arrays
        From the full resolution to the coarsest, read lazily.
    axes : str
        A letter for each axis, as `Frames` takes them.
    calibration : Calibration
        Pixel size and steps.
    metadata : ImageMetadata
        Channels and stage position.
    note : str
        What is to be known of it, such as what was left out; often empty.
    name : str
        What tells it from the other images of its file, where the file says so.
    """

    levels: list[Any]
    axes: str
    calibration: Calibration
    metadata: ImageMetadata
    note: str
    name: str = ""

    def frames(self, path: Path) -> Frames:
        """Return the full resolution as lazy frames; errors name the file at `path`.

        Raises
        ------
        InputError
            If it is no stack of grey-level frames.
        """
        try:
            return Frames(self.levels[0], self.axes, self.calibration, note=self.note, metadata=self.metadata)
        except InputError as error:
            raise InputError(f"{path}: {error}") from error


@dataclass(frozen=True, kw_only=True)
class FileImage:
    """One image of a file, as its format describes it.

    Attributes
    ----------
    planes : mapping of (int, int, int) to object
        Those that the file holds, by their place along T, Z and C: what `read` takes.
    read : callable
        Returns the pixels of a plane.
    plane_shape : tuple of int
        Of every plane: (Y, X), (Y, X, samples) of colour images, (C, Y, X) where all channels lie together.
    plane_axes : str
        A letter for each of its axes.
    dtype : dtype
        Of every plane.
    promised : (int, int, int)
        How many steps along T, Z and C its description names; 1 where it says nothing.
    calibration, metadata, note
        As of an opened image.
    name : str
        What tells it from the other images of the file.
    problem : str
        Why it cannot be opened, as the rest of a sentence after its file; mostly empty.
    """

    planes: Mapping[tuple[int, int, int], Any]
    read: Callable[[Any], NDArray[Any]]
    plane_shape: tuple[int, ...]
    dtype: np.dtype[Any]
    plane_axes: str = "YX"
    promised: tuple[int, int, int] = (1, 1, 1)
    calibration: Calibration = field(default_factory=Calibration)
    metadata: ImageMetadata = field(default_factory=ImageMetadata)
    name: str = ""
    note: str = ""
    problem: str = ""

    @property
    def shape(self) -> tuple[int, int, int]:
        """Steps along T, Z and C: as many as were promised, or as the planes take."""
        return steps_of_planes(self.planes, self.promised)

    @property
    def layout(self) -> tuple[tuple[int, ...], str]:
        """Shape and axes, without axes of a single step."""
        long = [(size, axis) for size, axis in zip(self.shape, AXES, strict=True) if size > 1]
        return (*(size for size, _ in long), *self.plane_shape), "".join(axis for _, axis in long) + self.plane_axes

    def opened(self, path: Path) -> tuple[OpenedImage, AbsentFrames | None]:
        """Return the image, without axes of a single step, and the frames of it that are not in the file.

        Raises
        ------
        InputError
            If it cannot be opened, as its problem says, or claims absurdly many planes.
        """
        if self.problem:
            raise InputError(f"{path} {self.problem}.")
        if math.prod(self.shape) > MOST_PAGES:
            raise InputError(f"{path} is damaged: it claims {math.prod(self.shape):,} planes.")
        planes, letters = grid_of(self.planes, self.shape)
        stack = PlaneStack(planes, self.plane_shape, self.dtype, self.read)
        channels = self.plane_shape[0] if self.plane_axes.startswith("C") else 1
        lost, absent = None, np.flatnonzero(np.repeat([plane is None for plane in planes.flat], channels))
        if len(absent):
            shape = (*planes.shape, channels) if channels > 1 else planes.shape
            subject = f"{path} is not whole, its acquisition was stopped or it was cut short"
            lost = AbsentFrames(subject, shape, absent.tolist())
        return OpenedImage(
            [stack], letters + self.plane_axes, self.calibration, self.metadata, self.note, self.name
        ), lost


class PlaneStack:
    """The planes of an image as one array; a plane is read when it is asked for.

    Parameters
    ----------
    planes : array of object
        One for each place in the leading axes; None where there is none, which must not be asked for.
    plane_shape : tuple of int
        Of every plane.
    dtype : dtype
        Of every plane.
    read : callable
        Returns the pixels of a plane.

    Attributes
    ----------
    shape, dtype, ndim, chunks
        As of an array.
    """

    def __init__(
        self,
        planes: NDArray[np.object_],
        plane_shape: tuple[int, ...],
        dtype: np.dtype[Any],
        read: Callable[[Any], NDArray[Any]],
    ) -> None:
        self._planes, self._plane_shape, self._read, self.dtype = planes, plane_shape, read, dtype
        self.shape: tuple[int, ...] = (*planes.shape, *plane_shape)
        self.ndim, self.chunks = len(self.shape), (*(1 for _ in planes.shape), *plane_shape)

    def __getitem__(self, place: Any) -> NDArray[Any]:
        """Return the pixels at a place: integers and slices, one an axis, those of the last axes may be left out."""
        place = place if isinstance(place, tuple) else (place,)
        leading, within = place[: self._planes.ndim], place[self._planes.ndim :]
        chosen = self._planes[leading]
        if not isinstance(chosen, np.ndarray):
            pixels: NDArray[Any] = self._read(chosen)[within]
            return pixels
        empty = np.empty(self._plane_shape, self.dtype)[within]
        parts = [self._read(plane)[within] for plane in chosen.flat] or [empty]
        return np.stack(parts)[: chosen.size].reshape(*chosen.shape, *parts[0].shape)


def steps_of_planes(planes: Mapping[tuple[int, int, int], Any], promised: tuple[int, int, int]) -> tuple[int, int, int]:
    """Return the steps along T, Z and C that planes take, at least as many as were promised."""
    times, heights, channels = (
        max(int(one) + 1, least) for one, least in zip(np.max([*planes, (0, 0, 0)], axis=0), promised, strict=True)
    )
    return times, heights, channels


def grid_of(planes: Mapping[tuple[int, int, int], Any], shape: tuple[int, int, int]) -> tuple[NDArray[Any], str]:
    """Return planes in an array without axes of a single step, and its axes; None stands where there is no plane."""
    grid = np.full(shape, None, object)
    for place, plane in planes.items():
        grid[place] = plane
    long = [axis for axis, size in enumerate(shape) if size > 1]
    return grid.reshape([shape[axis] for axis in long]), "".join(AXES[axis] for axis in long)


def named_image(path: Path) -> tuple[Path, int | None]:
    """Return the file and the number of the image that a path names: ``FILE/NUMBER``, or the file alone."""
    if not path.exists() and path.parent.is_file() and path.name.isdecimal():
        return path.parent, int(path.name)
    return path, None


def chosen_number(
    path: Path, number: int | None, numbers: list[int], described: Sequence[tuple[Sequence[int], str, str]]
) -> int:
    """Return the number of the image that was asked for.

    Parameters
    ----------
    path : Path
        The file.
    number : int, optional
        That was asked for.
    numbers : list of int
        Those that are offered.
    described : sequence of (sequence of int, str, str)
        Shape, axes and name of every image.

    Raises
    ------
    InputError
        If there is none of that number, or there are several and none was named.
    """
    if number is None:
        if len(numbers) > 1:
            raise InputError(choice_of_images(path, numbers, described))
        return numbers[0]
    if number >= len(described):
        raise InputError(f"{path} holds {len(described)} images, counted from 0: there is no image {number}.")
    return number


def without_absent(image: OpenedImage, absent: AbsentFrames | None, *, incomplete: bool) -> OpenedImage:
    """Return an image without the steps of which frames are absent.

    Raises
    ------
    UnreadableError
        If frames are absent, and that was not asked for or nothing whole is left.
    """
    if absent is None:
        return image
    can_leave_out = len(absent.shape) == len(image.levels[0].shape) - 2
    if not (incomplete and can_leave_out):
        choice = ", or restore what is whole with --incomplete" if can_leave_out else ""
        raise UnreadableError(f"{absent} Copy it again{choice}.")
    axis, steps = absent.whole_steps()
    levels = [SomeSteps(level, axis, steps) for level in image.levels]
    letter = Frames(levels[0], image.axes).axes[axis]
    left_out = f"{absent} Left out: {len(steps)} of {absent.shape[axis]} steps along {letter} are whole."
    metadata, calibration = image.metadata, image.calibration
    if letter == "C" and len(metadata.channels) == absent.shape[axis]:
        metadata = replace(metadata, channels=[metadata.channels[one] for one in steps])
    if steps[0]:
        position = {one: place for one, place in metadata.position.items() if one != letter}
        metadata = replace(metadata, position=position)
    if len(set(np.diff(steps))) > 1:
        calibration = replace(calibration, **({"T": {"time_step": None}, "Z": {"z_step": None}}.get(letter, {})))
    note = f"{image.note} {left_out}".strip()
    return OpenedImage(levels, image.axes, calibration, metadata, note, image.name)


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
