"""The scores of the shown frame: against a ground truth, or without one."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from magicgui.widgets import CheckBox
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QGridLayout, QHBoxLayout, QLabel, QVBoxLayout, QWidget

from napari_care_losses.evaluation.frame_scores import INPUT, RESTORED
from napari_care_losses.evaluation.metrics import ALIGNMENT_HELP, MAIN_METRICS, METRICS
from napari_care_losses.evaluation.truth_limit import MUCH
from napari_care_losses.evaluation.without_truth.residual import measurable
from napari_care_losses.evaluation.without_truth.single_image import SINGLE_IMAGE_METRICS
from napari_care_losses.widgets.shared.form import tooltip
from napari_care_losses.widgets.shared.layout import arrange
from napari_care_losses.widgets.shared.run_bar import show_text, text_line

if TYPE_CHECKING:
    from napari_care_losses.evaluation.scores_over_time import FrameScores
    from napari_care_losses.evaluation.uncertainty import Coverage

ROWS = {INPUT: "Input", RESTORED: "Restored"}
UNKNOWN = "-"
ABOUT, ABOUT_HELP = "\N{ALMOST EQUAL TO} ", "From a part of this large frame; the exact value follows."
MAP_METRICS = ("rse", "rsp")
"""What is shown beside the error map: its root mean square, and the correlation."""
STRUCTURE_WORDS = ((0.02, "little signal lost"), (0.1, "some signal lost"), (math.inf, "much signal lost"))
FLICKER_WORDS = ((1.2, "steady"), (2.0, "flickers somewhat"), (math.inf, "flickers"))
"""Up to which value which words hold."""


class TruthScores(QWidget):
    """Scores of the shown frame against its ground truth."""

    def __init__(self) -> None:
        super().__init__()
        self.aligned = CheckBox(value=True, text="Align brightness first", tooltip=tooltip(ALIGNMENT_HELP))
        self.heading = QLabel()
        self.heading.setToolTip(tooltip("The frame the slider stands on; the first is 0, as beside the slider."))
        others = ", ".join(metric.title for name, metric in METRICS.items() if name not in MAIN_METRICS)
        self.more = CheckBox(text="More metrics", tooltip=tooltip(f"Compute and show {others} too."))
        self.titles = {name: QLabel(metric.label) for name, metric in METRICS.items()}
        self.values = {(row, name): _right(UNKNOWN) for row in ROWS for name in METRICS}
        self.levels = text_line(
            "Slope and R2 of the line through restored against true grey levels, before any alignment. Ratios, "
            "kinetics and bleaching need a slope near 1 and an R2 near 1."
        )
        self.interval = text_line(
            "Checks the interval layers: as many true grey levels should lie within as they promise, and about as many "
            "among the bright pixels. With fewer, this image is not like those that the model was calibrated on."
        )
        self.coverage = text_line(
            "Checks the uncertainty: its 50 % interval should hold half of the true grey levels, its 90 % interval "
            "nine in ten. With fewer, the uncertainty is too small; with more, it is too large."
        )
        self.limit = text_line(
            "Restoring removes noise. What else differs between input and ground truth stays: brightness that does not "
            "follow a line, haze, a moved sample. With the ground truth's own noise, it is at least half of the error."
        )
        boxes = QHBoxLayout()
        boxes.addWidget(self.aligned.native)
        boxes.addWidget(self.more.native)
        lines = self.limit, self.levels, self.coverage, self.interval
        arrange(QVBoxLayout(self), boxes, self._make_table(), *lines, spacing=6)
        self._of_map: tuple[str, ...] = ()
        self.more.changed.connect(self._show_lines)
        self._show_lines()

    @property
    def metrics(self) -> tuple[str, ...]:
        """The names of the metrics that are shown."""
        return tuple(METRICS) if self.more.value else MAIN_METRICS + self._of_map

    def show_map_scores(self, is_shown: bool) -> None:
        """Show the scores that belong to the error map, or hide them unless all metrics are shown."""
        self._of_map = MAP_METRICS if is_shown else ()
        self._show_lines()

    def show_scores(self, known: FrameScores, heading: str, *, is_whole: bool = True) -> None:
        """Show the scores so far of a frame, the best in bold; unless it `is_whole`, more are to come."""
        self.heading.setText(heading)
        scores = known.scores
        for (row, name), label in self.values.items():
            value = scores.get(row, {}).get(name)
            text = UNKNOWN if value is None else METRICS[name].text(value, is_short=True)
            is_about = (row, name) in known.about
            label.setText(f"{ABOUT}{text}" if is_about else text)
            label.setToolTip(tooltip(ABOUT_HELP) if is_about else "")
            best = METRICS[name].best({other: values[name] for other, values in scores.items() if name in values})
            font = label.font()
            font.setBold(row in best)
            label.setFont(font)
        texts = {
            self.limit: _limit_text(known),
            self.levels: "" if known.levels is None else measurable(known.levels),
            self.coverage: _coverage_text(known.coverage),
            self.interval: _interval_text(known.interval),
        }
        for label, text in texts.items():
            # greyed until the new text comes, so that nothing below moves
            label.setEnabled(bool(text) or is_whole)
            if text or is_whole:
                show_text(label, text)

    def _make_table(self) -> QGridLayout:
        grid = QGridLayout()
        grid.addWidget(self.heading, 0, 0)
        for column, text in enumerate(ROWS.values(), 1):
            grid.addWidget(_right(text), 0, column)
        for line, (name, title) in enumerate(self.titles.items(), 1):
            title.setToolTip(tooltip(METRICS[name].help))
            grid.addWidget(title, line, 0)
            for column, row in enumerate(ROWS, 1):
                grid.addWidget(self.values[row, name], line, column)
        return grid

    def _show_lines(self) -> None:
        for name, title in self.titles.items():
            for label in (title, *(self.values[row, name] for row in ROWS)):
                label.setVisible(name in self.metrics)


class BlindScores(QWidget):
    """Estimates of the quality without a ground truth."""

    def __init__(self) -> None:
        super().__init__()
        self.structure = text_line(
            "The residual is what the restoration removed from the shown frame. Structure in it is signal that was "
            "lost or invented: show the residual to see where."
        )
        self.flicker = text_line(
            "Changes of brightness from frame to frame, compared with the input. Do not measure changes over time "
            "where it is well above 1; a range of the whole stack reduces it."
        )
        self.resolution = text_line("<br>".join(f"{one.title}: {one.help}" for one in SINGLE_IMAGE_METRICS.values()))
        arrange(QVBoxLayout(self), self.structure, self.resolution, self.flicker, spacing=6)

    def show_scores(self, known: FrameScores, pixel_size: float | None) -> None:
        """Show the structure left in the residual of a frame, and the resolution of its images.

        `pixel_size` is the width of a pixel in micrometres, if it is known.
        """
        lines = []
        for name, metric in SINGLE_IMAGE_METRICS.items():
            values = {row: known.scores[row][name] for row in ROWS if name in known.scores.get(row, {})}
            if any(math.isfinite(value) for value in values.values()):
                score, factor = (metric, 1.0) if pixel_size is None else (metric.in_micrometres(), pixel_size)
                found = (f"{ROWS[row].lower()} {score.with_unit(factor * value)}" for row, value in values.items())
                lines.append(f"{metric.title}: {', '.join(found)}")
        show_text(self.resolution, "\n".join(lines))
        share, text = known.structure_left, ""
        if share is not None:
            text = f"Structure left in the residual: {_percent(share)} ({_words(share, STRUCTURE_WORDS)})"
        show_text(self.structure, text)

    def show_flicker(self, ratio: float | None) -> None:
        """Show how much a movie flickers, compared with its input; None if that is not known."""
        text = ""
        if ratio is not None and math.isfinite(ratio):
            text = f"Flicker: {ratio:.1f} x the input's ({_words(ratio, FLICKER_WORDS)})"
        show_text(self.flicker, text)


def _limit_text(known: FrameScores) -> str:
    """Return that much of the error is not the restoration's, where that is so."""
    limit, psnr = known.limit, known.scores.get(RESTORED, {}).get("psnr")
    if limit is None or psnr is None or not limit.differs or limit.share(psnr) < MUCH:
        return ""
    of_noiseless = METRICS["psnr"].with_unit(limit.psnr)
    return f"The ground truth differs from the input in more than noise: a noiseless input would have {of_noiseless}."


def _coverage_text(coverage: dict[float, float]) -> str:
    if not coverage:
        return ""
    (first, found), *rest = coverage.items()
    text = f"Uncertainty: {_percent(found)} of true pixels within the {_percent(first)} interval"
    return ", ".join([text, *(f"{_percent(found)} within the {_percent(share)}" for share, found in rest)])


def _interval_text(found: Coverage | None) -> str:
    if found is None:
        return ""
    whole, dark, bright = (_percent(share) for share in found[:3])
    return f"Interval: {whole} of true pixels within, {dark} in the darker half, {bright} in the brightest tenth"


def _percent(share: float) -> str:
    # a number and its unit stay on one line
    return f"{share * 100:.0f}\N{NO-BREAK SPACE}%" if not 0 < share < 0.01 else "under 1\N{NO-BREAK SPACE}%"


def _words(value: float, words: tuple[tuple[float, str], ...]) -> str:
    return next(text for limit, text in words if value <= limit)


def _right(text: str) -> QLabel:
    label = QLabel(text)
    label.setAlignment(Qt.AlignmentFlag.AlignRight)
    return label
