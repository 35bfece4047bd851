"""Several trainings one after the other; stop, resume and discard."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from fixtures.random_models import make_model
from fixtures.train_widget import held_after, is_stepping, press_start, stop

from napari_care_losses.models.library import list_models
from napari_care_losses.models.model import load_model
from napari_care_losses.training.checkpoint import state_path
from napari_care_losses.training.trainer import Trainer
from napari_care_losses.widgets.train.queue.queue import State
from napari_care_losses.widgets.train.widget import TrainWidget

if TYPE_CHECKING:
    from pathlib import Path

    from pytestqt.qtbot import QtBot

FILES = {"my-laplace.safetensors", "my-laplace.resume"}
"""What a stopped training leaves at least; the log is there after an epoch."""


SHORT, HELD = 14, 8
"""Steps of a training that is stopped in its middle and resumed, and after how many of them it waits for that."""


def states(widget: TrainWidget) -> dict[str, str]:
    """Return what the list shows: the state of every training by its name."""
    table = widget.trainings.table
    return {table.item(row, 0).text(): table.item(row, 2).text() for row in range(table.rowCount())}


def stopped_midway(widget: TrainWidget, qtbot: QtBot) -> None:
    widget.form.set_values({"amount": 1e6})
    press_start(widget, qtbot, until=lambda: is_stepping(widget))
    stop(widget, qtbot)


def stopped_short_of_the_end(widget: TrainWidget, qtbot: QtBot) -> None:
    widget.form.set_values({"amount": SHORT})
    with held_after(HELD):
        press_start(widget, qtbot, until=lambda: is_stepping(widget))
        widget.run_bar.stop_button.click()
    qtbot.waitUntil(lambda: not widget.is_running, timeout=180_000)


def test_queued_losses_are_trained_one_after_the_other(widget, qtbot) -> None:
    assert not widget.trainings.isVisibleTo(widget)
    for loss in ("mae", "mse"):
        widget.loss.combo.value = loss
        widget.queue_button.click()
    widget.loss.combo.value = "fft"
    widget.queue_button.click()
    assert states(widget) == {"my-mae": "waiting", "my-mse": "waiting", "my-fft": "waiting"}
    assert widget.run_bar.start_button.text() == "Start queue (3)"
    widget.trainings.select(widget.queue.entries[1])
    assert widget.trainings.discard_button.text() == "Remove"
    widget.trainings.discard_button.click()
    assert widget.run_bar.start_button.text() == "Start queue (2)"
    order = []
    widget.queue.began.connect(lambda entry: order.append(entry.name))
    press_start(widget, qtbot, until=lambda: not widget.is_running and not widget.queue.waiting)
    assert order == ["my-mae", "my-fft"]
    assert states(widget) == {"my-mae": "done", "my-fft": "done"}
    assert {entry.name: entry.card.loss for entry in list_models()} == {"my-mae": "mae", "my-fft": "fft"}
    assert widget.run_bar.start_button.text() == "Start training"


def test_a_training_queued_while_another_runs_follows_it(widget, qtbot) -> None:
    widget.form.set_values({"amount": 60})
    press_start(widget, qtbot, until=lambda: is_stepping(widget))
    assert widget.name.value == "my-laplace-2"
    assert not widget.run_bar.start_button.isEnabled()
    widget.form.set_values({"amount": 6})
    widget.loss.combo.value = "mae"
    widget.queue_button.click()
    assert "my-laplace (" in widget.view.title.text(), "the running one stays in view"
    qtbot.waitUntil(lambda: not widget.is_running and not widget.queue.waiting, timeout=180_000)
    assert {entry.card.training["steps"] for entry in list_models()} == {60, 6}


def test_a_name_in_the_queue_is_taken(widget, qtbot) -> None:
    widget.queue_button.click()
    widget.name.value = "my-laplace"
    assert "in the list already" in widget.run_bar.reason.text()
    assert not widget.queue_button.isEnabled()
    assert widget.run_bar.start_button.isEnabled(), "the queue can start"


def test_a_failed_training_does_not_hold_up_the_next(widget, monkeypatch, qtbot) -> None:
    step, calls = Trainer._step, []

    def failing(self, *batch):
        calls.append(1)
        if self.loss.name == "mae":
            raise ValueError("broken")
        return step(self, *batch)

    monkeypatch.setattr(Trainer, "_step", failing)
    monkeypatch.setattr(
        "napari_care_losses.widgets.background.worker.notification_manager.receive_error", lambda *_: None
    )
    for loss in ("mae", "mse"):
        widget.loss.combo.value = loss
        widget.queue_button.click()
    press_start(widget, qtbot, until=lambda: not widget.is_running and not widget.queue.waiting)
    assert states(widget) == {"my-mae": "failed", "my-mse": "done"}
    assert "broken" in widget.trainings.table.item(0, 2).toolTip()


def test_stop_holds_the_waiting_ones(widget, qtbot) -> None:
    widget.form.set_values({"amount": 1e6})
    widget.queue_button.click()
    widget.form.set_values({"amount": 6})
    widget.queue_button.click()
    press_start(widget, qtbot, until=lambda: is_stepping(widget))
    stop(widget, qtbot)
    assert [entry.state for entry in widget.queue.entries] == [State.STOPPED, State.WAITING]
    assert widget.run_bar.start_button.text() == "Start queue (1)"
    press_start(widget, qtbot)
    assert [entry.state for entry in widget.queue.entries] == [State.STOPPED, State.DONE]


def test_a_stopped_training_resumed_is_the_uninterrupted_one(widget, viewer, layers, qtbot) -> None:
    stopped_short_of_the_end(widget, qtbot)
    (entry,) = widget.queue.entries
    before = entry.step
    assert 0 < before < SHORT
    assert f"Stopped after {before:,} steps" in widget.run_bar.status.text()
    assert states(widget)["my-laplace"].startswith("stopped")
    assert "Resume continues it" in widget.run_bar.status.text()
    widget.trainings.resume_button.click()
    qtbot.waitUntil(lambda: not widget.is_running, timeout=180_000)
    assert states(widget) == {"my-laplace": "done"}
    # those taken while Stop was pressed were not shown
    assert [step.step for step in entry.steps][-(SHORT - before) :] == list(range(before + 1, SHORT + 1))
    assert len(entry.steps) <= SHORT
    assert [epoch.epoch for epoch in entry.epochs] == list(range(1, 6))
    widget.name.value = "whole"
    press_start(widget, qtbot)
    resumed, whole = (load_model(model.path) for model in list_models())
    assert all(bool((resumed.weights[name] == value).all()) for name, value in whole.weights.items())


def test_a_stopped_training_is_offered_after_reopening(widget, viewer, layers, qtbot) -> None:
    widget.loss.combo.value = "bandpass"
    widget.loss.form.editors["sigma_large"].native.setValue(4)
    stopped_short_of_the_end(widget, qtbot)
    reached = widget.queue.entries[0].step
    again = TrainWidget(viewer)
    qtbot.addWidget(again)
    (entry,) = again.queue.entries
    assert (entry.name, entry.state, entry.loss) == ("my-bandpass", State.STOPPED, "bandpass")
    assert not again.trainings.resume_button.isEnabled()
    assert "Choose a low" in again.trainings.resume_button.toolTip()
    again.pairs.rows[0].choose(*layers)
    again.trainings.resume_button.click()
    qtbot.waitUntil(lambda: not again.is_running, timeout=180_000)
    (model,) = list_models()
    assert model.card.training["steps"] == SHORT
    assert model.card.loss_parameters["sigma_large"] == 4
    assert entry.steps[0].step == reached + 1
    assert [epoch.epoch for epoch in entry.epochs] == list(range(1, 6))


def test_other_pairs_than_those_it_was_started_with_are_explained(widget, viewer, layers, stack, qtbot) -> None:
    stopped_midway(widget, qtbot)
    again = TrainWidget(viewer)
    qtbot.addWidget(again)
    again.pairs.rows[0].choose(viewer.add_image(stack + 7), layers[1])
    again.trainings.resume_button.click()
    qtbot.waitUntil(lambda: not again.is_running, timeout=30_000)
    assert "other pairs: give the same" in again.run_bar.status.text()
    assert again.queue.entries[0].state is State.STOPPED
    assert again.trainings.resume_button.isEnabled(), "with other pairs it may work"
    assert state_path(list_models()[0].path).is_file()


def test_a_stopped_fine_tuning_needs_its_model(widget, viewer, layers, add_model, qtbot) -> None:
    add_model("origin")
    widget.start_from.reload()
    widget.start_from.choose("origin")
    widget.loss.combo.value = "mae"
    stopped_short_of_the_end(widget, qtbot)
    again = TrainWidget(viewer)
    qtbot.addWidget(again)
    again.pairs.rows[0].choose(*layers)
    assert "choose the same one under Start" in again.trainings.resume_button.toolTip()
    assert not again.trainings.resume_button.isEnabled()
    again.start_from.choose("origin")
    assert again.trainings.resume_button.isEnabled()
    again.trainings.resume_button.click()
    qtbot.waitUntil(lambda: not again.is_running, timeout=180_000)
    assert again.queue.entries[0].state is State.DONE


def test_discard_deletes_after_a_second_click(widget, model_library: Path, qtbot) -> None:
    stopped_midway(widget, qtbot)
    button = widget.trainings.discard_button
    assert button.text() == "Discard"
    button.click()
    assert button.text() == "Click again to delete"
    assert FILES <= {path.name for path in model_library.iterdir()}
    button.click()
    assert list(model_library.iterdir()) == []
    assert widget.queue.entries == []
    assert not widget.trainings.isVisibleTo(widget)
    assert not widget.view.isVisibleTo(widget)


def test_discard_deletes_the_events_of_tensorboard_but_no_others(widget, model_library: Path, qtbot) -> None:
    pytest.importorskip("tensorboard")
    widget.settings.log.set_values({"tensorboard": True})
    stopped_midway(widget, qtbot)
    events = model_library / "tensorboard" / "my-laplace"
    assert list(events.glob("events.out.tfevents.*"))
    notes, other = events / "notes.txt", events.with_name("other") / "events.out.tfevents.1.here.1.0"
    other.parent.mkdir()
    for path in (notes, other):
        path.write_text("mine", encoding="utf-8")
    widget.trainings.discard_button.click()
    widget.trainings.discard_button.click()
    assert {path for path in model_library.rglob("*") if path.is_file()} == {notes, other}


@pytest.mark.parametrize("again", [False, True])
def test_discard_leaves_no_folder_of_tensorboard(again, widget, viewer, layers, model_library: Path, qtbot) -> None:
    pytest.importorskip("tensorboard")
    widget.settings.log.set_values({"tensorboard": True})
    stopped_midway(widget, qtbot)
    if again:
        widget = TrainWidget(viewer)
        qtbot.addWidget(widget)
    widget.trainings.select(widget.queue.entries[0])
    widget.trainings.discard_button.click()
    widget.trainings.discard_button.click()
    assert list(model_library.iterdir()) == []


def test_a_training_that_could_not_begin_has_no_files_to_discard(widget, model_library: Path, notified, qtbot) -> None:
    widget.queue_button.click()
    # another viewer has trained it meanwhile
    made = make_model(loss="mae")
    made.save(model_library / "my-laplace.safetensors")
    press_start(widget, qtbot)
    assert states(widget) == {"my-laplace": "failed"}
    assert widget.trainings.discard_button.text() == "Remove"
    widget.trainings.discard_button.click()
    assert [entry.name for entry in list_models()] == ["my-laplace"]


def test_a_first_click_on_discard_is_forgotten_after_a_while(widget, model_library: Path, qtbot) -> None:
    stopped_midway(widget, qtbot)
    widget.trainings.confirmation.setInterval(50)
    widget.trainings.discard_button.click()
    qtbot.waitUntil(lambda: widget.trainings.discard_button.text() == "Discard")
    widget.trainings.discard_button.click()
    assert FILES <= {path.name for path in model_library.iterdir()}


def test_a_finished_training_taken_off_the_list_stays_in_the_library(widget, qtbot) -> None:
    press_start(widget, qtbot)
    assert not widget.trainings.resume_button.isEnabled()
    assert widget.trainings.discard_button.text() == "Remove"
    widget.trainings.discard_button.click()
    assert widget.queue.entries == []
    assert len(list_models()) == 1


def test_the_curve_of_a_selected_training_is_shown(widget, qtbot) -> None:
    press_start(widget, qtbot)
    widget.loss.combo.value = "mae"
    widget.form.set_values({"amount": 3})
    press_start(widget, qtbot)
    assert len(widget.view.curve.raw.getData()[0]) == 3
    widget.trainings.table.setCurrentCell(0, 0)
    assert len(widget.view.curve.raw.getData()[0]) == 6
    assert "my-laplace" in widget.view.title.text()


def test_a_dock_closed_with_trainings_waiting_starts_none_of_them(docked_widget, qtbot) -> None:
    viewer, widget = docked_widget
    for _ in range(2):
        widget.queue_button.click()
    press_start(widget, qtbot, until=lambda: is_stepping(widget))
    viewer.window.remove_dock_widget(widget)
    qtbot.waitUntil(lambda: len(list_models()) == 1, timeout=180_000)
    qtbot.wait(200)
    assert len(list_models()) == 1
