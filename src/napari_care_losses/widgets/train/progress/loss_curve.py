"""The loss curve of a training."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import pyqtgraph
from qtpy.QtWidgets import QCheckBox, QVBoxLayout, QWidget

from napari_care_losses.widgets.shared.events import SingleShot
from napari_care_losses.widgets.shared.form import tooltip
from napari_care_losses.widgets.shared.layout import arrange
from napari_care_losses.widgets.shared.plotting import row_plot, take_theme

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari_care_losses.training.progress import Epoch, Step

CURVE_HEIGHT = 195
CURVE_DELAY_MS = 200
"""Least time between two drawings; training may take more steps in this time."""

SMOOTHING = 0.05
"""Weight of a step in the running mean."""

MOST_POINTS = 2000
"""Points drawn of a line; of longer ones every n-th point is drawn."""

TRAINING_COLOUR = "#3d8bfd"
VALIDATION_COLOUR = "#f58518"
"""Distinguishable with any colour vision, and readable on dark and light backgrounds."""


class LossCurve(QWidget):
    """Training loss of every step (faint) and smoothed, and validation loss of every epoch."""

    def __init__(self, theme: str, *, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.plot = row_plot(
            CURVE_HEIGHT,
            "Lower is better. Blue: training loss of every step (faint) and smoothed. Orange: validation loss, on "
            "images not used for training. When orange rises while blue falls, more training does not help.",
        )
        self.plot.setLabel("bottom", "step")
        self._legend = self.plot.addLegend(offset=(-5, 5))
        self.raw = self.plot.plot()
        self._smooth = self.plot.plot(name="training")
        self.validation = self.plot.plot(name="validation", symbol="o", symbolSize=5)
        self.logarithmic = QCheckBox("Logarithmic")
        self.logarithmic.toggled.connect(self.redraw)
        arrange(QVBoxLayout(self), self.plot, self.logarithmic, spacing=2)
        self._timer = SingleShot(self, CURVE_DELAY_MS, self.redraw)
        self.set_theme(theme)
        self.show_training((), ())

    def show_training(self, steps: Sequence[Step], epochs: Sequence[Epoch]) -> None:
        """Show these steps and epochs and no others."""
        self._steps: list[tuple[int, float, float]] = []
        self._epochs: list[tuple[int, float]] = []
        for step in steps:
            self.add_step(step)
        for epoch in epochs:
            self.add_epoch(epoch)
        self.redraw()

    def add_step(self, step: Step) -> None:
        """Add the training loss of a step."""
        before = self._steps[-1][2] if self._steps else step.loss
        # An ordinary mean of the first steps: otherwise their random values would dominate.
        weight = max(SMOOTHING, 1 / (len(self._steps) + 1))
        self._steps.append((step.step, step.loss, before + weight * (step.loss - before)))
        self._redraw_soon()

    def add_epoch(self, epoch: Epoch) -> None:
        """Add the validation loss of an epoch."""
        self._epochs.append((epoch.step, epoch.validation_loss))
        self._redraw_soon()

    def set_theme(self, name: str) -> None:
        """Take the colours of one of napari's themes."""
        text = take_theme(self.plot, name).text.as_hex()
        self._legend.setLabelTextColor(text)
        for _, label in self._legend.items:
            label.setText(label.text, color=text)
        faint = pyqtgraph.mkColor(TRAINING_COLOUR)
        faint.setAlphaF(0.3)
        self.raw.setPen(pyqtgraph.mkPen(faint, width=1))
        self._smooth.setPen(pyqtgraph.mkPen(TRAINING_COLOUR, width=2))
        self.validation.setPen(pyqtgraph.mkPen(VALIDATION_COLOUR, width=2))
        self.validation.setSymbolBrush(VALIDATION_COLOUR)
        self.validation.setSymbolPen(None)

    def redraw(self) -> None:
        """Draw all points."""
        values = [loss for step in self._steps for loss in step[1:]] + [loss for _, loss in self._epochs]
        can_be_logarithmic = all(value > 0 for value in values)
        self.logarithmic.setEnabled(can_be_logarithmic)
        self.logarithmic.setToolTip(
            tooltip(
                "Logarithmic axis: shows small improvements late in the training."
                if can_be_logarithmic
                else "This loss becomes negative, which a logarithmic axis cannot show."
            )
        )
        self.plot.setLogMode(y=self.logarithmic.isChecked() and can_be_logarithmic)
        steps = np.array(self._steps[:: math.ceil(len(self._steps) / MOST_POINTS) or 1]).reshape(-1, 3)
        epochs = np.array(self._epochs).reshape(-1, 2)
        self.raw.setData(steps[:, 0], steps[:, 1])
        self._smooth.setData(steps[:, 0], steps[:, 2])
        self.validation.setData(epochs[:, 0], epochs[:, 1])

    def _redraw_soon(self) -> None:
        if not self._timer.isActive():
            self._timer.start()
