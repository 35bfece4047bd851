"""Noise that neighbouring pixels share, measured in samples of a stack."""

import numpy as np
import pytest
from fixtures.random_models import Spy
from scipy.ndimage import gaussian_filter

from napari_care_losses.images.frames import Frames
from napari_care_losses.images.noise.shared import WINDOW, measure_frames, measure_images
from napari_care_losses.simulation.pairs_and_movies import STRUCTURES, draw_structure, simulate_pair


def noise_of(shape, sigma, seed=0):
    return gaussian_filter(np.random.default_rng(seed).normal(100, 10, shape), sigma).astype(np.float32)


@pytest.mark.parametrize("name", STRUCTURES)
def test_noise_of_a_camera_is_not_shared(name):
    low, _ = simulate_pair(name, (192, 192), seed=5)
    assert measure_images([low]).strongest < 0.15


def test_noise_that_is_shared_along_one_axis():
    noise = measure_images([noise_of((256, 256), (0, 0.6))])
    assert noise.along_x == pytest.approx(0.45, abs=0.05)
    assert noise.along_y == pytest.approx(0, abs=0.05)
    assert noise.is_alike


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e300])
def test_pixels_without_a_value_do_not_count(value):
    image = noise_of((256, 256), 0.7).astype(np.float64)
    whole = measure_images([image])
    image[[3, 100, 200], [5, 130, 9]] = value
    holed = measure_images([image])
    assert holed.strongest == pytest.approx(whole.strongest, abs=0.05)
    assert holed.share == pytest.approx(whole.share, rel=0.05)
    assert holed.excess == pytest.approx(whole.excess, abs=0.05)


def test_the_share_of_noise_is_relative_to_the_range():
    ramp = np.linspace(0, 1000, 256 * 256).reshape(256, 256)
    noise = measure_images([ramp + np.random.default_rng(0).normal(0, 50, ramp.shape)])
    assert noise.share == pytest.approx(50 / 980, rel=0.1)


def test_structure_that_is_taken_for_noise_is_noticed():
    light = gaussian_filter(draw_structure("membranes", (256, 256), np.random.default_rng(3)), 1.2)
    assert measure_images([light]).excess > 1.5
    assert measure_images([noise_of((256, 256), 0.7)]).excess == pytest.approx(1, abs=0.1)


def test_a_stack_is_measured_in_three_frames():
    stack = Spy(np.stack([noise_of((128, 128), 0.6, seed) for seed in range(9)]))
    assert measure_frames(Frames(stack)).is_alike
    assert stack.read == [0, 4, 8]


def test_frames_with_different_noise_are_noticed():
    stack = np.stack([noise_of((128, 128), sigma) for sigma in (0, 0.4, 0.8)])
    assert not measure_frames(Frames(stack)).is_alike


def test_a_large_frame_is_measured_in_three_windows():
    image = noise_of((1600, 1600), 0)
    # in the window at the middle, noise is shared
    middle = slice(800 - WINDOW // 2, 800 + WINDOW // 2)
    image[middle, middle] = noise_of((WINDOW, WINDOW), 0.8)
    assert not measure_frames(Frames(image)).is_alike


def test_of_very_large_frames_one_is_read():
    class Large(Spy):
        def __getitem__(self, key):
            super().__getitem__(key)
            return noise_of((WINDOW, WINDOW), 0)

    stack = Large(np.broadcast_to(np.float32(0), (5, 3000, 3000)))
    measure_frames(Frames(stack))
    assert stack.read == [2]


@pytest.mark.parametrize("value", [7, np.nan])
def test_what_has_no_noise_is_not_measured(value):
    blank = np.full((3, 128, 128), value, np.float32)
    assert measure_frames(Frames(blank)) is None
    blank[1] = noise_of((128, 128), 0.6)
    assert measure_frames(Frames(blank)).strongest > 0.3


def test_small_frames_are_not_measured():
    stack = Spy(np.stack([noise_of((127, 300), 0.6)] * 3))
    assert measure_frames(Frames(stack)) is None
    assert stack.read == []


def test_frames_that_cannot_be_read_are_left_out():
    class Broken(Spy):
        def __getitem__(self, key):
            if key[0] == 2:
                raise OSError("gone")
            return super().__getitem__(key)

    assert measure_frames(Frames(Broken(np.stack([noise_of((128, 128), 0)] * 3)))) is not None
