"""Several selected layers are restored one after the other, each into a layer of its own."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import numpy as np
import pytest
from fixtures.preview_layers import look, look_at
from fixtures.restore_widget import entry, press_restore
from qtpy.compat import isalive
from qtpy.QtCore import QCoreApplication

from napari_care_losses.models.model import load_model
from napari_care_losses.restoration.restore_stack import restore
from napari_care_losses.widgets.layers.restored_layers import find_result, frames_done, region_of
from napari_care_losses.widgets.restore import run as run_module
from napari_care_losses.widgets.restore.frame_choice import NUMBERED
from napari_care_losses.widgets.restore.widget import RestoreWidget

if TYPE_CHECKING:
    from collections.abc import Iterator

    from napari.components import ViewerModel
    from napari.layers import Image

    from napari_care_losses.widgets.layers.filling import Filled, Plan


@pytest.fixture
def opened(viewer, open_widget, add_model, stack) -> tuple[ViewerModel, RestoreWidget, list[Image]]:
    """Return a viewer, the widget, and three images of which the topmost is chosen and all are selected."""
    add_model()
    layers = [viewer.add_image(stack + 10 * number, name=f"cells {number}") for number in (3, 2, 1)][::-1]
    look_at(viewer, layers[0])
    viewer.layers.selection = set(layers)
    widget = open_widget()
    widget.live.value = False
    widget.frame_choice.other_layers.value = True
    return viewer, widget, layers


class Waiting:
    """Lets restorations wait, before the second frame of a layer, until they may go on."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
        self.go = threading.Event()
        original = run_module.restore_into_stacks

        def restore_and_wait(plan: Plan) -> Iterator[Filled]:
            for filled in original(plan):
                yield filled
                if plan.source.name == name and filled.frame_index is not None:
                    assert self.go.wait(10)

        monkeypatch.setattr(run_module, "restore_into_stacks", restore_and_wait)


def done_of(viewer: ViewerModel, layers: list[Image]) -> list[int]:
    return [len(frames_done(find_result(viewer, layer, entry()))) for layer in layers]


def test_each_selected_layer_has_its_own_result(opened, qtbot) -> None:
    viewer, widget, layers = opened
    assert widget.frame_choice.other_layers.text == "Also the 2 other selected layers"
    assert widget.run_bar.start_button.text() == "Restore 3 layers"
    said: list[str] = []
    widget._run.said.connect(said.append)
    press_restore(widget, qtbot)
    for layer in layers:
        result = find_result(viewer, layer, entry())
        assert result.name == f"restored {layer.name} (untrained)"
        assert type(result.data) is np.ndarray
        assert np.allclose(result.data, restore(layer.data, load_model(entry().path)))
    assert widget.run_bar.status.text().startswith("Restored 3 layers in ")
    order = [text.split(":")[0] for text in said if text.startswith("Layer")]
    assert list(dict.fromkeys(order)) == [f"Layer {number} of 3, cells {number}" for number in (1, 2, 3)]
    assert widget.image.value is layers[0]
    assert viewer.layers.selection == set(layers), "another run would restore other layers"


def test_the_choice_follows_the_selection(opened) -> None:
    viewer, widget, layers = opened
    viewer.add_points(np.zeros((1, 3)))
    viewer.layers.selection = set(layers[:2]) | {viewer.layers[-1]}
    QCoreApplication.processEvents()
    assert widget.frame_choice.other_layers.text == "Also the other selected layer"
    assert widget.run_bar.start_button.text() == "Restore 2 layers"
    viewer.layers.selection = {layers[0]}
    QCoreApplication.processEvents()
    assert not widget.frame_choice.other_layers.enabled
    assert "Select more images" in widget.frame_choice.other_layers.tooltip
    assert widget.run_bar.start_button.text() == "Restore"
    viewer.layers.selection = set(layers)
    widget.frame_choice.other_layers.value = False
    assert widget.run_bar.start_button.text() == "Restore"


def test_a_selected_layer_that_cannot_be_restored_is_named(opened) -> None:
    viewer, widget, layers = opened
    colour = viewer.add_image(np.zeros((9, 9, 3), np.uint8), rgb=True, name="overview")
    viewer.layers.selection = {layers[0], colour}
    widget.image.value = layers[0]
    assert "overview is a colour (RGB) image" in widget.run_bar.reason.text()
    widget.frame_choice.frames.value, widget.frame_choice.numbers.value = NUMBERED, "0:3"
    shorter = viewer.add_image(layers[0].data[:2], name="shorter")
    viewer.layers.selection = {layers[0], shorter}
    QCoreApplication.processEvents()
    assert widget.run_bar.reason.text().startswith("shorter: Frames 0:3 were asked for, but the stack has 2")


def test_results_are_not_restored_again(opened, qtbot) -> None:
    viewer, widget, _layers = opened
    press_restore(widget, qtbot)
    viewer.layers.selection = set(viewer.layers)
    assert widget.frame_choice.other_layers.text == "Also the 2 other selected layers"


