"""What the Compare widget scores, and what its table says."""

from __future__ import annotations

from dataclasses import replace
from statistics import fmean

import numpy as np
import pytest
from fixtures.compare_widget import add_pair, press_compare
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QApplication

from napari_care_losses.comparison.baselines import restore_with
from napari_care_losses.comparison.compare import INPUT
from napari_care_losses.evaluation.metrics import METRICS, score
from napari_care_losses.evaluation.statistics import Row
from napari_care_losses.evaluation.without_truth.single_image import SINGLE_IMAGE_SCORES, measure_image
from napari_care_losses.models.library import list_models
from napari_care_losses.models.model import load_model
from napari_care_losses.restoration.restore_stack import RestorationParameters, restore
from napari_care_losses.widgets.compare.summary import ComparisonSummary, about_table
from napari_care_losses.widgets.compare.tables import SummaryTable


def cell(table: SummaryTable, row: int, column: int) -> str:
    return table.item(row, column).text()


def plain(text: str) -> str:
    return text.replace("\N{THIN SPACE}", " ")


def test_images_and_scores_are_what_core_makes_of_them(viewer, open_widget, add_model, stack, truth, qtbot) -> None:
    add_model("mine", loss="laplace")
    _, clean = add_pair(viewer, stack, truth)
    widget = open_widget("mine", "tv")
    widget.settings.truth.value = clean
    parameters = RestorationParameters(normalization="stack")
    widget.settings.form.set_value(parameters)
    results = press_compare(widget, qtbot)
    assert "Compared 2 methods on 3 frames" in widget.run_bar.status.text()
    (entry,) = list_models()
    expected = restore(stack, load_model(entry.path), parameters)
    for index in range(3):
        assert np.allclose(results.image("mine", index), expected[index], atol=1e-3)
        assert np.allclose(results.image("TV", index), restore_with("tv", stack[index]))
        for name, image in (("mine", expected[index]), (INPUT, stack[index])):
            found = results.frame_scores(index)[name]
            assert found["psnr"] == pytest.approx(score(image, truth[index])["psnr"], abs=1e-3)
    table = widget.summary.table
    assert [cell(table, row, 0) for row in range(3)] == ["Input", "mine", "TV"]
    mean = np.mean([score(stack[index], truth[index])["psnr"] for index in range(3)])
    assert plain(cell(table, 0, 1)).startswith(f"{mean:.2f} ± ")
    assert "\np " in cell(table, 2, 1)
    assert "\n" not in cell(table, 1, 1)
    assert "t-test against mine" in widget.summary.about.text()


def test_frames_of_a_movie_are_not_tested(viewer, open_widget, truth, stack, qtbot) -> None:
    many = [np.concatenate([images] * 4) for images in (stack, truth)]
    many[0] = np.random.default_rng(1).poisson(many[0]).astype(np.uint16)
    _, clean = add_pair(viewer, *many, axis_labels=("t", "y", "x"))
    widget = open_widget()
    widget.settings.truth.value = clean
    assert widget.settings.fields.native.currentText() == "one movie or z-stack"
    press_compare(widget, qtbot)
    assert "no p-value; in brackets the 95 % interval of the difference to Input" in widget.summary.about.text()
    assert cell(widget.summary.table, 1, 1).partition("\n")[2].startswith("[")
    assert "p" not in cell(widget.summary.table, 1, 1)


@pytest.mark.parametrize(
    ("labels", "text"),
    [
        (("field", "y", "x"), "independent fields of view"),
        (("time", "y", "x"), "one movie or z-stack"),
        (None, "indep"),
    ],
)
def test_what_the_frames_are_is_guessed_from_the_axes(labels, text, viewer, open_widget, stack) -> None:
    viewer.add_image(stack, axis_labels=labels)
    assert open_widget().settings.fields.native.currentText().startswith(text)


@pytest.mark.parametrize(
    ("count", "independent", "text"),
    [
        (1, True, "no spread and no test"),
        (9, True, "t-test against Laplace"),
        (9, False, "fewer than 10 frames"),
        (30, False, "block bootstrap"),
    ],
)
def test_the_line_under_the_table_says_what_may_be_said(count, independent, text) -> None:
    assert text in about_table(count, reference="Laplace", independent=independent)


