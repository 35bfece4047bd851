"""Scores of the shown frame against a ground truth; they follow the slider."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtCore import Qt
from qtpy.QtWidgets import QCheckBox, QGridLayout, QGroupBox, QLabel, QVBoxLayout, QWidget

from napari_care_losses.core.errors import CareError, InputError
from napari_care_losses.core.metrics import METRICS, scale_truth, score
from napari_care_losses.widgets.form import make_rows, tooltip
from napari_care_losses.widgets.layer_chooser import LayerChooser
from napari_care_losses.widgets.layers import layer_frames
from napari_care_losses.widgets.run_bar import show_text
from napari_care_losses.widgets.worker import LatestJob

if TYPE_CHECKING:
    from collections.abc import Iterator

    from napari.components import ViewerModel
    from napari.layers import Image

    from napari_care_losses.core.frames import Frames

ROWS = {"input": "Input", "restored": "Restored"}
UNKNOWN = "-"
METRIC_HELP = {
    "psnr": "Peak signal-to-noise ratio: how small the differences to the ground truth are. Higher is better; "
    "3 dB more halves the squared error.",
    "ssim": "Structural similarity: how alike the local patterns are, up to 1. Higher is better.",
}

Scores = dict[str, dict[str, float]]


class ScorePanel(QGroupBox):
    """Asks for a ground truth and scores the shown frame of input and restored stack against it.

    Parameters
    ----------
    viewer : ViewerModel
        Whose layers.
    parent : QWidget, optional
        Parent widget.
    """

    def __init__(self, viewer: ViewerModel, *, parent: QWidget | None = None) -> None:
        super().__init__("Compare with a ground truth", parent)
        self._input: Image | None = None
        self._restored: Image | None = None
        self._index = 0
        self.truth = LayerChooser(viewer, none="none")
        self.truth.setToolTip(
            tooltip("A long exposure of the same field of view, if you have one: the restored image is scored by it.")
        )
        self.aligned = QCheckBox("Align brightness first")
        self.aligned.setChecked(True)
        self.aligned.setToolTip(
            tooltip(
                "Scale and shift each image's grey levels to fit the ground truth before scoring, as the CARE papers "
                "do: exposures differ in brightness. Switched off, wrong brightness counts too."
            )
        )
        self.values = {(row, name): _number() for row in ROWS for name in METRICS}
        self.message = QLabel()
        self.message.setWordWrap(True)
        rows = make_rows()
        rows.addRow("Ground truth", self.truth)
        self.table = self._make_table()
        layout = QVBoxLayout(self)
        layout.addLayout(rows)
        layout.addWidget(self.aligned)
        layout.addWidget(self.table)
        layout.addWidget(self.message)
        self._scoring = LatestJob(parent=self)
        self._scoring.reported.connect(self._show)
        self._scoring.failed.connect(lambda error: self._show(str(error)))
        self.truth.changed.connect(self.rescore)
        self.aligned.toggled.connect(lambda _: self.rescore())
        self.rescore()

    @property
    def is_scoring(self) -> bool:
        """Whether scores are waited for."""
        return self._scoring.is_running

    def show_frame(self, source: Image | None, restored: Image | None, index: int) -> None:
        """Score frame `index` of a layer, and of what was restored from it if that frame is there."""
        self._input, self._restored, self._index = source, restored, index
        self.rescore()

    def rescore(self) -> None:
        """Ask for the scores anew."""
        truth, source = self.truth.layer(), self._input
        for widget in (self.table, self.aligned):
            widget.setVisible(truth is not None)
        show_text(self.message, "")
        self._scoring.cancel()
        if truth is None or source is None:
            return
        try:
            stacks = _stacks(truth, source, self._restored)
        except InputError as error:
            self._show(str(error))
            return
        index, aligned = self._index, self.aligned.isChecked()
        self.heading.setText(f"Frame {index}" if len(stacks["truth"]) > 1 else "")
        self._scoring.request(lambda: _scores(stacks, index, aligned=aligned))

    def _make_table(self) -> QWidget:
        table = QWidget()
        grid = QGridLayout(table)
        grid.setContentsMargins(0, 0, 0, 0)
        self.heading = QLabel()
        self.heading.setToolTip(tooltip("The frame the slider stands on; the first is 0, as beside the slider."))
        grid.addWidget(self.heading, 0, 0)
        for column, (name, metric) in enumerate(METRICS.items(), 1):
            title = QLabel(f"{metric.title} ({metric.unit})" if metric.unit else metric.title)
            title.setAlignment(Qt.AlignmentFlag.AlignRight)
            title.setToolTip(tooltip(METRIC_HELP.get(name, "")))
            grid.addWidget(title, 0, column)
        for line, (row, text) in enumerate(ROWS.items(), 1):
            grid.addWidget(QLabel(text), line, 0)
            for column, name in enumerate(METRICS, 1):
                grid.addWidget(self.values[row, name], line, column)
        return table

    def _show(self, result: Scores | str) -> None:
        scores = {} if isinstance(result, str) else result
        for (row, name), label in self.values.items():
            value = scores.get(row, {}).get(name)
            label.setText(UNKNOWN if value is None else f"{value:.2f}" if METRICS[name].unit else f"{value:.3f}")
            best = max((scores[other][name] for other in scores), default=None)
            font = label.font()
            font.setBold(len(scores) > 1 and value == best)
            label.setFont(font)
        text = result if isinstance(result, str) else "" if "restored" in result else "This frame is not restored yet."
        show_text(self.message, text)


def _stacks(truth: Image, source: Image, restored: Image | None) -> dict[str, Frames]:
    if truth is source:
        raise InputError("Ground truth and input are the same layer: choose the long exposure as ground truth.")
    stacks = {"truth": layer_frames(truth), "input": layer_frames(source)}
    if stacks["truth"].shape != stacks["input"].shape:
        raise InputError(
            f"The ground truth is {_size(stacks['truth'])}, the input {_size(stacks['input'])}: "
            "they must show the same frames."
        )
    if restored is not None:
        stacks["restored"] = layer_frames(restored)
    return stacks


def _scores(stacks: dict[str, Frames], index: int, *, aligned: bool) -> Iterator[Scores | str]:
    try:
        truth = scale_truth(stacks["truth"][index])
        yield {name: score(stacks[name][index], truth, aligned=aligned) for name in ROWS if name in stacks}
    except CareError as error:
        # Shown in the panel only: a message that pops up at every step of the slider would be in the way.
        yield str(error)


def _size(frames: Frames) -> str:
    return " x ".join(map(str, frames.shape))


def _number() -> QLabel:
    number = QLabel(UNKNOWN)
    number.setAlignment(Qt.AlignmentFlag.AlignRight)
    return number
