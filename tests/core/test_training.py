"""The trainer on toy images: what it reports, where it stops, and that a resumed run is the uninterrupted one."""

import json
import math
import threading
from itertools import islice

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from napari_care_losses.core.architecture import PRESETS, Architecture
from napari_care_losses.core.errors import InputError, ParameterError, ResumeError, TrainingDivergedError
from napari_care_losses.core.losses import LOSSES, Bandpass
from napari_care_losses.core.patches import Pair, draw_batch
from napari_care_losses.core.training import STATE_HEADER, Epoch, Preparing, Step, Trainer, TrainingParameters

TINY = {"preset": "lite", "patch_size": 16, "batch_size": 2, "validation_patches": 3, "steps_per_epoch": 3}


@pytest.fixture(autouse=True)
def tiny_preset(monkeypatch):
    monkeypatch.setitem(PRESETS, "lite", Architecture(kernel_size=3, filters=3, depth=1))


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
    return {"now": dict(training._network.state_dict()), "best": training.model().weights}


def assert_equal_runs(first, second):
    for which, weights in weights_of(first).items():
        others = weights_of(second)[which]
        assert weights.keys() == others.keys()
        for name, value in weights.items():
            assert torch.equal(value, others[name]), (which, name)
    assert first.history == second.history


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
    assert not torch.equal(first._network.mean.weight, other._network.mean.weight)


@pytest.mark.parametrize("loss", ["laplace", "fft", "bandpass"])
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
        assert resumed.has_started
        assert resumed.is_finished == (stop == len(reports))
        rest = [report for report in resumed.run() if not isinstance(report, Preparing)]
        assert [type(report) for report in rest] == [type(report) for report in reports[stop:]]
        assert_equal_runs(resumed, whole)


def test_a_run_closed_and_called_again_goes_on():
    whole, broken = finished(trainer()), trainer()
    for stop in (9, 2, 1):
        running = broken.run()
        list(islice(running, stop))
        running.close()
    assert_equal_runs(finished(broken), whole)


def drawing_threads():
    return [thread for thread in threading.enumerate() if thread.name.startswith("ahead")]


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


def test_a_finished_run_goes_on_with_a_larger_budget(tmp_path):
    finished(trainer(budget="epochs", amount=2)).save_state(tmp_path / "state")
    longer = trainer(budget="epochs", amount=4)
    longer.load_state(tmp_path / "state")
    assert not longer.is_finished
    assert_equal_runs(finished(longer), finished(trainer(budget="epochs", amount=4)))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"loss": "mse"}, "another loss:"),
        ({"pairs": make_pairs(seed=1)}, "another pairs:"),
        ({"pairs": make_pairs(count=4)}, "another pairs:"),
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


def validating(monkeypatch, losses):
    """Let the validation losses be these, one after the other."""
    values = iter(losses)
    monkeypatch.setattr(Trainer, "_validate", lambda self: next(values))


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


def test_a_resumed_run_remembers_how_long_it_has_waited(monkeypatch, tmp_path):
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


def test_the_rate_falls_along_a_cosine_over_a_budget_in_steps():
    training = finished(trainer(amount=8, steps_per_epoch=1))
    expected = [4e-4 * 0.5 * (1 + math.cos(math.pi * step / 8)) for step in range(8)]
    assert [epoch.learning_rate for epoch in training.history] == pytest.approx(expected)


def test_the_optimiser_is_the_paper_s():
    optimizer = trainer()._optimizer
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
            after.append((report.is_best, training._network.mean.weight.clone()))
    assert [is_best for is_best, _ in after] == [True, True, False, False]
    model = training.model()
    assert torch.equal(model.weights["mean.weight"], after[1][1])
    assert not torch.equal(after[1][1], after[3][1])
    assert model.card.training["best_validation_loss"] == 0.3


def test_a_model_taken_within_an_epoch_may_be_the_current_one(monkeypatch):
    training = trainer(amount=6)
    list(islice(training.run(), 6 + 2))
    first = training._network.mean.weight.clone()
    monkeypatch.setattr(training, "_validate", lambda: 0.1)
    model = training.model()
    assert torch.equal(model.weights["mean.weight"], first)
    assert model.card.training["best_validation_loss"] == 0.1


def broken_loss(monkeypatch, training, step):
    """Let the loss be NaN at `step`."""
    loss = type(training.loss)
    original, calls = loss.__call__, []

    def call(self, prediction, target):
        if prediction.mean.requires_grad:
            calls.append(1)
        return original(self, prediction, target) * (math.nan if len(calls) == step else 1)

    monkeypatch.setattr(loss, "__call__", call)


def test_nan_stops_the_training_and_keeps_the_best_weights(monkeypatch):
    reference = finished(trainer(budget="epochs", amount=1))
    training = trainer(budget="epochs", amount=3)
    broken_loss(monkeypatch, training, 5)
    with pytest.raises(TrainingDivergedError, match=r"became nan at step 5; the best weights"):
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
        assert torch.equal(tuned._network.state_dict()[name], value)
    done = finished(tuned).model()
    assert done.card.training["started_from"] == model.digest()
    assert not torch.equal(done.weights["mean.weight"], model.weights["mean.weight"])


def test_fine_tuning_changes_heads_with_the_loss():
    laplace = finished(trainer("laplace", amount=2)).model()
    fourier = trainer("fft", start_from=laplace)
    assert not fourier._architecture.predicts_scale
    network = fourier._network.state_dict()
    assert laplace.weights.keys() - network.keys() == {"scale.weight", "scale.bias"}
    assert all(torch.equal(network[name], laplace.weights[name]) for name in network)
    back = trainer("laplace", start_from=finished(fourier).model())
    assert back._architecture == laplace.card.architecture
    assert torch.equal(back._network.mean.weight, fourier.model().weights["mean.weight"])
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


def test_the_card_tells_the_training():
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


def test_an_image_too_small_is_refused_before_the_first_step():
    with pytest.raises(InputError, match="too small for patches of 32 px"):
        finished(trainer(patch_size=32))
