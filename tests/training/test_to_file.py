"""Trainings from pairs to a model file: stopped and resumed, refused, failed."""

import math
import os
from itertools import islice

import pytest
import torch
from fixtures import toy_trainings
from fixtures.cli_runs import names

from napari_care_losses.errors import (
    ComputeError,
    InputError,
    OutputError,
    ResumeError,
    TrainingDivergedError,
)
from napari_care_losses.models.architecture import PRESETS
from napari_care_losses.models.model import load_model
from napari_care_losses.training.checkpoint import state_path
from napari_care_losses.training.progress import Epoch, Step
from napari_care_losses.training.to_file import holds_weights_after, train_to_file
from napari_care_losses.training.trainer import Trainer


def trainer(loss="mae", **settings):
    values = {"amount": 5, "steps_per_epoch": 2, "validation_patches": 2, **settings}
    return toy_trainings.trainer(loss, toy_trainings.make_pairs(3, size=20), **values)


def fail_at(patch, number, error):
    """Let the training step of this number, counted from 1, fail."""
    step, steps = Trainer._step, []

    def failing(self):
        steps.append(1)
        if len(steps) == number:
            raise error
        return step(self)

    patch.setattr(Trainer, "_step", failing)


class TestTraining:
    def train(self, path, training=None, **options):
        training = training or trainer()
        return list(train_to_file(training, path, **options)), training

    def test_the_file_is_the_best_model(self, tmp_path):
        path = tmp_path / "m.safetensors"
        reports, training = self.train(path)
        assert isinstance(reports[-1], Epoch)
        assert load_model(path).digest() == training.model().digest()
        assert names(tmp_path) == ["m.resume", "m.safetensors"]

    @pytest.mark.parametrize("stop", range(1, 13))
    def test_stopped_anywhere_and_resumed_it_is_the_uninterrupted_run(self, tmp_path, stop):
        _, whole = self.train(tmp_path / "whole.safetensors")
        path = tmp_path / "m.safetensors"
        path.write_text("an older model")
        stopped = trainer()
        running = train_to_file(stopped, path)
        taken = list(islice(running, stop))
        running.close()
        assert state_path(path).exists() == (stopped.step > 0)
        assert stopped.is_finished == (stop == 12)
        if stopped.history:
            assert load_model(path).digest() == stopped.model().digest()
        else:
            assert path.read_text() == "an older model"
            assert not holds_weights_after(path, stopped.step)
        rest, resumed = self.train(path, resume=True)
        kept = [report for report in taken if isinstance(report, Epoch)]
        assert [*kept, *(report for report in rest if isinstance(report, Epoch))] == whole.history
        assert resumed.history == whole.history
        weights = load_model(path).weights
        assert all(torch.equal(value, whole.model().weights[name]) for name, value in weights.items())

    @pytest.mark.parametrize("averages", [False, True])
    def test_stopped_within_the_first_epoch_the_model_is_the_weights_so_far(self, tmp_path, averages):
        settings = {"steps_per_epoch": 4, "amount": 6, "average_weights": averages}
        _, whole = self.train(tmp_path / "whole.safetensors", trainer(**settings))
        path = tmp_path / "m.safetensors"
        digests = set()
        for step in (1, 3, 4):
            stopped = trainer(**settings)
            running = train_to_file(stopped, path, resume=True)
            for report in running:
                if isinstance(report, Step) and report.step == step:
                    break
            running.close()
            model = load_model(path)
            assert model.card.training["steps"] == step
            assert holds_weights_after(path, step)
            for name, value in stopped._learner.result.state_dict().items():
                assert torch.equal(model.weights[name], value)
            digests.add(model.digest())
        assert len(digests) == 3
        _, resumed = self.train(path, trainer(**settings), resume=True)
        assert resumed.history == whole.history
        assert load_model(path).digest() == whole.model().digest()

    def test_stopped_within_the_first_epoch_twice_an_older_model_stays(self, tmp_path):
        path = tmp_path / "m.safetensors"
        self.train(path, trainer("mse"))
        older = path.read_bytes()
        for resume in (False, True):
            running = train_to_file(trainer(steps_per_epoch=5), path, resume=resume)
            next(report for report in running if isinstance(report, Step))
            running.close()
            assert path.read_bytes() == older

    def test_weights_whose_loss_is_no_number_are_no_model(self, tmp_path, monkeypatch):
        toy_trainings.validating(monkeypatch, [math.nan])
        running = train_to_file(trainer(), tmp_path / "m.safetensors")
        next(report for report in running if isinstance(report, Step))
        running.close()
        assert names(tmp_path) == ["m.resume"]

    def test_a_finished_run_resumed_returns_at_once(self, tmp_path):
        path = tmp_path / "m.safetensors"
        self.train(path)
        os.utime(path, ns=(1, 1))
        reports, training = self.train(path, resume=True)
        assert reports == []
        assert training.is_finished
        assert path.stat().st_mtime_ns == 1

    def test_a_lost_model_of_a_finished_run_is_written_again(self, tmp_path):
        path = tmp_path / "m.safetensors"
        self.train(path)
        digest = load_model(path).digest()
        path.unlink()
        assert self.train(path, resume=True)[0] == []
        assert load_model(path).digest() == digest

    def test_a_larger_budget_continues(self, tmp_path):
        path = tmp_path / "m.safetensors"
        self.train(path, trainer(budget="epochs", amount=1))
        _, longer = self.train(path, trainer(budget="epochs", amount=3), resume=True)
        assert [epoch.step for epoch in longer.history] == [2, 4, 6]
        assert load_model(path).card.training["steps"] == 6

    def test_without_resume_it_starts_afresh(self, tmp_path):
        path = tmp_path / "m.safetensors"
        running = train_to_file(trainer(), path)
        list(islice(running, 7))
        running.close()
        reports, again = self.train(path)
        assert [report.step for report in reports if isinstance(report, Epoch)] == [2, 4, 5]
        assert [epoch.step for epoch in again.history] == [2, 4, 5]

    def test_another_training_is_not_resumed(self, tmp_path):
        path = tmp_path / "m.safetensors"
        self.train(path)
        digest = load_model(path).digest()
        with pytest.raises(ResumeError, match="another loss"):
            self.train(path, trainer("mse"), resume=True)
        assert load_model(path).digest() == digest

    def test_a_missing_folder_is_refused_before_the_first_step(self, tmp_path):
        training = trainer()
        with pytest.raises(InputError, match="none does not exist"):
            self.train(tmp_path / "none" / "m.safetensors", training)
        assert training.step == 0

    def test_a_disk_that_fills_up_keeps_the_state_and_says_so(self, tmp_path, monkeypatch):
        path, saves = tmp_path / "m.safetensors", []
        save = Trainer.save_state

        def fail(self, file):
            saves.append(1)
            if len(saves) == 2:
                raise OutputError(f"{file} cannot be written: No space left on device.")
            save(self, file)

        monkeypatch.setattr(Trainer, "save_state", fail)
        with pytest.raises(OutputError, match=r"No space left .*m\.resume holds all but the last epoch"):
            self.train(path)
        monkeypatch.undo()
        monkeypatch.setitem(PRESETS, "lite", toy_trainings.ARCHITECTURE)
        reports, _ = self.train(path, resume=True)
        assert [report.step for report in reports if isinstance(report, Epoch)] == [4, 5]

    @pytest.mark.parametrize("error", [TrainingDivergedError("nan"), ComputeError("lost"), KeyboardInterrupt()])
    def test_a_step_that_fails_keeps_the_best_model_and_the_state_of_the_last_epoch(self, tmp_path, monkeypatch, error):
        _, whole = self.train(tmp_path / "whole.safetensors")
        path, training = tmp_path / "m.safetensors", trainer()
        path.write_text("an older model")
        with monkeypatch.context() as patch, pytest.raises(type(error)):
            fail_at(patch, 4, error)
            self.train(path, training)
        assert load_model(path).digest() == training.model(with_started_epoch=False).digest()
        _, again = self.train(path, resume=True)
        assert again.history == whole.history
        assert load_model(path).digest() == whole.model().digest()

    @pytest.mark.parametrize("error", [TrainingDivergedError("nan"), ComputeError("lost"), KeyboardInterrupt()])
    @pytest.mark.parametrize("older", [True, False])
    def test_a_failure_in_the_first_epoch_makes_no_model(self, tmp_path, monkeypatch, error, older):
        fail_at(monkeypatch, 2, error)
        path = tmp_path / "m.safetensors"
        if older:
            path.write_text("an older model")
        with pytest.raises(type(error)):
            self.train(path)
        assert names(tmp_path) == ["m.safetensors"] * older
        assert not older or path.read_text() == "an older model"
