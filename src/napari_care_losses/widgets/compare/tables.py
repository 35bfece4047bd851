"""The scores of a comparison as tables: one row per method in the dock, one row per frame in the window."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from magicgui.widgets import ComboBox
from qtpy.QtCore import QSize, Qt, Signal
from qtpy.QtGui import QColor, QIcon, QPixmap
from qtpy.QtWidgets import (
    QAbstractItemView,
    QHeaderView,
    QLabel,
    QSizePolicy,
    QTableWidget,
    QTableWidgetItem,
    QVBoxLayout,
    QWidget,
)

from napari_care_losses.comparison.compare import INPUT
from napari_care_losses.evaluation.metrics import GREY_LEVEL_SCORES, METRICS
from napari_care_losses.evaluation.stack_scores import describe_score
from napari_care_losses.widgets.compare.results import TITLES
from napari_care_losses.widgets.shared.form import Rows, narrow, tooltip

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from napari_care_losses.evaluation.statistics import Row
    from napari_care_losses.widgets.compare.results import Scores

THIN = "\N{THIN SPACE}"
NUMBER_SIZE = 0.84
"""Font size of the table in the narrow dock, relative to other texts."""

SWATCH = 10
"""Width of the mark in the colour of a method, in pixels."""


class SummaryTable(QTableWidget):
    """One row per method: mean and spread of each metric, and below them the test against the reference."""

    def __init__(self, *, parent: QWidget | None = None) -> None:
        super().__init__(0, 1 + len(METRICS), parent)
        self.setHorizontalHeaderLabels(["Method", *(metric.label for metric in METRICS.values())])
        for column, metric in enumerate(METRICS.values(), 1):
            item = self.horizontalHeaderItem(column)
            assert item is not None
            item.setToolTip(tooltip(metric.help))
        _make_plain(self)
        header = _header(self)
        header.setSectionResizeMode(QHeaderView.ResizeMode.ResizeToContents)
        header.setSectionResizeMode(0, QHeaderView.ResizeMode.Stretch)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setVerticalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setSizePolicy(QSizePolicy.Policy.Preferred, QSizePolicy.Policy.Fixed)

    def show_rows(self, rows: Sequence[Row], *, reference: str, colours: Mapping[str, str]) -> None:
        """Show a summary."""
        by_method: dict[str, dict[str, Row]] = {}
        for row in rows:
            by_method.setdefault(row.method, {})[row.metric] = row
        self.setRowCount(len(by_method))
        best = {
            name: best_of(name, {method: row[name].mean for method, row in by_method.items() if name in row})
            for name in METRICS
        }
        size = NUMBER_SIZE * self.font().pointSizeF() if self.font().pointSizeF() > 0 else None
        for line, (method, of_metric) in enumerate(by_method.items()):
            title = TITLES.get(method, method)
            self.setItem(line, 0, _cell(title, colour=colours.get(method), is_left=True, about=title))
            for column, name in enumerate(METRICS, 1):
                if (row := of_metric.get(name)) is not None:
                    text = "\n".join(part for part in (mean_text(row), test_text(row)) if part)
                    about = row_about(row, reference=TITLES.get(reference, reference))
                    self.setItem(line, column, _cell(text, is_bold=method in best[name], about=about, size=size))
        self.resizeRowsToContents()
        self._fit_height()

    def _fit_height(self) -> None:
        rows = sum(self.rowHeight(row) for row in range(self.rowCount()))
        header = self.horizontalHeader()
        assert header is not None
        self.setFixedHeight(rows + header.sizeHint().height() + 2 * self.frameWidth())


class FrameTable(QWidget):
    """One row per frame, one column per method, and their mean; a click on a frame chooses it."""

    frame_chosen = Signal(int)

    def __init__(self, *, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._scores: Scores = {}
        self._frames: list[int] = []
        self._shown = -1
        scores = {name: describe_score(name) for name in (*METRICS, *GREY_LEVEL_SCORES)}
        self.score = narrow(
            ComboBox(label="Score", choices=[(score.title, name) for name, score in scores.items()]), "Score"
        )
        for place, score in enumerate(scores.values()):
            self.score.native.setItemData(place, tooltip(score.help), Qt.ItemDataRole.ToolTipRole)
        self.score.changed.connect(self._fill)
        self.table = QTableWidget()
        _make_plain(self.table)
        self.table.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        self.table.setToolTip(tooltip("Click a frame to show it. The best method of each row is bold."))
        self.table.cellClicked.connect(self._on_clicked)
        self.message = QLabel("There are no scores without a ground truth.")
        self.message.setWordWrap(True)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 4, 0, 0)
        layout.addWidget(Rows(self.score).native)
        layout.addWidget(self.message)
        layout.addWidget(self.table, 1)

    def show_scores(self, scores: Scores, names: Iterable[str], colours: Mapping[str, str]) -> None:
        """Show the scores so far, in a column per name."""
        self._scores = scores
        self._names, self._colours = [name for name in names if name in scores], dict(colours)
        self._fill()

    def show_frame(self, index: int) -> None:
        """Select the row of the frame shown."""
        self._shown = index
        if index in self._frames:
            self.table.selectRow(1 + self._frames.index(index))
        else:
            self.table.clearSelection()

    def _fill(self) -> None:
        metric = self.score.value
        has_scores = bool(self._scores)
        self.message.setVisible(not has_scores)
        self.table.setVisible(has_scores)
        self.score.enabled = has_scores
        if not has_scores:
            return
        self._frames = sorted({frame for rows in self._scores.values() for frame in rows})
        self.table.setColumnCount(len(self._names))
        self.table.setHorizontalHeaderLabels([TITLES.get(name, name) for name in self._names])
        for column, name in enumerate(self._names):
            item = self.table.horizontalHeaderItem(column)
            assert item is not None
            item.setIcon(_swatch(self._colours[name]))
        self.table.setRowCount(1 + len(self._frames))
        self.table.setVerticalHeaderLabels(["Mean", *(f"Frame {frame}" for frame in self._frames)])
        shared = [frame for frame in self._frames if all(frame in self._scores[name] for name in self._names)]
        means = {
            name: sum(self._scores[name][frame][metric] for frame in shared) / len(shared)
            for name in self._names
            if shared
        }
        self._fill_row(0, means, metric)
        for line, frame in enumerate(self._frames, 1):
            values = {name: self._scores[name][frame][metric] for name in self._names if frame in self._scores[name]}
            self._fill_row(line, values, metric)
        self.table.resizeColumnsToContents()
        self.show_frame(self._shown)

    def _fill_row(self, line: int, values: Mapping[str, float], metric: str) -> None:
        best = best_of(metric, values)
        for column, name in enumerate(self._names):
            value = values.get(name)
            text = "-" if value is None else describe_score(metric).text(value, is_short=True)
            self.table.setItem(line, column, _cell(text, is_bold=name in best))

    def _on_clicked(self, row: int, _column: int) -> None:
        if row > 0:
            self.frame_chosen.emit(self._frames[row - 1])


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


def _make_plain(table: QTableWidget) -> None:
    table.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
    table.setSelectionMode(QAbstractItemView.SelectionMode.SingleSelection)
    table.setShowGrid(False)
    table.setWordWrap(True)
    table.setIconSize(QSize(SWATCH, SWATCH))
    vertical = table.verticalHeader()
    assert vertical is not None
    vertical.setVisible(not isinstance(table, SummaryTable))
    if isinstance(table, SummaryTable):
        table.setSelectionMode(QAbstractItemView.SelectionMode.NoSelection)
        table.setFocusPolicy(Qt.FocusPolicy.NoFocus)


def _header(table: QTableWidget) -> QHeaderView:
    header = table.horizontalHeader()
    assert header is not None
    return header
