"""Base of the plugin's widgets: a body that scrolls, above a foot that stays in sight."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.compat import isalive
from qtpy.QtCore import QSize, Qt
from qtpy.QtOpenGLWidgets import QOpenGLWidget
from qtpy.QtWidgets import QDockWidget, QFrame, QScrollArea, QSizePolicy, QVBoxLayout, QWidget

from napari_care_losses.widgets.shared.closing import CloseGuard, ancestor
from napari_care_losses.widgets.shared.events import SingleShot
from napari_care_losses.widgets.shared.layout import arrange

if TYPE_CHECKING:
    import napari.viewer
    from qtpy.QtGui import QShowEvent
    from qtpy.QtWidgets import QMainWindow

WIDTH = 340
"""Least width, in pixels."""


class Panel(QWidget):
    """A widget of the plugin, with a body that scrolls above a foot that does not.

    Parameters
    ----------
    napari_viewer : napari.viewer.Viewer
        The viewer; napari gives it to the widgets of plugins by this name.
    """

    def __init__(self, napari_viewer: napari.viewer.Viewer, *, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._viewer = napari_viewer
        self.closing = CloseGuard(self)
        napari_viewer.layers.events.removing.connect(self._before_removal)
        self._joining = SingleShot(self, 0, self._join)
        self._was_shown = False
        content = QWidget()
        self.body = QVBoxLayout(content)
        self.body.setContentsMargins(6, 6, 6, 6)
        self.body.setSpacing(6)
        self.foot = QVBoxLayout()
        self.foot.setContentsMargins(6, 0, 6, 4)
        self._area = QScrollArea()
        self._area.setWidget(content)
        self._area.setWidgetResizable(True)
        self._area.setFrameShape(QFrame.Shape.NoFrame)
        self._area.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        arrange(QVBoxLayout(self), self._area, self.foot, growing=(self._area,))
        self.setSizePolicy(QSizePolicy.Policy.Preferred, QSizePolicy.Policy.Expanding)

    def minimumSizeHint(self) -> QSize:
        """Return the width at which nothing is cut off."""
        bar = self._area.verticalScrollBar()
        content = self._area.widget()
        assert bar is not None and content is not None
        needed = content.minimumSizeHint().width() + bar.sizeHint().width()
        return QSize(max(WIDTH, needed), super().minimumSizeHint().height())

    def sizeHint(self) -> QSize:
        """Return a width that leaves the image its room."""
        return QSize(self.minimumSizeHint().width(), super().sizeHint().height())

    def showEvent(self, event: QShowEvent | None) -> None:
        """Join the plugin's other docks when shown for the first time."""
        super().showEvent(event)
        if not self._was_shown:
            self._was_shown = True
            # once napari has placed the dock
            self._joining.start()

    def bring_into_view(self, widget: QWidget) -> None:
        """Scroll to a widget of the body."""
        self._area.ensureWidgetVisible(widget)

    def _join(self) -> None:
        """Share the place of the plugin's other docks, as tabs: a small screen has no room for two."""
        window, dock = self.closing.window, ancestor(self, QDockWidget)
        if window is None or dock is None or dock.isFloating():
            return
        area = window.dockWidgetArea(dock)
        docks = (ancestor(panel, QDockWidget) for panel in window.findChildren(Panel) if panel is not self)
        for other in filter(None, docks):
            if window.dockWidgetArea(other) == area and not other.isFloating():
                window.tabifyDockWidget(other, dock)
                dock.raise_()
                return

    def _before_removal(self, _event: object) -> None:
        make_canvas_current(self.closing.window)


def make_canvas_current(window: QMainWindow | None) -> None:
    """Make the OpenGL context of the viewer's canvas current, before a layer is removed.

    napari deletes the buffers of the layer in the context that is current (0.9.2: they are flushed in
    `VispyCanvas._clean_and_update_scenegraph`). Outside its own drawing that is another one: the canvas then still uses
    the buffers, and the process crashes when the next layer is added.
    """
    centre = window.centralWidget() if window is not None and isalive(window) else None
    if centre is not None:
        for canvas in centre.findChildren(QOpenGLWidget):
            canvas.makeCurrent()
