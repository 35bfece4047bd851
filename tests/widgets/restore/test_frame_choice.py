"""Which frames are restored, and which part of them: into one layer that lies on the input, on every slider."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from fixtures.preview_layers import look, look_at
from fixtures.restore_widget import entry, press_restore

from napari_care_losses.evaluation.without_truth.residual import residual as removed
from napari_care_losses.io.stacks import read_stack
from napari_care_losses.models.model import load_model
from napari_care_losses.restoration.restore_stack import RestorationParameters, restore
from napari_care_losses.widgets.layers import filling
from napari_care_losses.widgets.layers.conversion import new_array
from napari_care_losses.widgets.layers.restored_layers import (
    RESTORED,
    UNCERTAINTY,
    find_result,
    frames_done,
    region_of,
)
from napari_care_losses.widgets.restore.frame_choice import ALL, NUMBERED, SHOWN

if TYPE_CHECKING:
    from napari.components import ViewerModel
    from napari.layers import Image
    from numpy.typing import NDArray
    from pytestqt.qtbot import QtBot

    from napari_care_losses.widgets.restore.widget import RestoreWidget


@pytest.fixture
def movie(stack: NDArray[np.uint16]) -> NDArray[np.uint16]:
    """Return a stack of nine frames of different brightness."""
    return np.concatenate([stack + 40 * number for number in range(3)]).astype(np.uint16)


@pytest.fixture
def opened(viewer, open_widget, add_model, movie) -> tuple[ViewerModel, RestoreWidget, Image]:
    """Return a viewer that looks at a movie, the widget, and the layer."""
    add_model()
    source = viewer.add_image(movie, name="cells")
    look_at(viewer, source)
    widget = open_widget()
    widget.live.value = False
    return viewer, widget, source


def choose(widget: RestoreWidget, which: str, numbers: str = "") -> None:
    widget.frame_choice.frames.value = which
    widget.frame_choice.numbers.value = numbers


def result_of(viewer: ViewerModel, source: Image, kind: str = RESTORED) -> Image:
    return find_result(viewer, source, entry(), kind)


def settle(widget: RestoreWidget, qtbot: QtBot) -> None:
    qtbot.waitUntil(lambda: not widget.frame_choice._following.isActive())


def test_only_the_shown_frame_is_restored_and_the_input_shows_through_elsewhere(opened, qtbot) -> None:
    viewer, widget, source = opened
    choose(widget, SHOWN)
    viewer.dims.set_current_step(0, 4)
    assert widget.run_bar.start_button.text() == "Restore 1 frame"
    press_restore(widget, qtbot)
    layer = result_of(viewer, source)
    assert type(layer.data) is np.ndarray
    assert frames_done(layer) == {4}
    assert np.isfinite(layer.data).all(axis=(1, 2)).tolist() == [index == 4 for index in range(9)]
    assert np.isnan(layer.data[3]).all()
    assert np.allclose(layer.data[4], restore(source.data, load_model(entry().path))[4])
    assert np.allclose(layer.extent.world, source.extent.world)
    assert widget.run_bar.status.text().startswith("Restored 1 of 9 frames in ")
    assert widget.scores.plot is not None
    assert "not restored yet" not in widget.scores.message.text()
    viewer.dims.set_current_step(0, 5)
    assert "not restored yet" in widget.scores.message.text()


def test_later_runs_add_frames_to_the_same_layer(opened, qtbot) -> None:
    viewer, widget, source = opened
    told: list[object] = []
    viewer.layers.events.inserted.connect(lambda event: event.value.events.data.connect(told.append))
    for which, numbers, said, done in (
        (SHOWN, "", "Restored 1 of 9 frames", {0}),
        (NUMBERED, "0:2,5:7", "Restored 3 of 9 frames", {0, 1, 5, 6}),
        (ALL, "", "Restored 5 missing of 9 frames", set(range(9))),
    ):
        choose(widget, which, numbers)
        assert ("missing" in widget.run_bar.start_button.text()) == (which != SHOWN)
        press_restore(widget, qtbot)
        layer = result_of(viewer, source)
        assert widget.run_bar.status.text().startswith(f"{said} in "), widget.run_bar.status.text()
        assert frames_done(layer) == done
        assert type(layer.data) is np.ndarray
        assert np.isfinite(layer.data).all(axis=(1, 2)).tolist() == [index in done for index in range(9)]
    assert len(viewer.layers) == 2
    assert np.allclose(layer.data, restore(source.data, load_model(entry().path)))
    assert told == [], "the layer was drawn and scored again"


def test_frames_that_are_there_are_restored_again_in_place(opened, qtbot) -> None:
    viewer, widget, source = opened
    choose(widget, NUMBERED, "2:4")
    press_restore(widget, qtbot)
    layer, array = result_of(viewer, source), result_of(viewer, source).data
    array[2] = 7
    choose(widget, SHOWN)
    viewer.dims.set_current_step(0, 2)
    settle(widget, qtbot)
    assert widget.run_bar.start_button.text() == "Restore 1 frame again"
    press_restore(widget, qtbot)
    assert layer.data is array
    assert frames_done(layer) == {2, 3}
    assert np.allclose(array[2:4], restore(source.data, load_model(entry().path))[2:4])


def test_the_range_is_that_of_the_whole_stack(opened, qtbot) -> None:
    viewer, widget, source = opened
    widget.form.editors["normalization"].value = "stack"
    choose(widget, NUMBERED, "1:2,7:8")
    press_restore(widget, qtbot)
    expected = restore(source.data, load_model(entry().path), RestorationParameters(normalization="stack"))
    assert np.allclose(result_of(viewer, source).data[[1, 7]], expected[[1, 7]])


def test_an_uncertainty_asked_for_later_leaves_the_frames_there(viewer, open_widget, add_model, movie, qtbot) -> None:
    add_model(loss="laplace")
    source = viewer.add_image(movie)
    widget = open_widget()
    choose(widget, NUMBERED, "0:3")
    press_restore(widget, qtbot)
    choose(widget, NUMBERED, "2:5")
    widget.more_layers.uncertainty.value = True
    press_restore(widget, qtbot)
    assert frames_done(result_of(viewer, source)) == {0, 1, 2, 3, 4}
    assert frames_done(result_of(viewer, source, UNCERTAINTY)) == {2, 3, 4}


def test_a_large_result_with_missing_frames_stays_in_its_file(opened, qtbot, monkeypatch) -> None:
    monkeypatch.setattr(filling, "new_array", lambda *given: new_array(*given, largest_in_memory=0))
    viewer, widget, source = opened
    choose(widget, SHOWN)
    press_restore(widget, qtbot)
    layer = result_of(viewer, source)
    assert frames_done(layer) == {0}
    assert np.isnan(layer.data[1]).all()
    assert (layer.data > 0).sum() == np.prod(source.data.shape[1:])
    choose(widget, ALL)
    press_restore(widget, qtbot)
    assert isinstance(layer.data, np.memmap)
    assert np.allclose(layer.data, restore(source.data, load_model(entry().path)))


@pytest.mark.parametrize(
    ("numbers", "reason"),
    [
        ("", "Write the numbers of the frames, such as 0:2,3:10."),
        ("5", "cells: expected A:B, two whole numbers such as 0:60, found '5' (frame 5 alone is 5:6)"),
        ("0:3,2:4", "cells: expected ranges that do not overlap"),
        ("4:12", "cells: Frames 4:12 were asked for, but the stack has 9 (0:9)"),
        ("3:2", "the start must come before the stop"),
        ("0:2,3:9", ""),
    ],
)
def test_numbers_that_name_no_frames_are_explained(numbers, reason, opened) -> None:
    _, widget, _ = opened
    choose(widget, NUMBERED, numbers)
    assert widget.run_bar.start_button.isEnabled() == (reason == "")
    assert reason in widget.run_bar.reason.text()
    assert widget.frame_choice.numbers.native.isVisibleTo(widget)
    choose(widget, ALL)
    assert not widget.frame_choice.numbers.native.isVisibleTo(widget)
    assert widget.run_bar.start_button.isEnabled()


def test_numbers_count_time_points_with_all_their_planes(viewer, open_widget, add_model, movie, qtbot) -> None:
    add_model()
    source = viewer.add_image(movie.reshape(3, 3, *movie.shape[1:]), axis_labels=("t", "z", "y", "x"))
    widget = open_widget()
    choose(widget, NUMBERED, "1:2")
    press_restore(widget, qtbot)
    assert frames_done(result_of(viewer, source)) == {3, 4, 5}
    viewer.dims.set_current_step([0, 1], [2, 1])
    choose(widget, SHOWN)
    press_restore(widget, qtbot)
    assert frames_done(result_of(viewer, source)) == {3, 4, 5, 7}


def test_a_frame_that_is_not_shown_cannot_be_restored(opened, qtbot) -> None:
    viewer, widget, _ = opened
    viewer.add_image(np.zeros((30, 40, 52)), name="longer", visible=False)
    widget.image.value = viewer.layers["cells"]
    choose(widget, SHOWN)
    viewer.dims.set_current_step(0, 20)
    settle(widget, qtbot)
    assert widget.run_bar.reason.text() == ("The slider stands outside of cells: move it onto one of its frames.")
    viewer.dims.set_current_step(0, 2)
    settle(widget, qtbot)
    assert widget.run_bar.start_button.isEnabled()
    viewer.dims.ndisplay = 3
    settle(widget, qtbot)
    assert widget.run_bar.reason.text() == "Which frame is shown cannot be told: only in 2D."
    choose(widget, ALL)
    assert widget.run_bar.start_button.isEnabled()


@pytest.mark.parametrize("affine", [None, np.array([[1, 0, 0, 0], [0, 0, 1, 5], [0, -1, 0, 6], [0, 0, 0, 1.0]])])
def test_what_is_in_view_lies_in_its_place(affine, opened, qtbot) -> None:
    viewer, widget, source = opened
    source.scale, source.translate, source.rotate = (2, 0.5, 0.5), (1, 3, 4), 90
    if affine is not None:
        source.affine = affine
    expected = restore(source.data, load_model(entry().path))
    widget.frame_choice.in_view.value = True
    centre = np.asarray(source.data_to_world((0, 18, 30)))[1:]
    # 20 x 15 px of the canvas show 10 x 7.5 of the world
    look(viewer, centre, 600 / 7.5)
    choose(widget, SHOWN)
    viewer.dims.set_point(0, source.data_to_world((5, 0, 0))[0])
    settle(widget, qtbot)
    press_restore(widget, qtbot)
    layer = result_of(viewer, source)
    region = region_of(layer)
    # turned by 90 degrees, the canvas is as wide as the part is high
    wanted = (20, 15) if affine is None else (15, 20)
    assert np.allclose(region.shape, wanted, atol=1)
    assert region.y0 < 18 < region.y1
    assert region.x0 < 30 < region.x1
    assert layer.data.shape == (9, *region.shape)
    assert frames_done(layer) == {5}
    assert np.allclose(layer.data[5], expected[5][region.slices], atol=1e-4 * np.ptp(expected))
    for place in ((0, 0, 0), (8, *np.subtract(region.shape, 1))):
        there = (place[0], place[1] + region.y0, place[2] + region.x0)
        assert np.allclose(layer.data_to_world(place), source.data_to_world(there))
    assert layer.name == f"restored cells (untrained, y {region.y0}:{region.y1}, x {region.x0}:{region.x1})"
    source.translate = (0, 0, 0)
    assert np.allclose(layer.data_to_world((0, 0, 0)), source.data_to_world((0, region.y0, region.x0)))


def test_of_what_is_in_view_more_frames_come_into_its_layer_and_another_view_has_its_own(opened, qtbot) -> None:
    viewer, widget, source = opened
    widget.frame_choice.in_view.value = True
    look(viewer, (20, 26), 30)
    choose(widget, SHOWN)
    press_restore(widget, qtbot)
    layer = result_of(viewer, source)
    assert region_of(layer).shape == (21, 27)
    choose(widget, ALL)
    assert widget.run_bar.start_button.text() == "Restore the missing 8"
    press_restore(widget, qtbot)
    assert frames_done(layer) == set(range(9))
    expected = restore(source.data, load_model(entry().path))
    assert np.allclose(layer.data, expected[:, *region_of(layer).slices], atol=1e-4 * np.ptp(expected))
    layer.contrast_limits = (50, 90)
    look(viewer, (10, 26), 30)
    settle(widget, qtbot)
    assert widget.run_bar.start_button.text() == "Restore"
    assert not widget.other.text()
    press_restore(widget, qtbot)
    assert len(viewer.layers) == 3
    assert result_of(viewer, source).contrast_limits == [50, 90]
    look(viewer, (20, 26), 1)
    settle(widget, qtbot)
    press_restore(widget, qtbot)
    whole = find_result(viewer, source, entry(), parameters=RestorationParameters())
    assert whole.data.shape == source.data.shape


def test_the_preview_leaves_a_restored_part_alone(opened, qtbot) -> None:
    viewer, widget, _ = opened
    widget.frame_choice.in_view.value = True
    look(viewer, (20, 26), 30)
    choose(widget, SHOWN)
    press_restore(widget, qtbot)
    widget.live.value = True
    qtbot.waitUntil(lambda: not widget.preview.is_running, timeout=180_000)
    assert widget.preview.layer is None or np.isnan(widget.preview.layer.data).all()
    look(viewer, (10, 20), 30)
    qtbot.waitUntil(lambda: widget.preview.layer is not None and not widget.preview.is_running, timeout=180_000)
    assert np.isfinite(widget.preview.layer.data).any()


def test_the_result_that_holds_the_shown_frame_is_the_one_scored(opened, qtbot) -> None:
    viewer, widget, source = opened
    choose(widget, NUMBERED, "3:6")
    press_restore(widget, qtbot)
    whole = result_of(viewer, source)
    widget.frame_choice.in_view.value = True
    look(viewer, (20, 26), 30)
    choose(widget, SHOWN)
    press_restore(widget, qtbot)
    part = result_of(viewer, source)
    for in_view in (True, False):
        widget.frame_choice.in_view.value = in_view
        for index, expected in ((0, part), (4, whole)):
            viewer.dims.set_current_step(0, index)
            settle(widget, qtbot)
            assert widget.scores._restored is expected
            # what was said of the frame before stands until this one is scored
            qtbot.waitUntil(lambda: "not restored yet" not in widget.scores.message.text(), timeout=180_000)


def test_a_part_is_scored_against_that_part(opened, qtbot) -> None:
    viewer, widget, source = opened
    truth = viewer.add_image(source.data * 2.0 + 1, visible=False)
    widget.image.value, widget.scores.truth.value = source, truth
    widget.frame_choice.in_view.value = True
    look(viewer, (20, 26), 30)
    press_restore(widget, qtbot)
    qtbot.waitUntil(lambda: not widget.scores.is_busy, timeout=180_000)
    shown = {key: label.text() for key, label in widget.scores.of_truth.values.items()}
    assert shown["input", "psnr"] == "∞"
    assert float(shown["restored", "psnr"]) > 0
    widget.scores.truth.value = None
    qtbot.waitUntil(lambda: not widget.scores.is_busy, timeout=180_000)
    assert widget.scores.blind.isVisibleTo(widget)
    widget.scores.residual.click()
    qtbot.waitUntil(lambda: not widget.scores.is_busy, timeout=180_000)
    (residual,) = (layer for layer in viewer.layers if layer.name.startswith("residual"))
    layer = result_of(viewer, source)
    part = source.data[:, *region_of(layer).slices]
    for index in (0, 8):
        assert np.allclose(residual.data[index], removed(part[index], layer.data[index]))
    assert np.allclose(residual.extent.world, layer.extent.world)
    source.data = source.data[:, :22]
    assert widget.run_bar.reason.text() == ""


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (lambda viewer: look(viewer, (500, 26), 30), "cells is out of view: move the view onto it"),
        (lambda viewer: setattr(viewer.dims, "ndisplay", 3), "What is in view of cells cannot be told: only in 2D."),
        (lambda viewer: viewer.dims.roll(), "only while Y and X are displayed"),
        (lambda viewer: setattr(viewer.grid, "enabled", True), "not while layers lie side by side (grid)."),
    ],
)
@pytest.mark.filterwarnings("ignore:.*grid.*:FutureWarning", "ignore:.*grid.*:DeprecationWarning")
def test_a_view_that_shows_nothing_of_the_image_is_explained(spoil, reason, opened, qtbot) -> None:
    viewer, widget, _ = opened
    widget.frame_choice.in_view.value = True
    look(viewer, (20, 26), 30)
    settle(widget, qtbot)
    assert widget.run_bar.start_button.isEnabled()
    spoil(viewer)
    settle(widget, qtbot)
    assert reason in widget.run_bar.reason.text()
    assert not widget.run_bar.start_button.isEnabled()
    widget.frame_choice.in_view.value = False
    assert widget.run_bar.start_button.isEnabled()


def test_only_restored_frames_are_saved(opened, tmp_path, qtbot) -> None:
    viewer, widget, source = opened
    choose(widget, NUMBERED, "1:2,4:6")
    press_restore(widget, qtbot)
    for dtype in ("float32", "uint16"):
        widget.save.save(tmp_path / f"{dtype}.tif", dtype)
        qtbot.waitUntil(lambda: not widget.save.is_running, timeout=180_000)
        assert widget.run_bar.status.text().endswith("It holds 3 of 9 frames, those that are restored.")
        saved = np.stack(list(read_stack(tmp_path / f"{dtype}.tif")))
        assert np.allclose(saved, result_of(viewer, source).data[[1, 4, 5]], atol=0 if dtype == "float32" else 0.5)


def test_a_single_image_has_one_frame(viewer, open_widget, add_model, stack, qtbot) -> None:
    add_model()
    source = viewer.add_image(stack[0])
    widget = open_widget()
    for which, numbers in ((SHOWN, ""), (NUMBERED, "0:1")):
        choose(widget, which, numbers)
        assert widget.run_bar.start_button.text() == "Restore"
        press_restore(widget, qtbot)
        assert np.isfinite(result_of(viewer, source).data).all()
    choose(widget, NUMBERED, "0:2")
    assert "the stack has 1" in widget.run_bar.reason.text()
