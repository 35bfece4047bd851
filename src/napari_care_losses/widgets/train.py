"""The Train widget: pairs of layers, a loss, a budget; the model goes into the library."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QTimer
from qtpy.QtWidgets import QComboBox, QGroupBox, QLineEdit, QVBoxLayout, QWidget

from napari_care_losses.core.errors import CareError
from napari_care_losses.core.library import list_models, new_model_path
from napari_care_losses.core.model import STRUCTURES
from napari_care_losses.core.reports import Epoch, Preparing, Step
from napari_care_losses.core.training_parameters import DEFAULT_STEPS_PER_EPOCH, TrainingParameters
from napari_care_losses.widgets.form import ParameterForm, make_rows, scroll_past, tooltip
from napari_care_losses.widgets.loss_form import LossForm
from napari_care_losses.widgets.model_chooser import ModelChooser
from napari_care_losses.widgets.pair_table import PairTable
from napari_care_losses.widgets.panel import Panel
from napari_care_losses.widgets.plots import LossCurve
from napari_care_losses.widgets.run_bar import RunBar, duration
from napari_care_losses.widgets.train_run import TrainingPlan, train
from napari_care_losses.widgets.worker import CloseGuard, Job, Outcome

if TYPE_CHECKING:
    from pathlib import Path

    import napari.viewer

    from napari_care_losses.core.reports import Report

AMOUNTS = {"epochs": 100.0, "steps": 2000.0, "minutes": 5.0}
"""Budget offered by kind: the paper's epochs, and what a computer without a graphics card does in minutes."""

UNITS = {"epochs": "epochs", "steps": "steps", "minutes": "min"}

START = TrainingParameters(
    preset="lite", budget="minutes", amount=AMOUNTS["minutes"], steps_per_epoch=DEFAULT_STEPS_PER_EPOCH["minutes"]
)
"""What the form shows first."""

WORDS = {"preset": {"care": "care (the paper's)", "lite": "lite (11 times faster)"}}

FIXED_BY_MODEL = "The model to start from decides the network."


