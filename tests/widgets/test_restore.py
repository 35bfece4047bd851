from __future__ import annotations

import re
import threading
from importlib.util import find_spec
from typing import TYPE_CHECKING

import dask.array
import numpy as np
import pytest
from napari.utils.notifications import notification_manager

from napari_care_losses.core.errors import ComputeError
from napari_care_losses.core.frames import Calibration, Frames
from napari_care_losses.core.library import list_models
from napari_care_losses.core.metrics import score
from napari_care_losses.core.model import load_model
from napari_care_losses.core.partial import PartialStack
from napari_care_losses.core.restoration import RestorationParameters, restore
from napari_care_losses.core.tiff import read_tiff, write_tiff
from napari_care_losses.widgets import restore as restore_module
from napari_care_losses.widgets.restore import RestoreWidget
from napari_care_losses.widgets.results import RESTORED, UNCERTAINTY, Filled, Plan, find_result, frames_done

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from napari.components import ViewerModel
    from numpy.typing import NDArray
    from pytestqt.qtbot import QtBot


class Endless:
    """Stands in for a restoration that never ends: one frame, then tiles."""

    def __init__(self) -> None:
        self.closed_in: threading.Thread | None = None

    def __call__(self, plan: Plan) -> Iterator[Filled]:
        stack = PartialStack(np.zeros(plan.frames.shape, np.float32))
        try:
            first = next(iter(plan.order))
            stack.fill(first, np.ones(plan.frames.frame_shape, np.float32))
            yield Filled(1, 9, first, {RESTORED: stack}, {RESTORED: (0.0, 1.0)})
            while True:
                yield Filled(2, 9, None, {RESTORED: stack}, {})
        finally:
            self.closed_in = threading.current_thread()


@pytest.fixture
def open_widget(viewer: ViewerModel, qtbot: QtBot) -> Callable[[], RestoreWidget]:
    def open_() -> RestoreWidget:
        widget = RestoreWidget(viewer)
        qtbot.addWidget(widget)
        return widget

    return open_


@pytest.fixture
def endless(monkeypatch: pytest.MonkeyPatch) -> Endless:
    endless = Endless()
    monkeypatch.setattr(restore_module, "restore_into_stacks", endless)
    return endless


def entry(name: str = "untrained"):
    return next(entry for entry in list_models() if entry.name == name)


def press_restore(widget: RestoreWidget, qtbot: QtBot) -> None:
    widget.run_bar.start_button.click()
    assert widget.is_running
    qtbot.waitUntil(lambda: not widget.is_running, timeout=20_000)


def wait_for_scores(widget: RestoreWidget, qtbot: QtBot) -> dict[tuple[str, str], str]:
    qtbot.waitUntil(lambda: not widget.scores.is_scoring, timeout=10_000)
    return {key: label.text() for key, label in widget.scores.values.items()}


def test_the_layer_is_what_core_makes_of_it(viewer, open_widget, add_model, stack, qtbot) -> None:
    add_model()
    source = viewer.add_image(stack, name="cells", scale=(1, 0.1, 0.1), translate=(0, 3, 4))
    widget = open_widget()
    press_restore(widget, qtbot)
    restored = find_result(viewer, source, entry())
    expected = restore(stack, load_model(entry().path))
    assert np.allclose(restored.data, expected)
    assert restored.name == "cells restored (untrained)"
    assert np.allclose(restored.scale, source.scale)
    assert "Restored 3 frames" in widget.run_bar.status.text()
    assert widget.run_bar.start_button.isEnabled()
    assert not widget.run_bar.stop_button.isEnabled()


def test_a_single_image_is_restored_and_scored(viewer, open_widget, add_model, stack, qtbot) -> None:
    add_model()
    source, truth = viewer.add_image(stack[0]), viewer.add_image(stack[0] * 2.0 + 1, visible=False)
    widget = open_widget()
    widget.scores.truth.choose(truth)
    press_restore(widget, qtbot)
    assert np.allclose(find_result(viewer, source, entry()).data, restore(stack[0], load_model(entry().path)))
    assert "Restored 1 frame in" in widget.run_bar.status.text()
    assert float(wait_for_scores(widget, qtbot)["restored", "ssim"]) > 0


