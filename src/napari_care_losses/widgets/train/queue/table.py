"""The list of trainings: name, loss and state, and what can be done with the selected one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtCore import QSignalBlocker, Qt, QTimer, Signal
from qtpy.QtWidgets import (
    QAbstractItemView,
    QHBoxLayout,
    QHeaderView,
    QPushButton,
    QTableWidget,
    QTableWidgetItem,
    QVBoxLayout,
    QWidget,
)

from napari_care_losses.widgets.shared.form import tooltip
from napari_care_losses.widgets.train.queue.queue import QueuedTraining, State

if TYPE_CHECKING:
    from napari_care_losses.widgets.train.queue.queue import TrainingQueue

COLUMNS = ("Model", "Loss", "State")
MOST_ROWS_SHOWN = 5
"""Beyond these the list scrolls."""

SURE_MS = 4000
"""Time in which a second click on Discard confirms the first."""

RESUME_HELP = (
    "Go on exactly where it was stopped. It needs the same pairs; loss and settings are those it was started with."
)


class QueueTable(QWidget):
    """Shows the trainings of a queue.

    Parameters
    ----------
    queue : TrainingQueue
        The trainings.
    parent : QWidget, optional
        Parent widget.
    """

    selected = Signal(object)
    """The training that the user wants to see."""

    resume_pressed = Signal(object)
    discard_confirmed = Signal(object)

    def __init__(self, queue: TrainingQueue, *, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._queue = queue
        self._reason = ""
        self.table = QTableWidget(0, len(COLUMNS))
        self.table.setHorizontalHeaderLabels(COLUMNS)
        self.table.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        self.table.setSelectionMode(QAbstractItemView.SelectionMode.SingleSelection)
        self.table.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
        self.table.setTextElideMode(Qt.TextElideMode.ElideMiddle)
        self.table.setWordWrap(False)
        self.table.setTabKeyNavigation(False)
        self.table.setAccessibleName("Trainings")
        self.table.setToolTip(tooltip("Run one after the other. Select one to see its curve."))
        header, numbers = self.table.horizontalHeader(), self.table.verticalHeader()
        assert header is not None and numbers is not None
        numbers.setVisible(False)
        header.setHighlightSections(False)
        modes = QHeaderView.ResizeMode
        for column, mode in enumerate((modes.Stretch, modes.ResizeToContents, modes.ResizeToContents)):
            header.setSectionResizeMode(column, mode)
        self.resume_button, self.discard_button = QPushButton("Resume"), QPushButton()
        self.resume_button.clicked.connect(lambda: self.resume_pressed.emit(self.current()))
        self.discard_button.clicked.connect(self._on_discard)
        self._sure = QTimer(self)
        self._sure.setSingleShot(True)
        self._sure.setInterval(SURE_MS)
        self._sure.timeout.connect(self.update_buttons)
        buttons = QHBoxLayout()
        buttons.addWidget(self.resume_button, 1)
        buttons.addWidget(self.discard_button, 1)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(4)
        layout.addWidget(self.table)
        layout.addLayout(buttons)
        self.table.currentCellChanged.connect(self._on_selected)
        queue.changed.connect(self.reload)
        queue.reported.connect(lambda entry, _: self._show(entry))
        self.reload()

    def current(self) -> QueuedTraining | None:
        """Return the training selected."""
        number = self.table.currentRow()
        return self._queue.entries[number] if 0 <= number < len(self._queue.entries) else None

    def select(self, entry: QueuedTraining) -> None:
        """Select a training, as by hand."""
        self.table.setCurrentCell(self._queue.entries.index(entry), 0)

    def reload(self) -> None:
        """Show the queue as it stands."""
        entries, chosen = self._queue.entries, self._chosen_before()
        with QSignalBlocker(self.table):
            self.table.setRowCount(len(entries))
            for number, entry in enumerate(entries):
                for column in range(len(COLUMNS)):
                    self.table.setItem(number, column, QTableWidgetItem())
                item = self.table.item(number, 0)
                assert item is not None
                item.setData(Qt.ItemDataRole.UserRole, id(entry))
                self._show(entry)
            place = next((i for i, entry in enumerate(entries) if id(entry) == chosen), len(entries) - 1)
            self.table.setCurrentCell(place, 0)
        self._fit_height()
        self.setVisible(bool(entries))
        self.update_buttons()

    def update_buttons(self, reason: str | None = None) -> None:
        """Enable what can be done with the selected training; `reason` says why a training could not go on now."""
        self._sure.stop()
        self._reason = self._reason if reason is None else reason
        entry = self.current()
        can_resume = entry is not None and entry.can_resume
        self.resume_button.setEnabled(can_resume and not self._reason)
        self.resume_button.setToolTip(tooltip(self._why_no_resumption(entry) or RESUME_HELP))
        text, said = _what_discarding_does(entry)
        self.discard_button.setText(text)
        self.discard_button.setToolTip(tooltip(said))
        self.discard_button.setEnabled(entry is not None and entry.state is not State.RUNNING)

    def _why_no_resumption(self, entry: QueuedTraining | None) -> str:
        if entry is None or not entry.can_resume:
            return "Only a training that was stopped after its first step can go on: select one."
        return self._reason

    def _chosen_before(self) -> int | None:
        item = self.table.item(self.table.currentRow(), 0)
        return None if item is None else int(item.data(Qt.ItemDataRole.UserRole))

    def _show(self, entry: QueuedTraining) -> None:
        number = self._queue.entries.index(entry)
        for column, text in enumerate((entry.name, entry.loss_title, entry.state_text)):
            item = self.table.item(number, column)
            if item is not None and item.text() != text:
                item.setText(text)
                item.setToolTip(tooltip(f"{entry.name}, {entry.loss_title}: {entry.problem or entry.state_text}"))

    def _fit_height(self) -> None:
        header, numbers = self.table.horizontalHeader(), self.table.verticalHeader()
        assert header is not None and numbers is not None
        line = self.table.fontMetrics().height() + 6
        numbers.setDefaultSectionSize(line)
        shown = min(max(self.table.rowCount(), 1), MOST_ROWS_SHOWN)
        self.table.setFixedHeight(header.sizeHint().height() + shown * line + 2 * self.table.frameWidth() + 2)

    def _on_selected(self, *_: int) -> None:
        self.update_buttons()
        entry = self.current()
        if entry is not None:
            self.selected.emit(entry)

    def _on_discard(self) -> None:
        entry = self.current()
        if entry is None:
            return
        if self._sure.isActive() or not entry.can_discard:
            self._sure.stop()
            self.discard_confirmed.emit(entry)
        else:
            self.discard_button.setText("Click again to delete")
            self._sure.start()


def _what_discarding_does(entry: QueuedTraining | None) -> tuple[str, str]:
    if entry is None or not entry.can_discard:
        return "Remove", "Take the selected training off this list; a model in the library stays there."
    return "Discard", "Delete what the selected training made: its model in the library, and the state to resume from."
