"""The resolution of single images, held against the frequency at which their structure ends."""

from __future__ import annotations

import math

import numpy as np
import pytest

from napari_care_losses.errors import InputError
from napari_care_losses.evaluation.without_truth.decorrelation import decorrelation_resolution
from napari_care_losses.evaluation.without_truth.single_image import SINGLE_IMAGE_METRICS, measure_image
from napari_care_losses.evaluation.without_truth.single_image_frc import FINEST, frc_resolution

SIZE = 384


def speckle(cutoff: float, noise: float, shape: tuple[int, int] = (SIZE, SIZE), seed: int = 0) -> np.ndarray:
    """Return structure of standard deviation 1 at all frequencies below a cutoff in cycles a pixel, and noise."""
    rng = np.random.default_rng(seed)
    y, x = np.fft.fftfreq(shape[0])[:, None], np.fft.fftfreq(shape[1])
    image = np.fft.ifft2(np.fft.fft2(rng.normal(size=shape)) * (np.hypot(y, x) < cutoff)).real
    return image / image.std() + rng.normal(0, noise, shape)


@pytest.mark.parametrize("noise", [0.01, 0.1, 0.5])
@pytest.mark.parametrize("period", [5.0, 7.0, 10.0])
def test_both_find_the_frequency_at_which_structure_ends(period: float, noise: float) -> None:
    image = speckle(1 / period, noise)
    assert frc_resolution(image) == pytest.approx(period, rel=0.12)
    assert decorrelation_resolution(image) == pytest.approx(period, rel=0.05)


def test_decorrelation_finds_finer_structure_than_two_halves_can() -> None:
    image = speckle(0.28, 0.1)
    assert frc_resolution(image) == FINEST
    assert decorrelation_resolution(image) == pytest.approx(1 / 0.28, rel=0.05)


@pytest.mark.parametrize("name", SINGLE_IMAGE_METRICS)
def test_images_need_not_be_square_or_even(name: str) -> None:
    function = SINGLE_IMAGE_METRICS[name].function
    assert function(speckle(1 / 8, 0.1, (301, 420))) == pytest.approx(8, rel=0.1)


@pytest.mark.parametrize("name", SINGLE_IMAGE_METRICS)
def test_gain_and_offset_do_not_matter(name: str) -> None:
    function, image = SINGLE_IMAGE_METRICS[name].function, speckle(1 / 8, 0.3)
    assert function(40 * image + 1000) == pytest.approx(function(image))


@pytest.mark.parametrize("name", SINGLE_IMAGE_METRICS)
def test_without_structure_there_is_no_resolution(name: str) -> None:
    function = SINGLE_IMAGE_METRICS[name].function
    assert math.isnan(function(np.random.default_rng(1).normal(size=(256, 256))))
    assert math.isnan(function(np.full((64, 64), 7)))
    with pytest.raises(InputError, match="at least 32 x 32 px"):
        function(np.zeros((31, 40)))


def test_values_are_in_micrometres_where_a_pixel_has_a_size() -> None:
    image = speckle(1 / 8, 0.1)
    in_pixels, in_micrometres = measure_image(image), measure_image(image, 0.065)
    assert list(in_pixels) == ["frc_resolution_px", "decorrelation_resolution_px"]
    assert list(in_micrometres) == ["frc_resolution_um", "decorrelation_resolution_um"]
    assert list(in_micrometres.values()) == pytest.approx([0.065 * value for value in in_pixels.values()])
    assert measure_image(image[:20]) == {}
