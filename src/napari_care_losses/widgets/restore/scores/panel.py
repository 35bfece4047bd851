"""The quality of the shown restoration: the shown frame at once, the others in between, all of them over time."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QGroupBox, QVBoxLayout

from napari_care_losses.errors import InputError
from napari_care_losses.evaluation.frame_scores import INPUT, MEANS, RESTORED, STRUCTURE
from napari_care_losses.evaluation.metrics import METRICS
from napari_care_losses.evaluation.scores_over_time import FrameScores
from napari_care_losses.widgets.layers.conversion import layer_frames
from napari_care_losses.widgets.layers.restored_layers import region_of
from napari_care_losses.widgets.restore.scores.background_scores import BackgroundScores
from napari_care_losses.widgets.restore.scores.contradictions import ContradictionLine
from napari_care_losses.widgets.restore.scores.estimate import PsnrEstimate
from napari_care_losses.widgets.restore.scores.frame_layers import CONTRADICTIONS, ERROR_MAP, RESIDUAL, FrameLayerBox
from napari_care_losses.widgets.restore.scores.shown_scores import STRUCTURE_WORDS, BlindScores, TruthScores
from napari_care_losses.widgets.restore.scores.time_axis import TimeAxis, look_at, move_slider, time_axis
from napari_care_losses.widgets.shared.closing import CloseGuard
from napari_care_losses.widgets.shared.events import SingleShot
from napari_care_losses.widgets.shared.form import Rows
from napari_care_losses.widgets.shared.layer_chooser import LayerChooser
from napari_care_losses.widgets.shared.run_bar import show_text, text_line

if TYPE_CHECKING:
    from collections.abc import Collection
    from pathlib import Path

    from napari.components import ViewerModel
    from napari.layers import Image

    from napari_care_losses.restoration.parameters import RestorationParameters
    from napari_care_losses.widgets.restore.scores.time_plot import TimePlot

REDRAW_MS = 200
"""Least time between two drawings of the plot while frames are scored."""

PATIENCE_MS = 300
"""How long the scores of the frame before stay, under its number, until those of the shown one are in."""

LITTLE = 100 * STRUCTURE_WORDS[0][0]
"""Structure left, in %, that is little: less of it is not enlarged."""

ESTIMATE = "estimate"

BLIND_VALUES = {STRUCTURE: "Structure left (%)", MEANS: "Mean brightness"}
ESTIMATED = {ESTIMATE: "Estimated PSNR (dB)"}


class ScorePanel(QGroupBox):
    """Scores a restoration: against a ground truth, or without one by its residual."""

    scored = Signal()
    """The scores of the shown frame are shown."""

    approximated = Signal()
    """They are shown from a part of a large frame; `scored` follows."""

    def __init__(self, viewer: ViewerModel) -> None:
        super().__init__("Quality")
        self._viewer = viewer
        self._input: Image | None = None
        self._restored: Image | None = None
        self._uncertainty: Image | None = None
        self._ends: tuple[Image, Image] | None = None
        self._index = 0
        self._done: set[int] = set()
        self._previewed: tuple[Path, RestorationParameters] | None = None
        self._axis: TimeAxis | None = None
        self._problem = ""
        self._is_awaited = False
        self.plot: TimePlot | None = None
        """The plot over time, once there has been something to plot."""
        self._background = BackgroundScores(parent=self)
        self.truth = LayerChooser(
            viewer,
            "Ground truth",
            "A long exposure of the same field of view, if you have one: the restored image is compared with it.",
            none="none",
        )
        self.of_truth, self.blind = TruthScores(), BlindScores()
        self.estimate = PsnrEstimate()
        self.residual, self.contradictions = FrameLayerBox(viewer, RESIDUAL), FrameLayerBox(viewer, CONTRADICTIONS)
        self.error_map = FrameLayerBox(viewer, ERROR_MAP)
        self._boxes = self.contradictions, self.residual, self.error_map
        self.contradiction_line = ContradictionLine()
        self.message = text_line()
        self._layout = QVBoxLayout(self)
        scores = (Rows(self.truth).native, self.of_truth, self.estimate, self.blind, self.message)
        for widget in (*scores, self.contradiction_line, *self._boxes):
            self._layout.addWidget(widget)
        self._redrawing = SingleShot(self, REDRAW_MS, self._redraw)
        self._patience = SingleShot(self, PATIENCE_MS, self._show)
        self._connect()
        self.rescore()

    @property
    def is_scoring(self) -> bool:
        """Whether `scored` is still to come for the shown frame."""
        return self._background.is_scoring

    @property
    def is_busy(self) -> bool:
        """Whether any frame is being scored, the shown one or others."""
        is_made = any(box.is_running for box in self._boxes)
        return self._background.is_running or self.estimate.is_running or is_made

    def show_frame(
        self,
        source: Image | None,
        restored: Image | None,
        index: int,
        *,
        uncertainty: Image | None = None,
        ends: tuple[Image, Image] | None = None,
        done: Collection[int] | None = None,
        previewed: tuple[Path, RestorationParameters] | None = None,
    ) -> None:
        """Score frame `index` of a layer and of what was restored from it; then, in between, the other restored frames.

        Parameters
        ----------
        source, restored, uncertainty : Image, optional
            The input, None if there is nothing to score; what was restored from it so far; its Laplace scale.
        ends : tuple of Image, optional
            The lower and upper ends of its intervals.
        index : int
            The frame the viewer shows.
        done : collection of int, optional
            Which frames of `restored` are there; None if it is known of the shown frame only, which is there.
        previewed : tuple, optional
            Model file and settings of the preview, where there is one.
        """
        self._previewed, self._ends = previewed, ends
        self._input, self._restored, self._uncertainty, self._index = source, restored, uncertainty, index
        self._done = set() if restored is None else {index} if done is None else set(done)
        self.rescore()

    def frame_done(self, index: int) -> None:
        """Note that a frame has been restored, also again; it is scored in its turn."""
        if self._restored is None:
            return
        self._done.add(index)
        self._background.timeline.renew(index)
        for box in self._boxes:
            box.frame_done(index)
        self.rescore()

    def rescore(self) -> None:
        """Score what is missing, after any change."""
        truth, source, timeline = self.truth.value, self._input, self._background.timeline
        self.of_truth.show_map_scores(self.error_map.isChecked())
        self._fit()
        before = timeline.comparison, timeline.done, self._line()
        self._problem, self._axis, comparison = "", None, None
        try:
            if source is not None:
                comparison = self._background.comparison(
                    source,
                    self._restored,
                    truth,
                    self._uncertainty,
                    self._ends,
                    aligned=self.of_truth.aligned.value,
                    metrics=self.of_truth.metrics,
                )
                self._axis = time_axis(source)
        except InputError as error:
            self._problem = str(error)
        self.of_truth.setVisible(truth is not None)
        self.blind.setVisible(truth is None and bool(self._done))
        # of a truth that does not fit, the message says so
        fitting = truth if comparison is not None else None
        for box in self._boxes:
            box.show_frame(source, self._restored, self._index, self._done, fitting)
        restored = self._restored if self._index in self._done else None
        self.estimate.show_frame(source, restored, self._index, self._previewed)
        self._background.start(comparison, self._index, self._line(), self._done)
        self._is_awaited = self.is_scoring
        if not self._is_awaited:
            self._announce()
        elif not self._patience.isActive():
            self._patience.start()
        is_plotted = self.plot is not None and not self.plot.isHidden() and self._axis is not None
        if before == (comparison, self._done, self._line()) and is_plotted:
            self.plot.set_shown(self._axis.step_of(self._index))
        else:
            self._redraw()

    def _fit(self) -> None:
        """Drop what does not fit the input any more: data can be cropped or replaced at any time."""
        shape, region = _shape(self._input), region_of(self._restored)
        self._index = min(self._index, math.prod(shape[:-2]) - 1)
        if region is not None:
            is_inside = bool(shape) and region.y1 <= shape[-2] and region.x1 <= shape[-1]
            shape = (*shape[:-2], *region.shape) if is_inside else ()
        if _shape(self._restored) != shape:
            self._restored, self._done = None, set()
        if _shape(self._uncertainty) != shape or region_of(self._uncertainty) != region:
            self._uncertainty = None
        if any(_shape(end) != shape or region_of(end) != region for end in self._ends or ()):
            self._ends = None

    def stop(self) -> None:
        """Stop for good."""
        self._background.stop()
        for box in self._boxes:
            box.stop()
        self.estimate.stop()

    def _connect(self) -> None:
        self._background.scored.connect(self._on_scored)
        self._background.data_changed.connect(self._on_data)
        self.estimate.estimated.connect(self._redraw)
        self.truth.changed.connect(self.rescore)
        self.of_truth.aligned.changed.connect(self.rescore)
        self.of_truth.more.changed.connect(self.rescore)
        self.error_map.clicked.connect(self.rescore)
        self.contradiction_line.worst_asked.connect(self._on_worst_asked)
        CloseGuard(self).closed.connect(self.stop)
        self._viewer.layers.events.removed.connect(self._on_removed)
        self._viewer.events.theme.connect(self._on_theme)

    def _line(self) -> range:
        """Return the frames that are plotted."""
        return range(self._index, self._index + 1) if self._axis is None else self._axis.line(self._index)

    def _on_scored(self, index: int) -> None:
        if index == self._index and not self.is_scoring:
            if self._is_awaited:
                self._announce()
            else:
                self._show()
        elif index == self._index and self._background.timeline.is_about_known(index):
            self._show()
            self.approximated.emit()
        if not self._redrawing.isActive():
            self._redrawing.start()

    def _on_data(self, layer: Image) -> None:
        if layer is self._restored:
            # `frame_done` tells which frames are there
            self._done.clear()
        if layer in (self._input, self._restored, self._uncertainty, *(self._ends or ()), self.truth.value):
            self.rescore()

    def _on_removed(self, event: Any) -> None:
        layer = event.value
        self._background.forget(layer)
        if layer is self._input or layer is self._restored:
            self.show_frame(self._input if layer is self._restored else None, None, self._index)
        elif layer is self._uncertainty:
            self._uncertainty = None
            self.rescore()
        elif layer in (self._ends or ()):
            self._ends = None
            self.rescore()

    def _on_theme(self, event: Any) -> None:
        if self.plot is not None:
            self.plot.set_theme(event.value)

    def _announce(self) -> None:
        self._is_awaited = False
        self._show()
        if self._background.timeline.comparison is not None and not self._background.is_stopped:
            self.scored.emit()
            self.estimate.estimate()

    def _show(self) -> None:
        """Show the scores of the shown frame."""
        self._patience.stop()
        timeline = self._background.timeline
        known = FrameScores(problem=self._problem) if self._problem else timeline.frame(self._index)
        heading, is_whole = "" if self._axis is None else f"Frame {self._index}", not timeline.missing(self._index)
        self.of_truth.show_scores(known, heading, is_whole=is_whole)
        self.contradiction_line.show_found(known.contradictions)
        self.blind.show_scores(known, _pixel_size(self._input))
        can_be_restored = timeline.comparison is not None and (self.truth.value is not None or bool(self._done))
        is_missing = can_be_restored and self._index not in self._done
        show_text(self.message, known.problem or ("This frame is not restored yet." if is_missing else ""))

    def _redraw(self) -> None:
        """Draw the plot over time, and show the flicker."""
        timeline, axis, line = self._background.timeline, self._axis, self._line()
        has_truth = self.truth.value is not None
        self.blind.show_flicker(timeline.flicker(line) if axis is not None and axis.is_time and not has_truth else None)
        if axis is None or timeline.comparison is None or not (has_truth or self._done):
            if self.plot is not None:
                self.plot.setVisible(False)
            return
        plot = self.plot or self._make_plot()
        of_truth = {name: METRICS[name].label for name in self.of_truth.metrics}
        plot.set_quantities({**(of_truth if has_truth else BLIND_VALUES), **(ESTIMATED if self._done else {})})
        plot.set_axis(axis.label, axis.values())
        plot.set_shown(axis.step_of(self._index))
        kind = plot.quantity.value
        self.estimate.follow([index for index in line if index in self._done] if kind == ESTIMATE else ())
        if kind == ESTIMATE:
            lines = {RESTORED: self.estimate.series(line)}
        else:
            rows, factor = ((RESTORED,), 100) if kind == STRUCTURE else ((INPUT, RESTORED), 1)
            lines = {row: factor * timeline.series(kind, row, line) for row in rows}
        plot.set_lines(lines, least_top=LITTLE if kind == STRUCTURE else None)
        plot.setVisible(True)

    def _make_plot(self) -> TimePlot:
        # pyqtgraph takes a quarter of a second to load, which opening the widget need not wait for
        from napari_care_losses.widgets.restore.scores.time_plot import TimePlot

        self.plot = TimePlot(self._viewer.theme)
        self.plot.chosen.connect(self._redraw)
        self.plot.clicked.connect(self._on_plot_clicked)
        self._layout.addWidget(self.plot)
        return self.plot

    def _on_plot_clicked(self, step: int) -> None:
        if self._axis is not None and self._input is not None:
            move_slider(self._viewer, self._input, self._axis.line(self._index)[step])

    def _on_worst_asked(self, y: int, x: int) -> None:
        if self._restored is not None:
            look_at(self._viewer, self._restored, self._index, y, x)


def _pixel_size(layer: Image | None) -> float | None:
    """Return the width of a layer's pixels in micrometres, if it is known."""
    try:
        return None if layer is None else layer_frames(layer).calibration.square_pixel
    except InputError:
        return None


def _shape(layer: Image | None) -> tuple[int, ...]:
    """Return the shape of a layer's frames; empty where it has none."""
    try:
        return () if layer is None else layer_frames(layer).shape
    except InputError:
        return ()
