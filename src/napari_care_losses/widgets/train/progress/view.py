"""The progress of a training: loss curve, validation image and status text."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtWidgets import QLabel, QVBoxLayout, QWidget

from napari_care_losses.training.plans.plan import Resumed
from napari_care_losses.training.progress import Epoch, Preparing, Preview, Step
from napari_care_losses.training.to_file import holds_weights_after
from napari_care_losses.widgets.shared.layout import arrange
from napari_care_losses.widgets.shared.run_bar import duration
from napari_care_losses.widgets.train.progress.loss_curve import LossCurve
from napari_care_losses.widgets.train.progress.pictures import PreviewPanels
from napari_care_losses.widgets.train.queue.queue import State

if TYPE_CHECKING:
    from napari_care_losses.widgets.train.queue.queue import QueuedTraining


class TrainingView(QWidget):
    """Shows the progress of one training, in napari's theme of a name."""

    def __init__(self, theme: str, *, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._shown: QueuedTraining | None = None
        self.title = QLabel()
        self.curve = LossCurve(theme)
        self.preview = PreviewPanels()
        arrange(QVBoxLayout(self), self.title, self.preview, self.curve)
        self.setVisible(False)

    def show_training(self, entry: QueuedTraining | None) -> None:
        """Show all of a training; None, or one that has not begun, hides the view."""
        self._shown = entry
        self.setVisible(entry is not None and (entry.state is State.RUNNING or entry.step > 0))
        if entry is not None:
            self.title.setText(f"{entry.name} ({entry.loss_title})")
            self.curve.show_training(entry.steps, entry.epochs)
            self.preview.show_preview(entry.preview)

    def take(self, entry: QueuedTraining, report: object) -> None:
        """Show a report of a training, if it is the one shown."""
        if entry is not self._shown:
            return
        if isinstance(report, Step):
            self.curve.add_step(report)
        elif isinstance(report, Epoch):
            self.curve.add_epoch(report)
        elif isinstance(report, Preview):
            self.preview.show_preview(report)
        elif isinstance(report, Resumed):
            self.show_training(entry)


def progress_text(entry: QueuedTraining, report: object) -> str | None:
    """Return a line on the progress of a training; None if a report does not change it."""
    if isinstance(report, Preparing):
        return f"{entry.name}: reading the images, {report.done} of {report.total}"
    if isinstance(report, Step):
        return (
            f"{entry.name}: step {report.step:,}, epoch {len(entry.epochs) + 1}, learning rate "
            f"{report.learning_rate:.2g}, {report.steps_per_second:.1f} steps a second, "
            f"{duration(report.seconds_left)} left"
        )
    return None


def outcome_text(entry: QueuedTraining) -> str:
    """Return a sentence on how a training ended."""
    is_saved = entry.out.is_file()
    if entry.problem:
        kept = f" The best model before that is in the library as {entry.name}." if is_saved else ""
        return f"Failed: {entry.problem}{kept}"
    if not entry.epochs and entry.can_resume:
        if holds_weights_after(entry.out, entry.step):
            kept = f"The weights so far are in the library as {entry.name}: choose it in Restore."
        elif is_saved:
            kept = f"Another model named {entry.name} in the library is unchanged."
        else:
            kept = "There is no model yet."
        return f"Stopped after {entry.step:,} steps, within the first epoch. {kept} Resume continues it."
    if not is_saved:
        return "Stopped before the first step: nothing was saved."
    best = next((epoch for epoch in reversed(entry.epochs) if epoch.is_best), None)
    text = f"Stopped after {entry.step:,} steps" if entry.state is State.STOPPED else f"Trained {entry.step:,} steps"
    text += f"; lowest validation loss {best.validation_loss:.4g} after epoch {best.epoch}" if best else ""
    text += f". The best model is in the library as {entry.name}: choose it in Restore."
    return f"{text} Resume continues it." if entry.can_resume else text
