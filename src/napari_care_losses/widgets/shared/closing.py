"""Detects that the dock of a widget, or the viewer, is closed."""

from __future__ import annotations

from typing import TypeVar

from qtpy.QtCore import QEvent, QObject, Signal
from qtpy.QtWidgets import QMainWindow, QWidget

Ancestor = TypeVar("Ancestor", bound=QWidget)


class CloseGuard(QObject):
    """Tells when the dock of a widget, or the viewer, is closed; a dock that is only hidden is not.

    Parameters
    ----------
    widget : QWidget
        The widget in the dock; it is deleted with its dock.
    """

    closed = Signal()

    def __init__(self, widget: QWidget) -> None:
        super().__init__(widget)
        self._widget = widget
        self.window: QMainWindow | None = None
        """The viewer's window, from when the widget is shown in it until either is closed."""
        widget.installEventFilter(self)

    def eventFilter(self, watched: QObject | None, event: QEvent | None) -> bool:
        """Watch for the events of closing."""
        assert event is not None
        kind = event.type()
        if watched is self._widget and kind == QEvent.Type.ParentChange and self._widget.parent() is None:
            self._close()
            # the garbage collector could delete it in another thread
            self._widget.deleteLater()
        elif watched is self._widget and kind == QEvent.Type.Show and self.window is None:
            self.window = ancestor(self._widget, QMainWindow)
            if self.window is not None:
                self.window.installEventFilter(self)
        elif watched is self.window and kind == QEvent.Type.Hide and not event.spontaneous():
            self._close()
        return False

    def _close(self) -> None:
        self.closed.emit()
        if self.window is not None:
            # a reference to the widget must not keep the viewer alive
            self.window.removeEventFilter(self)
            self.window = None


def ancestor(widget: QWidget, kind: type[Ancestor]) -> Ancestor | None:
    """Return the closest parent of a kind, if there is one."""
    parent = widget.parentWidget()
    while parent is not None and not isinstance(parent, kind):
        parent = parent.parentWidget()
    return parent
