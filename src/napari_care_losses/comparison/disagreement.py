"""How far restorations of one image disagree: of several models, or of one model given the image flipped."""

from __future__ import annotations

from contextlib import ExitStack, closing
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_care_losses.errors import InputError
from napari_care_losses.images.any_array import pixel_type, to_numpy
from napari_care_losses.images.checks import check_equal_shapes, checked_frame
from napari_care_losses.images.line_fit import fit_line

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence

    from numpy.typing import ArrayLike, NDArray

    from napari_care_losses.images.frames import Frames
    from napari_care_losses.models.model import Model
    from napari_care_losses.restoration.parameters import RestorationParameters

FLIPS: tuple[tuple[int, ...], ...] = ((), (-2,), (-1,), (-2, -1))
"""The axes that are turned around in each restoration of `flip_disagreement`."""


def disagreement(image: ArrayLike, restorations: Sequence[ArrayLike]) -> NDArray[np.float32]:
    """Return the standard deviation of several restorations in each pixel, in grey levels of their input.

    Each is first brought to the input by the straight line of least squared error: methods may change grey levels. It
    is no interval of the error: what all restorations get wrong alike, they agree on.

    Parameters
    ----------
    image : (Y, X) array of any real dtype
        The noisy input.
    restorations : sequence of arrays of that shape
        At least two.

    Raises
    ------
    InputError
        If there are fewer, or the images are not 2D, real and finite, or differ in shape.

    Examples
    --------
    >>> image = [[0.0, 1.0], [2.0, 3.0]]
    >>> disagreement(image, [image, [[0.0, 2.0], [4.0, 6.0]]]).tolist()
    [[0.0, 0.0], [0.0, 0.0]]
    """
    if len(restorations) < 2:
        raise InputError(f"At least two restorations can disagree, found {len(restorations)}.")
    given = checked_frame(image, "The input")
    placed = []
    for each in restorations:
        made = checked_frame(each, "The restored image")
        check_equal_shapes(given, made, "The input and the restored image")
        slope, intercept = fit_line(made, given)
        placed.append(slope * made + intercept)
    spread: NDArray[np.float32] = np.std(placed, axis=0, ddof=1).astype(np.float32)
    return spread


def flip_disagreement(
    frames: Frames, model: Model, parameters: RestorationParameters, *, indices: Sequence[int]
) -> Generator[tuple[int, NDArray[np.float32]] | None, None, None]:
    """Restore frames as they are and flipped along Y, X and both, and yield each with the disagreement of the four.

    Steps that completed nothing yield None. Errors are those of
    `napari_care_losses.restoration.restore_stack.restore_frames`.
    """
    from napari_care_losses.restoration.restore_stack import restore_frames

    with ExitStack() as closed:
        running = []
        for axes in FLIPS:
            flipped = replace(frames, data=_Flipped(frames.pixels, axes))
            running.append(closed.enter_context(closing(restore_frames(flipped, model, parameters, indices=indices))))
        for index in indices:
            images = []
            for axes, steps in zip(FLIPS, running, strict=True):
                for step in steps:
                    if step.frame is not None:
                        images.append(np.flip(step.frame.image, axes))
                        break
                    yield None
            yield index, disagreement(frames[index], images)


class _Flipped:
    """An array (..., Y, X) whose frames are turned around along some axes."""

    def __init__(self, data: Any, axes: tuple[int, ...]) -> None:
        self._data, self._axes = data, axes
        self.shape, self.dtype = data.shape, pixel_type(data)

    def __getitem__(self, position: tuple[int, ...]) -> NDArray[Any]:
        return np.flip(to_numpy(self._data[position]), self._axes)
