from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from napari.layers import Image
from qtpy.QtCore import QRectF

from napari_care_losses.comparison.compare import INPUT, Compared, Method
from napari_care_losses.evaluation.line_profile import line_profile
from napari_care_losses.evaluation.metrics import align
from napari_care_losses.restoration.parameters import RestorationParameters
from napari_care_losses.widgets.compare.colors import difference_table, panel_colours
from napari_care_losses.widgets.compare.results import TRUTH, ComparisonPlan, ComparisonResults
from napari_care_losses.widgets.compare.window.curves import resolution_text
from napari_care_losses.widgets.compare.window.drawing import Pyramid
from napari_care_losses.widgets.compare.window.grid import PanelGrid, best_columns
from napari_care_losses.widgets.compare.window.window import ComparisonView
from napari_care_losses.widgets.layers.conversion import layer_frames

if TYPE_CHECKING:
    from collections.abc import Callable

    from pytestqt.qtbot import QtBot

NAMES = ("Laplace", "FFT")
SHAPE = (3, 40, 52)


@pytest.fixture
def make_results() -> Callable[..., ComparisonResults]:
    """Return a function that makes a comparison of which nothing is done yet, its restored stacks known."""

    def make(*, has_truth: bool = True, scale: float = 1.0, unit: str = "pixel") -> ComparisonResults:
        rng = np.random.default_rng(0)
        options = {"scale": (1, scale, scale), "units": ("pixel", unit, unit)}
        source = Image(rng.random(SHAPE).astype(np.float32), name="cells", **options)
        truth = Image(7 * rng.random(SHAPE).astype(np.float32) + 3, **options) if has_truth else None
        plan = ComparisonPlan(
            source=source,
            truth_layer=truth,
            frames=layer_frames(source),
            truth=None if truth is None else layer_frames(truth),
            methods=tuple(Method(name, baseline="tv") for name in NAMES),
            parameters=RestorationParameters(),
            indices=(0, 1, 2),
            aligned=True,
            independent=True,
            reference="Laplace",
        )
        return ComparisonResults(plan)

    return make


@pytest.fixture
def open_view(qtbot: QtBot) -> Callable[..., ComparisonView]:
    def open_(results: ComparisonResults, *indices: int) -> ComparisonView:
        view = ComparisonView(results, "dark")
        qtbot.addWidget(view)
        view.show()
        for index in indices:
            fill(results, index)
        view.show_frame(0)
        settle(view, qtbot)
        return view

    return open_


def restored(name: str, index: int) -> np.ndarray:
    return np.random.default_rng(10 * index + NAMES.index(name) + 1).random(SHAPE[1:]).astype(np.float32)


def fill(results: ComparisonResults, index: int, names: tuple[str, ...] = NAMES) -> None:
    """Have frames restored: what the background and the main thread do with each."""
    has_truth = results.plan.truth is not None
    for place, name in enumerate((INPUT, *names)):
        scores = {"psnr": 20.0 + place, "ssim": 0.9 - 0.1 * place, "slope": 1.0, "r2": 0.5} if has_truth else {}
        if name != INPUT:
            results.keep(name, index, restored(name, index))
        results.record(Compared(1, 9, name, index, None, scores))


def settle(view: ComparisonView, qtbot: QtBot) -> None:
    qtbot.waitUntil(lambda: not view.is_drawing, timeout=180_000)


def drawn(view: ComparisonView, name: str) -> np.ndarray:
    return view.grid.images()[name]


# What is drawn


