"""Layers whose data are no numpy arrays are restored, previewed, scored and compared like those of numpy."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from fixtures.compare_widget import add_pair, open_compare, press_compare, truth_of
from fixtures.foreign_arrays import STORED
from fixtures.preview_layers import look_at
from fixtures.restore_widget import entry, press_restore

from napari_care_losses.models.model import load_model
from napari_care_losses.restoration.restore_stack import restore
from napari_care_losses.widgets.layers.restored_layers import find_result

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(params=STORED)
def pair(request: pytest.FixtureRequest, tmp_path: Path, stack):
    """Return a noisy stack and its truth, stored by a library, and the stack as it is."""
    store = STORED[request.param]
    yield (stored := (store(stack, tmp_path), store(truth_of(stack), tmp_path))), stack
    for data in stored:
        if request.param == "hdf5":
            data.file.close()


def test_restore(viewer, pair, add_model, open_widget, notified, qtbot) -> None:
    (noisy, truth), stack = pair
    add_model()
    source, clean = add_pair(viewer, noisy, truth)
    look_at(viewer, source)
    widget = open_widget()
    widget.image.value = source
    qtbot.waitUntil(lambda: not widget.preview.is_running, timeout=180_000)
    assert widget.preview.layer is not None
    press_restore(widget, qtbot)
    np.testing.assert_allclose(find_result(viewer, source, entry()).data, restore(stack, load_model(entry().path)))
    widget.scores.truth.value = clean
    qtbot.waitUntil(lambda: not widget.scores.is_busy, timeout=180_000)
    assert "slope" in widget.scores.of_truth.levels.text()
    assert list(notified) == []


def test_compare(viewer, pair, notified, qtbot) -> None:
    (noisy, truth), _ = pair
    add_pair(viewer, noisy, truth)
    results = press_compare(open_compare(viewer, qtbot, "tv"), qtbot)
    assert sorted(results.frames_done()) == [0, 1, 2]
    assert list(notified) == []
