import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from scipy.ndimage import gaussian_filter

from napari_care_losses.evaluation.metrics import score
from napari_care_losses.restoration.low_band import (
    DEFAULT_SIGMA,
    LARGEST_SIGMA,
    NOISE_LEFT,
    estimate_gain,
    noise_limited_sigma,
    tie_low_band,
)
from napari_care_losses.simulation.pairs_and_movies import simulate_pair

GAINS = [0.8, 1.0, 1.36, 3.3]


def blur(image, sigma):
    return gaussian_filter(image, sigma, mode="reflect")


def detail(image):
    return blur(image, 2.5) - blur(image, 5)


@pytest.fixture(scope="module")
def clean():
    """Return a field at high exposure, normalised to about 0..1."""
    _, high = simulate_pair("mitochondria", (256, 256), seed=3)
    image = high.astype(np.float32)
    low, top = np.percentile(image, [2, 99.8])
    return (image - np.float32(low)) / np.float32(top - low)


def noisy(clean, sigma=0.3, seed=0):
    return clean + np.random.default_rng(seed).normal(0, sigma, clean.shape).astype(np.float32)


def gradient(shape):
    y, x = np.mgrid[: shape[0], : shape[1]] / np.float32(shape[0])
    return (0.8 * y - 0.4 * x + 0.7).astype(np.float32)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("gain", GAINS)
def test_the_gain_is_recovered_from_a_noisy_input(clean, gain, seed):
    image = noisy(clean, seed=seed)
    restored = np.float32(gain) * clean + gradient(clean.shape)
    assert estimate_gain(restored, image) == pytest.approx(gain, rel=0.05)
    naive = np.vdot(detail(restored), detail(image)) / np.vdot(detail(image), detail(image))
    assert naive < 0.8 * gain, "the noise should be strong enough to spoil the regression the other way round"


@pytest.mark.parametrize("gain", GAINS)
def test_the_gain_is_exact_without_noise(clean, gain):
    assert estimate_gain(np.float32(gain) * clean, clean) == pytest.approx(gain, rel=1e-4)


def test_the_low_band_of_the_restoration_has_no_effect(clean):
    image = noisy(clean)
    plain = tie_low_band(clean, image)
    drifted = tie_low_band(clean + gradient(clean.shape), image)
    inner = (slice(20, -20), slice(20, -20))
    np.testing.assert_allclose(drifted[inner], plain[inner], atol=0.01)
    np.testing.assert_allclose(tie_low_band(clean + 3, image), plain, atol=1e-3)


@pytest.mark.parametrize("gain", GAINS)
def test_the_ground_truth_is_recovered_from_its_detail(clean, gain):
    restored = np.float32(gain) * (clean - blur(clean, 5)) + gradient(clean.shape)
    image = noisy(clean)
    tied = tie_low_band(restored, image)
    plain, better = (score(candidate, clean)["psnr"] for candidate in (restored, tied))
    assert better > plain + 6
    assert better > 28


@pytest.mark.parametrize("sigma", [3.0, 5.0, 8.0])
def test_the_low_band_is_the_input_s(clean, sigma):
    image = noisy(clean, 0.2)
    # Flat detail: whatever is left after tying is the input's low band.
    flat = tie_low_band(np.full_like(image, 7), image, sigma)
    np.testing.assert_allclose(flat, blur(image, sigma), atol=1e-4 * float(np.ptp(image)))
    tied = tie_low_band(clean + gradient(clean.shape), image, sigma)
    coarse = [blur(candidate, 4 * sigma)[40:-40, 40:-40] for candidate in (tied, image)]
    np.testing.assert_allclose(*coarse, atol=0.02 * float(np.ptp(image)))


def gain_in_full(restored, image, sigma):
    """Return the gain from blurs at every pixel, in double precision."""
    band_r, band_x = (blur(one, 0.8 * sigma) - blur(one, 1.6 * sigma) for one in (restored, image))
    shared = np.vdot(band_r, band_x)
    return np.clip(np.vdot(band_r, band_r) / shared, 0.1, 10) if shared > 0 else 1.0


@pytest.mark.parametrize("sigma", [0.7, 1.6, 1.7, 3.0, 5.0, 20.0])
@pytest.mark.parametrize("shape", [(256, 256), (90, 131), (1, 200), (200, 1), (2, 37), (11, 12)])
def test_the_coarse_grid_equals_the_full_blur(clean, shape, sigma):
    restored = (1.36 * clean + gradient(clean.shape))[: shape[0], : shape[1]]
    image = noisy(clean)[: shape[0], : shape[1]]
    exact_r, exact_x = restored.astype(np.float64), image.astype(np.float64)
    gain = estimate_gain(restored, image, sigma)
    # a band much coarser than the image holds nothing of it but rounding
    if sigma < max(min(shape), max(shape) / 10):
        assert gain == pytest.approx(gain_in_full(exact_r, exact_x, sigma), rel=1e-3)
    exact = (exact_r - blur(exact_r, sigma)) / gain + blur(exact_x, sigma)
    tied = tie_low_band(restored, image, sigma)
    assert tied.shape == shape
    np.testing.assert_allclose(tied, exact, atol=1e-4 * float(np.ptp(clean)))


