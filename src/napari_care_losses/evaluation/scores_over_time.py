"""The scores of a restoration over time: those of each frame so far, and which frame is scored next.

Every value is kept under the state of the images it was computed from: a frame is not scored twice, and it is scored
again when its pixels change.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_care_losses.evaluation.frame_scores import (
    CONTRADICTIONS,
    COVERAGE,
    INPUT,
    INTERVAL,
    LEVELS,
    LIMIT,
    MEANS,
    RESTORED,
    STRUCTURE,
    About,
    Comparison,
    Contradicted,
    Key,
    Problem,
    ScoredStack,
)
from napari_care_losses.evaluation.metrics import METRICS, GreyLevels
from napari_care_losses.evaluation.without_truth.residual import flicker
from napari_care_losses.evaluation.without_truth.single_image import SINGLE_IMAGE_METRICS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from napari_care_losses.evaluation.truth_limit import TruthLimit
    from napari_care_losses.evaluation.uncertainty import Coverage

FEWEST_FOR_FLICKER = 3
"""Consecutive frames needed to distinguish flicker from a trend."""


@dataclass
class FrameScores:
    """The scores of one frame so far."""

    scores: dict[str, dict[str, float]] = field(default_factory=dict)
    """By image (`INPUT`, `RESTORED`), the entries of `METRICS`, or of `SINGLE_IMAGE_METRICS` without a truth."""
    levels: GreyLevels | None = None
    coverage: dict[float, float] = field(default_factory=dict)
    limit: TruthLimit | None = None
    interval: Coverage | None = None
    structure_left: float | None = None
    contradictions: Contradicted | None = None
    about: set[tuple[str, str]] = field(default_factory=set)
    """Image and name of the scores that are those of a part of the frame: the exact ones are to come."""
    problem: str = ""
    """Why values are missing; empty if none is, or if they are still to come."""


class ScoresOverTime:
    """The scores of every frame of a restoration so far; used from one thread."""

    def __init__(self) -> None:
        self.comparison: Comparison | None = None
        # frames of the restored stack that are there
        self.done: set[int] = set()
        self._known: dict[Key, Any] = {}
        self._about: dict[Key, float] = {}
        self._complete: set[int] = set()

    def compare(self, comparison: Comparison | None, done: set[int]) -> None:
        """Set what is compared and which frames of the restored stack are there; values already known are kept."""
        if comparison != self.comparison:
            self._complete.clear()
        self.comparison = comparison
        self._complete -= done ^ self.done
        self.done = set(done)

    def renew(self, index: int) -> None:
        """Record that a frame has been restored, for the first time or again."""
        comparison = self.comparison
        stacks = () if comparison is None else (comparison.restored, comparison.uncertainty, *(comparison.ends or ()))
        for stack in stacks:
            if stack is not None:
                stack.renew(index)
        self.done.add(index)
        self._complete.discard(index)

    def forget(self, stack: ScoredStack) -> None:
        """Drop all values computed from a stack."""
        self._known = {
            key: value for key, value in self._known.items() if not any(stack.owns(state) for state in key.states)
        }
        self._about.clear()
        self._complete.clear()

    def missing(self, index: int) -> list[Key]:
        """Return the values of a frame that are wanted and not known."""
        return [key for key in self._wanted(index) if key not in self._known]

    def next_index(self, shown: int, line: range) -> int | None:
        """Return which frame is to be scored: the shown one, then restored ones outward from it.

        Frames of `line`, those of the shown plane and channel, come before others.
        """
        if shown not in self._complete and self.missing(shown):
            return shown
        for index in sorted(self.done - self._complete, key=lambda index: (index not in line, abs(index - shown))):
            if self.missing(index):
                return index
            self._complete.add(index)
        return None

    def add(self, key: Key, value: Any) -> None:
        """Keep a value, the `Problem` in its place, or what it is about until it is known."""
        if isinstance(value, About):
            # of the frame that is waited for alone
            self._about = {old: about for old, about in self._about.items() if old.frame == key.frame}
            self._about[key] = value.value
            return
        self._known[key] = value
        self._about.pop(key, None)

    def is_about_known(self, index: int) -> bool:
        """Return whether all scores of a frame against its truth are known, some of them not exactly."""
        missing = {key for key in self.missing(index) if key.kind in METRICS}
        return bool(missing) and missing <= self._about.keys()

    def frame(self, index: int) -> FrameScores:
        """Return the scores of a frame so far."""
        result = FrameScores()
        for key in self._wanted(index):
            value = self._known.get(key)
            if isinstance(value, Problem):
                result.problem = result.problem or value.text
            elif value is None and key in self._about:
                result.scores.setdefault(key.row, {})[key.kind] = self._about[key]
                result.about.add((key.row, key.kind))
            elif value is None:
                continue
            elif key.kind in METRICS or key.kind in SINGLE_IMAGE_METRICS:
                result.scores.setdefault(key.row, {})[key.kind] = value
            elif key.kind == LEVELS:
                result.levels = value
            elif key.kind == COVERAGE:
                result.coverage = value
            elif key.kind == LIMIT:
                result.limit = value
            elif key.kind == INTERVAL:
                result.interval = value
            elif key.kind == STRUCTURE:
                result.structure_left = value
            elif key.kind == CONTRADICTIONS:
                result.contradictions = value
        return result

    def series(self, kind: str, row: str, line: Sequence[int]) -> NDArray[np.float64]:
        """Return one value of the frames of a line (N,) for a plot, NaN where it is not known.

        `kind` is a name in `METRICS` or `SINGLE_IMAGE_METRICS`, `STRUCTURE` or `MEANS` (the mean over the frame); `row`
        is `INPUT` or `RESTORED`.
        """
        values = (self._value(kind, row, index) for index in line)
        if kind == MEANS:
            values = (None if value is None else value.mean() for value in values)
        plotted = np.array([math.nan if value is None else value for value in values], np.float64)
        plotted[~np.isfinite(plotted)] = math.nan
        return plotted

    def flicker(self, line: Sequence[int]) -> float | None:
        """Return the flicker in the longest run of known frames of a line in time.

        It is that of `napari_care_losses.evaluation.without_truth.residual.flicker`; None for fewer than three
        consecutive frames.
        """
        means = [[self._value(MEANS, row, index) for row in (INPUT, RESTORED)] for index in line]
        run = _longest_run([all(value is not None for value in pair) for pair in means])
        if len(run) < FEWEST_FOR_FLICKER:
            return None
        of_input, of_restored = (np.stack([means[step][column] for step in run]) for column in (0, 1))
        return flicker(of_input, of_restored)

    def _value(self, kind: str, row: str, index: int) -> Any:
        key = self._key(kind, row, index)
        value = None if key is None else self._known.get(key)
        return None if isinstance(value, Problem) else value

    def _wanted(self, index: int) -> list[Key]:
        comparison, is_there = self.comparison, index in self.done
        if comparison is None:
            return []
        if comparison.truth is not None:
            kinds = [(name, INPUT) for name in comparison.metrics]
            if is_there:
                kinds += [(name, RESTORED) for name in (*comparison.metrics, LEVELS, COVERAGE, INTERVAL)]
                kinds.append((LIMIT, INPUT))
        else:
            single = [(name, row) for name in SINGLE_IMAGE_METRICS for row in (INPUT, RESTORED)]
            kinds = [(STRUCTURE, RESTORED), (MEANS, INPUT), (MEANS, RESTORED), *single] if is_there else []
        if is_there:
            kinds.append((CONTRADICTIONS, RESTORED))
        keys = (self._key(kind, row, index) for kind, row in kinds)
        return [key for key in keys if key is not None]

    def _key(self, kind: str, row: str, index: int) -> Key | None:
        comparison = self.comparison
        if comparison is None:
            return None
        stacks = [comparison.stack(row)]
        if kind in METRICS or kind in (LEVELS, COVERAGE, INTERVAL, LIMIT):
            stacks.append(comparison.truth)
        if kind == COVERAGE:
            stacks.append(comparison.uncertainty)
        if kind == INTERVAL:
            stacks += comparison.ends or (None,)
        if kind in (STRUCTURE, CONTRADICTIONS):
            stacks.append(comparison.input)
        states = tuple(stack.state(index) for stack in stacks if stack is not None)
        if len(states) < len(stacks) or (row == RESTORED and index not in self.done):
            return None
        return Key(kind, row, index, states, comparison.aligned and (kind in METRICS or kind in (COVERAGE, INTERVAL)))


def _longest_run(is_known: Sequence[bool]) -> range:
    best = range(0)
    start = 0
    for step, known in enumerate([*is_known, False]):
        if not known:
            if step - start > len(best):
                best = range(start, step)
            start = step + 1
    return best
