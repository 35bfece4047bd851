"""Axes in front of Y and X: stacks brought to the axes of others of the same field, with steps left out."""

from __future__ import annotations

from dataclasses import replace
from itertools import takewhile
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_care_losses.errors import InputError
from napari_care_losses.images.any_array import pixel_type
from napari_care_losses.images.chunk_cache import cached
from napari_care_losses.images.frames import UNNAMED, Frames

if TYPE_CHECKING:
    from collections.abc import Sequence


class Rearranged:
    """A lazy array seen with other axes in front of Y and X.

    Parameters
    ----------
    data : array (..., Y, X)
        Anything with ``shape``, ``dtype`` and indexing.
    order : sequence of int or None
        Its leading axes in the order wanted; those left out have one step. None is a new axis of one step.
    """

    def __init__(self, data: Any, order: Sequence[int | None]) -> None:
        self._data, self._order = cached(data), list(order)
        leading = (1 if axis is None else int(data.shape[axis]) for axis in order)
        self.shape: tuple[int, ...] = (*leading, *map(int, data.shape[-2:]))
        self.dtype = pixel_type(data)

    def __getitem__(self, place: tuple[int, ...]) -> Any:
        """Return the frame at a place in the leading axes."""
        there = [0] * (len(self._data.shape) - 2)
        for axis, index in zip(self._order, place, strict=True):
            if axis is not None:
                there[axis] = index
        return self._data[tuple(there)]


class SomeSteps:
    """An array of which some steps along a leading axis are left out; reads nothing before it is asked.

    Parameters
    ----------
    data : array (..., Y, X)
        Anything with ``shape``, ``dtype``, ``chunks`` and indexing.
    axis : int
        One of its leading axes.
    steps : sequence of int
        The steps along it that are kept.

    Attributes
    ----------
    shape, dtype, ndim, chunks
        As of an array.
    """

    def __init__(self, data: Any, axis: int, steps: Sequence[int]) -> None:
        self._data, self._axis, self._steps = data, axis, list(steps)
        self.shape: tuple[int, ...] = (*data.shape[:axis], len(self._steps), *data.shape[axis + 1 :])
        self.dtype, self.ndim, self.chunks = data.dtype, len(self.shape), data.chunks

    def __getitem__(self, place: tuple[Any, ...]) -> Any:
        """Return the pixels at a place: integers and slices, one an axis, those of the last axes may be left out."""
        before, step, after = place[: self._axis], place[self._axis], place[self._axis + 1 :]
        if not isinstance(step, slice):
            return self._data[(*before, self._steps[step], *after)]
        parts = [self._data[(*before, one, *after)] for one in self._steps[step]]
        return np.stack(parts, axis=sum(isinstance(one, slice) for one in before))


def in_axes_of(frames: Frames, like: Frames) -> Frames:
    """Return a stack with the axes of another of the same field; as it is where it cannot be of that field.

    Axes of one step are left out or added, and the others put in the same order: file formats prescribe different ones.
    Where their letters differ, those of the same number of steps are the same.
    """
    ours, theirs = _long_axes(frames), _long_axes(like)
    if frames.axes == like.axes:
        return frames
    if list(ours.values()) == list(theirs.values()) and set(ours) != set(theirs):
        names = dict(zip(theirs, ours, strict=True))
    else:
        names = {axis: axis for axis in frames.axes if axis in like.axes}
    if not set(ours) <= set(names.values()):
        return frames
    order = [frames.axes.index(names[axis]) if axis in names else None for axis in like.axes[:-2]]
    data = Rearranged(_Chosen(frames), order)
    return replace(frames, data=data, axes=like.axes, start=0, stop=None, steps=None)


def named_axes_only(frames: Frames) -> Frames:
    """Return a stack without the axes that have no name, as file formats want it."""
    kept = [place for place, axis in enumerate(frames.axes[:-2]) if axis != UNNAMED]
    if len(kept) == len(frames.leading_shape):
        return frames
    data = Rearranged(_Chosen(frames), kept)
    return replace(frames, data=data, axes=frames.axes.replace(UNNAMED, ""), start=0, stop=None, steps=None)


def truth_of(truth: Frames, frames: Frames) -> Frames:
    """Return a truth with the axes of its stack; one frame is the truth of every frame of a movie."""
    truth = in_axes_of(truth, frames)
    is_movie = set(_long_axes(frames)) == {"T"}
    if not (is_movie and len(truth) == 1 and truth.frame_shape == frames.frame_shape):
        return truth
    return Frames(np.broadcast_to(truth[0], frames.shape), frames.axes, truth.calibration, note=truth.note)


def check_distinct(frames: Frames, truth: Frames, indices: Sequence[int] | None = None) -> None:
    """Raise `InputError` if a truth, as from `truth_of`, is the stack itself in all, or the given, frames.

    Nearly always one frame of both is read. The same values in another type are the same images.
    """
    if (len(frames), frames.frame_shape) != (len(truth), truth.frame_shape):
        return
    chosen = sorted(range(len(frames)) if indices is None else indices)
    same = [*takewhile(lambda index: np.array_equal(frames[index], truth[index], equal_nan=True), chosen)]
    is_one_frame = isinstance(truth.data, np.ndarray) and not any(truth.data.strides[:-2])
    if same and len(same) == len(chosen):
        found = "The stack and its ground truth hold the same images"
    elif same and is_one_frame:
        found = f"The ground truth of all frames is frame {same[0]} of the stack itself"
    else:
        return
    raise InputError(f"{found}: choose the long exposure as ground truth.")


def _long_axes(frames: Frames) -> dict[str, int]:
    """Return the axes in front of Y and X that have several steps, and how many."""
    return {axis: size for axis, size in zip(frames.axes, frames.leading_shape, strict=False) if size > 1}


class _Chosen:
    """The frames of a selection as an array of their own."""

    def __init__(self, frames: Frames) -> None:
        self._frames, self.shape, self.dtype = frames, frames.shape, frames.dtype

    def __getitem__(self, place: tuple[int, ...]) -> Any:
        index = int(np.ravel_multi_index(place, self._frames.leading_shape)) if place else 0
        return self._frames.pixels[self._frames.position(index)]
