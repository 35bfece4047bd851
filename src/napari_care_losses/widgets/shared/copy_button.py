"""The button that copies how a result is made, as a command or as Python."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QApplication, QMenu, QPushButton

from napari_care_losses.errors import CareError
from napari_care_losses.provenance import BASH, POWERSHELL, PYTHON
from napari_care_losses.widgets.shared.form import tooltip

if TYPE_CHECKING:
    from collections.abc import Callable

    from napari_care_losses.provenance import Record

FORMS = {
    BASH: ("As command for bash (Linux, macOS)", "Copied the command for bash."),
    POWERSHELL: ("As command for PowerShell (Windows)", "Copied the command for PowerShell."),
    PYTHON: ("As Python", "Copied the Python code."),
}
"""Text in the menu, and what is said once it is copied, by form of a record."""

SAVE_FIRST = (
    "{layers} {lie} in no file: first save {them} (File > Save Selected Layers…) as {files}, in the folder where you "
    "run it."
)
"""What is to be done before layers without a file can be used elsewhere."""


class CopyButton(QPushButton):
    """Copies a record to the clipboard, in the form chosen in its menu.

    Parameters
    ----------
    help : str
        What is copied, for the tooltip.
    """

    said = Signal(str)
    """A text for a status line."""

    def __init__(self, help: str) -> None:
        super().__init__("Copy")
        self._help = help
        self._make: Callable[[], tuple[Record, str]] | None = None
        menu = QMenu(self)
        first = POWERSHELL if sys.platform == "win32" else BASH
        for form in sorted(FORMS, key=lambda form: (form == PYTHON, form != first)):
            menu.addAction(FORMS[form][0]).triggered.connect(lambda _=False, form=form: self.copy(form))
        self.setMenu(menu)
        self.offer(None)

    def offer(self, make: Callable[[], tuple[Record, str]] | None, reason: str = "") -> None:
        """Offer to copy what `make` returns, with what is to be said of it; `reason` says why there is nothing."""
        self._make = make
        self.setEnabled(make is not None)
        self.setToolTip(tooltip(self._help if make is not None else f"{self._help} {reason}".rstrip()))

    def copy(self, form: str) -> None:
        """Copy one of `FORMS`."""
        if self._make is None:
            return
        try:
            record, remark = self._make()
            QApplication.clipboard().setText(record.texts()[form])
        except CareError as error:
            self.said.emit(f"Nothing was copied: {error}")
            return
        self.said.emit(f"{FORMS[form][1]} {remark}".rstrip())


def save_first(names: dict[str, str]) -> str:
    """Return what is to be done first where layers lie in no file: by layer, the file to save it as; empty for none.

    Examples
    --------
    >>> save_first({"actin": "actin.tif"}).partition(":")[0]
    'actin lies in no file'
    """
    if not names:
        return ""
    layers, files = (" and ".join(texts) for texts in (names, names.values()))
    is_one = len(names) == 1
    return SAVE_FIRST.format(
        layers=layers, files=files, lie="lies" if is_one else "lie", them="it" if is_one else "them"
    )
