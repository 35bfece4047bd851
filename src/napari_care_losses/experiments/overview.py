"""All experiments of a folder in one overview: as HTML page, Markdown and CSV."""

from __future__ import annotations

import math
from html import escape
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from napari_care_losses.comparison.compare import INPUT
from napari_care_losses.comparison.report.page import STYLE
from napari_care_losses.comparison.report.svg_plots import Axis, PlotLine, legend, plot, style_of
from napari_care_losses.comparison.report.tables import csv_text
from napari_care_losses.errors import InputError
from napari_care_losses.evaluation.metrics import MAIN_METRICS, METRICS
from napari_care_losses.evaluation.spectra import DETAIL_SCORES
from napari_care_losses.evaluation.stack_scores import describe_score
from napari_care_losses.evaluation.statistics import HEADER, row_cells
from napari_care_losses.experiments.results import Result, load_result
from napari_care_losses.io.whole_files import replacing
from napari_care_losses.version import __version__

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from napari_care_losses.evaluation.score import Score
    from napari_care_losses.evaluation.statistics import Row

_EXPLANATION = (
    "PSNR and SSIM after alignment to the ground truth, as CARE does. FRC: Fourier ring correlation with the ground "
    "truth, its mean over all frequencies, and the frequency in cycles per pixel at which it falls below 1/7: how much "
    "detail is truly restored. Differences are to the reference, image by image, in brackets with their 95 % interval; "
    "p from the paired, two-sided t-test over independent fields of view, in brackets after Holm's correction for the "
    "number of methods, then the effect size d (Cohen's, of the paired differences). Frames of one movie are no "
    "independent samples: they have no p-value, and intervals from a block bootstrap."
)


class Table(NamedTuple):
    """A table for HTML and Markdown, with a text above it; the first cell names the row."""

    title: str
    text: str
    header: list[str]
    rows: list[list[str]]


def write_overview(folder: Path) -> Path:
    """Write ``index.html``, ``overview.md`` and ``overview.csv`` of all experiments in a folder; return the page.

    Raises `InputError` if there is no result in the folder, `OutputError` if a file cannot be written.
    """
    results = _results(folder)
    if not results:
        raise InputError(f"{folder} holds no result of an experiment: run one first.")
    tables = overview_tables(results)
    for name, text in (
        ("overview.csv", _csv(results)),
        ("overview.md", f"{_EXPLANATION}\n\n" + "\n\n".join(_markdown(table) for table in tables) + "\n"),
        ("index.html", _page(results, tables)),
    ):
        with replacing(folder / name) as temporary:
            temporary.write_text(text, encoding="utf-8")
    return folder / "index.html"


def overview_tables(results: Sequence[Result]) -> list[Table]:
    """Return the average increases over the input, one table for each result, and the lowest usable light."""
    return [_increases(results), *map(_scores, results), *map(_least_light, _studies(results))]


def _studies(results: Sequence[Result]) -> list[list[Result]]:
    """Return the results of every study of ever less light, by rising exposure."""
    studies: dict[str, list[Result]] = {}
    for result in results:
        if result.threshold is not None:
            studies.setdefault(result.experiment, []).append(result)
    return [sorted(study, key=_exposure) for study in studies.values()]


def _results(folder: Path) -> list[Result]:
    found = []
    for path in sorted(folder.glob("*.json")):
        try:
            result = load_result(path)
        except InputError:
            continue
        if result.has_even_scores:
            found.append(result)
    return found


def _scores(result: Result) -> Table:
    """Return means and tests of one experiment."""
    rows = {(row.method, row.metric): row for row in result.rows()}
    shown: dict[str, Score] = {**{name: METRICS[name] for name in MAIN_METRICS}, **DETAIL_SCORES}
    metrics = [metric for metric in shown if any(key[1] == metric for key in rows)]
    header, lines = ["method"], []
    for metric in metrics:
        header += [shown[metric].label, f"{shown[metric].title} difference", "p (Holm), d"]
    for method in result.methods:
        line = [method + (" (reference)" if method == result.reference else "")]
        for metric in metrics:
            line += _cells(rows[method, metric])
        lines.append(line)
    count = max(row.count for row in rows.values())
    what = "independent fields of view" if result.independent else "frames of one movie"
    text = f"{count} {what}. {result.settings.get('Trained on', '')}, tested on {result.settings.get('Tested on', '')}."
    if result.shortfalls:
        text = f"Smoke run, whose values say nothing: {'; '.join(result.shortfalls)}. {text}"
    kept = [place for place in range(len(header)) if place == 0 or any(line[place] for line in lines)]
    header, *lines = ([line[place] for place in kept] for line in (header, *lines))
    return Table(f"{result.name}: {result.title}", text, header, lines)


def _cells(row: Row) -> list[str]:
    score = describe_score(row.metric)
    difference = p = ""
    if not math.isnan(row.difference):
        difference = score.signed(row.difference)
        if not math.isnan(row.interval[0]):
            difference += f" [{', '.join(map(score.signed, row.interval))}]"
    if not math.isnan(row.p_value):
        p = f"{row.p_value:.2g} ({row.p_corrected:.2g}), {row.effect_size:+.1f}"
    return [score.text(row.mean), difference, p]


