"""The panel that restores a folder of files."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtCore import Signal

from napari_care_losses.errors import CareError
from napari_care_losses.restoration.engines.choose import libraries
from napari_care_losses.restoration.folders import FileProgress, image_files_in, restore_files, stacks_in
from napari_care_losses.widgets.background.worker import Outcome
from napari_care_losses.widgets.restore.panels.job_panel import JobPanel
from napari_care_losses.widgets.shared.file_edit import FOLDER, file_edit, typed_path
from napari_care_losses.widgets.shared.run_bar import Clock, duration

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from napari_care_losses.models.library import LibraryEntry
    from napari_care_losses.restoration.parameters import RestorationParameters


MOST_NOTES = 8
"""Different notes on files that are shown."""

_NAMED = 3


class FolderPanel(JobPanel):
    """Restores the image files of a folder with the model and the settings chosen for the layer."""

    changed = Signal()
    """The job has started or ended."""

    def __init__(self) -> None:
        super().__init__(
            "Restore folder",
            start_help="Restore all files, one after the other, with the model and the settings above.",
            stop_help="Stop. Start again to continue.",
            failed="Failed",
        )
        self._entry: LibraryEntry | None = None
        self._parameters: RestorationParameters | None = None
        self._is_held_up = False
        self._problems: list[str] = []
        self._notes: dict[str, list[str]] = {}
        self._clock = Clock()
        self.source = file_edit(
            "Files in",
            "The folder with the images to restore (TIFF, CZI, LIF, ND2, OME-Zarr); each may be an image or a stack.",
            FOLDER,
            title="Files to restore",
        )
        self.target = file_edit(
            "Results to",
            "Folder of the results, NAME_restored-MODEL.tif or .ome.zarr; empty for the same folder. Results that "
            "are there already, of the same model and settings, are not made again.",
            FOLDER,
            title="Restored files",
            placeholder="the same folder",
        )
        self.rows.extend([self.source, self.target])
        self.rows.changed.connect(self._update)
        self._job.reported.connect(self._on_report)
        self._update()

    def set_job(self, entry: LibraryEntry | None, parameters: RestorationParameters, *, is_held_up: bool) -> None:
        """Set what restores the files, and whether a layer is being restored meanwhile."""
        self._entry, self._parameters, self._is_held_up = entry, parameters, is_held_up
        self._update()

    def _libraries(self) -> tuple[str, ...]:
        assert self._entry is not None and self._parameters is not None
        return libraries(self._parameters.engine, self._entry.card.architecture)

    def _problem(self) -> str:
        if self._is_held_up:
            return "A layer is being restored: wait for it, or cancel it."
        if self._entry is None:
            return "Choose a model above."
        try:
            source, target = typed_path(self.source), typed_path(self.target)
            if source is None:
                return "Choose a folder with image files."
            # reading them would hold the viewer up, and it would be done at every change
            image_files_in(source)
            if target is not None and not target.is_dir():
                return f"There is no folder {target}: make it first, or choose another."
        except CareError as error:
            return str(error)
        except (OSError, RuntimeError) as error:
            return f"{self.source.value} cannot be read: {error}."
        return ""

    def _start(self) -> None:
        entry, parameters, source = self._entry, self._parameters, typed_path(self.source)
        assert entry is not None and source is not None
        target = typed_path(self.target) or source
        self._problems, self._notes, self._clock = [], {}, Clock()
        self.run_bar.say("Starting…")
        self._job.start(
            lambda: _restored(source, entry, target, parameters),
            title=f"Restoring files in {source.name}",
            fraction=lambda report: (report.number + report.fraction) / report.total,
        )
        self.changed.emit()

    def _on_report(self, report: FileProgress) -> None:
        if report.problem:
            self._problems.append(f"{report.path.name}: {report.problem}")
        if report.note:
            self._notes.setdefault(report.note, []).append(report.path.name)
        done, self._count = report.number + report.fraction, report.total
        self.run_bar.show_progress(done / report.total)
        left = f"{duration(self._clock.seconds_left(done, report.total))} left"
        self._say(f"{report.path.name}, file {report.number + 1} of {report.total}, {left}")

    def _ended(self, outcome: Outcome) -> None:
        if outcome is Outcome.DONE:
            restored = self._count - len(self._problems)
            self._say(f"Restored {restored} of {self._count} files in {duration(self._clock.seconds)}.")
        elif outcome is Outcome.STOPPED:
            self._say("Stopped. Start again to continue.")
        self.changed.emit()

    def _say(self, text: str) -> None:
        self.run_bar.say("\n".join([text, *(f"✗ {problem}" for problem in self._problems), *note_lines(self._notes)]))


def note_lines(notes: Mapping[str, Sequence[str]]) -> list[str]:
    """Return a line for each of the first notes; they are given with the names of the files they are about."""
    lines = []
    for text, names in list(notes.items())[:MOST_NOTES]:
        more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
        lines.append(f"• {', '.join(names[:_NAMED])}{more}: {text}")
    left = len(notes) - len(lines)
    return [*lines, f"• and {left} more notes"] if left else lines


def _restored(
    source: Path, entry: LibraryEntry, target: Path, parameters: RestorationParameters | None
) -> Iterator[FileProgress]:
    # imported here, in the background: opening the widget need not wait for it
    from napari_care_losses.models.model import load_model

    yield from restore_files(stacks_in(source), load_model(entry.path), target, parameters, model_name=entry.path.stem)
