"""The table of training pairs as shown: one line per pair."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtCore import Qt, Signal

from napari_care_losses.training.pair_sources import shape_text
from napari_care_losses.widgets.shared.form import tooltip
from napari_care_losses.widgets.train.compact_table import CompactTable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from qtpy.QtGui import QKeyEvent
    from qtpy.QtWidgets import QWidget

    from napari_care_losses.widgets.train.pairs.row import PairRow


COLUMNS = ("", "Low", "High", "Shape")
ALONE = ("", "Image", "", "Shape")
"""Titles where there is no second image."""


class PairGrid(CompactTable):
    """Shows pairs: a mark, both names, and their shape or the problem."""

    delete_pressed = Signal()

    def __init__(self, *, parent: QWidget | None = None) -> None:
        super().__init__(COLUMNS, wide=(1, 2), most_rows=6, accessible_name="Training pairs", parent=parent)

    def keyPressEvent(self, event: QKeyEvent | None) -> None:
        """Emit `delete_pressed` for the Delete key."""
        if event is not None and event.key() == Qt.Key.Key_Delete:
            self.delete_pressed.emit()
        else:
            super().keyPressEvent(event)

    def set_alone(self, is_alone: bool) -> None:
        """Show a column of noisy images alone, or one of low and one of high exposures."""
        self.setHorizontalHeaderLabels(ALONE if is_alone else COLUMNS)
        self.setColumnHidden(COLUMNS.index("High"), is_alone)

    def show_rows(self, rows: Sequence[PairRow]) -> None:
        """Show these rows and no others; the selection stays where it can."""
        self.set_row_count(len(rows))
        for number, row in enumerate(rows):
            self.show_row(number, row)

    def show_row(self, number: int, row: PairRow) -> None:
        """Update one row."""
        mark, _, reason = row.verdict.partition(" ")
        # only the beginning of a reason: the column is narrow, and the full text is below the table
        short = reason.split(":")[0].split(" holds")[0][:20].rstrip(" .")
        shape = shape_text(row.shape) if row.is_usable else short
        self.set_texts(
            number, (mark, *row.names, shape), tooltip(f"{' and '.join(filter(None, row.names))}<br>{row.verdict}")
        )

    def selected_numbers(self) -> list[int]:
        """Return the numbers of the selected rows."""
        return sorted({index.row() for index in self.selectedIndexes()})
