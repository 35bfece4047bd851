from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest
from fixtures.docks import click, docked
from fixtures.train_widget import FEW, is_stepping, press_start, stop
from napari.utils.theme import get_theme
from qtpy.QtCore import Qt

from napari_care_losses.errors import TrainingDivergedError
from napari_care_losses.losses.registry import LOSSES
from napari_care_losses.models.library import list_models
from napari_care_losses.models.model import load_model
from napari_care_losses.training.checkpoint import state_path
from napari_care_losses.training.parameters import RECIPES, TrainingParameters
from napari_care_losses.training.progress import Step
from napari_care_losses.training.trainer import Trainer
from napari_care_losses.widgets.restore.widget import RestoreWidget
from napari_care_losses.widgets.train.widget import TrainWidget

if TYPE_CHECKING:
    from pathlib import Path

    from pytestqt.qtbot import QtBot
    from qtpy.QtWidgets import QAbstractSpinBox, QPushButton


def test_the_trained_model_is_in_the_library_and_chosen_in_restore(viewer, widget, qtbot) -> None:
    restore = RestoreWidget(viewer)
    qtbot.addWidget(restore)
    assert restore.model.value is None
    widget.structure.value = "mitochondria"
    widget.loss.combo.value = "bandpass"
    widget.loss.form.editors["sigma_large"].native.setValue(4)
    assert widget.name.value == "my-mitochondria-bandpass"
    press_start(widget, qtbot)
    (entry,) = list_models()
    assert entry.name == "my-mitochondria-bandpass"
    assert (entry.card.structure, entry.card.loss, entry.card.preset) == ("mitochondria", "bandpass", "lite")
    assert entry.card.loss_parameters["sigma_large"] == 4
    assert entry.card.training["steps"] == 6
    assert entry.card.training["pairs"] == 3
    assert "Trained 6 steps" in widget.run_bar.status.text()
    assert "my-mitochondria-bandpass" in widget.run_bar.status.text()
    qtbot.waitUntil(lambda: restore.model.value is not None, timeout=30_000)
    assert restore.model.value.path == entry.path
    assert restore.run_bar.start_button.isEnabled()


def test_the_structure_follows_the_names_of_the_pairs_until_it_is_chosen(viewer, stack, qtbot) -> None:
    widget = TrainWidget(viewer)
    qtbot.addWidget(widget)
    assert (widget.structure.value, widget.name.value) == ("other", "my-laplace")
    for name in ("Mito_low", "Mito_high", "dendra low", "dendra high"):
        viewer.add_image(stack, name=name)
    widget.pairs.rows[0].choose(viewer.layers["Mito_low"], viewer.layers["Mito_high"])
    assert widget.structure.value == "mitochondria"
    assert widget.name.value == "my-mitochondria-laplace"
    viewer.layers["Mito_low"].name, viewer.layers["Mito_high"].name = "low", "high"
    assert widget.structure.value == "other", "nothing says any more what they show"
    widget.structure.value = "actin"
    widget.pairs.rows[0].choose(viewer.layers["dendra low"], viewer.layers["dendra high"])
    assert widget.structure.value == "actin"


def test_the_curve_shows_every_step_and_epoch(widget, qtbot) -> None:
    press_start(widget, qtbot)
    steps, _ = widget.view.curve.raw.getData()
    epochs, losses = widget.view.curve.validation.getData()
    assert list(steps) == [1, 2, 3, 4, 5, 6]
    assert list(epochs) == [3, 6]
    assert np.isfinite(losses).all()
    assert widget.view.curve.isVisibleTo(widget)


def test_a_logarithmic_axis_is_offered_while_the_loss_is_positive(widget, qtbot) -> None:
    widget.view.curve.add_step(Step(1, 0.1, 0.5, 1, 1))
    widget.view.curve.redraw()
    assert widget.view.curve.logarithmic.isEnabled()
    widget.view.curve.add_step(Step(2, 0.1, -0.5, 1, 1))
    widget.view.curve.redraw()
    assert not widget.view.curve.logarithmic.isEnabled()


def test_stop_saves_the_best_model_so_far(widget, model_library, qtbot) -> None:
    widget.form.set_values({"amount": 1e6})
    press_start(widget, qtbot, until=lambda: is_stepping(widget))
    stop(widget, qtbot)
    (entry,) = list_models()
    assert 0 < entry.card.training["steps"] < 1e6
    assert "Stopped after" in widget.run_bar.status.text()
    assert state_path(entry.path).is_file()
    load_model(entry.path)
    assert widget.name.value == "my-laplace-2", "the next model needs another name"
    assert widget.run_bar.start_button.isEnabled()