def test_cancelled_in_the_second_layer_the_next_run_does_the_rest(opened, monkeypatch, qtbot) -> None:
    viewer, widget, layers = opened
    waiting = Waiting(monkeypatch, "cells 2")
    widget.run_bar.start_button.click()
    qtbot.waitUntil(lambda: done_of(viewer, layers)[1] == 1, timeout=180_000)
    qtbot.waitUntil(lambda: "Layer 2 of 3, cells 2: 1 of 3 frames" in widget.run_bar.status.text(), timeout=180_000)
    widget.run_bar.stop_button.click()
    waiting.go.set()
    qtbot.waitUntil(lambda: not widget.is_running, timeout=180_000)
    assert done_of(viewer, layers) == [3, 2, 0]
    assert widget.run_bar.status.text() == (
        "Cancelled: 1 of 3 layers are restored.\n✗ cells 2: Cancelled: 2 of 3 frames are restored."
    )
    assert widget.run_bar.start_button.text() == "Restore 2 layers"
    first = find_result(viewer, layers[0], entry()).data
    press_restore(widget, qtbot)
    assert done_of(viewer, layers) == [3, 3, 3]
    assert find_result(viewer, layers[0], entry()).data is first
    assert widget.run_bar.status.text().startswith("Restored 2 layers in ")


def test_a_layer_removed_before_its_turn_is_left_out(opened, monkeypatch, qtbot) -> None:
    viewer, widget, layers = opened
    waiting = Waiting(monkeypatch, "cells 1")
    widget.run_bar.start_button.click()
    qtbot.waitUntil(lambda: done_of(viewer, layers)[0] == 1, timeout=180_000)
    viewer.layers.remove(layers[1])
    waiting.go.set()
    qtbot.waitUntil(lambda: not widget.is_running, timeout=180_000)
    assert done_of(viewer, layers) == [3, 0, 3]
    first, second = widget.run_bar.status.text().split("\n")
    assert first.startswith("Restored 2 of 3 layers in ")
    assert second == "✗ cells 2: Not restored: the layer was removed."


@pytest.mark.parametrize("what", ["removed", "changed", "result removed"])
def test_the_layer_under_way_ends_alone(what, opened, monkeypatch, qtbot) -> None:
    viewer, widget, layers = opened
    waiting = Waiting(monkeypatch, "cells 2")
    widget.run_bar.start_button.click()
    qtbot.waitUntil(lambda: done_of(viewer, layers)[1] == 1, timeout=180_000)
    if what == "removed":
        viewer.layers.remove(layers[1])
    elif what == "changed":
        layers[1].data = layers[1].data + 1
        viewer.dims.set_current_step(0, 1)
    else:
        viewer.layers.remove(find_result(viewer, layers[1], entry()))
    waiting.go.set()
    qtbot.waitUntil(lambda: not widget.is_running, timeout=180_000)
    assert done_of(viewer, [layers[0], layers[2]]) == [3, 3]
    first, second = widget.run_bar.status.text().split("\n")
    assert first.startswith("Restored 2 of 3 layers in ")
    assert second.startswith("✗ cells 2: " + ("Failed: cells 2 was changed" if what == "changed" else "Cancelled"))


def test_a_layer_that_fails_does_not_stop_the_others(opened, notified, qtbot) -> None:
    viewer, widget, layers = opened
    broken = layers[1].data.astype(np.float64)
    broken[:, 0, 0] = 1e39
    layers[1].data = broken
    blank = layers[2].data.copy()
    blank[1] = 7
    layers[2].data = blank
    press_restore(widget, qtbot)
    assert done_of(viewer, layers) == [3, 0, 3]
    first, second, third = widget.run_bar.status.text().split("\n")
    assert first.startswith("Restored 2 of 3 layers in ")
    assert second.startswith("✗ cells 2: Failed: Frame 0: the pixels reach 1e+39")
    assert third.startswith("• cells 3: Restored 3 frames in ")
    assert third.endswith("Left as they are, being blank: frame 1.")
    assert len(list(notified)) == 1


def test_of_each_layer_its_own_part_is_in_view(opened, qtbot) -> None:
    viewer, widget, layers = opened
    layers[1].translate = (0, 0, -13)
    widget.frame_choice.in_view.value = True
    look(viewer, (20, 26), 30)
    press_restore(widget, qtbot)
    regions = [region_of(find_result(viewer, layer, entry())) for layer in layers]
    assert regions[0] == regions[2]
    assert regions[1].x0 == regions[0].x0 + 13
    layers[1].translate = (0, 500, 0)
    viewer.dims.set_current_step(0, 1)
    qtbot.waitUntil(lambda: not widget.frame_choice._following.isActive())
    assert widget.run_bar.reason.text().startswith("cells 2 is out of view")


def test_closing_the_dock_stops_all_layers(make_napari_viewer, add_model, stack, monkeypatch, qtbot) -> None:
    add_model()
    viewer = make_napari_viewer()
    layers = [viewer.add_image(stack + 10 * number, name=f"cells {number}") for number in (2, 1)][::-1]
    viewer.layers.selection = set(layers)
    widget = RestoreWidget(viewer)
    viewer.window.add_dock_widget(widget, name="Restore")
    widget.live.value, widget.frame_choice.other_layers.value = False, True
    waiting = Waiting(monkeypatch, "cells 1")
    widget.run_bar.start_button.click()
    qtbot.waitUntil(lambda: done_of(viewer, layers)[0] == 1, timeout=180_000)
    run = widget._run
    viewer.window.remove_dock_widget(widget)
    del widget
    waiting.go.set()
    qtbot.waitUntil(lambda: not isalive(run) or not run.is_running, timeout=180_000)
    look(viewer, (20, 26), 30)
    viewer.dims.set_current_step(0, 2)
    viewer.layers.selection = set()
    qtbot.wait(100)
    assert done_of(viewer, layers)[1] == 0