@pytest.mark.parametrize("shape", [(300, 517), (129, 129), (20, 1000)])
def test_a_pyramid_keeps_brightness_and_place(shape) -> None:
    image = np.random.default_rng(0).random(shape).astype(np.float32)
    pyramid = Pyramid(image)
    assert np.array_equal(pyramid.image, image)
    for size, level in ((2**n, level) for n, level in enumerate(pyramid.levels)):
        rows, columns = (length // size for length in shape)
        blocks = image[: rows * size, : columns * size].reshape(rows, size, columns, size).mean(axis=(1, 3))
        assert np.allclose(level[:rows, :columns], blocks, atol=1e-6)


def test_a_part_is_no_larger_than_the_screen_needs() -> None:
    pyramid = Pyramid(np.arange(2048 * 2048).reshape(2048, 2048))
    whole = pyramid.part(0, 0, 2048, 2048, step=2048 / 256)
    assert whole.image.shape == (256, 256)
    assert whole[1:] == (0, 0, 2048, 2048)
    close = pyramid.part(1000.4, 500, 1100, 560.2, step=0.4)
    assert close[1:] == (999, 499, 102, 63)
    assert np.array_equal(close.image, pyramid.image[499:562, 999:1101])
    assert pyramid.part(3000, 0, 3100, 100, step=1) is None


def test_differences_are_white_at_zero_blue_below_and_red_above() -> None:
    table = difference_table().astype(int)
    assert table.shape == (256, 3)
    assert (table[127:129] > 240).all()
    assert table[40, 2] > table[40, 0] + 50
    assert table[215, 0] > table[215, 2] + 50


def test_colours_are_told_apart_and_belong_to_the_method() -> None:
    names = [INPUT, "a", "b", "c", "d", "e", TRUTH]
    dark, light = panel_colours(names, "dark"), panel_colours(names, "light")
    assert list(dark) == names
    assert len(set(dark.values())) == len(names)
    assert all(dark[name] == light[name] for name in names if name != TRUTH)
    assert dark[TRUTH] != light[TRUTH]


@pytest.mark.parametrize(
    ("count", "width", "height", "columns"), [(6, 900, 600, 3), (6, 2000, 300, 6), (6, 300, 1500, 1), (1, 500, 500, 1)]
)
def test_the_grid_gives_images_the_most_room(count, width, height, columns) -> None:
    assert best_columns(count, width, height, aspect=1) == columns


# The window


def test_every_panel_shows_its_image_in_the_brightness_of_the_truth(make_results, open_view) -> None:
    results = make_results()
    view = open_view(results, 0)
    truth = results.plan.truth[0]
    assert list(view.grid.panels) == [INPUT, *NAMES, TRUTH]
    assert np.array_equal(drawn(view, TRUTH), truth)
    assert np.allclose(drawn(view, INPUT), align(results.plan.frames[0], truth), atol=1e-5)
    for name in NAMES:
        assert np.allclose(drawn(view, name), align(restored(name, 0), truth), atol=1e-5)
    levels = [panel.item.levels for panel in view.grid.panels.values()]
    assert all(np.array_equal(level, levels[0]) for level in levels)
    assert levels[0][0] == pytest.approx(np.percentile(truth, 1))


def test_brightness_can_be_left_as_it_is(make_results, open_view, qtbot) -> None:
    results = make_results()
    view = open_view(results, 0)
    view.bar.matched.setChecked(False)
    settle(view, qtbot)
    assert np.array_equal(drawn(view, "FFT"), restored("FFT", 0))
    levels = {name: tuple(panel.item.levels) for name, panel in view.grid.panels.items()}
    assert levels[INPUT] == levels["FFT"] != levels[TRUTH]


def test_differences_to_the_truth_have_one_scale_about_zero(make_results, open_view, qtbot) -> None:
    results = make_results()
    view = open_view(results, 0)
    view.bar.kind.setCurrentIndex(1)
    settle(view, qtbot)
    truth = results.plan.truth[0]
    assert np.allclose(drawn(view, "FFT"), align(restored("FFT", 0), truth) - truth, atol=1e-5)
    assert np.array_equal(drawn(view, TRUTH), truth)
    levels = {name: tuple(panel.item.levels) for name, panel in view.grid.panels.items()}
    assert levels[INPUT] == levels["FFT"] == levels["Laplace"]
    assert levels["FFT"][0] == -levels["FFT"][1] < 0
    assert view.grid.panels["FFT"].item.lut is not None
    assert view.grid.panels[TRUTH].item.lut is None


def test_without_a_truth_the_residual_is_what_was_taken_away(make_results, open_view, qtbot) -> None:
    results = make_results(has_truth=False)
    view = open_view(results, 0)
    assert list(view.grid.panels) == [INPUT, *NAMES]
    assert [view.tabs.tabText(i) for i in range(view.tabs.count())] == ["Profile", "Spectrum", "Table"]
    view.bar.matched.setChecked(False)
    view.bar.kind.setCurrentIndex(1)
    settle(view, qtbot)
    given = results.plan.frames[0]
    assert np.allclose(drawn(view, "Laplace"), given - restored("Laplace", 0))
    assert np.array_equal(drawn(view, INPUT), given)
    assert view.grid.panels["Laplace"].scores.text() == ""


def test_one_contrast_is_set_by_hand_for_all(make_results, open_view, qtbot) -> None:
    view = open_view(make_results(), 0, 1)
    view.bar.limits_slider.setValue((4.0, 6.0))
    assert not view.bar.auto.isChecked()
    for index in (0, 1):
        view.show_frame(index)
        settle(view, qtbot)
        for panel in view.grid.panels.values():
            assert tuple(panel.item.levels) == pytest.approx((4.0, 6.0))
    view.bar.auto.setChecked(True)
    assert tuple(view.grid.panels["FFT"].item.levels) != pytest.approx((4.0, 6.0))


def test_moving_one_camera_moves_all(make_results, open_view) -> None:
    view = open_view(make_results(), 0)
    first, *others = view.grid.panels.values()
    whole = first.box.viewRect()
    assert whole.contains(QRectF(0, 0, 52, 40))
    first.box.scaleBy((0.5, 0.5))
    first.box.translateBy(x=3, y=2)
    first.box.sigRangeChangedManually.emit(first.box.state["mouseEnabled"])
    seen = first.box.viewRect()
    assert seen.width() < 0.6 * whole.width()
    for panel in others:
        rect = panel.box.viewRect()
        assert (rect.center() - seen.center()).manhattanLength() < 0.5
        assert rect.width() == pytest.approx(seen.width(), rel=0.05)
        # only what is in view is drawn
        assert panel.item.image.shape[1] < 52
    view.grid.panels["FFT"].box.reset_asked.emit()
    assert first.box.viewRect().contains(QRectF(0, 0, 52, 40))


def test_panels_fill_in_as_methods_finish(make_results, open_view, qtbot) -> None:
    results = make_results()
    view = open_view(results)
    view.set_running(True)
    panel = view.grid.panels["FFT"]
    assert "Not restored yet" in panel.message.text()
    assert panel.message.isVisible()
    fill(results, 0, ("Laplace",))
    view.note(0)
    settle(view, qtbot)
    assert set(view.grid.images()) == {INPUT, "Laplace", TRUTH}
    assert panel.message.isVisible()
    assert [each.roi.isVisible() for each in view.grid.panels.values()] == [True, True, False, True]
    fill(results, 0)
    view.note(0)
    settle(view, qtbot)
    assert not panel.message.isVisible()
    assert panel.roi.isVisible()
    view.show_frame(2)
    assert panel.message.isVisible()
    view.set_running(False)
    assert "ended before" in panel.message.text()


def test_the_best_scores_are_bold_and_the_input_takes_no_part(make_results, open_view) -> None:
    view = open_view(make_results(), 0)
    texts = {name: panel.scores.text().replace("&nbsp;", " ") for name, panel in view.grid.panels.items()}
    assert texts == {
        INPUT: "20.00 dB · 0.900",
        "Laplace": "21.00 dB · <b>0.800</b>",
        "FFT": "<b>22.00 dB</b> · 0.700",
        TRUTH: "",
    }


def test_names_keep_their_room_beside_the_scores_or_above_them(qtbot) -> None:
    grid = PanelGrid({"a model of a long name": "red", "FFT": "blue"}, (100, 100))
    qtbot.addWidget(grid)
    grid.show()
    for panel in grid.panels.values():
        panel.scores.setText("31.85 dB · 0.812")
    needed = max(panel.heading_width for panel in grid.panels.values())

    def places() -> list[bool]:
        return [panel.title.y() < panel.scores.y() for panel in grid.panels.values()]

    for width, is_stacked in ((2 * needed + 20, False), (2 * needed - 20, True), (2 * needed + 20, False)):
        grid.resize(width, 150)
        qtbot.waitUntil(lambda is_stacked=is_stacked: places() == [is_stacked] * 2, timeout=30_000)
        for panel in grid.panels.values():
            assert panel.title.width() >= panel.title.fontMetrics().horizontalAdvance(panel.title.text())


def test_the_slider_asks_for_a_frame_and_follows(make_results, open_view, qtbot) -> None:
    view = open_view(make_results(), 0, 1, 2)
    with qtbot.waitSignal(view.frame_chosen) as chosen:
        view.slider.setValue(2)
    assert chosen.args == [2]
    with qtbot.assertNotEmitted(view.frame_chosen):
        view.show_frame(1)
    assert view.slider.value() == 1
    assert view.frame_label.text() == "Frame 1 / 2"
    settle(view, qtbot)
    assert np.allclose(drawn(view, "FFT"), align(restored("FFT", 1), view.results.plan.truth[1]), atol=1e-5)


# What is measured


@pytest.mark.parametrize(("scale", "unit", "size"), [(1.0, "pixel", 1.0), (0.1, "um", 0.1)])
def test_the_profile_follows_the_line(scale, unit, size, make_results, open_view, qtbot) -> None:
    view = open_view(make_results(scale=scale, unit=unit), 0)
    panel = view.grid.panels["FFT"]
    panel.box.line_drawn.emit(((2.5, 3.5), (30.5, 20.5)))
    assert all(other.line() == ((2.5, 3.5), (30.5, 20.5)) for other in view.grid.panels.values())
    settle(view, qtbot)
    curves = view.tabs.profile.curves
    assert set(curves) == {INPUT, *NAMES, TRUTH}
    distance, intensity = line_profile(drawn(view, "FFT"), (3, 2), (20, 30))
    assert np.allclose(curves["FFT"].x, distance * size)
    assert np.allclose(curves["FFT"].y, intensity)
    view.tabs.line_width.value = 5
    settle(view, qtbot)
    assert np.allclose(view.tabs.profile.curves["FFT"].y, line_profile(drawn(view, "FFT"), (3, 2), (20, 30), 5)[1])


def test_dragging_a_handle_moves_the_line_in_all_panels(make_results, open_view, qtbot) -> None:
    view = open_view(make_results(), 0)
    first, *others = view.grid.panels.values()
    roi = first.roi
    roi.movePoint(roi.getHandles()[1], (11.0, 30.0), coords="parent")
    assert first.line()[1] == pytest.approx((11.0, 30.0))
    for panel in others:
        assert panel.line()[1] == pytest.approx((11.0, 30.0))
    settle(view, qtbot)


def test_the_line_is_shown_with_the_profile_only(make_results, open_view, qtbot) -> None:
    view = open_view(make_results(), 0)
    assert view.grid.panels["FFT"].line() is not None
    view.tabs.setCurrentWidget(view.tabs.spectrum)
    assert view.grid.panels["FFT"].line() is None
    view.tabs.setCurrentIndex(0)
    assert view.grid.panels["FFT"].line() == view.grid.line
    settle(view, qtbot)


def test_spectrum_and_correlation_of_every_panel(make_results, open_view, qtbot) -> None:
    view = open_view(make_results(scale=0.1, unit="um"), 0)
    view.tabs.setCurrentWidget(view.tabs.spectrum)
    settle(view, qtbot)
    spectra = view.tabs.spectrum.curves
    assert set(spectra) == {INPUT, *NAMES, TRUTH}
    assert spectra["FFT"].x.max() == pytest.approx(5.0)
    view.tabs.setCurrentWidget(view.tabs.correlation)
    settle(view, qtbot)
    correlations = view.tabs.correlation.curves
    assert set(correlations) == {INPUT, *NAMES}
    assert np.abs(correlations["FFT"].y).max() <= 1
    assert correlations["FFT"].note


def test_a_click_in_the_legend_hides_a_curve(make_results, open_view, qtbot) -> None:
    view = open_view(make_results(), 0)
    plot = view.tabs.profile
    plot.legend.linkActivated.emit("FFT")
    assert not plot.items["FFT"].isVisible()
    assert plot.items["Laplace"].isVisible()
    plot.legend.linkActivated.emit("FFT")
    assert plot.items["FFT"].isVisible()


def test_the_table_holds_every_frame_and_its_click_shows_it(make_results, open_view, qtbot) -> None:
    view = open_view(make_results(), 0, 2)
    frames = view.tabs.table
    view.tabs.setCurrentWidget(frames)
    table = frames.table
    assert [table.verticalHeaderItem(row).text() for row in range(table.rowCount())] == ["Mean", "Frame 0", "Frame 2"]
    assert [table.item(0, column).text() for column in range(3)] == ["20.00", "21.00", "22.00"]
    assert [table.item(0, column).font().bold() for column in range(3)] == [False, False, True]
    with qtbot.waitSignal(view.frame_chosen) as chosen:
        table.cellClicked.emit(2, 1)
    assert chosen.args == [2]
    frames.score.value = "ssim"
    assert table.item(1, 1).text() == "0.800"
    frames.score.value = "slope"
    assert not any(table.item(1, column).font().bold() for column in range(3))
    settle(view, qtbot)


@pytest.mark.parametrize(
    ("frequency", "pixel_size", "text"),
    [(0.1, None, "10.0 px"), (0.1, 0.05, "0.500 µm"), (0.0, 0.05, "unresolved"), (np.nan, 0.05, "< 0.100 µm")],
)
def test_a_resolution_is_a_length(frequency, pixel_size, text) -> None:
    assert resolution_text(frequency, pixel_size) == text


def test_the_window_follows_the_theme(make_results, open_view, qtbot) -> None:
    view = open_view(make_results(), 0)
    before = view.colours[TRUTH]
    view.set_theme("light")
    assert view.colours[TRUTH] != before
    assert view.colours["FFT"] in view.grid.panels["FFT"].swatch.text()
    settle(view, qtbot)
