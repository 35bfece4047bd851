"""Background work in the task status of napari's window, whose dialog of closing names it and asks."""

from __future__ import annotations

import weakref
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from qtpy.QtCore import QObject

    from napari_care_losses.widgets.background.threads import Worker

PROVIDER = "CARE Losses"
"""What the dialog puts in front of the title."""


class WindowTask:
    """A job as napari's window knows it: running until `end`. Releases of napari without task status show nothing.

    Parameters
    ----------
    owner : QObject
        A widget in the window, or a child of such a widget.
    title : str
        What the work does.
    worker : Worker
        Asked to stop when the window closes.
    """

    def __init__(self, owner: QObject, title: str, worker: Worker) -> None:
        self._window = _window_of(owner)
        if self._window is None:
            return
        # the window keeps what it is given until it is closed
        reference = weakref.ref(worker)

        def stop() -> None:
            running = reference()
            if running is not None:
                running.quit()

        self._number = self._window._register_task_status(PROVIDER, _status("BUSY"), title, stop)

    def forget(self) -> None:
        """Tell the window that the job is gone."""
        self.end("CANCELLED")

    def end(self, name: str) -> None:
        """Tell the window that the work has ended: COMPLETED, CANCELLED or FAILED; later calls do nothing."""
        window, self._window = self._window, None
        if window is not None:
            window._update_task_status(self._number, _status(name))


def _window_of(owner: QObject) -> Any:
    parent: QObject | None = owner
    while parent is not None:
        window = getattr(parent, "_window", None)
        if hasattr(window, "_register_task_status"):
            return window
        parent = parent.parent()
    return None


def _status(name: str) -> Any:
    from napari.utils.task_status import Status

    return Status[name]
