"""A line for a path, and buttons to look for it."""

from __future__ import annotations

from pathlib import Path

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QFileDialog, QHBoxLayout, QLineEdit, QPushButton, QToolButton, QWidget

from napari_care_losses.widgets.shared.form import tooltip

FILE, FOLDER, NEW = "file", "folder", "new file"
"""What is looked for: a file there is, a folder there is, a file to be made."""

_BUTTONS = {FILE: "File…", FOLDER: "Folder…", NEW: "Save as…"}


class PathEdit(QWidget):
    """A line for a path, typed or looked for.

    Parameters
    ----------
    help : str
        Tooltip.
    kinds : sequence of str
        What can be looked for, a button each.
    title : str
        Of the dialogs.
    filters : str, optional
        Which files they show, as Qt takes them.
    placeholder : str, optional
        What an empty line shows.
    parent : QWidget, optional
        Parent widget.
    """

    changed = Signal()
    """Another path has been typed or found."""

    def __init__(
        self,
        help: str,
        *kinds: str,
        title: str,
        filters: str = "",
        placeholder: str = "",
        parent: QWidget | None = None,
    ) -> None:
        super().__init__(parent)
        self._title, self._filters = title, filters
        self.line = QLineEdit()
        self.line.setToolTip(tooltip(help))
        self.line.setPlaceholderText(placeholder)
        self.line.textChanged.connect(lambda _: self.changed.emit())
        row = QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        row.addWidget(self.line, 1)
        for kind in kinds:
            button: QPushButton | QToolButton
            button = QPushButton() if len(kinds) > 1 else QToolButton()
            button.setText(_BUTTONS[kind] if len(kinds) > 1 else "…")
            button.setToolTip(tooltip(f"Look for the {kind}." if kind != NEW else "Choose where."))
            button.setAccessibleName(f"{title}: look for the {kind}")
            button.clicked.connect(lambda _, kind=kind: self.look(kind))
            row.addWidget(button)
        self.setFocusProxy(self.line)

    def text(self) -> str:
        """Return what is written, without blanks around it."""
        return self.line.text().strip()

    def set_text(self, text: str) -> None:
        """Write a path."""
        self.line.setText(text)

    def path(self) -> Path:
        """Return the path; ``~`` is the user's own folder.

        Raises
        ------
        RuntimeError
            If that is not known.
        """
        return Path(self.text()).expanduser()

    def look(self, kind: str) -> None:
        """Ask for a path by a dialog."""
        if kind == FOLDER:
            name = QFileDialog.getExistingDirectory(self, self._title, self.text())
        else:
            ask = QFileDialog.getOpenFileName if kind == FILE else QFileDialog.getSaveFileName
            name, _ = ask(self, self._title, self.text(), self._filters)
        if name:
            self.set_text(name)
