"""The PSNR without a ground truth, against the true one."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
from scipy.ndimage import convolve, gaussian_filter

from napari_care_losses.errors import InputError
from napari_care_losses.evaluation.metrics import score
from napari_care_losses.evaluation.without_truth.estimated_psnr import PsnrEstimator, estimate_psnr
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
    assert abs(estimated.psnr - true) < estimated.uncertainty


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
    assert np.allclose(plain, other, atol=0.01)


def test_the_best_of_several_is_told_though_the_psnr_of_each_is_uncertain() -> None:
    clean, sigmas = truth(128), (1.5, 1.8, 2.2, 2.7)
    picked, behind, unsure = [], [], []
    for seed in range(8):
        noisy = clean + NOISE["photons"].draw(clean, np.random.default_rng(seed))
        estimator = PsnrEstimator(noisy, NOISE["photons"], probes=1)
        blurs = [partial(gaussian_filter, sigma=sigma) for sigma in sigmas]
        found = estimator.estimates([estimator.measure(blur) for blur in blurs])
        true = np.array([score(blur(noisy), clean)["psnr"] for blur in blurs])
        best = int(np.argmax([each.psnr for each in found]))
        assert found[best].behind == found[best].behind_uncertainty == 0
        picked.append(true.max() - true[best])
        gaps = [each.behind - (true[best] - one) for each, one in zip(found, true, strict=True)]
        behind += [abs(gap) <= each.behind_uncertainty for gap, each in zip(gaps, found, strict=True)]
        unsure.append(np.mean([each.behind_uncertainty / each.uncertainty for each in found]))
    assert np.mean(picked) < 0.05
    assert np.mean(behind) > 0.9
    assert max(unsure) < 0.5


def test_the_chance_in_one_probe_is_known() -> None:
    clean, found = truth(128), []
    noisy = clean + NOISE["photons"].draw(clean, np.random.default_rng(0))
    for seed in range(24):
        estimator = PsnrEstimator(noisy, NOISE["photons"], probes=1, seed=seed)
        # nothing else differs from one probe to the next
        one, other = (estimator.measure(partial(gaussian_filter, sigma=sigma)) for sigma in (0.8, 1.5))
        gap = 2 * (one.slope(1) * one.responses.mean() - other.slope(1) * other.responses.mean())
        found.append((gap, estimator._spread_of_probes(1.0, one, other)))
    gaps, spreads = np.transpose(found)
    assert 0.6 < np.sqrt(np.square(spreads).mean()) / gaps.std(ddof=1) < 1.7


def test_an_estimate_takes_three_restorations_and_two_where_several_are_compared() -> None:
    calls: list[int] = []

    def restore(frame: np.ndarray) -> np.ndarray:
        calls.append(frame.size)
        return blurred(frame)

    estimate_psnr(truth(), restore, NOISE["even"])
    assert len(calls) == 3
    PsnrEstimator(truth(), NOISE["even"], probes=1).measure(restore)
    assert len(calls) == 5


def test_the_best_blur_is_found_without_the_truth() -> None:
    clean = truth()
    noisy = clean + NOISE["photons"].draw(clean, np.random.default_rng(1))
    estimator = PsnrEstimator(noisy, NOISE["photons"])
    blurred_best, *others = estimator.estimates(
        [estimator.plain_blur(), *(estimator.measure(partial(gaussian_filter, sigma=sigma)) for sigma in (0.5, 8))]
    )
    assert blurred_best.behind == 0
    assert all(other.behind > other.behind_uncertainty for other in others)


def test_where_chance_hides_the_error_the_response_to_noise_tells_it() -> None:
    # the posterior mean of independent normal pixels: its error is its response to noise
    rng = np.random.default_rng(3)
    clean = gaussian_filter(rng.normal(size=(64, 64)), 4, mode="wrap")
    power = np.square(np.abs(np.fft.fft2(clean)))
    noise = NoiseModel(least=float(clean.var()))
    gain = gaussian_filter(power, 2, mode="wrap")
    gain /= gain + clean.size * noise.least

    def wiener(frame: np.ndarray) -> np.ndarray:
        return np.fft.ifft2(gain * np.fft.fft2(frame)).real

    gaps, alone = [], []
    for _ in range(10):
        noisy = clean + noise.draw(clean, rng)
        found = estimate_psnr(noisy, wiener, noise)
        true = score(wiener(noisy), clean)["psnr"]
        gaps.append(found.psnr - true)
        error = np.square(wiener(noisy) - clean).mean()
        alone.append(np.square(wiener(noisy) - noisy).mean() - noise.least + 2 * noise.least * gain.mean() - error)
    # Stein's estimate alone is off by half the error
    assert np.std(alone) > 0.3 * error
    assert np.std(gaps) < 1


def test_a_restoration_that_is_blind_to_the_pixel_itself_is_judged_by_what_it_removed_alone() -> None:
    clean = truth()
    noisy = clean + NOISE["photons"].draw(clean, np.random.default_rng(2))
    ring = np.ones((5, 5)) / 24
    ring[2, 2] = 0
    found = estimate_psnr(noisy, lambda frame: convolve(frame.astype(np.float64), ring), NOISE["photons"])
    assert abs(found.psnr - score(convolve(noisy, ring), clean)["psnr"]) < 1


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
