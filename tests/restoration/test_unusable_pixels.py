"""Frames with borders, without values, with flashes and hot pixels: what can be restored is."""

import numpy as np
import pytest
from fixtures.random_models import image_of, make_model

from napari_care_losses.images.frames import Frames
from napari_care_losses.images.usable_pixels import hot_pixels, usable_frame
from napari_care_losses.models.architecture import Architecture
from napari_care_losses.models.library import find_model
from napari_care_losses.models.model import load_model
from napari_care_losses.restoration.parameters import RestorationParameters
from napari_care_losses.restoration.restore_stack import restore, restore_frames
from napari_care_losses.simulation.pairs_and_movies import simulate_pair

pytestmark = pytest.mark.usefixtures("one_torch_thread")

SCALED = Architecture(kernel_size=3, filters=2, depth=1, predicts_scale=True)


@pytest.mark.parametrize("engine", ["torch", "openvino"])
@pytest.mark.parametrize("parameters", [{}, {"normalization": "stack"}, {"low_band": "tied"}, {"average_flips": True}])
def test_borders_stay_as_they_are_and_the_inside_is_as_if_cut_out(engine, parameters):
    model = load_model(find_model("fft-lite"))
    whole = simulate_pair("actin", (160, 176), seed=3)[0].astype(np.float32)
    expected = restore(whole, model, RestorationParameters(engine=engine, **parameters), device="cpu")
    error = np.std(expected - whole)
    shifted, y = whole.copy(), np.arange(160)[:, None]
    shifted[:24], shifted[(y + np.arange(176)) > 300] = np.nan, np.nan
    zeroed = np.nan_to_num(shifted, nan=0.0)
    for frame in (shifted, zeroed):
        for tile_size in (None, 96):
            settings = RestorationParameters(engine=engine, tile_size=tile_size, **parameters)
            restored = restore(frame, model, settings, device="cpu")
            outside = np.isnan(shifted)
            np.testing.assert_array_equal(restored[outside], frame[outside])
            assert np.std((restored - expected)[~outside]) < 0.15 * error


def test_tiles_of_a_frame_with_borders_equal_the_whole():
    model, image = load_model(find_model("fft-lite")), image_of((160, 170))
    image[:20], image[:, 150:], image[90, 80:84] = 0, np.nan, np.nan
    whole, tiled = (restore(image, model, RestorationParameters(tile_size=size), device="cpu") for size in (None, 96))
    assert np.array_equal(np.isnan(whole), np.isnan(image))
    np.testing.assert_allclose(tiled, whole, atol=1e-5 * np.nanmax(image))


def test_blank_frames_and_a_flash_are_named_and_the_others_restored_as_without_them():
    movie = image_of((12, 32, 32)).astype(np.float32)
    parameters = RestorationParameters(normalization="stack")
    spoilt = movie.copy()
    spoilt[2], spoilt[5], spoilt[8] = 0, np.nan, 300 * movie[8]
    restored = {}
    for progress in restore_frames(Frames(spoilt), make_model(SCALED), parameters, device="cpu"):
        if progress.frame is not None:
            restored[progress.frame.index] = progress.frame
    assert progress.done == progress.total
    assert "blank: frames 2, 5." in progress.note
    assert "frame 8." in progress.note
    for index in (2, 5):
        np.testing.assert_array_equal(restored[index].image, spoilt[index])
        assert not np.nan_to_num(restored[index].scale).any()
    others = [0, 1, 3, 4, 6, 7, 9, 10, 11]
    expected = restore(movie[others], make_model(SCALED), parameters, device="cpu")
    for place, index in enumerate(others):
        np.testing.assert_allclose(restored[index].image, expected[place], rtol=1e-4, atol=1e-2)


def test_hot_pixels_are_counted_and_replaced_when_asked_for():
    model, noisy = load_model(find_model("fft-lite")), simulate_pair("actin", (128, 128), seed=1)[0]
    is_hot = np.random.default_rng(2).random(noisy.shape) < 0.003
    image = np.where(is_hot, 20 * np.max(noisy), noisy).astype(np.float32)
    expected = restore(noisy, model, device="cpu")
    errors = []
    for replaces in (False, True):
        parameters = RestorationParameters(replace_hot_pixels=replaces)
        (*_, last) = restore_frames(Frames(image), model, parameters, device="cpu")
        errors.append(np.std((last.frame.image - expected)[~is_hot]) / np.std(expected))
        assert ("were replaced" if replaces else "replace hot pixels first") in last.note
    assert errors[1] < 0.1 < 1 < errors[0]
    (*_, last) = restore_frames(Frames(noisy), model, device="cpu")
    assert "ixels" not in last.note


@pytest.mark.parametrize("mean", [0.05, 0.5, 3, 30])
def test_photons_are_no_hot_pixels(mean):
    assert hot_pixels(np.random.default_rng(0).poisson(mean, (512, 512)).astype(np.uint16))[0].size <= 2


@pytest.mark.parametrize("angle", [0.5, 7, 30])
def test_the_border_of_a_rotated_image_is_found(angle):
    y, x = np.mgrid[-50:50, -60:60]
    c, s = np.cos(np.radians(angle)), np.sin(np.radians(angle))
    outside = (np.abs(c * y + s * x) > 48) | (np.abs(c * x - s * y) > 58)
    frame = np.where(outside, 0, np.random.default_rng(0).poisson(2, y.shape)).astype(np.uint16)
    found = usable_frame(frame).outside
    assert (found & outside).sum() > 0.95 * outside.sum()
    assert (found & ~outside).sum() < 0.01 * outside.size


def test_dark_and_noisy_images_have_no_border():
    rng = np.random.default_rng(0)
    for frame in (rng.poisson(0.5, (64, 64)), rng.integers(0, 2, (5, 300)), np.ones((1, 1)), rng.random((2, 2))):
        assert usable_frame(frame).outside is None
