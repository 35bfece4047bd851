"""Noise estimated from single images: simulated ones of known noise, and real ones against their ground truth."""

from __future__ import annotations

from itertools import product
from typing import TYPE_CHECKING

import numpy as np
import pytest
import tifffile
from scipy.ndimage import gaussian_filter

from napari_care_losses.errors import InputError
from napari_care_losses.images.noise.estimate import estimate_noise
from napari_care_losses.simulation.microscope import Microscope, blur
from napari_care_losses.simulation.pairs_and_movies import STRUCTURES as ALL_STRUCTURES
from napari_care_losses.simulation.pairs_and_movies import draw_structure

if TYPE_CHECKING:
    from pathlib import Path

    from napari_care_losses.images.noise.model import NoiseModel

SHAPE = (384, 384)
GAIN, OFFSET, READ = 2.0, 100.0, 1.0
STRUCTURES = ("actin", "mitochondria", "dendra")
PHOTONS = (1, 10, 100, 1000)


@pytest.fixture(scope="module")
def lights() -> dict[str, np.ndarray]:
    """Light of a field of each structure, about 1 in its brightest pixels."""
    fields = {}
    for name in STRUCTURES:
        light = blur(draw_structure(name, SHAPE, np.random.default_rng(3)), Microscope())
        fields[name] = light / np.percentile(light, 99.9)
    return fields


