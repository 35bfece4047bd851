"""The scores of one restored frame, with a ground truth or without one."""

from __future__ import annotations

import math
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from napari_care_losses.errors import CareError, InputError
from napari_care_losses.evaluation.metrics import MAIN_METRICS, METRICS, ScaledTruth, grey_levels, scale_truth
from napari_care_losses.evaluation.truth_limit import truth_limit
from napari_care_losses.evaluation.uncertainty import coverage, interval_coverage
from napari_care_losses.evaluation.without_truth.contradictions import find_contradictions
from napari_care_losses.evaluation.without_truth.residual import region_means, structure_left
from napari_care_losses.evaluation.without_truth.single_image import SINGLE_IMAGE_METRICS, SMALLEST

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterator, Sequence

    from numpy.typing import NDArray

    from napari_care_losses.evaluation.uncertainty import Coverage
    from napari_care_losses.images.frames import Frames

AT_ONCE = 1 << 21
"""Pixels of a frame up to which exact scores are as good as at once."""

INPUT, RESTORED = "input", "restored"
LEVELS, COVERAGE, INTERVAL, LIMIT = "levels", "coverage", "interval", "limit"
STRUCTURE, MEANS, CONTRADICTIONS = "structure", "means", "contradictions"
"""Kinds of values beside the entries of `METRICS` and `SINGLE_IMAGE_METRICS`."""


class ScoredStack:
    """A stack of frames that may change while it is scored."""

    def __init__(self, frames: Frames) -> None:
        self.frames = frames
        # not the stack itself: values are kept under its states and must not keep its pixels in memory
        self._token = object()
        self._renewals: dict[int, int] = {}

    def renew(self, index: int) -> None:
        """Record that the pixels of a frame have changed."""
        self._renewals[index] = self._renewals.get(index, 0) + 1

    def state(self, index: int) -> Hashable:
        """Return a value that stays equal as long as the pixels of a frame do."""
        return self._token, self._renewals.get(index, 0)

    def owns(self, state: Hashable) -> bool:
        """Return whether a state is one of this stack's."""
        return isinstance(state, tuple) and state[0] is self._token


@dataclass(frozen=True)
class Comparison:
    """What is compared with what; `aligned` images are aligned to the truth before they are scored."""

    input: ScoredStack
    restored: ScoredStack | None = None
    truth: ScoredStack | None = None
    uncertainty: ScoredStack | None = None
    """The Laplace scale of every restored pixel."""
    ends: tuple[ScoredStack, ScoredStack] | None = None
    """Lower and upper ends of the interval of every restored pixel."""
    aligned: bool = True
    metrics: tuple[str, ...] = MAIN_METRICS
    """Which entries of `METRICS` are computed."""

    def stack(self, row: str) -> ScoredStack | None:
        """Return the stack called `INPUT` or `RESTORED`."""
        return self.input if row == INPUT else self.restored


class Key(NamedTuple):
    """Identifies a value: its kind, of which image, and the state of all images it was computed from."""

    kind: str
    row: str
    frame: int
    states: tuple[Hashable, ...]
    aligned: bool = False


@dataclass(frozen=True)
class Problem:
    """Why a value cannot be computed."""

    text: str


class About(NamedTuple):
    """A score from a part of the frame, which the exact one follows."""

    value: float


class Contradicted(NamedTuple):
    """How far a restored frame contradicts its input; see `find_contradictions`."""

    share: float
    """Of the frame, 0..1."""
    worst: tuple[int, int] | None
    """Row and column of the largest deviation, if any place contradicts."""
    reason: str = ""
    """Why it cannot be told; empty if it can."""


