"""Neighbouring frames in Train, and a movie from there to the restored layer."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from fixtures.random_models import make_model
from fixtures.restore_widget import press_restore
from fixtures.train_widget import FEW, press_start

from napari_care_losses.models.architecture import PRESETS
from napari_care_losses.models.library import list_models
from napari_care_losses.models.model import load_model
from napari_care_losses.restoration.restore_stack import restore
from napari_care_losses.widgets.layers.restored_layers import find_result
from napari_care_losses.widgets.restore.widget import RestoreWidget
from napari_care_losses.widgets.train.widget import TrainWidget


@pytest.fixture
def movie() -> np.ndarray:
    """A noisy movie of squares that move slowly."""
    rng = np.random.default_rng(0)
    light = 20 + 60 * rng.random((14, 16)).repeat(4, 0).repeat(4, 1)
    return np.stack([rng.poisson(light[:40, step // 2 : 52 + step // 2]) for step in range(7)]).astype(np.uint16)


@pytest.fixture
def widget(viewer, movie, qtbot) -> TrainWidget:
    viewer.add_image(movie, name="movie")
    widget = TrainWidget(viewer)
    qtbot.addWidget(widget)
    widget.form.set_values({**FEW, "budget": "steps", "amount": 6})
    widget.settings.target.value = "self"
    widget.loss.combo.value = "fft"
    widget.pairs.rows[0].choose(viewer.layers["movie"], None)
    return widget


def checked(widget, qtbot) -> str:
    row = widget.pairs.rows[0]
    qtbot.waitUntil(lambda: row.is_examined or bool(row.problem), timeout=180_000)
    return widget.pairs.rows[0].verdict


@pytest.mark.parametrize("target", ["self", "neighbours"])
def test_a_movie_is_learnt_from_and_restored_with_its_neighbours(viewer, widget, movie, target, qtbot) -> None:
    if target == "self":
        widget.settings.neighbours.value = 4
    widget.settings.target.value = target
    # each frame is predicted from some, unless the user has chosen how many
    assert widget.settings.neighbours.value == 4
    assert "7 frames of 40 x 52 px" in checked(widget, qtbot)
    press_start(widget, qtbot)
    (entry,) = (entry for entry in list_models() if not entry.bundled)
    assert (entry.card.care.neighbours, entry.card.care.is_blind) == (4, target == "neighbours")
    assert entry.card.training["neighbour_axis"] == "T"
    restoring = RestoreWidget(viewer)
    qtbot.addWidget(restoring)
    restoring.model.choose(entry.name)
    press_restore(restoring, qtbot)
    restored = find_result(viewer, viewer.layers["movie"], entry)
    np.testing.assert_allclose(restored.data, restore(movie, load_model(entry.path)), rtol=1e-4)


def test_images_are_checked_anew_for_their_neighbours(viewer, widget, qtbot) -> None:
    fields = 100 * np.random.default_rng(0).random((7, 10, 13)).repeat(4, 1).repeat(4, 2)
    viewer.layers["movie"].data = np.random.default_rng(1).poisson(fields)
    assert "7 frames" in checked(widget, qtbot)
    widget.settings.neighbours.value = 2
    assert "independent fields of view" in checked(widget, qtbot)
    assert not widget.run_bar.start_button.isEnabled()
    widget.settings.neighbours.value = 0
    assert "7 frames" in checked(widget, qtbot)


def test_an_image_alone_has_none(viewer, widget, movie, qtbot) -> None:
    widget.settings.neighbours.value = 2
    viewer.layers["movie"].data = movie[0]
    assert "Neighbouring frames along time (T)" in widget.pairs.rows[0].verdict
    # rows that come later are checked for them too
    widget.pairs.add_row().choose(viewer.add_image(movie[1], name="other"), None)
    assert "Neighbouring frames along time (T)" in widget.pairs.rows[1].verdict


def test_what_a_target_or_a_model_needs_is_chosen(viewer, model_library, widget, qtbot) -> None:
    settings = widget.settings
    settings.neighbours.value = 6
    settings.target.value = "next"
    assert settings.neighbours.value == 0
    settings.target.value = "self"
    make_model(replace(PRESETS["lite"], neighbours=2)).save(model_library / "two.safetensors")
    settings.start_from.reload()
    settings.start_from.choose("two")
    assert (settings.neighbours.value, settings.neighbours.enabled) == (2, False)
    settings.start_from.value = None
    assert (settings.neighbours.value, settings.neighbours.enabled) == (0, True)
    widget.form.set_values({"neighbours": 3})
    settings.changed.emit()
    assert "neighbours must be even" in widget.run_bar.reason.text()
