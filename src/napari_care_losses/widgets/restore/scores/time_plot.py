"""Scores of input and restored stack over time; a click goes to a frame."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pyqtgraph
from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import QHBoxLayout, QLabel, QVBoxLayout, QWidget

from napari_care_losses.evaluation.frame_scores import INPUT, RESTORED
from napari_care_losses.widgets.shared.form import Choice
from napari_care_losses.widgets.shared.layout import arrange
from napari_care_losses.widgets.shared.plotting import row_plot, take_theme
from napari_care_losses.widgets.shared.run_bar import show_text, text_line

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

HEIGHT = 140
COLOURS = {INPUT: "#f58518", RESTORED: "#3d8bfd"}
"""Distinct with any colour vision, and readable on dark and light ground."""

NAMES = {INPUT: "input", RESTORED: "restored"}
MOST_POINTS_MARKED = 100
"""Frames up to which each is marked by a point; more would melt into a band."""


class TimePlot(QWidget):
    """Plots one value a frame, chosen among some; `theme` is the name of napari's theme."""

    clicked = Signal(int)
    """Place along the axis that was clicked at."""

    chosen = Signal()
    """Other values are to be plotted."""

    def __init__(self, theme: str) -> None:
        super().__init__()
        self._values = np.zeros(0)
        self._titles: dict[str, str] = {}
        self.quantity = Choice(
            "Values plotted",
            "What is plotted.",
            choices=lambda _: [(title, name) for name, title in self._titles.items()],
        )
        self.quantity.changed.connect(lambda: self.chosen.emit())
        self.legend = {row: QLabel(f'<span style="color:{at}">●</span> {NAMES[row]}') for row, at in COLOURS.items()}
        self.plot = row_plot(
            HEIGHT,
            "One point a frame, as frames are restored and scored. The vertical line marks the frame shown. "
            "Click to go to a frame.",
        )
        self.plot.setCursor(Qt.CursorShape.PointingHandCursor)
        self.plot.setAccessibleName("Plot over time")
        points = {"connect": "finite", "symbolPen": None, "symbolSize": 4}
        self.lines = {
            row: self.plot.plot(pen=pyqtgraph.mkPen(colour, width=2), symbolBrush=colour, **points)
            for row, colour in COLOURS.items()
        }
        self.marker = pyqtgraph.InfiniteLine(angle=90, movable=False)
        self.plot.addItem(self.marker, ignoreBounds=True)
        self.plot.scene().sigMouseClicked.connect(self._on_clicked)
        self.means = text_line()
        header = QHBoxLayout()
        header.addWidget(self.quantity.native, 1)
        for label in self.legend.values():
            header.addWidget(label)
        arrange(QVBoxLayout(self), header, self.plot, self.means, spacing=2)
        self.set_theme(theme)

    def set_quantities(self, titles: Mapping[str, str]) -> None:
        """Offer values to plot, by name with their titles; the ones chosen stay if they are among them."""
        if titles != self._titles:
            self._titles = dict(titles)
            with self.quantity.changed.blocked():
                self.quantity.reset_choices()

    def set_axis(self, label: str, values: NDArray[np.float64]) -> None:
        """Set what the values are plotted over: the value of every frame, of equal steps."""
        self._values = values
        self.plot.setLabel("bottom", label)
        margin = abs(values[-1] - values[0]) * 0.02
        self.plot.setXRange(min(values[0], values[-1]) - margin, max(values[0], values[-1]) + margin, padding=0)

    def set_shown(self, step: int) -> None:
        """Mark the frame that the viewer shows."""
        self.marker.setValue(self._values[step])

    def set_lines(self, lines: Mapping[str, NDArray[np.float64]], *, least_top: float | None = None) -> None:
        """Plot values by image (`INPUT`, `RESTORED`), one value a frame; NaN where there is none yet.

        With `least_top`, the plot reaches from 0 to this at least: smaller values look as small as they are. Without,
        what there is fills the plot.
        """
        show_text(self.means, means_text(lines))
        if least_top is None:
            self.plot.enableAutoRange(axis="y")
        else:
            highest = np.nanmax([least_top, *(value for line in lines.values() for value in line)])
            self.plot.setYRange(0, float(highest), padding=0.05)
        for row, line in self.lines.items():
            values = lines.get(row, np.full(len(self._values), np.nan))
            known = np.isfinite(values)
            # A frame between two that are missing has no line through it.
            is_marked = len(values) <= MOST_POINTS_MARKED or not (known[1:] & known[:-1]).any()
            line.setSymbol("o" if is_marked else None)
            # pyqtgraph takes the bounds of what it is given, and nothing has none
            kept = slice(None) if known.any() else slice(0)
            line.setData(self._values[kept], values[kept])
            self.legend[row].setVisible(row in lines)

    def set_theme(self, name: str) -> None:
        """Take the colours of one of napari's themes."""
        text = take_theme(self.plot, name).text.as_hex()
        self.marker.setPen(pyqtgraph.mkPen(text, width=1, style=Qt.PenStyle.DashLine))

    def _on_clicked(self, event: Any) -> None:
        if event.button() != Qt.MouseButton.LeftButton or not len(self._values):
            return
        value = self.plot.getPlotItem().vb.mapSceneToView(event.scenePos()).x()
        self.clicked.emit(int(np.abs(self._values - value).argmin()))


def means_text(lines: Mapping[str, NDArray[np.float64]]) -> str:
    """Return the means over the frames known of every image plotted; empty for fewer than two."""
    plotted = {row: line for row, line in lines.items() if np.isfinite(line).any()}
    known = np.logical_and.reduce([np.isfinite(line) for line in plotted.values()]) if plotted else np.zeros(0, bool)
    if known.sum() < 2:
        return ""
    means = ", ".join(f"{NAMES[row]} {line[known].mean():.4g}" for row, line in plotted.items())
    return f"Mean over {known.sum()} frames: {means}"
