"""Where a restoration contradicts its input, of images whose noise and truth are known."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter
from scipy.stats import false_discovery_control, norm

from napari_care_losses.errors import InputError
from napari_care_losses.evaluation.without_truth.contradictions import RATE, find_contradictions
from napari_care_losses.images.noise.model import NoiseModel

SHAPE = (160, 200)
NOISE = NoiseModel(slope=2.0, intercept=-100.0, least=25.0)


def truth(seed: int = 0) -> np.ndarray:
    return 100 + 3000 * gaussian_filter(np.random.default_rng(seed).random(SHAPE), 6)


def noisy(clean: np.ndarray, noise: NoiseModel = NOISE, seed: int = 1) -> np.ndarray:
    return clean + noise.draw(clean, np.random.default_rng(seed))


def spot(y: int, x: int, height: float, sigma: float = 3.0) -> np.ndarray:
    rows, columns = np.indices(SHAPE)
    return height * np.exp(-((rows - y) ** 2 + (columns - x) ** 2) / (2 * sigma**2))


@pytest.mark.parametrize("correlation", [((1.0,),), ((1.0, 0.5, 0.1), (0.4, 0.2, 0.04))])
def test_the_deviation_of_noise_has_variance_1_everywhere(correlation) -> None:
    noise = NoiseModel(least=9.0, correlation=correlation)
    flat = np.full(SHAPE, 50.0)
    maps = [find_contradictions(noisy(flat, noise, seed), flat, noise).deviation for seed in range(60)]
    variance = np.square(maps).mean(0)
    assert variance.mean() == pytest.approx(1, abs=0.1)
    for edge in (variance[:2], variance[-2:], variance[:, :2], variance[:, -2:]):
        assert edge.mean() == pytest.approx(1, abs=0.2)


def test_nothing_is_found_in_most_perfect_restorations() -> None:
    found = [find_contradictions(noisy(truth(seed), seed=seed), truth(seed), NOISE).share > 0 for seed in range(40)]
    # of 40 tests at 5 %, more than 5 by chance in one case of 50
    assert sum(found) <= 5


@pytest.mark.parametrize("noise", [NOISE, None])
def test_what_was_erased_is_positive_and_what_was_invented_negative(noise) -> None:
    clean = truth()
    image = noisy(clean)
    result = find_contradictions(image, clean - spot(40, 50, 80) + spot(120, 150, 80), noise)
    assert result.deviation[40, 50] > result.threshold
    assert result.deviation[120, 150] < -result.threshold
    near = (spot(40, 50, 1, 8) + spot(120, 150, 1, 8)) > 0.01
    assert (result.found & ~near).sum() <= 2 * RATE * result.found.sum()
    assert np.isnan(result.marked()[~result.found]).all()
    y, x = result.worst
    assert min(math.hypot(y - 40, x - 50), math.hypot(y - 120, x - 150)) < 4


def test_gain_and_offset_of_the_restoration_do_not_matter() -> None:
    clean = truth()
    image, made = noisy(clean), clean - spot(40, 50, 80)
    one, other = (find_contradictions(image, each, NOISE) for each in (made, 5 * made - 300))
    assert np.allclose(one.deviation, other.deviation, atol=1e-4)
    assert one.worst == other.worst


def test_what_is_found_is_what_benjamini_and_hochberg_find() -> None:
    clean = truth()
    result = find_contradictions(noisy(clean), clean - spot(40, 50, 60), NOISE)
    p_values = 2 * norm.sf(np.abs(result.deviation.astype(np.float64)))
    assert np.array_equal(result.found, false_discovery_control(p_values.ravel()).reshape(SHAPE) <= RATE)
    assert result.found.any()


def test_a_perfect_restoration_has_no_worst_place() -> None:
    clean = truth()
    result = find_contradictions(noisy(clean), clean, NOISE)
    assert (result.share, result.worst, result.threshold) == (0, None, math.inf)


def test_what_is_removed_in_much_of_the_frame_is_found_too() -> None:
    clean = truth()
    result = find_contradictions(noisy(clean), np.full(SHAPE, clean.mean()), NOISE)
    assert result.share > 0.3


def test_noise_whose_average_is_not_known_is_refused() -> None:
    clean = truth()
    with pytest.raises(InputError, match="offsets of their own"):
        find_contradictions(noisy(clean), clean, NoiseModel(least=100, rows=10))
    with pytest.raises(InputError, match="holds no noise"):
        find_contradictions(clean, clean, NoiseModel())
    shared = clean + gaussian_filter(noisy(clean) - clean, 0.8)
    with pytest.raises(InputError, match="correlates from pixel to pixel otherwise"):
        find_contradictions(shared, clean, NOISE)
    with pytest.raises(InputError, match="at least 32 x 32 px"):
        find_contradictions(clean[:30], clean[:30], NOISE)
    with pytest.raises(InputError, match="same shape"):
        find_contradictions(clean, clean[:-1], NOISE)
    with pytest.raises(InputError, match="rate above 0"):
        find_contradictions(clean, clean, NOISE, rate=1.0)