@pytest.mark.parametrize("older", [False, True])
def test_stop_within_the_first_epoch_keeps_the_weights_so_far(older, widget, model_library, qtbot) -> None:
    widget.form.set_values({"amount": 1e6, "steps_per_epoch": 100_000})
    press_start(widget, qtbot, until=lambda: "steps a second" in widget.run_bar.status.text())
    path = model_library / "my-laplace.safetensors"
    if older:
        path.write_text("another model")
    stop(widget, qtbot)
    said = widget.run_bar.status.text()
    assert "within the first epoch" in said
    assert state_path(path).is_file()
    if older:
        assert "Another model named my-laplace in the library is unchanged." in said
        assert path.read_text() == "another model"
    else:
        assert "The weights so far are in the library as my-laplace" in said
        assert load_model(path).card.training["best_validation_loss"] > -np.inf


def test_stop_before_the_first_step_saves_nothing(widget, qtbot) -> None:
    widget.run_bar.start_button.click()
    stop(widget, qtbot)
    assert list_models() == []
    assert "nothing was saved" in widget.run_bar.status.text()


@pytest.mark.parametrize("closed", ["dock", "viewer"])
def test_closing_ends_the_training_and_keeps_the_model(closed, docked_widget, qtbot) -> None:
    viewer, widget = docked_widget
    press_start(widget, qtbot, until=lambda: is_stepping(widget))
    viewer.window.remove_dock_widget(widget) if closed == "dock" else viewer.close()
    qtbot.waitUntil(lambda: len(list_models()) == 1, timeout=180_000)


def test_divergence_is_explained(widget, monkeypatch, qtbot) -> None:
    def diverge(_: Trainer, *__: object) -> float:
        raise TrainingDivergedError("The loss became nan at step 1.")

    monkeypatch.setattr(Trainer, "_step", diverge)
    press_start(widget, qtbot)
    assert widget.run_bar.status.text() == "Failed: The loss became nan at step 1."
    assert list_models() == []


def test_an_unusable_frame_is_left_out_of_a_training(widget, viewer, stack, qtbot) -> None:
    constant = stack.copy()
    constant[2] = 7
    widget.pairs.rows[0].choose(viewer.add_image(constant, name="broken"), viewer.layers["100 ms"])
    press_start(widget, qtbot)
    qtbot.waitUntil(lambda: not widget.pairs.is_checking)
    assert "Left out: frame 2, the low image is constant" in widget.pairs.rows[0].verdict
    (model,) = list_models()
    assert load_model(model.path).card.training["names"] == ["broken[0]", "broken[1]"]


def test_fine_tuning_starts_from_the_chosen_model(widget, add_model, qtbot) -> None:
    add_model("origin")
    widget.start_from.reload()
    widget.start_from.choose("origin")
    assert not widget.form.editors["preset"].native.isEnabled()
    widget.loss.combo.value = "mae"
    press_start(widget, qtbot)
    trained = next(entry for entry in list_models() if entry.name != "origin")
    origin = next(entry for entry in list_models() if entry.name == "origin")
    assert trained.card.training["started_from"] == load_model(origin.path).digest()


@pytest.mark.parametrize(
    ("name", "reason"), [("", "plain file name"), ("a/b", "plain file name"), ("taken", "already")]
)
def test_a_name_that_cannot_be_used_is_explained(name, reason, widget, add_model, qtbot) -> None:
    add_model("taken")
    widget.name.native.selectAll()
    qtbot.keyClicks(widget.name.native, name) if name else widget.name.native.clear()
    assert reason in widget.run_bar.reason.text()
    assert not widget.run_bar.start_button.isEnabled()


def test_a_name_typed_by_the_user_stays(widget, qtbot) -> None:
    widget.name.native.selectAll()
    qtbot.keyClicks(widget.name.native, "tuesday")
    widget.loss.combo.value = "fft"
    assert widget.name.value == "tuesday"


def test_the_epoch_length_follows_the_kind_of_budget_until_it_is_edited(viewer, qtbot) -> None:
    widget = TrainWidget(viewer)
    qtbot.addWidget(widget)
    assert (widget.form.editors["budget"].value, widget.form.editors["steps_per_epoch"].value) == ("minutes", 100)
    budget = widget.form.editors["budget"].native
    budget.setCurrentIndex(budget.findData("epochs"))
    assert (widget.form.editors["amount"].value, widget.form.editors["steps_per_epoch"].value) == (100, 400)
    assert widget.form.editors["amount"].native.suffix() == " epochs"
    widget.form.editors["steps_per_epoch"].native.setValue(50)
    budget.setCurrentIndex(budget.findData("steps"))
    assert widget.form.editors["steps_per_epoch"].value == 50
    assert widget.form.editors["amount"].native.suffix() == " steps"