def test_parameters_come_from_the_form(viewer, open_widget, add_model, stack, qtbot) -> None:
    add_model()
    source = viewer.add_image(stack)
    widget = open_widget()
    parameters = RestorationParameters(normalization="stack", low_band="tied", tile_size=32)
    widget.form.set_value(parameters)
    press_restore(widget, qtbot)
    expected = restore(stack, load_model(entry().path), parameters)
    assert np.allclose(find_result(viewer, source, entry()).data, expected)


def test_every_engine_is_offered_in_words(open_widget) -> None:
    editor = open_widget().form.editor("engine")
    offered = {editor.itemData(i): editor.itemText(i) for i in range(editor.count())}
    assert offered == {
        "auto": "automatic",
        "torch": "torch",
        "openvino": "OpenVINO",
        "openvino-int8": "OpenVINO, 8 bits",
    }


@pytest.mark.skipif(find_spec("openvino") is None, reason="OpenVINO is not installed")
def test_8_bits_say_at_the_end_what_they_cost(viewer, open_widget, add_model, stack, qtbot) -> None:
    add_model()
    source = viewer.add_image(stack)
    widget = open_widget()
    for engine, is_said in (("openvino-int8", True), ("torch", False)):
        widget.form.set_values({"engine": engine})
        press_restore(widget, qtbot)
        said = widget.run_bar.status.text()
        assert said.startswith("Restored 3 frames in ")
        assert bool(re.search(r"\. 8-bit engine: .* PSNR .* dB against float32 on this image\.$", said)) is is_said
        restored = find_result(viewer, source, entry()).data
        exact = restore(stack, load_model(entry().path))
        assert np.abs(restored - exact).max() < 0.02 * np.ptp(exact)


def test_a_missing_engine_is_said_at_the_end(viewer, open_widget, add_model, stack, monkeypatch, qtbot) -> None:
    monkeypatch.setattr("napari_care_losses.core.engines.find_spec", lambda name: None)
    add_model()
    viewer.add_image(stack)
    widget = open_widget()
    widget.form.set_values({"engine": "openvino-int8"})
    press_restore(widget, qtbot)
    assert "torch restored instead (pip install openvino)" in widget.run_bar.status.text()


def test_the_shown_frame_comes_first(viewer, open_widget, add_model, stack, endless, qtbot) -> None:
    add_model()
    source = viewer.add_image(stack)
    widget = open_widget()
    viewer.dims.set_current_step(0, 1)
    widget.run_bar.start_button.click()
    qtbot.waitUntil(lambda: find_result(viewer, source, entry()) is not None, timeout=5000)
    assert find_result(viewer, source, entry()).data[1].all()
    widget.run_bar.stop_button.click()
    qtbot.waitUntil(lambda: not widget.is_running, timeout=5000)


@pytest.mark.parametrize(
    ("add_layer", "has_model", "reason"),
    [
        (lambda _: None, True, "Open an image"),
        (lambda viewer: viewer.add_image(np.zeros((9, 9, 3), np.uint8), rgb=True), True, "RGB"),
        (lambda viewer: viewer.add_labels(np.zeros((9, 9), np.uint8)), True, "Open an image"),
        (lambda viewer: viewer.add_image(np.zeros((9, 9))), False, "no model"),
        (lambda viewer: viewer.add_image(np.zeros((9, 9))), True, ""),
    ],
)
def test_the_button_is_enabled_only_when_its_press_succeeds(
    add_layer, has_model, reason, viewer, open_widget, add_model
) -> None:
    if has_model:
        add_model()
    widget = open_widget()
    add_layer(viewer)
    assert widget.run_bar.start_button.isEnabled() is (reason == "")
    assert reason in widget.run_bar.reason.text()
    assert bool(widget.run_bar.reason.text()) is (reason != "")


