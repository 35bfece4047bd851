"""A model that reads neighbouring frames, from the layer to the restored frames."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest
from fixtures.random_models import make_model
from fixtures.restore_widget import entry, press_restore

from napari_care_losses.models.architecture import PRESETS
from napari_care_losses.restoration.restore_stack import restore
from napari_care_losses.widgets.layers.restored_layers import find_result
from napari_care_losses.widgets.shared.model_chooser import describe

if TYPE_CHECKING:
    from pathlib import Path

    from napari_care_losses.models.model import Model


@pytest.fixture
def around(model_library: Path) -> Model:
    """Add a model of four neighbouring frames to the library."""
    training = {"neighbour_axis": "T", "neighbour_spacing": 0.5}
    model = make_model(replace(PRESETS["lite"], neighbours=4), training=training)
    model.save(model_library / "around.safetensors")
    return model


@pytest.fixture
def movie() -> np.ndarray:
    return np.random.default_rng(0).poisson(50, (9, 40, 52)).astype(np.uint16)


def test_the_chooser_says_what_a_model_reads(around) -> None:
    assert "It reads 4 neighbouring frames, 0.5 s apart in training." in describe(around.card)


def test_a_movie_is_restored_from_the_shown_frame_outward(viewer, open_widget, around, movie, qtbot) -> None:
    source = viewer.add_image(movie, name="movie")
    viewer.dims.set_current_step(0, 4)
    widget = open_widget()
    press_restore(widget, qtbot)
    restored = find_result(viewer, source, entry("around"))
    np.testing.assert_allclose(restored.data, restore(movie, around), rtol=1e-4)


def test_the_shown_frame_alone_is_restored_with_those_around_it(viewer, open_widget, around, movie, qtbot) -> None:
    source = viewer.add_image(movie, name="movie")
    viewer.dims.set_current_step(0, 6)
    widget = open_widget()
    widget.frame_choice.frames.value = "shown"
    press_restore(widget, qtbot)
    restored = find_result(viewer, source, entry("around"))
    np.testing.assert_allclose(restored.data[6], restore(movie, around)[6], rtol=1e-4)
    assert np.isnan(restored.data[5]).all()


@pytest.mark.usefixtures("around")
def test_a_single_image_says_that_the_model_needs_a_movie(viewer, open_widget, add_model, movie) -> None:
    add_model("single")
    viewer.add_image(movie[0], name="image")
    widget = open_widget()
    widget.model.choose("around")
    assert not widget.run_bar.start_button.isEnabled()
    assert "Neighbouring frames along time (T) or the planes (Z) are needed" in widget.run_bar.reason.text()
    widget.model.choose("single")
    assert widget.run_bar.start_button.isEnabled()
