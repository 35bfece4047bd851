"""Engines of fewer digits: what they cost is measured and said, and what is too large for them is float32."""

import re

import numpy as np
import pytest
import torch
from fixtures.random_models import bundled_model, image_of, make_model, plainly, tile_of
from skimage.metrics import structural_similarity

from napari_care_losses.images.frames import Frames
from napari_care_losses.models.architecture import Architecture
from napari_care_losses.restoration.engines import reduced_engine
from napari_care_losses.restoration.engines.choose import open_engine
from napari_care_losses.restoration.restore_stack import RestorationParameters, restore, restore_frames

pytestmark = pytest.mark.usefixtures("one_torch_thread")

# digits that are lost in products, as a share of the largest value
ROUNDING = {"bfloat16": 2**-8, "float16": 2**-11}
halves = pytest.mark.parametrize("name", list(ROUNDING))


def opened(name, model=None):
    return open_engine(f"torch-{name}", model or make_model(), "cpu")


@halves
@pytest.mark.parametrize(
    "architecture",
    [
        Architecture(depth=2, kernel_size=3, filters=4, predicts_scale=True),
        Architecture(depth=1, kernel_size=5, filters=2, residual=False),
        Architecture(depth=1, kernel_size=3, filters=2, refinement=2),
    ],
    ids=lambda each: f"depth {each.depth} {each.refinement}",
)
def test_the_result_is_that_of_the_network_but_for_rounding(name, architecture):
    model, tile = make_model(architecture), tile_of((32, 48))
    for found, expected in zip(opened(name, model).restore(tile), plainly(model, tile), strict=True):
        if expected is not None:
            assert found.dtype == np.float32
            error = np.abs(found - expected).max() / np.abs(expected).max()
            assert 0 < error < 8 * ROUNDING[name]


@halves
def test_the_note_gives_what_it_costs_on_the_image(name):
    model, image = bundled_model("fft-lite"), tile_of((64, 64))
    engine = opened(name, model)
    engine.prepare([image])
    pattern = r": \d+\.\dx as fast as float32 on this CPU, PSNR (\S+) dB, SSIM (\S+) against float32 on this image\."
    note = re.fullmatch(name + pattern, engine.note)
    found, expected = engine.restore(image)[0], plainly(model, image)[0]
    error = np.mean(np.square(found - expected, dtype=np.float64))
    assert float(note[1]) == pytest.approx(-10 * np.log10(error), abs=0.06)
    low, high = np.percentile(expected, [0.1, 99.9])
    similarity = structural_similarity(
        found, expected, data_range=high - low, gaussian_weights=True, sigma=1.5, use_sample_covariance=False
    )
    assert float(note[2]) == pytest.approx(similarity, abs=1e-3)


@halves
def test_a_restoration_has_the_note_and_stays_close_to_float32(name):
    model, stack = make_model(Architecture(filters=4)), image_of((2, 40, 40))
    steps = list(restore_frames(Frames(stack), model, RestorationParameters(engine=f"torch-{name}"), device="cpu"))
    assert steps[-1].note.startswith(f"{name}: ")
    exact = restore(stack, model, RestorationParameters(engine="torch"), device="cpu")
    found = np.stack([step.frame.image for step in steps if step.frame])
    assert np.abs(found - exact).max() < 8 * ROUNDING[name] * np.ptp(exact)


@halves
def test_tiles_equal_the_whole_but_for_rounding(name):
    model, stack = make_model(), image_of((96, 80))
    whole, tiled = (
        restore(stack, model, RestorationParameters(engine=f"torch-{name}", tile_size=size), device="cpu")
        for size in (None, 40)
    )
    assert np.abs(whole - tiled).max() < 4 * ROUNDING[name] * np.ptp(whole)


def test_without_the_format_float32_restores_and_the_note_says_why():
    engine, tile = opened("tf32"), tile_of((32, 32))
    engine.prepare([tile])
    assert engine.note == (
        "TF32 needs an NVIDIA graphics card of compute capability 8.0 or newer, and this device is 'cpu', so it was "
        "restored in float32."
    )
    np.testing.assert_array_equal(engine.restore(tile)[0], open_engine("torch", engine.model, "cpu").restore(tile)[0])


class TestFloat16IsTooSmall:
    """Beyond 65504: the tile is restored in float32, whether or not the restored image would show it."""

    def test_a_tile_is_restored_in_float32_and_the_others_are_not(self):
        model = make_model()
        engine, exact = opened("float16", model), open_engine("torch", model, "cpu")
        tiles = [tile_of((32, 32)), 1e5 * tile_of((32, 32), seed=1), tile_of((32, 32), seed=2)]
        together = engine.restore_together(tiles)
        assert engine.note == "1 tile was restored in float32: numbers of float16 end at 65504."
        for number, tile in enumerate(tiles):
            (found, _), expected = together[number], exact.restore(tile)[0]
            assert np.array_equal(found, expected) == (number == 1)
            np.testing.assert_allclose(found, expected, atol=0.01 * np.ptp(expected))
        engine.restore(tiles[1])
        assert engine.note.startswith("2 tiles were restored in float32")

    def test_what_overflows_unseen_is_noticed(self):
        """A ReLU makes 0 of minus infinity: the result is finite, and wrong."""
        model = make_model()
        first, second = (model.weights[f"{name}.weight"] for name in ("up.0.0", "up.0.1"))
        first.abs_().mul_(1e5)
        second.abs_().neg_()
        engine, tile = opened("float16", model), 20 * tile_of((32, 32))
        with torch.autocast("cpu", dtype=torch.float16):
            assert np.isfinite(plainly(model, tile)[0]).all()
        np.testing.assert_array_equal(engine.restore(tile)[0], open_engine("torch", model, "cpu").restore(tile)[0])

    def test_it_is_said_at_once_if_the_image_does_not_fit(self):
        engine, image = opened("float16"), 1e5 * tile_of((32, 32))
        engine.prepare([image])
        assert engine.note == "The numbers of float16 are too small for this image: it was restored in float32."
        tile = tile_of((32, 32), seed=1)
        expected = open_engine("torch", engine.model, "cpu").restore(tile)[0]
        np.testing.assert_array_equal(engine.restore(tile)[0], expected)

    def test_networks_of_images_in_their_range_stay_far_below(self):
        engine = opened("float16", bundled_model("bandpass-lite"))
        engine.restore(tile_of((64, 64)))
        assert 0 < engine._largest[0] < reduced_engine.LARGEST_LAYER / 100

    def test_the_note_of_an_engine_reaches_the_user_through_one_that_wraps_it(self):
        stack = np.ones((1, 64, 64), np.float32)
        stack[0, ::2] = 2
        stack[0, 30:34, 30:34] = 1e7
        parameters = RestorationParameters(
            engine="torch-float16", correlated_noise="half", low_percentile=1, high_percentile=90
        )
        steps = list(restore_frames(Frames(stack), make_model(), parameters, device="cpu"))
        assert "restored in float32" in steps[-1].note
        assert np.isfinite(steps[-1].frame.image).all()
