from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import pytest
from fixtures.preview_layers import PARAMETERS, hover, large_stack, look, on_source, show_preview
from fixtures.restore_widget import entry

from napari_care_losses.widgets.layers.restored_layers import KEY, RESTORED, is_result
from napari_care_losses.widgets.restore.preview.visible_region import camera_of, projected_frames
from napari_care_losses.widgets.shared.layer_chooser import LayerChooser

if TYPE_CHECKING:
    from collections.abc import Callable

    from fixtures.preview_layers import Shown
    from napari.components import ViewerModel
    from numpy.typing import NDArray
    from pytestqt.qtbot import QtBot


@pytest.fixture
def show(viewer: ViewerModel, add_model: Callable[..., str], qtbot: QtBot) -> Callable[..., Shown]:
    return partial(show_preview, viewer, add_model, qtbot)


@pytest.fixture
def large() -> NDArray[np.uint16]:
    return large_stack()


def test_the_shown_frame_is_restored_and_laid_over_in_place(show, stack) -> None:
    shown = show(stack, scale=(1, 0.1, 0.1), translate=(0, 3, 4))
    look(shown.viewer, (3 + 2, 4 + 2.6), 100)
    layer = shown.wait()
    assert layer.name == "preview cells (untrained)"
    np.testing.assert_allclose(layer.data[0], shown.expected(0), rtol=1e-4)
    np.testing.assert_allclose(on_source(layer, shown.source, (0, 5, 7)), (0, 5, 7), atol=1e-6)
    assert shown.said[-1].startswith("Preview: 40 x 52 px in view, ")
    assert len(shown.painted) == 1
    assert layer.contrast_limits[0] < layer.contrast_limits[1]
    assert layer.colormap == shown.source.colormap


def test_it_follows_the_slider(show, stack) -> None:
    shown = show(stack)
    first = shown.wait()
    shown.viewer.dims.set_current_step(0, 2)
    layer = shown.wait()
    assert layer is first
    assert len(shown.viewer.layers) == 2
    np.testing.assert_allclose(layer.data[0], shown.expected(2), rtol=1e-4)
    np.testing.assert_allclose(on_source(layer, shown.source, (0, 0, 0)), (2, 0, 0), atol=1e-6)
    assert shown.viewer.dims.range[0] == (0, 2, 1)


def test_quick_moves_of_the_slider_end_at_the_last(show, stack) -> None:
    shown = show(np.concatenate([stack] * 5))
    for step in (3, 9, 1, 4, 14, 7):
        shown.viewer.dims.set_current_step(0, step)
        shown.qtbot.wait(5)
    layer = shown.wait()
    np.testing.assert_allclose(layer.data[0], shown.expected(7), rtol=1e-4)
    assert len(shown.painted) == 1


def test_zoomed_out_a_window_at_the_cursor_is_restored(show, large) -> None:
    shown = show(large)
    hover(shown.viewer, (450, 500))
    look(shown.viewer, (450, 550), 0.6)
    layer = shown.wait()
    assert layer.data.shape == (1, 512, 512)
    assert shown.said[-1].startswith("Preview: 512 x 512 px around the cursor, ")
    y, x = on_source(layer, shown.source, (0, 0, 0))[1:].astype(int)
    assert abs(y + 256 - 450) <= 64
    assert abs(x + 256 - 500) <= 64
    np.testing.assert_allclose(layer.data[0], shown.expected(0)[y : y + 512, x : x + 512], rtol=1e-3)


def test_the_window_follows_the_cursor_that_rests_outside_of_it(show, large) -> None:
    shown = show(large)
    hover(shown.viewer, (200, 200))
    look(shown.viewer, (450, 550), 0.6)
    shown.wait()
    hover(shown.viewer, (300, 300))
    shown.qtbot.wait(350)
    assert not shown.live.is_running
    assert len(shown.painted) == 1
    hover(shown.viewer, (800, 1000))
    shown.qtbot.waitUntil(lambda: len(shown.painted) == 2, timeout=180_000)
    layer = shown.wait()
    np.testing.assert_array_equal(on_source(layer, shown.source, (0, 0, 0)), (0, 388, 588))
    shown.viewer.mouse_over_canvas = False
    shown.viewer.cursor.position = (0, 10, 10)
    shown.qtbot.wait(350)
    shown.viewer.dims.set_current_step(0, 1)
    layer = shown.wait()
    np.testing.assert_array_equal(on_source(layer, shown.source, (0, 0, 0)), (1, 388, 588))


