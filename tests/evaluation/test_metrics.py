from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage
from skimage.metrics import normalized_root_mse, peak_signal_noise_ratio, structural_similarity

from napari_care_losses.errors import InputError
from napari_care_losses.evaluation.metrics import (
    METRICS,
    ScaledTruth,
    align,
    grey_levels,
    psnr,
    scale_truth,
    score,
)
from napari_care_losses.evaluation.structural_similarity import ssim

SHAPES = [(11, 11), (11, 40), (37, 64), (128, 96)]


def picture(shape: tuple[int, int] = (48, 64), seed: int = 0) -> np.ndarray:
    image = ndimage.gaussian_filter(np.random.default_rng(seed).random(shape), 2)
    return (image - image.min()) / np.ptp(image)


def noisy(image: np.ndarray, sigma: float = 0.1, seed: int = 1) -> np.ndarray:
    return image + np.random.default_rng(seed).normal(0, sigma, image.shape)


def reference(restored: np.ndarray, truth: np.ndarray) -> dict[str, float]:
    restored, truth = np.asarray(restored, dtype=np.float64), np.asarray(truth, dtype=np.float64)
    return {
        "psnr": peak_signal_noise_ratio(truth, restored, data_range=1),
        "ssim": structural_similarity(
            restored, truth, gaussian_weights=True, sigma=1.5, use_sample_covariance=False, data_range=1
        ),
        "nrmse": normalized_root_mse(truth, restored, normalization="euclidean"),
    }


@pytest.mark.parametrize("name", ["psnr", "ssim", "nrmse"])
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("dtype", ["f8", "f4", "f2", ">f4", "u1", "?"])
def test_metric_equals_scikit_image(name: str, shape: tuple[int, int], dtype: str) -> None:
    scale = 3 if dtype == "u1" else 1
    truth = np.round(scale * picture(shape), 0 if dtype in "u1?" else 6).astype(dtype)
    restored = np.clip(np.round(scale * noisy(picture(shape)), 0 if dtype in "u1?" else 6), 0, 3).astype(dtype)
    assert METRICS[name].function(restored, truth) == pytest.approx(reference(restored, truth)[name], abs=1e-6)


@settings(max_examples=25, deadline=None)
@given(
    height=st.integers(11, 40),
    width=st.integers(11, 40),
    seed=st.integers(0, 2**16),
    sigma=st.floats(1e-3, 2),
    offset=st.floats(-10, 10),
)
def test_metrics_equal_scikit_image(height: int, width: int, seed: int, sigma: float, offset: float) -> None:
    truth = picture((height, width), seed)
    restored = noisy(truth, sigma, seed + 1) + offset
    for name, expected in reference(restored, truth).items():
        assert METRICS[name].function(restored, truth) == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("name", METRICS)
def test_metric_prefers_the_better_image(name: str) -> None:
    truth = picture()
    better, worse = (METRICS[name].function(noisy(truth, sigma), truth) for sigma in (0.05, 0.2))
    assert (better > worse) == METRICS[name].higher_is_better


def test_truth_is_scaled_by_its_percentiles_and_not_clipped() -> None:
    truth = picture() * 300 + 100
    scaled = scale_truth(truth)
    np.testing.assert_allclose(np.percentile(scaled.image, [0.1, 99.9]), [0, 1], atol=1e-12)
    assert scaled.image.min() < 0
    assert scaled.image.max() > 1
    np.testing.assert_allclose(scaled.image * (scaled.high - scaled.low) + scaled.low, truth)


@settings(max_examples=25, deadline=None)
@given(gain=st.floats(0.01, 100), offset=st.floats(-1000, 1000), sign=st.sampled_from([-1, 1]))
def test_align_recovers_an_affine_map(gain: float, offset: float, sign: int) -> None:
    truth = picture()
    np.testing.assert_allclose(align(sign * gain * truth + offset, truth), truth, atol=1e-8)


def test_align_is_the_least_squares_fit() -> None:
    truth, restored = picture(), 3 * noisy(picture()) + 7
    slope, intercept = np.polyfit(restored.ravel(), truth.ravel(), 1)
    np.testing.assert_allclose(align(restored, truth), slope * restored + intercept)


def test_align_brings_a_constant_image_to_the_mean() -> None:
    truth = picture()
    np.testing.assert_allclose(align(np.full_like(truth, 0.1), truth), truth.mean())


@settings(max_examples=25, deadline=None)
@given(gain=st.floats(0.01, 100), offset=st.floats(-100, 100))
def test_aligned_score_ignores_gain_and_offset(gain: float, offset: float) -> None:
    truth, restored = picture() * 200 + 50, noisy(picture())
    expected = score(restored, truth)
    assert score(gain * restored + offset, truth) == pytest.approx(expected, abs=1e-6)
    unaligned = score(restored + 5, truth, aligned=False)
    assert unaligned["psnr"] < expected["psnr"] - 1