def recorded(electrons: np.ndarray, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return GAIN * (rng.poisson(electrons) + rng.normal(0, READ, electrons.shape)) + OFFSET


def deviation_error(noise: NoiseModel, brightness: np.ndarray, variance: np.ndarray) -> float:
    """Return by how much the estimated standard deviation is off, over the whole image."""
    return float(np.sqrt(noise.variance(brightness).mean() / variance.mean())) - 1


@pytest.mark.parametrize("structure", STRUCTURES)
@pytest.mark.parametrize("photons", PHOTONS)
def test_noise_of_a_camera(lights: dict[str, np.ndarray], structure: str, photons: float) -> None:
    electrons = photons * lights[structure]
    noise = estimate_noise(np.rint(recorded(electrons)))
    brightness, variance = GAIN * electrons + OFFSET, GAIN**2 * (electrons + READ**2)
    assert noise.is_white
    assert deviation_error(noise, brightness, variance) == pytest.approx(0, abs=0.04)
    for end in (brightness <= np.quantile(brightness, 0.1), brightness >= np.quantile(brightness, 0.9)):
        assert deviation_error(noise, brightness[end], variance[end]) == pytest.approx(0, abs=0.07)


@pytest.mark.parametrize("structure", STRUCTURES)
@pytest.mark.parametrize("photons", PHOTONS[:-1])
@pytest.mark.parametrize("sigma", [(0.6, 0.6), (0.8, 0.8), (1.0, 1.0), (0.0, 0.5), (0.0, 0.8)])
def test_noise_that_neighbours_share(
    lights: dict[str, np.ndarray], structure: str, photons: float, sigma: tuple[float, float]
) -> None:
    electrons = photons * lights[structure]
    unit = np.zeros((65, 65))
    unit[32, 32] = 1
    kernel = gaussian_filter(unit, sigma, truncate=6)
    shared = np.square(kernel)
    brightness = gaussian_filter(GAIN * electrons + OFFSET, sigma)
    variance = GAIN**2 * (gaussian_filter(electrons, sigma) + READ**2) * shared.sum()
    noise = estimate_noise(gaussian_filter(recorded(electrons), sigma))
    assert deviation_error(noise, brightness, variance) == pytest.approx(0, abs=0.15)
    overlap = [(kernel * np.roll(kernel, 1, axis)).sum() / shared.sum() for axis in (0, 1)]
    assert noise.correlation[1][0] == pytest.approx(overlap[0], abs=0.1)
    assert noise.correlation[0][1] == pytest.approx(overlap[1], abs=0.1)
    assert 0.6 < noise.correlated_pixels * shared.sum() < 1.4


@pytest.mark.parametrize("structure", STRUCTURES)
@pytest.mark.parametrize("sigma", [(0.6, 0.6), (0.8, 0.8), (0.0, 0.8)])
def test_noise_that_neighbours_share_is_found_in_whole_grey_levels(
    lights: dict[str, np.ndarray], structure: str, sigma: tuple[float, float]
) -> None:
    for photons in (1, 10, 100):
        frame = gaussian_filter(recorded(photons * lights[structure]), sigma)
        noise, rounded = (estimate_noise(each) for each in (frame, np.rint(frame)))
        assert rounded.correlation[0][1] == pytest.approx(noise.correlation[0][1], abs=0.1)
        assert rounded.correlation[0][1] > 0.3


@pytest.mark.parametrize("structure", STRUCTURES)
@pytest.mark.parametrize("photons", PHOTONS)
def test_rows_with_offsets_of_their_own(lights: dict[str, np.ndarray], structure: str, photons: float) -> None:
    electrons = photons * lights[structure]
    variance = GAIN**2 * (electrons + READ**2)
    offsets = np.random.default_rng(1).normal(0, 0.5 * variance.mean() ** 0.5, (SHAPE[0], 1))
    frame = recorded(electrons) + offsets
    for noise, along in ((estimate_noise(frame), 0), (estimate_noise(frame.T), 1)):
        assert (noise.rows, noise.columns)[1 - along] == 0
        assert (noise.rows, noise.columns)[along] == pytest.approx(offsets.var(), rel=0.6)
        light = electrons if along == 0 else electrons.T
        everything = GAIN**2 * (light + READ**2) + offsets.var()
        assert deviation_error(noise, GAIN * light + OFFSET, everything) == pytest.approx(0, abs=0.12)


@pytest.mark.parametrize("structure", STRUCTURES)
@pytest.mark.parametrize("photons", PHOTONS)
def test_images_stretched_to_8_bits(lights: dict[str, np.ndarray], structure: str, photons: float) -> None:
    frames = np.array([recorded(photons * lights[structure], i) for i in range(10)])
    for ends in ((0.1, 99.9), (20, 99)):
        low, high = np.percentile(frames[0], ends)
        shots = np.clip(np.rint((frames - low) / (high - low) * 255), 0, 255)
        noise = estimate_noise(shots[0].astype(np.uint8))
        assert noise.correlated_pixels == 1
        assert deviation_error(noise, shots.mean(0), shots.var(0, ddof=1)) == pytest.approx(0, abs=0.12)


@pytest.mark.parametrize("structure", STRUCTURES)
@pytest.mark.parametrize("sigma", [0, 0.8])
def test_noise_beside_the_ground_truth(lights: dict[str, np.ndarray], structure: str, sigma: float) -> None:
    electrons = 30 * lights[structure]
    frame, truth = (gaussian_filter(each, sigma) for each in (recorded(electrons), electrons))
    noise = estimate_noise(frame, 1e-3 * truth - 7)
    true = np.square(frame - (GAIN * truth + OFFSET)).mean()
    assert noise.variance(GAIN * truth + OFFSET).mean() == pytest.approx(true, rel=0.05)
    assert noise.is_white == (sigma == 0)


@pytest.mark.parametrize("structure", ALL_STRUCTURES)
def test_structure_in_every_block_is_not_taken_for_noise(structure: str) -> None:
    for seed in (10, 13, 14):
        field = blur(draw_structure(structure, (256, 256), np.random.default_rng(seed)), Microscope())
        field /= np.percentile(field, 99.9)
        for light, spread in product((field, field[96:-96, 96:-96]), (0.003, 0.01, 0.1)):
            noise = estimate_noise(light + np.random.default_rng(100 + seed).normal(0, spread, light.shape))
            assert abs(np.log(noise.variance(light).mean() / spread**2)) < np.log(1.5)
            assert noise.correlated_pixels < 2


@pytest.mark.parametrize("size", [64, 256])
def test_sharp_edges_are_not_taken_for_noise(size: int) -> None:
    for seed in range(3):
        rng = np.random.default_rng(seed)
        truth = np.kron(rng.uniform(20, 200, (size // 8, size // 8)), np.ones((8, 8)))
        noise = estimate_noise(rng.poisson(truth))
        assert noise.is_white
        assert noise.variance(truth).mean() == pytest.approx(truth.mean(), rel=0.4)


def test_gain_and_offset_of_the_grey_levels_are_followed(lights: dict[str, np.ndarray]) -> None:
    frame = np.rint(recorded(10 * lights["actin"]))
    noise, scaled = estimate_noise(frame), estimate_noise(frame / 255 - 4)
    levels = np.linspace(90, 130, 5)
    np.testing.assert_allclose(scaled.variance(levels / 255 - 4), noise.variance(levels) / 255**2, rtol=1e-3)


def test_large_frames_are_sampled() -> None:
    rng = np.random.default_rng(0)
    frame = np.tile(rng.normal(100, 3, (520, 520)), (4, 5))
    assert estimate_noise(frame).variance(100.0) == pytest.approx(9, rel=0.05)


def test_pixels_without_a_value_and_hot_pixels_are_left_out() -> None:
    rng = np.random.default_rng(0)
    frame = rng.normal(100, 3, (256, 256))
    frame[rng.integers(0, 256, 40), rng.integers(0, 256, 40)] = 5000
    frame[:30] = np.nan
    frame[-1, -1] = np.inf
    frame[:, :40] = 0
    assert estimate_noise(frame).variance(100.0) == pytest.approx(9, rel=0.15)


@pytest.mark.parametrize("shape", [(4, 9), (5, 40), (15, 300), (16, 16), (40, 33)])
def test_small_images(shape: tuple[int, int]) -> None:
    found = [estimate_noise(np.random.default_rng(i).normal(7, 2, shape)).variance(7.0) for i in range(60)]
    assert np.mean(found) == pytest.approx(4, rel=0.35)


@pytest.mark.parametrize(
    "image", [np.full((64, 64), 7), np.full((1, 1), 0.1), np.arange(9.0)[None], np.full((20, 20), np.nan)]
)
def test_images_without_noise_have_none(image: np.ndarray) -> None:
    assert estimate_noise(image).variance(7.0) == 0


@pytest.mark.parametrize("dtype", ["bool", "u1", ">u2", "i4", "f2", ">f4"])
def test_every_real_dtype_is_taken(dtype: str) -> None:
    image = np.random.default_rng(0).poisson(20, (64, 64)).clip(0, 255)
    image = image > 20 if dtype == "bool" else image.astype(dtype)
    expected = estimate_noise(image.astype(np.float64))
    assert estimate_noise(image) == expected
    assert expected.variance(20.0) > 0


@pytest.mark.parametrize(
    ("image", "truth", "words"),
    [
        (np.zeros((2, 20, 20)), None, r"single 2D.*\(2, 20, 20\)"),
        (np.zeros((20, 20), complex), None, "real numbers.*complex128"),
        (np.zeros((20, 20)), np.zeros((20, 21)), r"same shape, found \(20, 20\) and \(20, 21\)"),
    ],
)
def test_images_that_cannot_be_used_are_refused(image: np.ndarray, truth: np.ndarray | None, words: str) -> None:
    with pytest.raises(InputError, match=words):
        estimate_noise(image, truth)


REAL = {
    **{f"w2s/{name}": (60, 64, 68) for name in ("actin", "mitochondria")},
    **{f"high_low/{name}": (0,) for name in ("actin-20x-noise1", "mito-60x-noise1", "membrane")},
    **{f"other_microscopes/{name}": (0,) for name in ("widefield", "confocal", "twophoton")},
}


@pytest.mark.parametrize("name", REAL)
def test_real_images_agree_with_their_ground_truth(shared_data: Path, name: str) -> None:
    for frame in REAL[name]:
        low, high = (tifffile.imread(shared_data / f"{name}_{which}.tif", key=frame) for which in ("low", "high"))
        alone, beside = estimate_noise(low), estimate_noise(low, high)
        assert deviation_error(alone, low, beside.variance(low)) == pytest.approx(0, abs=0.12)
        for lag in ((0, 1), (1, 0), (1, 1)):
            correlations = [np.array(noise.correlation)[lag] for noise in (alone, beside)]
            assert correlations[0] == pytest.approx(correlations[1], abs=0.1)


def test_a_faint_patch_beside_a_bright_one_on_black_gives_no_warning() -> None:
    rng, image = np.random.default_rng(0), np.zeros((512, 512))
    image[40:140, 40:140] = rng.normal(5e4, 1e4, (100, 100))
    image[140:400, 300:460] = rng.normal(0, 1e-3, (260, 160))
    # sums over neighbouring blocks are rounded to more than the faint ones have
    noise = estimate_noise(image)
    assert np.isfinite(noise.variance(image)).all()
