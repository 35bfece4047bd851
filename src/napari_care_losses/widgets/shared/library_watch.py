"""The model library as the viewer sees it: read again when its folder changes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtCore import QFileSystemWatcher, QObject, Signal

from napari_care_losses.errors import CareError
from napari_care_losses.models.library import list_models
from napari_care_losses.models.user_folder import library_folder
from napari_care_losses.widgets.shared.events import SingleShot

if TYPE_CHECKING:
    from napari_care_losses.models.library import LibraryEntry

RELOAD_DELAY_MS = 200
"""Time the model folder must be quiet before it is read again."""


class LibraryWatch(QObject):
    """Tells when the library's folder changes: models come from training here, another viewer, the command line.

    Attributes
    ----------
    problem : str
        Why the library cannot be read; empty when it can.
    """

    changed = Signal()
    """The folder has changed and is quiet again."""

    def __init__(self, *, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self.problem = ""
        quiet = SingleShot(self, RELOAD_DELAY_MS, self.changed.emit)
        self._watcher = QFileSystemWatcher(self)
        self._watcher.directoryChanged.connect(lambda _: quiet.start())
        try:
            self._watcher.addPath(str(library_folder()))
        except CareError as error:
            self.problem = str(error)

    def models(self) -> list[LibraryEntry]:
        """Return the models there are; none where the library cannot be read."""
        try:
            entries, self.problem = list_models(), ""
        except CareError as error:
            entries, self.problem = [], str(error)
        return entries