def test_the_layers_offered_follow_the_viewer(viewer, open_widget, add_model, stack) -> None:
    widget = open_widget()
    viewer.add_image(stack, name="long", visible=False)
    low = viewer.add_image(stack, name="short")
    viewer.add_points(np.zeros((1, 3)))
    assert [widget.image.itemText(i) for i in range(widget.image.count())] == ["short", "long"]
    assert widget.image.layer() is low
    low.name = "1 ms"
    assert widget.image.currentText() == "1 ms"
    widget.image.choose(viewer.layers["long"])
    viewer.add_image(stack, name="another")
    assert widget.image.layer() is viewer.layers["long"]
    viewer.layers.clear()
    assert widget.image.layer() is None


def test_models_are_labelled_and_described(open_widget, add_model) -> None:
    add_model("mine", loss="bandpass", structure="mitochondria")
    widget = open_widget()
    assert widget.model.combo.currentText() == "mine — mitochondria · Bandpass · lite"
    assert "mitochondria images, Bandpass loss" in widget.model.about.text()


def test_a_model_that_comes_into_the_library_is_chosen(open_widget, add_model, qtbot) -> None:
    widget = open_widget()
    assert widget.model.entry() is None
    add_model("first")
    qtbot.waitUntil(lambda: widget.model.entry() is not None, timeout=5000)
    add_model("second")
    qtbot.waitUntil(lambda: widget.model.entry().name == "second", timeout=5000)


def test_bundled_models_are_set_apart_from_ones_own(open_widget, add_model, model_library, no_bundled_models) -> None:
    add_model("actin-fft-lite", loss="fft")
    (model_library / "actin-fft-lite.safetensors").rename(no_bundled_models / "actin-fft-lite.safetensors")
    add_model("mine")
    combo = open_widget().model.combo
    texts = [combo.itemText(i) for i in range(combo.count())]
    assert texts == ["mine — actin · Mean absolute error · lite", "", "actin · FFT · lite — bundled"]


def test_a_model_file_can_be_opened(open_widget, add_model, model_library, tmp_path, qtbot) -> None:
    add_model("elsewhere")
    path = (model_library / "elsewhere.safetensors").rename(tmp_path / "elsewhere.safetensors")
    widget = open_widget()
    widget.model.open_file(path)
    assert widget.model.entry().path == path


def test_the_uncertainty_is_offered_by_models_that_have_one(viewer, open_widget, add_model, stack, qtbot) -> None:
    add_model("a-laplace", loss="laplace")
    add_model("b-mae", loss="mae")
    source = viewer.add_image(stack)
    widget = open_widget()
    assert widget.uncertainty.isEnabled()
    widget.model.choose("b-mae")
    assert not widget.uncertainty.isEnabled()
    widget.model.choose("a-laplace")
    widget.uncertainty.setChecked(True)
    press_restore(widget, qtbot)
    assert (np.asarray(find_result(viewer, source, entry("a-laplace"), UNCERTAINTY).data) > 0).all()


def test_scores_follow_the_slider_and_the_switch(viewer, open_widget, add_model, stack, qtbot) -> None:
    add_model()
    clean = np.random.default_rng(1).random(stack.shape).astype(np.float32)
    source, truth = viewer.add_image(stack), viewer.add_image(clean, visible=False)
    widget = open_widget()
    press_restore(widget, qtbot)
    widget.scores.truth.choose(truth)
    restored = find_result(viewer, source, entry())
    for index in (2, 0):
        viewer.dims.set_current_step(0, index)
        for aligned in (True, False):
            widget.scores.aligned.setChecked(aligned)
            shown = wait_for_scores(widget, qtbot)
            for row, image in (("input", stack), ("restored", restored.data)):
                expected = score(image[index], clean[index], aligned=aligned)
                assert shown[row, "psnr"] == f"{expected['psnr']:.2f}"
                assert shown[row, "ssim"] == f"{expected['ssim']:.3f}"


