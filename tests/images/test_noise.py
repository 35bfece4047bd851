"""The model of noise: its variance, its covariance, noise drawn from it, and its stabilisation."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_care_losses.images.noise.model import NoiseModel

# of noise averaged over 1, 2, 1 pixels along x and 1, 1 along y
BLURRED = ((1.0, 2 / 3, 1 / 6), (1 / 2, 1 / 3, 1 / 12))
PHOTONS = NoiseModel(slope=2.0, intercept=-190.0, least=10.0)


def test_the_variance_follows_brightness_down_to_the_least() -> None:
    levels = np.array([0.0, 99.0, 100.0, 150.0])
    np.testing.assert_allclose(PHOTONS.variance(levels), [10, 10, 10, 110])
    with_stripes = NoiseModel(slope=2.0, intercept=-190.0, least=10.0, rows=3.0, columns=4.0)
    np.testing.assert_allclose(with_stripes.variance(levels), [17, 17, 17, 117])


def test_the_variance_of_a_noisy_frame_is_that_of_the_brightness_around_a_pixel() -> None:
    light = np.repeat([200.0, 400.0], 60)[None].repeat(80, 0)
    noisy = light + PHOTONS.draw(light, np.random.default_rng(0))
    found = PHOTONS.variance_of(noisy)
    np.testing.assert_allclose(found[:, :50], PHOTONS.variance(200.0), rtol=0.15)
    np.testing.assert_allclose(found[:, 70:], PHOTONS.variance(400.0), rtol=0.15)


@pytest.mark.parametrize(
    ("noise", "is_white", "pixels"),
    [
        (PHOTONS, True, 1.0),
        (NoiseModel(least=1.0, correlation=((1.0, 0.0), (0.0, 0.0))), True, 1.0),
        (NoiseModel(least=1.0, rows=0.1), False, 1.0),
        (NoiseModel(least=1.0, correlation=BLURRED), False, 2 * (1 + 4 / 3 + 1 / 3)),
    ],
)
def test_correlated_noise_is_told_from_white(noise: NoiseModel, is_white: bool, pixels: float) -> None:
    assert noise.is_white == is_white
    assert noise.correlated_pixels == pytest.approx(pixels)


def test_means_of_many_pixels_vary_as_the_correlation_says() -> None:
    noise = NoiseModel(least=4.0, correlation=BLURRED)
    drawn = noise.draw(np.zeros((600, 600)), np.random.default_rng(0))
    means = drawn.reshape(30, 20, 30, 20).mean((1, 3))
    assert means.var() * 400 / 4 == pytest.approx(noise.correlated_pixels, rel=0.15)


@pytest.mark.parametrize("stripes", [{}, {"rows": 5.0}, {"columns": 2.0}])
def test_the_covariance_is_that_of_drawn_noise(stripes: dict[str, float]) -> None:
    noise = NoiseModel(slope=2.0, least=1.0, correlation=BLURRED, **stripes)
    light, rng = np.linspace(20, 200, 60).reshape(6, 10), np.random.default_rng(0)
    # the periodic frame that noise is drawn in is larger, so that its edges do not correlate; a hundred at once, side
    # by side where no offset is shared
    padded = np.pad(light, 8, mode="edge")
    count, axis = 100, 1 if noise.columns else 0
    frames = np.concatenate([padded] * count, axis)
    drawn = np.concatenate([np.split(noise.draw(frames, rng), count, axis) for _ in range(40)])
    drawn = drawn[:, 8:-8, 8:-8].reshape(-1, 60)
    matrix = np.array([noise.covary(unit.reshape(6, 10), light).ravel() for unit in np.eye(60)])
    np.testing.assert_allclose(matrix, matrix.T, atol=1e-9)
    np.testing.assert_allclose(np.diag(matrix), noise.variance(light).ravel())
    np.testing.assert_allclose(np.cov(drawn.T), matrix, atol=0.12 * matrix.max())


def test_drawn_noise_follows_the_seed() -> None:
    light = np.full((8, 9), 120.0)
    first, again, other = (PHOTONS.draw(light, np.random.default_rng(seed)) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)


@pytest.mark.parametrize("photons", [1.0, 10.0, 100.0])
def test_drawn_noise_is_skewed_as_that_of_photons(photons: float) -> None:
    noise = NoiseModel(slope=3.0).draw(np.full((400, 400), 3 * photons), np.random.default_rng(0))
    assert noise.mean() == pytest.approx(0, abs=0.03 * noise.std())
    assert noise.std() == pytest.approx(3 * photons**0.5, rel=0.02)
    assert ((noise / noise.std()) ** 3).mean() == pytest.approx(photons**-0.5, abs=0.04)


@pytest.mark.parametrize(("gain", "offset", "read"), [(1.0, 0.0, 0.0), (0.5, 100.0, 1.5), (30.0, -7.0, 0.3)])
@pytest.mark.parametrize("photons", [3, 20, 300, 100_000])
def test_stabilised_noise_has_variance_1_and_the_mean_comes_back(
    gain: float, offset: float, read: float, photons: int
) -> None:
    rng = np.random.default_rng(0)
    frame = gain * (rng.poisson(photons, (300, 300)) + rng.normal(0, read, (300, 300))) + offset
    variance = (gain * read) ** 2
    stable = (noise := NoiseModel(gain, variance - gain * offset, variance)).stabilize(frame)
    assert stable.std() == pytest.approx(1, abs=0.03)
    restored = noise.undo_stabilize(np.full((2, 2), stable.mean()))
    np.testing.assert_allclose((restored - offset) / gain, photons, rtol=0.01)


def test_few_photons_come_back_unbiased() -> None:
    counts = np.random.default_rng(0).poisson(0.5, (500, 500))
    mean = NoiseModel(slope=1.0).stabilize(counts).mean()
    assert NoiseModel(slope=1.0).undo_stabilize(mean) == pytest.approx(0.5, abs=0.01)
    # squaring the root gives less than half of them
    assert (mean / 2 + (3 / 8) ** 0.5) ** 2 - 3 / 8 < 0.4


@settings(max_examples=50, deadline=None)
@given(
    slope=st.one_of(st.just(0.0), st.floats(1e-3, 1e3)),
    level=st.floats(-1e4, 1e5),
    read=st.floats(1e-2, 1e3),
    other=st.floats(-1e4, 1e5),
)
def test_stabilising_is_undone_and_keeps_order(slope: float, level: float, read: float, other: float) -> None:
    noise = NoiseModel(slope=slope, intercept=read, least=read)
    levels = np.sort([level, other])
    stable = noise.stabilize(levels)
    assert stable[0] <= stable[1]
    # beside the correction of the root's bias, a quarter of a photon
    np.testing.assert_allclose(noise.undo_stabilize(stable), levels, rtol=1e-6, atol=0.7 * slope + 1e-6)


def test_noise_without_photons_is_stabilised_by_its_deviation() -> None:
    noise = NoiseModel(intercept=9.0, least=4.0)
    np.testing.assert_allclose(noise.stabilize([3.0, 30.0]), [1, 10])
    np.testing.assert_allclose(noise.undo_stabilize([1.0, 10.0]), [3, 30])
