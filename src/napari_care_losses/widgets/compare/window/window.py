"""The window of a comparison: panels with the same view and contrast, beside plots and scores."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from napari.utils.theme import get_theme
from qtpy.QtCore import QSignalBlocker, Qt, Signal
from qtpy.QtWidgets import QHBoxLayout, QLabel, QSizePolicy, QSlider, QSplitter, QVBoxLayout, QWidget

from napari_care_losses.comparison.compare import INPUT
from napari_care_losses.evaluation.stack_scores import describe_score
from napari_care_losses.widgets.background.worker import LatestJob
from napari_care_losses.widgets.compare.colors import difference_table, panel_colours
from napari_care_losses.widgets.compare.results import TITLES, TRUTH
from napari_care_losses.widgets.compare.tables import best_of, columns_of, is_shown_first
from napari_care_losses.widgets.compare.window.drawing import Drawing, DrawingOptions, anchor, draw
from napari_care_losses.widgets.compare.window.grid import PanelGrid
from napari_care_losses.widgets.compare.window.tabs import CurveTabs, PanelContent
from napari_care_losses.widgets.compare.window.toolbar import ComparisonBar
from napari_care_losses.widgets.shared.form import tooltip
from napari_care_losses.widgets.shared.layout import arrange

if TYPE_CHECKING:
    from napari_care_losses.widgets.compare.results import ComparisonResults

SIZE = (1240, 720)
"""Of the window in pixels, if the screen is large enough."""

SHARES = (62, 38)
"""Shares of panels and plots in the width of the window."""

READOUT_DIGITS = 4

HINT = "Drag to move, scroll to zoom, double-click for the whole image; Shift + drag draws a line."


class ComparisonView(QWidget):
    """Shows a comparison in one of napari's themes, while it runs and afterwards; it closes with its parent."""

    frame_chosen = Signal(int)
    """The user has chosen another frame."""

    def __init__(self, results: ComparisonResults, theme: str, *, parent: QWidget | None = None) -> None:
        super().__init__(parent, Qt.WindowType.Window)
        self.results = results
        self.index = 0
        self._is_running = False
        self._drawn: dict[str, Drawing] = {}
        self._drawing = LatestJob(parent=self, delay_ms=0)
        self._drawing.reported.connect(self._on_drawing)
        self._theme = theme
        self._build()
        self.set_theme(theme)

    @property
    def is_drawing(self) -> bool:
        """Whether images or curves are being computed."""
        return self._drawing.is_running or self.tabs.is_computing

    @property
    def colours(self) -> dict[str, str]:
        """Colour of every panel, in order."""
        return panel_colours(self.results.plan.names, self._theme)

    def show_frame(self, index: int) -> None:
        """Show another frame."""
        self.index = index
        with QSignalBlocker(self.slider):
            self.slider.setValue(index)
        self.refresh()

    def set_running(self, is_running: bool) -> None:
        """Set whether frames are still being restored."""
        self._is_running = is_running
        self.refresh()

    def note(self, index: int) -> None:
        """Show new results of a frame."""
        if index == self.index:
            self.refresh()
        else:
            self.tabs.show_scores()

    def refresh(self) -> None:
        """Show new results or the new options."""
        options, results = self._options(), self.results
        self._write_headings()
        missing = []
        for name in self.grid.panels:
            if not results.is_done(name, self.index):
                self._drawn.pop(name, None)
                self.grid.panels[name].show_message(self._why_missing())
            elif name not in self._drawn or self._drawn[name].options != options:
                missing.append(name)
        if missing:
            self._drawing.request(lambda: draw(results, missing, options))
        self._show_contrast()
        self._show_curves()
        self.tabs.show_scores()

    def set_theme(self, name: str) -> None:
        """Take the colours of one of napari's themes."""
        self._theme = name
        theme = get_theme(name)
        colours = self.colours
        for panel_name, panel in self.grid.panels.items():
            panel.set_colour(colours[panel_name])
            # the background of images as in the viewer
            panel.set_background(theme.canvas.as_hex(), theme.text.as_hex())
        self.setStyleSheet(f"ComparisonView {{ background-color: {theme.background.as_hex()}; }}")
        self.setAttribute(Qt.WidgetAttribute.WA_StyledBackground)
        self.tabs.set_colours(colours)
        self.tabs.set_theme(name)
        self.tabs.show_scores()

    def _build(self) -> None:
        plan = self.results.plan
        self.setWindowTitle(f"Compare: {plan.source.name}")
        self.bar = ComparisonBar(has_truth=plan.truth is not None)
        self.bar.options_changed.connect(self.refresh)
        self.bar.contrast_changed.connect(self._show_contrast)
        self.grid = PanelGrid(self.colours, plan.frames.frame_shape)
        self.bar.whole_asked.connect(self.grid.reset_view)
        self.grid.line_changed.connect(self._show_curves)
        self.grid.pointed_at.connect(self._read_out)
        self.tabs = CurveTabs(self.results, self._theme, self.colours)
        self.tabs.frame_chosen.connect(self.frame_chosen)
        self.tabs.line_wanted.connect(self.grid.show_line)
        self.splitter = QSplitter(Qt.Orientation.Horizontal)
        self.splitter.addWidget(self.grid)
        self.splitter.addWidget(self.tabs)
        self.splitter.setChildrenCollapsible(False)
        for place, share in enumerate(SHARES):
            self.splitter.setStretchFactor(place, share)
        self.readout = QLabel()
        self.readout.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)
        last = len(plan.frames) - 1
        self.slider = QSlider(Qt.Orientation.Horizontal, maximum=last, accessibleName="Frame")
        self.slider.setToolTip(
            tooltip("The frame shown, here and in the viewer. The first is 0, as beside the viewer's slider.")
        )
        self.slider.valueChanged.connect(self.frame_chosen)
        self.frame_label = QLabel()
        row = arrange(QHBoxLayout(), self.slider, self.frame_label, growing=[self.slider], spacing=6)
        parts = self.bar, self.splitter, row, self.readout
        arrange(QVBoxLayout(self), *parts, growing=[self.splitter], spacing=6, margins=(8, 8, 8, 6))
        for widget in (self.slider, self.frame_label):
            widget.setVisible(last > 0)
        self._read_out(None)
        self._fit_screen()

    def _fit_screen(self) -> None:
        width, height = SIZE
        room = self.screen().availableGeometry()
        width, height = min(width, round(0.94 * room.width())), min(height, round(0.88 * room.height()))
        self.resize(width, height)
        self.splitter.setSizes([width * share // sum(SHARES) for share in SHARES])

    def _options(self) -> DrawingOptions:
        return DrawingOptions(self.index, self.bar.is_difference, self.bar.is_matched)

    def _why_missing(self) -> str:
        if self.index not in self.results.plan.indices:
            return "This frame is not compared."
        return "Not restored yet…" if self._is_running else "Not restored: the comparison ended before."

    def _write_headings(self) -> None:
        last = len(self.results.plan.frames) - 1
        self.frame_label.setText(f"Frame {self.index} / {last}")
        scores = self.results.frame_scores(self.index)
        held = {key for row in scores.values() for key in row}
        shown = [key for key in columns_of(held) if is_shown_first(key)]
        best = {key: best_of(key, {name: row[key] for name, row in scores.items()}) for key in shown}
        for name, panel in self.grid.panels.items():
            panel.title.setText(TITLES.get(name, name))
            panel.scores.setText(
                " · ".join(
                    _marked(describe_score(key).with_unit(scores[name][key], is_short=True), is_bold=name in best[key])
                    for key in shown
                    if name in scores
                )
            )
        self.grid.fit_headings()

    def _on_drawing(self, drawing: Drawing) -> None:
        if drawing.options != self._options():
            return
        self._drawn[drawing.name] = drawing
        self._show_contrast()
        self.grid.panels[drawing.name].show_image(drawing.pyramid)
        self._show_curves()

    def _show_contrast(self) -> None:
        """Set one contrast for all panels; the panel they are compared with has its own where it must."""
        drawn = {name: drawing for name, drawing in self._drawn.items() if drawing.options == self._options()}
        fixed = anchor(self.results)
        methods = [drawing for name, drawing in drawn.items() if name not in (INPUT, TRUTH)]
        others = methods or [drawing for name, drawing in drawn.items() if name != fixed]
        if self.bar.is_difference:
            if others:
                self.bar.suggest_difference(max(drawing.difference for drawing in others))
            largest = self.bar.difference
            self.grid.set_colours((-largest, largest), difference_table(), but=fixed)
        else:
            # The ground truth has the best contrast; without it, or with unmatched brightness, restored images do.
            guides = [drawn[fixed]] if fixed in drawn and fixed == TRUTH and self.bar.is_matched else others
            guides = guides or list(drawn.values())
            if guides:
                lows, highs = zip(*(drawing.span for drawing in guides), strict=True)
                self.bar.suggest_limits(guides[0].limits, (min(lows), max(highs)))
            self.grid.set_colours(self.bar.limits, None)
        if fixed in drawn and (self.bar.is_difference or (fixed == TRUTH and not self.bar.is_matched)):
            self.grid.panels[fixed].set_colours(drawn[fixed].limits, None)

    def _show_curves(self) -> None:
        images = self.grid.images()
        if self.bar.is_difference:
            images.pop(anchor(self.results), None)
        self.tabs.show_curves(PanelContent(images, self.index, self.grid.line))

    def _read_out(self, place: tuple[float, float] | None) -> None:
        """Show the grey levels of all panels under the mouse."""
        height, width = self.results.plan.frames.frame_shape
        x, y = (-1, -1) if place is None else (int(np.floor(place[0])), int(np.floor(place[1])))
        if not (0 <= x < width and 0 <= y < height):
            self.readout.setText(HINT)
            return
        values = [
            f"{TITLES.get(name, name)} {image[y, x]:.{READOUT_DIGITS}g}" for name, image in self.grid.images().items()
        ]
        self.readout.setText(f"x {x}, y {y}:   " + "   ".join(values))


def _marked(text: str, *, is_bold: bool) -> str:
    text = text.replace(" ", "&nbsp;")
    return f"<b>{text}</b>" if is_bold else text
