from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from napari_care_losses.errors import InputError, ParameterError
from napari_care_losses.simulation.microscope import Microscope, MicroscopeRange, blur, record
from napari_care_losses.simulation.pairs_and_movies import (
    STRUCTURES,
    ImagingConditions,
    draw_structure,
    simulate_pair,
    simulate_pairs,
)

SHAPE = (160, 192)
EVEN = Microscope(haze=0.0, background=0.0, read_noise_spread=0.0, offset_spread=0.0, gain_spread=0.0)

every_structure = pytest.mark.parametrize("name", STRUCTURES)
fills_the_field = {"membranes", "beads", "tissue"}


def rng(seed=0):
    return np.random.default_rng(seed)


def expose(density, exposure_ms, microscope, random, photons_per_ms):
    return record(blur(density, microscope), exposure_ms, microscope, random, photons_per_ms)


def correlation(a, b):
    return np.corrcoef(a.ravel().astype(float), b.ravel().astype(float))[0, 1]


def scaled_error(noisy, truth):
    """Root mean square residual of the best line from noisy to truth, relative to the truth's own spread."""
    return np.sqrt(1 - correlation(noisy, truth) ** 2)


@every_structure
def test_density_is_an_image_with_light_about_one(name):
    density = draw_structure(name, (448, 384), rng(3))
    assert density.shape == (448, 384)
    assert density.dtype == np.float32
    assert np.isfinite(density).all()
    assert density.min() >= 0
    assert name in fills_the_field or (density == 0).mean() > 0.02
    assert 0.2 < density[density > 0].mean() < 3


@every_structure
@pytest.mark.parametrize("zoom", [0.25, 1.0, 2.0])
def test_any_zoom_and_shape_can_be_drawn(name, zoom):
    for shape in ((16, 16), (17, 301)):
        density = draw_structure(name, shape, rng(1), zoom=zoom)
        assert density.shape == shape
        assert np.isfinite(density).all()


@every_structure
@pytest.mark.parametrize("side", [64, 192])
def test_no_field_is_empty(name, side):
    for seed in range(4):
        density = draw_structure(name, (side, side), rng(seed))
        assert (density > 0.2).mean() > (0.001 if name == "beads" else 0.03)


def test_zoom_enlarges_the_cells():
    def cells_in_view(zoom):
        return len(STRUCTURES["dendra"].draw((512, 512), rng(2), zoom))

    assert cells_in_view(0.4) > 2 * cells_in_view(1.0)


@every_structure
def test_a_pair_follows_from_its_seed(name):
    low, high = simulate_pair(name, SHAPE, seed=5)
    again_low, again_high = simulate_pair(name, SHAPE, seed=5)
    other_low, other_high = simulate_pair(name, SHAPE, seed=6)
    np.testing.assert_array_equal(low, again_low)
    np.testing.assert_array_equal(high, again_high)
    assert (low != other_low).any()
    assert correlation(high, other_high) < 0.9


@every_structure
def test_low_and_high_show_the_same_cells_and_low_is_noisier(name):
    low, high = simulate_pair(name, (256, 256), seed=8)
    structure = STRUCTURES[name]
    density = draw_structure(name, (256, 256), rng(8))
    assert low.dtype == high.dtype == np.uint16
    assert low.shape == high.shape == (256, 256)
    assert correlation(low, high) > 0.4
    clean = blur(density, Microscope())
    low_frame = expose(density, structure.low_ms, Microscope(), rng(1), structure.photons_per_ms)
    high_frame = expose(density, structure.high_ms, Microscope(), rng(1), structure.photons_per_ms)
    assert scaled_error(high_frame, clean) < 0.15
    assert scaled_error(low_frame, clean) > 3 * scaled_error(high_frame, clean)


@every_structure
def test_the_short_exposure_is_as_hard_as_real_ones(name):
    # Measured by the CARE protocol: truth scaled by its percentiles 0.1 and 99.9, the input aligned to it by a line.
    low, high = simulate_pairs(name, 4, (256, 256), seed=21)
    scores = []
    for noisy, truth in zip(low.astype(float), high.astype(float), strict=True):
        bottom, top = np.percentile(truth, [0.1, 99.9])
        truth = (truth - bottom) / (top - bottom)
        slope = np.cov(noisy.ravel(), truth.ravel(), bias=True)[0, 1] / noisy.var()
        aligned = slope * (noisy - noisy.mean()) + truth.mean()
        scores.append(-10 * np.log10(np.mean((aligned - truth) ** 2)))
    assert 19 < np.mean(scores) < 29


