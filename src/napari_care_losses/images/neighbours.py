"""The frames around a frame of a stack, along time or through the planes: which they are, and each read once."""

from __future__ import annotations

from collections import OrderedDict
from threading import Lock
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from napari_care_losses.errors import InputError
from napari_care_losses.images.usable_pixels import NO_REPAIRS, Repairs, UsableFrame, usable_frame

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from napari_care_losses.images.frames import Frames

ALONG = ("auto", "t", "z")
"""The axis that neighbours are taken along; automatic is time where there are several times, else the planes."""

_NAMES = {"T": "time (T)", "Z": "the planes (Z)"}


def neighbour_axis(frames: Frames, along: str = "auto") -> str:
    """Return the axis along which the frames of a stack have neighbours, T or Z; `along` is one of `ALONG`.

    Raises
    ------
    InputError
        If there are not two steps along it.

    Examples
    --------
    >>> from napari_care_losses.images.frames import Frames
    >>> stack = Frames(np.zeros((5, 3, 8, 8)), "TZYX")
    >>> neighbour_axis(stack), neighbour_axis(stack, "z"), neighbour_axis(Frames(np.zeros((3, 8, 8)), "ZYX"))
    ('T', 'Z', 'Z')
    """
    sizes = dict(zip(frames.axes, frames.data.shape, strict=True))
    wanted = "TZ" if along == "auto" else along.upper()
    for axis in wanted:
        if sizes.get(axis, 1) > 1:
            return axis
    where = " or ".join(_NAMES[axis] for axis in wanted)
    raise InputError(
        f"Neighbouring frames along {where} are needed, but the stack has axes {frames.axes} of "
        f"{' x '.join(map(str, frames.data.shape))}: choose a movie or a z-stack, or a model of single frames."
    )


def neighbour_spacing(frames: Frames, axis: str) -> float | None:
    """Return the step along an axis: seconds along T, micrometres along Z; None where it is not known."""
    return frames.calibration.time_step if axis == "T" else frames.calibration.z_step


