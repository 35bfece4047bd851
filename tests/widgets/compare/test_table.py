"""What the Compare widget scores, and what its table says."""

from __future__ import annotations

from dataclasses import replace
from statistics import fmean

import numpy as np
import pytest
from fixtures.compare_widget import add_pair, press_compare
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
    assert [table.verticalHeaderItem(row).text() for row in range(3)] == ["Input", "mine", "TV"]
    mean = np.mean([score(stack[index], truth[index])["psnr"] for index in range(3)])
    assert plain(cell(table, 0, 0)).startswith(f"{mean:.2f} ± ")
    assert "\np " in cell(table, 2, 0)
    assert "\n" not in cell(table, 1, 0)
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
    assert cell(widget.summary.table, 1, 0).partition("\n")[2].startswith("[")
    assert "p" not in cell(widget.summary.table, 1, 0)


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
    assert plain(cell(table, 1, 0)) == "31.25 ± 0.25\np < 0.001"
    assert plain(cell(table, 2, 0)) == "28.00 ± 0.25\np = 0.20"
    assert [table.item(row, 0).font().bold() for row in range(3)] == [False, True, False]
    about = table.item(1, 0).toolTip()
    assert "Mean difference to Laplace: +1.25, 95 % interval +0.90 to +1.60" in about
    assert "Holm's correction for the number of methods &lt; 0.001" in about or "methods < 0.001" in about
    assert "Effect size (Cohen's d" in about
    assert "+2.50" in about
    assert "Effect size" not in table.item(2, 0).toolTip()


def test_without_a_truth_the_resolution_of_each_image_is_shown(viewer, open_widget, stack, qtbot) -> None:
    viewer.add_image(stack)
    widget = open_widget()
    results = press_compare(widget, qtbot)
    assert results.frames_done() == [0, 1, 2]
    assert "and the resolution of each image alone" in widget.summary.about.text()
    table = widget.summary.table
    titles = [table.horizontalHeaderItem(column).text() for column in range(table.columnCount())]
    assert titles == ["FRC resolution\n(px)", "Decorrelation\nresolution (px)"]
    measured = [measure_image(frame)["decorrelation_resolution_px"] for frame in stack]
    assert plain(cell(table, 0, 1)).split(" ")[0] == SINGLE_IMAGE_SCORES["decorrelation_resolution_px"].text(
        fmean(measured)
    )
    assert not any(table.item(row, 0).font().bold() for row in range(3))
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
    assert table.horizontalHeaderItem(0).text() == "Error (%)"
    assert plain(cell(table, 0, 0)) == "0.250 ± 0.125"
    assert [table.item(row, 0).font().bold() for row in range(2)] == [True, False]


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
    assert shown[False] == ["PSNR (dB)", "SSIM"]
    assert shown[True] == [metric.label for metric in METRICS.values()]


@pytest.mark.parametrize(("truth", "shown_columns"), [(True, 3), (False, 2)])
def test_names_of_methods_are_whole_and_stay_in_view(truth, shown_columns, qtbot) -> None:
    table = SummaryTable()
    qtbot.addWidget(table)
    table.resize(200, 100)
    table.show()
    methods = ["input", "FFT", "Bandpass", "Laplace (care)", "Laplace (lite)", "TV"]
    metrics = [*(["psnr", "ssim"] if truth else ["frc_resolution_px"]), "psnr_estimated", "psnr_uncertainty"]
    rows = [Row(name, metric, 30.25, 1.25, 9) for name in methods for metric in metrics]
    table.show_rows(rows, reference="TV", colours={})
    names = table.verticalHeader()
    needed = max(table.fontMetrics().horizontalAdvance(method) for method in methods)
    assert needed < names.width() < 150
    assert sum(not table.isColumnHidden(column) for column in range(table.columnCount())) == shown_columns
    # scrolled to the last column, the first row of names is where it was
    table.horizontalScrollBar().setValue(table.horizontalScrollBar().maximum())
    assert names.x() < table.viewport().x()
    assert names.isVisible()
    headings = [table.horizontalHeaderItem(column).text() for column in range(table.columnCount())]
    assert "Estimated\nPSNR (dB)" in headings
    with_bar = table.height()
    table.resize(2000, with_bar)
    # where the columns fit, there is no bar to leave room for
    qtbot.waitUntil(lambda: table.height() < with_bar)