def test_a_frame_not_restored_yet_scores_its_input(viewer, open_widget, add_model, stack, qtbot) -> None:
    add_model()
    viewer.add_image(stack)
    truth = viewer.add_image(np.random.default_rng(1).random(stack.shape), visible=False)
    widget = open_widget()
    widget.scores.truth.choose(truth)
    shown = wait_for_scores(widget, qtbot)
    assert float(shown["input", "psnr"]) > 0
    assert shown["restored", "psnr"] == "-"
    assert "not restored yet" in widget.scores.message.text()


@pytest.mark.parametrize(
    ("truth", "message"),
    [(np.zeros((2, 40, 52)), "2 x 40 x 52, the input 3 x 40 x 52"), (np.zeros((3, 40, 52)), "contrast")],
)
def test_a_truth_that_does_not_fit_is_explained_in_the_panel(
    truth, message, viewer, open_widget, add_model, stack, qtbot
) -> None:
    add_model()
    viewer.add_image(stack)
    layer = viewer.add_image(truth, visible=False)
    widget = open_widget()
    widget.scores.truth.choose(layer)
    notified = len(notification_manager.records)
    wait_for_scores(widget, qtbot)
    assert message in widget.scores.message.text()
    assert len(notification_manager.records) == notified


def test_cancel_keeps_what_is_done(viewer, open_widget, add_model, stack, endless, qtbot) -> None:
    add_model()
    source = viewer.add_image(stack)
    widget = open_widget()
    widget.run_bar.start_button.click()
    assert not widget.run_bar.start_button.isEnabled()
    qtbot.waitUntil(lambda: find_result(viewer, source, entry()) is not None, timeout=5000)
    widget.run_bar.stop_button.click()
    assert not widget.run_bar.stop_button.isEnabled()
    qtbot.waitUntil(lambda: not widget.is_running, timeout=5000)
    assert "Cancelled: 1 of 3 frames" in widget.run_bar.status.text()
    assert endless.closed_in is not threading.main_thread()
    assert find_result(viewer, source, entry()) is not None


@pytest.mark.parametrize("which", ["input", "restored"])
def test_removing_a_layer_stops_its_restoration(which, viewer, open_widget, add_model, stack, endless, qtbot) -> None:
    add_model()
    source = viewer.add_image(stack)
    widget = open_widget()
    widget.run_bar.start_button.click()
    qtbot.waitUntil(lambda: find_result(viewer, source, entry()) is not None, timeout=5000)
    viewer.layers.remove(source if which == "input" else find_result(viewer, source, entry()))
    qtbot.waitUntil(lambda: not widget.is_running, timeout=5000)


def test_closing_the_dock_stops_the_work(make_napari_viewer, add_model, stack, endless, qtbot) -> None:
    add_model()
    viewer = make_napari_viewer()
    viewer.add_image(stack)
    widget = RestoreWidget(viewer)
    viewer.window.add_dock_widget(widget, name="Restore")
    widget.run_bar.start_button.click()
    qtbot.waitUntil(lambda: len(viewer.layers) == 2, timeout=5000)
    viewer.window.remove_dock_widget(widget)
    del widget
    qtbot.waitUntil(lambda: endless.closed_in is not None, timeout=5000)
    assert endless.closed_in is not threading.main_thread()
    viewer.dims.set_current_step(0, 2)
    viewer.add_image(stack)


def test_closing_the_viewer_stops_the_work(make_napari_viewer, add_model, stack, endless, qtbot) -> None:
    add_model()
    viewer = make_napari_viewer()
    viewer.add_image(stack)
    widget = RestoreWidget(viewer)
    viewer.window.add_dock_widget(widget, name="Restore")
    widget.run_bar.start_button.click()
    qtbot.waitUntil(lambda: len(viewer.layers) == 2, timeout=5000)
    del widget
    viewer.close()
    qtbot.waitUntil(lambda: endless.closed_in is not None, timeout=5000)