def neighbour_indices(frames: Frames, index: int, count: int, axis: str) -> tuple[int, ...]:
    """Return the numbers of a frame and its `count` neighbours, half of them before it, in their order along the axis.

    Beyond the ends, the stack is reflected: the frame before the first is the second. All else stays: channel, position
    and the other axis.

    Parameters
    ----------
    frames : Frames
        The stack; frames that are not selected of it are neighbours too.
    index : int
        The frame, counted in the selection.

    Returns
    -------
    tuple of int
        Counted in the whole stack, in C order over the leading axes.

    Examples
    --------
    >>> from napari_care_losses.images.frames import Frames
    >>> movie = Frames(np.zeros((5, 2, 8, 8)), "TCYX")
    >>> neighbour_indices(movie, 5, 4, "T"), neighbour_indices(movie, 0, 4, "T")
    ((1, 3, 5, 7, 9), (4, 2, 0, 2, 4))
    """
    place, shape = frames.position(index), frames.data.shape[:-2]
    along = frames.axes.index(axis)
    last = shape[along] - 1
    numbers = []
    for offset in range(-(count // 2), count // 2 + 1):
        step = (place[along] + offset) % (2 * last)
        there = (*place[:along], min(step, 2 * last - step), *place[along + 1 :])
        numbers.append(int(np.ravel_multi_index(there, shape)))
    return tuple(numbers)


def along_neighbours(frames: Frames, axis: str) -> list[int]:
    """Return the numbers of all frames, those that are neighbours along an axis one after the other.

    Examples
    --------
    >>> from napari_care_losses.images.frames import Frames
    >>> along_neighbours(Frames(np.zeros((3, 2, 8, 8)), "TCYX"), "T")
    [0, 2, 4, 1, 3, 5]
    """
    numbers = np.arange(len(frames)).reshape(frames.leading_shape)
    return list(np.moveaxis(numbers, frames.axes.index(axis), -1).reshape(-1).tolist())


class FrameRead(NamedTuple):
    """A frame as it was read, as it can be restored, and its neighbours."""

    source: NDArray[Any]
    usable: UsableFrame
    around: tuple[NDArray[Any], ...] = ()
    """The neighbours (Y, X), those before the frame first; finite everywhere."""

    def channels(self, image: NDArray[Any]) -> NDArray[Any]:
        """Return an image in place of the frame among its neighbours: (1 + neighbours, Y, X), or (Y, X) of none."""
        return among(self.around, image)


def among(around: Sequence[NDArray[Any]], image: NDArray[Any]) -> NDArray[Any]:
    """Return an image (Y, X) in the middle of its neighbours, (1 + neighbours, Y, X); itself where there are none."""
    if not around:
        return image
    half = len(around) // 2
    return np.stack([*around[:half], image, *around[half:]])


class NeighbourReader:
    """Reads frames with their neighbours: each frame once while they are asked for in the order of the axis.

    As many frames are kept as that needs, so that memory does not grow with the stack.
    A neighbour that is blank, and pixels of one that have no value, are taken from the next nearer frame, in the end
    from the frame itself. Threads may read at the same time.

    Parameters
    ----------
    frames : Frames
        The stack.
    count : int
        Number of neighbours, 0 for none.
    along : str
        One of `ALONG`.
    repairs : Repairs
        What else is replaced in every frame.
    runs : int
        At how many places of the axis frames are asked for by turns.

    Raises
    ------
    InputError
        If the stack has no such neighbours.

    Attributes
    ----------
    count : int
        As given.
    axis : str
        T or Z; empty without neighbours.

    Examples
    --------
    >>> from napari_care_losses.images.frames import Frames
    >>> movie = Frames(np.arange(4 * 64).reshape(4, 8, 8), "TYX")
    >>> [int(image[0, 0]) for image in NeighbourReader(movie, 2).read(1).around]
    [0, 128]
    """

    def __init__(
        self, frames: Frames, count: int, along: str = "auto", repairs: Repairs = NO_REPAIRS, *, runs: int = 2
    ) -> None:
        self._frames, self.count, self._repairs = frames, count, repairs
        self._most_kept = runs * (count + 1)
        self._whole = frames.whole()
        self.axis = neighbour_axis(frames, along) if count else ""
        self._kept: OrderedDict[int, tuple[NDArray[Any], UsableFrame]] = OrderedDict()
        self._lock = Lock()

    def grow(self, frames: Frames) -> None:
        """Read the frames of a stack that has become longer along its first axis; those that were there stay."""
        with self._lock:
            self._frames, self._whole = frames, frames.whole()

    def read(self, index: int) -> FrameRead:
        """Return a frame, counted in the selection; raises `InputError` if it or a neighbour cannot be read or used."""
        if not self.count:
            return FrameRead(*self._checked(self._frames, index))
        numbers = neighbour_indices(self._frames, index, self.count, self.axis)
        half = self.count // 2
        with self._lock:
            found = {number: self._once(number) for number in dict.fromkeys(numbers)}
            while len(self._kept) > self._most_kept:
                self._kept.popitem(last=False)
        source, usable = found[numbers[half]]
        before, after = (
            _completed(usable, [found[number][1] for number in side])
            for side in (numbers[:half][::-1], numbers[half + 1 :])
        )
        return FrameRead(source, usable, (*before[::-1], *after))

    def _once(self, number: int) -> tuple[NDArray[Any], UsableFrame]:
        if number not in self._kept:
            self._kept[number] = self._checked(self._whole, number)
        self._kept.move_to_end(number)
        return self._kept[number]

    def _checked(self, frames: Frames, index: int) -> tuple[NDArray[Any], UsableFrame]:
        frame = frames[index]
        return frame, usable_frame(frame, f"Frame {index}: ", self._repairs)


def _completed(frame: UsableFrame, side: Sequence[UsableFrame]) -> list[NDArray[Any]]:
    """Return the neighbours on one side of a frame, the nearest first, what is unusable of them taken from nearer."""
    nearer, completed = frame.pixels, []
    for neighbour in side:
        if not neighbour.is_blank:
            outside = neighbour.outside
            nearer = neighbour.pixels if outside is None else np.where(outside, nearer, neighbour.pixels)
        completed.append(nearer)
    return completed
