"""The list of trainings: name, loss and state, with buttons to resume, remove or discard the selected one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtCore import QSignalBlocker, Qt, Signal
from qtpy.QtWidgets import QAbstractItemView, QHBoxLayout, QVBoxLayout, QWidget

from napari_care_losses.widgets.shared.copy_button import CopyButton, save_first
from napari_care_losses.widgets.shared.events import SingleShot
from napari_care_losses.widgets.shared.form import tooltip
from napari_care_losses.widgets.shared.layout import arrange, push_button
from napari_care_losses.widgets.train.compact_table import CompactTable
from napari_care_losses.widgets.train.queue.queue import QueuedTraining, State

if TYPE_CHECKING:
    from napari_care_losses.training.plans.record import TrainingRecord
    from napari_care_losses.widgets.train.queue.queue import TrainingQueue

CONFIRM_MS = 4000
"""Time in which a second click on Discard confirms the first."""

RESUME_HELP = "Continue exactly where the training stopped, with its own loss and settings. The pairs must be the same."
REMOVE_HELP = "Remove the selected training from this list. Its model stays in the library."
COPY_HELP = "Copy what trains the selected model again, as a command or as Python."
UNKNOWN = "Select a training of this session: the images of others are not known."
TIMED = "Its budget is in minutes, so another run ends after another number of steps."
DISCARD_HELP = (
    "Delete the model of the selected training from the library, with its log, TensorBoard's events and the state to "
    "resume it from."
)


class QueueTable(QWidget):
    """Shows the trainings of a queue."""

    selected = Signal(object)
    """The selected training."""

    resume_pressed = Signal(object)
    discard_confirmed = Signal(object)

    def __init__(self, queue: TrainingQueue, *, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._queue = queue
        self._reason = ""
        self.table = CompactTable(("Model", "Loss", "State"), wide=(0,), most_rows=5, accessible_name="Trainings")
        self.table.setSelectionMode(QAbstractItemView.SelectionMode.SingleSelection)
        self.table.setToolTip(tooltip("Trainings run one after the other. Select one to see its loss curve."))
        self.resume_button = push_button("Resume", "", lambda: self.resume_pressed.emit(self.current()))
        self.discard_button = push_button("", "", self._on_discard)
        self.confirmation = SingleShot(self, CONFIRM_MS, self.update_buttons)
        self.copy_button = CopyButton(COPY_HELP)
        growing = self.resume_button, self.discard_button
        buttons = arrange(QHBoxLayout(), self.resume_button, self.copy_button, self.discard_button, growing=growing)
        arrange(QVBoxLayout(self), self.table, buttons)
        self.table.currentCellChanged.connect(self._on_selected)
        queue.changed.connect(self.reload)
        queue.reported.connect(lambda entry, _: self._show(entry))
        self.reload()

    def current(self) -> QueuedTraining | None:
        """Return the selected training."""
        number = self.table.currentRow()
        return self._queue.entries[number] if 0 <= number < len(self._queue.entries) else None

    def select(self, entry: QueuedTraining) -> None:
        """Select a training."""
        self.table.setCurrentCell(self._queue.entries.index(entry), 0)

    def reload(self) -> None:
        """Show the current state of the queue; the same training stays selected, else the last one is."""
        entries, item = self._queue.entries, self.table.item(self.table.currentRow(), 0)
        chosen = None if item is None else item.data(Qt.ItemDataRole.UserRole)
        with QSignalBlocker(self.table):
            self.table.set_row_count(len(entries))
            for number, entry in enumerate(entries):
                self.table.item(number, 0).setData(Qt.ItemDataRole.UserRole, id(entry))
                self._show(entry)
            place = next((i for i, entry in enumerate(entries) if id(entry) == chosen), len(entries) - 1)
            self.table.setCurrentCell(place, 0)
        self.setVisible(bool(entries))
        self.update_buttons()

    def update_buttons(self, reason: str | None = None) -> None:
        """Enable the buttons that apply to the selected training; `reason` says why it cannot be resumed now."""
        self.confirmation.stop()
        self._reason = self._reason if reason is None else reason
        entry = self.current()
        can_resume = entry is not None and entry.can_resume
        self.resume_button.setEnabled(can_resume and not self._reason)
        why_not = self._reason if can_resume else "Select a training that was stopped after its first step."
        self.resume_button.setToolTip(tooltip(why_not or RESUME_HELP))
        can_discard = entry is not None and entry.can_discard
        self.discard_button.setText("Discard" if can_discard else "Remove")
        self.discard_button.setToolTip(tooltip(DISCARD_HELP if can_discard else REMOVE_HELP))
        is_known = entry is not None and entry.plan is not None
        self.copy_button.offer((lambda: _record(entry)) if is_known else None, "" if is_known else UNKNOWN)
        self.discard_button.setEnabled(entry is not None and entry.state is not State.RUNNING)

    def _show(self, entry: QueuedTraining) -> None:
        about = tooltip(f"{entry.name}, {entry.loss_title}: {entry.problem or entry.state_text}")
        self.table.set_texts(self._queue.entries.index(entry), (entry.name, entry.loss_title, entry.state_text), about)

    def _on_selected(self, *_: int) -> None:
        self.update_buttons()
        entry = self.current()
        if entry is not None:
            self.selected.emit(entry)

    def _on_discard(self) -> None:
        entry = self.current()
        if entry is None:
            return
        if self.confirmation.isActive() or not entry.can_discard:
            self.confirmation.stop()
            self.discard_confirmed.emit(entry)
        else:
            self.discard_button.setText("Click again to delete")
            self.confirmation.start()


def _record(entry: QueuedTraining) -> tuple[TrainingRecord, str]:
    """Return what trains a model again, and what to know of it."""
    record = entry.plan.record()
    assert record is not None
    paths = [path for pair in record.pairs for path in pair if path is not None and not path.is_absolute()]
    remarks = [save_first({path.stem: str(path) for path in paths})]
    remarks += [TIMED] if record.parameters.budget == "minutes" else []
    return record, " ".join(filter(None, remarks))
