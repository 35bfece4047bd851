from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from napari.utils.theme import get_theme

from napari_care_losses.core.errors import TrainingDivergedError
from napari_care_losses.core.jobs import state_path
from napari_care_losses.core.library import list_models
from napari_care_losses.core.model import load_model
from napari_care_losses.core.training import Step, Trainer
from napari_care_losses.widgets.restore import RestoreWidget
from napari_care_losses.widgets.train import TrainWidget

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from napari.components import ViewerModel
    from napari.layers import Image
    from numpy.typing import NDArray
    from pytestqt.qtbot import QtBot

FEW = {"preset": "lite", "patch_size": 16, "batch_size": 2, "steps_per_epoch": 3, "validation_patches": 2}


@pytest.fixture
def layers(viewer: ViewerModel, stack: NDArray[np.uint16]) -> tuple[Image, Image]:
    clean = np.repeat(stack[:1], 3, axis=0).astype(np.float32) * 2
    return viewer.add_image(stack, name="1 ms"), viewer.add_image(clean, name="100 ms", visible=False)


@pytest.fixture
def widget(viewer: ViewerModel, layers: tuple[Image, Image], qtbot: QtBot) -> TrainWidget:
    widget = TrainWidget(viewer)
    qtbot.addWidget(widget)
    widget.pairs.rows[0].choose(*layers)
    widget.form.set_values({**FEW, "budget": "steps", "amount": 6})
    return widget


def press_start(widget: TrainWidget, qtbot: QtBot, *, until: Callable[[], bool] | None = None) -> None:
    assert widget.run_bar.start_button.isEnabled(), widget.run_bar.reason.text()
    widget.run_bar.start_button.click()
    qtbot.waitUntil(until or (lambda: not widget.is_running), timeout=30_000)


def test_the_trained_model_is_in_the_library_and_chosen_in_restore(viewer, widget, qtbot) -> None:
    restore = RestoreWidget(viewer)
    qtbot.addWidget(restore)
    assert restore.model.entry() is None
    widget.structure.setCurrentText("mitochondria")
    widget.loss.choose("bandpass")
    widget.loss.form().editor("sigma_large").setValue(4)
    assert widget.name.text() == "my-mitochondria-bandpass"
    press_start(widget, qtbot)
    (entry,) = list_models()
    assert entry.name == "my-mitochondria-bandpass"
    assert (entry.card.structure, entry.card.loss, entry.card.preset) == ("mitochondria", "bandpass", "lite")
    assert entry.card.loss_parameters["sigma_large"] == 4
    assert entry.card.training["steps"] == 6
    assert entry.card.training["pairs"] == 3
    assert "Trained 6 steps" in widget.run_bar.status.text()
    assert "my-mitochondria-bandpass" in widget.run_bar.status.text()
    qtbot.waitUntil(lambda: restore.model.entry() is not None, timeout=5000)
    assert restore.model.entry().path == entry.path
    assert restore.run_bar.start_button.isEnabled()


def test_the_curve_shows_every_step_and_epoch(widget, qtbot) -> None:
    press_start(widget, qtbot)
    steps, _ = widget.curve._raw.getData()
    epochs, losses = widget.curve._validation.getData()
    assert list(steps) == [1, 2, 3, 4, 5, 6]
    assert list(epochs) == [3, 6]
    assert np.isfinite(losses).all()
    assert widget.curve.isVisibleTo(widget)


def test_a_logarithmic_axis_is_offered_while_the_loss_is_positive(widget, qtbot) -> None:
    widget.curve.add_step(Step(1, 0.1, 0.5, 1, 1))
    widget.curve.redraw()
    assert widget.curve.logarithmic.isEnabled()
    widget.curve.add_step(Step(2, 0.1, -0.5, 1, 1))
    widget.curve.redraw()
    assert not widget.curve.logarithmic.isEnabled()


def test_stop_saves_the_best_model_so_far(widget, model_library, qtbot) -> None:
    widget.form.set_values({"amount": 1e6})
    press_start(widget, qtbot, until=lambda: "Step" in widget.run_bar.status.text())
    widget.run_bar.stop_button.click()
    qtbot.waitUntil(lambda: not widget.is_running, timeout=10_000)
    (entry,) = list_models()
    assert 0 < entry.card.training["steps"] < 1e6
    assert "Stopped after" in widget.run_bar.status.text()
    assert state_path(entry.path).is_file()
    load_model(entry.path)
    assert widget.name.text() == "my-actin-laplace-2", "the next model needs another name"
    assert widget.run_bar.start_button.isEnabled()


def test_stop_before_the_first_step_saves_nothing(widget, qtbot) -> None:
    widget.run_bar.start_button.click()
    widget.run_bar.stop_button.click()
    qtbot.waitUntil(lambda: not widget.is_running, timeout=10_000)
    assert list_models() == []
    assert "nothing was saved" in widget.run_bar.status.text()


def test_a_closed_dock_ends_the_training_and_keeps_the_model(make_napari_viewer, stack, qtbot) -> None:
    viewer = make_napari_viewer()
    widget = TrainWidget(viewer)
    viewer.window.add_dock_widget(widget, name="Train")
    widget.pairs.rows[0].choose(viewer.add_image(stack), viewer.add_image(stack[[1, 2, 0]]))
    widget.form.set_values({**FEW, "budget": "steps", "amount": 1e6})
    press_start(widget, qtbot, until=lambda: "Step" in widget.run_bar.status.text())
    viewer.window.remove_dock_widget(widget)
    qtbot.waitUntil(lambda: len(list_models()) == 1, timeout=10_000)


