"""Low patches made anew from high ones, with the noise of their pair."""

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter
from scipy.stats import skew

from napari_care_losses.simulation.pairs_and_movies import draw_structure
from napari_care_losses.training.pairs import Pair, Share
from napari_care_losses.training.parameters import TrainingParameters
from napari_care_losses.training.patches import PatchSource
from napari_care_losses.training.synthetic_noise import noise_pool, resized_window

SIZE = 256


def clean(seed=0):
    rng = np.random.default_rng(seed)
    image = gaussian_filter(rng.standard_normal((SIZE, SIZE)), 4)
    return (200 + 2000 * np.clip(image / image.std(), 0, None)).astype(np.float32)


def exposed(high, seed=1):
    """A camera: Poisson light, a gain of 3, an offset of 100."""
    return (100 + 3 * np.random.default_rng(seed).poisson(high / 100)).astype(np.float32)


def pool_of(low, high):
    return noise_pool(low, high, np.random.default_rng(2))


def draw_patches(low, high, *, augmented=True, **settings):
    parameters = TrainingParameters(**{"patch_size": 32, "background_filter": False, **settings})
    share = Share(Pair(low, high, "pair"), (slice(None), slice(None)), False)
    source = PatchSource(share, parameters, np.random.default_rng(0))
    return source.draw(np.random.default_rng(1), augmented=augmented)


def test_redrawn_noise_has_the_spread_and_skewness_of_the_pairs_own_at_every_brightness():
    high = clean()
    low = exposed(high)
    redrawn = pool_of(low, high).expose(high, 1.0, np.random.default_rng(3))
    assert redrawn.dtype == np.float32
    expected = 100 + 3 * high / 100
    for darkest, brightest in ((0, 201), (201, 1500), (1500, 3000), (3000, 1e9)):
        within = (high >= darkest) & (high < brightest)
        own, new = ((image - expected)[within].astype(np.float64) for image in (low, redrawn))
        assert new.std() == pytest.approx(own.std(), rel=0.05)
        assert new.mean() == pytest.approx(own.mean(), abs=0.1 * own.std())
        assert skew(new) == pytest.approx(skew(own), abs=0.1)
    # and yet it is other noise
    assert abs(np.corrcoef((low - expected).ravel(), (redrawn - expected).ravel())[0, 1]) < 0.02


@pytest.mark.parametrize("sigma", [(0.6, 0.6), (0.0, 0.8)])
def test_noise_that_neighbours_share_is_redrawn_with_its_correlation(sigma):
    light = draw_structure("actin", (SIZE, SIZE), np.random.default_rng(3))
    high = (200 + 1000 * gaussian_filter(light, 2)).astype(np.float32)
    expected, low = (gaussian_filter(image, sigma) for image in (100 + 3 * high / 100, exposed(high)))
    redrawn = pool_of(low, high).expose(high, 1.0, np.random.default_rng(3))
    assert redrawn.dtype == np.float32
    own, new = ((image - expected).astype(np.float64) for image in (low, redrawn))
    assert new.std() == pytest.approx(own.std(), rel=0.1)
    for axis in (0, 1):
        shared = [np.mean(noise * np.roll(noise, 1, axis)) / noise.var() for noise in (own, new)]
        assert shared[1] == pytest.approx(shared[0], abs=0.1)
    assert abs(np.corrcoef(own.ravel(), new.ravel())[0, 1]) < 0.05
    # what images that do not match leave is no noise
    assert pool_of(np.roll(low, 3, axis=0), high) is None


def test_a_strength_scales_the_noise_alone():
    high = clean()
    pool = pool_of(exposed(high), high)
    weak, plain, strong = (pool.expose(high, strength, np.random.default_rng(3)) for strength in (0.0, 1.0, 2.0))
    np.testing.assert_allclose(strong - plain, plain - weak, atol=1e-2)
    assert np.corrcoef(weak.ravel(), high.ravel())[0, 1] == pytest.approx(1)


def test_levels_beyond_the_pairs_own_take_the_noise_of_the_nearest():
    high = clean()
    pool = pool_of(exposed(high), high)
    redrawn = pool.expose(np.full((64, 64), 1e6, np.float32), 1.0, np.random.default_rng(3))
    assert np.isfinite(redrawn).all()
    assert redrawn.std() == pytest.approx(3 * np.sqrt(high.max() / 100), rel=0.5)


@pytest.mark.parametrize(
    "pair",
    [
        pytest.param(lambda high: (np.roll(exposed(high), 3, axis=0), high), id="shifted against each other"),
        pytest.param(lambda high: (exposed(high), 30 * exposed(high, 5)), id="a high image as noisy as the low one"),
        pytest.param(lambda high: (-exposed(high), high), id="inverted"),
        pytest.param(lambda high: (2 * high, high), id="no noise"),
    ],
)
def test_unusable_noise_gives_no_pool(pair):
    low, high = pair(clean())
    assert pool_of(low, high) is None
    plain, redrawn = (draw_patches(low, high, redraw_noise=redraws) for redraws in (False, True))
    np.testing.assert_array_equal(plain, redrawn)


@pytest.mark.parametrize("factor", [0.5, 0.8, 1.0, 1.25, 2.0])
def test_structure_in_a_resized_window_is_larger_by_the_factor(factor):
    rows, columns = np.mgrid[:SIZE, :SIZE]
    spot = np.exp(-((rows - 128) ** 2 + (columns - 128) ** 2) / (2 * 6**2)).astype(np.float32)
    width = round(64 / factor)
    window = resized_window(spot, (128 - width // 2, 128 - width // 2), 64, factor)
    assert window.shape == (64, 64)
    assert window.dtype == np.float32
    assert window.max() == pytest.approx(1, abs=0.02)
    assert window.sum() == pytest.approx(spot.sum() * factor**2, rel=0.05)


def test_a_window_stays_within_its_image():
    image = np.arange(40 * 50, dtype=np.uint16).reshape(40, 50)
    np.testing.assert_array_equal(resized_window(image, (39, 49), 32, 1.0), image[8:, 18:])
    # the image is too small for twice the window: as much as there is
    assert resized_window(image, (30, 30), 32, 0.5).shape == (32, 32)


def test_the_noise_of_validation_patches_is_never_redrawn():
    high = clean()
    plain, varied = (draw_patches(exposed(high), high, augmented=False, vary_size=varies) for varies in (False, True))
    np.testing.assert_array_equal(plain, varied)


def test_equal_seeds_draw_equal_patches():
    high = clean()
    first, again = (draw_patches(exposed(high), high, background_filter=True, vary_size=True) for _ in range(2))
    np.testing.assert_array_equal(first, again)
