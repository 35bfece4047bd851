"""A bar in napari's activity dock for work that takes long."""

from __future__ import annotations

from napari.utils import progress
from qtpy.QtCore import QObject, QTimer

STEPS = 1000
REDRAW_MS = 200
"""Least time between two drawings: at each the dock has all waiting events processed."""


class ActivityBar(QObject):
    """Shows in napari's activity dock how far work is; there until it is closed or destroyed.

    Parameters
    ----------
    title : str
        What is going on.
    parent : QObject
        When it is destroyed, the bar goes.
    """

    def __init__(self, title: str, *, parent: QObject) -> None:
        super().__init__(parent)
        # gui: without a window, nothing is written to the terminal
        bar = self._bar = progress(total=0, desc=title, gui=True, leave=False, bar_format="{l_bar}{bar}| {remaining}")
        self._fraction = 0.0
        self._timer = QTimer(self)
        self._timer.setSingleShot(True)
        self._timer.setInterval(REDRAW_MS)
        self._timer.timeout.connect(self._redraw)
        # Not a method of this object: destroyed, it can do nothing any more.
        self.destroyed.connect(lambda: bar.close())

    def show_fraction(self, fraction: float) -> None:
        """Show the part done, 0 to 1, soon."""
        self._fraction = min(max(fraction, 0.0), 1.0)
        if not self._timer.isActive():
            self._timer.start()

    def close(self) -> None:
        """Take the bar away."""
        self._timer.stop()
        self._bar.close()
        self.deleteLater()

    def _redraw(self) -> None:
        # In an event of its own: the dock processes events, of which one may be the end of the work.
        if not self._bar.total:
            self._bar.total = STEPS
        self._bar.update(round(STEPS * self._fraction) - self._bar.n)
