"""Leaving the viewer's objects out of Python's search for garbage while threads work.

Now and then Python looks through all objects for cycles that nothing refers to, in whichever thread happens to make
new ones. Once napari and torch are loaded that holds the viewer up for a quarter of a second; and what it finds in a
working thread, widgets and layers, is destroyed there, which Qt and OpenGL allow on the main thread only.
"""

from __future__ import annotations

import gc
from typing import TYPE_CHECKING

from qtpy.QtCore import QObject, QTimer

if TYPE_CHECKING:
    from collections.abc import Callable

REST_MS = 5000
"""Time after which it is looked whether work still goes on: longer than the pauses of someone who moves a slider."""


class GarbageGuard(QObject):
    """Keeps the objects there are out of the search for garbage while work goes on, and a little longer.

    Objects made meanwhile are searched as ever. To be used on the main thread.

    Parameters
    ----------
    has_work : callable
        Whether a thread works.
    parent : QObject
        What lives as long as the threads do.
    """

    def __init__(self, has_work: Callable[[], bool], *, parent: QObject) -> None:
        super().__init__(parent)
        self._has_work = has_work
        self._is_holding = False
        self._timer = QTimer(self)
        self._timer.setSingleShot(True)
        self._timer.timeout.connect(self._look)

    @property
    def is_holding(self) -> bool:
        """Whether objects are kept out of the search."""
        return self._is_holding

    def hold(self) -> None:
        """Keep the objects there are out of the search until no thread works any more; called before one starts."""
        if not self._is_holding:
            self._is_holding = True
            gc.freeze()
        # Frozen and thawed for every short job, objects would grow old uncounted, and Python would hardly ever search
        # among the old ones.
        self._timer.start(REST_MS)

    def let_go(self) -> None:
        """Let Python search among all objects again."""
        self._timer.stop()
        if self._is_holding:
            self._is_holding = False
            gc.unfreeze()

    def _look(self) -> None:
        if self._has_work():
            self._timer.start(REST_MS)
        else:
            self.let_go()
