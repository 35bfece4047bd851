from __future__ import annotations

import re
import threading
from importlib.util import find_spec
from typing import TYPE_CHECKING

import numpy as np
import pytest
from fixtures.restore_widget import entry, press_restore
from napari.utils.notifications import notification_manager
from qtpy.QtCore import QCoreApplication

from napari_care_losses.errors import ComputeError
from napari_care_losses.evaluation.metrics import METRICS, score
from napari_care_losses.images.partial_stack import PartialStack
from napari_care_losses.models.model import load_model
from napari_care_losses.restoration.restore_stack import RestorationParameters, restore
from napari_care_losses.widgets.layers.filling import Filled, Plan
from napari_care_losses.widgets.layers.restored_layers import RESTORED, UNCERTAINTY, find_result
from napari_care_losses.widgets.restore import run as run_module
from napari_care_losses.widgets.restore.widget import RestoreWidget

if TYPE_CHECKING:
    from collections.abc import Iterator

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
def endless(monkeypatch: pytest.MonkeyPatch) -> Endless:
    endless = Endless()
    monkeypatch.setattr(run_module, "restore_into_stacks", endless)
    return endless


def wait_for_scores(widget: RestoreWidget, qtbot: QtBot) -> dict[tuple[str, str], str]:
    qtbot.waitUntil(lambda: not widget.scores.is_scoring, timeout=180_000)
    return {key: label.text() for key, label in widget.scores.of_truth.values.items()}


def test_the_layer_is_what_core_makes_of_it(viewer, open_widget, add_model, stack, qtbot) -> None:
    add_model()
    source = viewer.add_image(stack, name="cells", scale=(1, 0.1, 0.1), translate=(0, 3, 4))
    widget = open_widget()
    press_restore(widget, qtbot)
    restored = find_result(viewer, source, entry())
    expected = restore(stack, load_model(entry().path))
    assert np.allclose(restored.data, expected)
    assert restored.name == "restored cells (untrained)"
    assert np.allclose(restored.scale, source.scale)
    assert "Restored 3 frames" in widget.run_bar.status.text()
    assert widget.run_bar.start_button.isEnabled()
    assert not widget.run_bar.stop_button.isEnabled()