def test_an_error_is_shown_and_the_next_press_works(viewer, open_widget, add_model, stack, monkeypatch, qtbot) -> None:
    def fail(*_: object, **__: object) -> Iterator[Filled]:
        raise ComputeError("The cpu device failed.")
        yield

    add_model()
    source = viewer.add_image(stack)
    widget = open_widget()
    with monkeypatch.context() as patched:
        patched.setattr(restore_module, "restore_into_stacks", fail)
        press_restore(widget, qtbot)
    assert widget.run_bar.status.text() == "Failed: The cpu device failed."
    assert "The cpu device failed." in notification_manager.records[-1].message
    press_restore(widget, qtbot)
    assert find_result(viewer, source, entry()) is not None


def test_a_model_deleted_meanwhile_is_an_error_not_a_crash(
    viewer, open_widget, add_model, model_library, stack, qtbot
) -> None:
    add_model()
    viewer.add_image(stack)
    widget = open_widget()
    (model_library / "untrained.safetensors").unlink()
    press_restore(widget, qtbot)
    assert "There is no model file" in widget.run_bar.status.text()
    assert len(viewer.layers) == 1


def cancel_after_one_frame(widget: RestoreWidget, qtbot: QtBot) -> None:
    """Let a real restoration run until a frame is there, then cancel it."""
    started = []
    show = widget._show_frame

    def show_and_cancel(filled: Filled, plan: Plan) -> None:
        show(filled, plan)
        started.append(filled.frame_index)
        widget.run_bar.stop_button.click()

    widget._show_frame = show_and_cancel
    widget.run_bar.start_button.click()
    qtbot.waitUntil(lambda: not widget.is_running, timeout=20_000)
    widget._show_frame = show
    assert len(started) == 1


@pytest.fixture
def many(stack: NDArray[np.uint16]) -> NDArray[np.uint16]:
    """Return a stack of so many frames that a restoration is not over before it can be cancelled."""
    return np.concatenate([stack] * 20)


def test_started_again_only_the_missing_frames_are_done(viewer, open_widget, add_model, many, qtbot) -> None:
    add_model()
    source = viewer.add_image(many)
    widget = open_widget()
    viewer.dims.set_current_step(0, 30)
    cancel_after_one_frame(widget, qtbot)
    layer = find_result(viewer, source, entry())
    stack, first = layer.data, frames_done(layer)
    assert 30 in first
    assert 0 < len(first) < 60
    assert np.isnan(stack[stack.missing[0]]).all()
    assert widget.run_bar.start_button.text() == f"Restore the missing {60 - len(first)}"
    stack._array[30] = 7
    press_restore(widget, qtbot)
    assert layer.data is stack
    assert frames_done(layer) == set(range(60))
    assert (stack[30] == 7).all(), "a frame that was there was restored again"
    expected = restore(many, load_model(entry().path))
    assert np.allclose(stack[:30], expected[:30])
    assert f"Restored {60 - len(first)} missing of 60 frames" in widget.run_bar.status.text()
    assert widget.run_bar.start_button.text() == "Restore"


@pytest.mark.parametrize("change", ["settings", "data", "model"])
def test_other_settings_data_or_model_start_afresh(change, viewer, open_widget, add_model, many, qtbot) -> None:
    add_model()
    source = viewer.add_image(many)
    widget = open_widget()
    cancel_after_one_frame(widget, qtbot)
    assert "missing" in widget.run_bar.start_button.text()
    if change == "settings":
        widget.form.set_value(RestorationParameters(normalization="stack"))
        widget.form.edited.emit("normalization")
    elif change == "data":
        source.data = many + 1
        viewer.dims.set_current_step(0, 2)
        widget.image.changed.emit()
    else:
        add_model("another")
        widget.model.reload()
        widget.model.choose("another")
    assert widget.run_bar.start_button.text() == "Restore"
    press_restore(widget, qtbot)
    parameters = RestorationParameters(normalization="stack" if change == "settings" else "frame")
    chosen = widget.model.entry()
    assert np.allclose(
        np.asarray(find_result(viewer, source, chosen).data), restore(source.data, load_model(chosen.path), parameters)
    )


