"""A training that runs away stops, says when and why, and keeps the best weights before it."""

import numpy as np
import pytest
import torch
from fixtures.toy_trainings import finished, make_pairs, trainer

from napari_care_losses.errors import ComputeError, TrainingDivergedError
from napari_care_losses.models.unet import CareNetwork
from napari_care_losses.training.learner import EXPLODED, Learner, check_loss
from napari_care_losses.training.progress import RunProgress


def exploding(monkeypatch, training, step, value=1e5):
    """Let the loss be multiplied by `value` at `step`."""
    original, calls = type(training.loss).__call__, []

    def call(self, prediction, target):
        calls.append(prediction.mean.requires_grad)
        return original(self, prediction, target) * (value if sum(calls) == step and calls[-1] else 1)

    monkeypatch.setattr(type(training.loss), "__call__", call)


@pytest.mark.parametrize("value", [1e7, -1e7, np.inf, np.nan])
def test_an_exploding_loss_stops_the_training_and_says_when_why_and_what_is_kept(monkeypatch, value):
    reference = finished(trainer(budget="epochs", amount=1))
    training = trainer(budget="epochs", amount=3)
    exploding(monkeypatch, training, 5, value)
    with pytest.raises(TrainingDivergedError) as raised:
        finished(training)
    said = str(raised.value)
    assert "at step 5, in epoch 2, after 0." in said
    assert "lower the learning rate, 0.0004 at that step" in said
    assert f"of validation loss {reference.history[0].validation_loss:.4g}" in said
    assert all(torch.equal(tensor, training._best[name]) for name, tensor in reference._best.items())
    assert training.model().card.training["best_validation_loss"] <= reference.history[0].validation_loss


def test_a_learning_rate_too_high_is_named_as_the_cause():
    with pytest.raises(
        TrainingDivergedError, match=r"lower the learning rate, 1 at that step\. No epoch was completed"
    ):
        finished(trainer("mse", learning_rate=1.0, amount=60, steps_per_epoch=60))


def test_a_broken_image_is_named_as_the_cause():
    pairs = make_pairs(size=48)
    for pair in pairs:
        pair.low[24, 24] = 1e9
    with pytest.raises(TrainingDivergedError, match=r"A low patch of that step .* broken images among the pairs"):
        finished(trainer("mse", pairs, amount=40))
    patches = np.full((1, 1, 4, 4), 0.5, np.float32)
    hot = patches.copy()
    hot[0, 0, 0, 0] = 2e5
    for batch, which in (((hot, patches), "low"), ((patches, hot), "high")):
        with pytest.raises(TrainingDivergedError, match=f"A {which} patch of that step holds a value 200000 times"):
            check_loss(1e6, RunProgress(), 1e-3, batch)


def test_a_usual_loss_passes():
    for value in (0.0, -5.0, EXPLODED / 2):
        check_loss(value, RunProgress(), 1e-3)
    with pytest.raises(TrainingDivergedError, match="The validation loss became 2e"):
        check_loss(2 * EXPLODED, RunProgress(), 1e-3)


@pytest.mark.parametrize("error", [torch.OutOfMemoryError("CUDA out of memory"), MemoryError(), RuntimeError("broken")])
@pytest.mark.parametrize(
    ("part", "method"), [(Learner, "_to_device"), (CareNetwork, "forward"), (torch.optim.Adam, "step")]
)
def test_a_device_that_fails_is_a_compute_error_that_says_what_to_do(monkeypatch, error, part, method):
    def fail(*_):
        raise error

    training = trainer()
    monkeypatch.setattr(part, method, fail)
    with pytest.raises(ComputeError, match="choose a smaller batch or patch"):
        finished(training)


def test_a_validation_that_runs_out_of_memory_is_a_compute_error_too(monkeypatch):
    training, original = trainer(steps_per_epoch=2), Learner._to_device

    def fail(self, batch):
        if torch.is_inference_mode_enabled():
            raise torch.OutOfMemoryError("CUDA out of memory")
        return original(self, batch)

    monkeypatch.setattr(Learner, "_to_device", fail)
    with pytest.raises(ComputeError, match="choose a smaller batch or patch"):
        finished(training)
