"""The photons behind grey levels."""

import numpy as np
import pytest
from scipy.stats import norm, poisson

from napari_care_losses.images.noise.photons import draw_photons, read_noise_of


@pytest.mark.parametrize(("level", "light", "read_noise"), [(-0.7, 0.4, 1.0), (2.6, 3.0, 0.3), (7.0, 12.0, 25.0)])
def test_photons_are_drawn_as_bayes_rule_says(level, light, read_noise):
    counts = np.arange(60)
    expected = poisson.pmf(counts, light) * norm.pdf(level, counts, np.sqrt(read_noise))
    expected /= expected.sum()
    draws = 100_000
    drawn = draw_photons(np.full(draws, level), np.full(draws, light), read_noise, np.random.default_rng(0))
    found = np.bincount(drawn.astype(int), minlength=60) / draws
    np.testing.assert_allclose(found, expected, atol=0.006)


def test_there_are_no_photons_where_there_is_no_light():
    levels, light = np.array([-3.0, 0.0, 50.0]), np.array([-1.0, 0.0, 0.0])
    assert draw_photons(levels, light, 2.0, np.random.default_rng(0)).tolist() == [0, 0, 0]


@pytest.mark.parametrize("deviation", [0.0, 1.0, 2.0, 5.0])
def test_read_noise_is_told_from_photons(deviation):
    rng = np.random.default_rng(0)
    y, x = np.indices((160, 160)) / 160
    photons = 0.3 + 8 * np.sin(3 * y) ** 2 * np.sin(4 * x) ** 2
    levels = rng.poisson(photons) + rng.normal(0, deviation, photons.shape) + deviation**2
    hot = rng.integers(0, levels.size, 20)
    levels.ravel()[hot] += 300
    found = read_noise_of(levels)
    assert found < 0.1 if deviation == 0 else found == pytest.approx(deviation**2, rel=0.35)