class TrainWidget(Panel):
    """Trains a model on pairs of image layers.

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
        self._job = Job(parent=self)
        self._out: Path | None = None
        self._step: Step | None = None
        self._epochs: list[Epoch] = []
        self._has_own_epoch_length = False
        self._build()
        self._connect()
        self._suggest_name()
        self._update()

    @property
    def is_running(self) -> bool:
        """Whether a training is under way."""
        return self._job.is_running

    def _build(self) -> None:
        self.pairs = PairTable(self._viewer)
        self.loss = LossForm()
        self.structure = QComboBox()
        self.structure.addItems(STRUCTURES)
        self.structure.setToolTip(tooltip("What the images show; noted in the model, so that you find it again."))
        scroll_past(self.structure)
        self.start_from = ModelChooser(none="from scratch")
        self.start_from.setToolTip(
            tooltip(
                "Start from a trained model and adapt it to your images (fine-tuning): the same minutes of training "
                "go further."
            )
        )
        self.form = ParameterForm(TrainingParameters, words=WORDS)
        self.form.set_value(START)
        self._set_budget_unit()
        self.form.editor("budget").setToolTip(
            tooltip(
                TrainingParameters.described()["budget"].help
                + " The paper: 100 epochs of 400 steps with the care network, some 5 hours without a graphics card."
            )
        )
        self.name = QLineEdit()
        self.name.setToolTip(tooltip("Under this name the model goes into the library, where Restore finds it."))
        self.run_bar = RunBar(
            "Start training",
            "Stop",
            start_help="Train until the budget is used up; the viewer stays usable.",
            stop_help="Stop now; the best model so far goes into the library.",
        )
        self.curve = LossCurve(self._viewer.theme)
        self.curve.setVisible(False)
        self.body.addWidget(_group("Pairs to learn from", self.pairs))
        rows, named = make_rows(), make_rows()
        rows.addRow("Structure", self.structure)
        rows.addRow("Start", self.start_from)
        named.addRow("Model name", self.name)
        self.body.addLayout(rows)
        for widget in (self.loss, self.form):
            self.body.addWidget(widget)
        self.body.addLayout(named)
        self.line_up(rows, named, self.form.rows, *self.loss.rows)
        self.body.addWidget(self.curve)
        self.body.addStretch(1)
        self.foot.addWidget(self.run_bar)

    def _connect(self) -> None:
        self.pairs.changed.connect(self._update)
        self.loss.changed.connect(self._on_kind_changed)
        self.structure.currentIndexChanged.connect(self._on_kind_changed)
        self.start_from.changed.connect(self._update)
        self.form.edited.connect(self._on_edited)
        self.name.textChanged.connect(lambda _: self._update())
        self.run_bar.started.connect(self._start)
        self.run_bar.stopped.connect(self._stop)
        self._job.reported.connect(self._on_report)
        self._job.failed.connect(self._on_failed)
        self._job.finished.connect(self._on_finished)
        CloseGuard(self).closed.connect(self._job.stop)
        self._viewer.events.theme.connect(self._on_theme)

    def _plan(self) -> TrainingPlan:
        """Return what the widget says.

        Raises
        ------
        CareError
            If it cannot be trained.
        """
        start = self.start_from.entry()
        return TrainingPlan(
            pairs=self.pairs.pairs(),
            loss=self.loss.value(),
            parameters=self.form.value(),
            structure=self.structure.currentText(),
            start_from=None if start is None else start.path,
            out=new_model_path(self.name.text()),
        )

    def _update(self) -> None:
        reason = ""
        if not self._job.is_running:
            try:
                self._plan()
            except CareError as error:
                reason = str(error)
        self.run_bar.set_state(is_running=self._job.is_running, is_stopping=self._job.is_stopping, reason=reason)
        is_fixed = self.start_from.entry() is not None
        preset = self.form.editor("preset")
        preset.setEnabled(not is_fixed)
        preset.setToolTip(tooltip(FIXED_BY_MODEL if is_fixed else TrainingParameters.described()["preset"].help))

    def _on_edited(self, name: str) -> None:
        self._has_own_epoch_length |= name == "steps_per_epoch"
        if name == "budget":
            budget = self.form.get("budget")
            values: dict[str, Any] = {"amount": AMOUNTS[budget]}
            if not self._has_own_epoch_length:
                values["steps_per_epoch"] = DEFAULT_STEPS_PER_EPOCH[budget]
            self.form.set_values(values)
            self._set_budget_unit()
        self._update()

    def _set_budget_unit(self) -> None:
        self.form.set_unit("amount", UNITS[self.form.get("budget")])

    def _on_kind_changed(self) -> None:
        if not self.name.isModified():
            self._suggest_name()
        self._update()

    def _suggest_name(self) -> None:
        stem = f"my-{self.structure.currentText()}-{self.loss.name()}"
        try:
            taken = {entry.name for entry in list_models()}
        except CareError:
            taken = set()
        names = (stem if number == 1 else f"{stem}-{number}" for number in range(1, len(taken) + 2))
        self.name.setText(next(name for name in names if name not in taken))

    def _start(self) -> None:
        if self._job.is_running:
            return
        plan = self._plan()
        self._out, self._step, self._epochs = plan.out, None, []
        self.curve.clear()
        self.curve.setVisible(True)
        # Only once it has been laid out can it be scrolled to.
        QTimer.singleShot(0, self._scroll_to_curve)
        self.run_bar.show_progress(-1)
        self.run_bar.say("Reading the images…")
        self._job.start(lambda: train(plan))
        self._update()

    def _scroll_to_curve(self) -> None:
        self.bring_into_view(self.curve)

    def _stop(self) -> None:
        self._job.stop()
        self.run_bar.say("Stopping…")
        self._update()

    def _on_report(self, report: Report) -> None:
        if isinstance(report, Preparing):
            self.run_bar.say(f"Reading the images: {report.done} of {report.total}")
        elif isinstance(report, Step):
            self._step = report
            self.curve.add_step(report)
            self.run_bar.show_progress(report.fraction)
            self.run_bar.say(
                f"Step {report.step:,}, epoch {len(self._epochs) + 1}, {report.steps_per_second:.1f} steps a second, "
                f"{duration(report.seconds_left)} left"
            )
        elif isinstance(report, Epoch):
            self._epochs.append(report)
            self.curve.add_epoch(report)

    def _on_failed(self, error: Exception) -> None:
        text = f"Failed: {error}"
        if self._out is not None and self._out.is_file():
            text += f" The best model before that is in the library as {self._out.stem}."
        self.run_bar.say(text)

    def _on_finished(self, outcome: Outcome) -> None:
        self.curve.redraw()
        if outcome is not Outcome.FAILED:
            self.run_bar.say(self._summary(outcome))
        if self._is_saved():
            self.name.setModified(False)
            self._suggest_name()
        self._update()

    def _summary(self, outcome: Outcome) -> str:
        if self._out is None or not self._is_saved():
            return "Stopped before the first step: nothing was saved."
        best = next((epoch for epoch in reversed(self._epochs) if epoch.is_best), None)
        steps = f"{self._step.step:,} steps" if self._step is not None else "no step"
        text = f"Stopped after {steps}" if outcome is Outcome.STOPPED else f"Trained {steps}"
        text += f"; lowest validation loss {best.validation_loss:.4g} after epoch {best.epoch}" if best else ""
        return f"{text}. The best model is in the library as {self._out.stem}: choose it in Restore."

    def _is_saved(self) -> bool:
        return self._out is not None and self._out.is_file()

    def _on_theme(self, event: Any) -> None:
        self.curve.set_theme(event.value)


def _group(title: str, widget: QWidget) -> QGroupBox:
    group = QGroupBox(title)
    layout = QVBoxLayout(group)
    layout.setContentsMargins(6, 6, 6, 6)
    layout.addWidget(widget)
    return group