def test_light_is_proportional_to_exposure_and_brightness():
    def light(**changes):
        low, _ = simulate_pair("actin", SHAPE, ImagingConditions(**changes), seed=4)
        return low.mean() - Microscope().offset

    base = light(low_ms=20.0)
    assert light(low_ms=60.0) == pytest.approx(3 * base, rel=0.02)
    assert light(low_ms=20.0, brightness=0.5) == pytest.approx(0.5 * base, rel=0.02)


def test_a_range_of_brightness_varies_between_fields():
    even, _ = simulate_pairs("dendra", 4, (64, 64), seed=4)
    varied, _ = simulate_pairs("dendra", 4, (64, 64), ImagingConditions(brightness=(0.1, 10.0)), seed=4)
    ratios = (varied.mean(axis=(1, 2)) - 100) / (even.mean(axis=(1, 2)) - 100)
    assert ((ratios > 0.08) & (ratios < 12)).all()
    assert ratios.max() > 2 * ratios.min()


def test_without_light_the_camera_shows_offset_and_read_noise():
    camera = dataclasses.replace(EVEN, read_noise=3.0, offset=150.0, gain=2.5)
    frame = expose(np.ones((256, 256)), 10.0, camera, rng(), photons_per_ms=0.0)
    assert frame.mean() == pytest.approx(150, abs=0.15)
    # Rounding to whole grey levels adds 1/12.
    assert frame.var() == pytest.approx((3.0 * 2.5) ** 2 + 1 / 12, rel=0.03)


def test_variance_grows_with_the_mean_by_the_gain():
    # Photon transfer: variance = gain * (mean - offset) + (gain * read noise)**2 + 1/12.
    camera = dataclasses.replace(EVEN, gain=2.2, read_noise=1.5)
    frames = [expose(np.full((256, 256), level), 1.0, camera, rng(level), 1.0) for level in (2, 10, 50, 200, 1000)]
    means = np.array([frame.mean() for frame in frames]) - camera.offset
    variances = np.array([frame.var() for frame in frames])
    assert np.polyfit(means, variances, 1)[0] == pytest.approx(2.2, rel=0.03)
    np.testing.assert_allclose(variances, 2.2 * means + (2.2 * 1.5) ** 2 + 1 / 12, rtol=0.03)


def test_bright_light_saturates_at_the_highest_level():
    frame = expose(np.full((32, 32), 1e6), 1.0, Microscope(), rng(), 1.0)
    assert (frame == 65535).all()


def test_the_spot_has_the_width_of_the_papers_microscope():
    assert Microscope().psf_sigma == pytest.approx(0.21 * 0.58 / 1.3 / 0.108)
    assert 0.8 < Microscope().psf_sigma < 0.9


def test_blur_has_the_width_stated_and_keeps_the_light():
    density = np.zeros((129, 129), np.float32)
    density[64, 64] = 1000
    x = np.arange(129) - 64.0
    sharp = blur(density, EVEN)
    assert sharp.sum() == pytest.approx(1000, rel=1e-4)
    assert (sharp.sum(axis=0) * x**2).sum() / 1000 == pytest.approx(EVEN.psf_sigma**2, rel=0.02)
    hazy = blur(density, dataclasses.replace(EVEN, haze=0.4))
    assert hazy.sum() == pytest.approx(1000, rel=1e-3)
    variance = 0.6 * EVEN.psf_sigma**2 + 0.4 * (EVEN.haze_radius / EVEN.pixel_size) ** 2
    assert (hazy.sum(axis=0) * x**2).sum() / 1000 == pytest.approx(variance, rel=0.1)
    assert blur(density, Microscope(background=2.0)).min() >= 2.0


def test_a_field_does_not_depend_on_how_many_are_made():
    few_low, few_high = simulate_pairs("mitochondria", 2, (64, 80), seed=9)
    low, high = simulate_pairs("mitochondria", 3, (64, 80), seed=9)
    assert low.shape == high.shape == (3, 64, 80)
    assert low.dtype == high.dtype == np.uint16
    np.testing.assert_array_equal(low[:2], few_low)
    np.testing.assert_array_equal(high[:2], few_high)
    assert (high[0] != high[1]).any()


