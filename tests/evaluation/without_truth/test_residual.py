"""Figures without a ground truth, held against what the truth says."""

import math

import numpy as np
import pytest
from fixtures.random_models import bundled_model
from scipy.ndimage import gaussian_filter, shift
from tifffile import imread

from napari_care_losses.errors import InputError
from napari_care_losses.evaluation.metrics import GreyLevels, align
from napari_care_losses.evaluation.without_truth.residual import (
    flicker,
    measurable,
    region_means,
    residual,
    structure_left,
)
from napari_care_losses.restoration.restore_stack import RestorationParameters, restore
from napari_care_losses.simulation.microscope import Microscope, blur, record
from napari_care_losses.simulation.pairs_and_movies import STRUCTURES, draw_structure, simulate_movie


@pytest.fixture(scope="module")
def mitochondria():
    """A simulated field without noise, and two exposures of it."""
    structure, rng = STRUCTURES["mitochondria"], np.random.default_rng(1)
    clean = blur(draw_structure("mitochondria", (192, 192), rng), Microscope())
    first, second = (record(clean, structure.low_ms, Microscope(), rng, structure.photons_per_ms) for _ in range(2))
    return clean, first, second


def really_lost(clean, first, second, restore_one):
    """Return the share of the residual's power that is lost signal: what two restorations share of their errors."""
    signal = align(clean, first)
    restored = [restore_one(image) for image in (first, second)]
    one, other = (signal - align(image, first) for image in restored)
    return float((one * other).mean() / residual(first, restored[0]).var())


class TestResidual:
    def test_a_gain_and_an_offset_are_no_lost_signal(self, mitochondria):
        clean, first, _ = mitochondria
        left = residual(first, clean)
        assert left.dtype == np.float32
        assert left.shape == first.shape
        np.testing.assert_allclose(residual(first, 300 - 0.02 * clean.astype(np.float64)), left, atol=1e-3 * left.std())
        assert left.mean() == pytest.approx(0, abs=1e-3)

    def test_it_is_in_the_grey_levels_of_the_input(self):
        rng = np.random.default_rng(0)
        signal, noise = 1000 * rng.random((64, 64)), 5 * rng.normal(size=(64, 64))
        left = residual(signal + noise, signal / 50)
        assert left.std() == pytest.approx(5, rel=0.05)
        assert np.corrcoef(left.ravel(), noise.ravel())[0, 1] > 0.99

    def test_a_constant_restoration_leaves_the_input(self):
        image = np.random.default_rng(0).normal(100, 10, (32, 32))
        np.testing.assert_allclose(residual(image, np.full((32, 32), 0.1)), image - image.mean(), atol=1e-4)

    @pytest.mark.parametrize("dtype", ["uint8", "int16", "float16", ">f4", "bool"])
    def test_every_real_dtype_is_taken(self, dtype):
        image = (np.random.default_rng(0).random((32, 32)) * 100 > 50).astype(dtype)
        assert np.abs(residual(image, image)).max() < 1e-3

    @pytest.mark.parametrize(
        ("restored", "message"),
        [
            (np.zeros((20, 21)), "must have the same shape, found \\(20, 20\\) and \\(20, 21\\)"),
            (np.full((20, 20), np.nan), "The restored image must be finite"),
            (np.zeros((2, 20, 20)), "The restored image must be a single 2D frame"),
            (np.zeros((20, 20), complex), "The restored image must hold real numbers"),
        ],
    )
    def test_images_that_cannot_be_compared_are_refused(self, restored, message):
        with pytest.raises(InputError, match=message):
            residual(np.ones((20, 20)), restored)


