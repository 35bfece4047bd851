"""What the network learns from is chosen above the images: clean ones, other noisy ones, or the noisy ones alone."""

from __future__ import annotations

from pathlib import Path
from shutil import copy
from types import SimpleNamespace

import numpy as np
import pytest
import tifffile
from fixtures.docks import click, docked
from fixtures.restore_widget import press_restore
from fixtures.train_widget import FEW, held_after, is_stepping, press_start
from qtpy.QtCore import Qt

from napari_care_losses.errors import InputError
from napari_care_losses.models.library import list_models
from napari_care_losses.models.model import load_model
from napari_care_losses.training.parameters import TARGET_NAMES, TrainingParameters
from napari_care_losses.widgets.shared.model_chooser import describe
from napari_care_losses.widgets.train.widget import TrainWidget


@pytest.fixture
def noisy() -> np.ndarray:
    rng = np.random.default_rng(0)
    light = 5 + 30 * rng.random((10, 13)).repeat(4, 0).repeat(4, 1)
    return rng.poisson(light, (6, 40, 52)).astype(np.uint16)


def alone(viewer, noisy, qtbot) -> TrainWidget:
    viewer.add_image(noisy, name="movie")
    widget = TrainWidget(viewer)
    qtbot.addWidget(widget)
    widget.form.set_values({**FEW, "budget": "steps"})
    widget.form.editors["amount"].value = 6
    return widget


def checked(widget, qtbot) -> str:
    qtbot.waitUntil(lambda: widget.pairs.rows[0].is_examined, timeout=180_000)
    return widget.pairs.rows[0].verdict


def test_an_image_without_a_partner_is_learnt_from_alone(viewer, noisy, qtbot) -> None:
    widget = alone(viewer, noisy, qtbot)
    assert widget.settings.target.value == "self"
    assert not widget.pairs.high.native.isVisibleTo(widget.pairs)
    assert widget.pairs.rows[0].names == ("movie", ""), "there is only one to choose"
    assert "photons" in checked(widget, qtbot)
    assert (widget.loss.combo.value, widget.settings.loss_note.text()) == ("fft", "")
    press_start(widget, qtbot)
    (entry,) = list_models()
    assert entry.card.target == "self"
    assert "6 images" in describe(entry.card)
    assert "without clean images, from the noisy images alone" in describe(entry.card)
    # the preview has no truth to show
    captions = widget.view.preview.captions
    assert captions["restored"].text().startswith("Restored")
    assert captions["third"].text() == "Residual"


def test_the_next_frame_says_how_much_changes(viewer, noisy, qtbot) -> None:
    widget = alone(viewer, noisy, qtbot)
    widget.settings.target.value = "next"
    assert "of the structure changes from frame to frame" in checked(widget, qtbot)
    press_start(widget, qtbot)
    (entry,) = list_models()
    assert (entry.card.target, entry.card.training["pairs"]) == ("next", 3)


def test_blind_spots_are_learnt_from_with_a_loss_of_pixels(viewer, noisy, qtbot) -> None:
    widget = alone(viewer, noisy, qtbot)
    widget.settings.target.value = "blind_spots"
    widget.pairs.rows[0].choose(viewer.layers["movie"], None)
    checked(widget, qtbot)
    widget.loss.combo.value = "fft"
    assert "mixes pixels" in widget.run_bar.reason.text()
    assert not widget.run_bar.start_button.isEnabled()
    widget.loss.combo.value = "mse"
    assert widget.run_bar.start_button.isEnabled(), widget.run_bar.reason.text()
    plan = widget._plan()
    assert (plan.parameters.target, plan.pairs[0].target, plan.pairs[0].high) == ("blind_spots", "blind_spots", None)
    assert widget.form.editors["line_noise"].value == "auto"
    # what is hidden is shown in the patches: the target is blank but for those pixels
    with qtbot.waitSignal(widget.patches.drawn, timeout=180_000) as drawn:
        widget.patches.button.click()
    _, target = drawn.args[0]
    assert 0 < np.isfinite(target).mean() < 0.05


