"""A restored layer is an array that the user may work with, and that no other run replaces."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from fixtures.preview_layers import look_at
from fixtures.restore_widget import entry, press_restore
from napari.layers import Image, Labels, _layer_actions

from napari_care_losses.models.model import load_model
from napari_care_losses.restoration.restore_stack import RestorationParameters, restore
from napari_care_losses.widgets.layers import filling
from napari_care_losses.widgets.layers.conversion import layer_frames, new_array, placement
from napari_care_losses.widgets.layers.restored_layers import find_result, frames_done, is_result
from napari_care_losses.widgets.restore import run as run_module

if TYPE_CHECKING:
    from collections.abc import Callable

    from napari.components import ViewerModel
    from qtpy.QtWidgets import QApplication

    from napari_care_losses.widgets.restore.widget import RestoreWidget


@pytest.fixture
def restored(viewer, open_widget, add_model, stack, qtbot) -> tuple[ViewerModel, RestoreWidget, Image]:
    """Return a viewer, the widget, and the layer restored from the stack."""
    add_model()
    source = viewer.add_image(stack, name="cells")
    widget = open_widget()
    press_restore(widget, qtbot)
    return viewer, widget, find_result(viewer, source, entry())


@pytest.mark.parametrize("largest", [500 * 2**20, 0], ids=["in memory", "on disk"])
def test_a_finished_result_is_an_array(
    largest, viewer, open_widget, add_model, stack, qtbot, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(filling, "new_array", lambda *given: new_array(*given, largest_in_memory=largest))
    add_model()
    source = viewer.add_image(stack)
    widget = open_widget()
    told: list[object] = []
    viewer.layers.events.inserted.connect(lambda event: event.value.events.data.connect(told.append))
    press_restore(widget, qtbot)
    layer = find_result(viewer, source, entry())
    assert isinstance(layer.data, np.memmap if largest == 0 else np.ndarray)
    assert isinstance(layer.data_raw, np.ndarray)
    assert np.allclose(layer.data, restore(stack, load_model(entry().path)))
    assert frames_done(layer) == {0, 1, 2}
    assert told == [], "the layer was drawn and scored again"


ACTIONS = {
    "labels": (lambda layers: _layer_actions._convert_to_labels(layers), 1),
    "image": (lambda layers: _layer_actions._convert_to_image(layers), 0),
    "duplicate": (lambda layers: _layer_actions._duplicate_layer(layers), 1),
    "split": (lambda layers: _layer_actions._split_stack(layers), 2),
    "link": (lambda layers: _layer_actions._link_selected_layers(layers), 0),
    "visibility": (lambda layers: _layer_actions._toggle_visibility(layers), 0),
    **{
        f"{mode} along {axis}": (lambda layers, axis=axis, mode=mode: _layer_actions._project(layers, axis, mode), 1)
        for mode in ("max", "min", "std", "sum", "mean", "median")
        for axis in (0, 2)
    },
}
"""napari's layer menu: what it does, and the layers that it adds."""


@pytest.mark.filterwarnings("ignore:projection mode")
@pytest.mark.parametrize("action", ACTIONS)
def test_naparis_layer_menu_works_on_a_result(action: str, restored) -> None:
    viewer, _, layer = restored
    do, added = ACTIONS[action]
    viewer.layers.selection = {layer}
    viewer.layers.selection.active = layer
    count, pixels = len(viewer.layers), np.array(layer.data)
    do(viewer.layers)
    assert len(viewer.layers) == count + added
    if action == "labels":
        (labels,) = (each for each in viewer.layers if isinstance(each, Labels))
        assert np.array_equal(labels.data, pixels.astype(int))
    elif action == "max along 0":
        assert np.array_equal(viewer.layers[-1].data, pixels.max(axis=0))


def test_other_settings_make_another_layer_whose_name_says_them(restored, qtbot) -> None:
    viewer, widget, first = restored
    pixels = np.array(first.data)
    for name, value in (("low_band", "tied"), ("tile_size", 32), ("low_percentile", 4.0)):
        widget.form.set_values({name: value})
        press_restore(widget, qtbot)
    widget.form.set_values({"low_band": "auto", "tile_size": None, "low_percentile": None})
    press_restore(widget, qtbot)
    assert [layer.name for layer in viewer.layers if is_result(layer)] == [
        "restored cells (untrained)",
        "restored cells (untrained, low band from the input)",
        "restored cells (untrained, low band from the input, tile size 32)",
        "restored cells (untrained, low percentile 4.0, low band from the input, tile size 32)",
    ]
    assert np.array_equal(first.data, pixels)


