"""A training that is stopped and resumed is the uninterrupted one."""

import json
import threading
from itertools import islice

import numpy as np
import pytest
import torch
from fixtures.toy_trainings import (
    assert_equal_runs,
    broken_loss,
    finished,
    make_pairs,
    trainer,
    validating,
    weights_of,
)
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from napari_care_losses.errors import ResumeError, TrainingDivergedError
from napari_care_losses.losses.frequency import Bandpass
from napari_care_losses.training.checkpoint import STATE_HEADER, list_stopped, read_stopped
from napari_care_losses.training.patches import draw_batch
from napari_care_losses.training.progress import Preparing, Step
from napari_care_losses.training.trainer import Trainer


@pytest.mark.parametrize("loss", ["laplace", "fft", "bandpass", "gan"])
@pytest.mark.parametrize(("budget", "amount"), [("steps", 7), ("epochs", 3)])
def test_a_run_stopped_anywhere_and_resumed_is_the_uninterrupted_run(loss, budget, amount, tmp_path):
    whole = trainer(loss, budget=budget, amount=amount)
    reports = list(whole.run())
    first = next(i for i, report in enumerate(reports) if isinstance(report, Step))
    for stop in range(first + 1, len(reports) + 1):
        stopped = trainer(loss, budget=budget, amount=amount)
        running = stopped.run()
        list(islice(running, stop))
        running.close()
        stopped.save_state(tmp_path / "state")
        resumed = trainer(loss, budget=budget, amount=amount)
        resumed.load_state(tmp_path / "state")
        assert resumed.step > 0
        assert resumed.is_finished == (stop == len(reports))
        rest = [report for report in resumed.run() if not isinstance(report, Preparing)]
        assert [type(report) for report in rest] == [type(report) for report in reports[stop:]]
        assert_equal_runs(resumed, whole)


def test_averaged_weights_and_varied_patches_are_resumed_exactly(tmp_path):
    settings = {"average_weights": True, "vary_levels": True, "vary_noise": True}
    whole = finished(trainer("fft", **settings))
    for stop in (7, 9, 10):
        stopped = trainer("fft", **settings)
        running = stopped.run()
        list(islice(running, stop))
        running.close()
        stopped.save_state(tmp_path / "state")
        resumed = trainer("fft", **settings)
        resumed.load_state(tmp_path / "state")
        assert_equal_runs(finished(resumed), whole)
    with pytest.raises(ResumeError, match="average_weights"):
        trainer("fft").load_state(tmp_path / "state")


def test_a_run_closed_and_called_again_continues():
    whole, broken = finished(trainer()), trainer()
    for stop in (9, 2, 1):
        running = broken.run()
        list(islice(running, stop))
        running.close()
    assert_equal_runs(finished(broken), whole)


def drawing_threads():
    return [thread for thread in threading.enumerate() if thread.name.startswith("prefetch")]


@pytest.mark.parametrize("steps", [1, 2, 4])
def test_batches_are_drawn_ahead_but_the_state_is_that_of_the_last_batch_used(steps, tmp_path):
    stopped = trainer(steps_per_epoch=20)
    running = stopped.run()
    prepared = list(islice(running, 6))
    assert all(isinstance(report, Preparing) for report in prepared)
    expected = np.random.default_rng()
    expected.bit_generator.state = stopped._rng.bit_generator.state
    list(islice(running, steps))
    assert len(drawing_threads()) == 1
    for _ in range(steps):
        draw_batch(stopped._sources, stopped.parameters.batch_size, expected)
    states = [stopped._rng.bit_generator.state]
    running.close()
    assert not drawing_threads()
    stopped.model()
    states.append(stopped._rng.bit_generator.state)
    stopped.save_state(tmp_path / "state")
    resumed = trainer(steps_per_epoch=20)
    resumed.load_state(tmp_path / "state")
    states.append(resumed._rng.bit_generator.state)
    assert states == [expected.bit_generator.state] * 3


def test_no_thread_is_left_by_a_run_that_ended_or_failed(monkeypatch):
    finished(trainer(amount=2))
    assert not drawing_threads()
    training = trainer()
    broken_loss(monkeypatch, training, 2)
    with pytest.raises(TrainingDivergedError):
        finished(training)
    assert not drawing_threads()


def test_a_finished_run_continues_with_a_larger_budget(tmp_path):
    finished(trainer(budget="epochs", amount=2)).save_state(tmp_path / "state")
    longer = trainer(budget="epochs", amount=4)
    longer.load_state(tmp_path / "state")
    assert not longer.is_finished
    assert_equal_runs(finished(longer), finished(trainer(budget="epochs", amount=4)))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"loss": "mse"}, "another loss:"),
        ({"pairs": make_pairs(seed=1)}, "other pairs:"),
        ({"pairs": make_pairs(count=4)}, "other pairs:"),
        ({"batch_size": 3}, "another batch_size:"),
        ({"patch_size": 20}, "another patch_size:"),
        ({"learning_rate": 1e-3, "seed": 1}, "another learning_rate, seed:"),
        ({"budget": "epochs"}, "another budget:"),
    ],
)
def test_another_job_is_not_resumed_and_what_differs_is_named(changes, said, tmp_path):
    started = trainer()
    list(islice(started.run(), 8))
    started.save_state(tmp_path / "state")
    other = trainer(**changes)
    before = weights_of(other)["now"]["mean.weight"].clone()
    with pytest.raises(ResumeError, match=said):
        other.load_state(tmp_path / "state")
    assert torch.equal(weights_of(other)["now"]["mean.weight"], before)


