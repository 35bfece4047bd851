"""The panel that exports the chosen model for other tools."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from magicgui.widgets import ComboBox, LineEdit

from napari_care_losses.models.library import makers_of
from napari_care_losses.models.program import Program
from napari_care_losses.widgets.background.worker import Outcome
from napari_care_losses.widgets.restore.panels.job_panel import JobPanel
from napari_care_losses.widgets.shared.file_edit import NEW, file_edit, typed_path
from napari_care_losses.widgets.shared.form import narrow, tooltip

if TYPE_CHECKING:
    from collections.abc import Generator

    from napari_care_losses.models.library import LibraryEntry

LICENSES = ("CC-BY-4.0", "CC0-1.0", "BSD-3-Clause", "MIT")
"""Licences offered; others of SPDX can be typed."""


class ExportPanel(JobPanel):
    """Writes the chosen model as a package for bioimage.io, in the background."""

    def __init__(self) -> None:
        super().__init__(
            "Export",
            start_help="Export the chosen model for DeepImageJ, ilastik, bioimageio.core and others, in the format of "
            "bioimage.io: PyTorch, TorchScript and ONNX weights, a test image and documentation.",
            stop_help="Stop; nothing is written.",
            failed="Not exported",
        )
        self._entry: LibraryEntry | None = None
        self._target: Path | None = None
        self._suggested: Path | None = None
        self.target = file_edit(
            "To",
            "The package to write. An existing file is replaced once the new one is complete.",
            NEW,
            title="Export the model",
            filters="Packages (*.zip)",
        )
        makers = tooltip("Who made the model; several names separated by commas.")
        self.author = narrow(LineEdit(label="Author", tooltip=makers))
        identifier = tooltip("The licence of the weights, an SPDX identifier.")
        self.license = narrow(ComboBox(label="Licence", choices=LICENSES, tooltip=identifier))
        # magicgui's combo box has no typed choices
        self.license.native.setEditable(True)
        self.rows.extend([self.target, self.author, self.license])
        self.rows.changed.connect(self._update)
        self._job.reported.connect(lambda step: self.run_bar.say(f"{step.capitalize()}…"))
        self._update()

    def set_model(self, entry: LibraryEntry | None) -> None:
        """Set the model; suggest its name, unless another has been typed, its author and its licence."""
        if entry is not None and entry != self._entry:
            if self.target.value in {None, self._suggested}:
                self.target.value = self._suggested = Path.home() / f"{entry.path.stem}.zip"
            author, license = makers_of(entry.path)
            self.author.native.setPlaceholderText(author)
            self.license.native.setCurrentText(license)
        self._entry = entry
        self._update()

    def _problem(self) -> str:
        if self._entry is None:
            return "Choose a model above."
        if isinstance(self._entry.card.architecture, Program):
            return "This model is a program of another tool: it cannot be exported."
        try:
            target = typed_path(self.target)
            if target is None or target.suffix != ".zip":
                return "Choose a file name that ends in .zip."
            folder = target.parent
            return "" if folder.is_dir() else f"There is no folder {folder}: make it first, or choose another."
        except (OSError, RuntimeError) as error:
            return f"{self.target.value} cannot be looked for: {error}."

    def _start(self) -> None:
        target = self._target = typed_path(self.target)
        assert self._entry is not None and target is not None
        path, license = self._entry.path, self.license.native.currentText().strip()
        written = self.author.value or self.author.native.placeholderText()
        authors = [name.strip() for name in written.split(",") if name.strip()]
        self._job.start(lambda: _exported(path, target, authors, license), title=f"Exporting {path.stem}")

    def _ended(self, outcome: Outcome) -> None:
        if outcome is Outcome.DONE:
            self.run_bar.say(f"Saved {self._target}.")
        elif outcome is Outcome.STOPPED:
            self.run_bar.say("Stopped: nothing was written.")


def _exported(path: Path, target: Path, authors: list[str], license: str) -> Generator[str, None, None]:
    # torch takes seconds to load
    from napari_care_losses.interchange.bioimageio.export import exporting
    from napari_care_losses.models.model import load_model

    yield "reading the model"
    yield from exporting(load_model(path), target, name=path.stem, authors=authors, license=license)
