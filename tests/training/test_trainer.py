"""The trainer on toy images: what it reports, where it stops, and what its model is."""

import json
import math
from itertools import islice

import numpy as np
import pytest
import torch
from fixtures.toy_trainings import (
    TINY,
    assert_equal_runs,
    broken_loss,
    finished,
    make_pairs,
    trainer,
    validating,
)

from napari_care_losses.compute import memory as free_memory
from napari_care_losses.errors import ComputeError, InputError, ParameterError, TrainingDivergedError
from napari_care_losses.losses.frequency import Bandpass
from napari_care_losses.losses.registry import LOSSES
from napari_care_losses.models.architecture import PRESETS, Architecture
from napari_care_losses.training.pairs import Pair
from napari_care_losses.training.parameters import TrainingParameters
from napari_care_losses.training.progress import Epoch, Preparing, Step
from napari_care_losses.training.trainer import Trainer


def test_reports_come_in_order():
    reports = list(trainer().run())
    kinds = [type(report).__name__[0] for report in reports]
    assert "".join(kinds) == "P" * 6 + "SSSE" + "SSSE" + "SE"
    preparing = [report for report in reports if isinstance(report, Preparing)]
    assert [report.done for report in preparing] == [0, 1, 2, 3, 4, 5]
    steps = [report for report in reports if isinstance(report, Step)]
    assert [report.step for report in steps] == [1, 2, 3, 4, 5, 6, 7]
    assert [report.fraction for report in steps] == pytest.approx([step / 7 for step in range(1, 8)])
    assert steps[-1].seconds_left == 0
    assert all(report.steps_per_second > 0 for report in steps)
    epochs = [report for report in reports if isinstance(report, Epoch)]
    assert [(report.epoch, report.step) for report in epochs] == [(1, 3), (2, 6), (3, 7)]
    for epoch, part in zip(epochs, (steps[:3], steps[3:6], steps[6:]), strict=True):
        assert epoch.training_loss == pytest.approx(np.mean([step.loss for step in part]))


@pytest.mark.parametrize("loss", LOSSES)
def test_equal_seeds_give_equal_models(loss):
    first, second, other = (finished(trainer(loss, seed=seed)) for seed in (3, 3, 4))
    assert_equal_runs(first, second)
    assert not torch.equal(first._learner.network.mean.weight, other._learner.network.mean.weight)


def test_the_rate_halves_as_keras_halves_it(monkeypatch):
    """ReduceLROnPlateau(factor=0.5, patience=10, min_delta=0) of Keras 2: the 10th epoch in vain halves the next."""
    losses = [1.0, 0.5, *[0.5] * 10, *[0.6] * 9, 0.4999, *[0.5] * 12]
    validating(monkeypatch, losses)
    expected, rate, best, wait = [], 4e-4, math.inf, 0
    for loss in losses:
        expected.append(rate)
        if loss < best:
            best, wait = loss, 0
        else:
            wait += 1
            if wait >= 10:
                rate, wait = rate / 2, 0
    training = finished(trainer(budget="epochs", amount=len(losses), steps_per_epoch=1, batch_size=1))
    assert [epoch.learning_rate for epoch in training.history] == expected
    assert expected[11] == 4e-4
    assert expected[12] == 2e-4
    assert min(expected) == 1e-4


def test_the_rate_falls_along_a_cosine_over_a_budget_in_steps():
    training = finished(trainer(amount=8, steps_per_epoch=1))
    expected = [4e-4 * 0.5 * (1 + math.cos(math.pi * step / 8)) for step in range(8)]
    assert [epoch.learning_rate for epoch in training.history] == pytest.approx(expected)


def test_the_optimizer_has_the_paper_s_settings():
    optimizer = trainer()._learner.optimizer
    assert isinstance(optimizer, torch.optim.Adam)
    assert (optimizer.defaults["lr"], optimizer.defaults["eps"]) == (4e-4, 1e-7)
    assert optimizer.defaults["weight_decay"] == 0


def test_a_budget_in_minutes_ends():
    training = trainer(budget="minutes", amount=2e-3, steps_per_epoch=2)
    reports = list(training.run())
    fractions = [report.fraction for report in reports if isinstance(report, Step)]
    assert training.is_finished
    assert isinstance(reports[-1], Epoch)
    assert fractions == sorted(fractions)
    assert all(0 < fraction < 1 for fraction in fractions[:-1])
    assert training._progress.seconds >= 0.12 - 1e-6


def test_the_best_weights_are_those_of_the_lowest_validation_loss(monkeypatch):
    validating(monkeypatch, [0.9, 0.3, 0.5, 0.4])
    training = trainer(amount=4, steps_per_epoch=1, learning_rate=0.01)
    after = []
    for report in training.run():
        if isinstance(report, Epoch):
            after.append((report.is_best, training._learner.network.mean.weight.clone()))
    assert [is_best for is_best, _ in after] == [True, True, False, False]
    model = training.model()
    assert torch.equal(model.weights["mean.weight"], after[1][1])
    assert not torch.equal(after[1][1], after[3][1])
    assert model.card.training["best_validation_loss"] == 0.3


def test_within_an_epoch_the_model_takes_the_current_weights_if_they_are_better(monkeypatch):
    training = trainer(amount=6)
    list(islice(training.run(), 6 + 2))
    first = training._learner.network.mean.weight.clone()
    monkeypatch.setattr(training._learner, "validate", lambda batches: 0.1)
    model = training.model()
    assert torch.equal(model.weights["mean.weight"], first)
    assert model.card.training["best_validation_loss"] == 0.1