def test_another_way_to_learn_checks_the_images_anew(viewer, noisy, qtbot) -> None:
    widget = alone(viewer, noisy, qtbot)
    viewer.add_image(noisy[::-1].copy(), name="again")
    row = widget.pairs.rows[0]
    row.choose(viewer.layers["movie"], None)
    assert row.names == ("movie", "")
    widget.settings.target.value = "shot"
    assert widget.pairs.high.native.isVisibleTo(widget.pairs)
    assert "Choose a low and a high exposure" in row.problem
    row.choose(viewer.layers["movie"], viewer.layers["again"])
    assert row.source.target == "shot"
    widget.settings.target.value = "self"
    assert row.source.high is None
    assert widget.form.value().target == "self"


def test_a_training_is_resumed_with_what_it_learnt_from(viewer, noisy, qtbot) -> None:
    widget = alone(viewer, noisy, qtbot)
    widget.pairs.rows[0].choose(viewer.layers["movie"], None)
    stopped = SimpleNamespace(
        loss=widget.loss.value(),
        parameters=TrainingParameters(target="next"),
        structure="other",
        starts_from_model=False,
        path=Path("m.safetensors"),
    )
    entry = SimpleNamespace(plan=None, stopped=stopped)
    with pytest.raises(InputError, match="choose the next frame of a movie under Learn from"):
        widget._resumption(entry)
    widget.settings.target.value = "next"
    (source,) = widget._resumption(entry).pairs
    assert source.target == "next"


def test_files_of_a_folder_are_learnt_from_alone(viewer, noisy, qtbot, tmp_path) -> None:
    widget = alone(viewer, noisy, qtbot)
    for number in range(3):
        tifffile.imwrite(tmp_path / f"field{number}.tif", noisy[number])
    widget.pairs.folders_button.click()
    widget.pairs.folders.low.value = tmp_path
    assert widget.pairs.folders.summary.text() == "3 images."
    widget.pairs.folders.add_button.click()
    assert [row.names for row in widget.pairs.rows] == [(f"field{number}.tif", "") for number in range(3)]
    # files that stand alone are no pairs
    widget.settings.target.value = "clean"
    assert [row.is_empty for row in widget.pairs.rows] == [True]


def test_images_that_may_be_pairs_are_taken_for_pairs(viewer, noisy, qtbot) -> None:
    widget = alone(viewer, noisy, qtbot)
    viewer.add_image(noisy[::-1].copy(), name="again")
    qtbot.waitUntil(lambda: widget.settings.target.value == "clean", timeout=30_000)
    assert "choose another way to learn under Learn from" in widget.run_bar.reason.text()
    assert widget.pairs.is_empty, "the image that was the only one is not chosen any more"
    combo = widget.settings.target.native
    assert combo.count() == len(TARGET_NAMES)


def test_the_columns_are_those_there_is_something_to_choose_for(viewer, noisy, qtbot) -> None:
    widget = alone(viewer, noisy, qtbot)
    grid = widget.pairs.table

    def titles() -> list[str]:
        shown = [column for column in range(grid.columnCount()) if not grid.isColumnHidden(column)]
        return [grid.horizontalHeaderItem(column).text() for column in shown]

    assert (titles(), widget.pairs.low.label) == (["", "Image", "Shape"], "Image")
    widget.settings.target.value = "shot"
    assert (titles(), widget.pairs.low.label) == (["", "Low", "High", "Shape"], "Low")


def test_an_image_that_comes_later_is_chosen_where_it_is_the_only_one(viewer, noisy, qtbot) -> None:
    widget = TrainWidget(viewer)
    qtbot.addWidget(widget)
    assert widget.pairs.is_empty
    layer = viewer.add_image(noisy, name="movie")
    qtbot.waitUntil(lambda: widget.pairs.rows[0].layers == (layer, None), timeout=30_000)
    assert widget.settings.target.value == "self"
    widget.pairs.low.value = None
    assert widget.pairs.is_empty, "the user may choose nothing"


