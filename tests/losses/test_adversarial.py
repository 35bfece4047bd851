"""The adversarial loss: its discriminator, its gradient, and trainings with it."""

import math
from functools import cache

import numpy as np
import pytest
import torch
from fixtures.cli_runs import train
from fixtures.toy_trainings import (
    ARCHITECTURE,
    TINY,
    assert_equal_runs,
    broken_loss,
    finished,
    make_pairs,
    trainer,
    weights_of,
)
from safetensors.torch import load_file
from scipy.ndimage import gaussian_filter

from napari_care_losses.errors import TrainingDivergedError
from napari_care_losses.losses.adversarial import Adversarial
from napari_care_losses.losses.discriminator import Discriminator
from napari_care_losses.losses.frequency import Fourier
from napari_care_losses.models.architecture import PRESETS
from napari_care_losses.models.model import load_model
from napari_care_losses.models.unet import CareNetwork, Prediction
from napari_care_losses.training.pairs import Pair
from napari_care_losses.training.parameters import TrainingParameters
from napari_care_losses.training.trainer import Trainer

CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def tiny_preset(monkeypatch):
    monkeypatch.setitem(PRESETS, "lite", ARCHITECTURE)


def objective(**settings):
    return Adversarial(**{"discriminator_filters": 8, **settings}).objective(device=CPU, seed=0)


