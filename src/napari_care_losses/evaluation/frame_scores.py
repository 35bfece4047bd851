"""The figures by which a restored frame is judged, with a ground truth or without one."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from napari_care_losses.errors import CareError
from napari_care_losses.evaluation.metrics import METRICS, ScaledTruth, align, grey_levels, scale_truth
from napari_care_losses.evaluation.residual import region_means, structure_left
from napari_care_losses.evaluation.uncertainty import coverage

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterator, Sequence

    from numpy.typing import NDArray

    from napari_care_losses.images.frames import Frames

INPUT, RESTORED = "input", "restored"
LEVELS, COVERAGE, STRUCTURE, MEANS = "levels", "coverage", "structure", "means"
"""Kinds of figures beside those of `METRICS`."""


class Stack:
    """A stack of frames that may change while it is judged.

    Parameters
    ----------
    frames : Frames
        The frames.
    """

    def __init__(self, frames: Frames) -> None:
        self.frames = frames
        # not the stack itself: figures are kept under its states and must not keep its pixels in memory
        self._token = object()
        self._renewals: dict[int, int] = {}

    def renew(self, index: int) -> None:
        """Note that the pixels of a frame have changed."""
        self._renewals[index] = self._renewals.get(index, 0) + 1

    def state(self, index: int) -> Hashable:
        """Return what is equal as long as the pixels of a frame are the same."""
        return self._token, self._renewals.get(index, 0)

    def owns(self, state: Hashable) -> bool:
        """Return whether a state is one of this stack's."""
        return isinstance(state, tuple) and state[0] is self._token


@dataclass(frozen=True)
class Comparison:
    """What is compared with what.

    Attributes
    ----------
    input : Stack
        The noisy stack.
    restored : Stack, optional
        What was made of it so far.
    truth : Stack, optional
        The ground truth.
    uncertainty : Stack, optional
        The Laplace scale of every restored pixel.
    aligned : bool
        Whether images are aligned to the truth before they are scored.
    """

    input: Stack
    restored: Stack | None = None
    truth: Stack | None = None
    uncertainty: Stack | None = None
    aligned: bool = True

    def stack(self, row: str) -> Stack | None:
        """Return the stack called `INPUT` or `RESTORED`."""
        return self.input if row == INPUT else self.restored


class Key(NamedTuple):
    """Under what a figure is kept: its kind, of which image, and the state of all it was made from."""

    kind: str
    row: str
    frame: int
    states: tuple[Hashable, ...]
    aligned: bool = False


@dataclass(frozen=True)
class Problem:
    """Stands in place of a figure that cannot be made, with the reason."""

    text: str


def judge(comparison: Comparison, keys: Sequence[Key]) -> Iterator[tuple[Key, Any]]:
    """Make figures of one frame; may be closed after any of them.

    Parameters
    ----------
    comparison : Comparison
        What is compared.
    keys : sequence of Key
        The figures wanted, all of one frame; see `Timeline.missing`.

    Yields
    ------
    tuple of (Key, figure or Problem)
        A figure, or why it cannot be made.
    """
    images = _Images(comparison, keys[0].frame) if keys else None
    for key in keys:
        assert images is not None
        try:
            yield key, images.figure(key)
        except CareError as error:
            yield key, Problem(str(error))


class _Images:
    """The images of one frame, each read once."""

    def __init__(self, comparison: Comparison, index: int) -> None:
        self._comparison = comparison
        self._index = index
        self._read: dict[Stack, NDArray[Any]] = {}
        self._matched: dict[str, NDArray[np.float64]] = {}

    def figure(self, key: Key) -> Any:
        image = self._image(self._comparison.stack(key.row))
        if key.kind in METRICS:
            return METRICS[key.kind].function(self._match(key.row), self._truth.image)
        if key.kind == LEVELS:
            return grey_levels(image, self._image(self._comparison.truth))
        if key.kind == COVERAGE:
            scale, truth = self._image(self._comparison.uncertainty), self._image(self._comparison.truth)
            return coverage(image, scale, truth, aligned=key.aligned)
        if key.kind == STRUCTURE:
            return structure_left(self._image(self._comparison.input), image)
        return region_means(image)

    @cached_property
    def _truth(self) -> ScaledTruth:
        return scale_truth(self._image(self._comparison.truth))

    def _match(self, row: str) -> NDArray[np.float64]:
        # the protocol of metrics.score, in parts: a slider that moves on need not wait for all of it
        if row not in self._matched:
            image, truth = self._image(self._comparison.stack(row)), self._truth
            if self._comparison.aligned:
                self._matched[row] = align(image, truth.image)
            else:
                self._matched[row] = (image.astype(np.float64) - truth.low) / (truth.high - truth.low)
        return self._matched[row]

    def _image(self, stack: Stack | None) -> NDArray[Any]:
        assert stack is not None
        if stack not in self._read:
            self._read[stack] = stack.frames[self._index]
        return self._read[stack]