@pytest.mark.parametrize("way", ["replaced", "in place"])
def test_other_data_make_another_layer(way: str, restored, qtbot) -> None:
    viewer, widget, first = restored
    source, pixels = viewer.layers["cells"], np.array(first.data)
    if way == "replaced":
        source.data = source.data[:2].copy()
    else:
        source.data += 90
    press_restore(widget, qtbot)
    layer = find_result(viewer, source, entry(), parameters=RestorationParameters())
    assert layer.name == "restored cells (untrained, other data)"
    assert np.allclose(layer.data, restore(source.data, load_model(entry().path)))
    assert np.array_equal(first.data, pixels)


def test_a_duplicate_is_nobodys_result(restored, qtbot) -> None:
    viewer, widget, layer = restored
    viewer.layers.selection = {layer}
    _layer_actions._duplicate_layer(viewer.layers)
    (kept,) = (each for each in viewer.layers if "copy" in each.name)
    kept.name, kept.data = "keep me", np.full(layer.data.shape, 5, np.float32)
    viewer.layers.remove(layer)
    assert find_result(viewer, viewer.layers["cells"], entry()) is None
    press_restore(widget, qtbot)
    assert (kept.data == 5).all()
    assert find_result(viewer, viewer.layers["cells"], entry()).name == "restored cells (untrained)"


def test_what_the_user_made_of_a_result_stays(restored, qtbot) -> None:
    viewer, widget, layer = restored
    layer.data = layer.data > 120
    press_restore(widget, qtbot)
    assert layer.data.dtype == bool
    assert find_result(viewer, viewer.layers["cells"], entry()) is not layer


def test_of_other_settings_the_widget_says_what_is_shown_and_previews(
    viewer: ViewerModel, open_widget: Callable[[], RestoreWidget], add_model, stack, qtbot, qapp: QApplication
) -> None:
    add_model()
    look_at(viewer, viewer.add_image(stack, name="cells"))
    widget = open_widget()
    press_restore(widget, qtbot)
    qtbot.waitUntil(lambda: not widget.preview.is_running, timeout=180_000)
    assert not widget.other.text()
    assert widget.preview.layer is None or np.isnan(widget.preview.layer.data).all()
    widget.form.editors["low_band"].value = "tied"
    assert widget.other.text() == (
        "restored cells (untrained) was restored otherwise. Now: low band from the input. Restore makes another layer."
    )
    qtbot.waitUntil(lambda: widget.preview.layer is not None and np.isfinite(widget.preview.layer.data).any())
    widget.form.editors["low_band"].value = "auto"
    assert not widget.other.text()


def test_a_result_follows_its_input(restored, qtbot) -> None:
    viewer, widget, layer = restored
    source = viewer.layers["cells"]
    source.units, source.scale, source.translate = ("s", "um", "um"), (0.4, 0.1, 0.2), (0, 5, 6)
    source.affine = np.array([[1, 0, 0, 0], [0, 0, 1, 0], [0, -1, 0, 0], [0, 0, 0, 1.0]])
    for name, value in placement(source).items():
        assert np.all(getattr(layer, name) == value) or name == "affine", name
    assert np.allclose(layer.extent.world, source.extent.world)
    assert layer_frames(layer).calibration == layer_frames(source).calibration
    press_restore(widget, qtbot)
    assert np.allclose(layer.extent.world, source.extent.world)


@pytest.mark.parametrize("width", [3, 4])
def test_images_a_few_pixels_wide_are_grey(width: int, viewer, open_widget, add_model, qtbot, notified) -> None:
    add_model()
    source = viewer.add_image(np.random.default_rng(0).poisson(100, (4, 40, width)), rgb=False)
    widget = open_widget()
    press_restore(widget, qtbot)
    layer = find_result(viewer, source, entry())
    assert layer.data.shape == source.data.shape
    assert not layer.rgb
    assert list(notified) == []


def test_a_layer_that_cannot_be_shown_is_a_failed_run(
    viewer, open_widget, add_model, stack, qtbot, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise ValueError("no canvas")

    monkeypatch.setattr(run_module, "show_stacks", fail)
    add_model()
    viewer.add_image(stack)
    widget = open_widget()
    with qtbot.captureExceptions() as raised:
        press_restore(widget, qtbot)
    assert widget.run_bar.status.text() == "Failed: the result cannot be shown (no canvas)."
    assert [str(error) for _, error, _ in raised] == ["no canvas"]


def test_tensors_are_restored(viewer, open_widget, add_model, stack, qtbot) -> None:
    add_model()
    source = viewer.add_image(torch.from_numpy(stack.astype(np.float32)))
    other = viewer.add_image(torch.zeros((3, 40, 52), dtype=torch.float64))
    widget = open_widget()
    widget.image.value = source
    press_restore(widget, qtbot)
    layer = find_result(viewer, source, entry())
    assert np.allclose(layer.data, restore(stack.astype(np.float32), load_model(entry().path)))
    assert layer_frames(other).dtype == np.float64
