from __future__ import annotations

import numpy as np
import pytest

from napari_care_losses.errors import InputError, ParameterError
from napari_care_losses.simulation.pairs_and_movies import STRUCTURES
from napari_care_losses.simulation.processing import KINDS, Processing
from napari_care_losses.simulation.varied_pairs import NOISE_DB, simulate_varied_movie, simulate_varied_pair

SHAPE = (128, 128)


def rng(seed=0):
    return np.random.default_rng(seed)


def drawn(kind):
    return next(found for seed in range(500) if (found := Processing.drawn(rng(seed))).kind == kind)


def neighbours(noise):
    """Return the correlation of neighbouring pixels along y and along x."""
    noise = noise - noise.mean()
    return [
        float((noise[1:] * noise[:-1]).mean() / noise.var()),
        float((noise[:, 1:] * noise[:, :-1]).mean() / noise.var()),
    ]


@pytest.mark.parametrize("kind", KINDS)
def test_an_even_image_stays_as_it_is(kind):
    even = np.full(SHAPE, 7.0, np.float32)
    np.testing.assert_allclose(drawn(kind).linear(even), even, rtol=1e-5)


@pytest.mark.parametrize("kind", ["none", "smoothed", "along x"])
def test_the_noise_that_is_left_is_the_one_stated(kind):
    processing = drawn(kind)
    filtered = processing.linear(rng(1).normal(0, 1, (512, 512)))
    assert filtered.var() == pytest.approx(processing.noise_power, rel=0.05)


@pytest.mark.parametrize(("kind", "y", "x"), [("none", 0, 0), ("smoothed", 1, 1), ("along x", 0, 1)])
def test_filters_make_noise_correlate_along_their_axes(kind, y, x):
    found = neighbours(drawn(kind).linear(rng(1).normal(0, 1, (512, 512))))
    for value, expected in zip(found, (y, x), strict=True):
        assert value > 0.05 if expected else abs(value) < 0.02


@pytest.mark.parametrize("kind", ["interpolated", "median"])
def test_interpolation_and_medians_make_noise_correlate(kind):
    noisy = 100 + rng(1).normal(0, 10, (512, 512))
    assert max(neighbours(drawn(kind).recorded(noisy, 10.0, rng(2)))) > 0.02


def test_compression_makes_noise_correlate():
    light = np.linspace(0, 255, 256) * np.ones((256, 1))
    stored = Processing(kind="compressed", quality=60, saturated=0.0).recorded(
        light + rng(1).normal(0, 5, light.shape), 5.0, rng(2)
    )
    assert max(neighbours(stored - light)) > 0.1


def test_rows_and_columns_have_the_offsets_stated():
    noisy = rng(1).normal(0, 1e-3, (400, 300))
    rows = Processing(rows=0.5).recorded(noisy, 4.0, rng(2))
    assert rows.mean(axis=1).std() == pytest.approx(2.0, rel=0.1)
    assert rows.std(axis=1).max() < 0.01
    columns = Processing(columns=0.5).recorded(noisy, 4.0, rng(2))
    assert columns.mean(axis=0).std() == pytest.approx(2.0, rel=0.1)


def test_a_stretch_gives_8_bits_and_cuts_off_both_ends():
    stored = Processing(saturated=2.0).recorded(rng(1).normal(500, 50, (400, 300)), 50.0, rng(2))
    assert set(np.unique(stored)) <= set(range(256))
    assert (stored == 0).mean() == pytest.approx(0.02, abs=0.005)
    assert (stored == 255).mean() == pytest.approx(0.02, abs=0.005)


@pytest.mark.parametrize("name", STRUCTURES)
def test_a_pair_follows_from_its_seed_and_shows_one_field(name):
    low, high = simulate_varied_pair(name, SHAPE, seed=5)
    again_low, again_high = simulate_varied_pair(name, SHAPE, seed=5)
    np.testing.assert_array_equal(low, again_low)
    np.testing.assert_array_equal(high, again_high)
    assert low.dtype == high.dtype == np.float32
    assert low.shape == high.shape == SHAPE
    assert np.isfinite(low).all()
    assert np.corrcoef(low.ravel(), high.ravel())[0, 1] > 0.1


def test_noise_reaches_from_faint_to_strong():
    scores = []
    for seed in range(24):
        low, high = simulate_varied_pair("actin", SHAPE, seed=seed)
        slope, offset = np.polyfit(high.ravel(), low.ravel(), 1)
        bottom, top = np.percentile(high, [0.1, 99.9])
        scores.append(-20 * np.log10((low - slope * high - offset).std() / (slope * (top - bottom))))
    assert min(scores) < NOISE_DB[0] + 6
    assert max(scores) > NOISE_DB[1] - 8


@pytest.mark.parametrize("seed", [704046, 704054])
def test_no_field_of_membranes_lies_beyond_the_tissue(seed):
    _, high = simulate_varied_pair("membranes", (256, 256), seed=seed)
    assert high.std() > 0.05


def test_noise_is_drawn_only_as_correlated_as_asked_for():
    found = [Processing.drawn(rng(seed), most_correlation=0.4) for seed in range(300)]
    assert {made.kind for made in found} == set(KINDS) - {"interpolated", "median"}
    filtered = [made for made in found if made.kind == "smoothed"][:10]
    for made in filtered:
        noise = rng(1).normal(0, 1, (512, 512))
        assert max(neighbours(made.linear(noise))) == pytest.approx(made.correlation, abs=0.02)
        assert made.correlation <= 0.4
    assert max(Processing.drawn(rng(seed)).correlation for seed in range(300)) == 1
    low, high = simulate_varied_pair("tissue", SHAPE, seed=3, most_correlation=0.0)
    assert max(neighbours(low - np.polyval(np.polyfit(high.ravel(), low.ravel(), 1), high))) < 0.1


def test_bad_input_says_what_was_expected():
    with pytest.raises(InputError, match="no structure 'tubulin'"):
        simulate_varied_pair("tubulin", SHAPE, seed=0)
    with pytest.raises(InputError, match="at least 16 px"):
        simulate_varied_pair("actin", (8, 64), seed=0)
    with pytest.raises(ParameterError, match="seed must be a whole number"):
        simulate_varied_pair("actin", SHAPE, seed=-1)
    with pytest.raises(ParameterError, match="most_correlation must be between 0 and 1"):
        simulate_varied_pair("actin", SHAPE, seed=0, most_correlation=float("nan"))


def test_a_movie_is_recorded_by_one_camera_while_things_move():
    low, high = simulate_varied_movie("dendra", 4, (96, 96), seed=7, most_correlation=0.2)
    assert (low.shape, high.shape, low.dtype, high.dtype) == ((4, 96, 96), (4, 96, 96), np.float32, np.float32)
    noise = [
        frame - np.polyval(np.polyfit(truth.ravel(), frame.ravel(), 1), truth)
        for frame, truth in zip(low, high, strict=True)
    ]
    # each frame has noise of its own, of one strength, and shows nearly what the others show
    assert abs(np.corrcoef(noise[0].ravel(), noise[1].ravel())[0, 1]) < 0.1
    assert np.std(noise[3]) == pytest.approx(np.std(noise[0]), rel=0.2)
    assert 0.8 < np.corrcoef(high[0].ravel(), high[1].ravel())[0, 1] < 1
    again, _ = simulate_varied_movie("dendra", 4, (96, 96), seed=7, most_correlation=0.2)
    assert np.array_equal(low, again)