def test_the_loss_suits_the_target_until_it_is_chosen(viewer, noisy, add_model, qtbot) -> None:
    add_model("mine", loss="bandpass")
    widget = alone(viewer, noisy, qtbot)
    target, loss, start = widget.settings.target, widget.loss.combo, widget.start_from
    assert loss.value == "fft"
    target.value = "clean"
    assert loss.value == "laplace", "as it was"
    loss.value = "mae"
    target.value = "next"
    assert loss.value == "fft"
    target.value = "shot"
    target.value = "clean"
    assert loss.value == "mae"
    target.value = "self"
    start.choose("mine")
    assert loss.value == "fft", "the bandpass loss does not suit noisy targets"
    target.value = "clean"
    assert loss.value == "bandpass"
    # by hand
    loss.native.setCurrentIndex(loss.native.findData("mae"))
    loss.native.activated.emit(loss.native.currentIndex())
    target.value = "self"
    assert loss.value == "mae"
    assert "does not learn the mean" in widget.settings.loss_note.text()


def test_a_killed_training_is_resumed_exactly(viewer, noisy, model_library, tmp_path, monkeypatch, qtbot) -> None:
    widget = alone(viewer, noisy, qtbot)
    widget.form.editors["amount"].value = 14
    left = tmp_path / "left"
    left.mkdir()
    with held_after(8):
        press_start(widget, qtbot, until=lambda: is_stepping(widget))
        # what a process that is killed leaves is the state after its last epoch
        copy(model_library / "my-fft.resume", left)
    qtbot.waitUntil(lambda: not widget.is_running, timeout=120_000)
    (whole,) = list_models()
    weights = load_model(whole.path).weights
    monkeypatch.setenv("NAPARI_CARE_LOSSES_LIBRARY", str(left))
    again = TrainWidget(viewer)
    qtbot.addWidget(again)
    (entry,) = again.queue.entries
    assert (entry.name, entry.state_text.split()[0]) == ("my-fft", "stopped")
    # the only image is chosen already
    qtbot.waitUntil(again.trainings.resume_button.isEnabled, timeout=180_000)
    again.trainings.resume_button.click()
    qtbot.waitUntil(lambda: not again.is_running, timeout=120_000)
    (resumed,) = list_models()
    assert resumed.card.training["steps"] == 14
    assert entry.steps[0].step > 1
    assert all(bool((load_model(resumed.path).weights[name] == value).all()) for name, value in weights.items())


def test_from_the_menu_to_an_image_restored_without_clean_ones(plugin, make_napari_viewer, noisy, qtbot) -> None:
    viewer = make_napari_viewer(show=True)
    # as small as it can be: every change draws all of it
    viewer.window.resize(1, 1)
    viewer.add_image(noisy, name="cells 10 ms")
    click(viewer, "Plugins", "CARE Losses", "Train")
    widget: TrainWidget = docked(viewer, "Train (CARE Losses)")
    widget.form.set_values({**FEW, "steps_per_epoch": 2, "budget": "steps"})
    widget.form.editors["amount"].value = 4
    # nothing has to be chosen
    qtbot.waitUntil(widget.run_bar.start_button.isEnabled, timeout=180_000)
    qtbot.mouseClick(widget.run_bar.start_button, Qt.MouseButton.LeftButton)
    qtbot.waitUntil(lambda: not widget.is_running, timeout=120_000)
    assert "Trained 4 steps" in widget.run_bar.status.text()
    (entry,) = list_models()
    assert (entry.name, entry.card.target, entry.card.loss, entry.card.structure) == ("my-fft", "self", "fft", "other")
    click(viewer, "Plugins", "CARE Losses", "Restore")
    restore = docked(viewer, "Restore (CARE Losses)")
    assert restore.model.value.path == entry.path
    restore.live.value = False
    press_restore(restore, qtbot)
    assert viewer.layers["restored cells 10 ms (my-fft)"].data.shape == (6, 40, 52)
