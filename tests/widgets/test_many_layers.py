"""Many layers that come or go at once are followed once: the work does not grow with their number."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import numpy as np
import pytest
from qtpy.QtCore import QCoreApplication

from napari_care_losses.widgets.compare.widget import CompareWidget
from napari_care_losses.widgets.restore.widget import RestoreWidget
from napari_care_losses.widgets.shared import layer_chooser
from napari_care_losses.widgets.shared.layer_chooser import LayerChooser
from napari_care_losses.widgets.shared.run_bar import RunBar
from napari_care_losses.widgets.train.pairs import row
from napari_care_losses.widgets.train.widget import TrainWidget

if TYPE_CHECKING:
    from collections.abc import Callable

    from napari.components import ViewerModel
    from pytestqt.qtbot import QtBot

FEW, MANY = 3, 12

SHAPE = (32, 24)
"""Of the images: two patches, and too small for warnings, which take long to compute."""


def add_pairs(viewer: ViewerModel, count: int) -> None:
    """Add the low and the high exposure of some fields, a layer each."""
    rng = np.random.default_rng(0)
    for number in range(count):
        high = rng.integers(100, 1000, SHAPE).astype(np.uint16)
        viewer.add_image(high // 4 + rng.integers(0, 9, high.shape).astype(np.uint16), name=f"field {number} low")
        viewer.add_image(high, name=f"field {number} high")


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """Return how often was done what takes long, by name."""
    found: Counter[str] = Counter()

    def counted(owner: object, name: str) -> None:
        does = getattr(owner, name)

        def count(*given: object, **named: object) -> object:
            found[name] += 1
            return does(*given, **named)

        monkeypatch.setattr(owner, name, count)

    for owner, name in (
        (LayerChooser, "reset_choices"),
        (RunBar, "set_state"),
        (row, "match_names"),
        (layer_chooser, "match_names"),
        (row, "check_pair"),
        (row, "examine_pair"),
    ):
        counted(owner, name)
    return found


@pytest.fixture
def train_widget(viewer: ViewerModel, qtbot: QtBot) -> TrainWidget:
    """Return a widget that would train on the images."""
    widget = TrainWidget(viewer)
    qtbot.addWidget(widget)
    widget.form.set_values({"patch_size": 16})
    return widget


@pytest.mark.parametrize("kind", [RestoreWidget, CompareWidget, TrainWidget])
def test_layers_that_come_and_go_at_once_are_followed_once(
    kind: Callable[[ViewerModel], TrainWidget], viewer: ViewerModel, calls: Counter[str], qtbot: QtBot
) -> None:
    widget = kind(viewer)
    qtbot.addWidget(widget)
    done = []
    for count in (FEW, MANY):
        calls.clear()
        add_pairs(viewer, count)
        QCoreApplication.processEvents()
        viewer.layers.clear()
        QCoreApplication.processEvents()
        done.append(dict(calls))
    assert done[0] == done[1]
    assert done[0]["reset_choices"] > 0
    assert done[0]["set_state"] > 0


@pytest.mark.parametrize("kind", [RestoreWidget, CompareWidget, TrainWidget])
def test_a_press_before_the_layers_that_went_are_followed_starts_nothing(
    kind: Callable[[ViewerModel], TrainWidget], viewer: ViewerModel, qtbot: QtBot
) -> None:
    add_pairs(viewer, FEW)
    widget = kind(viewer)
    qtbot.addWidget(widget)
    if isinstance(widget, TrainWidget):
        widget.form.set_values({"patch_size": 16})
        widget.pairs.match_button.click()
    viewer.layers.clear()
    widget.run_bar.started.emit()
    assert not widget.is_running
    QCoreApplication.processEvents()
    assert widget.run_bar.reason.text()


def test_every_pair_is_checked_once_and_its_row_is_written_once(
    train_widget: TrainWidget, viewer: ViewerModel, calls: Counter[str], qtbot: QtBot
) -> None:
    pairs, written = train_widget.pairs, []
    pairs.table.itemChanged.connect(lambda item: written.append(item.row()))
    done = []
    for count in (FEW, MANY):
        add_pairs(viewer, count)
        QCoreApplication.processEvents()
        calls.clear()
        written.clear()
        pairs.match_button.click()
        qtbot.waitUntil(lambda: all(one.is_examined for one in pairs.rows), timeout=180_000)
        qtbot.waitUntil(lambda: not pairs.is_checking, timeout=180_000)
        assert len(pairs.rows) == count
        assert calls["examine_pair"] == count
        done.append((calls["check_pair"] / count, calls["match_names"], max(Counter(written).values())))
        viewer.layers.clear()
        pairs.clear_button.click()
        QCoreApplication.processEvents()
    assert done[0] == done[1]


def test_a_pair_chosen_by_hand_leaves_the_other_rows_alone(
    train_widget: TrainWidget, viewer: ViewerModel, calls: Counter[str], qtbot: QtBot
) -> None:
    add_pairs(viewer, MANY)
    QCoreApplication.processEvents()
    pairs, written = train_widget.pairs, set()
    pairs.table.itemChanged.connect(lambda item: written.add(item.row()))
    calls.clear()
    for number in range(MANY):
        if number:
            pairs.add_button.click()
        written.clear()
        pairs.low.value = viewer.layers[f"field {number} low"]
        pairs.high.value = viewer.layers[f"field {number} high"]
        assert written == {number}
    assert calls["match_names"] == 0, "no name has changed"
    assert all(one.is_usable for one in pairs.rows)
    qtbot.waitUntil(lambda: not pairs.is_checking, timeout=180_000)


def test_a_chooser_asked_in_between_knows_the_layers_that_are_there(viewer: ViewerModel, qtbot: QtBot) -> None:
    chooser, free = LayerChooser(viewer, "Image", "Any."), LayerChooser(viewer, "Truth", "Any.", none="none")
    for one in (chooser, free):
        qtbot.addWidget(one.native)
    changes: list[object] = []
    chooser.changed.connect(changes.append)
    layers = [viewer.add_image(np.zeros((4, 4)), name=name) for name in "abc"]
    assert chooser.value is layers[2]
    assert changes == [layers[2]]
    assert layers[0] in free.choices
    free.value = layers[1]
    viewer.layers.remove(layers[1])
    assert free.value is None
    assert chooser.choices == (layers[2], layers[0])
    layers[2].name = "renamed"
    QCoreApplication.processEvents()
    assert changes == [layers[2]] * 2, "a new name is told too"
    assert chooser.current_choice == "renamed"
    viewer.layers.clear()
    QCoreApplication.processEvents()
    assert changes[2:] == [None]
