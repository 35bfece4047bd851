from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
import tifffile
from scipy import ndimage

from napari_care_losses.comparison import baselines
from napari_care_losses.comparison.baselines import BASELINES, fit, restore_in_steps, restore_with, tune
from napari_care_losses.errors import InputError
from napari_care_losses.evaluation.metrics import score

if TYPE_CHECKING:
    from pathlib import Path

SHAPE = (80, 96)


def blobs(seed: int = 0, shape: tuple[int, int] = SHAPE) -> np.ndarray:
    """Bright blobs on a dark ground, 0..1."""
    field = ndimage.gaussian_filter(np.random.default_rng(seed).normal(size=shape), 4)
    return np.clip(field / field.max(), 0, None)


def exposed(truth: np.ndarray, photons: float, seed: int = 1) -> np.ndarray:
    """Poisson and read noise (1 electron) on an offset of 100, quantised as a camera does."""
    rng = np.random.default_rng(seed)
    counts = rng.poisson(photons * (truth + 0.05)) + rng.normal(0, 1, truth.shape)
    return np.round(counts + 100).clip(0).astype(np.uint16)


@pytest.mark.parametrize("name", BASELINES)
@pytest.mark.parametrize(("photons", "gain"), [(5, 7.0), (50, 5.0), (500, 2.0)])
def test_baseline_improves_noisy_images_at_every_exposure(name: str, photons: float, gain: float) -> None:
    truth = blobs()
    noisy = exposed(truth, photons)
    before, after = score(noisy, truth), score(restore_with(name, noisy), truth)
    assert after["psnr"] > before["psnr"] + gain
    assert after["ssim"] > before["ssim"]


