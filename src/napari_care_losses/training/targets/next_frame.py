"""The neighbouring frame of a movie as the target."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from napari_care_losses.errors import InputError
from napari_care_losses.images.noise.change import changed_share
from napari_care_losses.images.sampling import evenly_spaced
from napari_care_losses.training.targets.base import MAX_CHECKED, Exposures, Target
from napari_care_losses.training.targets.two_shots import LEAST_CHANGED, MOST_CHANGED, TwoShots

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari_care_losses.images.frames import Frames
    from napari_care_losses.training.pairs import Pair, Share
    from napari_care_losses.training.parameters import TrainingParameters


class NextFrame(Target):
    """Frame t + 1 of a movie where little moves as the target of frame t, and the reverse.

    After DeepCAD (Li et al. 2021, doi:10.1038/s41592-021-01225-0). Frames are taken two by two, so that no frame both
    trains and validates.
    """

    name: ClassVar[str] = "next"

    def places(self, low: Frames) -> list[tuple[int, ...]]:
        """Return the numbers of frames that follow one another in time, of one plane and channel."""
        shape = low.leading_shape
        axis = low.axes.index("T") if "T" in low.axes else None
        if axis is None or shape[axis] < 2:
            raise InputError(
                "The target 'next' needs a movie of at least two frames, found none along time (T): choose the target "
                "'self', or a movie."
            )
        numbers = np.moveaxis(np.arange(math.prod(shape)).reshape(shape), axis, -1).reshape(-1, shape[axis])
        times = [low.position(int(number))[axis] for number in numbers[0]]
        found: list[tuple[int, ...]] = []
        for row in numbers.tolist():
            step = 0
            while step + 1 < len(row):
                is_next = times[step + 1] == times[step] + 1
                found += [(row[step], row[step + 1])] if is_next else []
                step += 2 if is_next else 1
        if not found:
            raise InputError("The target 'next' needs frames that follow one another: choose neighbouring frames.")
        return found

    def exposures(self, share: Share, parameters: TrainingParameters, rng: np.random.Generator) -> Exposures:  # noqa: D102
        return TwoShots(share, parameters.patch_size, either_way=True)

    def problem(self, pair: Pair) -> str:  # noqa: D102
        changed = changed_share(pair.low, pair.second)
        if changed <= MOST_CHANGED:
            return ""
        return (
            f"About {changed:.0%} of the structure changes to the next frame: the network would learn to blur it. "
            "Choose the target 'self', or a movie with more frames a second."
        )

    def warnings(self, pair: Pair) -> list[str]:  # noqa: D102
        if changed_share(pair.low, pair.second) <= LEAST_CHANGED:
            return []
        return [
            f"More than {LEAST_CHANGED:.0%} of the structure changes to the next frame: what moves will be blurred. "
            "The target 'self' does not blur it."
        ]

    def remarks(self, pairs: Sequence[Pair]) -> list[str]:  # noqa: D102
        shares = [changed_share(pair.low, pair.second) for pair in evenly_spaced(pairs, MAX_CHECKED)]
        return [f"About {np.median(shares):.0%} of the structure changes from frame to frame."] if shares else []