def test_a_row_says_its_test_in_short_and_at_length(qtbot) -> None:
    table = SummaryTable()
    qtbot.addWidget(table)
    rows = [
        Row("Laplace", "psnr", 30.0, 0.5, 8),
        Row("FFT", "psnr", 31.25, 0.25, 8, 1.25, 0.0004, 0.0008, (0.9, 1.6), effect_size=2.5),
        Row("TV", "psnr", 28.0, 0.25, 8, -2.0, 0.2, 0.2, (-3.0, 1.0)),
    ]
    table.show_rows(rows, reference="Laplace", colours={})
    assert plain(cell(table, 1, 1)) == "31.25 ± 0.25\np < 0.001"
    assert plain(cell(table, 2, 1)) == "28.00 ± 0.25\np = 0.20"
    assert [table.item(row, 1).font().bold() for row in range(3)] == [False, True, False]
    about = table.item(1, 1).toolTip()
    assert "Mean difference to Laplace: +1.25, 95 % interval +0.90 to +1.60" in about
    assert "Holm's correction for the number of methods &lt; 0.001" in about or "methods < 0.001" in about
    assert "Effect size (Cohen's d" in about
    assert "+2.50" in about
    assert "Effect size" not in table.item(2, 1).toolTip()


def test_without_a_truth_the_resolution_of_each_image_is_shown(viewer, open_widget, stack, qtbot) -> None:
    viewer.add_image(stack)
    widget = open_widget()
    results = press_compare(widget, qtbot)
    assert results.frames_done() == [0, 1, 2]
    assert "and the resolution of each image alone" in widget.summary.about.text()
    table = widget.summary.table
    titles = [table.horizontalHeaderItem(column).text() for column in range(table.columnCount())]
    assert titles == ["Method", "FRC resolution (px)", "Decorrelation resolution (px)"]
    measured = [measure_image(frame)["decorrelation_resolution_px"] for frame in stack]
    assert plain(cell(table, 0, 2)).split(" ")[0] == SINGLE_IMAGE_SCORES["decorrelation_resolution_px"].text(
        fmean(measured)
    )
    assert not any(table.item(row, 1).font().bold() for row in range(3))
    assert table.horizontalScrollBarPolicy() == Qt.ScrollBarPolicy.ScrollBarAlwaysOn
    assert widget.summary.copy.isEnabled()
    assert widget.summary.export.isEnabled()
    assert set(widget.view.grid.images()) == {INPUT, "TV", "NL-means"}


def test_the_table_is_copied(viewer, open_widget, stack, truth, qtbot) -> None:
    _, clean = add_pair(viewer, stack, truth)
    widget = open_widget("tv")
    widget.settings.truth.value = clean
    press_compare(widget, qtbot)
    widget.summary.copy.click()
    lines = QApplication.clipboard().text().splitlines()
    assert lines[0].split("\t")[:3] == ["method", "metric", "mean"]
    assert {line.split("\t")[0] for line in lines[1:]} == {"input", "TV"}


def test_a_new_metric_gets_a_column(qtbot, monkeypatch) -> None:
    monkeypatch.setitem(METRICS, "error", replace(METRICS["ssim"], title="Error", unit="%", higher_is_better=False))
    table = SummaryTable()
    qtbot.addWidget(table)
    rows = [Row("a", "error", 0.25, 0.125, 3), Row("b", "error", 0.5, 0.125, 3)]
    table.show_rows(rows, reference="a", colours={})
    assert table.horizontalHeaderItem(1).text() == "Error (%)"
    assert plain(cell(table, 0, 1)) == "0.250 ± 0.125"
    assert [table.item(row, 1).font().bold() for row in range(2)] == [True, False]


def test_more_metrics_are_shown_when_asked_for(qtbot) -> None:
    summary = ComparisonSummary()
    qtbot.addWidget(summary)
    rows = [Row("a", name, 0.25, 0.125, 3) for name in METRICS]
    summary.table.show_rows(rows, reference="a", colours={})
    shown = {True: [], False: []}
    for is_all in (False, True, False):
        summary.more.value = is_all
        table = summary.table
        columns = [column for column in range(table.columnCount()) if not table.isColumnHidden(column)]
        shown[is_all] = [table.horizontalHeaderItem(column).text() for column in columns]
    assert shown[False] == ["Method", "PSNR (dB)", "SSIM"]
    assert shown[True] == ["Method", *(metric.label for metric in METRICS.values())]