class TestStructureLeft:
    @pytest.mark.parametrize("shape", [(16, 16), (17, 40), (128, 128), (512, 100), (300, 512)])
    def test_white_noise_has_none(self, shape):
        for seed in range(10):
            rng = np.random.default_rng(seed)
            # noise of photons: white, though stronger where the image is brighter
            signal = 100 * np.exp(-np.square(np.linspace(-3, 3, shape[1]))) + 10 + np.zeros(shape)
            assert structure_left(rng.poisson(signal), signal) < (0.1 if min(shape) < 100 else 0.02)

    def test_blurring_loses_signal(self, mitochondria):
        clean, first, _ = mitochondria
        assert structure_left(first, clean) < 0.01
        found = []
        for sigma in (4, 6, 10):

            def blurred(image, sigma=sigma):
                return gaussian_filter(image.astype(float), sigma)

            lost = really_lost(*mitochondria, blurred)
            found.append(structure_left(first, blurred(first)))
            assert found[-1] == pytest.approx(lost, rel=0.2)
        assert found == sorted(found)
        assert found[0] > 0.1

    def test_a_bundled_model_loses_less_than_a_blur(self, mitochondria):
        _, first, _ = mitochondria
        model = structure_left(first, restore(first, bundled_model("laplace-lite")))
        crude = structure_left(first, gaussian_filter(first.astype(float), 4))
        assert model < 0.02
        assert crude > 10 * model

    def test_an_object_left_out_or_invented_is_found(self, mitochondria):
        clean, first, _ = mitochondria
        y, x = np.mgrid[:192, :192]
        spot = np.exp(-((y - 90) ** 2 + (x - 60) ** 2) / 50) * np.ptp(clean)
        for wrong in (clean + spot, clean - spot):
            assert structure_left(first, wrong) > 0.05

    @pytest.mark.parametrize("along", [(192, 1), (1, 192)])
    def test_camera_stripes_are_no_structure_and_hide_none(self, mitochondria, along):
        clean, first, _ = mitochondria
        striped = first + np.random.default_rng(0).normal(0, 0.5 * first.std(), along)
        assert structure_left(striped, clean) < 0.01
        crude = gaussian_filter(first.astype(float), 4)
        assert structure_left(striped, crude) == pytest.approx(structure_left(first, crude), rel=0.1)

    @pytest.mark.parametrize("moved", [(0.1, 0.1), (0.5, 0.5), (0.0, 0.4)])
    @pytest.mark.parametrize("order", [1, 3])
    def test_noise_interpolated_by_a_registration_is_no_structure(self, mitochondria, moved, order):
        clean, first, _ = mitochondria
        registered, truth = (shift(image.astype(float), moved, order=order, mode="nearest") for image in (first, clean))
        assert structure_left(registered, truth) < 0.05
        crude = gaussian_filter(first.astype(float), 4)
        assert structure_left(registered, crude) > 0.8 * structure_left(first, crude)

    def test_the_input_as_its_own_restoration_leaves_nothing(self, mitochondria):
        _, first, _ = mitochondria
        assert structure_left(first, first) == 0
        assert structure_left(first, 3.0 * first + 7) == 0

    def test_constant_images_have_none(self):
        assert structure_left(np.full((32, 32), 7), np.full((32, 32), 9)) == 0

    def test_small_images_are_refused(self):
        with pytest.raises(InputError, match="at least 16 x 16 px, found shape \\(15, 40\\)"):
            structure_left(np.ones((15, 40)), np.ones((15, 40)))

    def test_noise_that_neighbours_share_in_a_real_image_is_no_structure(self, shared_data):
        low, high = (imread(shared_data / f"other_microscopes/widefield_{which}.tif") for which in ("low", "high"))
        assert structure_left(low, high) < 0.01
        assert structure_left(low, gaussian_filter(high.astype(float), 8)) > 0.1


