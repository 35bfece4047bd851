"""The Restore widget: a layer, a model, a button; frames appear as they are restored."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtWidgets import QCheckBox, QWidget

from napari_care_losses.core.errors import InputError
from napari_care_losses.core.restoration_parameters import RestorationParameters
from napari_care_losses.widgets.form import ParameterForm, make_rows, tooltip
from napari_care_losses.widgets.layer_chooser import LayerChooser
from napari_care_losses.widgets.layers import layer_frames, shown_first, shown_index
from napari_care_losses.widgets.model_chooser import ModelChooser
from napari_care_losses.widgets.panel import Panel
from napari_care_losses.widgets.results import (
    RESTORED,
    UNCERTAINTY,
    Filled,
    find_result,
    frames_done,
    mark_done,
    restore_into_arrays,
    show_arrays,
)
from napari_care_losses.widgets.run_bar import Clock, RunBar, duration
from napari_care_losses.widgets.score_panel import ScorePanel
from napari_care_losses.widgets.worker import CloseGuard, Job, Outcome

if TYPE_CHECKING:
    import napari.viewer
    from napari.layers import Image

    from napari_care_losses.core.library import LibraryEntry

WORDS = {
    "normalization": {"frame": "of each frame", "stack": "of the whole stack"},
    "low_band": {"auto": "as the model needs", "tied": "from the input", "plain": "from the model"},
    "engine": {"auto": "automatic", "torch": "torch", "openvino": "OpenVINO", "openvino-int8": "OpenVINO, 8 bits"},
}


class RestoreWidget(Panel):
    """Restores an image layer with a model of the library.

    Parameters
    ----------
    napari_viewer : napari.viewer.Viewer
        The viewer.
    parent : QWidget, optional
        Parent widget.
    """

    def __init__(self, napari_viewer: napari.viewer.Viewer, *, parent: QWidget | None = None) -> None:
        super().__init__(parent=parent)
        self._viewer = napari_viewer
        self._running: tuple[Image, LibraryEntry] | None = None
        self._is_shown = False
        self._count = self._done = 0
        self._note = ""
        self._clock = Clock()
        self._job = Job(parent=self)
        self._build()
        self._connect()
        self._update()

    @property
    def is_running(self) -> bool:
        """Whether a restoration is under way."""
        return self._job.is_running

    def _build(self) -> None:
        self.image = LayerChooser(self._viewer)
        self.image.setToolTip(tooltip("The noisy image or stack to restore."))
        self.model = ModelChooser(follows=lambda: not self._job.is_running)
        self.model.setToolTip(tooltip("What restores it: choose a model trained on images like yours."))
        self.form = ParameterForm(RestorationParameters, words=WORDS)
        self.uncertainty = QCheckBox("Also add the uncertainty")
        self.run_bar = RunBar(
            "Restore",
            "Cancel",
            start_help="Restore every frame, the shown one first. The result is a new layer; the input stays as it is.",
            stop_help="Stop; the frames restored so far stay.",
        )
        self.scores = ScorePanel(self._viewer)
        rows = make_rows()
        rows.addRow("Image", self.image)
        rows.addRow("Model", self.model)
        self.body.addLayout(rows)
        for widget in (self.form, self.uncertainty, self.scores):
            self.body.addWidget(widget)
        self.line_up(rows, self.form.rows)
        self.body.addStretch(1)
        self.foot.addWidget(self.run_bar)

    def _connect(self) -> None:
        self.image.changed.connect(self._update)
        self.model.changed.connect(self._update)
        self.run_bar.started.connect(self._start)
        self.run_bar.stopped.connect(self._stop)
        self._job.reported.connect(self._on_report)
        self._job.failed.connect(lambda error: self.run_bar.say(f"Failed: {error}"))
        self._job.finished.connect(self._on_finished)
        CloseGuard(self).closed.connect(self._job.stop)
        self._viewer.dims.events.current_step.connect(self._follow_slider)
        self._viewer.layers.events.removed.connect(self._on_removed)

    def _problem(self) -> str:
        """Return why nothing can be restored; empty if it can."""
        layer = self.image.layer()
        if layer is None:
            return "Open an image first; File > Open Sample > CARE Losses has some to try."
        if problem := _layer_problem(layer):
            return problem
        if self.model.entry() is None:
            return (
                self.model.problem or "There is no model yet: train one (Plugins > CARE Losses > Train), or open one."
            )
        return ""

    def _update(self) -> None:
        entry = self.model.entry()
        can_tell = entry is not None and entry.card.architecture.predicts_scale
        self.uncertainty.setEnabled(can_tell)
        self.uncertainty.setToolTip(
            tooltip(
                "A second layer with the expected error of every pixel, in grey levels (the scale of a Laplace "
                "distribution: half the true values lie within 0.69 of it)."
                if can_tell
                else "Only models trained with the Laplace loss know how uncertain they are."
            )
        )
        self.run_bar.set_state(
            is_running=self._job.is_running,
            is_stopping=self._job.is_stopping,
            reason="" if self._job.is_running else self._problem(),
        )
        self._follow_slider()

    def _start(self) -> None:
        layer, entry = self.image.layer(), self.model.entry()
        if layer is None or entry is None or self._job.is_running:
            return
        frames, parameters = layer_frames(layer), self.form.value()
        indices = shown_first(shown_index(layer, self._viewer.dims), len(frames))
        with_uncertainty = self.uncertainty.isEnabled() and self.uncertainty.isChecked()
        self._running, self._is_shown, self._clock = (layer, entry), False, Clock()
        self._count, self._done, self._note = len(frames), 0, ""
        self.run_bar.show_progress(-1)
        self.run_bar.say("Starting…")
        self._job.start(
            lambda: restore_into_arrays(frames, entry, parameters, indices=indices, with_uncertainty=with_uncertainty)
        )
        self._update()

    def _stop(self) -> None:
        self._job.stop()
        self.run_bar.say("Stopping…")
        self._update()

    def _on_report(self, filled: Filled) -> None:
        if self._running is None:
            return
        self._note = filled.note
        self.run_bar.show_progress(filled.done / filled.total)
        if filled.frame_index is not None:
            self._show_frame(filled, *self._running)
        parts = [f"{self._done} of {self._count} frames"] if self._count > 1 else []
        parts += [f"tile {filled.done} of {filled.total}"] if filled.total > self._count else []
        parts += [f"{duration(self._clock.seconds_left(filled.done, filled.total))} left"]
        self.run_bar.say(", ".join(parts))

    def _show_frame(self, filled: Filled, layer: Image, entry: LibraryEntry) -> None:
        if not self._is_shown:
            self._is_shown = True
            show_arrays(self._viewer, layer, entry, filled)
        is_shown = self._viewer.dims.ndisplay > 2 or filled.frame_index == shown_index(layer, self._viewer.dims)
        mark_done(self._viewer, layer, entry, filled, is_shown=is_shown)
        self._done += 1
        if is_shown:
            self._follow_slider()

    def _on_finished(self, outcome: Outcome) -> None:
        self._running = None
        count = f"{self._count} frame{'s' if self._count > 1 else ''}"
        if outcome is Outcome.DONE:
            self.run_bar.say(f"Restored {count} in {duration(self._clock.seconds)}. {self._note}".rstrip())
        elif outcome is Outcome.STOPPED:
            self.run_bar.say(f"Cancelled: {self._done} of {count} are restored.")
        self._update()

    def _follow_slider(self, _event: object = None) -> None:
        layer, entry = self.image.layer(), self.model.entry()
        if layer is None or _layer_problem(layer):
            self.scores.show_frame(None, None, 0)
            return
        index = shown_index(layer, self._viewer.dims)
        restored = None if entry is None else find_result(self._viewer, layer, entry)
        is_there = restored is not None and index in frames_done(restored)
        self.scores.show_frame(layer, restored if is_there else None, index)

    def _on_removed(self, event: object) -> None:
        if self._running is None:
            return
        layer, entry = self._running
        results = [find_result(self._viewer, layer, entry, kind) for kind in (RESTORED, UNCERTAINTY)]
        if layer not in self._viewer.layers or (self._is_shown and results[0] is None):
            self._stop()


def _layer_problem(layer: Image) -> str:
    """Return why a layer cannot be restored; empty if it can."""
    try:
        layer_frames(layer)
    except InputError as error:
        return str(error)
    return ""
