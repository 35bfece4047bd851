"""Scores frames in the background: the shown one at once, the other restored ones in between."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from qtpy.QtCore import QObject, Signal

from napari_care_losses.errors import InputError
from napari_care_losses.evaluation.frame_scores import (
    COVERAGE,
    INTERVAL,
    LEVELS,
    MEANS,
    STRUCTURE,
    Comparison,
    Problem,
    ScoredStack,
    score_frame,
)
from napari_care_losses.evaluation.metrics import METRICS
from napari_care_losses.evaluation.scores_over_time import ScoresOverTime
from napari_care_losses.images.axes import truth_of
from napari_care_losses.images.selection import part_of
from napari_care_losses.widgets.background.threads import attention, thread_pool
from napari_care_losses.widgets.background.worker import Job
from napari_care_losses.widgets.layers.conversion import layer_frames, pixels_of
from napari_care_losses.widgets.layers.restored_layers import region_of
from napari_care_losses.widgets.shared.events import SingleShot

if TYPE_CHECKING:
    from napari.layers import Image

    from napari_care_losses.evaluation.frame_scores import Key
    from napari_care_losses.images.frames import Frames
    from napari_care_losses.images.regions import Region


AT_ONCE = {*METRICS, STRUCTURE, MEANS, LEVELS, COVERAGE, INTERVAL}
"""Scores of the shown frame that do not wait until nobody uses the viewer."""

LOOK_AGAIN_MS = 200
"""How long others wait until they look whether they may begin."""


class BackgroundScores(QObject):
    """Scores one frame after the other, until its parent is destroyed."""

    scored = Signal(int)
    """A score of this frame has come in."""

    data_changed = Signal(object)
    """This layer, one of those compared, has other data; its scores are dropped."""

    def __init__(self, *, parent: QObject) -> None:
        super().__init__(parent)
        self.timeline = ScoresOverTime()
        """The scores so far."""
        self._index = 0
        self._line = range(1)
        self._stacks: WeakKeyDictionary[Image, ScoredStack] = WeakKeyDictionary()
        self._known: WeakKeyDictionary[Image, tuple[Any, ...]] = WeakKeyDictionary()
        """What the stack of a layer was made of: pixels, axes, the axes and shape it is seen in, and which part."""
        self._running: tuple[Comparison, list[Key]] | None = None
        self._has_failed = self.is_stopped = False
        self._job = Job(parent=self)
        self._job.reported.connect(self._on_reported)
        self._job.failed.connect(self._on_failed)
        self._job.finished.connect(self._on_finished)
        # A viewer that closes removes its layers one by one first: work starts after that.
        self._starting = SingleShot(self, 0, self._advance)

    @property
    def is_scoring(self) -> bool:
        """Whether scores of the shown frame are missing: those against the truth, or the structure left."""
        first = {*METRICS, STRUCTURE}
        return not self.is_stopped and any(key.kind in first for key in self.timeline.missing(self._index))

    @property
    def is_running(self) -> bool:
        """Whether any frame is being scored."""
        return self._job.is_running or self._starting.isActive()

    def comparison(
        self,
        source: Image,
        restored: Image | None,
        truth: Image | None,
        uncertainty: Image | None,
        ends: tuple[Image, Image] | None,
        *,
        aligned: bool,
        metrics: tuple[str, ...],
    ) -> Comparison:
        """Return what compares some layers; equal as long as their data are the same.

        Where a part of the frames was restored, it is compared with that part.

        Raises
        ------
        InputError
            If the layers cannot be compared.
        """
        if truth is source:
            raise InputError("Ground truth and input are the same layer: choose the long exposure as ground truth.")
        whole, region = layer_frames(source), region_of(restored)
        of_input = self._stack(source, region=region)
        of_truth = None if truth is None else self._stack(truth, whole, region)
        of_result, of_uncertainty = (None if layer is None else self._stack(layer) for layer in (restored, uncertainty))
        if truth is not None and of_truth is not None and of_truth.frames.shape != of_input.frames.shape:
            found = truth_of(layer_frames(truth), whole)
            raise InputError(
                f"The ground truth is {_size(found)}, the input {_size(whole)}: they must show the same frames."
            )
        of_ends = None if ends is None else (self._stack(ends[0]), self._stack(ends[1]))
        return Comparison(of_input, of_result, of_truth, of_uncertainty, of_ends, aligned=aligned, metrics=metrics)

    def start(self, comparison: Comparison | None, index: int, line: range, done: set[int]) -> None:
        """Score frame `index`, then those of `line`, then all others that are done; drop earlier requests."""
        if comparison != self.timeline.comparison:
            self._has_failed = False
        self._index, self._line = index, line
        self.timeline.compare(comparison, done)
        if self._running is not None or self.timeline.next_index(index, line) is not None:
            self._starting.start()

    def stop(self) -> None:
        """Stop for good."""
        self.is_stopped = True
        self._job.stop()

    def forget(self, layer: Image) -> None:
        """Drop the scores of a layer."""
        stack = self._stacks.pop(layer, None)
        self._known.pop(layer, None)
        if stack is not None:
            self.timeline.forget(stack)

    def _stack(self, layer: Image, scored: Frames | None = None, region: Region | None = None) -> ScoredStack:
        """Return the stack of a layer, or of the truth of another stack, or of a part of it."""
        frames, stack = layer_frames(layer), self._stacks.get(layer)
        shape = frames.shape if scored is None else scored.shape
        axes = frames.axes if scored is None else scored.axes
        known = pixels_of(frames.data), frames.axes, axes, shape, region
        before = self._known.get(layer)
        if stack is None or before is None or before[0] is not known[0] or before[1:] != known[1:]:
            self.forget(layer)
            seen = frames if scored is None else truth_of(frames, scored)
            is_part = region is not None and seen.frame_shape == shape[-2:]
            stack = self._stacks[layer] = ScoredStack(part_of(seen, region) if is_part else seen)
            self._known[layer] = known
            layer.events.data.connect(self._on_data)
        return stack

    def _advance(self) -> None:
        comparison, index = self.timeline.comparison, self._index
        if self._running is not None:
            under_way, keys = self._running
            if under_way != comparison or (keys[0].frame != index and self.timeline.missing(index)):
                self._job.stop()
            return
        following = None if self.is_stopped else self.timeline.next_index(index, self._line)
        # after an unexpected error, only the frame that the user looks at is tried
        if comparison is None or following is None or (self._has_failed and following != index):
            return
        keys = self.timeline.missing(following)
        if attention(thread_pool()).is_given:
            # beside long work, while somebody uses the viewer: what is looked at, and no more
            keys = [key for key in keys if following == index and key.kind in AT_ONCE]
            if not keys:
                self._starting.start(LOOK_AGAIN_MS)
                return
        self._running = comparison, keys
        self._job.start(lambda: score_frame(comparison, keys, is_awaited=following == index))

    def _on_reported(self, report: tuple[Key, Any]) -> None:
        key, score = report
        self.timeline.add(key, score)
        self.scored.emit(key.frame)

    def _on_failed(self, error: Exception) -> None:
        self._has_failed = True
        for key in self._running[1] if self._running is not None else ():
            self.timeline.add(key, Problem(f"This frame could not be scored: {error}"))
            self.scored.emit(key.frame)

    def _on_finished(self) -> None:
        self._running = None
        self._advance()

    def _on_data(self, event: Any) -> None:
        if event.source in self._stacks:
            self.forget(event.source)
            self.data_changed.emit(event.source)


def _size(frames: Frames) -> str:
    return " x ".join(map(str, frames.shape))