def test_pixels_of_a_sensor_differ_and_stay_as_they_are():
    camera = dataclasses.replace(EVEN, offset_spread=4.0, read_noise_spread=0.5)
    frames = np.stack([expose(np.zeros((64, 64)), 1.0, camera, rng(i), 1.0) for i in range(60)]).astype(float)
    offsets, noise = frames.mean(axis=0), frames.std(axis=0)
    assert offsets.std() == pytest.approx(4.0, rel=0.1)
    assert np.percentile(noise, 98) > 2 * np.median(noise)
    again = expose(np.zeros((64, 64)), 1.0, camera, rng(99), 1.0)
    assert correlation(again, offsets) > 0.7
    other = expose(np.zeros((64, 64)), 1.0, dataclasses.replace(camera, sensor=1), rng(99), 1.0)
    assert abs(correlation(other, offsets)) < 0.1


def test_gains_differ_by_the_share_stated():
    camera = dataclasses.replace(EVEN, gain_spread=0.05)
    frames = [expose(np.full((64, 64), 1000.0), 10.0, camera, rng(i), 1.0) for i in range(20)]
    signal = np.mean(frames, axis=0) - camera.offset
    assert signal.std() / signal.mean() == pytest.approx(0.05, rel=0.1)


def test_every_field_draws_its_own_microscope():
    microscopes = MicroscopeRange(haze=(0.01, 0.9), background=(0.01, 5.0), gain=(1.0, 4.0))
    drawn = [microscopes.draw(rng(seed)) for seed in range(40)]
    assert min(each.haze for each in drawn) < 0.05
    assert max(each.haze for each in drawn) > 0.5
    assert len({each.sensor for each in drawn}) == 40
    assert all(each.pixel_size == Microscope().pixel_size for each in drawn)
    _, high = simulate_pairs("actin", 4, (64, 64), ImagingConditions(microscope=microscopes), seed=3)
    darkest = [frame.min() for frame in high]
    assert max(darkest) > 2 * min(darkest)
    with pytest.raises(ParameterError, match="haze"):
        MicroscopeRange(haze=(2.0, 3.0)).draw(rng(0))


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        ({"name": "tubulin"}, InputError, "tubulin.*actin, mitochondria, dendra"),
        ({"shape": (15, 64)}, InputError, r"at least 16 px, found \(15, 64\)"),
        ({"shape": (64, 64, 3)}, InputError, "height and a width"),
        ({"low_ms": -1.0}, ParameterError, "low_ms must be a number above zero, found -1"),
        ({"high_ms": 0.0}, ParameterError, "high_ms"),
        ({"low_ms": float("nan")}, ParameterError, "low_ms"),
        ({"interval_s": 0}, ParameterError, "interval_s must be a number above zero, found 0"),
        ({"brightness": 0.0}, ParameterError, "brightness"),
        ({"brightness": (2.0, 1.0)}, ParameterError, "range from low to high"),
        ({"zoom": (1.0, 2.0, 3.0)}, ParameterError, "zoom.*two numbers"),
        ({"seed": -1}, ParameterError, "seed must be a whole number of at least 0, found -1"),
        ({"seed": 1.5}, ParameterError, "seed"),
    ],
)
def test_bad_input_says_what_was_expected(change, error, words):
    arguments = {"name": "actin", "shape": (64, 64), "seed": 1} | change
    conditions = {key: arguments.pop(key) for key in change if key not in ("name", "shape", "seed")}
    with pytest.raises(error, match=words):
        simulate_pair(**arguments, conditions=ImagingConditions(**conditions))


def test_bad_counts_densities_and_optics_are_refused():
    with pytest.raises(ParameterError, match="count"):
        simulate_pairs("actin", 0, (64, 64), seed=1)
    with pytest.raises(InputError, match="not negative"):
        expose(np.full((32, 32), -1.0), 1.0, Microscope(), rng(), 1.0)
    with pytest.raises(ParameterError, match="photons_per_ms"):
        expose(np.ones((32, 32)), 1.0, Microscope(), rng(), -1.0)
    with pytest.raises(ParameterError, match="numerical_aperture"):
        Microscope(numerical_aperture=3.0)
