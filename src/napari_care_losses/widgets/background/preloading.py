"""Torch and OpenVINO loaded beside the viewer before work needs them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtCore import QObject

from napari_care_losses.widgets.background.imports import is_loaded
from napari_care_losses.widgets.background.threads import thread_pool
from napari_care_losses.widgets.background.worker import Job
from napari_care_losses.widgets.shared.closing import CloseGuard
from napari_care_losses.widgets.shared.events import SingleShot

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from qtpy.QtWidgets import QWidget

DRAWN_MS = 40
"""Time after which a widget that has been made is drawn: loading beside it would take longer than both in turn."""

WAIT_MS = 1000
"""Time after which a widget that has opened loads torch, and between two looks whether other work still runs."""


class Preloading(QObject):
    """Loads packages in the background once a widget is drawn; torch once no other work runs.

    Otherwise what is shown first, such as a preview, would wait for torch, which takes seconds.

    Parameters
    ----------
    parent : QWidget
        The widget; once it or its dock is closed, nothing more is loaded.
    libraries : callable
        Returns the packages, as for a `Job`.
    """

    def __init__(self, *, parent: QWidget, libraries: Callable[[], Collection[str]]) -> None:
        super().__init__(parent)
        self._libraries = libraries
        self._job = Job(parent=self, libraries=libraries)
        self._timer = SingleShot(self, WAIT_MS, self._begin)
        CloseGuard(parent).closed.connect(self._timer.stop)
        if "torch" in libraries():
            self._timer.start()
        elif not all(map(is_loaded, libraries())):
            self._timer.start(DRAWN_MS)

    @property
    def is_running(self) -> bool:
        """Whether it waits or loads."""
        return self._timer.isActive() or self._job.is_running

    def _begin(self) -> None:
        libraries = self._libraries()
        if "torch" in libraries and thread_pool().activeThreadCount():
            self._timer.start()
        elif not all(map(is_loaded, libraries)):
            self._job.start(lambda: iter(()))