def test_a_recipe_sets_what_belongs_together_and_names_what_the_form_holds(viewer, qtbot) -> None:
    widget = TrainWidget(viewer)
    qtbot.addWidget(widget)
    recipe = widget.settings.recipe
    assert recipe.value == "robust"
    assert widget.form.editors["average_weights"].value
    recipe.value = "paper"
    for name, value in RECIPES["paper"].items():
        assert widget.form.editors[name].value == value == getattr(TrainingParameters(), name)
    custom = recipe.native.findData("custom")
    assert recipe.native.view().isRowHidden(custom)
    widget.form.editors["vary_noise"].native.click()
    assert recipe.value == "custom"
    assert recipe.native.currentText() == "custom (set under More settings)"
    assert not recipe.native.view().isRowHidden(custom)
    assert not recipe.native.model().item(custom).isEnabled()
    widget.form.editors["vary_noise"].native.click()
    assert recipe.value == "paper"
    assert recipe.native.view().isRowHidden(custom)
    widget.form.set_values(RECIPES["robust"])
    widget.form.editors["patch_size"].native.setValue(32)
    assert recipe.value == "robust"


def test_starting_from_a_model_takes_the_recipe_that_goes_with_it(viewer, add_model, qtbot) -> None:
    add_model("given")
    widget = TrainWidget(viewer)
    qtbot.addWidget(widget)
    recipe, start = widget.settings.recipe, widget.settings.start_from
    start.choose("given")
    assert recipe.value == "fine-tune"
    assert widget.form.editors["learning_rate"].value == 3e-4
    start.value = None
    assert recipe.value == "robust"
    recipe.value = "paper"
    start.choose("given")
    assert recipe.value == "paper"


def test_starting_from_a_model_takes_its_loss_unless_one_was_chosen(viewer, add_model, model_library, qtbot) -> None:
    path = model_library / f"{add_model('given', loss='bandpass')}.safetensors"
    plain, values = load_model(path), {"sigma_small": 1.5, "sigma_large": 4.0}
    replace(plain, card=replace(plain.card, loss_parameters=values)).save(path)
    widget = TrainWidget(viewer)
    qtbot.addWidget(widget)
    widget.start_from.choose("given")
    assert widget.loss.combo.value == "bandpass"
    assert widget.loss.value().to_dict() == values
    assert widget.name.value == "my-bandpass"
    widget.start_from.value = None
    widget.loss.combo.value = "mae"
    widget.loss.combo.native.activated.emit(1)
    widget.start_from.choose("given")
    assert widget.loss.combo.value == "mae"


def test_settings_that_do_not_go_together_disable_start(widget) -> None:
    widget.form.editors["patch_size"].native.setValue(17)
    assert "multiple of 4" in widget.run_bar.reason.text()
    assert not widget.run_bar.start_button.isEnabled()


def test_the_curve_takes_the_viewers_theme(widget, viewer) -> None:
    for theme in ("light", "dark"):
        viewer.theme = theme
        shown = widget.view.curve.plot.backgroundBrush().color().name()
        assert shown == get_theme(theme).background.as_hex()[:7]


def test_nothing_is_written_outside_the_library(widget, model_library: Path, qtbot) -> None:
    press_start(widget, qtbot)
    names = {path.name for path in model_library.iterdir()}
    assert names == {"my-laplace.safetensors", "my-laplace.resume", "my-laplace.training.csv"}


def test_the_figures_of_the_run_are_shown(widget, qtbot) -> None:
    widget.form.set_values({"amount": 1e6})
    press_start(widget, qtbot, until=lambda: is_stepping(widget))
    said = widget.run_bar.status.text()
    for part in ("my-laplace: step", "epoch", "learning rate 0.001", "steps a second", "left"):
        assert part in said
    stop(widget, qtbot)


def test_a_validation_image_is_shown_after_every_epoch(widget, qtbot) -> None:
    assert not widget.view.isVisibleTo(widget)
    press_start(widget, qtbot)
    preview = widget.view.preview
    assert preview.isVisibleTo(widget)
    assert all(not picture.is_empty for picture in preview.pictures.values())
    (entry,) = widget.queue.entries
    assert f"Low {entry.preview.low_psnr:.1f} dB" == preview.captions["low"].text()
    assert f"Restored {entry.preview.restored_psnr:.1f} dB" == preview.captions["restored"].text()


