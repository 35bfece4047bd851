"""The scores of a comparison as tables: one row per method in the dock, one row per frame in the window."""

from __future__ import annotations

import math
from statistics import fmean
from typing import TYPE_CHECKING

from magicgui.widgets import ComboBox
from qtpy.QtCore import QSignalBlocker, QSize, Qt, Signal
from qtpy.QtGui import QColor, QIcon, QPixmap
from qtpy.QtWidgets import QHeaderView, QLabel, QSizePolicy, QTableWidget, QTableWidgetItem, QVBoxLayout, QWidget

from napari_care_losses.comparison.compare import INPUT
from napari_care_losses.evaluation.metrics import GREY_LEVEL_SCORES, METRICS
from napari_care_losses.evaluation.stack_scores import describe_score
from napari_care_losses.evaluation.without_truth.estimated_psnr import ESTIMATED_SCORES, UNCERTAINTY
from napari_care_losses.evaluation.without_truth.single_image import SINGLE_IMAGE_SCORES
from napari_care_losses.widgets.compare.results import TITLES
from napari_care_losses.widgets.shared.form import Rows, narrow, tooltip
from napari_care_losses.widgets.shared.layout import arrange

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from qtpy.QtGui import QResizeEvent

    from napari_care_losses.evaluation.statistics import Row
    from napari_care_losses.widgets.compare.results import Scores

THIN = "\N{THIN SPACE}"
NUMBER_SIZE = 0.84
"""Font size of the table in the narrow dock, relative to other texts."""

WIDEST_NAME = 150
"""Of a method in the narrow dock, in pixels; longer ones are elided, and whole in the tooltip."""

ROW_GAP = 4
"""Between two rows, in pixels."""

SHORT_HEADING = 10
"""Characters of the heading of a column that stay in one line."""

SWATCH = 10
"""Width of the mark in the colour of a method, in pixels."""


class _ScoreTable(QTableWidget):
    """A table to read, with marks in the colours of the methods."""

    def __init__(self) -> None:
        super().__init__()
        self.setEditTriggers(QTableWidget.EditTrigger.NoEditTriggers)
        self.setSelectionMode(QTableWidget.SelectionMode.SingleSelection)
        self.setShowGrid(False)
        self.setIconSize(QSize(SWATCH, SWATCH))


class SummaryTable(_ScoreTable):
    """One row per method: mean and spread of each metric, and below them the test against the reference.

    The names of the methods stay in view while columns are scrolled.
    """

    def __init__(self) -> None:
        super().__init__()
        self._names: list[str] = []
        self._is_all = False
        self.setSelectionMode(QTableWidget.SelectionMode.NoSelection)
        self.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        self.setCornerButtonEnabled(False)
        names = self.verticalHeader()
        names.setDefaultAlignment(Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignVCenter)
        names.setTextElideMode(Qt.TextElideMode.ElideMiddle)
        names.setMaximumWidth(WIDEST_NAME)
        # names are no buttons
        names.setStyleSheet("QHeaderView::section { background: transparent; border: none; }")
        header = self.horizontalHeader()
        header.setSectionResizeMode(QHeaderView.ResizeMode.ResizeToContents)
        header.setStretchLastSection(True)
        self.setVerticalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setSizePolicy(QSizePolicy.Policy.Preferred, QSizePolicy.Policy.Fixed)
        self._set_columns([])

    def show_all(self, is_all: bool) -> None:
        """Show all metrics, beside one another, or the main ones only."""
        self._is_all = is_all
        for column, name in enumerate(self._names):
            self.setColumnHidden(column, not (is_all or is_shown_first(name)))
        self._fit_height()

    def show_rows(self, rows: Sequence[Row], *, reference: str, colours: Mapping[str, str]) -> None:
        """Show a summary."""
        by_method: dict[str, dict[str, Row]] = {}
        for row in rows:
            by_method.setdefault(row.method, {})[row.metric] = row
        self._set_columns(columns_of({row.metric for row in rows}))
        self.setRowCount(len(by_method))
        best = {
            name: best_of(name, {method: row[name].mean for method, row in by_method.items() if name in row})
            for name in self._names
        }
        size = NUMBER_SIZE * self.font().pointSizeF() if self.font().pointSizeF() > 0 else None
        for line, (method, of_metric) in enumerate(by_method.items()):
            title = TITLES.get(method, method)
            self.setVerticalHeaderItem(line, _cell(title, colour=colours.get(method), is_left=True, about=title))
            for column, name in enumerate(self._names):
                if (row := of_metric.get(name)) is not None:
                    text = "\n".join(part for part in (mean_text(row), test_text(row)) if part)
                    about = row_about(row, reference=TITLES.get(reference, reference))
                    self.setItem(line, column, _cell(text, is_bold=method in best[name], about=about, size=size))
        self.resizeRowsToContents()
        for line in range(self.rowCount()):
            self.setRowHeight(line, self.rowHeight(line) + ROW_GAP)
        self._fit_height()

    def resizeEvent(self, event: QResizeEvent | None) -> None:
        """Leave room for a scroll bar where the columns do not fit."""
        super().resizeEvent(event)
        self._fit_height()

    def _set_columns(self, names: list[str]) -> None:
        self._names = names
        scores = [describe_score(name) for name in names]
        self.setColumnCount(len(names))
        self.setHorizontalHeaderLabels([in_two_lines(score.label) for score in scores])
        for column, score in enumerate(scores):
            self.horizontalHeaderItem(column).setToolTip(tooltip(score.help))
        self.show_all(self._is_all)

    def _fit_height(self) -> None:
        header, frame = self.horizontalHeader(), 2 * self.frameWidth()
        # before it is laid out, that of the names has another width
        names = min(self.verticalHeader().sizeHint().width(), WIDEST_NAME)
        shown = (column for column in range(self.columnCount()) if not self.isColumnHidden(column))
        # the last section is stretched: what it needs, not what it has
        width = sum(max(header.sectionSizeHint(column), self.sizeHintForColumn(column)) for column in shown)
        is_scrolled = names + width + frame > self.width()
        height = self.verticalHeader().length() + header.sizeHint().height() + frame
        self.setFixedHeight(height + is_scrolled * self.horizontalScrollBar().sizeHint().height())


