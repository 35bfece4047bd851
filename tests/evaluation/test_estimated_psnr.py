"""The PSNR without a ground truth, against the true one."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from napari_care_losses.errors import InputError
from napari_care_losses.evaluation.estimated_psnr import estimate_psnr
from napari_care_losses.evaluation.metrics import score
from napari_care_losses.images.noise.estimate import estimate_noise
from napari_care_losses.images.noise.model import NoiseModel

NOISE = {
    "even": NoiseModel(least=900),
    "photons": NoiseModel(slope=8, intercept=-200),
    "few photons": NoiseModel(slope=60),
}


def truth(size: int = 256) -> np.ndarray:
    field = gaussian_filter(np.random.default_rng(7).random((size, size)), 3, mode="wrap")
    return 100 + 200 * (field - field.min()) / np.ptp(field)


def blurred(frame: np.ndarray) -> np.ndarray:
    return gaussian_filter(frame, 2)


@pytest.mark.parametrize("given", [True, False], ids=["noise known", "noise estimated"])
@pytest.mark.parametrize("kind", NOISE)
@pytest.mark.parametrize("seed", range(3))
def test_it_is_within_a_decibel_of_the_true_one(seed, kind, given) -> None:
    clean = truth()
    noisy = clean + NOISE[kind].draw(clean, np.random.default_rng(seed))
    estimated = estimate_psnr(noisy, blurred, NOISE[kind] if given else estimate_noise(noisy))
    true = score(blurred(noisy), clean)["psnr"]
    assert abs(estimated.psnr - true) < 1
    assert estimated.least < true < estimated.most


def test_what_oversmooths_is_told_from_what_does_not() -> None:
    clean = truth()
    noisy = clean + NOISE["photons"].draw(clean, np.random.default_rng(0))
    noise = estimate_noise(noisy)
    found, true = {}, {}
    for sigma in (1, 2, 4, 8):
        found[sigma] = estimate_psnr(noisy, lambda frame, sigma=sigma: gaussian_filter(frame, sigma), noise).psnr
        true[sigma] = score(gaussian_filter(noisy, sigma), clean)["psnr"]
    assert sorted(found, key=found.get) == sorted(true, key=true.get)


@pytest.mark.parametrize("sigma", [0, 0.45, 0.7])
def test_noise_that_is_left_in_is_not_missed(sigma) -> None:
    clean = truth()
    noisy = clean + NOISE["photons"].draw(clean, np.random.default_rng(0))
    found = estimate_psnr(noisy, lambda frame: gaussian_filter(frame, sigma), estimate_noise(noisy)).psnr
    assert abs(found - score(gaussian_filter(noisy, sigma), clean)["psnr"]) < 2


def test_other_grey_levels_change_nothing() -> None:
    clean = truth()
    noisy = clean + NOISE["photons"].draw(clean, np.random.default_rng(0))
    plain = estimate_psnr(noisy, blurred, NOISE["photons"])
    other = estimate_psnr(noisy, lambda frame: 0.1 * blurred(frame) - 7, NOISE["photons"])
    assert np.allclose(plain, other, atol=1e-3)


def test_an_error_that_cannot_be_told_from_none_has_no_upper_end() -> None:
    clean = truth(64)
    noisy = clean + NoiseModel(least=1e6).draw(clean, np.random.default_rng(0))
    estimated = estimate_psnr(noisy, lambda frame: clean + 1e-3 * frame, NoiseModel(least=1e6))
    assert math.isinf(estimated.most)
    assert estimated.least <= estimated.psnr < estimated.most


@pytest.mark.parametrize(
    ("image", "noise", "reason"),
    [
        (truth(), NoiseModel(least=9, correlation=((1.0, 0.3),)), r"neighbouring pixels correlates \(0.30\)"),
        (truth(), NoiseModel(least=9, rows=1), "rows or columns have offsets of their own"),
        (np.minimum(truth(), 200), NoiseModel(least=9), "of the pixels are saturated"),
        (truth()[:50], NoiseModel(least=9), "at least 64 x 64 px are needed, found 256 x 50"),
        (truth(), NoiseModel(), "it holds no noise"),
    ],
)
def test_what_cannot_be_estimated_is_refused_with_the_reason(image, noise, reason) -> None:
    with pytest.raises(InputError, match=reason):
        estimate_psnr(image, blurred, noise)


def test_a_constant_restoration_is_refused() -> None:
    with pytest.raises(InputError, match="the restored image is constant"):
        estimate_psnr(truth(), np.zeros_like, NoiseModel(least=9))
