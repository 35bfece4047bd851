"""The Train widget: trains models on pairs of images and saves them in the library."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any

from napari.utils.notifications import show_error
from qtpy.QtCore import QTimer
from qtpy.QtWidgets import QGroupBox, QSizePolicy, QVBoxLayout, QWidget

from napari_care_losses.errors import CareError, InputError
from napari_care_losses.models.library import new_model_path
from napari_care_losses.models.user_folder import library_folder
from napari_care_losses.training.parameters import TrainingParameters
from napari_care_losses.training.plans.plan import TrainingPlan
from napari_care_losses.training.progress import Preview, Step
from napari_care_losses.training.targets.registry import TARGETS
from napari_care_losses.widgets.background.imports import all_libraries
from napari_care_losses.widgets.background.preloading import Preloading
from napari_care_losses.widgets.shared.form import Rows
from napari_care_losses.widgets.shared.layout import arrange, push_button
from napari_care_losses.widgets.shared.panel import Panel
from napari_care_losses.widgets.shared.run_bar import RunBar, show_text
from napari_care_losses.widgets.train.pairs.files import files_of
from napari_care_losses.widgets.train.pairs.table import PairTable
from napari_care_losses.widgets.train.progress.patch_samples import PatchSamples
from napari_care_losses.widgets.train.progress.view import TrainingView, outcome_text, progress_text
from napari_care_losses.widgets.train.queue.queue import TrainingQueue
from napari_care_losses.widgets.train.queue.table import QueueTable
from napari_care_losses.widgets.train.settings import TrainingSettings

if TYPE_CHECKING:
    from collections.abc import Callable

    import napari.viewer

    from napari_care_losses.widgets.train.queue.queue import QueuedTraining

START_TEXT = "Start training"


class TrainWidget(Panel):
    """Trains models on pairs of images, one after the other; the parameters are those of a `Panel`."""

    def __init__(self, napari_viewer: napari.viewer.Viewer, *, parent: QWidget | None = None) -> None:
        super().__init__(napari_viewer, parent=parent)
        self.queue = TrainingQueue(parent=self)
        self._build()
        self._connect()
        # the reason is shown below the button: without the folder nothing can be trained
        with suppress(CareError):
            self.queue.find_stopped(library_folder())
        self.settings.suggest_name()
        self._on_pairs()
        Preloading(parent=self, libraries=all_libraries)

    @property
    def is_running(self) -> bool:
        """Whether a training is running."""
        return self.queue.running is not None

    def _build(self) -> None:
        self.pairs = PairTable(self._viewer)
        self.patches = PatchSamples()
        self.settings = TrainingSettings(lambda: {entry.name for entry in self.queue.entries})
        self.loss, self.form, self.name = self.settings.loss, self.settings.form, self.settings.name
        self.structure, self.start_from = self.settings.structure, self.settings.start_from
        self.view = TrainingView(self._viewer.theme)
        self.trainings = QueueTable(self.queue)
        self.queue_button = push_button(
            "Queue",
            "Add a training with these pairs, loss and settings to the list. Trainings run one after the other. To "
            "compare losses, choose the next loss while the first is trained, and press Queue again.",
            self._add_to_queue,
        )
        self.run_bar = RunBar(
            START_TEXT,
            "Stop",
            start_help="Train until the budget is used up; the viewer stays usable.",
            stop_help="Stop now. The best model so far is saved in the library, and Resume can continue the training. "
            "Waiting trainings do not start.",
        )
        self.run_bar.add_button(self.queue_button)
        group = QGroupBox("Training images")
        group.setSizePolicy(QSizePolicy.Policy.Preferred, QSizePolicy.Policy.Maximum)
        arrange(QVBoxLayout(group), Rows(self.settings.target).native, self.pairs, margins=(6, 6, 6, 6))
        for widget in (group, self.settings, self.patches, self.trainings, self.view):
            self.body.addWidget(widget)
        self.body.addStretch(1)
        self.foot.addWidget(self.run_bar)

    def _connect(self) -> None:
        self.pairs.changed.connect(self._on_pairs)
        self.settings.target.changed.connect(self.pairs.set_target)
        self.settings.neighbours_changed.connect(self.pairs.set_neighbours)
        self.settings.changed.connect(self._update)
        self.run_bar.started.connect(self._start)
        self.run_bar.stopped.connect(self._stop)
        self.queue.changed.connect(self._update)
        self.queue.began.connect(self._on_began)
        self.queue.reported.connect(self._on_report)
        self.queue.ended.connect(self._on_ended)
        self.trainings.selected.connect(self.view.show_training)
        self.trainings.selected.connect(lambda _: self._update())
        self.trainings.resume_pressed.connect(lambda entry: self.queue.resume(entry, self._resumption(entry)))
        self.trainings.copy_button.said.connect(self.run_bar.say)
        self.trainings.discard_confirmed.connect(self._discard)
        self.closing.closed.connect(self._on_closed)
        self._viewer.events.theme.connect(self._on_theme)

    def _plan(self) -> TrainingPlan:
        """Return the training described by the widget; raises a `CareError` if something is missing or does not fit."""
        out = new_model_path(self.name.value)
        self.queue.check_name(out)
        loss, parameters = self.loss.value(), self.form.value()
        TARGETS[parameters.target].check_loss(loss)
        return TrainingPlan(
            pairs=self.pairs.pairs(),
            loss=loss,
            parameters=parameters,
            structure=self.structure.value,
            start_from=self.settings.start_path(),
            out=out,
            device=self.settings.device.editors["device"].value,
            log=self.settings.log.value(),
        )

    def _resumption(self, entry: QueuedTraining) -> TrainingPlan:
        """Return how to resume a stopped training; if its pairs are unknown, with those of the table.

        It raises a `CareError` if something is missing.
        """
        if entry.plan is not None:
            return entry.plan
        stopped, start = entry.stopped, self.settings.start_path()
        if stopped.parameters.target != self.settings.target.value:
            words = TrainingParameters.described()["target"].words[stopped.parameters.target]
            raise InputError(f"This training learnt from other images: choose {words} under Learn from.")
        if stopped.starts_from_model and start is None:
            raise InputError("This training started from a model: choose the same one under Start.")
        return TrainingPlan(
            # its patches are not of the size chosen here
            pairs=self.pairs.pairs(any_size=True),
            loss=stopped.loss,
            parameters=stopped.parameters,
            structure=stopped.structure,
            start_from=start if stopped.starts_from_model else None,
            out=stopped.path,
            device=self.settings.device.editors["device"].value,
            log=self.settings.log.value(),
        )

    def _update(self) -> None:
        self.pairs.mark_left_out(self.form.editors["patch_size"].value)
        reason = _reason(self._plan)
        waiting = len(self.queue.waiting)
        starts_queue = waiting > 0 and not self.is_running
        self.run_bar.set_state(
            is_running=self.is_running,
            is_stopping=self.queue.is_stopping,
            reason="" if starts_queue else reason,
        )
        self.run_bar.start_button.setText(f"Start queue ({waiting})" if starts_queue else START_TEXT)
        show_text(self.run_bar.reason, reason)
        self.queue_button.setEnabled(not reason)
        entry = self.trainings.current()
        resumable = entry is not None and entry.can_resume
        self.trainings.update_buttons(_reason(lambda: self._resumption(entry)) if resumable else "")
        self.patches.set_state(
            _reason(self.pairs.pairs) or _reason(self.form.value), lambda: (self.pairs.pairs(), self.form.value())
        )

    def _on_pairs(self) -> None:
        if self.pairs.is_untouched:
            self.settings.suggest_target("self" if self.pairs.has_no_pair else "clean")
        self.settings.suggest_structure(name for row in self.pairs.rows for name in row.names)
        self._update()

    def _start(self) -> None:
        if self.is_running:
            return
        if not self.queue.waiting:
            self._add_to_queue()
        self.queue.start()

    def _add_to_queue(self) -> None:
        if _reason(self._plan):
            # a layer has gone since the button was pressed
            self._update()
            return
        found = files_of(self.pairs.rows)
        entry = self.queue.add(self._plan()._replace(files=found.files, channel=found.channel))
        if not self.is_running:
            self.trainings.select(entry)
        self.settings.suggest_name(replacing=True)

    def _stop(self) -> None:
        self.queue.stop()
        self.run_bar.say("Stopping…")

    def _discard(self, entry: QueuedTraining) -> None:
        try:
            self.queue.discard(entry) if entry.can_discard else self.queue.remove(entry)
        except CareError as error:
            show_error(str(error))
        self.view.show_training(self.trainings.current())
        self.run_bar.say("")

    def _on_began(self, entry: QueuedTraining) -> None:
        self.trainings.select(entry)
        self.view.show_training(entry)
        self.patches.hide_patches()
        # It must be laid out before it can be scrolled to.
        QTimer.singleShot(0, self._scroll_to_view)
        self.run_bar.show_progress(-1)
        self.run_bar.say("Reading the images…")

    def _scroll_to_view(self) -> None:
        self.bring_into_view(self.view)
        self.bring_into_view(self.trainings)

    def _on_report(self, entry: QueuedTraining, report: object) -> None:
        self.view.take(entry, report)
        if isinstance(report, Preview) and not entry.epochs:
            # again, because the first pictures push the curve out of sight
            QTimer.singleShot(0, self._scroll_to_view)
        if isinstance(report, Step):
            self.run_bar.show_progress(report.fraction)
        text = progress_text(entry, report)
        if text is not None:
            self.run_bar.say(text)

    def _on_ended(self, entry: QueuedTraining) -> None:
        self.view.curve.redraw()
        self.run_bar.say(outcome_text(entry))
        self.settings.suggest_name()

    def _on_closed(self) -> None:
        self.queue.stop()
        self.pairs.stop()
        self.patches.stop()

    def _on_theme(self, event: Any) -> None:
        self.view.curve.set_theme(event.value)


def _reason(make: Callable[[], object]) -> str:
    """Return why a call fails; empty if it does not."""
    try:
        make()
    except CareError as error:
        return str(error)
    return ""
