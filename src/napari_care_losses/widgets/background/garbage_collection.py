"""Keeping existing objects out of garbage collection while threads work.

Python's garbage collector runs in whichever thread happens to allocate objects. With napari and torch loaded it stops
the viewer for a quarter of a second. Widgets and layers that it collects in a background thread are destroyed there,
but Qt and OpenGL allow that on the main thread only.
"""

from __future__ import annotations

import gc
from typing import TYPE_CHECKING

from qtpy.QtCore import QObject

from napari_care_losses.widgets.shared.events import SingleShot

if TYPE_CHECKING:
    from collections.abc import Callable

HOLD_MS = 5000
"""Time between two checks whether a thread still works: longer than a user pauses while moving a slider."""


class GarbageGuard(QObject):
    """Keeps existing objects out of garbage collection while `has_work` says that threads work, and a little longer.

    Objects made meanwhile are collected as usual. For use on the main thread only; `parent` lives as long as the
    threads.
    """

    def __init__(self, has_work: Callable[[], bool], *, parent: QObject) -> None:
        super().__init__(parent)
        self._has_work = has_work
        self.is_holding = False
        self._timer = SingleShot(self, HOLD_MS, self._check)

    def hold(self) -> None:
        """Keep existing objects out of garbage collection until no thread works; call it before a thread starts."""
        if not self.is_holding:
            self.is_holding = True
            gc.freeze()
        # Freezing and unfreezing for every short job would make the oldest generation grow uncounted: Python would
        # hardly ever collect it.
        self._timer.start(HOLD_MS)

    def let_go(self) -> None:
        """Let Python collect all objects again."""
        self._timer.stop()
        if self.is_holding:
            self.is_holding = False
            gc.unfreeze()

    def _check(self) -> None:
        if self._has_work():
            self._timer.start(HOLD_MS)
        else:
            self.let_go()
