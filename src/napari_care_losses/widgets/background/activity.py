"""A bar in napari's activity dock for work that takes long."""

from __future__ import annotations

from napari.utils import progress
from qtpy.QtCore import QObject, QTimer

STEPS = 1000
REDRAW_MS = 200
"""Time between two drawings, and before the first: at each the dock has all waiting events processed."""


class ActivityBar(QObject):
    """Shows in napari's activity dock how far work is; there until it is closed or destroyed.

    The dock has events processed whenever a bar comes or moves, in which anything may happen: work may end, its widget
    or the whole viewer may go. So a bar comes, moves and goes in timers' events of its own, where nobody waits for it.

    Parameters
    ----------
    title : str
        What is going on.
    parent : QObject
        When it is destroyed, the bar goes.
    """

    def __init__(self, title: str, *, parent: QObject) -> None:
        super().__init__(parent)
        bar = self._bar = _Bar(title)
        self._timer = QTimer(self)
        self._timer.setSingleShot(True)
        self._timer.setInterval(REDRAW_MS)
        self._timer.timeout.connect(bar.draw)
        self._timer.start()
        # No method of this object, which can do nothing any more; and functions, for methods do not keep their object.
        self.destroyed.connect(lambda: QTimer.singleShot(0, lambda: bar.close()))

    def show_fraction(self, fraction: float) -> None:
        """Show the part done, 0 to 1, soon."""
        self._bar.fraction = min(max(fraction, 0.0), 1.0)
        if not self._timer.isActive():
            self._timer.start()

    def close(self) -> None:
        """Take the bar away soon."""
        self._timer.stop()
        self.deleteLater()


class _Bar:
    """The bar itself: no Qt object, so that it outlives whatever is destroyed while it is drawn."""

    def __init__(self, title: str) -> None:
        self.fraction = 0.0
        self._title = title
        self._progress: progress | None = None
        self._is_drawing = self._is_closed = False

    def draw(self) -> None:
        """Show the bar as it is to be now."""
        if self._is_drawing or self._is_closed:
            return
        self._is_drawing = True
        try:
            self._draw()
        finally:
            self._is_drawing = False
        if self._is_closed:
            self._take_away()

    def close(self) -> None:
        """Take the bar away, after a drawing under way."""
        self._is_closed = True
        if not self._is_drawing:
            self._take_away()

    def _draw(self) -> None:
        if self._progress is None:
            # gui: without a window, nothing is written to the terminal
            options = {"gui": True, "leave": False, "bar_format": "{l_bar}{bar}| {remaining}"}
            self._progress = progress(total=0, desc=self._title, **options)
        if self.fraction:
            if not self._progress.total:
                self._progress.total = STEPS
            self._progress.update(round(STEPS * self.fraction) - self._progress.n)

    def _take_away(self) -> None:
        if self._progress is not None:
            self._progress.close()
            self._progress = None
