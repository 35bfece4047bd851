"""The tables of a comparison's report, as HTML and as CSV."""

from __future__ import annotations

import csv
import math
from html import escape
from io import StringIO
from typing import TYPE_CHECKING

from napari_care_losses.comparison.compare import INPUT
from napari_care_losses.evaluation.metrics import GREY_LEVEL_SCORES, METRICS
from napari_care_losses.evaluation.stack_scores import describe_score
from napari_care_losses.evaluation.statistics import HEADER, Row, row_cells
from napari_care_losses.evaluation.without_truth.estimated_psnr import UNCERTAINTY

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from napari_care_losses.comparison.report.content import ComparisonReport

LISTED_IMAGES = 60
"""Largest number of images whose scores the page lists; the CSV file holds all."""


def score_table(rows: Sequence[Row], reference: str | None) -> str:
    """Return the rows of `summarize` as a table: a row for each method, with mean, difference and tests by metric."""
    by_name = {(row.method, row.metric): row for row in rows}
    methods, metrics = (list(dict.fromkeys(getattr(row, name) for row in rows)) for name in ("method", "metric"))
    columns = {metric: _columns(metric, [row for row in rows if row.metric == metric]) for metric in metrics}
    best = {metric: _best(rows, metric) for metric in metrics}
    groups = "".join(
        f'<th colspan="{len(columns[metric])}">{escape(describe_score(metric).label)}</th>' for metric in metrics
    )
    heads = "".join(f"<th>{_COLUMN_HEADS[column]}</th>" for metric in metrics for column in columns[metric])
    body = []
    for method in methods:
        found = "".join(
            _cell(by_name[method, metric], column, is_best=column == "mean" and method in best[metric])
            for metric in metrics
            for column in columns[metric]
        )
        mark = " (reference)" if method == reference else ""
        body.append(f"<tr><th>{escape(method)}{mark}</th>{found}</tr>")
    return (
        f'<div class="wide"><table><thead><tr><th rowspan="2" class="first">Method</th>{groups}</tr>'
        f"<tr>{heads}</tr></thead><tbody>{''.join(body)}</tbody></table></div>"
    )


def image_table(report: ComparisonReport) -> str:
    """Return a table with the main scores of the first `LISTED_IMAGES` images."""
    methods = list(report.scores)
    frames = sorted({frame for rows in report.scores.values() for frame in rows})
    held = {name for rows in report.scores.values() for row in rows.values() for name in row}
    metrics = [name for name, metric in METRICS.items() if metric.is_main and name in held]
    groups = "".join(f'<th colspan="{len(metrics)}">{escape(method)}</th>' for method in methods)
    heads = "".join(f"<th>{escape(describe_score(metric).label)}</th>" for _ in methods for metric in metrics)
    lines = []
    for frame in frames[:LISTED_IMAGES]:
        found = "".join(
            f"<td>{METRICS[metric].text(report.scores[method].get(frame, {}).get(metric, math.nan))}</td>"
            for method in methods
            for metric in metrics
        )
        lines.append(f"<tr><th>{frame}</th>{found}</tr>")
    left = len(frames) - LISTED_IMAGES
    more = f"<p>{left} more images are in the CSV file.</p>" if left > 0 else ""
    return (
        f'<div class="wide"><table class="small"><thead><tr><th rowspan="2" class="first">Image</th>{groups}</tr>'
        f"<tr>{heads}</tr></thead><tbody>{''.join(lines)}</tbody></table></div>{more}"
    )


def pairs_table(pairs: Mapping[str, str]) -> str:
    """Return a table of titles and values."""
    lines = "".join(
        f"<tr><th>{escape(str(title))}</th><td>{escape(str(text))}</td></tr>" for title, text in pairs.items()
    )
    return f'<table class="pairs"><tbody>{lines}</tbody></table>'


def scores_csv(scores: Mapping[str, Mapping[int, Mapping[str, float]]]) -> str:
    """Return the scores of every image as CSV: one line an image and method, in the order of the images."""
    every = [(frame, method, row) for method, rows in scores.items() for frame, row in rows.items()]
    every.sort(key=lambda entry: entry[0])
    metrics = list(dict.fromkeys(metric for _, _, row in every for metric in row))
    lines = []
    for frame, method, row in every:
        values = (row.get(metric, math.nan) for metric in metrics)
        lines.append([frame, method, *("" if math.isnan(value) else f"{value:.7g}" for value in values)])
    return csv_text([["image", "method", *metrics], *lines])


def summary_csv(rows: Sequence[Row]) -> str:
    """Return the table of methods as CSV: one line a method and metric."""
    return csv_text([HEADER, *(row_cells(row) for row in rows)])


_DASH = "\u2013"
_COLUMN_HEADS = {
    "mean": "mean \u00b1 SD",
    "mean interval": "95\u00a0% interval",
    "difference": "difference [95\u00a0%]",
    "p": "<i>p</i>",
    "holm": "<i>p</i> (Holm)",
    "effect": "<i>d<sub>z</sub></i>",
}


def _columns(metric: str, rows: Sequence[Row]) -> list[str]:
    """Return the columns that are not empty in these rows; only means where no value is best."""
    if metric in GREY_LEVEL_SCORES or metric == UNCERTAINTY:
        return ["mean"]
    has_p = any(not math.isnan(row.p_value) for row in rows)
    held = {
        "mean": True,
        # where differences have intervals of their own, those of the means only distract
        "mean interval": not has_p and any(not math.isnan(row.mean_interval[0]) for row in rows),
        "difference": any(not math.isnan(row.difference) for row in rows),
        "p": has_p,
        "holm": has_p and sum(not math.isnan(row.p_value) for row in rows) > 1,
        "effect": any(not math.isnan(row.effect_size) for row in rows),
    }
    return [column for column, is_held in held.items() if is_held]


def _cell(row: Row, column: str, *, is_best: bool) -> str:
    number = describe_score(row.metric).text
    text = _DASH
    if column == "mean":
        text = number(row.mean)
        if not math.isnan(row.spread):
            spread = number(row.spread)
            # a spread that rounds to nothing is still one
            text += f" \u00b1 {spread if row.spread == 0 or spread.strip('0.') else f'&lt; {spread[:-1]}1'}"
    elif column == "mean interval" and not math.isnan(row.mean_interval[0]):
        text = f"[{', '.join(map(number, row.mean_interval))}]"
    elif column == "difference" and not math.isnan(row.difference):
        text = describe_score(row.metric).signed(row.difference)
        if not math.isnan(row.interval[0]):
            text += f"<br><small>[{', '.join(map(number, row.interval))}]</small>"
    elif column in ("p", "holm"):
        p = row.p_value if column == "p" else row.p_corrected
        text = _DASH if math.isnan(p) else "&lt; 0.001" if p < 0.001 else f"{p:.3f}"
    elif column == "effect" and not math.isnan(row.effect_size):
        text = f"{row.effect_size:+.2f}".replace("-", "\u2212")
    return f"<td><b>{text}</b></td>" if is_best else f"<td>{text}</td>"


def _best(rows: Sequence[Row], metric: str) -> set[str]:
    """Return the methods with the best mean, besides the input; none for grey levels."""
    means = {row.method: row.mean for row in rows if row.metric == metric and row.method != INPUT}
    return set() if metric in GREY_LEVEL_SCORES else describe_score(metric).best(means)


def csv_text(lines: Iterable[Sequence[object]]) -> str:
    """Return lines of cells as CSV."""
    text = StringIO()
    csv.writer(text, lineterminator="\n").writerows(lines)
    return text.getvalue()
