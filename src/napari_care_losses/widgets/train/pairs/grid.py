"""How a table of pairs looks: a compact line for every pair."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import QAbstractItemView, QHeaderView, QTableWidget, QTableWidgetItem

from napari_care_losses.training.pair_sources import shape_text
from napari_care_losses.widgets.shared.form import tooltip

if TYPE_CHECKING:
    from collections.abc import Sequence

    from qtpy.QtGui import QKeyEvent
    from qtpy.QtWidgets import QWidget

    from napari_care_losses.widgets.train.pairs.row import PairRow

COLUMNS = ("", "Low", "High", "Shape")
MOST_ROWS_SHOWN = 6
"""Beyond these the table scrolls."""


class PairGrid(QTableWidget):
    """Shows pairs: a mark, both names, and their shape or what is wrong with them."""

    delete_pressed = Signal()

    def __init__(self, *, parent: QWidget | None = None) -> None:
        super().__init__(0, len(COLUMNS), parent)
        self.setHorizontalHeaderLabels(COLUMNS)
        self.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        self.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
        self.setTextElideMode(Qt.TextElideMode.ElideMiddle)
        self.setWordWrap(False)
        # Tab goes on to the next widget: the arrow keys move within the table.
        self.setTabKeyNavigation(False)
        self.setAccessibleName("Pairs to learn from")
        header, numbers = self.horizontalHeader(), self.verticalHeader()
        assert header is not None and numbers is not None
        numbers.setVisible(False)
        header.setMinimumSectionSize(20)
        header.setHighlightSections(False)
        modes = QHeaderView.ResizeMode
        for column, mode in enumerate((modes.ResizeToContents, modes.Stretch, modes.Stretch, modes.ResizeToContents)):
            header.setSectionResizeMode(column, mode)

    def keyPressEvent(self, event: QKeyEvent | None) -> None:
        """Let the Delete key remove what is selected."""
        if event is not None and event.key() == Qt.Key.Key_Delete:
            self.delete_pressed.emit()
        else:
            super().keyPressEvent(event)

    def show_rows(self, rows: Sequence[PairRow]) -> None:
        """Show these rows and no others; what was selected stays so where it can."""
        before = self.rowCount()
        self.setRowCount(len(rows))
        for number in range(before, len(rows)):
            for column in range(len(COLUMNS)):
                self.setItem(number, column, QTableWidgetItem())
        for number, row in enumerate(rows):
            self.show_row(number, row)
        self._fit_height()

    def show_row(self, number: int, row: PairRow) -> None:
        """Show one row anew."""
        mark, _, said = row.verdict.partition(" ")
        shape = shape_text(row.shape) if row.is_usable and row.shape is not None else said
        for column, text in enumerate((mark, *row.names, shape)):
            item = self.item(number, column)
            assert item is not None
            item.setText(text if column < 3 or row.is_usable else _shortened(text))
            item.setToolTip(tooltip(f"{' and '.join(row.names)}<br>{row.verdict}"))

    def selected_numbers(self) -> list[int]:
        """Return the numbers of the rows selected."""
        return sorted({index.row() for index in self.selectedIndexes()})

    def _fit_height(self) -> None:
        header, numbers = self.horizontalHeader(), self.verticalHeader()
        assert header is not None and numbers is not None
        line = self.fontMetrics().height() + 6
        numbers.setDefaultSectionSize(line)
        shown = min(max(self.rowCount(), 1), MOST_ROWS_SHOWN)
        self.setFixedHeight(header.sizeHint().height() + shown * line + 2 * self.frameWidth() + 2)


def _shortened(reason: str) -> str:
    """Return the beginning of a reason: the column is narrow, and the whole stands below the table."""
    return reason.split(":")[0].split(" holds")[0][:20].rstrip(" .")
