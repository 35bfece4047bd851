"""One image of a comparison, drawn at the resolution of the screen, with name and scores above it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pyqtgraph
from qtpy.QtCore import QPointF, QRectF, QSignalBlocker, Qt, Signal
from qtpy.QtWidgets import QBoxLayout, QHBoxLayout, QLabel, QSizePolicy, QVBoxLayout, QWidget
from superqt import QElidingLabel

from napari_care_losses.widgets.shared.form import tooltip
from napari_care_losses.widgets.shared.layout import arrange

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from napari_care_losses.widgets.compare.window.drawing import Pyramid

Line = tuple[tuple[float, float], tuple[float, float]]
"""The two ends (x, y) of a line in pixels; (0, 0) is the upper left corner of the image."""

LINE_COLOUR = "#ffd400"
SMALLEST_PANEL = 90
"""Least width and height of a panel, in pixels of the screen."""

MOST_ZOOMED_OUT = 3.0
"""Largest width of the view, in widths of the image."""


class ImageBox(pyqtgraph.ViewBox):
    """The view of an image: the mouse moves and zooms it; with Shift, dragging draws a line."""

    line_drawn = Signal(object)
    """A `Line`."""

    reset_asked = Signal()
    """A double click asks for the whole image."""

    def __init__(self) -> None:
        super().__init__(lockAspect=True, invertY=True, enableMenu=False, defaultPadding=0.0)

    def mouseDragEvent(self, ev: Any, axis: int | None = None) -> None:
        """Draw a line while Shift is held, move the view otherwise."""
        if not ev.modifiers() & Qt.KeyboardModifier.ShiftModifier or ev.button() != Qt.MouseButton.LeftButton:
            super().mouseDragEvent(ev, axis)
            return
        ev.accept()
        ends = [self.mapToView(point) for point in (ev.buttonDownPos(), ev.pos())]
        self.line_drawn.emit(tuple((end.x(), end.y()) for end in ends))

    def mouseDoubleClickEvent(self, ev: Any) -> None:
        """Ask for the whole image."""
        ev.accept()
        self.reset_asked.emit()


class ImagePanel(QWidget):
    """An image below its name, its scores and a mark in the colour of its curves."""

    moved = Signal(object)
    """The view, a `QRectF`, after the user has moved or zoomed it."""

    line_changed = Signal(object)
    """The `Line` the user has drawn or moved."""

    pointed_at = Signal(object)
    """The position (x, y) of the mouse in pixels."""

    def __init__(self, title: str, colour: str, *, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.pyramid: Pyramid | None = None
        self._has_line = False
        self.swatch = QLabel()
        self.title = QElidingLabel(title)
        self.title.setToolTip(tooltip(title))
        self.scores = QLabel(textFormat=Qt.TextFormat.RichText)
        self._graphics = pyqtgraph.GraphicsView(background=None)
        self._graphics.setMinimumSize(SMALLEST_PANEL, SMALLEST_PANEL)
        self.box = ImageBox()
        self._graphics.setCentralItem(self.box)
        self.item = pyqtgraph.ImageItem(axisOrder="row-major")
        self.box.addItem(self.item, ignoreBounds=True)
        self.roi = self._make_line()
        self.message = QLabel(alignment=Qt.AlignmentFlag.AlignCenter, wordWrap=True)
        self.message.setAttribute(Qt.WidgetAttribute.WA_TransparentForMouseEvents)
        self._lay_out()
        self.set_colour(colour)
        self.box.sigRangeChangedManually.connect(lambda _: self.moved.emit(self.box.viewRect()))
        self.box.sigRangeChanged.connect(self._draw)
        self.box.sigResized.connect(self._draw)
        self.box.line_drawn.connect(self.set_line)
        self.box.line_drawn.connect(self.line_changed)
        self._graphics.sigSceneMouseMoved.connect(self._on_mouse_moved)

    @property
    def heading_width(self) -> int:
        """Width of name and scores side by side, in pixels of the screen."""
        name = self.title.fontMetrics().horizontalAdvance(self.title.text())
        margins = self._heading.contentsMargins()
        gaps = 2 * self._heading.spacing() + margins.left() + margins.right()
        return int(self.swatch.sizeHint().width() + name + self.scores.sizeHint().width() + gaps)

    def stack_heading(self, is_stacked: bool) -> None:
        """Place the scores below the name, or beside it."""
        sides = QBoxLayout.Direction.TopToBottom, QBoxLayout.Direction.LeftToRight
        self._heading.setDirection(sides[not is_stacked])

    def set_colour(self, colour: str) -> None:
        """Set the colour of the curves."""
        self.swatch.setText(f'<span style="color:{colour}">■</span>')

    def set_background(self, background: str, text: str) -> None:
        """Set the colours of the theme."""
        self._graphics.setBackground(background)
        self.message.setStyleSheet(f"color: {text}; background: transparent; padding: 6px;")

    def show_image(self, pyramid: Pyramid) -> None:
        """Show an image."""
        self.pyramid = pyramid
        self.roi.setVisible(self._has_line)
        self.message.hide()
        self.item.show()
        height, width = pyramid.image.shape
        self.box.setLimits(maxXRange=MOST_ZOOMED_OUT * width, maxYRange=MOST_ZOOMED_OUT * height)
        self._draw()

    def show_message(self, text: str) -> None:
        """Show a text instead of the image."""
        self.pyramid = None
        for item in (self.item, self.roi):
            item.hide()
        self.message.setText(text)
        self.message.show()

    def set_colours(self, levels: tuple[float, float], table: NDArray[np.uint8] | None) -> None:
        """Show the range `levels` in grey, or with a table of colours."""
        self.item.setLookupTable(table, update=False)
        self.item.setLevels(levels)

    def set_view(self, rectangle: QRectF) -> None:
        """Show a part of the image; `moved` is not emitted."""
        self.box.setRange(rectangle, padding=0, disableAutoRange=True)

    def set_line(self, line: Line | None) -> None:
        """Show a line on the image, or none; `line_changed` is not emitted."""
        self._has_line = line is not None
        self.roi.setVisible(self._has_line and self.pyramid is not None)
        if line is None:
            return
        with QSignalBlocker(self.roi):
            self.roi.setPos((0, 0), update=False)
            for handle, end in zip(self.roi.getHandles(), line, strict=True):
                self.roi.movePoint(handle, end, finish=False, coords="parent")
        self.roi.update()

    def line(self) -> Line | None:
        """Return the ends of the line, or None."""
        if not self._has_line:
            return None
        first, last = (self.roi.mapToParent(point) for point in self.roi.listPoints())
        return (first.x(), first.y()), (last.x(), last.y())

    def _make_line(self) -> pyqtgraph.LineSegmentROI:
        pen, hover = (pyqtgraph.mkPen(LINE_COLOUR, width=width) for width in (2, 3))
        line = pyqtgraph.LineSegmentROI([(0, 0), (1, 1)], pen=pen, hoverPen=hover, handlePen=pen, handleHoverPen=hover)
        line.setVisible(False)
        line.setZValue(10)
        self.box.addItem(line, ignoreBounds=True)
        line.sigRegionChanged.connect(lambda _: self.line_changed.emit(self.line()))
        return line

    def _lay_out(self) -> None:
        name = arrange(QHBoxLayout(), self.swatch, self.title, growing=[self.title])
        self._heading = arrange(QHBoxLayout(), name, self.scores, growing=[name], margins=(2, 0, 2, 0))
        arrange(QVBoxLayout(self), self._heading, self._graphics, growing=[self._graphics], spacing=1)
        arrange(QVBoxLayout(self._graphics), self.message)
        self.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Ignored)
        self.setMinimumSize(SMALLEST_PANEL, SMALLEST_PANEL)

    def _on_mouse_moved(self, position: QPointF) -> None:
        place = self.box.mapSceneToView(position)
        self.pointed_at.emit((place.x(), place.y()))

    def _draw(self, *_: object) -> None:
        if self.pyramid is None or not self.box.width() > 0:
            return
        view = self.box.viewRect()
        step = view.width() / self.box.width() / self._graphics.devicePixelRatioF()
        part = self.pyramid.part(view.left(), view.top(), view.right(), view.bottom(), step=step)
        if part is None:
            self.item.clear()
            return
        self.item.setImage(part.image, autoLevels=False, levels=self.item.levels)
        self.item.setRect(QRectF(part.left, part.top, part.width, part.height))
