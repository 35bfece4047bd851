import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from napari_care_losses.errors import InputError
from napari_care_losses.evaluation.spectra import (
    agreement,
    averaged_rings,
    fourier_ring_correlation,
    radial_power,
    resolution,
)

SHAPES = [(64, 64), (64, 96), (97, 65), (16, 33)]


def noise(shape=(64, 64), seed=0):
    return np.random.default_rng(seed).normal(size=shape)


def slowly(image, other=None):
    """Power, or correlation with another image, of every ring, from the full spectrum and ring by ring."""
    height, width = image.shape
    size = min(image.shape)
    y, x = ((np.arange(n) + 0.5) / n for n in image.shape)
    window = np.outer(np.sin(np.pi * y) ** 2, np.sin(np.pi * x) ** 2)
    spectra = [
        np.fft.fft2(window * (one - (window * one).sum() / window.sum())) for one in (image, other) if one is not None
    ]
    ring = np.rint(np.hypot(np.fft.fftfreq(height)[:, None], np.fft.fftfreq(width)) * size)
    values = []
    for number in range(1, size // 2 + 1):
        chosen = [spectrum[ring == number] for spectrum in spectra]
        if other is None:
            values.append(np.mean(np.abs(chosen[0]) ** 2) / np.sum(window**2))
        else:
            values.append(np.vdot(chosen[1], chosen[0]).real / np.linalg.norm(chosen[0]) / np.linalg.norm(chosen[1]))
    return values


@pytest.mark.parametrize("shape", SHAPES)
def test_power_is_that_of_the_full_spectrum(shape):
    image = gaussian_filter(noise(shape), 1) + 100
    frequency, power = radial_power(image)
    assert frequency == pytest.approx(np.arange(1, min(shape) // 2 + 1) / min(shape))
    assert power == pytest.approx(slowly(image))


@pytest.mark.parametrize("shape", SHAPES)
def test_correlation_is_that_of_the_full_spectra(shape):
    truth = gaussian_filter(noise(shape), 1)
    image = truth + 0.1 * noise(shape, 1)
    frequency, correlation = fourier_ring_correlation(image, truth)
    assert frequency == pytest.approx(np.arange(1, min(shape) // 2 + 1) / min(shape))
    assert correlation == pytest.approx(slowly(image, truth))


def test_white_noise_has_its_variance_in_every_ring():
    _, power = radial_power(3 * noise((256, 256)) + 1000)
    assert power.mean() == pytest.approx(9, rel=0.05)
    assert power[100:].min() > 0.7 * 9
    assert power[100:].max() < 1.4 * 9


def test_a_wave_shows_at_its_frequency_and_nowhere_else():
    wave = np.sin(2 * np.pi * 0.2 * np.arange(200)) * np.ones((100, 1))
    frequency, power = radial_power(wave)
    assert frequency[power.argmax()] == pytest.approx(0.2)
    assert power[np.abs(frequency - 0.2) > 0.05].max() < 1e-6 * power.max()


def test_a_brightness_ramp_does_not_leak_into_high_frequencies():
    ramp = np.linspace(0, 1000, 128) * np.ones((128, 1))
    frequency, power = radial_power(ramp)
    assert power[frequency > 0.1].max() < 1e-4 * power.max()


def test_brightness_and_contrast_do_not_matter_to_the_correlation():
    truth = gaussian_filter(noise(), 1)
    image = truth + 0.1 * noise(seed=1)
    assert fourier_ring_correlation(5 * image + 300, truth)[1] == pytest.approx(
        fourier_ring_correlation(image, truth)[1]
    )
    assert fourier_ring_correlation(2 * truth + 7, truth)[1] == pytest.approx(1)
    assert fourier_ring_correlation(-truth, truth)[1] == pytest.approx(-1)


def test_independent_noise_does_not_correlate():
    _, correlation = fourier_ring_correlation(noise((256, 256)), noise((256, 256), 1))
    assert np.abs(correlation[50:]).max() < 0.2


@pytest.mark.parametrize("value", [0, 7, 1e6, 0.1])
def test_a_constant_image_has_no_power_and_does_not_correlate(value):
    constant = np.full((48, 48), value)
    assert not radial_power(constant)[1].any()
    assert not fourier_ring_correlation(constant, noise((48, 48)))[1].any()


def test_images_of_every_type_are_taken():
    levels = np.random.default_rng(0).integers(0, 200, (32, 32))
    expected = radial_power(levels.astype(float))[1]
    for dtype in (np.uint8, np.uint16, np.float32, ">u2"):
        assert radial_power(levels.astype(dtype))[1] == pytest.approx(expected, rel=1e-5)


def test_the_limit_of_resolution_is_where_noise_drowns_the_truth():
    truth = gaussian_filter(noise((256, 256)), 1.5)
    fine, coarse = (
        resolution(*fourier_ring_correlation(truth + sigma * noise((256, 256), 1), truth)) for sigma in (0.02, 0.2)
    )
    # where signal over noise makes the expected correlation sqrt(r / (1 + r)) equal to 1/7
    for found, sigma in ((fine, 0.02), (coarse, 0.2)):
        ratio = 1 / 48
        expected = np.sqrt(-np.log(ratio * sigma**2) / (4 * np.pi**2 * 1.5**2))
        assert found == pytest.approx(expected, rel=0.15)


def test_the_crossing_is_interpolated():
    frequency = np.linspace(0.01, 0.5, 50)
    assert resolution(frequency, 1 - 2 * frequency, 0.5) == pytest.approx(0.25)


def test_one_outlying_ring_is_no_limit():
    frequency, correlation = np.linspace(0.01, 0.5, 50), np.full(50, 0.9)
    correlation[20] = -0.5
    assert np.isnan(resolution(frequency, correlation))
    correlation[30:] = 0
    assert resolution(frequency, correlation) == pytest.approx(frequency[30], abs=0.02)


def test_rings_are_averaged_over_five_and_the_limit_is_where_that_curve_falls():
    values = np.random.default_rng(0).normal(size=40)
    averaged = averaged_rings(values)
    assert averaged[2:-2] == pytest.approx(np.convolve(values, np.full(5, 0.2), "valid"))
    assert averaged[[0, 1, -2, -1]] == pytest.approx([values[0], values[:3].mean(), values[-3:].mean(), values[-1]])
    frequency = np.linspace(0.01, 0.5, 40)
    noisy = np.linspace(1, 0, 40) + 0.2 * values
    assert np.interp(resolution(frequency, noisy), frequency, averaged_rings(noisy)) == pytest.approx(1 / 7)


def test_no_limit_without_a_crossing_and_zero_where_nothing_correlates():
    frequency = np.linspace(0.01, 0.5, 50)
    assert np.isnan(resolution(frequency, np.ones(50)))
    assert resolution(frequency, np.zeros(50)) == 0


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (np.ones((15, 40)), "at least 16 x 16"),
        (np.ones((2, 32, 32)), r"2D .* \(2, 32, 32\)"),
        (np.ones((32, 32), complex), "complex128"),
        (np.full((32, 32), np.nan), "finite"),
    ],
)
def test_images_without_a_spectrum_are_refused(image, message):
    with pytest.raises(InputError, match=message):
        radial_power(image)
    with pytest.raises(InputError, match=message):
        fourier_ring_correlation(np.eye(32), image)


def test_other_shapes_do_not_correlate():
    with pytest.raises(InputError, match=r"\(32, 32\) and \(32, 34\)"):
        fourier_ring_correlation(noise((32, 32)), noise((32, 34)))


def test_agreement_is_the_mean_correlation_and_where_it_ends():
    truth = np.random.default_rng(0).normal(size=(128, 96))
    blurred = gaussian_filter(truth, 1.5, mode="wrap") + np.random.default_rng(1).normal(0, 0.02, truth.shape)
    figures = agreement(blurred, truth)
    frequency, correlation = fourier_ring_correlation(blurred, truth)
    assert figures["frc"] == pytest.approx(correlation.mean())
    assert figures["cutoff"] == pytest.approx(resolution(frequency, correlation))
    assert 0.2 < figures["cutoff"] < 0.5
    assert agreement(truth, truth) == pytest.approx({"frc": 1.0, "cutoff": 0.5})
    assert agreement(truth[:15], truth[:15]) == {}