def test_frames_nearest_to_the_slider_come_next(viewer, open_widget, add_model, many, monkeypatch, qtbot) -> None:
    add_model()
    viewer.add_image(many)
    viewer.dims.set_current_step(0, 0)
    widget = open_widget()
    came: list[int] = []
    has_moved = threading.Event()
    show, restore_all = widget._show_frame, restore_module.restore_into_stacks

    def restore_and_wait(plan: Plan) -> Iterator[Filled]:
        for filled in restore_all(plan):
            yield filled
            if filled.frame_index is not None:
                assert has_moved.wait(10)

    def show_and_move(filled: Filled, plan: Plan) -> None:
        show(filled, plan)
        came.append(filled.frame_index)
        viewer.dims.set_current_step(0, 50)
        has_moved.set()

    monkeypatch.setattr(restore_module, "restore_into_stacks", restore_and_wait)
    widget._show_frame = show_and_move
    press_restore(widget, qtbot)
    assert came[0] == 0
    # one frame has been read ahead
    assert came[2:5] == [50, 49, 51]
    assert sorted(came) == list(range(60))


def test_a_restored_stack_is_saved_with_its_pixel_size(
    viewer, open_widget, add_model, stack, tmp_path, qtbot, monkeypatch
) -> None:
    add_model()
    source = viewer.add_image(
        stack, scale=(0.4, 0.1, 0.2), units=("s", "um", "um"), axis_labels=("t", "y", "x"), name="cells"
    )
    widget = open_widget()
    assert not widget.save.isEnabled()
    assert "Nothing is restored yet" in widget.save.toolTip()
    press_restore(widget, qtbot)
    path = tmp_path / "saved.tif"
    filters = []

    def ask(_parent: object, _title: str, suggested: str, offered: str) -> tuple[str, str]:
        filters.append((suggested, offered))
        return str(path.with_suffix("")), next(name for name in offered.split(";;") if "16-bit" in name)

    monkeypatch.setattr("napari_care_losses.widgets.restoring.saving.QFileDialog.getSaveFileName", ask)
    widget.save.click()
    qtbot.waitUntil(lambda: not widget.save.is_running, timeout=10_000)
    assert filters[0][0] == "cells restored (untrained).tif"
    saved = read_tiff(path)
    assert saved.calibration == Calibration(pixel_size=(0.1, 0.2), time_step=0.4)
    restored = np.asarray(find_result(viewer, source, entry()).data)
    assert np.array_equal(np.asarray(saved.data), np.clip(np.rint(restored), 0, 65535))
    assert f"Saved {path}" in widget.run_bar.status.text()


def test_a_disk_that_cannot_be_written_is_said(viewer, open_widget, add_model, stack, tmp_path, qtbot) -> None:
    add_model()
    viewer.add_image(stack)
    widget = open_widget()
    press_restore(widget, qtbot)
    widget.save.save(tmp_path / "missing" / "a.tif")
    qtbot.waitUntil(lambda: not widget.save.is_running, timeout=10_000)
    assert "Not saved: The folder" in widget.run_bar.status.text()


def test_contrast_is_matched_by_percentiles(viewer, open_widget, add_model, stack, qtbot) -> None:
    add_model()
    source = viewer.add_image(stack, contrast_limits=(0, 5000))
    truth = viewer.add_image(stack * 3.0, contrast_limits=(0, 1), visible=False)
    widget = open_widget()
    widget.scores.truth.choose(truth)
    viewer.dims.set_current_step(0, 1)
    press_restore(widget, qtbot)
    restored = find_result(viewer, source, entry())
    widget.contrast.click()
    for layer in (source, truth, restored):
        assert np.allclose(layer.contrast_limits, np.percentile(layer.data[1], [1, 99.8]), rtol=1e-5)


