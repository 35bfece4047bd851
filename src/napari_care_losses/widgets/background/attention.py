"""Whether somebody is using the viewer: then long work leaves a CPU core free."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from qtpy.QtCore import QCoreApplication, QEvent, QObject

from napari_care_losses.compute.cores import cpu_cores
from napari_care_losses.widgets.shared.events import SingleShot

if TYPE_CHECKING:
    from collections.abc import Callable

REST_S = 1.0
"""Seconds without mouse, keys or touch after which nobody is using the viewer."""

HOLD_MS = 5000
"""Time between two checks whether a thread still works."""

_TOUCHES = frozenset(
    (
        QEvent.Type.MouseButtonPress,
        QEvent.Type.MouseButtonRelease,
        QEvent.Type.MouseMove,
        QEvent.Type.Wheel,
        QEvent.Type.KeyPress,
        QEvent.Type.KeyRelease,
        QEvent.Type.TouchBegin,
        QEvent.Type.TouchUpdate,
        QEvent.Type.NativeGesture,
        QEvent.Type.TabletMove,
        QEvent.Type.TabletPress,
    )
)


class Attention(QObject):
    """Notices mouse, keys and touch anywhere in the application while `has_work` says that threads work.

    For use on the main thread, but for `cores`; `parent` lives as long as the threads.
    """

    def __init__(self, has_work: Callable[[], bool], *, parent: QObject) -> None:
        super().__init__(parent)
        self._has_work = has_work
        self._last = -REST_S
        self.is_watching = False
        self._timer = SingleShot(self, HOLD_MS, self._check)

    @property
    def is_given(self) -> bool:
        """Whether somebody used the viewer within the last second; may be asked in any thread."""
        return time.monotonic() - self._last < REST_S

    def cores(self) -> int:
        """Return how many CPU cores long work may take now; may be asked in any thread."""
        return max(1, cpu_cores() - 1) if self.is_given else cpu_cores()

    def watch(self) -> None:
        """Notice what is done until no thread works; call it before a thread starts."""
        application = QCoreApplication.instance()
        if not self.is_watching and application is not None:
            self.is_watching = True
            # the button that started the work has just been pressed
            self._last = time.monotonic()
            application.installEventFilter(self)
        self._timer.start(HOLD_MS)

    def eventFilter(self, _watched: QObject | None, event: QEvent | None) -> bool:
        """Note the time of an event that somebody caused, and let all events pass."""
        if event is not None and event.type() in _TOUCHES:
            self._last = time.monotonic()
        return False

    def rest(self) -> None:
        """Notice nothing any more."""
        self._timer.stop()
        application = QCoreApplication.instance()
        if self.is_watching and application is not None:
            application.removeEventFilter(self)
        self.is_watching = False

    def _check(self) -> None:
        if self._has_work():
            self._timer.start(HOLD_MS)
        else:
            self.rest()
