"""Restores layers one after the other, frame by frame, into layers of their own."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, NamedTuple

from qtpy.QtCore import QObject, Signal

from napari_care_losses.errors import CareError
from napari_care_losses.restoration.engines.choose import libraries
from napari_care_losses.widgets.background.worker import Job, Outcome
from napari_care_losses.widgets.layers.conversion import shown_index
from napari_care_losses.widgets.layers.filling import (
    Filled,
    Plan,
    hand_over,
    is_current,
    release,
    restore_into_stacks,
    result_of,
    show_done,
    show_stacks,
)
from napari_care_losses.widgets.restore.shown_result import outcome_text, progress_text
from napari_care_losses.widgets.shared.run_bar import Clock, duration

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari.components import ViewerModel
    from qtpy.QtWidgets import QWidget

    from napari_care_losses.widgets.restore.shown_result import Chosen

REMOVED = "Not restored: the layer was removed."


class _End(NamedTuple):
    """How the restoration of a layer ended."""

    name: str
    is_done: bool
    text: str
    is_plain: bool = False
    """Whether there is nothing more to say than that it is done."""


class Restoration(QObject):
    """Restores layers in the background; one that fails does not stop the others.

    Parameters
    ----------
    viewer : ViewerModel
        Where results are shown.
    parent : QWidget
        When it is destroyed, the work stops.
    """

    said = Signal(str)
    """What the run does, or how it ended."""

    progressed = Signal(float)
    """The part that is done, 0 to 1; below 0 where that is not known yet."""

    frame_shown = Signal(int)
    """This frame of the layer that is being restored is there, and shown."""

    changed = Signal()
    """The restoration of a layer has begun, is being stopped or has ended."""

    def __init__(self, viewer: ViewerModel, *, parent: QWidget) -> None:
        super().__init__(parent)
        self._viewer = viewer
        self.plan: Plan | None = None
        """That of the layer that is being restored."""
        self._waiting: deque[Chosen] = deque()
        self._count = 0
        self._ends: list[_End] = []
        self._is_shown = self._is_cancelled = False
        self._beside: Sequence[str] = ()
        self._job = Job(parent=self, libraries=self._libraries, gives_way=True)
        self._job.reported.connect(self._on_report)
        self._job.failed.connect(self._on_failed)
        self._job.finished.connect(self._on_finished)

    @property
    def is_running(self) -> bool:
        """Whether a layer is being restored."""
        return self._job.is_running

    @property
    def is_stopping(self) -> bool:
        """Whether the work was asked to stop and has not ended yet."""
        return self._job.is_stopping

    @property
    def shown_plan(self) -> Plan | None:
        """The plan, once frames of it are shown."""
        return self.plan if self._is_shown else None

    def start(self, chosen: Sequence[Chosen], beside: Sequence[str]) -> None:
        """Restore what is chosen of each layer, one layer after the other, with kinds of layers beside."""
        self._waiting, self._count, self._ends = deque(chosen), len(chosen), []
        self._is_cancelled, self._beside, self._whole_clock = False, beside, Clock()
        self.progressed.emit(-1)
        self.said.emit("Starting…")
        self._begin_next()
        self.changed.emit()

    def stop(self) -> None:
        """Stop for all layers; the frames restored so far stay."""
        self.close()
        self.said.emit("Stopping…")
        self.changed.emit()

    def close(self) -> None:
        """Stop, and say nothing of it."""
        self._is_cancelled = True
        self._job.stop()

    def _libraries(self) -> tuple[str, ...]:
        assert self.plan is not None
        return libraries(self.plan.parameters.engine, self.plan.entry.card.architecture)

    def look(self) -> None:
        """Follow the viewer: frames nearest to the shown one come next, and a layer that is gone or changed ends."""
        plan = self.plan
        if plan is None:
            return
        is_gone = plan.source not in self._viewer.layers or (self._is_shown and result_of(self._viewer, plan) is None)
        if is_gone or not is_current(plan):
            self._job.stop()
        else:
            plan.order.shown = shown_index(plan.source, self._viewer.dims)

    def _begin_next(self) -> None:
        """Begin with the next layer that is still there, or end."""
        while self._waiting and not self._is_cancelled:
            chosen = self._waiting.popleft()
            name = chosen.source.name
            if chosen.source not in self._viewer.layers:
                self._ends.append(_End(name, is_done=False, text=REMOVED))
                continue
            try:
                plan = chosen.plan(self._beside)
            except CareError as error:
                self._ends.append(_End(name, is_done=False, text=f"Failed: {error}"))
                continue
            self._run(plan)
            return
        self.said.emit(self._end_text())

    def _run(self, plan: Plan) -> None:
        self.plan = plan
        self._is_shown, self._clock = False, Clock()
        self._note = self._failure = self._error = ""
        self._done = 0
        self._job.start(
            lambda: restore_into_stacks(plan),
            title=f"Restoring {plan.source.name}",
            fraction=lambda filled: filled.done / filled.total,
        )

    def _on_report(self, filled: Filled) -> None:
        plan = self.plan
        if plan is None:
            return
        if not is_current(plan):
            self._job.stop()
            self.changed.emit()
            return
        if filled.sampled is not None or not filled.done:
            self._clock = Clock()
        else:
            self._note = filled.note
            self.progressed.emit((len(self._ends) + filled.done / filled.total) / self._count)
        if filled.frame_index is not None:
            self._show_frame(filled, filled.frame_index, plan)
        which = f"Layer {len(self._ends) + 1} of {self._count}, {plan.source.name}: " if self._count > 1 else ""
        self.said.emit(which + progress_text(plan, filled, self._clock, self._done))

    def _show_frame(self, filled: Filled, index: int, plan: Plan) -> None:
        if not self._is_shown:
            selected = set(self._viewer.layers.selection)
            try:
                show_stacks(self._viewer, plan, filled)
            except Exception as error:
                self._failure = f"Failed: the result cannot be shown ({error})."
                self._job.stop()
                raise
            self._is_shown = True
            if self._count > 1:
                # what was selected to be restored stays selected, also for another run
                self._viewer.layers.selection = selected
        self._done += 1
        if index == shown_index(plan.source, self._viewer.dims) or self._viewer.dims.ndisplay > 2:
            show_done(self._viewer, plan)
        self.frame_shown.emit(index)

    def _on_failed(self, error: Exception) -> None:
        self._error = f"Failed: {error}"

    def _on_finished(self, outcome: Outcome) -> None:
        plan, self.plan = self.plan, None
        assert plan is not None
        hand_over(self._viewer, plan, is_finished=outcome is Outcome.DONE)
        # the last frame may have come after the last report
        result = result_of(self._viewer, plan) if self._is_shown or plan.stacks else None
        text = self._failure or outcome_text(plan, outcome, result, self._clock, self._note) or self._error
        is_done = outcome is Outcome.DONE and is_current(plan) and not self._failure
        self._ends.append(_End(plan.source.name, is_done, text, is_plain=is_done and not self._note))
        if not is_current(plan):
            release(self._viewer, plan)
        self._begin_next()
        self.changed.emit()

    def _end_text(self) -> str:
        """Return how the run ended: of one layer in full, of several in sum and what is to be known of each."""
        if self._count == 1:
            return self._ends[0].text
        done = sum(end.is_done for end in self._ends)
        if self._is_cancelled:
            first = f"Cancelled: {done} of {self._count} layers are restored."
        else:
            layers = f"{self._count} layers" if done == self._count else f"{done} of {self._count} layers"
            first = f"Restored {layers} in {duration(self._whole_clock.seconds)}."
        lines = [f"{'•' if end.is_done else '✗'} {end.name}: {end.text}" for end in self._ends if not end.is_plain]
        return "\n".join([first, *lines])
