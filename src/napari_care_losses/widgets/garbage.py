"""Collecting Python's garbage on the main thread only, and little of it at a time, while threads work.

Python looks for unreachable cycles in whichever thread happens to allocate. In a background thread it may so destroy
layers and widgets of the viewer, which Qt and OpenGL allow on the main thread only: the viewer then crashes. On the
main thread a full search goes through all objects of napari and torch, and holds the viewer up for a quarter of a
second.
"""

from __future__ import annotations

import gc
from typing import TYPE_CHECKING

from qtpy.QtCore import QObject, QTimer

if TYPE_CHECKING:
    from collections.abc import Callable

INTERVAL_MS = 500
"""Time between two searches among the youngest objects."""

FULL_EVERY = 20
"""Every so many searches all objects are gone through that have been made since the work began."""


class GarbageCollector(QObject):
    """Takes garbage collection over while threads work.

    Parameters
    ----------
    has_work : callable
        Whether a thread works; asked on the main thread.
    parent : QObject
        The application.
    """

    def __init__(self, has_work: Callable[[], bool], *, parent: QObject) -> None:
        super().__init__(parent)
        self._has_work = has_work
        self._count = 0
        self._timer = QTimer(self)
        self._timer.setInterval(INTERVAL_MS)
        self._timer.timeout.connect(self._collect)

    def take_over(self) -> None:
        """Collect on the main thread from here on, until no thread works any more; to be called before one starts."""
        if self._timer.isActive() or not gc.isenabled():
            return
        # what is there already is the viewer's and stays: it is not gone through
        gc.freeze()
        gc.disable()
        self._count = 0
        self._timer.start()

    def give_back(self) -> None:
        """Let Python collect by itself again."""
        if self._timer.isActive():
            self._timer.stop()
            gc.unfreeze()
            gc.enable()

    def _collect(self) -> None:
        if not self._has_work():
            self.give_back()
            return
        self._count += 1
        gc.collect(1 if self._count % FULL_EVERY else 2)
