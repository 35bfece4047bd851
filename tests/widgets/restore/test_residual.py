from __future__ import annotations

from typing import TYPE_CHECKING

import dask.array as da
import numpy as np
import pytest
from fixtures.scored_layers import Bench, Slow, is_seen

from napari_care_losses.evaluation.frame_scores import RESTORED
from napari_care_losses.evaluation.metrics import score
from napari_care_losses.evaluation.without_truth.residual import residual
from napari_care_losses.widgets.layers.restored_layers import KEY

if TYPE_CHECKING:
    from napari.layers import Image


@pytest.fixture
def bench(viewer, qtbot) -> Bench:
    return Bench(viewer, qtbot)


def residual_of(bench: Bench) -> Image | None:
    return next((layer for layer in bench.viewer.layers if layer.metadata.get(KEY, {}).get("kind") == "residual"), None)


def test_the_residual_is_a_lazy_layer_on_its_input(viewer, qtbot) -> None:
    bench = Bench(viewer, qtbot, scale=(2, 0.1, 0.1), translate=(0, 3, 4))
    box = bench.panel.residual
    assert not is_seen(box, bench.panel)
    bench.restore(0, 2)
    slow = Slow(bench.data)
    bench.restored.data = slow
    bench.follow()
    bench.wait()
    slow.read.clear()
    assert is_seen(box, bench.panel)
    box.click()
    bench.wait()
    layer = residual_of(bench)
    assert box.isChecked()
    assert set(slow.read) == {0}
    assert isinstance(layer.data, da.Array)
    assert np.allclose(layer.scale, bench.source.scale)
    assert np.allclose(layer.translate, bench.source.translate)
    low, high = layer.contrast_limits
    assert low == -high < 0
    assert layer.metadata[KEY]["model"] == "/models/mine.safetensors"
    assert layer.name == "residual short (mine)"
    data = np.asarray(layer.data)
    assert np.allclose(data[2], residual(bench.input_data[2], bench.data[2]))
    assert np.isnan(data[[1, 3, 4, 5]]).all()


def test_the_residual_fills_in_as_frames_arrive(bench) -> None:
    bench.restore(0)
    bench.panel.residual.click()
    bench.wait()
    layer = residual_of(bench)
    bench.viewer.dims.set_current_step(0, 4)
    drawn: list[object] = []
    layer.events.set_data.connect(drawn.append)
    bench.restore(3)
    assert drawn == []
    bench.restore(4)
    assert len(drawn) == 1
    assert np.allclose(layer.data[4].compute(), residual(bench.input_data[4], bench.data[4]))
    bench.data = bench.data[::-1].copy()
    bench.restored.data = bench.data
    bench.restore(4)
    assert residual_of(bench) is layer
    assert np.allclose(layer.data[4].compute(), residual(bench.input_data[4], bench.data[4]))


def test_the_switch_follows_the_residual_layer(bench) -> None:
    box = bench.panel.residual
    bench.restore(0)
    box.click()
    bench.wait()
    layer = residual_of(bench)
    layer.visible = False
    assert not box.isChecked()
    box.click()
    assert layer.visible
    box.click()
    assert not layer.visible
    layer.visible = True
    bench.viewer.layers.remove(layer)
    assert not box.isChecked()
    box.click()
    bench.wait()
    assert residual_of(bench).visible


def test_the_residual_of_a_frame_that_is_not_finite_stays_empty(bench) -> None:
    bench.restore(0, 1)
    bench.panel.residual.click()
    bench.wait()
    bench.data[1, 3, 3] = np.nan
    bench.viewer.dims.set_current_step(0, 1)
    assert np.isnan(residual_of(bench).data[1].compute()).all()


@pytest.mark.parametrize("width", [3, 4])
def test_the_residual_of_images_a_few_pixels_wide_is_grey(width: int, viewer, qtbot) -> None:
    bench = Bench(viewer, qtbot)
    for layer in (bench.source, bench.restored):
        viewer.layers.remove(layer)
    mark = dict(bench.restored.metadata[KEY])
    bench.source = viewer.add_image(bench.input_data[..., :width], rgb=False)
    mark["source"] = bench.source.unique_id
    bench.restored = viewer.add_image(bench.data[..., :width], rgb=False, metadata={KEY: mark})
    bench.restore(0)
    bench.panel.residual.click()
    bench.wait()
    layer = residual_of(bench)
    assert not layer.rgb
    assert layer.data.shape == bench.source.data.shape


def test_the_error_map_is_that_of_the_metrics_and_shows_them_beside_it(bench) -> None:
    box = bench.panel.error_map
    bench.restore(0, 2)
    assert not is_seen(box, bench.panel)
    bench.panel.truth.value = bench.truth
    bench.wait()
    assert is_seen(box, bench.panel)
    box.click()
    bench.wait()
    layer = next(layer for layer in bench.viewer.layers if layer.metadata.get(KEY, {}).get("kind") == "error map")
    shown = np.asarray(layer.data)
    assert layer.contrast_limits[0] == 0 < layer.contrast_limits[1]
    expected = bench.expected(2)
    assert np.sqrt(np.square(shown[2]).mean()) == pytest.approx(expected["rse"], rel=1e-5)
    assert np.isnan(shown[[1, 3, 4, 5]]).all()
    for name in ("rse", "rsp"):
        label = bench.panel.of_truth.values[RESTORED, name]
        assert is_seen(label, bench.panel)
        assert label.text() == f"{bench.expected(0)[name]:.3f}"
    bench.truth.data = bench.truth_data * np.linspace(0.5, 1.5, 48)
    bench.wait()
    assert not np.allclose(np.asarray(layer.data)[2], shown[2])
    box.click()
    bench.wait()
    assert not layer.visible
    assert not is_seen(bench.panel.of_truth.values[RESTORED, "rse"], bench.panel)
    bench.panel.truth.value = None
    bench.wait()
    assert not is_seen(box, bench.panel)


def test_one_frame_is_the_truth_of_a_movie_in_the_error_map_too(viewer, qtbot) -> None:
    bench = Bench(viewer, qtbot, axis_labels=("t", "y", "x"))
    truth = viewer.add_image(bench.truth_data[0], name="one", axis_labels=("y", "x"))
    bench.panel.truth.value = truth
    bench.restore(3)
    bench.panel.error_map.click()
    bench.wait()
    layer = next(layer for layer in viewer.layers if layer.metadata.get(KEY, {}).get("kind") == "error map")
    rse = score(bench.data[3], bench.truth_data[0])["rse"]
    assert np.sqrt(np.square(np.asarray(layer.data)[3]).mean()) == pytest.approx(rse, rel=1e-5)
