from __future__ import annotations

import csv
import threading
from typing import TYPE_CHECKING

import numpy as np
import pytest
from fixtures.compare_widget import Endless, add_pair, press_compare, wait
from fixtures.docks import click, docked
from napari.utils.notifications import notification_manager
from qtpy.compat import isalive
from qtpy.QtCore import QCoreApplication
from qtpy.QtWidgets import QFileDialog

from napari_care_losses.comparison.baselines import restore_with
from napari_care_losses.comparison.compare import INPUT
from napari_care_losses.errors import ComputeError
from napari_care_losses.widgets.compare import results as comparison_results
from napari_care_losses.widgets.compare.widget import CompareWidget
from napari_care_losses.widgets.layers.conversion import new_array
from napari_care_losses.widgets.layers.restored_layers import is_result

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from pytestqt.qtbot import QtBot

    from napari_care_losses.comparison.compare import Compared


@pytest.fixture
def endless(monkeypatch: pytest.MonkeyPatch) -> Endless:
    return Endless(monkeypatch)


def show(widget: CompareWidget, index: int, qtbot: QtBot) -> dict[str, str]:
    """Move the window's slider; return the messages shown instead of images."""
    widget.view.slider.setValue(index)
    if not widget.is_running:
        wait(widget, qtbot)
    panels = widget.view.grid.panels
    return {name: panel.message.text() for name, panel in panels.items() if panel.message.isVisible()}


def test_one_frame_takes_the_room_of_one_and_lies_where_it_belongs(viewer, open_widget, stack, qtbot) -> None:
    source = viewer.add_image(stack, scale=(2, 0.1, 0.1), translate=(5, 3, 4), rotate=10, name="cells")
    widget = open_widget("tv")
    viewer.dims.set_point(0, 5 + 2 * 2)
    widget.settings.which.value = False
    results = press_compare(widget, qtbot)
    assert results.frames_done() == [2]
    assert "not compared" in show(widget, 0, qtbot)["TV"]
    widget.summary.layers.click()
    layer = viewer.layers[-1]
    assert layer.name == "restored cells (TV)"
    assert is_result(layer)
    assert layer.data.shape == (1, *stack.shape[1:])
    assert np.allclose(layer.data[0], restore_with("tv", stack[2]))
    assert np.allclose(layer.data_to_world((0, 7, 9)), source.data_to_world((2, 7, 9)))


def test_whole_stacks_lie_on_the_input(viewer, open_widget, stack, qtbot) -> None:
    volume = stack.reshape(3, 1, 40, 52)
    source = viewer.add_image(volume, scale=(2, 1, 0.1, 0.1), translate=(5, 0, 3, 4))
    widget = open_widget()
    press_compare(widget, qtbot)
    widget.summary.layers.click()
    assert len(viewer.layers) == 3
    for layer in viewer.layers[1:]:
        assert layer.data.shape == volume.shape
        assert np.allclose(layer.data_to_world((1, 0, 7, 9)), source.data_to_world((1, 0, 7, 9)))
    assert widget.settings.image.value is source


def test_a_copy_of_the_image_is_no_ground_truth(viewer, open_widget, stack, qtbot, notified) -> None:
    add_pair(viewer, stack, stack.astype(np.float32))
    widget = open_widget("tv")
    widget.settings.truth.value = viewer.layers["long"]
    press_compare(widget, qtbot)
    assert "hold the same images" in next(iter(notified)).message
    assert widget.results.frames_done() == []


@pytest.mark.parametrize("width", [3, 4])
def test_images_a_few_pixels_wide_are_added_as_grey_layers(width, viewer, open_widget, qtbot, notified) -> None:
    source = viewer.add_image(np.random.default_rng(0).poisson(100, (4, 40, width)), rgb=False)
    widget = open_widget("tv")
    press_compare(widget, qtbot)
    widget.summary.layers.click()
    layer = viewer.layers[-1]
    assert layer is not source
    assert not layer.rgb
    assert layer.data.shape == source.data.shape
    assert list(notified) == []


def test_both_sliders_move_each_other(viewer, open_widget, stack, qtbot) -> None:
    viewer.add_image(stack.reshape(3, 1, 40, 52)[:, [0, 0]], scale=(3, 2, 1, 1), translate=(10, 1, 0, 0))
    widget = open_widget("tv")
    press_compare(widget, qtbot)
    widget.view.slider.setValue(5)
    assert viewer.dims.point[:2] == pytest.approx((16, 3))
    viewer.dims.set_point(0, 13)
    assert widget.view.index == widget.view.slider.value() == 3
    wait(widget, qtbot)


