"""A sample of the patches that a training would draw."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from qtpy.QtCore import Signal
from qtpy.QtWidgets import QLabel, QVBoxLayout, QWidget

from napari_care_losses.training.plans.plan import sample_patches_of
from napari_care_losses.widgets.background.worker import LatestJob
from napari_care_losses.widgets.shared.form import tooltip
from napari_care_losses.widgets.shared.layout import arrange, push_button
from napari_care_losses.widgets.train.progress.pictures import Picture

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from napari_care_losses.training.pair_sources import PairSource
    from napari_care_losses.training.parameters import TrainingParameters
    from napari_care_losses.training.patches import Batch

PATCHES_PER_ROW = 4
COUNT = 2 * PATCHES_PER_ROW
GAP = 2
"""Between patches, in their pixels."""

HELP = (
    "Draw some patches as the training does, to see whether they contain signal and whether input and target belong "
    "together. Every press draws other patches."
)


class PatchSamples(QWidget):
    """A button that draws patches in the background and shows each input patch above its target."""

    drawn = Signal(object)
    """The patches shown: low and high, float32 arrays (N, 1, Y, X)."""

    def __init__(self, *, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._pairs_and_settings: Callable[[], tuple[Sequence[PairSource], TrainingParameters]] | None = None
        self._job = LatestJob(parent=self, delay_ms=0)
        self._job.reported.connect(self._show)
        self.button, self.picture = push_button("Show patches", HELP, self._draw), Picture(magnified=True)
        text = "Each input patch is above its target, normalised as the network receives them."
        self.caption = QLabel(text, wordWrap=True)
        arrange(QVBoxLayout(self), self.button, self.picture, self.caption, spacing=3)
        self.hide_patches()

    @property
    def is_running(self) -> bool:
        """Whether patches are being drawn."""
        return self._job.is_running

    def set_state(
        self, reason: str, pairs_and_settings: Callable[[], tuple[Sequence[PairSource], TrainingParameters]]
    ) -> None:
        """Enable the button, which draws from what `pairs_and_settings` returns, or show the reason why it cannot."""
        self._pairs_and_settings = pairs_and_settings
        self.button.setEnabled(not reason)
        self.button.setToolTip(tooltip(reason or HELP))

    def hide_patches(self) -> None:
        """Hide the patches, to leave the room to the training."""
        self._job.cancel()
        for widget in (self.picture, self.caption):
            widget.hide()
        self.button.setText("Show patches")

    def stop(self) -> None:
        """Stop drawing."""
        self._job.cancel()

    def _draw(self) -> None:
        pairs, settings = self._pairs_and_settings()
        self._job.request(lambda: sample_patches_of(pairs, settings, COUNT))

    def _show(self, batch: Batch) -> None:
        low, high = (patches[:, 0] for patches in batch)
        self.picture.show_array(mosaic(low, high))
        for widget in (self.picture, self.caption):
            widget.show()
        self.button.setText("Show other patches")
        self.drawn.emit(batch)


def mosaic(low: NDArray[np.float32], high: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return patches (N, Y, X) side by side, low above high, NaN between them."""
    size = low.shape[1]
    rows = -(-len(low) // PATCHES_PER_ROW)
    pair, column = 2 * size + 2 * GAP + GAP, size + GAP
    shown = np.full((rows * pair, PATCHES_PER_ROW * column), np.nan, np.float32)
    for number, (first, second) in enumerate(zip(low, high, strict=True)):
        top, left = number // PATCHES_PER_ROW * pair, number % PATCHES_PER_ROW * column
        shown[top : top + size, left : left + size] = first
        shown[top + size + GAP : top + 2 * size + GAP, left : left + size] = second
    return shown[: -2 * GAP, :-GAP]
