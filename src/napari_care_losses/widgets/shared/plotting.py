"""What plots share: the colours of napari's theme, and a plot that stands among a form's rows."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pyqtgraph
from napari.utils.theme import get_theme

from napari_care_losses.widgets.shared.form import tooltip

if TYPE_CHECKING:
    from napari.utils.theme import Theme

NUMBER_MARGIN, LABEL_MARGIN = 7, 6
"""So many pixels the uppermost number stands above the plot, and the horizontal axis's label hangs below it."""


def row_plot(height: int, help: str) -> pyqtgraph.PlotWidget:
    """Return a plot of fixed height, in pixels, that the mouse neither moves nor zooms; `help` is its tooltip."""
    plot = pyqtgraph.PlotWidget()
    plot.setFixedHeight(height)
    plot.setMinimumWidth(50)
    plot.setMenuEnabled(False)
    plot.hideButtons()
    plot.setMouseEnabled(False, False)
    plot.setToolTip(tooltip(help))
    plot.getPlotItem().layout.setContentsMargins(0, NUMBER_MARGIN, 0, LABEL_MARGIN)
    return plot


def take_theme(plot: pyqtgraph.PlotWidget, name: str) -> Theme:
    """Give ground and axes the colours of one of napari's themes, and return the theme."""
    theme = get_theme(name)
    plot.setBackground(theme.background.as_hex())
    for side in ("left", "bottom"):
        axis = plot.getAxis(side)
        axis.setPen(theme.secondary.as_hex())
        axis.setTextPen(theme.text.as_hex())
    return theme
