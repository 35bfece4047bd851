"""Adapts the chosen model to the shown stack in one click, and shows before and after in the preview."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QButtonGroup, QHBoxLayout, QPushButton, QVBoxLayout, QWidget

from napari_care_losses.errors import CareError
from napari_care_losses.models.program import Program
from napari_care_losses.restoration.engines.choose import libraries
from napari_care_losses.training.progress import Preparing, Step
from napari_care_losses.widgets.background.worker import LatestJob, Outcome
from napari_care_losses.widgets.restore.adapt.work import Adaptation, Estimates, estimated
from napari_care_losses.widgets.restore.panels.job_panel import JobPanel
from napari_care_losses.widgets.shared.closing import CloseGuard
from napari_care_losses.widgets.shared.events import Links
from napari_care_losses.widgets.shared.form import tooltip
from napari_care_losses.widgets.shared.layout import arrange, push_button
from napari_care_losses.widgets.shared.run_bar import duration, show_text, text_line

if TYPE_CHECKING:
    from napari.components import ViewerModel
    from napari.layers import Image

    from napari_care_losses.images.frames import Frames
    from napari_care_losses.models.library import LibraryEntry
    from napari_care_losses.restoration.parameters import RestorationParameters

START_HELP = (
    "Train the chosen model further on this noisy stack alone, for about two minutes. It needs no clean images. The "
    "result is shown in the preview before it is kept."
)
STOP_HELP = "Stop now; the best model so far is shown and can be kept."
BEFORE_HELP, AFTER_HELP = "Preview the chosen model, as it is.", "Preview the model adapted to this stack."
KEEP_HELP = "Put the adapted model into your library and choose it above."
DISCARD_HELP = "Delete the adapted model."
ESTIMATE_HELP = (
    "How close the shown frame comes to the truth with each model, estimated without one; in most images the true "
    "value lies in the interval. The difference is surer than either, for both are estimated from the same noise. A "
    "detail that was invented or lost hardly changes the estimate: look at both."
)
PENDING = "Keep or discard the adapted model first."


class AdaptPanel(JobPanel):
    """Trains the chosen model further on the shown stack; then before and after can be compared, kept or discarded."""

    changed = Signal()
    """Another model is to be previewed."""

    kept = Signal(str)
    """The name of a model that was added to the library."""

    def __init__(self, viewer: ViewerModel) -> None:
        super().__init__(
            "Adapt to this stack", start_help=START_HELP, stop_help=STOP_HELP, failed="The model is as it was"
        )
        self._shown: tuple[Image, Frames, int, LibraryEntry, RestorationParameters] | None = None
        self._obstacle = ""
        self._adaptation: Adaptation | None = None
        self._running: Adaptation | None = None
        self._result: LibraryEntry | None = None
        self._asked: tuple[Any, ...] | None = None
        self._is_closed = False
        self._job.reported.connect(self._on_report)
        self._estimates = LatestJob(parent=self, delay_ms=300, libraries=libraries)
        self._estimates.reported.connect(self._show_estimates)
        self._build()
        self._links = Links()
        self._links.add(viewer.layers.events.removed, self._on_removed)
        CloseGuard(self).closed.connect(self.close_for_good)
        self.setVisible(False)

    @property
    def has_result(self) -> bool:
        """Whether there is an adapted model to keep or to discard."""
        return self._result is not None

    @property
    def is_estimating(self) -> bool:
        """Whether a PSNR is being estimated."""
        return self._estimates.is_running

    def show_source(
        self,
        layer: Image | None,
        frames: Frames | None,
        index: int,
        entry: LibraryEntry | None,
        parameters: RestorationParameters | None,
        *,
        obstacle: str = "",
    ) -> None:
        """Set what would be adapted to what; `obstacle` says why it must not be begun now."""
        is_there = layer is not None and frames is not None and entry is not None and parameters is not None
        before = self._shown
        self._shown = (layer, frames, index, entry, parameters) if is_there else None
        self._obstacle = obstacle
        self.setVisible(is_there or self.is_running or self.has_result)
        if before is not None and before[3] != entry:
            # another model is looked at
            self.before.setChecked(True)
        if before is not None and (before[0], before[3]) != (layer, entry) and not (self.is_running or self.has_result):
            self.run_bar.say("")
        self._update()
        self._follow()

    def previewed(self, entry: LibraryEntry | None) -> LibraryEntry | None:
        """Return the model to preview: the adapted one where that is asked for, else the one given."""
        return self._result if self.shows_after else entry

    @property
    def shows_after(self) -> bool:
        """Whether the adapted model is to be previewed."""
        return self._is_of_shown and self.after.isChecked()

    def close_for_good(self) -> None:
        """Stop, and leave nothing behind."""
        if not self._is_closed:
            self._is_closed = True
            self._links.cut()
            self._drop()

    @property
    def _is_of_shown(self) -> bool:
        """Whether there is an adapted model of the shown layer."""
        is_there = self._result is not None and self._adaptation is not None and self._shown is not None
        return is_there and self._adaptation.layer is self._shown[0]

    def _build(self) -> None:
        self.before, self.after = (
            QPushButton(text, checkable=True, toolTip=tooltip(help))
            for text, help in (("Before", BEFORE_HELP), ("After", AFTER_HELP))
        )
        sides = QButtonGroup(self)
        for button in (self.before, self.after):
            sides.addButton(button)
        self.before.setChecked(True)
        self.estimate = text_line(ESTIMATE_HELP)
        self.keep = push_button("Keep", KEEP_HELP, self._keep)
        self.discard = push_button("Discard", DISCARD_HELP, self._discard)
        self.comparison = QWidget()
        rows = (self.before, self.after), (self.keep, self.discard)
        switch, ends = (arrange(QHBoxLayout(), *row, growing=row) for row in rows)
        arrange(QVBoxLayout(self.comparison), switch, self.estimate, ends)
        self.layout().addWidget(self.comparison)
        sides.buttonToggled.connect(lambda _, is_on: self.changed.emit() if is_on else None)

    def _update(self) -> None:
        super()._update()
        if self._shown is not None:
            what = "stack" if len(self._shown[1]) > 1 else "image"
            self.run_bar.start_button.setText(f"Adapt to this {what}")
        self.comparison.setVisible(self.has_result)
        for button in (self.before, self.after):
            button.setEnabled(self._is_of_shown)

    def _problem(self) -> str:
        if self._shown is None or self.has_result:
            return PENDING if self.has_result else "Choose an image and a model."
        if isinstance(self._shown[3].card.architecture, Program):
            return "This model is a program of another tool, which cannot be adapted: choose another one."
        return self._obstacle

    def _start(self) -> None:
        assert self._shown is not None
        layer, frames, index, entry, _ = self._shown
        try:
            adaptation = self._adaptation = self._running = Adaptation(layer, entry, frames, index)
        except (CareError, OSError) as error:
            self.run_bar.say(f"The model is as it was: {error}")
            return
        self._what = f"{entry.path.stem} to {layer.name}"
        channels = frames.leading_shape[frames.axes.index("C")] if "C" in frames.axes else 1
        if channels > 1:
            self._what += f" (channel {frames.channel(index)} alone)"
        self.run_bar.say("Reading the frames…")
        self._job.start(adaptation.run, title=f"Adapting {self._what}", fraction=_fraction)

    def _on_report(self, report: object) -> None:
        if isinstance(report, Preparing):
            self.run_bar.say(f"Reading the frames, {report.done} of {report.total}")
        elif isinstance(report, Step):
            self.run_bar.show_progress(report.fraction)
            self.run_bar.say(
                f"Adapting {self._what}: step {report.step:,}, {duration(report.seconds_left)} left. You can go on "
                "working."
            )

    def _ended(self, outcome: Outcome) -> None:
        adaptation, self._running = self._running, None
        if adaptation is not self._adaptation:
            # it has been dropped, perhaps after its last step
            adaptation.remove()
            return
        self._result = None if outcome is Outcome.FAILED else adaptation.result()
        if self._result is None:
            self._drop()
            if outcome is Outcome.STOPPED:
                self.run_bar.say("Stopped before the first step: the model is as it was.")
            return
        training = self._result.card.training
        self.run_bar.say(
            f"Adapted {self._what} in {training['steps']:,} steps, from {training['pairs']} of its frames, with the "
            f"{self._result.card.loss} loss. Compare before and after on the image."
        )
        self._asked = None
        self.after.setChecked(True)
        self._follow()
        self.changed.emit()

    def _follow(self) -> None:
        """Estimate the PSNR of the shown frame before and after."""
        if self._shown is None or self._result is None:
            return
        if not self._is_of_shown:
            self._asked = None
            self._estimates.cancel()
            show_text(self.estimate, f"Choose {self._adaptation.layer.name} under Image to see it.")
            return
        _, frames, index, entry, parameters = self._shown
        asked = frames.data, index, entry.path, parameters
        if self._asked is not None and self._asked[0] is asked[0] and self._asked[1:] == asked[1:]:
            return
        self._asked = asked
        show_text(self.estimate, "Estimating the PSNR of both…")
        paths = entry.path, self._result.path
        self._estimates.request(lambda: estimated(frames, index, paths, parameters))

    def _show_estimates(self, estimates: Estimates | None) -> None:
        if estimates is not None and self.has_result:
            show_text(self.estimate, estimate_text(estimates))

    def _keep(self) -> None:
        try:
            name = self._adaptation.keep()
        except CareError as error:
            self.run_bar.say(f"Not kept: {error}")
            return
        self._drop()
        self.kept.emit(name)
        self.run_bar.say(f"{name} is in your library and chosen above: Restore uses it now.")

    def _discard(self) -> None:
        self._drop()
        self.run_bar.say("Discarded: the model is as it was.")
        self.changed.emit()

    def _drop(self) -> None:
        """Stop and forget what there is, its files too."""
        adaptation, self._adaptation, self._result = self._adaptation, None, None
        self._estimates.cancel()
        if adaptation is not None:
            adaptation.drop()
            if self._job.is_running:
                self._job.stop()
            else:
                adaptation.remove()
        if not self._is_closed:
            self.before.setChecked(True)
            self._update()

    def _on_removed(self, event: Any) -> None:
        if self._adaptation is not None and event.value is self._adaptation.layer:
            name = event.value.name
            self._drop()
            self.run_bar.say(f"The adapted model is discarded: {name} was removed.")
            self.changed.emit()


def estimate_text(estimates: Estimates) -> str:
    """Return the estimated PSNR before and after in words."""
    if estimates.problem:
        return f"{estimates.problem} Compare by eye."
    before, after = estimates.found
    words = [f"{found.psnr:.0f}\N{NO-BREAK SPACE}dB ({found.interval()})" for found in (before, after)]
    said = f"PSNR of frame {estimates.index}, estimated: before {words[0]}, after {words[1]}."
    gain, uncertainty = before.behind - after.behind, max(before.behind_uncertainty, after.behind_uncertainty)
    if abs(gain) <= uncertainty:
        return f"{said} They do not differ clearly: compare by eye."
    return f"{said} Adapting {'gains' if gain > 0 else 'loses'} about {abs(gain):.1f}\N{NO-BREAK SPACE}dB."


def _fraction(report: object) -> float | None:
    return report.fraction if isinstance(report, Step) else None