def test_the_shown_frame_comes_first(viewer, open_widget, stack, endless, qtbot) -> None:
    viewer.add_image(stack)
    widget = open_widget()
    viewer.dims.set_current_step(0, 1)
    widget.run_bar.start_button.click()
    qtbot.waitUntil(lambda: widget.results.frames_done() == [1], timeout=180_000)
    assert "not restored yet" in show(widget, 2, qtbot)["TV"].lower()
    widget.run_bar.stop_button.click()
    wait(widget, qtbot)
    assert "Stopped: 1 of 3 frames" in widget.run_bar.status.text()
    assert endless.closed_in is not threading.main_thread()
    assert widget.results.image("TV", 1).any()
    assert widget.summary.export.isEnabled()
    assert "ended before" in show(widget, 2, qtbot)["TV"]


@pytest.mark.parametrize(
    ("prepare", "reason"),
    [
        (lambda viewer, widget: viewer.layers.clear(), "Open an image"),
        (lambda viewer, widget: widget.settings.methods.tick(()), "Tick at least one"),
        (lambda viewer, widget: setattr(widget.settings.truth, "value", widget.settings.image.value), "same layer"),
        (
            lambda viewer, widget: setattr(widget.settings.truth, "value", viewer.layers["other"]),
            "2 x 40 x 52, the image 3 x 40 x 52",
        ),
        (lambda viewer, widget: setattr(widget.settings.image, "value", viewer.layers["colour"]), "RGB"),
        (lambda viewer, widget: None, ""),
    ],
)
def test_the_button_is_enabled_only_when_its_press_succeeds(prepare, reason, viewer, open_widget, stack) -> None:
    viewer.add_image(np.zeros((9, 9, 3), np.uint8), rgb=True, name="colour")
    viewer.add_image(stack[:2], name="other")
    viewer.add_image(stack)
    widget = open_widget()
    prepare(viewer, widget)
    QCoreApplication.processEvents()
    assert widget.run_bar.start_button.isEnabled() is (reason == "")
    assert reason in widget.run_bar.reason.text()
    assert bool(widget.run_bar.reason.text()) is (reason != "")


def test_a_truth_may_have_axes_of_one_step_or_one_frame_for_a_movie(viewer, open_widget, stack) -> None:
    for data, name in ((stack[:, None], "single steps"), (stack[0], "one frame")):
        viewer.add_image(data, name=name)
    image = viewer.add_image(stack)
    widget = open_widget()
    widget.settings.image.value = image
    for name in ("single steps", "one frame"):
        widget.settings.truth.value = viewer.layers[name]
        assert widget.settings.plan().truth.shape == stack.shape


def test_a_single_image_needs_no_questions_on_frames(viewer, open_widget, stack, qtbot) -> None:
    layer = viewer.add_image(stack[0])
    widget = open_widget("tv")
    assert not widget.settings.which.native.isVisibleTo(widget)
    assert not widget.settings.fields.native.isVisibleTo(widget)
    press_compare(widget, qtbot)
    assert not widget.view.slider.isVisible()
    widget.summary.layers.click()
    assert viewer.layers[-1].data.shape == layer.data.shape


def test_an_error_is_shown_and_the_next_press_works(viewer, open_widget, stack, monkeypatch, qtbot) -> None:
    def fail(*_: object, **__: object) -> Iterator[Compared]:
        raise ComputeError("The cpu device failed.")
        yield

    viewer.add_image(stack)
    widget = open_widget()
    with monkeypatch.context() as patched:
        patched.setattr(comparison_results, "compare", fail)
        press_compare(widget, qtbot)
    assert widget.run_bar.status.text() == "Failed: The cpu device failed."
    assert "The cpu device failed." in notification_manager.records[-1].message
    assert not widget.summary.export.isEnabled()
    assert "Nothing was restored" in widget.summary.reason.text()
    assert press_compare(widget, qtbot).frames_done() == [0, 1, 2]


def test_a_report_that_cannot_be_written_is_said(viewer, open_widget, stack, tmp_path, qtbot) -> None:
    viewer.add_image(stack)
    widget = open_widget("tv")
    press_compare(widget, qtbot)
    widget.export(tmp_path / "missing" / "report.html")
    wait(widget, qtbot)
    assert widget.run_bar.status.text().startswith("No report was written:")
    assert widget.summary.export.isEnabled()


