"""The frames around the images that a network is trained on, and whether a stack is a movie or a z-stack at all."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from napari_care_losses.errors import InputError
from napari_care_losses.images.neighbours import (
    NeighbourReader,
    along_neighbours,
    neighbour_axis,
    neighbour_indices,
    neighbour_spacing,
)
from napari_care_losses.images.noise.change import changed_share, shows_structure
from napari_care_losses.images.sampling import evenly_spaced

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from napari_care_losses.images.frames import Frames

CHECKED = 7
"""Frames of a stack, spread over all, that are compared with the next one."""

MOST_CHANGED = 0.6
"""Share of the structure that changes from frame to frame above which frames are taken for unrelated: of simulated
movies at most 0.05 changes, of independent fields of view a median of 0.7 to 1."""


class Around(NamedTuple):
    """The frames around an image in its stack."""

    low: tuple[NDArray[Any], ...]
    """The low-exposure neighbours (Y, X), those before the image first; finite everywhere."""
    high: tuple[NDArray[Any], ...] = ()
    """Their high exposures, where the image has one."""
    axis: str = "T"
    """T or Z."""
    spacing: float | None = None
    """Distance of the frames in seconds or micrometres; None where it is not known."""


class AroundReader:
    """Reads what is around the frames of a low stack and, if there is one, of its high stack.

    Raises
    ------
    InputError
        If the low stack has no neighbours along the axis (one of `napari_care_losses.images.neighbours.ALONG`), or is
        one of independent fields of view.
    """

    def __init__(self, low: Frames, high: Frames | None, count: int, along: str) -> None:
        self._axis = neighbour_axis(low, along)
        check_related(low, self._axis)
        self._spacing = neighbour_spacing(low, self._axis)
        self._low = NeighbourReader(low, count, self._axis)
        self._high = None if high is None else NeighbourReader(high, count, self._axis)

    def read(self, index: int) -> tuple[NDArray[Any], NDArray[Any] | None, Around]:
        """Return a frame, its high exposure, and what is around; raises as the stacks do."""
        low, high = self._low.read(index), None if self._high is None else self._high.read(index)
        around = Around(low.around, () if high is None else high.around, self._axis, self._spacing)
        return low.source, None if high is None else high.source, around


def check_related(frames: Frames, axis: str) -> None:
    """Check by a few frames of a stack that those that follow one another along an axis show the same thing.

    Frames in which noise hides the structure say nothing.

    Raises
    ------
    InputError
        If most of the structure is another one: independent fields of view.
    """
    compared = []
    for index in evenly_spaced(along_neighbours(frames, axis), CHECKED):
        numbers = neighbour_indices(frames, index, 2, axis)
        first, second = (frames.whole()[number] for number in numbers[1:])
        if all(np.isfinite(image).all() and np.ptp(image) > 0 and shows_structure(image) for image in (first, second)):
            compared.append(changed_share(first, second))
    changed = float(np.median(compared)) if compared else 0.0
    if changed > MOST_CHANGED:
        raise InputError(
            f"About {changed:.0%} of the structure changes from one frame to the next along {axis}: these are "
            "independent fields of view, or frames too far apart, and tell nothing of one another. Train without "
            "neighbouring frames."
        )
