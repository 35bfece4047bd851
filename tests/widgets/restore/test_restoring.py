from __future__ import annotations

import re
import threading
from typing import TYPE_CHECKING

import dask.array
import numpy as np
import pytest
from fixtures.restore_widget import entry, press_restore

from napari_care_losses.images.frames import Calibration
from napari_care_losses.io.stacks import read_stack
from napari_care_losses.io.tiff_reader import read_tiff
from napari_care_losses.models.model import load_model
from napari_care_losses.restoration.correlated_noise import HALVED
from napari_care_losses.restoration.restore_stack import RestorationParameters, restore
from napari_care_losses.widgets.layers.restored_layers import KEY, find_result, frames_done
from napari_care_losses.widgets.restore import run as run_module

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray
    from pytestqt.qtbot import QtBot

    from napari_care_losses.widgets.layers.filling import Filled, Plan
    from napari_care_losses.widgets.restore.widget import RestoreWidget


def cancel_after_one_frame(widget: RestoreWidget, qtbot: QtBot) -> None:
    """Let a real restoration run until a frame is there, then cancel it."""
    restored: list[int] = []
    for slot in (restored.append, lambda _: widget.run_bar.stop_button.click()):
        widget.frame_restored.connect(slot)
    press_restore(widget, qtbot)
    widget.frame_restored.disconnect()
    assert len(restored) == 1


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
    stack.array[30] = 7
    press_restore(widget, qtbot)
    assert layer.data is stack.array
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
        widget.form.editors["normalization"].value = "stack"
    elif change == "data":
        source.data = many + 1
        viewer.dims.set_current_step(0, 2)
        widget.image.changed.emit(source)
    else:
        add_model("another")
        widget.model.reload()
        widget.model.choose("another")
    assert widget.run_bar.start_button.text() == "Restore"
    press_restore(widget, qtbot)
    parameters = RestorationParameters(normalization="stack" if change == "settings" else "frame")
    chosen = widget.model.value
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
    restore_all = run_module.restore_into_stacks

    def restore_and_wait(plan: Plan) -> Iterator[Filled]:
        for filled in restore_all(plan):
            yield filled
            if filled.frame_index is not None:
                assert has_moved.wait(10)

    def move(index: int) -> None:
        came.append(index)
        viewer.dims.set_current_step(0, 50)
        has_moved.set()

    monkeypatch.setattr(run_module, "restore_into_stacks", restore_and_wait)
    widget.frame_restored.connect(move)
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
        stack, scale=(0.4, 0.1, 0.2), units=("s", "um", "um"), axis_labels=("t", "y", "x"), name='cells 1/2: "a"'
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

    monkeypatch.setattr("napari_care_losses.widgets.restore.panels.save.QFileDialog.getSaveFileName", ask)
    widget.save.click()
    qtbot.waitUntil(lambda: not widget.save.is_running, timeout=180_000)
    assert filters[0][0] == "restored cells 1-2- -a- (untrained).tif"
    saved = read_tiff(path)
    assert saved.calibration == Calibration(pixel_size=(0.1, 0.2), time_step=0.4)
    restored = np.asarray(find_result(viewer, source, entry()).data)
    assert np.array_equal(np.asarray(saved.data), np.clip(np.rint(restored), 0, 65535))
    assert f"Saved {path}" in widget.run_bar.status.text()


@pytest.mark.parametrize("typed", ["a", "restored cells (untrained).tif", "b.ome.zarr"])
def test_ome_zarr_is_saved_where_it_was_chosen(
    viewer, open_widget, add_model, stack, tmp_path, qtbot, monkeypatch, typed
) -> None:
    add_model()
    source = viewer.add_image(stack, name="cells")
    widget = open_widget()
    press_restore(widget, qtbot)

    def ask(_parent: object, _title: str, _suggested: str, offered: str) -> tuple[str, str]:
        return str(tmp_path / typed), next(name for name in offered.split(";;") if "Zarr" in name)

    monkeypatch.setattr("napari_care_losses.widgets.restore.panels.save.QFileDialog.getSaveFileName", ask)
    widget.save.click()
    qtbot.waitUntil(lambda: not widget.save.is_running, timeout=180_000)
    (path,) = tmp_path.glob("*.ome.zarr")
    assert path.name == f"{typed.removesuffix('.tif').removesuffix('.ome.zarr')}.ome.zarr"
    restored = np.asarray(find_result(viewer, source, entry()).data)
    assert np.array_equal(np.stack(list(read_stack(path))), restored)