@pytest.mark.parametrize("name", BASELINES)
@pytest.mark.parametrize("photons", [1, 50])
def test_tiles_give_the_image_of_the_whole(name: str, photons: float, monkeypatch: pytest.MonkeyPatch) -> None:
    # what a total variation reaches over is wide
    repeats = 3 if name == "tv" else 2
    noisy = np.tile(exposed(blobs(shape=(96, 128)), photons), (repeats, repeats))
    whole = restore_with(name, noisy)
    monkeypatch.setattr(baselines, "_TILE", 100)
    *tiles, restored = restore_in_steps(name, noisy)
    assert len(tiles) > 3
    assert not any(step is not None for step in tiles)
    np.testing.assert_allclose(restored, whole, rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize("name", BASELINES)
@pytest.mark.parametrize("strength", [1 / 12, 12])
def test_default_strength_beats_other_strengths(name: str, strength: float) -> None:
    truth = blobs()
    noisy = exposed(truth, 50)
    other = restore_with(name, noisy, strength=strength)
    assert score(restore_with(name, noisy), truth)["psnr"] > score(other, truth)["psnr"] + 0.3


@pytest.mark.parametrize("name", BASELINES)
@pytest.mark.parametrize("photons", [5, 50, 500])
def test_default_strength_is_near_the_tuned_one(name: str, photons: float) -> None:
    truth = blobs()
    noisy = exposed(truth, photons)
    tuned = restore_with(name, noisy, strength=tune(name, [(noisy, truth)]))
    assert score(restore_with(name, noisy), truth)["psnr"] > score(tuned, truth)["psnr"] - 0.5


@pytest.mark.parametrize("name", BASELINES)
@pytest.mark.parametrize("block", [4, 8, 16])
def test_sharp_edges_are_kept_by_the_default_strength(name: str, block: int) -> None:
    rng = np.random.default_rng(0)
    truth = np.kron(rng.uniform(20, 200, (64 // block, 64 // block)), np.ones((block, block)))
    noisy = rng.poisson(truth)
    chosen, *others = (
        score(restore_with(name, noisy, strength=s), truth)["psnr"] for s in (1, 0.25, 0.35, 0.5, 0.7, 1.4)
    )
    assert chosen > max(others) - 1


@pytest.mark.parametrize("name", BASELINES)
def test_tune_finds_the_best_of_its_grid(name: str) -> None:
    truth = blobs()
    pairs = [(exposed(truth, 50, seed), truth) for seed in (1, 2)]

    def quality(strength: float) -> float:
        return sum(score(restore_with(name, noisy, strength=strength), truth)["psnr"] for noisy, _ in pairs)

    best = tune(name, iter(pairs))
    assert quality(best) >= max(quality(best / 2**0.5), quality(best * 2**0.5), quality(1.0))


@pytest.mark.parametrize("name", BASELINES)
@pytest.mark.parametrize(("gain", "offset"), [(1 / 255, 0.0), (40.0, -500.0), (1e-4, 7.0)])
def test_result_follows_the_units_of_the_input(name: str, gain: float, offset: float) -> None:
    noisy = exposed(blobs(), 50).astype(np.float64)
    expected = gain * restore_with(name, noisy).astype(np.float64) + offset
    restored = restore_with(name, gain * noisy + offset)
    assert restored.dtype == np.float32
    assert restored.mean() == pytest.approx(gain * noisy.mean() + offset, abs=0.02 * gain * np.ptp(noisy))
    np.testing.assert_allclose(restored, expected, atol=1e-4 * gain * np.ptp(noisy), rtol=1e-6)


@pytest.mark.parametrize("name", BASELINES)
@pytest.mark.parametrize("dtype", ["u1", ">u2", "i4", "f2", ">f4", "f8"])
def test_any_real_dtype_gives_the_same_image(name: str, dtype: str) -> None:
    noisy = exposed(blobs(), 20)
    np.testing.assert_allclose(restore_with(name, noisy.astype(dtype)), restore_with(name, noisy), rtol=1e-6)


@pytest.mark.parametrize("name", BASELINES)
@pytest.mark.parametrize("value", [0, 7, 0.1])
def test_constant_images_return_themselves(name: str, value: float) -> None:
    image = np.full((20, 30), value)
    np.testing.assert_array_equal(restore_with(name, image), image.astype(np.float32))


@pytest.mark.parametrize("name", BASELINES)
@pytest.mark.parametrize("shape", [(1, 1), (1, 9), (3, 2), (5, 5), (13, 40)])
def test_small_frames_keep_their_shape(name: str, shape: tuple[int, int]) -> None:
    image = np.random.default_rng(0).integers(0, 255, shape).astype(np.uint8)
    restored = restore_with(name, image)
    assert restored.shape == shape
    assert np.isfinite(restored).all()


@pytest.mark.parametrize("name", BASELINES)
def test_frame_with_few_photons_is_denoised(name: str) -> None:
    truth = blobs()
    counts = np.random.default_rng(3).poisson(0.3 * truth).astype(np.uint8)
    assert (counts == 0).mean() > 0.9
    assert score(restore_with(name, counts), truth)["psnr"] > score(counts, truth)["psnr"] + 0.5


def test_boolean_frame_is_accepted() -> None:
    mask = np.random.default_rng(0).random(SHAPE) < 0.2 + 0.6 * blobs()
    assert np.ptp(restore_with("tv", mask)) < 1


@pytest.mark.parametrize("name", BASELINES)
def test_real_images_gain(name: str, shared_data: Path) -> None:
    for structure in ("mitochondria", "actin"):
        noisy, truth = (
            tifffile.imread(shared_data / "w2s" / f"{structure}_{kind}.tif", key=60)[128:384, 128:384]
            for kind in ("low", "high")
        )
        assert score(restore_with(name, noisy), truth)["psnr"] > score(noisy, truth)["psnr"] + 5


@pytest.mark.parametrize(
    ("image", "words"),
    [
        (np.zeros((2, 20, 20)), r"single 2D.*\(2, 20, 20\)"),
        (np.zeros((0, 20)), r"single 2D.*\(0, 20\)"),
        (np.zeros((20, 20), dtype=complex), "real numbers.*complex128"),
        (np.full((20, 20), np.nan), "finite"),
    ],
)
def test_frames_that_cannot_be_used_are_refused(image: np.ndarray, words: str) -> None:
    with pytest.raises(InputError, match=words):
        restore_with("tv", image)


@pytest.mark.parametrize("strength", [0, -1, np.nan, np.inf])
def test_strength_must_be_positive(strength: float) -> None:
    with pytest.raises(InputError, match="above 0"):
        restore_with("tv", exposed(blobs(), 20), strength=strength)


def test_unknown_baseline_is_refused() -> None:
    with pytest.raises(InputError, match=r"'median'.*tv, nl-means"):
        restore_with("median", blobs())
    with pytest.raises(InputError, match=r"'median'.*tv, nl-means"):
        tune("median", [])


def test_tune_needs_a_pair() -> None:
    with pytest.raises(InputError, match="at least one pair"):
        tune("tv", [])


@pytest.mark.parametrize("name", BASELINES)
def test_what_is_fitted_to_a_frame_denoises_others_in_the_same_way(name) -> None:
    rng = np.random.default_rng(5)
    frame = rng.poisson(np.repeat(np.repeat(rng.uniform(20, 200, (12, 12)), 8, axis=0), 8, axis=1))
    fitted = fit(name, frame)
    np.testing.assert_allclose(fitted.restore(frame), restore_with(name, frame), rtol=1e-4, atol=1e-3)
    # a frame that is less noisy would be denoised less by a fit of its own
    smooth = np.round(fitted.restore(frame))
    assert np.abs(fitted.restore(smooth) - smooth).mean() > np.abs(restore_with(name, smooth) - smooth).mean()
