"""Timers that act once, and connections that are cut together."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from qtpy.compat import isalive
from qtpy.QtCore import QTimer

if TYPE_CHECKING:
    from collections.abc import Callable

    from qtpy.QtCore import QObject


class SingleShot(QTimer):
    """A timer that calls a function once, an interval after its last start.

    The function may process events, as napari's activity dock does. Then Qt must not call it again from within: PyQt
    would free the connection that the outer call returns to if the timer were deleted meanwhile. So a start during the
    call is carried out after it.

    Parameters
    ----------
    parent : QObject
        When it is destroyed, the function is no longer called.
    milliseconds : int
        The interval.
    call : callable
        The function.
    """

    def __init__(self, parent: QObject, milliseconds: int, call: Callable[[], object]) -> None:
        super().__init__(parent)
        self._call, self._is_calling = call, False
        self._awaited: tuple[int, ...] | None = None
        self.setSingleShot(True)
        self.setInterval(milliseconds)
        self.timeout.connect(self._on_timeout)

    def start(self, *milliseconds: int) -> None:
        """Start, or start again, with the interval or another one."""
        if self._is_calling:
            self._awaited = milliseconds
        else:
            super().start(*milliseconds)

    def stop(self) -> None:
        """Stop waiting."""
        self._awaited = None
        super().stop()

    def isActive(self) -> bool:
        """Return whether the function is to be called."""
        return self._awaited is not None or super().isActive()

    def _on_timeout(self) -> None:
        self._is_calling = True
        try:
            self._call()
        finally:
            self._is_calling = False
            awaited, self._awaited = self._awaited, None
            if awaited is not None and isalive(self):
                super().start(*awaited)


class Links:
    """Connections to the events of the viewer and its layers, cut together."""

    def __init__(self) -> None:
        self._pairs: list[tuple[Any, Callable[..., None]]] = []

    def add(self, emitter: Any, callback: Callable[..., None]) -> None:
        """Call `callback` at an event."""
        emitter.connect(callback)
        self._pairs.append((emitter, callback))

    def cut(self) -> None:
        """Disconnect everything."""
        for emitter, callback in self._pairs:
            emitter.disconnect(callback)
        self._pairs.clear()
