"""A plot of the curves of several images, each in the colour of its method."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pyqtgraph
from qtpy.QtCore import Qt, QUrl
from qtpy.QtWidgets import QLabel, QSizePolicy, QVBoxLayout, QWidget

from napari_care_losses.widgets.shared.form import tooltip
from napari_care_losses.widgets.shared.layout import arrange
from napari_care_losses.widgets.shared.plotting import LABEL_MARGIN, take_theme
from napari_care_losses.widgets.shared.run_bar import show_text

if TYPE_CHECKING:
    from collections.abc import Container, Mapping

    from napari_care_losses.widgets.compare.window.curves import PlotCurve

CURVE_WIDTH = 1.5
"""In pixels."""

SMALLEST_PLOT = (160, 140)
"""Least width and height of a plot, in pixels of the screen."""


class CurveStyle(NamedTuple):
    """How the curve of a panel looks, and its title in the legend."""

    title: str
    colour: str
    is_dashed: bool


class CurvePlot(QWidget):
    """A plot below its legend; a click on a name in the legend hides its curve.

    Parameters
    ----------
    theme : str
        Name of napari's theme.
    horizontal, vertical : str
        Labels of the axes.
    help : str
        Tooltip: what the curves mean.
    is_logarithmic : bool
        Whether the vertical axis is logarithmic.
    threshold : float, optional
        A level to mark.
    limits : tuple of float, optional
        The vertical range, if it is known beforehand.
    """

    def __init__(
        self,
        theme: str,
        *,
        horizontal: str,
        vertical: str,
        help: str,
        is_logarithmic: bool = False,
        threshold: float | None = None,
        limits: tuple[float, float] | None = None,
        parent: QWidget | None = None,
    ) -> None:
        super().__init__(parent)
        self._is_logarithmic = is_logarithmic
        self._styles: dict[str, CurveStyle] = {}
        self.curves: dict[str, PlotCurve] = {}
        self._hidden: set[str] = set()
        self.items: dict[str, pyqtgraph.PlotDataItem] = {}
        self.legend = QLabel(wordWrap=True, textFormat=Qt.TextFormat.RichText)
        self.legend.setToolTip(tooltip("Click a name to hide its curve, and to show it again."))
        self.legend.linkActivated.connect(self._toggle)
        self.message = QLabel(wordWrap=True, visible=False)
        self.plot = pyqtgraph.PlotWidget()
        self.plot.setMinimumSize(*SMALLEST_PLOT)
        self.plot.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Expanding)
        self.plot.setMenuEnabled(False)
        self.plot.setToolTip(tooltip(help))
        self.plot.setLogMode(y=is_logarithmic)
        self.plot.setLabel("left", vertical)
        self.plot.setLabel("bottom", horizontal)
        self.plot.getPlotItem().layout.setContentsMargins(0, 0, 6, LABEL_MARGIN)
        for side in ("left", "bottom"):
            self.plot.getAxis(side).enableAutoSIPrefix(False)
        if limits is not None:
            self.plot.setYRange(*limits, padding=0.02)
        self._threshold = None if threshold is None else pyqtgraph.InfiniteLine(threshold, angle=0)
        if self._threshold is not None:
            self.plot.addItem(self._threshold, ignoreBounds=True)
        parts = self.legend, self.message, self.plot
        arrange(QVBoxLayout(self), *parts, growing=[self.plot], spacing=2, margins=(0, 4, 0, 0))
        self.set_theme(theme)

    def set_styles(self, styles: Mapping[str, CurveStyle]) -> None:
        """Set the styles of all curves that may come, in their order; the names stay the same."""
        self._styles = dict(styles)
        for name in self.items:
            self._dress(name)
        self._write_legend()

    def say(self, text: str) -> None:
        """Show why there are no curves."""
        show_text(self.message, text)

    def keep(self, names: Container[str]) -> None:
        """Remove all curves but these."""
        for name in [name for name in self.curves if name not in names]:
            del self.curves[name]
            self.items[name].setData([], [])
        self._write_legend()

    def show_curve(self, curve: PlotCurve) -> None:
        """Show a curve; it replaces the one of the same name."""
        self.curves[curve.name] = curve
        if curve.name not in self.items:
            self.items[curve.name] = self.plot.plot(connect="finite")
            self._dress(curve.name)
        # 0 has no logarithm: the line has a gap there
        y = np.where(curve.y > 0, curve.y, np.nan) if self._is_logarithmic else curve.y
        self.items[curve.name].setData(curve.x, y)
        self.items[curve.name].setVisible(curve.name not in self._hidden)
        self._write_legend()

    def set_theme(self, name: str) -> None:
        """Use the colours of one of napari's themes."""
        theme = take_theme(self.plot, name)
        self._text = theme.text.as_hex()
        if self._threshold is not None:
            self._threshold.setPen(pyqtgraph.mkPen(theme.highlight.as_hex(), width=1, style=Qt.PenStyle.DashLine))
        self._write_legend()

    def _dress(self, name: str) -> None:
        style = self._styles[name]
        pen = pyqtgraph.mkPen(style.colour, width=CURVE_WIDTH)
        if style.is_dashed:
            pen.setStyle(Qt.PenStyle.DashLine)
        item = self.items[name]
        # In segments: a long noisy profile drawn as one line takes seconds. Dashes need one line.
        item.curve.setSegmentedLineMode("off" if style.is_dashed else "on")
        item.opts["antialias"] = not style.is_dashed
        item.setPen(pen)
        item.setZValue(len(self._styles) - list(self._styles).index(name))

    def _write_legend(self) -> None:
        entries = [
            _entry(name, style, self.curves[name].note, self._text, is_hidden=name in self._hidden)
            for name, style in self._styles.items()
            if name in self.curves
        ]
        show_text(self.legend, " &nbsp; ".join(entries))

    def _toggle(self, link: str) -> None:
        name = QUrl.fromPercentEncoding(link.encode())
        self._hidden ^= {name}
        if name in self.items:
            self.items[name].setVisible(name not in self._hidden)
        self._write_legend()


def _entry(name: str, style: CurveStyle, note: str, text: str, *, is_hidden: bool) -> str:
    link = bytes(QUrl.toPercentEncoding(name)).decode()
    mark = "□" if is_hidden else "╍" if style.is_dashed else "■"
    label = escape(style.title) + (f" {escape(note)}" if note else "")
    label = f"<s>{label}</s>" if is_hidden else label
    # no line break inside an entry
    label = label.replace(" ", "&nbsp;")
    return (
        f'<span style="color:{style.colour}">{mark}</span>&nbsp;'
        f'<a href="{link}" style="color:{text}; text-decoration:none">{label}</a>'
    )