@pytest.mark.parametrize("shape", [(1, 1), (1, 2), (2, 2), (3, 3)])
def test_an_image_smaller_than_the_band_has_no_gain(clean, shape):
    restored, image = (one[: shape[0], : shape[1]] for one in (3 * clean, noisy(clean)))
    assert estimate_gain(restored, image) == 1


def test_an_image_of_one_pixel_stays(clean):
    pixel = clean[:1, :1]
    np.testing.assert_allclose(tie_low_band(pixel + 2, pixel), pixel, atol=1e-6)


@settings(max_examples=30, deadline=None)
@given(
    st.tuples(st.integers(1, 40), st.integers(1, 40)),
    st.floats(0.3, 20),
    st.floats(-1000, 1000, width=32),
)
# the gain's band holds less of so small an image than rounding its mean would leave there
@example((1, 6), 9.5, 0)
def test_constants_pass_unchanged(shape, sigma, level):
    flat = np.full(shape, level, np.float32)
    np.testing.assert_allclose(tie_low_band(flat, flat, sigma), flat, rtol=1e-5)
    noise = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    tied = tie_low_band(noise, noise, sigma)
    np.testing.assert_allclose(tied, noise, atol=1e-4)
    np.testing.assert_allclose(tie_low_band(noise, noise + 3, sigma), tied + 3, atol=1e-4)
    np.testing.assert_allclose(tie_low_band(noise + 3, noise, sigma), tied, atol=1e-4)


def test_flat_images_give_numbers():
    flat, noise = np.full((32, 32), 2, np.float32), noisy(np.zeros((32, 32), np.float32))
    assert estimate_gain(flat, flat) == 1
    assert estimate_gain(noise, flat) == 1
    assert estimate_gain(flat, noise) == 1
    for restored, image in ((flat, flat), (noise, flat), (flat, noise)):
        tied = tie_low_band(restored, image)
        assert np.isfinite(tied).all()
        assert tied.dtype == np.float32
    np.testing.assert_allclose(tie_low_band(flat, flat), flat, rtol=1e-6)


def test_images_without_common_structure_keep_a_sane_gain():
    rng = np.random.default_rng(0)
    first, second = rng.normal(size=(2, 64, 64)).astype(np.float32)
    assert estimate_gain(first, -first) == 1
    assert 0.1 <= estimate_gain(first, second) <= 10
    assert estimate_gain(100 * first, first) == 10


@pytest.mark.parametrize("shape", [(256, 256), (255, 301), (1500, 1400)])
def test_the_sigma_leaves_the_stated_noise(shape):
    spread = 0.08
    noise = np.random.default_rng(0).normal(0, spread, shape).astype(np.float32)
    sigma = noise_limited_sigma(noise)
    assert blur(noise, sigma).std() == pytest.approx(NOISE_LEFT, rel=0.15)


def test_structure_does_not_count_as_noise(clean):
    assert noise_limited_sigma(clean) == DEFAULT_SIGMA
    expected = noise_limited_sigma(noisy(np.zeros_like(clean), 0.07))
    assert noise_limited_sigma(noisy(clean, 0.07)) == pytest.approx(expected, rel=0.1)


def test_the_sigma_stays_within_its_bounds(clean):
    assert noise_limited_sigma(noisy(clean, 1.0)) == LARGEST_SIGMA
    assert noise_limited_sigma(noisy(clean, 1e-3)) == DEFAULT_SIGMA
    # a loss that leaves still coarser structure free has it all tied
    assert noise_limited_sigma(noisy(clean, 0.1), 15.0) == 15.0
    for shape in ((1, 1), (1, 7), (3, 2)):
        assert noise_limited_sigma(np.zeros(shape, np.float32)) == DEFAULT_SIGMA


def test_the_sigma_is_the_same_in_grey_levels_and_normalised(clean):
    normalised = noisy(clean, 0.07)
    levels = np.rint(normalised * 5000 + 20_000).astype(np.uint16)
    assert noise_limited_sigma(levels, data_range=5000) == pytest.approx(noise_limited_sigma(normalised), rel=1e-2)


def test_a_noisy_input_gives_a_smoother_low_band_and_a_truer_image(clean):
    strong = noisy(clean, 0.25)
    sigma = noise_limited_sigma(strong)
    assert sigma > 2 * DEFAULT_SIGMA
    narrow, wide = (score(tie_low_band(clean, strong, each), clean)["psnr"] for each in (DEFAULT_SIGMA, sigma))
    assert wide > narrow + 1
