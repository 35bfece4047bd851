"""The training queue: trainings run one after the other in the background."""

from __future__ import annotations

import enum
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QObject, Signal

from napari_care_losses.errors import InputError, OutputError, ResumeError
from napari_care_losses.io.file_names import same_file
from napari_care_losses.io.whole_files import patiently
from napari_care_losses.losses.registry import loss_title
from napari_care_losses.training.checkpoint import list_stopped, read_stopped, state_path
from napari_care_losses.training.logs.csv_log import log_path
from napari_care_losses.training.logs.tensorboard_log import event_files, remove_empty_folders
from napari_care_losses.training.plans.plan import Resumed, TrainingPlan, train
from napari_care_losses.training.progress import Epoch, Preview, Step
from napari_care_losses.widgets.background.imports import all_libraries
from napari_care_losses.widgets.background.worker import Job, Outcome

if TYPE_CHECKING:
    from pathlib import Path

    from napari_care_losses.training.checkpoint import StoppedTraining


class State(enum.Enum):
    """State of a training in the queue."""

    WAITING = "waiting"
    RUNNING = "running"
    DONE = "done"
    STOPPED = "stopped"
    FAILED = "failed"


ENDS = {Outcome.DONE: State.DONE, Outcome.STOPPED: State.STOPPED, Outcome.FAILED: State.FAILED}


@dataclass(eq=False)
class QueuedTraining:
    """A training in the queue, and its reports so far."""

    out: Path
    """The model file."""

    loss: str
    plan: TrainingPlan | None = None
    """None if it was stopped in an earlier session, because its pairs are then unknown."""

    stopped: StoppedTraining | None = None
    """Its saved state, if it was stopped in an earlier session."""

    state: State = State.WAITING
    step: int = 0
    fraction: float = 0.0
    steps: list[Step] = field(default_factory=list)
    epochs: list[Epoch] = field(default_factory=list)
    preview: Preview | None = None
    problem: str = ""
    is_begun: bool = False
    """Whether it may have taken a step in this session. What lies under its name before is of another training."""

    @property
    def name(self) -> str:
        """Name of the model in the library."""
        return self.out.stem

    @property
    def loss_title(self) -> str:
        """Name of the loss as shown to the user."""
        return loss_title(self.loss)

    @property
    def state_text(self) -> str:
        """Its state, with the part done."""
        if self.state is State.RUNNING or (self.state is State.STOPPED and self.fraction > 0):
            return f"{self.state.value} {self.fraction:.0%}"
        return self.state.value

    @property
    def files(self) -> list[Path]:
        """Its files: model, saved state and logs; none before it began."""
        if not self.is_begun and self.stopped is None:
            return []
        # what was logged in an earlier session is not known
        has_events = self.stopped is not None or self.plan is None or self.plan.writes_events
        events = event_files(self.out) if has_events else []
        return [path for path in (self.out, state_path(self.out), log_path(self.out), *events) if path.is_file()]

    @property
    def can_resume(self) -> bool:
        """Whether it can be resumed."""
        return self.state in (State.STOPPED, State.FAILED) and state_path(self.out).is_file()

    @property
    def can_discard(self) -> bool:
        """Whether it ended early and left files."""
        return self.state in (State.STOPPED, State.FAILED) and bool(self.files)

    def show_state(self, stopped: StoppedTraining) -> None:
        """Take the progress of a saved state."""
        self.step, self.fraction, self.epochs = stopped.step, stopped.fraction, list(stopped.history)

    def take(self, report: Any) -> None:
        """Record a report."""
        if isinstance(report, Step):
            self.is_begun = True
            self.steps.append(report)
            self.step, self.fraction = report.step, report.fraction
        elif isinstance(report, Epoch):
            self.epochs.append(report)
        elif isinstance(report, Preview):
            self.preview = report
        elif isinstance(report, Resumed):
            self.epochs = list(report.history)
            self.steps = [step for step in self.steps if step.step <= report.step]


