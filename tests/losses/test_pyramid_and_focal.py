import numpy as np
import pytest
import torch

from napari_care_losses.losses import pyramid
from napari_care_losses.losses.focal import FocalFrequency, LogFocalFrequency
from napari_care_losses.losses.pixelwise import Charbonnier
from napari_care_losses.losses.registry import LOSSES
from napari_care_losses.models.unet import Prediction


def images(shape=(3, 1, 24, 21)):
    rng = np.random.default_rng(0)
    return rng.normal(size=shape), rng.normal(size=shape)


def value(loss, mean, target):
    return loss(Prediction(torch.as_tensor(mean), None), torch.as_tensor(target)).item()


@pytest.mark.parametrize("name", ["laplacian-pyramid", "focal-frequency", "log-focal-frequency"])
def test_a_constant_added_raises_the_loss(name):
    _, target = images()
    assert value(LOSSES[name](), target + 0.5, target) > 0.001


@pytest.mark.parametrize("shape", [(1, 1, 16, 16), (1, 1, 33, 64), (1, 1, 1, 3)])
def test_a_constant_is_in_the_coarsest_level_of_the_pyramid_alone(shape):
    levels = list(pyramid._levels(torch.full(shape, 0.7, dtype=torch.float64), 4))
    for band in levels[:-1]:
        torch.testing.assert_close(band, torch.zeros_like(band))
    torch.testing.assert_close(levels[-1], torch.full_like(levels[-1], 0.7))


def test_levels_of_the_pyramid_halve_the_size():
    levels = list(pyramid._levels(torch.zeros(1, 1, 64, 33), 4))
    assert [tuple(level.shape[-2:]) for level in levels] == [(64, 33), (32, 17), (16, 9), (8, 5)]


def test_focal_alpha_zero_is_the_mean_squared_error():
    mean, target = images()
    expected = np.mean((target - mean) ** 2)
    assert value(FocalFrequency(focal_alpha=0), mean, target) == pytest.approx(expected)


def test_a_larger_focal_alpha_leaves_the_worst_frequency_only():
    mean, target = images((1, 1, 8, 8))
    wave = np.cos(2 * np.pi * np.arange(8) / 4)
    spoilt = target + 0.01 * (mean - target) + wave
    losses = [value(FocalFrequency(focal_alpha=alpha), spoilt, target) for alpha in (0, 1, 10)]
    assert losses[0] > losses[1] > losses[2] == pytest.approx(np.mean(wave**2), rel=0.02)


def test_the_log_focal_loss_sees_a_wrong_phase():
    _, target = images()
    assert value(LogFocalFrequency(), -target, target) > 0.1


def test_charbonnier_is_absolute_far_above_and_squared_far_below_epsilon():
    difference, target = np.full((1, 1, 4, 4), 0.1), np.zeros((1, 1, 4, 4))
    assert value(Charbonnier(epsilon=1e-5), difference, target) == pytest.approx(0.1, rel=1e-6)
    squared = value(Charbonnier(epsilon=10), difference, target) - 10
    assert squared == pytest.approx(0.1**2 / 20, rel=1e-3)
