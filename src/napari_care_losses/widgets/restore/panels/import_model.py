"""The panel that imports models of other tools."""

from __future__ import annotations

from dataclasses import replace
from html import escape
from typing import TYPE_CHECKING

from magicgui.widgets import ComboBox, LineEdit
from qtpy.QtCore import Signal
from qtpy.QtWidgets import QMessageBox

from napari_care_losses.errors import CareError, ForeignProgram, UnagreedProgramError
from napari_care_losses.interchange.archives import is_marker
from napari_care_losses.interchange.import_model import MARKERS, ImportParameters, importing
from napari_care_losses.models.library import new_model_path
from napari_care_losses.models.model import STRUCTURE_NAMES, SUFFIX
from napari_care_losses.widgets.background.worker import Outcome
from napari_care_losses.widgets.restore.panels.job_panel import JobPanel
from napari_care_losses.widgets.shared.file_edit import FILE, file_edit, offer_folders, typed_path
from napari_care_losses.widgets.shared.form import ParameterForm, line_up, narrow, tooltip

if TYPE_CHECKING:
    from collections.abc import Generator
    from pathlib import Path

FILES = f"Models (*.zip {' '.join(MARKERS)} *{SUFFIX});;All files (*)"

AS_THE_MODEL = "as the model says"


class ImportPanel(JobPanel):
    """Reads a model of CSBDeep or a package for bioimage.io into the library, in the background."""

    imported = Signal(str)
    """The name of a model that was added to the library."""

    def __init__(self) -> None:
        super().__init__(
            "Import",
            start_help="Read the model and add it to the library; it is then chosen above.",
            stop_help="Stop; nothing is added.",
            failed="Not imported",
        )
        self._name = self._suggested = ""
        self._asked: ForeignProgram | None = None
        self.source = file_edit(
            "From",
            "A model folder of CSBDeep (with config.json and weights_best.h5), a zip archive of it, or a package of "
            "bioimage.io. You are asked before a program in a package is run.",
            FILE,
            title="Import a model",
            filters=FILES,
        )
        self.folder_button = offer_folders(self.source)
        self.name = narrow(LineEdit(label="Name", tooltip=tooltip("The model's name in your library.")))
        structures = [(AS_THE_MODEL, None), *((structure, structure) for structure in STRUCTURE_NAMES)]
        shows = tooltip("What the model was trained on; models of CSBDeep do not say.")
        self.structure = narrow(ComboBox(label="Shows", choices=structures, tooltip=shows))
        self.percentiles = ParameterForm(ImportParameters)
        self.rows.extend([self.source, self.name, self.structure])
        self.rows.native.layout().addWidget(self.percentiles.native)
        line_up(self.percentiles, self.rows)
        self.source.changed.connect(self._on_source)
        for form in (self.rows, self.percentiles):
            form.changed.connect(self._update)
        self._job.reported.connect(lambda program: setattr(self, "_asked", program or self._asked))
        self._update()

    def _on_source(self) -> None:
        """Suggest a name, unless the user has written one."""
        path = self.source.value
        if self.name.value in {"", self._suggested} and path is not None:
            named = path.parent if is_marker(path.name, MARKERS) else path
            self.name.value = self._suggested = named.name.removesuffix(".zip").removesuffix(SUFFIX)
        self.run_bar.say("")
        self._update()

    def _problem(self) -> str:
        try:
            source = typed_path(self.source)
            if source is None:
                return "Choose a model of CSBDeep or a package: a file or a folder."
            if not source.exists():
                return f"There is no file or folder {source}."
            new_model_path(self.name.value)
            self.percentiles.value()
        except CareError as error:
            return str(error)
        except (OSError, RuntimeError) as error:
            # a name that is too long, a home folder that is not known
            return f"{self.source.value} cannot be looked for: {error}."
        return ""

    def _start(self, agreed: str = "") -> None:
        """Import; `agreed` is the SHA-256 of a program that the user has agreed to run."""
        path, name = typed_path(self.source), self.name.value.strip()
        assert path is not None
        parameters = replace(self.percentiles.value(), structure=self.structure.value)
        self._name, self._asked = name, None
        self.run_bar.say(f"Reading {path.name}…")
        self._job.start(lambda: _imported(path, name, parameters, agreed), title=f"Importing {name}")

    def _ended(self, outcome: Outcome) -> None:
        if outcome is Outcome.DONE and self._asked is not None:
            self.run_bar.say("The network is a program: it has not been run.")
            self._ask(self._asked)
        elif outcome is Outcome.DONE:
            self.imported.emit(self._name)
            self.source.value = None
            self.name.value = ""
            self.run_bar.say(f"{self._name} is in the library.")
        elif outcome is Outcome.STOPPED:
            self.run_bar.say("Stopped: nothing was added.")

    def _ask(self, program: ForeignProgram) -> None:
        """Ask whether a program may be run, and run it if so."""
        box = self.question = QMessageBox(self)
        box.setIcon(QMessageBox.Icon.Warning)
        box.setWindowTitle("Run a program?")
        box.setText(f"Run the program {escape(program.file)} of this package?")
        authors = escape(", ".join(program.authors) or "unknown authors")
        box.setInformativeText(
            f"<qt><p>The network of <b>{escape(program.package)}</b>, by {authors}, is a TorchScript program. It runs "
            "with all your rights: it could read and change your files.</p>"
            "<p>Answer Yes only if you trust its authors and the site you have it from.</p>"
            f"<p>SHA-256: <code>{program.sha256[:32]}<br>{program.sha256[32:]}</code></p></qt>"
        )
        box.setStandardButtons(QMessageBox.StandardButton.Yes | QMessageBox.StandardButton.No)
        box.setDefaultButton(QMessageBox.StandardButton.No)
        box.finished.connect(lambda answer: self._on_answer(answer, program))
        box.open()

    def _on_answer(self, answer: int, program: ForeignProgram) -> None:
        self.question.deleteLater()
        if answer != QMessageBox.StandardButton.Yes.value:
            self.run_bar.say("Not imported: you chose not to run its program.")
        elif not self._job.is_running and not self._problem():
            self.run_bar.show_progress(-1)
            self._start(program.sha256)
            self._update()


def _imported(
    path: Path, name: str, parameters: ImportParameters, agreed: str
) -> Generator[ForeignProgram | None, None, None]:
    """Import a model; yields the program that the user must agree to, if there is one."""
    try:
        yield from importing(path, name, parameters, agrees=lambda program: program.sha256 == agreed)
    except UnagreedProgramError as error:
        yield error.program
