"""Timers that act once, and connections that are cut together."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QTimer

if TYPE_CHECKING:
    from collections.abc import Callable

    from qtpy.QtCore import QObject


def single_shot(parent: QObject, milliseconds: int, call: Callable[[], object]) -> QTimer:
    """Return a timer that acts once, so long after its last start."""
    timer = QTimer(parent)
    timer.setSingleShot(True)
    timer.setInterval(milliseconds)
    timer.timeout.connect(call)
    return timer


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