def test_other_parameters_of_a_loss_are_another_loss(tmp_path):
    started = trainer("bandpass")
    list(islice(started.run(), 8))
    started.save_state(tmp_path / "state")
    other = Trainer(make_pairs(), Bandpass(sigma_large=4), started.parameters)
    with pytest.raises(ResumeError, match="another loss"):
        other.load_state(tmp_path / "state")


def test_another_starting_model_is_another_run(tmp_path):
    model = finished(trainer(amount=1)).model()
    started = trainer(start_from=model)
    list(islice(started.run(), 8))
    started.save_state(tmp_path / "state")
    with pytest.raises(ResumeError, match="another starting model"):
        trainer().load_state(tmp_path / "state")
    trainer(start_from=model).load_state(tmp_path / "state")


def test_a_damaged_state_is_refused(tmp_path):
    path = tmp_path / "state"
    finished(trainer(amount=1)).save_state(path)
    whole = path.read_bytes()
    tensors = load_file(path)
    damages = {
        "missing": lambda: path.unlink(),
        "empty": lambda: path.write_bytes(b""),
        "cut": lambda: path.write_bytes(whole[:-10]),
        "text": lambda: path.write_text("no state"),
        "no header": lambda: save_file(tensors, path),
        "no JSON": lambda: save_file(tensors, path, metadata={STATE_HEADER: "{"}),
        "no identity": lambda: save_file(tensors, path, metadata={STATE_HEADER: "{}"}),
        "a number": lambda: save_file(tensors, path, metadata={STATE_HEADER: "1"}),
    }
    for damage, apply in damages.items():
        apply()
        with pytest.raises(ResumeError, match="holds no resumable training"):
            trainer(amount=1).load_state(path)
            pytest.fail(damage)


def test_a_resumed_run_knows_the_epochs_without_improvement(monkeypatch, tmp_path):
    settings = {"budget": "epochs", "amount": 16, "steps_per_epoch": 1, "batch_size": 1}
    validating(monkeypatch, [0.5] * 32)
    whole, stopped, resumed = (trainer(**settings) for _ in range(3))
    finished(whole)
    running = stopped.run()
    while len(stopped.history) < 7:
        next(running)
    running.close()
    stopped.save_state(tmp_path / "state")
    resumed.load_state(tmp_path / "state")
    assert_equal_runs(finished(resumed), whole)
    assert whole.history[-1].learning_rate == 2e-4


def stopped_state(path, loss="bandpass", stop=8, **settings):
    training = trainer(loss, **settings)
    running = training.run()
    list(islice(running, stop))
    running.close()
    training.save_state(path)
    return training


def test_a_state_describes_its_training(tmp_path):
    training = stopped_state(tmp_path / "mine.resume", stop=11)
    found = read_stopped(tmp_path / "mine.resume")
    assert found.path == tmp_path / "mine.safetensors"
    assert (found.loss, found.parameters, found.structure) == (training.loss, training.parameters, "other")
    assert found.step == 4
    assert found.fraction == pytest.approx(4 / 7)
    assert found.history == training.history
    assert not found.starts_from_model
    resumed = Trainer(make_pairs(), found.loss, found.parameters, structure=found.structure, device="cpu")
    resumed.load_state(tmp_path / "mine.resume")
    assert_equal_runs(finished(resumed), finished(trainer("bandpass")))


def test_the_stopped_trainings_of_a_folder_are_listed(tmp_path):
    stopped_state(tmp_path / "b.resume")
    stopped_state(tmp_path / "a.resume", "mae", start_from=finished(trainer(amount=1)).model())
    finished(trainer(amount=1)).save_state(tmp_path / "done.resume")
    (tmp_path / "broken.resume").write_text("no state")
    (tmp_path / "other.safetensors").write_text("")
    found = list_stopped(tmp_path)
    assert [stopped.path.stem for stopped in found] == ["a", "b"]
    assert [stopped.starts_from_model for stopped in found] == [True, False]
    assert list_stopped(tmp_path / "none") == []


def test_an_older_state_that_did_not_note_its_budget_is_not_listed(tmp_path):
    stopped_state(tmp_path / "old.resume")
    with safe_open(tmp_path / "old.resume", framework="pt") as file:
        values = json.loads(file.metadata()[STATE_HEADER])
    tensors = load_file(tmp_path / "old.resume")
    del values["amount"]
    save_file(tensors, tmp_path / "old.resume", metadata={STATE_HEADER: json.dumps(values)})
    with pytest.raises(ResumeError, match="amount"):
        read_stopped(tmp_path / "old.resume")
    assert list_stopped(tmp_path) == []
    trainer("bandpass").load_state(tmp_path / "old.resume")
