"""Frames with borders, without values, with flashes and hot pixels: what can be restored is."""

import re

import numpy as np
import pytest
from fixtures.random_models import image_of, make_model
from tifffile import imread

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


@pytest.mark.parametrize("diameter", [8, 30])
@pytest.mark.parametrize("mode", ["frame", "stack"])
def test_saturated_dust_does_not_set_the_range(diameter, mode):
    model, noisy = load_model(find_model("fft-lite")), simulate_pair("actin", (128, 128), seed=1)[0]
    y, x = np.mgrid[:128, :128]
    dust = np.hypot(y - 40, x - 80)
    is_dust = dust < diameter / 2
    dusty = np.where(is_dust, 65_535, noisy)
    parameters = RestorationParameters(normalization=mode)
    (*_, last) = restore_frames(Frames(dusty), model, parameters, device="cpu")
    expected = restore(noisy, model, parameters, device="cpu")
    far = dust > diameter / 2 + 30
    assert np.std((last.frame.image - expected)[far]) < 0.05 * np.std(expected)
    # restored like the rest, not taken out
    assert last.frame.image[is_dust].mean() > 10 * expected.max()
    share = float(re.search(r"up to ([\d.]+) % of a frame's pixels, do not count", last.note)[1]) / 100
    assert is_dust.mean() < share < is_dust.mean() + np.pi * (diameter + 10) * 5 / is_dust.size


@pytest.mark.parametrize("structure", ["nuclei", "vesicles", "beads", "actin", "tissue"])
def test_what_is_bright_in_the_sample_is_no_debris(structure):
    for image in simulate_pair(structure, (192, 192), seed=2):
        for top in (97, 99, 99.7, 99.9, 100):
            assert usable_frame(np.minimum(image, np.percentile(image, top))).debris is None


def test_bright_beads_in_an_empty_field_are_no_debris():
    y, x = np.mgrid[:200, :200]
    frame = np.random.default_rng(0).normal(100, 5, (200, 200))
    frame[np.hypot(y - 60, x - 60) < 10] = 4095
    assert usable_frame(frame).debris is None


def test_real_images_have_no_debris_and_no_border(shared_data):
    for path in sorted(shared_data.glob("*/*_low.tif")):
        usable = usable_frame(imread(path, key=0)[:512, :512])
        assert usable.debris is None
        assert usable.outside is None


def test_what_stitched_tiles_leave_free_is_a_border():
    tile = 20 + np.random.default_rng(0).poisson(3, (90, 100)).astype(np.uint16)
    frame = np.zeros((176, 300), np.uint16)
    for top, left in ((0, 0), (3, 97), (84, 2)):
        frame[top : top + 90, left : left + 100] = tile
    frame[80:170, 200:] = tile
    outside = usable_frame(frame).outside
    # but for the gaps that tiles enclose
    assert not (outside & (frame > 0)).any()
    assert outside.sum() > 0.9 * (frame == 0).sum()
    assert outside[0, 250]
    assert outside[170, 150]
    # dark background has no straight outline
    dark = np.random.default_rng(0).poisson(np.where(np.hypot(*np.mgrid[:128, :128]) < 70, 0.0, 9))
    assert usable_frame(dark).outside is None
