from __future__ import annotations

import inspect

import numpy as np
import pytest
from magicgui import magicgui
from napari.layers import Image, Layer
from napari.types import ImageData
from qtpy.QtWidgets import QDockWidget

import napari_care_losses as ncl
from napari_care_losses.errors import ModelFileError
from napari_care_losses.plugin.functions import model_names, restore_image, restore_layer
from napari_care_losses.restoration.parameters import RestorationParameters


def test_a_function_of_arrays_restores(stack, add_model):
    name = add_model()
    model = ncl.load_model(ncl.find_model(name))
    expected = ncl.restore(stack, model, RestorationParameters(average_flips=True, normalization="stack"))
    np.testing.assert_array_equal(restore_image(stack, name, "stack", True), expected)
    # what workflow plugins look at
    hints = inspect.get_annotations(restore_image, eval_str=True)
    assert hints["image"] is ImageData and hints["return"] is ImageData


def test_a_layer_is_restored_onto_its_place(stack, add_model):
    name = add_model()
    layer = Image(stack, name="cells", scale=(2, 0.5, 0.5), translate=(0, 3, 4), axis_labels=("t", "y", "x"))
    restored = Layer.create(*restore_layer(layer, name))
    assert restored.name == f"restored cells ({name})" and restored.axis_labels == ("t", "y", "x")
    np.testing.assert_array_equal(restored.scale, layer.scale)
    np.testing.assert_array_equal(restored.translate, layer.translate)
    np.testing.assert_array_equal(restored.data, ncl.restore(stack, ncl.load_model(ncl.find_model(name))))
    with pytest.raises(ModelFileError, match="There is no model 'gone'"):
        restore_layer(layer, "gone")


def test_magicgui_makes_a_form_of_it(stack, add_model, make_napari_viewer):
    add_model()
    add_model("other")
    viewer = make_napari_viewer()
    form = magicgui(restore_layer, model={"value": "other"})
    viewer.window.add_dock_widget(form)
    source = viewer.add_image(stack, name="cells")
    assert form.layer.value is source
    assert list(form.model.choices) == model_names() and form.model.value == "other"
    form()
    assert viewer.layers[-1].name == "restored cells (other)"
    np.testing.assert_array_equal(viewer.layers[-1].data, restore_image(stack, "other"))


def test_the_menu_of_layers_opens_the_same_widget(plugin, make_napari_viewer):
    viewer = make_napari_viewer()
    menu = viewer.window.layers_menu.findChild(object, "napari/layers/filter")
    (action,) = (action for action in menu.actions() if "CARE Losses" in action.text())
    assert action.text() == "Restore (CARE Losses)"
    action.trigger()
    docks = [dock.windowTitle() for dock in viewer.window._qt_window.findChildren(QDockWidget)]
    assert "Restore (CARE Losses)" in docks