def test_a_single_image_is_restored_and_scored(viewer, open_widget, add_model, stack, qtbot) -> None:
    add_model()
    source, truth = viewer.add_image(stack[0]), viewer.add_image(stack[0] * 2.0 + 1, visible=False)
    widget = open_widget()
    widget.scores.truth.value = truth
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
    combo = open_widget().form.editors["engine"].native
    offered = {combo.itemData(i): combo.itemText(i) for i in range(combo.count())}
    assert offered == {
        "auto": "automatic",
        "torch": "torch",
        "torch-tf32": "torch, TF32 (graphics cards)",
        "torch-bfloat16": "torch, bfloat16 (graphics cards)",
        "torch-float16": "torch, float16 (graphics cards)",
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
        cost = r"\. 8-bit engine: .* PSNR .* dB, SSIM .* against float32 on this image\.( That is little .*)?$"
        assert bool(re.search(cost, said)) is is_said
        restored = find_result(viewer, source, entry()).data
        exact = restore(stack, load_model(entry().path))
        assert np.abs(restored - exact).max() < 0.02 * np.ptp(exact)


def test_a_missing_engine_is_said_at_the_end(viewer, open_widget, add_model, stack, monkeypatch, qtbot) -> None:
    monkeypatch.setattr("napari_care_losses.restoration.engines.choose.find_spec", lambda name: None)
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
    qtbot.waitUntil(lambda: find_result(viewer, source, entry()) is not None, timeout=30_000)
    assert find_result(viewer, source, entry()).data[1].all()
    widget.run_bar.stop_button.click()
    qtbot.waitUntil(lambda: not widget.is_running, timeout=30_000)


@pytest.mark.parametrize(
    ("add_layer", "has_model", "reason"),
    [
        (lambda _: None, True, "Open an image"),
        (lambda viewer: viewer.add_image(np.zeros((9, 9, 3), np.uint8), rgb=True), True, "RGB"),
        (lambda viewer: viewer.add_labels(np.zeros((9, 9), np.uint8)), True, "is a Labels layer"),
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
    QCoreApplication.processEvents()
    assert widget.run_bar.start_button.isEnabled() is (reason == "")
    assert reason in widget.run_bar.reason.text()
    assert bool(widget.run_bar.reason.text()) is (reason != "")


def test_the_layers_offered_follow_the_viewer(viewer, open_widget, add_model, stack) -> None:
    widget = open_widget()
    viewer.add_image(stack, name="long", visible=False)
    low = viewer.add_image(stack, name="short")
    viewer.add_points(np.zeros((1, 3)))
    assert [layer.name for layer in widget.image.choices] == ["short", "long"]
    assert widget.image.value is low
    low.name = "1 ms"
    QCoreApplication.processEvents()
    assert widget.image.current_choice == "1 ms"
    widget.image.value = viewer.layers["long"]
    viewer.add_image(stack, name="another")
    assert widget.image.value is viewer.layers["long"]
    viewer.layers.clear()
    assert widget.image.value is None


def test_of_a_pair_told_by_its_names_the_low_exposure_is_chosen(viewer, open_widget, stack) -> None:
    low, high = viewer.add_image(stack, name="cells_low"), viewer.add_image(stack, name="cells_high")
    widget = open_widget()
    assert widget.image.value is low
    other = viewer.add_image(stack, name="other")
    assert widget.image.value is other
    low.visible = other.visible = False
    viewer.add_image(stack, name="hidden", visible=False)
    assert widget.image.value is high


def test_the_layer_chosen_stays_when_its_result_comes(viewer, open_widget, add_model, stack, qtbot) -> None:
    add_model()
    viewer.add_image(stack, name="below")
    source = viewer.add_image(stack, name="above")
    widget = open_widget()
    source.visible = False
    press_restore(widget, qtbot)
    assert find_result(viewer, source, entry()) is not None
    assert widget.image.value is source


def test_the_uncertainty_is_offered_by_models_that_have_one(viewer, open_widget, add_model, stack, qtbot) -> None:
    add_model("a-laplace", loss="laplace")
    add_model("b-mae", loss="mae")
    source = viewer.add_image(stack)
    widget = open_widget()
    assert widget.more_layers.uncertainty.enabled
    widget.model.choose("b-mae")
    assert not widget.more_layers.uncertainty.enabled
    widget.model.choose("a-laplace")
    widget.more_layers.uncertainty.value = True
    press_restore(widget, qtbot)
    assert (np.asarray(find_result(viewer, source, entry("a-laplace"), UNCERTAINTY).data) > 0).all()


def test_scores_follow_the_slider_and_the_switch(viewer, open_widget, add_model, stack, qtbot) -> None:
    add_model()
    clean = np.random.default_rng(1).random(stack.shape).astype(np.float32)
    source, truth = viewer.add_image(stack), viewer.add_image(clean, visible=False)
    widget = open_widget()
    press_restore(widget, qtbot)
    widget.scores.truth.value = truth
    restored = find_result(viewer, source, entry())
    for index in (2, 0):
        viewer.dims.set_current_step(0, index)
        for aligned in (True, False):
            widget.scores.of_truth.aligned.value = aligned
            shown = wait_for_scores(widget, qtbot)
            for row, image in (("input", stack), ("restored", restored.data)):
                expected = score(image[index], clean[index], aligned=aligned)
                for name in ("psnr", "ssim"):
                    assert shown[row, name] == METRICS[name].text(expected[name], is_short=True)


def test_a_frame_not_restored_yet_scores_its_input(viewer, open_widget, add_model, stack, qtbot) -> None:
    add_model()
    viewer.add_image(stack)
    truth = viewer.add_image(np.random.default_rng(1).random(stack.shape), visible=False)
    widget = open_widget()
    widget.scores.truth.value = truth
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
    widget.scores.truth.value = layer
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
    qtbot.waitUntil(lambda: find_result(viewer, source, entry()) is not None, timeout=30_000)
    widget.run_bar.stop_button.click()
    assert not widget.run_bar.stop_button.isEnabled()
    qtbot.waitUntil(lambda: not widget.is_running, timeout=30_000)
    assert "Cancelled: 1 of 3 frames" in widget.run_bar.status.text()
    assert endless.closed_in is not threading.main_thread()
    assert find_result(viewer, source, entry()) is not None


def test_a_frame_that_came_after_the_last_report_counts(viewer, open_widget, add_model, stack, monkeypatch, qtbot):
    is_cancelled = threading.Event()

    def restore_two(plan: Plan) -> Iterator[Filled]:
        partial = PartialStack(np.zeros(plan.frames.shape, np.float32))
        for number, index in enumerate((0, 1), 1):
            partial.fill(index, np.ones(plan.frames.frame_shape, np.float32))
            yield Filled(number, 3, index, {RESTORED: partial}, {RESTORED: (0.0, 1.0)})
            assert is_cancelled.wait(10)

    monkeypatch.setattr(run_module, "restore_into_stacks", restore_two)
    add_model()
    viewer.add_image(stack)
    widget = open_widget()
    widget.run_bar.start_button.click()
    qtbot.waitUntil(lambda: "1 of 3 frames" in widget.run_bar.status.text(), timeout=180_000)
    widget.run_bar.stop_button.click()
    is_cancelled.set()
    qtbot.waitUntil(lambda: not widget.is_running, timeout=180_000)
    assert widget.run_bar.status.text() == "Cancelled: 2 of 3 frames are restored."
    assert widget.run_bar.start_button.text() == "Restore the missing 1"


@pytest.mark.parametrize("what", ["layer", "model"])
def test_what_was_said_of_one_layer_or_model_is_not_said_of_another(
    what, viewer, open_widget, add_model, stack, qtbot
) -> None:
    add_model("first")
    add_model("second")
    other = viewer.add_image(stack, name="other")
    damaged = stack.astype(np.float64)
    damaged[:, 0, 0] = 1e39
    viewer.add_image(damaged, name="damaged")
    widget = open_widget()
    press_restore(widget, qtbot)
    assert "the pixels reach 1e+39" in widget.run_bar.status.text()
    notification_manager.records.clear()
    if what == "layer":
        widget.image.value = other
    else:
        widget.model.choose("second")
    assert widget.run_bar.status.text() == ""


@pytest.mark.parametrize("which", ["input", "restored"])
def test_removing_a_layer_stops_its_restoration(which, viewer, open_widget, add_model, stack, endless, qtbot) -> None:
    add_model()
    source = viewer.add_image(stack)
    widget = open_widget()
    widget.run_bar.start_button.click()
    qtbot.waitUntil(lambda: find_result(viewer, source, entry()) is not None, timeout=30_000)
    viewer.layers.remove(source if which == "input" else find_result(viewer, source, entry()))
    qtbot.waitUntil(lambda: not widget.is_running, timeout=30_000)


def test_closing_the_dock_stops_the_work(make_napari_viewer, add_model, stack, endless, qtbot) -> None:
    add_model()
    viewer = make_napari_viewer()
    viewer.add_image(stack)
    widget = RestoreWidget(viewer)
    viewer.window.add_dock_widget(widget, name="Restore")
    widget.run_bar.start_button.click()
    qtbot.waitUntil(lambda: len(viewer.layers) == 2, timeout=30_000)
    viewer.window.remove_dock_widget(widget)
    del widget
    qtbot.waitUntil(lambda: endless.closed_in is not None, timeout=30_000)
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
    qtbot.waitUntil(lambda: len(viewer.layers) == 2, timeout=30_000)
    del widget
    viewer.close()
    qtbot.waitUntil(lambda: endless.closed_in is not None, timeout=30_000)


def test_an_error_is_shown_and_the_next_press_works(viewer, open_widget, add_model, stack, monkeypatch, qtbot) -> None:
    def fail(*_: object, **__: object) -> Iterator[Filled]:
        raise ComputeError("The cpu device failed.")
        yield

    add_model()
    source = viewer.add_image(stack)
    widget = open_widget()
    with monkeypatch.context() as patched:
        patched.setattr(run_module, "restore_into_stacks", fail)
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