def patches(seed=0, count=8, size=32):
    """Return noisy, blurred and true patches (N, 1, Y, X)."""
    rng = np.random.default_rng(seed)
    true = rng.random((count, 1, size // 4, size // 4)).repeat(4, 2).repeat(4, 3)
    blurred = gaussian_filter(true, (0, 0, 1.5, 1.5))
    noisy = true + rng.normal(0, 0.2, true.shape)
    return tuple(torch.as_tensor(images, dtype=torch.float32) for images in (noisy, blurred, true))


def gaussian(images):
    return torch.as_tensor(gaussian_filter(images.numpy(), (0, 0, 1.5, 1.5)))


def copied(tensors):
    return {name: value.clone() for name, value in tensors.items()}


def is_equal(first, second):
    return first.keys() == second.keys() and all(torch.equal(value, second[name]) for name, value in first.items())


def test_the_receptive_field_of_the_discriminator_is_34_pixels(monkeypatch):
    # normalisation looks at the whole patch
    monkeypatch.setattr(torch.nn.InstanceNorm2d, "forward", lambda self, x: x)
    low, image = torch.randn(2, 1, 1, 64, 64)
    image.requires_grad_()
    output = Discriminator(8, torch.Generator())(low, image)
    assert output.shape == (1, 1, 14, 14)
    output[0, 0, 7, 7].backward()
    seen = image.grad[0, 0].ne(0).nonzero()
    assert (seen.amax(0) - seen.amin(0) + 1).tolist() == [34, 34]


def test_the_discriminator_takes_the_smallest_patches():
    assert Discriminator(4, torch.Generator())(*torch.randn(2, 1, 1, 16, 16)).shape == (1, 1, 2, 2)


def test_equal_seeds_give_equal_discriminators():
    first, second, other = (Adversarial().objective(device=CPU, seed=seed).state() for seed in (1, 1, 2))
    assert is_equal(first, second)
    assert not is_equal(first, other)


def skill_of(gan, restored_of, seed=100):
    """Return the mean output for true patches minus that for restored ones, on patches not trained on."""
    low, blurred, true = patches(seed)
    with torch.no_grad():
        return (gan.discriminator(low, true) - gan.discriminator(low, restored_of(blurred, true))).mean().item()


@pytest.mark.parametrize(
    "restored_of",
    [
        pytest.param(lambda blurred, true: blurred, id="blurred"),
        pytest.param(lambda blurred, true: true.roll(1, 0), id="true, but of another place"),
    ],
)
def test_the_discriminator_learns_to_separate_restored_from_true_patches(restored_of):
    """Structure of another noisy patch is recognised too: invented structure is not taken for true."""
    gan = objective(discriminator_rate=2e-3)
    assert abs(skill_of(gan, restored_of)) < 0.1
    for step in range(200):
        low, blurred, true = patches(step)
        gan.update(Prediction(restored_of(blurred, true), None), low, true)
    assert skill_of(gan, restored_of) > 0.4


@cache
def trained_state():
    gan = objective(discriminator_rate=2e-3)
    for step in range(100):
        low, blurred, true = patches(step)
        gan.update(Prediction(blurred, None), low, true)
    return gan.state()


def trained_objective(**settings):
    gan = objective(discriminator_rate=2e-3, **settings)
    gan.load_state(copied(trained_state()))
    return gan


def adversarial_gradient(gan, low, restored, true):
    """Return the adversarial gradient and the gradient of the content loss."""
    with_discriminator, alone = (restored.clone().requires_grad_() for _ in range(2))
    value = gan.backward(Prediction(with_discriminator, None), low, true)
    content = Fourier()(Prediction(alone, None), true)
    content.backward()
    assert value == content.item()
    return with_discriminator.grad - alone.grad, alone.grad


def test_the_adversarial_gradient_is_scaled_by_weight_and_skill_and_raises_the_discriminators_output():
    gan = trained_objective(adversarial_weight=0.25)
    low, blurred, true = patches(100)
    added, gradient = adversarial_gradient(gan, low, blurred, true)
    skill = skill_of(gan, lambda blurred, true: blurred)
    assert 0.1 < skill < 1
    assert added.norm().item() == pytest.approx(0.25 * skill * gradient.norm().item(), rel=1e-4)
    restored = blurred.clone().requires_grad_()
    (gan.discriminator(low, restored) - 1).square().mean().backward()
    cosine = torch.nn.functional.cosine_similarity(added.flatten(), restored.grad.flatten(), dim=0)
    assert cosine.item() == pytest.approx(1, abs=1e-4)


def test_a_discriminator_without_skill_adds_no_gradient():
    gan = trained_objective()
    low, _, true = patches(100)
    # restored and true patches of the training swap their places
    added, gradient = adversarial_gradient(gan, low, true, gaussian(true))
    assert gradient.norm() > 0
    assert added.norm() == 0


def test_the_adversarial_gradient_is_never_larger_than_the_content_gradient():
    """To first order every step lowers the content loss, however large weight and skill are."""
    gan = trained_objective(adversarial_weight=1)
    for parameter in gan.discriminator.layers[-1].parameters():
        parameter.data *= 1000
    added, gradient = adversarial_gradient(gan, *patches(100))
    assert added.norm().item() == pytest.approx(gradient.norm().item(), rel=1e-4)


def test_the_discriminator_changes_in_its_own_step_alone():
    gan, network = objective(), CareNetwork(ARCHITECTURE)
    low, _, true = patches()
    before = copied(gan.state())
    prediction = network(low)
    gan.backward(prediction, low, true)
    assert is_equal(gan.state(), before)
    assert all(parameter.grad is None for parameter in gan.discriminator.parameters())
    given = [parameter.grad.clone() for parameter in network.parameters()]
    assert any(gradient.abs().max() > 0 for gradient in given)
    gan.update(prediction, low, true)
    changed = {name for name, value in gan.state().items() if name in before and not torch.equal(value, before[name])}
    assert changed == before.keys()
    for parameter, gradient in zip(network.parameters(), given, strict=True):
        assert torch.equal(parameter.grad, gradient)


def test_a_state_is_a_copy_and_enough_to_continue_from():
    first, second = objective(), objective()
    low, blurred, true = patches()
    for _ in range(3):
        first.update(Prediction(blurred, None), low, true)
    state = first.state()
    second.load_state(copied(state))
    kept = copied(state)
    for gan in (first, second):
        gan.update(Prediction(blurred, None), low, true)
    assert is_equal(state, kept)
    assert is_equal(first.state(), second.state())


def test_without_weight_the_training_is_that_with_the_fft_loss():
    parameters = TrainingParameters(**TINY, budget="steps", amount=7)
    weightless = finished(Trainer(make_pairs(), Adversarial(adversarial_weight=0), parameters, device="cpu"))
    plain, adversarial = finished(trainer("fft")), finished(trainer("gan"))
    now = weights_of(plain)["now"]
    # Only rounding differs. The gradients at the restored patches are equal bit for bit, but that of the FFT loss alone
    # is the real part of a complex array (stride 2): with one thread, its sum, which is the gradient of the last bias,
    # is added up in another order.
    for name, value in weights_of(weightless)["now"].items():
        torch.testing.assert_close(value, now[name], rtol=0, atol=1e-7)
    assert weightless.history[-1].validation_loss == pytest.approx(plain.history[-1].validation_loss, rel=1e-5)
    assert max((value - now[name]).abs().max() for name, value in weights_of(adversarial)["now"].items()) > 1e-6


def test_validation_does_not_use_the_discriminator():
    training = finished(trainer("gan"))
    before = training._learner.validate(training._validation)
    training._learner.objective.load_state(Adversarial().objective(device=CPU, seed=9).state())
    assert training._learner.validate(training._validation) == before


def test_the_model_holds_the_restoring_network_only(tmp_path):
    training = finished(trainer("gan"))
    training.model().save(tmp_path / "model.safetensors")
    assert load_file(tmp_path / "model.safetensors").keys() == training._learner.network.state_dict().keys()
    card = training.model().card
    assert (card.loss, card.loss_parameters) == ("gan", Adversarial().to_dict())


def test_the_state_file_holds_the_discriminator_and_its_moments(tmp_path):
    training = finished(trainer("gan"))
    training.save_state(tmp_path / "state")
    stored = load_file(tmp_path / "state")
    assert {f"objective.{name}" for name in training._learner.objective.state()} == {
        name for name in stored if name.startswith("objective.")
    }
    assert {f"objective.discriminator.layers.0.{name}" for name in ("weight", "bias")} <= stored.keys()
    assert {f"objective.adam.0.{name}" for name in ("step", "exp_avg", "exp_avg_sq")} <= stored.keys()
    finished(trainer("fft")).save_state(tmp_path / "plain")
    assert not [name for name in load_file(tmp_path / "plain") if name.startswith("objective.")]


def test_a_broken_content_stops_the_training(monkeypatch):
    training = trainer("gan", budget="epochs", amount=3)
    broken_loss(monkeypatch, training, 5)
    with pytest.raises(TrainingDivergedError, match=r"became nan at step 5"):
        finished(training)


@pytest.mark.parametrize("broken", [math.nan, math.inf])
def test_a_broken_discriminator_stops_the_training_and_the_best_weights_stay(broken):
    training = trainer("gan", budget="epochs", amount=3)
    running = training.run()
    while not training.history:
        next(running)
    with torch.no_grad():
        training._learner.objective.discriminator.layers[2].weight[0] = broken
    with pytest.raises(TrainingDivergedError, match=r"became nan at step 4.* The best weights"):
        list(running)
    assert all(value.isfinite().all() for value in training.model().weights.values())


@cache
def trained_to_invert(loss, steps):
    inverted = [Pair(pair.low, 300 - pair.low, pair.name) for pair in make_pairs()]
    settings = {**TINY, "steps_per_epoch": 10, "batch_size": 8, "learning_rate": 0.01}
    parameters = TrainingParameters(**settings, budget="steps", amount=steps)
    return finished(Trainer(inverted, loss, parameters, device="cpu"))


@pytest.mark.parametrize("steps", [100, pytest.param(200, marks=pytest.mark.slow)])
@pytest.mark.parametrize("weight", [0.3, 1.0])
def test_it_does_not_diverge_and_keeps_the_content_close_to_the_plain_loss(weight, steps):
    plain, adversarial = (
        trained_to_invert(loss, steps)
        for loss in (Fourier(), Adversarial(adversarial_weight=weight, discriminator_rate=2e-3))
    )
    assert adversarial.history[-1].validation_loss < 1.5 * plain.history[-1].validation_loss
    assert adversarial.history[-1].validation_loss < 0.5 * adversarial.history[0].validation_loss
    assert all(value.isfinite().all() for value in adversarial._learner.objective.state().values())


def test_a_run_of_averaged_weights_is_resumed_exactly(tmp_path):
    whole = finished(trainer("gan", average_weights=True))
    stopped = trainer("gan", average_weights=True)
    running = stopped.run()
    while not stopped.history:
        next(running)
    running.close()
    stopped.save_state(tmp_path / "state")
    resumed = trainer("gan", average_weights=True)
    resumed.load_state(tmp_path / "state")
    assert_equal_runs(finished(resumed), whole)


def test_the_command_line_has_the_options_of_the_loss(folder):
    given = ["--adversarial-weight", 0.1, "--discriminator-rate", 1e-3, "--discriminator-filters", 4]
    assert train(*given, loss="gan") == 0
    expected = {"adversarial_weight": 0.1, "discriminator_rate": 1e-3, "discriminator_filters": 4}
    assert load_model(folder / "m.safetensors").card.loss_parameters == expected


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs an NVIDIA graphics card")
def test_it_trains_on_a_graphics_card():
    parameters = TrainingParameters(**TINY, budget="steps", amount=4)
    training = finished(Trainer(make_pairs(), Adversarial(), parameters, device="cuda"))
    assert {value.device.type for value in training._learner.objective.state().values()} == {"cpu"}
