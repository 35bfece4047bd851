"""Asks for two folders of files, one of low and one of high exposures."""

from __future__ import annotations

from pathlib import Path

from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import (
    QDialog,
    QFileDialog,
    QHBoxLayout,
    QLabel,
    QLineEdit,
    QListWidget,
    QPushButton,
    QVBoxLayout,
    QWidget,
)

from napari_care_losses.core.errors import InputError
from napari_care_losses.core.pair_sources import PairSource, stack_files
from napari_care_losses.core.pairing import Matching, explain_unmatched, match_files, match_names
from napari_care_losses.widgets.form import make_rows, tooltip

WIDTH = 520
"""Of the dialog, in pixels: paths are long."""


class FoldersDialog(QDialog):
    """Two folders, the pairs their files make, and what is left out.

    Parameters
    ----------
    parent : QWidget, optional
        Parent widget.
    """

    chosen = Signal(object)
    """The pairs, a list of `PairSource`; the dialog is closed."""

    def __init__(self, *, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setWindowTitle("Pairs from two folders")
        self.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        self._pairs: list[PairSource] = []
        self.low, self.high = _FolderField("low exposures"), _FolderField("high exposures")
        self.found = QListWidget()
        self.found.setToolTip(tooltip("Low and high file of every pair."))
        self.summary = QLabel()
        self.summary.setWordWrap(True)
        self.add_button, cancel = QPushButton("Add pairs"), QPushButton("Cancel")
        self.add_button.setDefault(True)
        self.add_button.clicked.connect(self._add)
        cancel.clicked.connect(self.reject)
        rows = make_rows()
        rows.addRow("Low", self.low)
        rows.addRow("High", self.high)
        buttons = QHBoxLayout()
        buttons.addStretch(1)
        buttons.addWidget(cancel)
        buttons.addWidget(self.add_button)
        layout = QVBoxLayout(self)
        layout.addLayout(rows)
        layout.addWidget(self.found, 1)
        layout.addWidget(self.summary)
        layout.addLayout(buttons)
        self.low.changed.connect(self._match)
        self.high.changed.connect(self._match)
        self.resize(WIDTH, 360)
        self._match()

    def _match(self) -> None:
        self._pairs, said = [], "Choose the folder of the low and that of the high exposures."
        if self.low.folder() is not None and self.high.folder() is not None:
            try:
                self._pairs, said = match_folders(self.low.folder(), self.high.folder())
            except InputError as error:
                said = str(error)
        self.found.clear()
        self.found.addItems([f"{pair.low.name}   —   {pair.high.name}" for pair in self._pairs])
        self.summary.setText(said)
        self.add_button.setEnabled(bool(self._pairs))

    def _add(self) -> None:
        self.chosen.emit(self._pairs)
        self.accept()


class _FolderField(QWidget):
    """A folder, typed or looked for."""

    changed = Signal()

    def __init__(self, what: str, *, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._what = what
        self.path = QLineEdit()
        self.path.setPlaceholderText(f"folder of the {what}")
        self.path.setToolTip(tooltip(f"The folder with the TIFF files or OME-Zarr images of the {what}."))
        self.path.textChanged.connect(lambda _: self.changed.emit())
        looking = QPushButton("Browse…")
        looking.setAutoDefault(False)
        looking.clicked.connect(self._browse)
        row = QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        row.addWidget(self.path, 1)
        row.addWidget(looking)
        self.setFocusProxy(self.path)

    def folder(self) -> Path | None:
        """Return the folder; None while nothing is typed."""
        text = self.path.text().strip()
        return Path(text).expanduser() if text else None

    def _browse(self) -> None:
        folder = QFileDialog.getExistingDirectory(self, f"Folder of the {self._what}", self.path.text())
        if folder:
            self.path.setText(folder)


def match_folders(low: Path, high: Path) -> tuple[list[PairSource], str]:
    """Return the pairs of files, and a sentence on what was matched and what was not.

    Raises
    ------
    InputError
        If a folder cannot be read or holds no TIFF files.
    """
    lows, highs = stack_files(low), stack_files(high)
    # One folder may hold both: then only the names tell them apart.
    matching = match_names(list(lows)) if low.resolve() == high.resolve() else match_files(list(lows), list(highs))
    pairs = [PairSource(first, lows[first], highs[second]) for first, second in matching.pairs]
    return pairs, _summary(matching)


def _summary(matching: Matching) -> str:
    count = len(matching.pairs)
    if not count:
        return f"No file of one folder belongs to one of the other by its name. {explain_unmatched(matching)}".strip()
    how = (
        " by their order, since their names do not tell: look whether they belong together" if matching.by_order else ""
    )
    return f"{count} pair{'s' if count > 1 else ''} matched{how}. {explain_unmatched(matching)}".strip()
