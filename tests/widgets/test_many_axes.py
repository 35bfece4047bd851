"""Axes of one step, however many and wherever they stand, change nothing of what is restored, scored and compared."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from fixtures.compare_widget import add_pair, open_compare, press_compare, truth_of
from fixtures.preview_layers import look_at
from fixtures.restore_widget import entry, press_restore

from napari_care_losses.comparison.baselines import restore_with
from napari_care_losses.evaluation.without_truth.residual import residual
from napari_care_losses.images.frames import Frames
from napari_care_losses.io.stacks import read_stack, save_stack
from napari_care_losses.models.model import load_model
from napari_care_losses.restoration.restore_stack import restore
from napari_care_losses.widgets.layers.conversion import layer_frames
from napari_care_losses.widgets.layers.restored_layers import find_result
from napari_care_losses.widgets.restore.scores.time_axis import move_slider, time_axis

if TYPE_CHECKING:
    from pathlib import Path

FRAMES = np.random.default_rng(0).poisson(100, (4, 24, 32)).astype(np.uint16)
NAMED = ("t", "position", "z", "c", "y", "x")

PAIRS = [
    ((4, 24, 32), (4, 1, 24, 32)),
    ((4, 1, 24, 32), (4, 24, 32)),
    ((1, 4, 24, 32), (4, 24, 32)),
    ((2, 1, 2, 1, 24, 32), (2, 2, 24, 32)),
    ((2, 2, 24, 32), (2, 1, 2, 1, 24, 32)),
    ((1, 2, 1, 1, 2, 24, 32), (2, 2, 24, 32)),
]
"""Shapes of a stack of four frames and of its truth."""

SINGLE = [((24, 32), (1, 24, 32)), ((1, 1, 1, 1, 24, 32), (24, 32))]
"""Shapes of one frame and its truth."""

ONE_TRUTH = [((4, 24, 32), (24, 32)), ((4, 1, 24, 32), (1, 24, 32)), ((4, 1, 1, 1, 24, 32), (24, 32))]
"""Shapes of a movie and of the one truth of all its frames."""


def layers(viewer, shape, of_truth):
    """Return layers of these shapes, with what is to be restored in them."""
    count = int(np.prod(shape[:-2]))
    stack = FRAMES[:count]
    truth = truth_of(stack)[: int(np.prod(of_truth[:-2]))]
    source, clean = add_pair(viewer, stack.reshape(shape), truth.reshape(of_truth))
    look_at(viewer, source)
    # napari lines layers up by their last axes: that of the truth's frames may be another one of the stack
    viewer.dims.current_step = (0,) * viewer.dims.ndim
    return source, clean, stack


@pytest.mark.parametrize(("shape", "of_truth"), PAIRS + SINGLE + ONE_TRUTH)
def test_restore(shape, of_truth, viewer, add_model, open_widget, notified, qtbot) -> None:
    add_model()
    source, clean, stack = layers(viewer, shape, of_truth)
    widget = open_widget()
    widget.image.value = source
    qtbot.waitUntil(lambda: not widget.preview.is_running, timeout=180_000)
    assert widget.preview.layer.ndim == len(shape)
    press_restore(widget, qtbot)
    result = find_result(viewer, source, entry())
    assert result.data.shape == shape
    np.testing.assert_allclose(result.data.reshape(stack.shape), restore(stack, load_model(entry().path)), rtol=1e-5)
    widget.scores.truth.value = clean
    qtbot.waitUntil(lambda: not widget.scores.is_busy, timeout=180_000)
    assert "slope" in widget.scores.of_truth.levels.text()
    widget.scores.residual.click()
    qtbot.waitUntil(lambda: "residual" in viewer.layers[-1].name, timeout=180_000)
    shown = np.asarray(viewer.layers[-1].data)
    assert shown.shape == shape
    np.testing.assert_allclose(
        shown.reshape(stack.shape)[-1], residual(stack[-1], result.data.reshape(stack.shape)[-1])
    )
    assert list(notified) == []


@pytest.mark.parametrize(("shape", "of_truth"), PAIRS + SINGLE + ONE_TRUTH)
def test_compare(shape, of_truth, viewer, notified, qtbot) -> None:
    source, clean, stack = layers(viewer, shape, of_truth)
    widget = open_compare(viewer, qtbot, "tv")
    widget.settings.truth.value = clean
    results = press_compare(widget, qtbot)
    assert results is not None, widget.message.text()
    assert results.frames_done() == list(range(len(stack)))
    assert set(results.frame_scores(0)["TV"]) > {"psnr", "ssim"}
    widget.summary.layers.click()
    restored = viewer.layers[-1]
    assert restored.data.shape == shape
    np.testing.assert_allclose(restored.data.reshape(stack.shape)[-1], restore_with("tv", stack[-1]))
    np.testing.assert_allclose(restored.data_to_world((0,) * len(shape)), source.data_to_world((0,) * len(shape)))
    assert list(notified) == []


@pytest.mark.parametrize("shape", [(4, 1, 1, 1, 24, 32), (2, 1, 2, 1, 24, 32)])
def test_sliders_and_scores_over_time_follow_the_axis_of_several_steps(shape, viewer) -> None:
    source = viewer.add_image(FRAMES.reshape(shape), axis_labels=NAMED, scale=(3, 1, 2, 1, 1, 1))
    axis = time_axis(source)
    assert (axis.label, axis.length) == ("frame", shape[0])
    move_slider(viewer, source, 3)
    place = np.unravel_index(3, shape[:-2])
    assert viewer.dims.current_step[: len(place)] == tuple(map(int, place))


def test_such_a_layer_is_saved_with_the_axes_that_files_have(viewer, tmp_path: Path) -> None:
    source = viewer.add_image(FRAMES.reshape(2, 1, 2, 1, 24, 32), axis_labels=NAMED, units=("s", *["um"] * 5))
    for name, axes in (("a.tif", "TZYX"), ("a.ome.zarr", "TCZYX")):
        save_stack(tmp_path / name, layer_frames(source))
        saved = read_stack(tmp_path / name)
        assert saved.axes.replace("C", "") == axes.replace("C", "")
        np.testing.assert_array_equal(list(saved), FRAMES)
    np.testing.assert_array_equal(list(Frames(source.data).select(1, 2)), FRAMES[2:])