class TestRegionMeans:
    def test_they_are_the_means_of_equal_regions(self):
        image = np.random.default_rng(0).integers(0, 60_000, (64, 96)).astype(np.uint16)
        expected = image.reshape(8, 8, 8, 12).mean(axis=(1, 3)).ravel()
        np.testing.assert_allclose(region_means(image), expected)

    @pytest.mark.parametrize(("shape", "grid"), [((8, 8), 8), ((37, 53), 8), ((9, 100), 4), ((5, 5), 1)])
    def test_every_pixel_counts_once(self, shape, grid):
        image = np.random.default_rng(0).random(shape)
        rows, columns = ([size * (i + 1) // grid - size * i // grid for i in range(grid)] for size in shape)
        means = region_means(image, grid)
        assert means.shape == (grid * grid,)
        assert means.dtype == np.float64
        assert (means * np.outer(rows, columns).ravel()).sum() == pytest.approx(image.sum())

    @pytest.mark.parametrize(
        ("image", "said"),
        [
            (np.zeros((7, 20)), "at least 8 x 8 px"),
            (np.zeros((2, 8, 8)), "single 2D frame"),
            (np.zeros((8, 8), complex), "real numbers"),
        ],
    )
    def test_other_than_a_frame_is_refused(self, image, said):
        with pytest.raises(InputError, match=said):
            region_means(image)


def means_of(movie):
    return np.array([region_means(frame) for frame in movie])


class TestFlicker:
    @pytest.fixture
    def means(self):
        rng = np.random.default_rng(0)
        fade = np.exp(-np.arange(40) / 15)[:, None]
        return 100 + 500 * rng.random(64) * fade + rng.normal(0, 1, (40, 64))

    def test_a_movie_as_steady_as_its_input_gives_one(self, means):
        assert flicker(means, means) == pytest.approx(1)

    @pytest.mark.parametrize(("gain", "offset"), [(0.01, 0), (30, -500)])
    def test_a_gain_is_no_flicker(self, means, gain, offset):
        assert flicker(means, gain * means + offset) == pytest.approx(1)

    @pytest.mark.parametrize("strength", [3.0, 10.0])
    def test_flicker_grows_with_the_jumps_of_brightness(self, means, strength):
        jumps = np.random.default_rng(1).normal(0, strength, (40, 1))
        assert flicker(means, means + jumps) == pytest.approx(math.hypot(1, strength), rel=0.25)

    def test_a_steadier_movie_gives_less_than_one(self, means):
        smooth = gaussian_filter(means, (3, 0))
        assert flicker(means, smooth) < 0.4

    def test_motion_through_some_regions_does_not_count(self, means):
        rng = np.random.default_rng(2)
        moving = np.zeros_like(means)
        moving[:, :10] = 100 * rng.random((40, 10))
        jumps = rng.normal(0, 5, (40, 1))
        assert flicker(means + moving, means + moving) == pytest.approx(1)
        assert flicker(means + moving, means + moving + jumps) > 3

    def test_it_is_nan_for_few_frames_and_constant_input(self, means):
        assert math.isnan(flicker(means[:2], means[:2]))
        assert math.isnan(flicker(np.ones((5, 64)), np.random.default_rng(0).random((5, 64))))

    def test_means_of_other_frames_are_refused(self, means):
        with pytest.raises(InputError, match="equal shape"):
            flicker(means, means[1:])

    def test_models_that_keep_grey_levels_do_not_flicker_where_a_bright_object_comes_and_goes(self):
        movie = simulate_movie("dendra", 10, (96, 96), seed=3)[0].astype(np.float32)
        y, x = np.mgrid[:96, :96]
        spot = 8 * np.ptp(movie) * np.exp(-((y - 30) ** 2 + (x - 70) ** 2) / 50)
        movie[3:5] += spot
        movie[7] += spot
        model, given = bundled_model("laplace-lite"), means_of(movie)
        found = {
            name: flicker(given, means_of(restore(movie, model, RestorationParameters(normalization=name))))
            for name in ("frame", "stack")
        }
        assert found["stack"] < 1.3
        assert found["frame"] < 1.3


@pytest.mark.parametrize(
    ("slope", "r2", "verdict"),
    [
        (1.01, 0.995, "Grey levels may be measured: slope 1.01, R2 0.995."),
        (0.95, 0.9901, "Grey levels may be measured: "),
        (1.06, 0.995, "Measure only ratios"),
        (0.78, 0.999, "Measure only ratios"),
        (1.0, 0.99, "Do not measure grey levels: slope 1.00, R2 0.990."),
        (0.78, 0.5, "Do not measure grey levels: slope 0.78, R2 0.500."),
        (-1.0, 0.999, "Do not measure"),
        (0.0, 0.0, "Do not measure"),
        (float("nan"), float("nan"), "Do not measure"),
    ],
)
def test_whether_grey_levels_are_measurable(slope, r2, verdict):
    assert measurable(GreyLevels(slope=slope, intercept=3, r2=r2)).startswith(verdict)
