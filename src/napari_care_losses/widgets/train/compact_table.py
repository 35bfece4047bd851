"""A table with one compact line per row, no higher than a few rows."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtCore import Qt
from qtpy.QtWidgets import QAbstractItemView, QHeaderView, QTableWidget, QTableWidgetItem

if TYPE_CHECKING:
    from collections.abc import Sequence

    from qtpy.QtWidgets import QWidget


class CompactTable(QTableWidget):
    """A read-only table in which rows are selected; beyond `most_rows` it scrolls.

    Parameters
    ----------
    columns : sequence of str
        Titles of the columns.
    wide : sequence of int
        The columns that share the width left by the others.
    most_rows : int
        Rows shown without scrolling.
    accessible_name : str
        For screen readers.
    """

    def __init__(
        self,
        columns: Sequence[str],
        *,
        wide: Sequence[int],
        most_rows: int,
        accessible_name: str,
        parent: QWidget | None = None,
    ) -> None:
        super().__init__(0, len(columns), parent)
        self._most_rows = most_rows
        self.setHorizontalHeaderLabels(columns)
        self.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        self.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
        self.setTextElideMode(Qt.TextElideMode.ElideMiddle)
        self.setWordWrap(False)
        # Tab moves on to the next widget; the arrow keys move within the table.
        self.setTabKeyNavigation(False)
        self.setAccessibleName(accessible_name)
        self.verticalHeader().setVisible(False)
        header = self.horizontalHeader()
        header.setMinimumSectionSize(20)
        header.setHighlightSections(False)
        header.setSectionResizeMode(QHeaderView.ResizeMode.ResizeToContents)
        for column in wide:
            header.setSectionResizeMode(column, QHeaderView.ResizeMode.Stretch)

    def set_row_count(self, count: int) -> None:
        """Set the number of rows, new ones with empty cells, and fit the height."""
        before = self.rowCount()
        self.setRowCount(count)
        for row in range(before, count):
            for column in range(self.columnCount()):
                self.setItem(row, column, QTableWidgetItem())
        line = self.fontMetrics().height() + 6
        self.verticalHeader().setDefaultSectionSize(line)
        shown = min(max(count, 1), self._most_rows)
        self.setFixedHeight(self.horizontalHeader().sizeHint().height() + shown * line + 2 * self.frameWidth() + 2)

    def set_texts(self, row: int, texts: Sequence[str], tooltip: str) -> None:
        """Show a row."""
        for column, text in enumerate(texts):
            item = self.item(row, column)
            # a cell that is set is laid out again
            if item.text() != text:
                item.setText(text)
            if item.toolTip() != tooltip:
                item.setToolTip(tooltip)