def test_patches_are_shown_before_the_start_and_are_others_every_time(widget, qtbot) -> None:
    drawn = []
    widget.patches.drawn.connect(drawn.append)
    for count in (1, 2):
        widget.patches.button.click()
        qtbot.waitUntil(lambda count=count: len(drawn) == count, timeout=30_000)
    assert widget.patches.picture.isVisibleTo(widget)
    assert not widget.patches.picture.is_empty
    assert drawn[0][0].shape == (8, 1, 16, 16)
    assert not np.array_equal(drawn[0][0], drawn[1][0])
    qtbot.waitUntil(lambda: not widget.patches.is_running)
    widget.pairs.remove_all()
    assert not widget.patches.button.isEnabled()
    assert "Choose a low" in widget.patches.button.toolTip()


def test_a_device_that_is_not_there_is_explained(widget, qtbot) -> None:
    combo = widget.settings.device.editors["device"].native
    combo.setCurrentIndex(combo.findData("mps"))
    press_start(widget, qtbot)
    assert "There is no device 'mps' here; choose auto" in widget.run_bar.status.text()
    missing = combo.model().item(combo.findData("mps"))
    assert not missing.isEnabled()


def test_a_layer_deleted_in_mid_training_does_not_end_it(widget, viewer, layers, qtbot) -> None:
    widget.form.set_values({"amount": 20})
    press_start(widget, qtbot, until=lambda: is_stepping(widget))
    viewer.layers.clear()
    qtbot.waitUntil(lambda: not widget.is_running, timeout=180_000)
    (entry,) = list_models()
    assert entry.card.training["steps"] == 20
    assert not widget.run_bar.start_button.isEnabled()
    assert "Choose a low" in widget.run_bar.reason.text()


def test_the_most_used_settings_are_unfolded(widget, qtbot) -> None:
    widget.resize(400, 2000)
    widget.show()
    qtbot.waitExposed(widget)
    shown = {name for name in FEW if not widget.form.editors[name].native.visibleRegion().isEmpty()}
    assert shown == {"preset", "patch_size"}


def test_from_the_menu_to_the_model_in_the_library(plugin, make_napari_viewer, qtbot) -> None:
    viewer = make_napari_viewer(show=True)
    viewer.open_sample(plugin.name, "actin")
    click(viewer, "Plugins", "CARE Losses", "Train")
    widget: TrainWidget = docked(viewer, "Train (CARE Losses)")
    press(qtbot, widget.pairs.match_button)
    assert widget.pairs.rows[0].names == ("actin 1 ms", "actin 100 ms")
    assert widget.run_bar.isVisible(), "the run bar stays in sight"
    press(qtbot, widget.patches.button)
    qtbot.waitUntil(lambda: widget.patches.picture.isVisible(), timeout=180_000)
    qtbot.keyClicks(widget.loss.combo.native, LOSSES["mae"].title)
    assert widget.loss.combo.value == "mae"
    budget = widget.form.editors["budget"].native
    budget.setCurrentIndex(budget.findData("steps"))
    type_number(qtbot, widget.form.editors["amount"].native, "3")
    type_number(qtbot, widget.form.editors["patch_size"].native, "32")
    press(qtbot, widget.run_bar.start_button)
    qtbot.waitUntil(lambda: not widget.is_running, timeout=120_000)
    (entry,) = list_models()
    assert (entry.name, entry.card.loss) == ("my-actin-mae", "mae")
    assert (entry.card.training["steps"], entry.card.training["pairs"]) == (3, 9)
    assert "Trained 3 steps" in widget.run_bar.status.text()
    assert widget.view.preview.isVisible()
    click(viewer, "Plugins", "CARE Losses", "Restore")
    assert docked(viewer, "Restore (CARE Losses)").model.value.name == "my-actin-mae"


def press(qtbot: QtBot, button: QPushButton) -> None:
    """Click a button that a user could click."""
    qtbot.waitUntil(button.isVisible)
    assert button.isEnabled()
    qtbot.mouseClick(button, Qt.MouseButton.LeftButton)


def type_number(qtbot: QtBot, editor: QAbstractSpinBox, text: str) -> None:
    editor.selectAll()
    qtbot.keyClicks(editor, text)
    qtbot.keyClick(editor, Qt.Key.Key_Return)