def _increases(results: Sequence[Result]) -> Table:
    """Return how much better than the input each method is, experiment by experiment: the paper's Table 11."""
    lines = []
    methods = list(dict.fromkeys(method for result in results for method in result.methods if method != INPUT))
    means = [{(row.metric, row.method): row.mean for row in result.rows()} for result in results]
    for name, metric in METRICS.items():
        for method in methods:
            line = [f"{metric.label}, {method}"]
            for found in means:
                increase = found.get((name, method), math.nan) - found.get((name, INPUT), math.nan)
                line.append("" if math.isnan(increase) else metric.signed(increase))
            lines += [line] if any(line[1:]) else []
    names = [result.name + (" (smoke)" if result.shortfalls else "") for result in results]
    return Table("Average increase over the input", "As in the paper's Table 11.", ["", *names], lines)


def _least_light(study: Sequence[Result]) -> Table:
    """Return the means at every exposure, and the smallest that reaches the threshold."""
    threshold = study[0].threshold or {}
    metric, value = threshold["metric"], threshold["value"]
    score = describe_score(metric)
    lines = []
    for method in study[0].methods:
        means = [_mean(result, method, metric) for result in study]
        reached = [result.label for result, mean in zip(study, means, strict=True) if mean >= value]
        lines.append([method, *map(score.text, means), f"{reached[0]} ms" if reached else "none"])
    best = [result.label for result in study if any(_mean(result, m, metric) >= value for m in result.methods)]
    text = f"Mean {score.label} by exposure in ms. A method passes where it reaches {value:g}; " + (
        f"below {best[0]} ms none does." if best else "none does at any exposure."
    )
    header = ["method", *(f"{result.label} ms" for result in study), "least that passes"]
    return Table(f"{study[0].experiment}: the lowest usable light", text, header, lines)


def _exposure(result: Result) -> float:
    try:
        return float(result.label)
    except ValueError:
        raise InputError(
            f"The label of a test with ever less light must be its exposure in ms, found {result.label!r}."
        ) from None


def _mean(result: Result, method: str, metric: str) -> float:
    return float(np.mean([scores[metric] for scores in result.scores[method].values()]))


def _plots(results: Sequence[Result]) -> str:
    """Return quality against exposure of every study of ever less light."""
    parts = []
    for study in _studies(results):
        threshold = study[0].threshold or {}
        metric, value = threshold["metric"], threshold["value"]
        exposures = np.log10([_exposure(result) for result in study])
        curves = []
        for place, method in enumerate(study[0].methods):
            colour, dashes = ("#8c8c8c", "") if method == INPUT else style_of(place - 1)
            means = np.array([_mean(result, method, metric) for result in study])
            curves.append(PlotLine(method, exposures, means, colour, dashes))
        x, y = Axis("log10 of the exposure in ms"), Axis(describe_score(metric).label)
        drawn = plot(curves, x, y, level=(value, f"threshold {value:g}"))
        title = f"{escape(study[0].experiment)}: quality against light"
        parts.append(f"<section><h2>{title}</h2>{drawn}{legend(curves)}</section>")
    return "".join(parts)


def _markdown(table: Table) -> str:
    rows = [table.header, ["---"] * len(table.header), *table.rows]
    lines = ("| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in rows)
    return "\n".join([f"### {table.title}", "", table.text, "", *lines])


def _page(results: Sequence[Result], tables: Sequence[Table]) -> str:
    pages = "".join(
        f'<li><a href="{escape(result.name)}.html">{escape(result.name)}</a>: {escape(result.title)}</li>'
        for result in results
    )
    sections = "".join(_section(table) for table in tables)
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8"><title>Experiments</title>'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<style>{STYLE}</style></head>\n<body><h1>Experiments</h1>"
        f'<p class="made">napari-care-losses {escape(__version__)}</p><p>{escape(_EXPLANATION)}</p>'
        f"<section><h2>Reports</h2><ul>{pages}</ul></section>{_plots(results)}{sections}</body></html>\n"
    )


def _section(table: Table) -> str:
    head = f'<th class="first">{escape(table.header[0])}</th>'
    head += "".join(f"<th>{escape(title)}</th>" for title in table.header[1:])
    body = "".join(
        f"<tr><th>{escape(row[0])}</th>{''.join(f'<td>{escape(cell)}</td>' for cell in row[1:])}</tr>"
        for row in table.rows
    )
    return (
        f"<section><h2>{escape(table.title)}</h2><p>{escape(table.text)}</p>"
        f'<div class="wide"><table class="small"><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'
        "</section>"
    )


def _csv(results: Sequence[Result]) -> str:
    smoke = {True: "yes", False: "no"}
    lines = [[one.name, smoke[bool(one.shortfalls)], *row_cells(row)] for one in results for row in one.rows()]
    return csv_text([["experiment", "smoke", *HEADER], *lines])
