"""Restoring a folder of files from the Restore widget."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QFileDialog, QHBoxLayout, QLineEdit, QToolButton, QVBoxLayout, QWidget

from napari_care_losses.core.errors import CareError
from napari_care_losses.core.folders import FileProgress, restore_files, stacks_in
from napari_care_losses.widgets.form import make_rows, tooltip
from napari_care_losses.widgets.run_bar import Clock, RunBar, duration
from napari_care_losses.widgets.worker import CloseGuard, Job, Outcome

if TYPE_CHECKING:
    from collections.abc import Iterator

    from napari_care_losses.core.library import LibraryEntry
    from napari_care_losses.core.restoration_parameters import RestorationParameters


class FolderPanel(QWidget):
    """Restores every TIFF file and OME-Zarr image of a folder with the model and the settings chosen for the layer.

    Parameters
    ----------
    parent : QWidget, optional
        Parent widget.
    """

    changed = Signal()
    """The work has begun or ended."""

    def __init__(self, *, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._entry: LibraryEntry | None = None
        self._parameters: RestorationParameters | None = None
        self._is_held_up = False
        self._problems: list[str] = []
        self._clock = Clock()
        self._job = Job(parent=self, uses_torch=True)
        self.source = _FolderEdit(
            "The folder with the TIFF files and OME-Zarr images to restore; each may be an image or a stack."
        )
        self.target = _FolderEdit(
            "Where the results go, as NAME_restored-MODEL.tif or .ome.zarr. Left empty: into the same folder. Files "
            "that are there already, made by the same model with the same settings, are not made again."
        )
        self.run_bar = RunBar(
            "Restore folder",
            "Stop",
            start_help="Restore all files, one after the other, with the model and the settings above.",
            stop_help="Stop; started again, it goes on where it stood.",
        )
        rows = make_rows()
        rows.addRow("Files in", self.source)
        rows.addRow("Results to", self.target)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addLayout(rows)
        layout.addWidget(self.run_bar)
        for edit in (self.source, self.target):
            edit.changed.connect(self._update)
        self.run_bar.started.connect(self._start)
        self.run_bar.stopped.connect(self._stop)
        self._job.reported.connect(self._on_report)
        self._job.failed.connect(lambda error: self.run_bar.say(f"Failed: {error}"))
        self._job.finished.connect(self._on_finished)
        CloseGuard(self).closed.connect(self._job.stop)
        self._update()

    @property
    def is_running(self) -> bool:
        """Whether files are being restored."""
        return self._job.is_running

    def set_job(self, entry: LibraryEntry | None, parameters: RestorationParameters, *, is_held_up: bool) -> None:
        """Say what restores the files, and whether a layer is being restored meanwhile."""
        self._entry, self._parameters, self._is_held_up = entry, parameters, is_held_up
        self._update()

    def _update(self) -> None:
        self.run_bar.set_state(
            is_running=self._job.is_running, is_stopping=self._job.is_stopping, reason=self._problem()
        )

    def _problem(self) -> str:
        if self._is_held_up:
            return "A layer is being restored: wait for it, or cancel it."
        if self._entry is None:
            return "Choose a model above."
        if not self.source.text():
            return "Choose a folder with TIFF files or OME-Zarr images."
        try:
            stacks_in(self.source.path())
        except CareError as error:
            return str(error)
        except OSError as error:
            return f"{self.source.path()} cannot be read: {error.strerror or error}."
        if self.target.text() and not self.target.path().is_dir():
            return f"There is no folder {self.target.path()}: make it first, or choose another."
        return ""

    def _start(self) -> None:
        if self._job.is_running or self._problem() or self._entry is None:
            return
        entry, parameters = self._entry, self._parameters
        paths = stacks_in(self.source.path())
        target = self.target.path() if self.target.text() else self.source.path()
        self._problems, self._clock = [], Clock()
        self.run_bar.show_progress(-1)
        self.run_bar.say("Starting…")
        self._job.start(
            lambda: _restored(paths, entry, target, parameters),
            title=f"Restoring files in {self.source.path().name}",
            fraction=lambda report: (report.number + report.fraction) / report.total,
        )
        self._update()
        self.changed.emit()

    def _stop(self) -> None:
        self._job.stop()
        self.run_bar.say("Stopping…")
        self._update()

    def _on_report(self, report: FileProgress) -> None:
        if report.problem:
            self._problems.append(f"{report.path.name}: {report.problem}")
        done = report.number + report.fraction
        self.run_bar.show_progress(done / report.total)
        left = duration(self._clock.seconds_left(done, report.total))
        self.run_bar.say(
            f"{report.path.name}, file {report.number + 1} of {report.total}, {left} left{self._failures()}"
        )
        self._count = report.total

    def _on_finished(self, outcome: Outcome) -> None:
        if outcome is Outcome.DONE:
            restored = self._count - len(self._problems)
            self.run_bar.say(
                f"Restored {restored} of {self._count} files in {duration(self._clock.seconds)}.{self._failures()}"
            )
        elif outcome is Outcome.STOPPED:
            self.run_bar.say(f"Stopped; started again, it goes on where it stood.{self._failures()}")
        self._update()
        self.changed.emit()

    def _failures(self) -> str:
        return "".join(f"\n✗ {problem}" for problem in self._problems)


class _FolderEdit(QWidget):
    """A line for a folder's path, and a button to look for it."""

    changed = Signal()

    def __init__(self, help: str) -> None:
        super().__init__()
        self.line = QLineEdit()
        self.line.setToolTip(tooltip(help))
        self.line.textChanged.connect(self.changed)
        button = QToolButton()
        button.setText("…")
        button.setToolTip(tooltip("Look for the folder."))
        button.clicked.connect(self._look)
        layout = QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self.line, 1)
        layout.addWidget(button)
        self.setFocusProxy(self.line)

    def text(self) -> str:
        return self.line.text().strip()

    def path(self) -> Path:
        return Path(self.text()).expanduser()

    def _look(self) -> None:
        name = QFileDialog.getExistingDirectory(self, "Choose a folder", self.text())
        if name:
            self.line.setText(name)


def _restored(
    paths: list[Path], entry: LibraryEntry, target: Path, parameters: RestorationParameters | None
) -> Iterator[FileProgress]:
    # torch takes seconds to load: it does so here, in the background
    from napari_care_losses.core.engines import leave_a_core
    from napari_care_losses.core.model import load_model

    leave_a_core()
    yield from restore_files(paths, load_model(entry.path), target, parameters, model_name=entry.path.stem)
