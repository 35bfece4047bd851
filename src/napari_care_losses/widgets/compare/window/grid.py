"""The panels of a comparison in a grid, with the same view, contrast and line."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtCore import QEvent, QRectF, Signal
from qtpy.QtWidgets import QGridLayout, QWidget

from napari_care_losses.widgets.compare.window.image_panel import ImagePanel, Line
from napari_care_losses.widgets.shared.events import SingleShot

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np
    from numpy.typing import NDArray

HEADING = 20
"""Approximate height of a panel's heading, in pixels of the screen."""

SPACING = 4


class PanelGrid(QWidget):
    """Images side by side, as large as possible.

    Parameters
    ----------
    colours : mapping of str to str
        The panels in order, and the colour of their curves.
    frame_shape : tuple of int
        (Y, X) of all images.
    """

    line_changed = Signal()
    """The user has drawn or moved the line."""

    pointed_at = Signal(object)
    """The position (x, y) of the mouse in pixels; None when it has left."""

    def __init__(
        self, colours: Mapping[str, str], frame_shape: tuple[int, int], *, parent: QWidget | None = None
    ) -> None:
        super().__init__(parent)
        height, width = frame_shape
        self._whole = self._view = QRectF(0, 0, width, height)
        middle = height / 2
        self.line: Line = (0.2 * width, middle), (0.8 * width, middle)
        self.panels = {name: ImagePanel(name, colour) for name, colour in colours.items()}
        self._layout = QGridLayout(self, spacing=SPACING)
        self._layout.setContentsMargins(0, 0, 0, 0)
        self._columns = 0
        self._settling = SingleShot(self, 0, lambda: self._set_view(self._view))
        for panel in self.panels.values():
            panel.moved.connect(self._set_view)
            panel.line_changed.connect(self._on_line_changed)
            panel.pointed_at.connect(self.pointed_at)
            panel.box.reset_asked.connect(self.reset_view)
        self._arrange()
        self.reset_view()
        self.show_line(True)

    def reset_view(self) -> None:
        """Show the whole image."""
        self._set_view(self._whole)

    def images(self) -> dict[str, NDArray[np.float32]]:
        """Return the images shown, by panel."""
        return {name: panel.pyramid.image for name, panel in self.panels.items() if panel.pyramid is not None}

    def fit_headings(self) -> None:
        """Place the scores of all panels below the names if one name is too long to stand beside them."""
        columns = max(1, self._columns)
        width = (self.width() - SPACING * (columns - 1)) // columns
        is_tight = any(panel.heading_width > width for panel in self.panels.values())
        for panel in self.panels.values():
            panel.stack_heading(is_tight)

    def set_colours(self, levels: tuple[float, float], table: NDArray[np.uint8] | None, *, but: str = "") -> None:
        """Set contrast and colours of all panels except `but`."""
        for name, panel in self.panels.items():
            if name != but:
                panel.set_colours(levels, table)

    def show_line(self, is_shown: bool) -> None:
        """Show or hide the line; a hidden line is kept."""
        for panel in self.panels.values():
            panel.set_line(self.line if is_shown else None)

    def resizeEvent(self, event: object) -> None:
        """Choose the number of columns that fits."""
        super().resizeEvent(event)
        self._arrange()
        self.fit_headings()
        # Every panel moves its view a little when it is resized: set it once more afterwards.
        self._settling.start()

    def event(self, event: QEvent | None) -> bool:
        """Emit `pointed_at` when the mouse leaves."""
        if event is not None and event.type() == QEvent.Type.Leave:
            self.pointed_at.emit(None)
        return super().event(event)

    def _arrange(self) -> None:
        columns = best_columns(
            len(self.panels), self.width(), self.height(), aspect=self._whole.width() / self._whole.height()
        )
        if columns == self._columns:
            return
        for place in range(max(self._columns, columns, len(self.panels))):
            self._layout.setColumnStretch(place, int(place < columns))
            self._layout.setRowStretch(place, int(place < -(-len(self.panels) // columns)))
        for place, panel in enumerate(self.panels.values()):
            self._layout.addWidget(panel, *divmod(place, columns))
        self._columns = columns

    def _set_view(self, rectangle: QRectF) -> None:
        self._view = QRectF(rectangle)
        for panel in self.panels.values():
            panel.set_view(self._view)

    def _on_line_changed(self, line: Line) -> None:
        sender = self.sender()
        self.line = line
        for panel in self.panels.values():
            if panel is not sender:
                panel.set_line(line)
        self.line_changed.emit()


def best_columns(count: int, width: float, height: float, *, aspect: float) -> int:
    """Return the number of columns that makes `count` images of an aspect (width / height) largest."""

    def size(columns: int) -> float:
        rows = -(-count // columns)
        room = (height - SPACING * (rows - 1)) / rows - HEADING
        return min((width - SPACING * (columns - 1)) / columns, room * aspect)

    return max(range(1, count + 1), key=size)
