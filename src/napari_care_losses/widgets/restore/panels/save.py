"""The button that saves a restored layer."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QFileDialog, QPushButton

from napari_care_losses.images.selection import only_frames
from napari_care_losses.io.file_names import suggested_file_name
from napari_care_losses.io.stacks import NEW_SUFFIXES, Saved, bare_name, is_ome_zarr_name, save_frames
from napari_care_losses.widgets.background.worker import Job, Outcome
from napari_care_losses.widgets.layers.conversion import layer_frames
from napari_care_losses.widgets.layers.restored_layers import frames_done
from napari_care_losses.widgets.shared.closing import CloseGuard
from napari_care_losses.widgets.shared.form import tooltip

if TYPE_CHECKING:
    from napari.layers import Image

FILTERS = {
    "TIFF, 32-bit numbers (*.tif *.tiff)": "float32",
    "TIFF, 16-bit integers (*.tif *.tiff)": "uint16",
    "TIFF, 8-bit integers (*.tif *.tiff)": "uint8",
    "OME-Zarr, 32-bit numbers (*.zarr)": "float32",
    "OME-Zarr, 16-bit integers (*.zarr)": "uint16",
}
"""What the file dialog offers, and the pixel type each stands for."""

HELP = "Save the restored frames as OME-TIFF or OME-Zarr, with the pixel size and units of the layer."


class SaveButton(QPushButton):
    """Saves a restored layer, in the background."""

    said = Signal(str)
    """A text for a status line."""

    def __init__(self) -> None:
        super().__init__("Save as…")
        self._layer: Image | None = None
        self._path = Path()
        self._saved: Saved | None = None
        self._job = Job(parent=self)
        self._job.reported.connect(self._on_report)
        self._job.failed.connect(lambda error: self.said.emit(f"Not saved: {error}"))
        self._job.finished.connect(self._on_finished)
        CloseGuard(self).closed.connect(self._job.stop)
        self.clicked.connect(self._ask)
        self.offer(None)

    @property
    def is_running(self) -> bool:
        """Whether a stack is being saved."""
        return self._job.is_running

    def offer(self, layer: Image | None, reason: str = "") -> None:
        """Offer to save a restored layer; `reason` says why there is none."""
        self._layer = layer
        self.setEnabled(layer is not None and not self._job.is_running)
        self.setToolTip(tooltip(HELP if layer is not None else f"{HELP} {reason}"))

    def save(self, path: Path, dtype: str = "float32") -> None:
        """Save the layer offered to a file: of its frames those that are restored, where they make a stack.

        Raises
        ------
        InputError
            If the layer is no stack any more.
        """
        if self._layer is None or self._job.is_running:
            return
        frames = layer_frames(self._layer)
        self._path, self._saved = path, None
        done = frames_done(self._layer)
        self._of_frames = ""
        if len(done) < len(frames):
            some = only_frames(frames, done)
            if some is None:
                self._of_frames = f" {len(frames) - len(done)} frames that are not restored yet were saved as NaN."
            else:
                self._of_frames = f" It holds {len(done)} of {len(frames)} frames, those that are restored."
                frames = some
        self._job.start(
            lambda: save_frames(path, frames, dtype=dtype),
            title=f"Saving {path.name}",
            fraction=lambda saved: saved.done / saved.total,
        )
        self.setEnabled(False)

    def _ask(self) -> None:
        if self._layer is None:
            return
        suggested = suggested_file_name(self._layer.name) + ".tif"
        name, chosen = QFileDialog.getSaveFileName(self, "Save the restored stack", suggested, ";;".join(FILTERS))
        if name:
            path = Path(name)
            is_zarr_chosen = chosen.startswith("OME-Zarr")
            if not path.suffix or (is_zarr_chosen and not is_ome_zarr_name(path)):
                path = path.with_name(bare_name(path) + NEW_SUFFIXES["ome-zarr" if is_zarr_chosen else "tiff"])
            self.save(path, FILTERS.get(chosen, "float32"))

    def _on_report(self, saved: Saved) -> None:
        self._saved = saved
        self.said.emit(f"Saving frame {saved.done} of {saved.total}…")

    def _on_finished(self, outcome: Outcome) -> None:
        self.setEnabled(self._layer is not None)
        if outcome is Outcome.DONE:
            text = f"Saved {self._path}.{self._of_frames}"
            if self._saved is not None and self._saved.clipped:
                text += f" {self._saved.clipped:,} pixels were clipped to fit the integers."
            self.said.emit(text)
