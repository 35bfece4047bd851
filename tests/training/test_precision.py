"""Training in bfloat16: what multiplies, what stays in float32, and that it resumes exactly."""

import signal
import sys
from itertools import islice
from pathlib import Path

import pytest
import torch
from fixtures.forked_programs import run_forked
from fixtures.toy_trainings import assert_equal_runs, finished, trainer, weights_of
from safetensors.torch import load_file

from napari_care_losses.compute import precision
from napari_care_losses.errors import InputError, ResumeError
from napari_care_losses.training import trainer as trainers
from napari_care_losses.training.checkpoint import read_stopped
from napari_care_losses.training.parameters import TrainingParameters

pytestmark = pytest.mark.usefixtures("one_torch_thread")

BFLOAT16 = {"precision": "bfloat16", "amount": 4, "steps_per_epoch": 2}


def test_layers_multiply_in_bfloat16_and_all_else_is_float32(monkeypatch):
    seen, of_losses = set(), set()
    training = trainer("laplace", **BFLOAT16)
    network, loss = type(training._learner.network), type(training.loss)
    convolved, call = network._convolved, loss.__call__

    def layer(self, *given):
        made = convolved(self, *given)
        seen.add((made.dtype, self.training))
        return made

    def counted(self, prediction, target):
        of_losses.update((prediction.mean.dtype, prediction.scale.dtype, target.dtype))
        return call(self, prediction, target)

    monkeypatch.setattr(network, "_convolved", layer)
    monkeypatch.setattr(loss, "__call__", counted)
    finished(training)
    # validation judges the model as it will be used
    assert seen == {(torch.bfloat16, True), (torch.float32, False)}
    assert of_losses == {torch.float32}
    state = training._learner.optimizer.state_dict()["state"].values()
    moments = [value for moment in state for name, value in moment.items() if name != "step"]
    assert {value.dtype for value in [*moments, *training.model().weights.values()]} == {torch.float32}


def test_it_learns_nearly_what_float32_learns():
    exact, short = (finished(trainer(**{**BFLOAT16, "precision": name})) for name in ("float32", "bfloat16"))
    assert exact.history[-1].validation_loss == pytest.approx(short.history[-1].validation_loss, rel=0.02)
    weights, others = (weights_of(training)["now"] for training in (exact, short))
    assert not all(torch.equal(weights[name], others[name]) for name in weights)


@pytest.mark.parametrize("loss", ["laplace", "fft", "gan"])
def test_a_run_stopped_and_resumed_is_the_uninterrupted_run(loss, tmp_path):
    settings = {**BFLOAT16, "average_weights": True}
    whole = finished(trainer(loss, **settings))
    stopped = trainer(loss, **settings)
    running = stopped.run()
    list(islice(running, 9))
    running.close()
    stopped.save_state(tmp_path / "state")
    resumed = trainer(loss, **settings)
    resumed.load_state(tmp_path / "state")
    assert 0 < resumed.step < 4
    assert_equal_runs(finished(resumed), whole)


KILLED = """
import os, signal, sys
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from fixtures.toy_trainings import ARCHITECTURE, trainer
from napari_care_losses.models.architecture import PRESETS
PRESETS["lite"] = ARCHITECTURE
training, path = trainer("fft", precision="bfloat16", amount=6, steps_per_epoch=2), Path(sys.argv[1])
if path.exists():
    training.load_state(path)
    for _ in training.run():
        pass
    training.model().save(path.with_suffix(".safetensors"))
else:
    for _ in training.run():
        if training.step == 3:
            training.save_state(path)
        if training.step == 4:
            os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGKILL")
def test_a_killed_run_gives_the_same_weights_bit_for_bit(tmp_path):
    for expected in (-signal.SIGKILL, 0):
        done = run_forked(tmp_path / "model.resume", Path(__file__).parents[1], code=KILLED)
        assert done.returncode == expected, done.stderr
    whole = finished(trainer("fft", precision="bfloat16", amount=6, steps_per_epoch=2)).model().weights
    found = load_file(tmp_path / "model.safetensors")
    assert whole.keys() == found.keys()
    for name, value in whole.items():
        assert torch.equal(value, found[name]), name


@pytest.mark.parametrize(("before", "after"), [("bfloat16", "float32"), ("float32", "bfloat16")])
def test_another_precision_is_another_run(before, after, tmp_path):
    started = trainer(precision=before)
    list(islice(started.run(), 8))
    started.save_state(tmp_path / "state.resume")
    assert read_stopped(tmp_path / "state.resume").parameters.precision == before
    with pytest.raises(ResumeError, match="another precision"):
        trainer(precision=after).load_state(tmp_path / "state.resume")


def test_the_card_says_so_and_cards_of_float32_stay_as_they_were():
    assert finished(trainer(precision="bfloat16", amount=1)).model().card.training["precision"] == "bfloat16"
    assert "precision" not in TrainingParameters().to_dict()
    assert TrainingParameters.from_dict(TrainingParameters(precision="bfloat16").to_dict()).precision == "bfloat16"


def test_a_device_that_lacks_it_is_refused(monkeypatch):
    monkeypatch.setattr(trainers, "why_not", lambda name, device: f"this device does not compute in {name}")
    with pytest.raises(InputError, match="does not compute in bfloat16: choose the precision float32, or another"):
        trainer(precision="bfloat16")


def test_the_names_are_those_of_the_devices():
    choices = TrainingParameters.described()["precision"].choices
    assert choices == (precision.FLOAT32, precision.BFLOAT16)
