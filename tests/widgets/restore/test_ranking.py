"""The models of the chooser, sorted by how well they restore the shown image."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from fixtures.random_models import bundled_model
from fixtures.restore_widget import press_restore
from qtpy.QtCore import Qt

from napari_care_losses.images.frames import Frames
from napari_care_losses.models.model import Model
from napari_care_losses.simulation.pairs_and_movies import simulate_pairs
from napari_care_losses.widgets.restore import ranking
from napari_care_losses.widgets.restore.ranking import ModelRanking

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from numpy.typing import NDArray
    from pytestqt.qtbot import QtBot

    from napari_care_losses.widgets.restore.widget import RestoreWidget

# the fixtures of the viewer replace it
RANK = ModelRanking.rank


@pytest.fixture(scope="module")
def low() -> NDArray[np.uint16]:
    return simulate_pairs("mitochondria", 2, (96, 112), seed=3)[0]


@pytest.fixture
def opened(viewer, open_widget, model_library, monkeypatch) -> Callable[..., RestoreWidget]:
    """Open the widget with models whose names are in the opposite order of their quality."""
    monkeypatch.setattr(ModelRanking, "rank", RANK)
    monkeypatch.setattr(ranking, "DELAY_MS", 0)
    good = bundled_model("fft-lite")
    for name, factor in (("c", 1.0), ("b", 0.7), ("a", 0.3)):
        weights = {key: factor * weight for key, weight in good.weights.items()}
        Model(good.card, weights).save(model_library / f"{name}.safetensors")

    def open_(data: NDArray[np.uint16]) -> RestoreWidget:
        viewer.add_image(data, name="noisy")
        widget = open_widget()
        widget.live.value = False
        return widget

    return open_


def wait(widget: RestoreWidget, qtbot: QtBot) -> None:
    qtbot.waitUntil(lambda: not widget.ranking.is_running, timeout=180_000)


def names(widget: RestoreWidget) -> list[str]:
    return [entry.name for entry in widget.model.entries]


def test_the_best_comes_first_and_is_chosen(low, opened, qtbot) -> None:
    widget = opened(low)
    assert names(widget) == ["a", "b", "c"]
    wait(widget, qtbot)
    assert names(widget) == ["c", "b", "a"]
    assert widget.model.value.name == "c"
    tips = [widget.model.native.itemData(place, Qt.ItemDataRole.ToolTipRole) for place in range(3)]
    assert "dB on this image (estimated), the best" in tips[0]
    assert "behind the best" in tips[2]
    widget.model.reload()
    assert names(widget) == ["c", "b", "a"]


def test_a_model_chosen_by_hand_stays_chosen(low, opened, qtbot) -> None:
    widget = opened(low)
    widget.model.choose("b")
    wait(widget, qtbot)
    assert names(widget) == ["c", "b", "a"]
    assert widget.model.value.name == "b"


def test_the_model_of_a_restoration_stays_chosen(low, opened, qtbot) -> None:
    widget = opened(low)
    press_restore(widget, qtbot)
    wait(widget, qtbot)
    assert widget.model.value.name == "a"


def test_it_is_done_once_for_an_image(low, viewer, opened, qtbot) -> None:
    widget, found = opened(low), []
    widget.ranking.ranked.connect(found.append)
    wait(widget, qtbot)
    viewer.dims.set_current_step(0, 1)
    assert not widget.ranking.is_running
    viewer.add_image(low[0, :80], name="another")
    qtbot.waitUntil(lambda: len(found) == 2, timeout=180_000)


def test_what_comes_first_has_the_cores_for_itself(low, opened, qtbot) -> None:
    widget, found, is_first = opened(low), [], [True]
    wait(widget, qtbot)
    waiting = ModelRanking(lambda: is_first[0], parent=widget)
    waiting.ranked.connect(found.append)
    waiting.rank(Frames(low), 0, widget.model.entries)
    qtbot.wait(3 * ranking.LOOK_MS)
    assert waiting.is_running
    assert not found
    is_first[0] = False
    qtbot.waitUntil(lambda: bool(found), timeout=180_000)


def test_where_nothing_can_be_estimated_the_order_stays(opened, qtbot) -> None:
    widget = opened(np.random.default_rng(0).poisson(9, (40, 40)).astype(np.uint8))
    wait(widget, qtbot)
    assert names(widget) == ["a", "b", "c"]
    assert widget.model.value.name == "a"


def test_a_model_that_cannot_be_read_comes_last(low, model_library: Path, opened, qtbot) -> None:
    widget = opened(low)
    (model_library / "b.safetensors").write_bytes(b"damaged")
    wait(widget, qtbot)
    assert names(widget)[0] == "c"
