"""Toy trainings that the tests of the trainer and of resuming share."""

import math

import numpy as np
import torch

from napari_care_losses.core.architecture import Architecture
from napari_care_losses.core.losses import LOSSES
from napari_care_losses.core.patches import Pair
from napari_care_losses.core.training import Trainer, TrainingParameters

ARCHITECTURE = Architecture(kernel_size=3, filters=3, depth=1)
TINY = {"preset": "lite", "patch_size": 16, "batch_size": 2, "validation_patches": 3, "steps_per_epoch": 3}


def make_pairs(count=5, seed=0, size=24):
    rng = np.random.default_rng(seed)
    high = 100 + 50 * rng.random((count, size // 4, size // 4)).repeat(4, 1).repeat(4, 2)
    low = high + rng.normal(0, 20, high.shape)
    return [Pair(low[i], high[i], f"toy[{i}]") for i in range(count)]


def trainer(loss="mae", pairs=None, start_from=None, **settings):
    parameters = TrainingParameters(**{**TINY, "budget": "steps", "amount": 7, **settings})
    return Trainer(pairs or make_pairs(), LOSSES[loss](), parameters, start_from=start_from, device="cpu")


def finished(training):
    for _ in training.run():
        pass
    return training


def weights_of(training):
    now = {"now": dict(training._network.state_dict()), "result": dict(training._result.state_dict())}
    return {**now, "best": training.model().weights, "objective": training._objective.state()}


def assert_equal_runs(first, second):
    for which, weights in weights_of(first).items():
        others = weights_of(second)[which]
        assert weights.keys() == others.keys()
        for name, value in weights.items():
            assert torch.equal(value, others[name]), (which, name)
    assert first.history == second.history


def validating(monkeypatch, losses):
    """Let the validation losses be these, one after the other."""
    values = iter(losses)
    monkeypatch.setattr(Trainer, "_validate", lambda self: next(values))


def broken_loss(monkeypatch, training, step):
    """Let the loss be NaN at `step`."""
    loss = type(training.loss)
    original, calls = loss.__call__, []

    def call(self, prediction, target):
        if prediction.mean.requires_grad:
            calls.append(1)
        return original(self, prediction, target) * (math.nan if len(calls) == step else 1)

    monkeypatch.setattr(loss, "__call__", call)