def test_zoomed_in_only_what_is_visible_is_restored(show, large) -> None:
    shown = show(large)
    look(shown.viewer, (300, 400), 8)
    layer = shown.wait()
    inside = [
        on_source(layer, shown.source, (0, *place))[1:] for place in np.argwhere(np.isfinite(layer.data[0]))[::50]
    ]
    np.testing.assert_allclose(np.min(inside, axis=0), [263, 350])
    assert np.all(np.max(inside, axis=0) <= [337, 450])
    assert shown.said[-1].startswith("Preview: 75 x 101 px in view")
    look(shown.viewer, (330, 420), 8)
    restored = np.isfinite(shown.wait().data).sum()
    assert restored > 75 * 101 * 1.3
    assert len(shown.viewer.layers) == 2


@pytest.mark.parametrize("name", ["rotate", "shear", "affine", "transposed", "multiscale"])
def test_it_lies_exactly_over_the_frame_however_that_lies(name, show, stack) -> None:
    affine = np.eye(4)
    affine[1:3, 1:] = [[0.9, 0.2, 5], [-0.3, 1.1, 7]]
    options = {
        "rotate": {"rotate": 30, "scale": (2, 0.5, 0.5), "translate": (4, 1, 2)},
        "shear": {"shear": (0, 0, 0.3), "scale": (1, 0.5, 0.7)},
        "affine": {"affine": affine, "scale": (1, 0.5, 0.7)},
    }
    if name == "rotate":
        angle = np.deg2rad(30)
        turn = np.eye(3)
        turn[1:, 1:] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
        options["rotate"]["rotate"] = turn
    data = [stack, stack[:, ::2, ::2]] if name == "multiscale" else stack
    shown = show(stack) if name == "transposed" else None
    if shown is None:
        shown = show_layer(show, data, options.get(name, {}))
    if name == "transposed":
        shown.viewer.dims.order = (0, 2, 1)
    centre = shown.source.data_to_world((2, 20, 26))
    shown.viewer.dims.set_point(0, centre[0])
    at = centre[1:] if name != "transposed" else centre[:0:-1]
    look(shown.viewer, tuple(at), 600 / 12)
    layer = shown.wait()
    here = np.argwhere(np.isfinite(layer.data))
    assert 20 < len(here) < stack[0].size
    expected = shown.expected(2)
    for place in here[:: max(1, len(here) // 20)]:
        index, y, x = on_source(layer, shown.source, tuple(place))
        np.testing.assert_allclose((index, y, x), np.rint((index, y, x)), atol=1e-6)
        assert round(index) == 2
        assert layer.data[tuple(place)] == pytest.approx(expected[round(y), round(x)], rel=1e-3)


def show_layer(show: Callable[..., Shown], data: object, options: dict[str, object]) -> Shown:
    if isinstance(data, list):
        stack = data[0]
        shown = show(stack)
        shown.viewer.layers.remove(shown.source)
        shown.source = shown.viewer.add_image(data, multiscale=True, name="cells")
        shown.live.set_source(shown.source, shown.entry, PARAMETERS)
        return shown
    return show(data, **options)


def test_the_user_s_selection_and_view_stay(show, stack) -> None:
    shown = show(stack)
    others = [shown.viewer.add_image(stack, name=name) for name in "ab"]
    shown.viewer.layers.selection = {shown.source, others[0]}
    before = camera_of(shown.viewer).center, camera_of(shown.viewer).zoom, shown.viewer.dims.point
    layer = shown.wait()
    assert set(shown.viewer.layers.selection) == {shown.source, others[0]}
    assert (camera_of(shown.viewer).center, camera_of(shown.viewer).zoom, shown.viewer.dims.point) == before
    assert shown.viewer.layers.index(layer) == shown.viewer.layers.index(shown.source) + 1
    shown.viewer.layers.selection.active = others[1]
    shown.live.set_enabled(False)
    shown.live.set_enabled(True)
    assert shown.wait() is not layer
    assert shown.viewer.layers.selection.active is others[1]


def test_it_is_taken_for_no_input(show, stack) -> None:
    shown = show(stack)
    chooser = LayerChooser(shown.viewer, "Image", "")
    shown.qtbot.addWidget(chooser.native)
    layer = shown.wait()
    assert is_result(layer)
    assert chooser.value is shown.source


def test_model_and_settings_change_it(show, stack, add_model) -> None:
    shown = show(stack)
    shown.wait()
    stacked = replace(PARAMETERS, normalization="stack")
    shown.live.set_source(shown.source, shown.entry, stacked)
    np.testing.assert_allclose(shown.wait().data[0], shown.expected(0, stacked), rtol=1e-3)
    add_model("other", loss="laplace")
    shown.entry = entry("other")
    shown.live.set_source(shown.source, shown.entry, stacked)
    layer = shown.wait()
    np.testing.assert_allclose(layer.data[0], shown.expected(0, stacked), rtol=1e-3)
    assert layer.name == "preview cells (other)"
    assert len(shown.viewer.layers) == 2
    painted = len(shown.painted)
    shown.live.set_source(shown.source, shown.entry, stacked)
    shown.wait()
    assert len(shown.painted) == painted


def test_the_contrast_does_not_jump_while_panning_but_widens(show, large) -> None:
    large[:, :, 600:] *= 3
    shown = show(large)
    look(shown.viewer, (300, 250), 4)
    first = shown.wait().contrast_limits
    look(shown.viewer, (320, 260), 4)
    assert shown.wait().contrast_limits == first
    look(shown.viewer, (320, 900), 4)
    wider = shown.wait().contrast_limits
    assert wider[0] == first[0]
    assert wider[1] > first[1] * 1.5
    look(shown.viewer, (300, 250), 4)
    assert shown.wait().contrast_limits == wider
    shown.live.layer.contrast_limits = (1, 2)
    shown.live.set_source(shown.source, shown.entry, replace(PARAMETERS, normalization="stack"))
    assert shown.wait().contrast_limits == [1, 2]


def test_frames_that_are_restored_already_are_left_alone(show, stack) -> None:
    shown = show(stack)
    shown.wait()
    shown.live.set_finished(lambda index: index < 2)
    assert np.isnan(shown.wait().data).all()
    shown.viewer.dims.set_current_step(0, 1)
    shown.wait()
    assert len(shown.painted) == 1
    shown.viewer.dims.set_current_step(0, 2)
    np.testing.assert_allclose(shown.wait().data[0], shown.expected(2), rtol=1e-4)


def test_a_layer_moved_or_filled_anew_is_followed(show, stack) -> None:
    shown = show(stack)
    shown.wait()
    shown.source.translate = (0, 5, 5)
    np.testing.assert_allclose(on_source(shown.wait(), shown.source, (0, 1, 1)), (0, 1, 1))
    shown.source.data = stack[::-1].copy()
    np.testing.assert_allclose(shown.wait().data[0], shown.expected(0), rtol=1e-4)
    assert len(shown.viewer.layers) == 2


def test_a_frame_that_cannot_be_restored_says_why_without_a_message_box(show, stack) -> None:
    broken = stack.astype(np.float64)
    broken[1, 0, 0] = 1e39
    shown = show(broken)
    shown.wait()
    shown.viewer.dims.set_current_step(0, 1)
    shown.wait()
    assert "Frame 1: the pixels reach 1e+39" in shown.said[-1]
    shown.viewer.dims.set_current_step(0, 2)
    assert np.isfinite(shown.wait().data).all()


def test_of_a_blank_frame_it_says_that_nothing_changes(show, stack) -> None:
    stack[1] = 7
    shown = show(stack)
    shown.wait()
    assert "blank" not in shown.said[-1]
    shown.viewer.dims.set_current_step(0, 1)
    assert (shown.wait().data == 7).all()
    assert shown.said[-1].endswith(" s. Left as they are, being blank: frame 1.")
    assert shown.live.layer.contrast_limits[0] < shown.live.layer.contrast_limits[1]


def test_the_result_of_another_model_does_not_hide_it(show, stack, add_model) -> None:
    shown = show(stack)
    shown.wait()
    mark = {"source": shown.source.unique_id, "model": "another one", "kind": RESTORED}
    shown.viewer.add_image(stack, name="result", metadata={KEY: mark})
    shown.viewer.add_image(stack, name="another image")
    add_model("other")
    shown.live.set_source(shown.source, entry("other"), PARAMETERS)
    shown.wait()
    assert [layer.name for layer in shown.viewer.layers] == [
        "cells",
        "result",
        "preview cells (other)",
        "another image",
    ]
    shown.live.set_enabled(False)
    shown.live.set_enabled(True)
    shown.wait()
    assert shown.viewer.layers.index(shown.live.layer) == 2


def test_a_user_who_moves_it_below_its_source_gets_it_back(show, stack) -> None:
    shown = show(stack)
    shown.wait()
    shown.viewer.layers.move(1, 0)
    assert shown.viewer.layers.index(shown.live.layer) == 0
    shown.viewer.dims.set_current_step(0, 1)
    shown.wait()
    assert shown.viewer.layers.index(shown.live.layer) == 1


def test_a_thick_slice_is_told(show, stack) -> None:
    shown = show(stack, projection_mode="none")
    shown.viewer.dims.thickness = (2, 0, 0)
    shown.wait()
    assert "alone" not in shown.said[-1]
    shown.source.projection_mode = "mean"
    layer = shown.wait()
    assert shown.said[-1].endswith(". It shows frame 0 alone, the layer the mean of frames 0 to 1")
    np.testing.assert_allclose(layer.data[0], shown.expected(0), rtol=1e-4)
    shown.viewer.dims.set_current_step(0, 1)
    shown.wait()
    assert shown.said[-1].endswith(". It shows frame 1 alone, the layer the mean of frames 0 to 2")
    shown.viewer.dims.thickness = (0, 0, 0)
    shown.wait()
    assert "alone" not in shown.said[-1]


@pytest.mark.parametrize("margins", [(0, 0), (1, 1), (2, 0), (0, 2), (0.4, 0.4), (0.5, 0.5), (1.5, 0.7), (9, 9)])
@pytest.mark.parametrize("scale", [1, 0.5, 2])
def test_frames_of_a_thick_slice_are_those_that_napari_projects(margins, scale, viewer) -> None:
    data = (2 ** np.arange(8, dtype=np.uint16))[:, None, None] * np.ones((8, 4, 4), np.uint16)
    layer = viewer.add_image(data, scale=(scale, 1, 1), projection_mode="sum")
    viewer.dims.margin_left, viewer.dims.margin_right = ((margin, 0, 0) for margin in margins)
    for step in range(8):
        viewer.dims.set_point(0, step * scale)
        together = int(layer._slice.image.raw[0, 0])
        frames = [index for index in range(8) if together >> index & 1]
        expected = f"sum of frames {frames[0]} to {frames[-1]}" if len(frames) > 1 else ""
        assert projected_frames(layer, viewer.dims) == expected


def test_frames_of_several_axes_are_counted_and_named_in_full(viewer) -> None:
    layer = viewer.add_image(np.zeros((4, 3, 8, 8)), projection_mode="max")
    viewer.dims.set_point((0, 1), (2, 1))
    viewer.dims.thickness = (2, 0, 0, 0)
    assert projected_frames(layer, viewer.dims) == "maximum of 3 frames"
    viewer.dims.thickness = (0, 2, 0, 0)
    assert projected_frames(layer, viewer.dims) == "maximum of frames 6 to 8"
