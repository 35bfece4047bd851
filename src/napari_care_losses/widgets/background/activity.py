"""A progress bar in napari's activity dock."""

from __future__ import annotations

from napari.utils import progress
from qtpy.QtCore import QObject, QTimer

from napari_care_losses.widgets.shared.events import single_shot

BAR_STEPS = 1000
BAR_DELAY_MS = 200
"""Time before the bar is first drawn, and between two drawings: the dock processes all waiting events in each."""


class ActivityBar(QObject):
    """A progress bar in napari's activity dock, until it is closed or its parent is destroyed.

    The dock processes events whenever a bar appears or moves. In these events the work may end, or its widget or the
    whole viewer may be closed. So every drawing runs in a timer event of its own, with none of our code waiting for it.
    """

    def __init__(self, title: str, *, parent: QObject) -> None:
        super().__init__(parent)
        bar = self._bar = _Bar(title)
        self._timer = single_shot(self, BAR_DELAY_MS, bar.draw)
        self._timer.start()
        # Not a method of this object, which is gone by then. A function keeps `bar` alive, a bound method would not.
        self.destroyed.connect(lambda: QTimer.singleShot(0, lambda: bar.close()))

    def show_fraction(self, fraction: float) -> None:
        """Show the part done, 0 to 1, at the next drawing."""
        self._bar.fraction = min(max(fraction, 0.0), 1.0)
        if not self._timer.isActive():
            self._timer.start()

    def close(self) -> None:
        """Remove the bar, in an event of its own."""
        self._timer.stop()
        self.deleteLater()


class _Bar:
    """The bar itself. It is no Qt object, so that it survives objects destroyed while it is drawn."""

    def __init__(self, title: str) -> None:
        self.fraction = 0.0
        self._title = title
        self._progress: progress | None = None
        self._is_drawing = self._is_closed = False

    def draw(self) -> None:
        """Draw the bar with its current fraction."""
        if self._is_drawing or self._is_closed:
            return
        self._is_drawing = True
        try:
            self._draw()
        finally:
            self._is_drawing = False
        if self._is_closed:
            self._remove()

    def close(self) -> None:
        """Remove the bar, after the current drawing if there is one."""
        self._is_closed = True
        if not self._is_drawing:
            self._remove()

    def _draw(self) -> None:
        if self._progress is None:
            # gui: without a window, nothing is written to the terminal
            options = {"gui": True, "leave": False, "bar_format": "{l_bar}{bar}| {remaining}"}
            self._progress = progress(total=0, desc=self._title, **options)
        if self.fraction:
            if not self._progress.total:
                self._progress.total = BAR_STEPS
            self._progress.update(round(BAR_STEPS * self.fraction) - self._progress.n)

    def _remove(self) -> None:
        if self._progress is not None:
            self._progress.close()
            self._progress = None
