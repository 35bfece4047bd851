"""The Restore widget follows the slider whatever happens to the layers: no exception leaves a handler."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

import numpy as np
import pytest
from fixtures.preview_layers import look_at
from fixtures.restore_widget import entry, press_restore
from qtpy.QtWidgets import QApplication

from napari_care_losses.widgets.layers.new_data import set_data
from napari_care_losses.widgets.layers.restored_layers import find_result

if TYPE_CHECKING:
    from collections.abc import Callable

    from napari.components import ViewerModel
    from numpy.typing import NDArray
    from pytestqt.qtbot import QtBot

    from napari_care_losses.widgets.restore.widget import RestoreWidget

SHAPES = [(9, 24, 32), (2, 24, 32), (1, 24, 32), (24, 32), (3, 2, 24, 32), (5, 40, 20)]


def noise(shape: tuple[int, ...]) -> NDArray[np.uint16]:
    return np.random.default_rng(len(shape)).poisson(100, shape).astype(np.uint16)


def slide(viewer: ViewerModel) -> None:
    """Move the slider to every frame there is, and to both ends."""
    for axis in range(max(0, viewer.dims.ndim - 2)):
        steps = viewer.dims.nsteps[axis]
        for step in (*range(steps), 0, steps - 1):
            viewer.dims.set_current_step(axis, step)
            QApplication.processEvents()


def settle(widget: RestoreWidget, qtbot: QtBot) -> None:
    qtbot.waitUntil(
        lambda: not any(one.is_running for one in (widget, widget.range, widget.preview)) and not widget.scores.is_busy,
        timeout=30_000,
    )


@pytest.fixture
def restored(viewer, open_widget, add_model, qtbot) -> Callable[[tuple[int, ...]], RestoreWidget]:
    """Return a function that restores a layer of a shape."""

    def restore(shape: tuple[int, ...]) -> RestoreWidget:
        add_model()
        look_at(viewer, viewer.add_image(noise(shape), name="cells"))
        widget = open_widget()
        press_restore(widget, qtbot)
        settle(widget, qtbot)
        return widget

    return restore


def test_a_longer_stack_after_a_short_one_was_restored(viewer, restored, notified, qtbot) -> None:
    widget = restored((2, 24, 32))
    other = viewer.add_image(noise((9, 24, 32)), name="longer")
    widget.image.value = other
    slide(viewer)
    settle(widget, qtbot)
    assert "Frame 8" in widget.range.text()
    assert list(notified) == []


@pytest.mark.parametrize("which", ["input", "restored"])
@pytest.mark.parametrize("shape", [(2, 24, 32), (9, 24, 32), (5, 40, 20), (24, 32), (3, 2, 24, 32)])
def test_other_data_after_a_restoration(which, shape, viewer, restored, notified, qtbot) -> None:
    widget = restored((5, 24, 32))
    source = viewer.layers["cells"]
    slide(viewer)
    layer = source if which == "input" else find_result(viewer, source, entry())
    layer.data = noise(shape)
    if which == "input":
        assert widget.run_bar.start_button.text() == "Restore"
        assert "other data" in widget.other.text()
    slide(viewer)
    settle(widget, qtbot)
    assert list(notified) == []
    if which == "input":
        assert widget.run_bar.start_button.isEnabled()
        press_restore(widget, qtbot)
        settle(widget, qtbot)
        assert find_result(viewer, source, entry()).data.shape == shape


@pytest.mark.parametrize("seed", range(4))
def test_anything_happens_to_the_layers(seed: int, viewer, restored, notified, qtbot) -> None:
    chance = random.Random(seed)
    widget = restored(chance.choice(SHAPES))

    def add() -> None:
        viewer.add_image(noise(chance.choice(SHAPES)), scale=(chance.choice([0.5, 1, 3]),) * 2)

    def replace() -> None:
        # by `set_data`: napari 0.9 itself raises where a hidden layer gets more axes
        set_data(chance.choice(viewer.layers), noise(chance.choice(SHAPES)))

    def crop() -> None:
        layer = chance.choice(viewer.layers)
        layer.data = layer.data[tuple(slice(0, (size + 1) // 2) for size in layer.data.shape[:-2])]

    def remove() -> None:
        if len(viewer.layers) > 1:
            viewer.layers.remove(chance.choice(viewer.layers))

    def choose() -> None:
        widget.image.value = chance.choice(widget.image.choices)

    def judge() -> None:
        widget.scores.truth.value = chance.choice(widget.scores.truth.choices)

    def residual() -> None:
        if widget.scores.residual.isEnabled() and not widget.scores.residual.isHidden():
            widget.scores.residual.click()

    def restore() -> None:
        if widget.run_bar.start_button.isEnabled():
            press_restore(widget, qtbot)

    def move() -> None:
        slide(viewer)

    for _ in range(25):
        do = chance.choice([add, replace, crop, remove, choose, judge, residual, restore, move, move])
        print(do.__name__, [(layer.name, layer.data.shape) for layer in viewer.layers])
        do()
        QApplication.processEvents()
    settle(widget, qtbot)
    assert list(notified) == []
