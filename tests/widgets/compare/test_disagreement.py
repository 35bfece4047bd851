"""The layer of how far the models of a comparison disagree."""

from __future__ import annotations

import numpy as np
import pytest
from fixtures.compare_widget import press_compare, wait
from fixtures.random_models import make_model

from napari_care_losses.comparison.disagreement import disagreement
from napari_care_losses.models.library import list_models
from napari_care_losses.restoration.restore_stack import restore


@pytest.fixture
def models(model_library):
    made = {"first": make_model(seed=0), "second": make_model(seed=1)}
    for name, model in made.items():
        model.save(model_library / f"{name}.safetensors")
    return made


def restorations(models, names, frame):
    if len(names) > 1:
        return [restore(frame, models[name]) for name in names]
    flips = ((), (0,), (1,), (0, 1))
    return [np.flip(restore(np.flip(frame, axes), models[names[0]]), axes) for axes in flips]


@pytest.mark.parametrize("names", [("first", "second"), ("first",)])
def test_disagreement_is_a_layer_on_the_input(viewer, open_widget, stack, qtbot, models, names) -> None:
    assert {"first", "second"} <= {entry.name for entry in list_models()}
    source = viewer.add_image(stack, name="short", scale=(1, 0.2, 0.2))
    widget = open_widget("tv", *names)
    press_compare(widget, qtbot)
    assert widget.summary.disagreement.isEnabled()
    widget.summary.disagreement.click()
    assert not widget.summary.disagreement.isEnabled()
    wait(widget, qtbot)
    layer = viewer.layers[-1]
    what = "of 2 models" if len(names) > 1 else "of flips, first"
    assert layer.name == f"disagreement short ({what})"
    assert np.allclose(layer.scale, source.scale)
    for index in range(3):
        expected = disagreement(stack[index], restorations(models, names, stack[index]))
        assert np.allclose(layer.data[index], expected, atol=1e-2)
    assert layer.data.max() > 0


def test_without_a_model_there_is_none(viewer, open_widget, stack, qtbot) -> None:
    viewer.add_image(stack)
    widget = open_widget("tv", "nl-means")
    press_compare(widget, qtbot)
    assert not widget.summary.disagreement.isEnabled()
