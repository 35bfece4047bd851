"""Stein's estimate of the error is right without the ground truth, if the noise is known."""

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from napari_care_losses.evaluation.without_truth.stein import probe
from napari_care_losses.images.noise.model import NoiseModel
from napari_care_losses.simulation.pairs_and_movies import simulate_pair

NEIGHBOURS = ((1.0, 0.5, 0.1), (0.5, 0.25, 0.05), (0.1, 0.05, 0.01))


@pytest.fixture(scope="module")
def truth():
    return gaussian_filter(simulate_pair("actin", (384, 384), seed=7)[1].astype(float), 1)


@pytest.mark.parametrize(
    "noise",
    [NoiseModel(least=900.0), NoiseModel(slope=2.0), NoiseModel(least=900.0, correlation=NEIGHBOURS)],
    ids=["even", "photons", "correlated"],
)
@pytest.mark.parametrize("sigma", [0.6, 1.0, 2.0])
def test_the_estimate_is_the_true_error(truth, noise, sigma):
    noisy = truth + noise.draw(truth, np.random.default_rng(1))
    asked = probe(noisy, noise, np.random.default_rng(2))
    restored, changed = (gaussian_filter(image, sigma) for image in (asked.image, asked.changed))
    true = np.square(restored - truth).mean()
    assert asked.error(restored, changed) == pytest.approx(true, abs=0.05 * noise.variance(truth).mean())


def test_correlated_noise_taken_for_independent_looks_like_structure(truth):
    noise = NoiseModel(least=900.0, correlation=NEIGHBOURS)
    noisy = truth + noise.draw(truth, np.random.default_rng(1))
    asked = probe(noisy, NoiseModel(least=900.0), np.random.default_rng(2))
    restored, changed = (gaussian_filter(image, 0.6) for image in (asked.image, asked.changed))
    assert asked.error(restored, changed) < 0.7 * np.square(restored - truth).mean()