def test_the_range_is_in_plain_sight(viewer, open_widget, add_model, stack, qtbot) -> None:
    add_model()
    viewer.add_image(stack, axis_labels=("t", "y", "x"))
    widget = open_widget()
    viewer.dims.set_current_step(0, 1)
    for mode, pixels, meaning in (
        ("frame", stack[1], "Right for separate fields"),
        ("stack", stack, "Nothing flickers; the faded"),
        ("bleaching", None, "Follows the fading"),
    ):
        widget.form.set_values({"normalization": mode})
        widget.form.edited.emit("normalization")
        qtbot.waitUntil(lambda: not widget.range.is_running, timeout=10_000)
        assert meaning in widget.range.text()
        found = re.search(r"grey level (\S+) becomes 0, (\S+) becomes 1", widget.range.text())
        assert found
        if pixels is not None:
            expected = np.percentile(pixels, [2, 99.8])
            assert [float(level) for level in found.groups()] == pytest.approx(expected, rel=1e-3)


def test_percentiles_that_do_not_go_together_are_said(viewer, open_widget, add_model, stack, qtbot) -> None:
    add_model()
    viewer.add_image(stack)
    widget = open_widget()
    widget.form.set_values({"low_percentile": 50.0, "high_percentile": 50.0})
    widget.form.edited.emit("low_percentile")
    qtbot.waitUntil(lambda: not widget.range.is_running, timeout=10_000)
    assert "must be below high_percentile" in widget.run_bar.reason.text()
    assert not widget.run_bar.start_button.isEnabled()


def test_a_folder_is_restored_from_here(viewer, open_widget, add_model, stack, tmp_path, qtbot) -> None:
    add_model()
    for name in ("a", "b"):
        write_tiff(tmp_path / f"{name}.tif", Frames(stack, "TYX"))
    (tmp_path / "broken.tif").write_bytes((tmp_path / "a.tif").read_bytes()[:500])
    widget = open_widget()
    folder = widget.folder
    assert "Choose a folder" in folder.run_bar.reason.text()
    folder.source.line.setText(str(tmp_path / "no"))
    assert "no folder" in folder.run_bar.reason.text()
    folder.source.line.setText(str(tmp_path))
    assert folder.run_bar.start_button.isEnabled()
    folder.run_bar.start_button.click()
    assert "folder is being restored" in widget._problem() or widget.image.layer() is None
    qtbot.waitUntil(lambda: not folder.is_running, timeout=20_000)
    assert "Restored 2 of 3 files" in folder.run_bar.status.text()
    assert "broken.tif" in folder.run_bar.status.text()
    result = read_tiff(tmp_path / "a_restored-untrained.tif")
    assert np.allclose(np.asarray(result.data), restore(stack, load_model(entry().path)))


def test_a_multiscale_layer_is_restored_at_full_resolution(viewer, open_widget, add_model, stack, qtbot) -> None:
    add_model()
    pyramid = [np.concatenate([stack] * 4, 1), np.concatenate([stack] * 4, 1)[:, ::2, ::2]]
    source = viewer.add_image(pyramid, multiscale=True)
    widget = open_widget()
    press_restore(widget, qtbot)
    restored = find_result(viewer, source, entry())
    assert np.allclose(np.asarray(restored.data), restore(pyramid[0], load_model(entry().path)))
    assert np.allclose(restored.extent.world, source.extent.world)


def test_lazy_data_are_read_frame_by_frame(viewer, open_widget, add_model, stack, qtbot) -> None:
    add_model()
    lazy = dask.array.from_array(stack, chunks=(1, *stack.shape[1:]))
    source = viewer.add_image(lazy, contrast_limits=(0, 200))
    widget = open_widget()
    press_restore(widget, qtbot)
    assert isinstance(source.data, dask.array.Array)
    assert np.allclose(np.asarray(find_result(viewer, source, entry()).data), restore(stack, load_model(entry().path)))