def test_large_results_lie_on_disk(viewer, open_widget, stack, monkeypatch, qtbot) -> None:
    monkeypatch.setattr(comparison_results, "new_array", lambda shape: new_array(shape, largest_in_memory=0))
    viewer.add_image(stack)
    results = press_compare(open_widget("tv"), qtbot)
    assert isinstance(results.image("TV", 1), np.memmap)
    assert np.allclose(results.image("TV", 1), restore_with("tv", stack[1]))


@pytest.mark.parametrize("which", ["short", "long"])
def test_removing_a_layer_stops_the_comparison(which, viewer, open_widget, stack, truth, endless, qtbot) -> None:
    _, clean = add_pair(viewer, stack, truth)
    widget = open_widget()
    widget.settings.truth.value = clean
    widget.run_bar.start_button.click()
    qtbot.waitUntil(lambda: bool(widget.results.frames_done()), timeout=180_000)
    viewer.layers.remove(which)
    wait(widget, qtbot)
    widget.view.slider.setValue(1)
    wait(widget, qtbot)
    assert "Stopped" in widget.run_bar.status.text()
    assert widget.summary.layers.isEnabled() is (which == "long")


@pytest.mark.parametrize("how", ["dock", "viewer"])
def test_closing_ends_the_work_and_the_window(how, make_napari_viewer, stack, endless, qtbot) -> None:
    viewer = make_napari_viewer()
    viewer.add_image(stack)
    widget = CompareWidget(viewer)
    widget.settings.methods.tick(["tv"])
    viewer.window.add_dock_widget(widget, name="Compare")
    widget.run_bar.start_button.click()
    view = widget.view
    results = widget.results
    qtbot.waitUntil(lambda: bool(results.frames_done()), timeout=180_000)
    if how == "dock":
        viewer.window.remove_dock_widget(widget)
    else:
        viewer.close()
    assert not (isalive(view) and view.isVisible())
    widget = view = None
    qtbot.waitUntil(lambda: endless.closed_in is not None, timeout=30_000)
    assert endless.closed_in is not threading.main_thread()
    if how == "dock":
        viewer.dims.set_current_step(0, 2)
        viewer.theme = "light"
        viewer.add_image(stack)


def test_a_closed_window_opens_again(viewer, open_widget, stack, qtbot) -> None:
    viewer.add_image(stack)
    widget = open_widget("tv")
    press_compare(widget, qtbot)
    widget.view.close()
    widget.summary.panels.click()
    assert widget.view.isVisible()
    first = widget.view
    press_compare(widget, qtbot)
    assert widget.view is not first
    qtbot.waitUntil(lambda: not isalive(first), timeout=30_000)


def test_from_the_menu_to_the_report(
    plugin, make_napari_viewer, add_model, short_samples, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, qtbot: QtBot
) -> None:
    for loss in ("laplace", "bandpass"):
        add_model(f"actin-{loss}", loss=loss)
    viewer = make_napari_viewer(show=True)
    clean, low = viewer.open_sample(plugin.name, "actin")
    for layer in (clean, low):
        layer.data = layer.data[:, :96, :112]
    click(viewer, "Plugins", "CARE Losses", "Compare")
    widget: CompareWidget = docked(viewer, "Compare (CARE Losses)")
    assert widget.settings.image.value is low
    assert [method.name for method in widget.settings.methods.methods()] == ["actin-bandpass", "actin-laplace", "TV"]
    widget.settings.truth.value = clean
    viewer.dims.set_current_step(0, 2)
    widget.run_bar.start_button.click()
    wait(widget, qtbot)
    assert widget.view.index == 2
    assert widget.view.windowTitle() == "Compare: actin 1 ms"
    assert set(widget.view.grid.images()) == {INPUT, "actin-bandpass", "actin-laplace", "TV", "truth"}
    for place in range(widget.view.tabs.count()):
        widget.view.tabs.setCurrentIndex(place)
        wait(widget, qtbot)
    assert widget.view.tabs.correlation.curves["TV"].note
    viewer.theme = "light"
    assert "actin-laplace" in widget.summary.about.text()
    page = tmp_path / "report.html"
    monkeypatch.setattr(QFileDialog, "getSaveFileName", lambda *_: (str(page), ""))
    widget.summary.export.click()
    wait(widget, qtbot)
    assert str(page) in widget.run_bar.status.text()
    text = page.read_text(encoding="utf-8")
    assert all(name in text for name in ("actin-bandpass", "actin-laplace", "TV", "data:image/png"))
    with (tmp_path / "report.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 3 * 4
    widget.summary.layers.click()
    assert len(viewer.layers) == 5
