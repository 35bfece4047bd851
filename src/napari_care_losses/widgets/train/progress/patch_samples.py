"""A look at the patches a training would draw."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from qtpy.QtWidgets import QPushButton, QVBoxLayout, QWidget

from napari_care_losses.widgets.background.worker import LatestJob
from napari_care_losses.widgets.shared.form import tooltip
from napari_care_losses.widgets.train.progress.pictures import PATCHES_A_ROW, PatchGrid
from napari_care_losses.widgets.train.queue.train_model import look_at_patches

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from napari_care_losses.training.pair_sources import PairSource
    from napari_care_losses.training.parameters import TrainingParameters

COUNT = 2 * PATCHES_A_ROW


class PatchLook(QWidget):
    """A button that draws patches in the background and shows them; other ones every time."""

    def __init__(self, *, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._pairs_and_settings: Callable[[], tuple[Sequence[PairSource], TrainingParameters]] | None = None
        self._job = LatestJob(parent=self, delay_ms=0)
        self._job.reported.connect(self._on_drawn)
        self.button, self.grid = QPushButton("Show patches"), PatchGrid()
        self.button.clicked.connect(self._look)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(3)
        layout.addWidget(self.button)
        layout.addWidget(self.grid)

    @property
    def is_running(self) -> bool:
        """Whether patches are being drawn."""
        return self._job.is_running

    def set_state(
        self, reason: str, pairs_and_settings: Callable[[], tuple[Sequence[PairSource], TrainingParameters]]
    ) -> None:
        """Enable the button if there is no reason against it.

        Parameters
        ----------
        reason : str
            Why no patches can be drawn.
        pairs_and_settings : callable
            Gives the pairs to draw from and the settings when the button is pressed.
        """
        self._pairs_and_settings = pairs_and_settings
        self.button.setEnabled(not reason)
        said = "Draw some patches as the training would, to see whether there is signal in them and whether low and "
        said += "high belong together. Other ones are drawn every time."
        self.button.setToolTip(tooltip(reason or said))

    def put_away(self) -> None:
        """Hide the patches: what follows needs the room."""
        self._job.cancel()
        self.grid.setVisible(False)
        self.button.setText("Show patches")

    def stop(self) -> None:
        """Stop drawing."""
        self._job.cancel()

    def _look(self) -> None:
        assert self._pairs_and_settings is not None
        pairs, settings = self._pairs_and_settings()
        self._job.request(lambda: look_at_patches(pairs, settings, COUNT))

    def _on_drawn(self, batch: Any) -> None:
        self.grid.show_patches(batch)
        self.button.setText("Show other patches")
