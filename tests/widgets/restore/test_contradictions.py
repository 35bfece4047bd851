"""The layer of places that contradict the input, its share, and the way to the worst one."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from fixtures.scored_layers import Bench, is_seen

from napari_care_losses.evaluation.without_truth.contradictions import find_contradictions
from napari_care_losses.widgets.layers.restored_layers import KEY
from napari_care_losses.widgets.restore.preview.visible_region import camera_of

if TYPE_CHECKING:
    from napari.layers import Image


@pytest.fixture
def bench(viewer, qtbot) -> Bench:
    bench = Bench(viewer, qtbot, scale=(2, 0.1, 0.1), translate=(0, 3, 4))
    # erased from the restored frame 2
    bench.data[2, 10:18, 30:38] -= 60
    return bench


def layer_of(bench: Bench) -> Image | None:
    layers = (layer for layer in bench.viewer.layers if layer.metadata.get(KEY, {}).get("kind") == "contradictions")
    return next(layers, None)


@pytest.mark.parametrize("has_truth", [True, False])
def test_places_are_marked_and_the_worst_is_shown(bench, has_truth) -> None:
    panel, viewer = bench.panel, bench.viewer
    if has_truth:
        panel.truth.value = bench.truth
    bench.restore(0, 2)
    viewer.dims.set_current_step(0, 2)
    bench.wait()
    expected = find_contradictions(bench.input_data[2], bench.data[2])
    assert expected.worst is not None
    text = panel.contradiction_line.line.text().replace("\N{NO-BREAK SPACE}", " ")
    assert text == f"Contradicts the input in {100 * expected.share:.2g} % of the frame"
    panel.contradictions.click()
    bench.wait()
    layer = layer_of(bench)
    assert layer.name == "contradictions short (mine)"
    assert np.allclose(layer.data[2].compute(), expected.marked(), equal_nan=True)
    assert np.isnan(np.asarray(layer.data[1])).all()
    viewer.dims.set_current_step(0, 0)
    bench.wait()
    viewer.dims.set_current_step(0, 2)
    bench.wait()
    panel.contradiction_line.button.click()
    y, x = expected.worst
    assert 8 <= y < 20
    assert 28 <= x < 40
    assert np.allclose(camera_of(viewer).center[-2:], (3 + 0.1 * y, 4 + 0.1 * x))
    assert viewer.dims.current_step[0] == 2


def test_a_frame_without_contradictions_has_no_worst_place(bench) -> None:
    bench.restore(0)
    assert find_contradictions(bench.input_data[0], bench.data[0]).worst is None
    assert bench.panel.contradiction_line.line.text() == "Contradicts the input nowhere"
    assert not is_seen(bench.panel.contradiction_line.button, bench.panel)


def test_it_is_said_why_nothing_can_be_told(bench) -> None:
    bench.input_data[0] = 100
    bench.restore(0)
    assert "the input holds no noise" in bench.panel.contradiction_line.line.text()