def score_frame(comparison: Comparison, keys: Sequence[Key], *, is_awaited: bool = False) -> Iterator[tuple[Key, Any]]:
    """Compute values of one frame, all named by `keys`; yields each with its key, or a `Problem` in its place.

    Of a large frame that somebody waits for, slow scores come twice: `About` first, with the quick ones, then exact.
    """
    if not keys:
        return
    images = _Images(comparison, keys[0].frame)
    slow = [key for key in keys if is_awaited and images.is_slow(key)]
    known: set[Key] = set()
    for key in (key for key in keys if slow and key.kind in METRICS):
        # what is wrong is told once, in place of the exact value
        with suppress(CareError):
            value = images.about(key) if key in slow else images.value(key)
            known.add(key)
            yield key, value
    for key in (key for key in keys if key in slow or key not in known):
        try:
            yield key, images.value(key)
        except CareError as error:
            yield key, Problem(str(error))


class _Images:
    """The images of one frame, each read once."""

    def __init__(self, comparison: Comparison, index: int) -> None:
        self._comparison = comparison
        self._index = index
        self._read: dict[ScoredStack, NDArray[Any]] = {}
        self._matched: dict[str, NDArray[np.float64]] = {}

    def value(self, key: Key) -> Any:
        image = self._image(self._comparison.stack(key.row))
        if key.kind in METRICS:
            return METRICS[key.kind].of_checked(self._match(key.row), self._truth.image)
        if key.kind in SINGLE_IMAGE_METRICS:
            # too small a frame has no resolution
            return SINGLE_IMAGE_METRICS[key.kind].function(image) if min(image.shape) >= SMALLEST else math.nan
        if key.kind == LEVELS:
            return grey_levels(image, self._image(self._comparison.truth))
        if key.kind == COVERAGE:
            scale, truth = self._image(self._comparison.uncertainty), self._image(self._comparison.truth)
            return coverage(image, scale, truth, aligned=key.aligned)
        if key.kind == INTERVAL:
            return self._interval(image, aligned=key.aligned)
        if key.kind == CONTRADICTIONS:
            return _contradicted(self._image(self._comparison.input), image)
        if key.kind == LIMIT:
            return truth_limit(image, self._image(self._comparison.truth))
        if key.kind == STRUCTURE:
            return structure_left(self._image(self._comparison.input), image)
        return region_means(image)

    def is_slow(self, key: Key) -> bool:
        """Return whether a value is worth telling from a part of the frame first."""
        pixels = math.prod(self._comparison.input.frames.frame_shape)
        return pixels > AT_ONCE and key.kind in METRICS and METRICS[key.kind].of_a_part is not None

    def about(self, key: Key) -> About:
        """Return a slow value from a part of the frame."""
        of_a_part = METRICS[key.kind].of_a_part
        assert of_a_part is not None
        return About(of_a_part(self._match(key.row), self._truth.image))

    def _interval(self, image: NDArray[Any], *, aligned: bool) -> Coverage | None:
        assert self._comparison.ends is not None
        lower, upper = (self._image(end) for end in self._comparison.ends)
        if not (np.isfinite(lower).all() and np.isfinite(upper).all()):
            # the frame was restored before intervals were asked for
            return None
        return interval_coverage(image, lower, upper, self._image(self._comparison.truth), aligned=aligned)

    @cached_property
    def _truth(self) -> ScaledTruth:
        return scale_truth(self._image(self._comparison.truth))

    def _match(self, row: str) -> NDArray[np.float64]:
        # the protocol of metrics.score, in steps: when the slider moves on, the rest is not computed
        if row not in self._matched:
            image = self._image(self._comparison.stack(row))
            self._matched[row] = self._truth.match(image, aligned=self._comparison.aligned)
        return self._matched[row]

    def _image(self, stack: ScoredStack | None) -> NDArray[Any]:
        assert stack is not None
        if stack not in self._read:
            self._read[stack] = stack.frames[self._index]
        return self._read[stack]


def _contradicted(image: NDArray[Any], restored: NDArray[Any]) -> Contradicted:
    try:
        found = find_contradictions(image, restored)
    except InputError as error:
        return Contradicted(math.nan, None, str(error))
    return Contradicted(found.share, found.worst)
