"""A progress bar in napari's activity dock."""

from __future__ import annotations

from napari.utils import progress
from qtpy.QtCore import QCoreApplication, QObject

from napari_care_losses.widgets.shared.events import SingleShot

BAR_STEPS = 1000
BAR_DELAY_MS = 200
"""Time before the bar is first drawn, and between two drawings: the dock processes all waiting events in each."""


class ActivityBar(QObject):
    """A progress bar in napari's activity dock, until it is closed.

    The dock processes events whenever a bar appears or moves. In these events the work may end, its widget or the whole
    viewer may be closed, and timers fire. So a bar belongs to the application, and every call of the dock is made in a
    timer event of its own, with none of our code waiting for it. The bar deletes itself in such an event, when none of
    its drawings is under way.
    """

    def __init__(self, title: str) -> None:
        super().__init__(QCoreApplication.instance())
        self._title, self._fraction = title, 0.0
        self._progress: progress | None = None
        self._is_closed = False
        self._timer = SingleShot(self, BAR_DELAY_MS, self._act)
        self._timer.start()

    def show_fraction(self, fraction: float) -> None:
        """Show the part done, 0 to 1, at the next drawing."""
        self._fraction = min(max(fraction, 0.0), 1.0)
        if not self._is_closed and not self._timer.isActive():
            self._timer.start()

    def close(self) -> None:
        """Remove the bar, in an event of its own."""
        self._is_closed = True
        self._timer.start(0)

    def _act(self) -> None:
        if self._is_closed:
            self.deleteLater()
            if self._progress is not None:
                self._progress.close()
            return
        if self._progress is None:
            # gui: without a window, nothing is written to the terminal
            options = {"gui": True, "leave": False, "bar_format": "{l_bar}{bar}| {remaining}"}
            self._progress = progress(total=0, desc=self._title, **options)
        if self._fraction and not self._is_closed:
            if not self._progress.total:
                self._progress.total = BAR_STEPS
            self._progress.update(round(BAR_STEPS * self._fraction) - self._progress.n)