def test_aligned_score_follows_the_protocol() -> None:
    truth, restored = picture() * 200 + 50, noisy(picture())
    low, high = np.percentile(truth, [0.1, 99.9])
    target = (truth - low) / (high - low)
    slope, intercept = np.polyfit(restored.ravel(), target.ravel(), 1)
    expected = reference(slope * restored + intercept, target)
    assert {name: score(restored, truth)[name] for name in expected} == pytest.approx(expected, abs=1e-6)


def test_unaligned_score_scales_both_by_the_truth() -> None:
    truth = picture() * 200 + 50
    restored = noisy(truth, 10)
    low, high = np.percentile(truth, [0.1, 99.9])
    expected = reference((restored - low) / (high - low), (truth - low) / (high - low))
    found = score(restored, truth, aligned=False)
    assert {name: found[name] for name in expected} == pytest.approx(expected, abs=1e-6)


def test_scaled_truth_serves_in_place_of_the_truth() -> None:
    truth = (picture() * 255).astype(np.uint8)
    scaled = scale_truth(truth)
    assert isinstance(scaled, ScaledTruth)
    for aligned in (True, False):
        restored = noisy(truth, 9)
        assert score(restored, scaled, aligned=aligned) == score(restored, truth, aligned=aligned)


def test_perfect_image_scores_infinite_psnr_and_ssim_of_one() -> None:
    truth = (picture() * 255).astype(np.uint8)
    assert psnr(truth, truth) == math.inf
    assert ssim(truth, truth) == pytest.approx(1, abs=1e-12)
    for restored in (truth, 3.7 * truth.astype(float) - 12):
        best = {"psnr": math.inf, "ssim": 1, "micro_ssim": 1, "nrmse": 0, "rse": 0, "rsp": 1}
        assert score(restored, truth) == pytest.approx(best, abs=1e-9)
    assert score(truth, truth, aligned=False)["psnr"] == math.inf


@settings(max_examples=25, deadline=None)
@given(slope=st.floats(0.01, 100), intercept=st.floats(-1000, 1000))
def test_grey_levels_recover_slope_and_intercept(slope: float, intercept: float) -> None:
    truth = (picture() * 255).astype(np.uint8)
    levels = grey_levels(slope * truth + intercept, truth)
    assert (levels.slope, levels.intercept) == (pytest.approx(slope), pytest.approx(intercept, abs=1e-6))
    assert levels.r2 == pytest.approx(1)


def test_grey_levels_equal_linear_regression() -> None:
    truth, restored = picture(), 0.5 * noisy(picture(), 0.3) + 2
    levels = grey_levels(restored, truth)
    slope, intercept = np.polyfit(truth.ravel(), restored.ravel(), 1)
    assert (levels.slope, levels.intercept) == (pytest.approx(slope), pytest.approx(intercept))
    assert levels.r2 == pytest.approx(np.corrcoef(truth.ravel(), restored.ravel())[0, 1] ** 2)
    assert 0 < levels.r2 < 0.9


def test_grey_levels_of_a_constant_image_explain_nothing() -> None:
    levels = grey_levels(np.full((48, 64), 0.1), picture())
    assert (levels.slope, levels.intercept, levels.r2) == (0, 0.1, 0)


@pytest.mark.parametrize("function", [psnr, ssim, align, score, grey_levels])
@pytest.mark.parametrize(
    ("restored", "truth", "words"),
    [
        (picture(), picture((64, 48)), r"same shape.*\(48, 64\).*\(64, 48\)"),
        (picture()[None], picture(), r"restored image.*single 2D.*\(1, 48, 64\)"),
        (picture(), picture()[None], r"truth.*single 2D.*\(1, 48, 64\)"),
        (picture((10, 40)), picture((10, 40)), r"at least 11 x 11 px.*\(10, 40\)"),
        (picture() * 1j, picture(), "real numbers.*complex128"),
        (picture() + np.nan, picture(), "restored image.*finite"),
        (picture(), picture() / 0.5 + np.inf, "truth.*finite"),
        (picture(), np.full((48, 64), 0.1), "contrast.*0.1"),
    ],
)
def test_images_that_cannot_be_compared_are_refused(
    function: object, restored: np.ndarray, truth: np.ndarray, words: str
) -> None:
    with pytest.raises(InputError, match=words):
        function(restored, truth)  # type: ignore[operator]


def test_truth_whose_percentiles_coincide_is_refused() -> None:
    truth = np.zeros((64, 64))
    truth[3, 5] = 9
    with pytest.raises(InputError, match=r"contrast.*both 0"):
        score(picture((64, 64)), truth)


@pytest.mark.parametrize("height", [11, 25, 27, 138, 139, 200])
def test_ssim_is_the_same_however_many_blocks_it_takes(height: int) -> None:
    truth = picture((height, 30))
    restored = noisy(truth)
    assert ssim(restored, truth) == pytest.approx(reference(restored, truth)["ssim"], abs=1e-7)
