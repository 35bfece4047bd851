"""A dialog for two folders of files, one of low and one of high exposures."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import QDialog, QDialogButtonBox, QLabel, QListWidget, QVBoxLayout, QWidget

from napari_care_losses.errors import InputError
from napari_care_losses.training.pair_names import Matching, explain_unmatched, match_files, match_names
from napari_care_losses.training.pair_sources import PairSource, stack_files
from napari_care_losses.training.targets.registry import TARGETS
from napari_care_losses.widgets.shared.file_edit import FOLDER, file_edit, typed_path
from napari_care_losses.widgets.shared.form import Rows, tooltip

if TYPE_CHECKING:
    from pathlib import Path

DIALOG_WIDTH = 520
"""In pixels: paths are long."""


class FoldersDialog(QDialog):
    """Asks for two folders and shows the pairs of their files, and which files are left out.

    Parameters
    ----------
    target : str
        What the network learns from, as in `PairSource`; one folder where that is noisy images alone.
    """

    chosen = Signal(object)
    """The pairs, a list of `PairSource`; emitted when the dialog is accepted."""

    def __init__(self, target: str = "clean", *, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._target, self._is_alone = target, not TARGETS[target].takes_high
        self.setWindowTitle("Images from a folder" if self._is_alone else "Pairs from two folders")
        self.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        self._pairs: list[PairSource] = []
        self.low, self.high = (
            file_edit(
                label,
                f"The folder with the image files (TIFF, CZI, LIF, ND2, OME-Zarr) of the {what}.",
                FOLDER,
                title=f"Folder of the {what}",
                placeholder=f"folder of the {what}",
            )
            for label, what in (("Low", "low exposures"), ("High", "high exposures"))
        )
        self.found = QListWidget(toolTip=tooltip("Low and high file of every pair."))
        self.summary = QLabel(wordWrap=True)
        buttons = QDialogButtonBox(accepted=self._add, rejected=self.reject)
        text = "Add images" if self._is_alone else "Add pairs"
        self.add_button = buttons.addButton(text, QDialogButtonBox.ButtonRole.AcceptRole)
        buttons.addButton("Cancel", QDialogButtonBox.ButtonRole.RejectRole)
        layout = QVBoxLayout(self)
        folders = Rows(self.low) if self._is_alone else Rows(self.low, self.high)
        for part in (folders.native, self.found, self.summary, buttons):
            layout.addWidget(part, int(part is self.found))
        self.low.changed.connect(self._match)
        self.high.changed.connect(self._match)
        self.resize(DIALOG_WIDTH, 360)
        self._match()

    def _match(self) -> None:
        self._pairs, message = [], "Choose the folder of the low exposures and the folder of the high exposures."
        low, high = typed_path(self.low), typed_path(self.high)
        if self._is_alone:
            message = "Choose the folder of the noisy images."
        try:
            if low is not None and self._is_alone:
                self._pairs = [PairSource(name, path, None, self._target) for name, path in stack_files(low).items()]
                message = f"{len(self._pairs)} images."
            elif low is not None and high is not None:
                self._pairs, message = match_folders(low, high)
                self._pairs = [pair._replace(target=self._target) for pair in self._pairs]
        except InputError as error:
            message = str(error)
        self.found.clear()
        names = ((pair.low.name, pair.high) for pair in self._pairs)
        self.found.addItems([low if high is None else f"{low}   —   {high.name}" for low, high in names])
        self.summary.setText(message)
        self.add_button.setEnabled(bool(self._pairs))

    def _add(self) -> None:
        self.chosen.emit(self._pairs)
        self.accept()


def match_folders(low: Path, high: Path) -> tuple[list[PairSource], str]:
    """Return the pairs of files, and a sentence on what was matched and what was not.

    Raises
    ------
    InputError
        If a folder cannot be read or holds no image files.
    """
    lows, highs = stack_files(low), stack_files(high)
    # One folder may hold both exposures: then only the names distinguish them.
    matching = match_names(list(lows)) if low.resolve() == high.resolve() else match_files(list(lows), list(highs))
    pairs = [PairSource(first, lows[first], highs[second]) for first, second in matching.pairs]
    return pairs, _summary(matching)


def _summary(matching: Matching) -> str:
    count = len(matching.pairs)
    if not count:
        return f"No file names of the two folders match. {explain_unmatched(matching)}".strip()
    by_order = " by their order, because their names do not match: check that they belong together"
    how = by_order if matching.by_order else ""
    return f"{count} pair{'s' if count > 1 else ''} matched{how}. {explain_unmatched(matching)}".strip()
