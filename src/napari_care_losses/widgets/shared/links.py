"""Connections to the events of the viewer and its layers, cut together."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable


class Links:
    """Connections of one object to the events of others; none is left once it is gone."""

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