def test_divergence_is_explained(widget, monkeypatch, qtbot) -> None:
    def diverge(_: Trainer, *__: object) -> float:
        raise TrainingDivergedError("The loss became nan at step 1.")

    monkeypatch.setattr(Trainer, "_step", diverge)
    press_start(widget, qtbot)
    assert widget.run_bar.status.text() == "Failed: The loss became nan at step 1."
    assert list_models() == []


def test_an_unusable_frame_found_by_training_is_explained(widget, viewer, stack, qtbot) -> None:
    constant = stack.copy()
    constant[2] = 7
    widget.pairs.rows[0].choose(viewer.add_image(constant, name="broken"), viewer.layers["100 ms"])
    press_start(widget, qtbot)
    assert "broken[2]" in widget.run_bar.status.text()
    assert "constant" in widget.run_bar.status.text()


def test_fine_tuning_starts_from_the_chosen_model(widget, add_model, qtbot) -> None:
    add_model("origin")
    widget.start_from.reload()
    widget.start_from.choose("origin")
    assert not widget.form.editor("preset").isEnabled()
    widget.loss.choose("mae")
    press_start(widget, qtbot)
    trained = next(entry for entry in list_models() if entry.name != "origin")
    origin = next(entry for entry in list_models() if entry.name == "origin")
    assert trained.card.training["started_from"] == load_model(origin.path).digest()


@pytest.mark.parametrize(
    ("low", "high", "verdict"),
    [
        ("1 ms", "100 ms", "✓ 3 frames of 40 x 52 px"),
        ("1 ms", "1 ms", "same layer twice"),
        ("1 ms", "copy", "same image"),
        ("1 ms", "small", "Different shapes: 3 x 40 x 52 and 3 x 20 x 52"),
        ("1 ms", "photo", "RGB"),
        ("1 ms", "flat", "high image is constant"),
    ],
)
def test_every_pair_says_whether_it_is_usable(low, high, verdict, widget, viewer, stack) -> None:
    viewer.add_image(stack.copy(), name="copy")
    viewer.add_image(stack[:, :20], name="small")
    viewer.add_image(np.zeros((9, 9, 3), np.uint8), rgb=True, name="photo")
    viewer.add_image(np.zeros_like(stack), name="flat")
    row = widget.pairs.rows[0]
    row.choose(viewer.layers[low], viewer.layers[high])
    assert verdict in row.verdict.text()
    is_usable = verdict.startswith("✓")
    assert row.verdict.text().startswith("✓" if is_usable else "✗")
    assert widget.run_bar.start_button.isEnabled() is is_usable
    assert bool(widget.run_bar.reason.text()) is not is_usable


def test_pairs_are_added_and_removed(widget, layers) -> None:
    widget.pairs.add_button.click()
    assert len(widget.pairs.rows) == 2
    assert not widget.run_bar.start_button.isEnabled()
    widget.pairs.rows[1].choose(*layers)
    assert "listed twice" in widget.run_bar.reason.text()
    widget.pairs.rows[1].remove_button.click()
    assert len(widget.pairs.rows) == 1
    assert widget.run_bar.start_button.isEnabled()


def test_a_removed_layer_leaves_its_pair_unusable(widget, viewer, layers) -> None:
    viewer.layers.remove(layers[1])
    assert widget.pairs.rows[0].pair is None
    assert not widget.run_bar.start_button.isEnabled()


@pytest.mark.parametrize(
    ("name", "reason"), [("", "plain file name"), ("a/b", "plain file name"), ("taken", "already")]
)
def test_a_name_that_cannot_be_used_is_explained(name, reason, widget, add_model, qtbot) -> None:
    add_model("taken")
    widget.name.selectAll()
    qtbot.keyClicks(widget.name, name) if name else widget.name.clear()
    assert reason in widget.run_bar.reason.text()
    assert not widget.run_bar.start_button.isEnabled()


def test_a_name_typed_by_the_user_stays(widget, qtbot) -> None:
    widget.name.selectAll()
    qtbot.keyClicks(widget.name, "tuesday")
    widget.loss.choose("fft")
    assert widget.name.text() == "tuesday"


def test_the_epoch_length_follows_the_kind_of_budget_until_it_is_edited(viewer, qtbot) -> None:
    widget = TrainWidget(viewer)
    qtbot.addWidget(widget)
    assert (widget.form.get("budget"), widget.form.get("steps_per_epoch")) == ("minutes", 100)
    budget = widget.form.editor("budget")
    budget.setCurrentIndex(budget.findData("epochs"))
    assert (widget.form.get("amount"), widget.form.get("steps_per_epoch")) == (100, 400)
    assert widget.form.editor("amount").suffix() == " epochs"
    widget.form.editor("steps_per_epoch").setValue(50)
    budget.setCurrentIndex(budget.findData("steps"))
    assert widget.form.get("steps_per_epoch") == 50
    assert widget.form.editor("amount").suffix() == " steps"


def test_settings_that_do_not_go_together_disable_start(widget) -> None:
    widget.form.editor("patch_size").setValue(17)
    assert "multiple of 4" in widget.run_bar.reason.text()
    assert not widget.run_bar.start_button.isEnabled()


def test_the_curve_takes_the_viewers_theme(widget, viewer) -> None:
    for theme in ("light", "dark"):
        viewer.theme = theme
        shown = widget.curve._plot.backgroundBrush().color().name()
        assert shown == get_theme(theme).background.as_hex()[:7]


def test_nothing_is_written_outside_the_library(widget, model_library: Path, qtbot) -> None:
    press_start(widget, qtbot)
    names = {path.name for path in model_library.iterdir()}
    assert names == {"my-actin-laplace.safetensors", "my-actin-laplace.resume"}