class TrainingQueue(QObject):
    """Runs trainings one after the other in the background, until its parent is destroyed."""

    changed = Signal()
    """A training was added or removed, or it began or ended."""

    began = Signal(object)
    """A training that began."""

    reported = Signal(object, object)
    """The running training and its report."""

    ended = Signal(object)
    """A training that ended."""

    def __init__(self, *, parent: QObject) -> None:
        super().__init__(parent)
        self.entries: list[QueuedTraining] = []
        self.running: QueuedTraining | None = None
        self._is_held = self._cannot_resume = False
        self._job = Job(parent=self, libraries=all_libraries)
        self._job.reported.connect(self._on_report)
        self._job.failed.connect(self._on_failed)
        self._job.finished.connect(self._on_finished)

    @property
    def is_stopping(self) -> bool:
        """Whether the running training was asked to stop."""
        return self._job.is_stopping

    @property
    def waiting(self) -> list[QueuedTraining]:
        """The waiting trainings, in order."""
        return [entry for entry in self.entries if entry.state is State.WAITING]

    def add(self, plan: TrainingPlan) -> QueuedTraining:
        """Add a training at the end of the queue; `start` runs the queue."""
        # An earlier training of the same file has ended and is replaced.
        self.entries = [entry for entry in self.entries if entry.out != plan.out]
        entry = QueuedTraining(plan.out, plan.loss.name, plan)
        self.entries.append(entry)
        self.changed.emit()
        return entry

    def find_stopped(self, folder: Path) -> None:
        """Add the trainings of a folder that were stopped in an earlier session."""
        known = {entry.out for entry in self.entries}
        for stopped in list_stopped(folder):
            if stopped.path not in known:
                entry = QueuedTraining(stopped.path, stopped.loss.name, stopped=stopped, state=State.STOPPED)
                entry.show_state(stopped)
                self.entries.append(entry)
        self.changed.emit()

    def check_name(self, path: Path) -> None:
        """Check that no training in the queue will write this file.

        Raises
        ------
        InputError
            If one does.
        """
        if any(
            same_file(entry.out.stem) == same_file(path.stem)
            for entry in self.entries
            if entry.state in (State.WAITING, State.RUNNING)
        ):
            raise InputError(f"A training named {path.stem!r} is in the list already: choose another name.")

    def start(self) -> None:
        """Run the waiting trainings until `stop`."""
        self._is_held = False
        if self.running is None and self.waiting:
            entry = self.running = self.waiting[0]
            plan, entry.state, entry.problem = entry.plan, State.RUNNING, ""
            self._job.start(lambda: train(plan), title=f"Training {entry.name}", fraction=_fraction)
            self.began.emit(entry)
            self.changed.emit()

    def stop(self) -> None:
        """Stop the running training; the others keep waiting."""
        self._is_held = True
        self._job.stop()
        self.changed.emit()

    def resume(self, entry: QueuedTraining, plan: TrainingPlan) -> None:
        """Resume a stopped training, before the waiting ones."""
        entry.plan, entry.state = plan._replace(resume=True), State.WAITING
        self.entries.remove(entry)
        first = self.entries.index(self.waiting[0]) if self.waiting else len(self.entries)
        self.entries.insert(first, entry)
        self.changed.emit()
        self.start()

    def remove(self, entry: QueuedTraining) -> None:
        """Remove a training that is not running from the queue; its files stay."""
        self.entries.remove(entry)
        self.changed.emit()

    def discard(self, entry: QueuedTraining) -> None:
        """Remove a training that is not running from the queue and delete its files.

        Raises
        ------
        OutputError
            If a file cannot be deleted.
        """
        for path in entry.files:
            try:
                patiently(path.unlink)
            except OSError as error:
                raise OutputError(f"{path} cannot be deleted: {error.strerror or error}.") from error
        remove_empty_folders(entry.out)
        self.remove(entry)

    def _on_report(self, report: object) -> None:
        self.running.take(report)
        self.reported.emit(self.running, report)

    def _on_failed(self, error: Exception) -> None:
        self.running.problem = str(error)
        self._cannot_resume = isinstance(error, ResumeError)

    def _on_finished(self, outcome: Outcome) -> None:
        entry, self.running = self.running, None
        entry.state = ENDS[outcome]
        # of one that is being stopped, steps are not reported
        entry.is_begun |= outcome is Outcome.STOPPED
        # the last report may be some steps behind
        with suppress(ResumeError):
            entry.show_state(read_stopped(state_path(entry.out)))
        if self._cannot_resume:
            # Its files are unchanged: it can still be resumed with the right pairs.
            entry.state, self._cannot_resume = State.STOPPED, False
            entry.plan = None if entry.stopped is not None else entry.plan
        self.ended.emit(entry)
        self.changed.emit()
        if not self._is_held:
            self.start()


def _fraction(report: object) -> float | None:
    return report.fraction if isinstance(report, Step) else None
