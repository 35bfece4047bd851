"""Adding a model of another tool to the library, from the Restore widget."""

from __future__ import annotations

from pathlib import Path

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QComboBox, QFileDialog, QHBoxLayout, QLineEdit, QPushButton, QVBoxLayout, QWidget

from napari_care_losses.core.errors import CareError
from napari_care_losses.core.foreign.importing import MARKERS, importing
from napari_care_losses.core.library import new_model_path
from napari_care_losses.core.model import STRUCTURES
from napari_care_losses.widgets.form import make_rows, tooltip
from napari_care_losses.widgets.run_bar import RunBar
from napari_care_losses.widgets.worker import CloseGuard, Job, Outcome

FILES = f"Models (*.zip {' '.join(MARKERS)});;All files (*)"

AS_THE_MODEL = "as the model says"


class ImportPanel(QWidget):
    """Reads a model of CSBDeep or a package for bioimage.io into the library, in the background.

    Parameters
    ----------
    parent : QWidget, optional
        Parent widget.
    """

    imported = Signal(str)
    """The name of a model that has come into the library."""

    def __init__(self, *, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._name = ""
        self._suggested = ""
        self._job = Job(parent=self, uses_torch=True)
        self.source = QLineEdit()
        self.source.setToolTip(
            tooltip(
                "A model folder of CSBDeep (with config.json and weights_best.h5) or a zip archive of it; or a package "
                "made by <i>napari-care-losses export</i>. No code in it is run."
            )
        )
        self.name = QLineEdit()
        self.name.setToolTip(tooltip("What the model is to be called here."))
        self.structure = QComboBox()
        self.structure.addItem(AS_THE_MODEL, None)
        for structure in STRUCTURES:
            self.structure.addItem(structure, structure)
        self.structure.setToolTip(tooltip("What the model was trained on; models of CSBDeep do not say."))
        self.run_bar = RunBar(
            "Import",
            "Stop",
            start_help="Read the model and add it to the library; it is then chosen above.",
            stop_help="Stop; nothing is added.",
        )
        buttons = QHBoxLayout()
        for text, look in (("File…", self._look_for_file), ("Folder…", self._look_for_folder)):
            button = QPushButton(text)
            button.clicked.connect(look)
            buttons.addWidget(button, 1)
        rows = make_rows()
        rows.addRow("From", self.source)
        rows.addRow("", buttons)
        rows.addRow("Name", self.name)
        rows.addRow("Shows", self.structure)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addLayout(rows)
        layout.addWidget(self.run_bar)
        self.source.textChanged.connect(self._on_source)
        self.name.textChanged.connect(lambda _: self._update())
        self.run_bar.started.connect(self._start)
        self.run_bar.stopped.connect(self._stop)
        self._job.failed.connect(lambda error: self.run_bar.say(f"Not imported: {error}"))
        self._job.finished.connect(self._on_finished)
        CloseGuard(self).closed.connect(self._job.stop)
        self._update()

    @property
    def is_running(self) -> bool:
        """Whether a model is being read."""
        return self._job.is_running

    def _path(self) -> Path:
        return Path(self.source.text().strip()).expanduser()

    def _on_source(self) -> None:
        """Suggest a name, unless the user has written one."""
        if self.name.text() in {"", self._suggested}:
            path = Path(self.source.text().strip())
            named = path.parent if path.name in MARKERS else path
            self._suggested = named.name.removesuffix(".zip")
            self.name.setText(self._suggested)
        self.run_bar.say("")
        self._update()

    def _problem(self) -> str:
        if not self.source.text().strip():
            return "Choose a model of CSBDeep or a package: a file or a folder."
        try:
            if not self._path().exists():
                return f"There is no file or folder {self._path()}."
            new_model_path(self.name.text())
        except CareError as error:
            return str(error)
        except (OSError, RuntimeError) as error:
            # a name that is too long, a home folder that is not known
            return f"{self.source.text()} cannot be looked for: {error}."
        return ""

    def _update(self) -> None:
        self.run_bar.set_state(
            is_running=self._job.is_running, is_stopping=self._job.is_stopping, reason=self._problem()
        )

    def _start(self) -> None:
        if self._job.is_running or self._problem():
            return
        path, name, structure = self._path(), self.name.text().strip(), self.structure.currentData()
        self._name = name
        self.run_bar.show_progress(-1)
        self.run_bar.say(f"Reading {path.name}…")
        self._job.start(lambda: importing(path, name, structure=structure), title=f"Importing {name}")
        self._update()

    def _stop(self) -> None:
        self._job.stop()
        self.run_bar.say("Stopping…")
        self._update()

    def _on_finished(self, outcome: Outcome) -> None:
        if outcome is Outcome.DONE:
            self.imported.emit(self._name)
            self.source.clear()
            self.name.clear()
            self.run_bar.say(f"{self._name} is in the library.")
        elif outcome is Outcome.STOPPED:
            self.run_bar.say("Stopped: nothing was added.")
        self._update()

    def _look_for_file(self) -> None:
        name, _ = QFileDialog.getOpenFileName(self, "Import a model", self.source.text(), FILES)
        if name:
            self.source.setText(name)

    def _look_for_folder(self) -> None:
        name = QFileDialog.getExistingDirectory(self, "Import a model folder", self.source.text())
        if name:
            self.source.setText(name)