class FrameTable(QWidget):
    """One row per frame, one column per method, and their mean; a click on a frame chooses it."""

    frame_chosen = Signal(int)

    def __init__(self, *, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._scores: Scores = {}
        self._frames: list[int] = []
        self._shown = -1
        self.score = narrow(ComboBox(label="Score", choices=[]))
        self.score.changed.connect(self._fill)
        self.table = _ScoreTable()
        self.table.setSelectionBehavior(QTableWidget.SelectionBehavior.SelectRows)
        self.table.setToolTip(tooltip("Click a frame to show it. The best method of each row is bold."))
        self.table.cellClicked.connect(self._on_clicked)
        self.message = QLabel("There are no scores without a ground truth.", wordWrap=True)
        parts = Rows(self.score).native, self.message, self.table
        arrange(QVBoxLayout(self), *parts, growing=[self.table], margins=(0, 4, 0, 0))

    def show_scores(self, scores: Scores, colours: Mapping[str, str]) -> None:
        """Show the scores so far, in a column per method."""
        self._scores, self._colours = scores, colours
        names = columns_of({name for rows in scores.values() for row in rows.values() for name in row})
        names += [name for name in GREY_LEVEL_SCORES if names and names[0] in METRICS]
        if names != list(self.score.choices):
            with QSignalBlocker(self.score.native):
                self.score.choices = [(describe_score(name).title, name) for name in names]
            for place, name in enumerate(names):
                self.score.native.setItemData(place, tooltip(describe_score(name).help), Qt.ItemDataRole.ToolTipRole)
        self._fill()

    def show_frame(self, index: int) -> None:
        """Select the row of the frame shown."""
        self._shown = index
        if index in self._frames:
            self.table.selectRow(1 + self._frames.index(index))
        else:
            self.table.clearSelection()

    def _fill(self) -> None:
        metric, scores = self.score.value, self._scores
        self.message.setVisible(metric is None)
        self.table.setVisible(metric is not None)
        self.score.enabled = metric is not None
        if metric is None:
            return
        self._frames = sorted(set().union(*scores.values()))
        self.table.setColumnCount(len(scores))
        self.table.setHorizontalHeaderLabels([TITLES.get(name, name) for name in scores])
        for column, name in enumerate(scores):
            self.table.horizontalHeaderItem(column).setIcon(_swatch(self._colours[name]))
        self.table.setRowCount(1 + len(self._frames))
        self.table.setVerticalHeaderLabels(["Mean", *(f"Frame {frame}" for frame in self._frames)])
        values = {
            name: {frame: of_frame[metric] for frame, of_frame in rows.items() if metric in of_frame}
            for name, rows in scores.items()
        }
        shared = set.intersection(*map(set, values.values()))
        means = {name: fmean(of_method[frame] for frame in shared) for name, of_method in values.items() if shared}
        rows = [means]
        rows += [{name: row[frame] for name, row in values.items() if frame in row} for frame in self._frames]
        for line, row in enumerate(rows):
            best = best_of(metric, row)
            for column, name in enumerate(scores):
                text = describe_score(metric).text(row[name], is_short=True) if name in row else "-"
                self.table.setItem(line, column, _cell(text, is_bold=name in best))
        self.table.resizeColumnsToContents()
        self.show_frame(self._shown)

    def _on_clicked(self, row: int, _column: int) -> None:
        if row > 0:
            self.frame_chosen.emit(self._frames[row - 1])


def columns_of(found: Collection[str]) -> list[str]:
    """Return, in order, which of some scores are columns: metrics, what is estimated, what single images have."""
    return [name for name in (*METRICS, *ESTIMATED_SCORES, *SINGLE_IMAGE_SCORES) if name in found]


def is_shown_first(name: str) -> bool:
    """Return whether a column is shown where there is little room."""
    return METRICS[name].is_main if name in METRICS else name != UNCERTAINTY


def in_two_lines(heading: str) -> str:
    r"""Return the heading of a column broken where its longer line is shortest; a short one is not broken.

    Examples
    --------
    >>> in_two_lines("Decorrelation resolution (px)"), in_two_lines("PSNR (dB)")
    ('Decorrelation\nresolution (px)', 'PSNR (dB)')
    """
    words = heading.split()
    if len(heading) <= SHORT_HEADING or len(words) < 2:
        return heading
    broken = ((" ".join(words[:place]), " ".join(words[place:])) for place in range(1, len(words)))
    return "\n".join(min(broken, key=lambda lines: max(map(len, lines))))


def mean_text(row: Row) -> str:
    """Return mean and spread as text."""
    score = describe_score(row.metric)
    mean = score.text(row.mean, is_short=True)
    return mean if math.isnan(row.spread) else f"{mean}{THIN}±{THIN}{score.text(row.spread, is_short=True)}"


def test_text(row: Row) -> str:
    """Return the test against the reference in short; empty if there is none."""
    if not math.isnan(row.p_value):
        return f"p {p_text(row.p_value)}"
    if not math.isnan(row.interval[0]):
        low, high = (describe_score(row.metric).signed(value, is_short=True) for value in row.interval)
        return f"[{low},{THIN}{high}]"
    return ""


def row_about(row: Row, *, reference: str) -> str:
    """Return the tooltip of a row: metric, difference, interval, test and effect size."""
    score = describe_score(row.metric)
    parts = [score.help]
    if not math.isnan(row.difference):
        parts.append(f"Mean difference to {reference}: {score.signed(row.difference, is_short=True)}")
    if not math.isnan(row.interval[0]):
        low, high = (score.signed(value, is_short=True) for value in row.interval)
        parts[-1] += f", 95 % interval {low} to {high}"
    if not math.isnan(row.p_value):
        parts.append(
            f"Paired two-sided t-test over {row.count} fields of view: p {p_text(row.p_value)}; after Holm's "
            f"correction for the number of methods {p_text(row.p_corrected)}"
        )
    if not math.isnan(row.effect_size):
        parts.append(
            "Effect size (Cohen's d<sub>z</sub>, the mean difference in standard deviations of the differences): "
            f"{row.effect_size:+.2f}"
        )
    return "<br>".join(f"{part.rstrip('.')}." for part in parts)


def p_text(p_value: float) -> str:
    """Return a p-value as text after the letter p."""
    return "< 0.001" if p_value < 0.001 else f"= {p_value:.3f}" if p_value < 0.1 else f"= {p_value:.2f}"


def best_of(metric: str, values: Mapping[str, float]) -> set[str]:
    """Return the best methods by a score; none unless there are two methods at least beside the input."""
    return describe_score(metric).best({name: value for name, value in values.items() if name != INPUT})


def _cell(
    text: str,
    *,
    colour: str | None = None,
    is_left: bool = False,
    is_bold: bool = False,
    about: str = "",
    size: float | None = None,
) -> QTableWidgetItem:
    item = QTableWidgetItem(text)
    side = Qt.AlignmentFlag.AlignLeft if is_left else Qt.AlignmentFlag.AlignRight
    item.setTextAlignment(side | Qt.AlignmentFlag.AlignVCenter)
    if colour:
        item.setIcon(_swatch(colour))
    font = item.font()
    font.setBold(is_bold)
    if size is not None:
        font.setPointSizeF(size)
    item.setFont(font)
    item.setToolTip(tooltip(about))
    return item


def _swatch(colour: str) -> QIcon:
    pixmap = QPixmap(SWATCH, SWATCH)
    pixmap.fill(QColor(colour))
    return QIcon(pixmap)