def test_nan_stops_the_training_and_keeps_the_best_weights(monkeypatch):
    reference = finished(trainer(budget="epochs", amount=1))
    training = trainer(budget="epochs", amount=3)
    broken_loss(monkeypatch, training, 5)
    with pytest.raises(
        TrainingDivergedError, match=r"loss became nan at step 5, in epoch 2, after .* The best weights"
    ):
        finished(training)
    assert not training.is_finished
    assert [epoch.step for epoch in training.history] == [3]
    for name, value in training._best.items():
        assert torch.equal(value, reference._best[name])
    assert all(value.isfinite().all() for value in training.model().weights.values())


@pytest.mark.parametrize("broken", [math.nan, math.inf])
def test_a_validation_loss_that_is_no_number_stops_the_training_too(monkeypatch, broken):
    validating(monkeypatch, [0.5, broken, 0.1])
    training = trainer(amount=3, steps_per_epoch=1)
    with pytest.raises(TrainingDivergedError, match=r"validation loss became (nan|inf) at step 2"):
        finished(training)
    assert [epoch.validation_loss for epoch in training.history] == [0.5]


def test_fine_tuning_starts_from_the_model_s_weights():
    model = finished(trainer("mae", amount=3)).model()
    tuned = trainer("mse", start_from=model)
    for name, value in model.weights.items():
        assert torch.equal(tuned._learner.network.state_dict()[name], value)
    done = finished(tuned).model()
    assert done.card.training["started_from"] == model.digest()
    assert not torch.equal(done.weights["mean.weight"], model.weights["mean.weight"])


def test_fine_tuning_changes_heads_with_the_loss():
    laplace = finished(trainer("laplace", amount=2)).model()
    fourier = trainer("fft", start_from=laplace)
    assert not fourier._architecture.predicts_scale
    network = fourier._learner.network.state_dict()
    assert laplace.weights.keys() - network.keys() == {"scale.weight", "scale.bias"}
    assert all(torch.equal(network[name], laplace.weights[name]) for name in network)
    back = trainer("laplace", start_from=finished(fourier).model())
    assert back._architecture == laplace.card.architecture
    assert torch.equal(back._learner.network.mean.weight, fourier.model().weights["mean.weight"])
    assert finished(back).model().network().scale is not None


def test_the_model_started_from_decides_the_network():
    deep = Architecture(kernel_size=3, filters=2, depth=3)
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(PRESETS, "lite", deep)
        model = finished(trainer(amount=1)).model()
    tuned = trainer(start_from=model, amount=1)
    assert finished(tuned).model().card.architecture == deep
    with pytest.raises(InputError, match="multiple of 8, found 20"):
        trainer(start_from=model, patch_size=20)


def test_the_loss_falls_on_a_task_that_can_be_learnt():
    inverted = [Pair(pair.low, 300 - pair.low, pair.name) for pair in make_pairs()]
    training = trainer("mse", inverted, amount=60, steps_per_epoch=10, batch_size=8, learning_rate=0.02)
    losses = [epoch.validation_loss for epoch in finished(training).history]
    assert losses[-1] < 0.3 * losses[0]
    assert training.model().card.training["best_validation_loss"] == min(losses)


def test_the_card_describes_the_training():
    training = Trainer(
        make_pairs(), Bandpass(sigma_large=4), TrainingParameters(**TINY, budget="steps", amount=2), structure="actin"
    )
    card = finished(training).model().card
    assert (card.structure, card.loss, card.preset) == ("actin", "bandpass", "lite")
    assert card.loss_parameters == {"sigma_small": 0.5, "sigma_large": 4}
    assert card.architecture == PRESETS["lite"]
    assert (card.training["steps"], card.training["pairs"], card.training["patch_size"]) == (2, 5, 16)
    assert card.training["names"] == [f"toy[{i}]" for i in range(5)]
    json.dumps(card.training, allow_nan=False)


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"patch_size": 18}, "multiple of 4, found 18"),
        ({"amount": 2.5}, "whole number"),
        ({"preset": "huge"}, "one of care, lite"),
        ({"amount": 0}, "between"),
    ],
)
def test_unusable_settings_are_refused(values, said, monkeypatch):
    monkeypatch.undo()
    with pytest.raises((ParameterError, InputError), match=said):
        TrainingParameters(**values)
    assert TrainingParameters(budget="minutes", amount=2.5).amount == 2.5


def test_the_defaults_are_the_paper_s():
    defaults = TrainingParameters()
    assert (defaults.preset, defaults.budget, defaults.amount, defaults.steps_per_epoch) == ("care", "epochs", 100, 400)
    assert (defaults.patch_size, defaults.batch_size, defaults.learning_rate) == (64, 16, 4e-4)


def test_an_image_too_small_is_refused_before_anything_is_done():
    with pytest.raises(InputError, match="too small for patches of 32 px"):
        trainer(patch_size=32)


@pytest.mark.parametrize("left", [0, 64 << 20])
def test_a_step_that_the_memory_cannot_hold_is_refused_before_it_is_taken(left, monkeypatch):
    """The library crashes where no memory is left for the kernels it makes."""
    training = trainer()
    with monkeypatch.context() as patched:
        patched.setattr(free_memory, "free_memory", lambda: left)
        with pytest.raises(ComputeError, match=rf"Only {left >> 20} MB .* takes about 6\d MB: choose a smaller batch"):
            finished(training)
    assert training.step == 0
    assert finished(training).is_finished