def test_a_disk_that_cannot_be_written_is_said(viewer, open_widget, add_model, stack, tmp_path, qtbot) -> None:
    add_model()
    viewer.add_image(stack)
    widget = open_widget()
    press_restore(widget, qtbot)
    widget.save.save(tmp_path / "missing" / "a.tif")
    qtbot.waitUntil(lambda: not widget.save.is_running, timeout=180_000)
    assert "Not saved: The folder" in widget.run_bar.status.text()


def test_contrast_is_matched_by_percentiles(viewer, open_widget, add_model, stack, qtbot) -> None:
    add_model()
    source = viewer.add_image(stack, contrast_limits=(0, 5000))
    truth = viewer.add_image(stack * 3.0, contrast_limits=(0, 1), visible=False)
    widget = open_widget()
    widget.scores.truth.value = truth
    viewer.dims.set_current_step(0, 1)
    press_restore(widget, qtbot)
    restored = find_result(viewer, source, entry())
    widget.contrast.native.click()
    for layer in (source, truth, restored):
        assert np.allclose(layer.contrast_limits, np.percentile(layer.data[1], [1, 99.8]), rtol=1e-5)


def test_the_range_is_in_plain_sight(viewer, open_widget, add_model, stack, qtbot) -> None:
    add_model()
    viewer.add_image(stack, axis_labels=("t", "y", "x"))
    widget = open_widget()
    viewer.dims.set_current_step(0, 1)
    for mode, pixels, meaning in (
        ("auto", stack[1], "Right for separate fields"),
        ("frame", stack[1], "Right for separate fields"),
        ("stack", stack, "No flicker; worse at the end"),
        ("bleaching", None, "follows the bleaching"),
    ):
        widget.form.editors["normalization"].value = mode
        qtbot.waitUntil(lambda: not widget.range.is_running, timeout=180_000)
        assert meaning in widget.range.text()
        found = re.search(r"grey level (\S+) becomes 0, (\S+) becomes 1", widget.range.text())
        assert found
        if pixels is not None:
            expected = np.percentile(pixels, [2, 99.8])
            assert [float(level) for level in found.groups()] == pytest.approx(expected, rel=1e-3)


def test_a_frame_without_contrast_has_no_range_and_one_with_nan_that_of_its_other_pixels(
    viewer, open_widget, add_model, stack, qtbot
) -> None:
    add_model()
    damaged = stack.astype(np.float32)
    damaged[0], damaged[1, 3, 3] = 7, np.nan
    viewer.add_image(damaged)
    widget = open_widget()
    for index, text in ((0, "Frame 0 has no contrast: grey level 7 at both percentiles"), (1, "Frame 1: grey level")):
        viewer.dims.set_current_step(0, index)
        qtbot.waitUntil(lambda: not widget.range.is_running, timeout=180_000)
        assert text in widget.range.text()
        assert ("separate fields" in widget.range.text()) == (index == 1)


def test_percentiles_that_do_not_go_together_are_said(viewer, open_widget, add_model, stack, qtbot) -> None:
    add_model()
    viewer.add_image(stack)
    widget = open_widget()
    for name in ("low_percentile", "high_percentile"):
        widget.form.editors[name].value = 50.0
    qtbot.waitUntil(lambda: not widget.range.is_running, timeout=180_000)
    assert "must be below high_percentile" in widget.run_bar.reason.text()
    assert not widget.run_bar.start_button.isEnabled()


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


def test_what_is_done_about_shared_noise_is_said(viewer, open_widget, add_model, stack, qtbot) -> None:
    add_model()
    source = viewer.add_image(stack)
    widget = open_widget()
    widget.form.set_values({"correlated_noise": "half"})
    press_restore(widget, qtbot)
    assert widget.run_bar.status.text().endswith(HALVED)
    assert find_result(viewer, source, entry()).metadata[KEY]["note"] == HALVED
