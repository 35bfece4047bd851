from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from scipy.ndimage import laplace

from napari_care_losses.errors import InputError, ParameterError
from napari_care_losses.simulation.microscope import Microscope, blur
from napari_care_losses.simulation.pairs_and_movies import STRUCTURES, ImagingConditions
from napari_care_losses.simulation.z_stacks import _sliced, defocused_transfer, focal_planes, simulate_z_stack

CLEAR = Microscope(haze=0.0, background=0.0)
FREQUENCIES = np.linspace(0, 4, 40)

every_structure = pytest.mark.parametrize("name", STRUCTURES)


def rng(seed=0):
    return np.random.default_rng(seed)


def correlation(a, b):
    return np.corrcoef(a.ravel().astype(float), b.ravel().astype(float))[0, 1]


def planes_of_a_point(places, microscope=CLEAR, size=129):
    """Return the planes (P, Y, X) of a point of light 1 at height 0."""
    slices = np.zeros((1, size, size), np.float32)
    slices[0, size // 2, size // 2] = 1
    return np.stack(list(focal_planes(slices, np.zeros(1), np.asarray(places, float), microscope)))


class TestDefocus:
    def test_in_focus_it_is_the_transfer_function_of_an_ideal_lens(self):
        # the autocorrelation of a disc (Goodman, Introduction to Fourier Optics, eq. 6-30)
        ratio = np.clip(FREQUENCIES * 0.58 / (2 * 1.3), 0, 1)
        ideal = 2 / np.pi * (np.arccos(ratio) - ratio * np.sqrt(1 - ratio**2))
        np.testing.assert_allclose(defocused_transfer(FREQUENCIES, 0.0, CLEAR), ideal, atol=0.02)

    def test_out_of_focus_it_falls_and_is_the_same_above_and_below(self):
        curves = [defocused_transfer(FREQUENCIES, z, CLEAR) for z in (0, 0.2, 0.5, 1, 2)]
        assert [curve[0] for curve in curves] == pytest.approx([1] * 5)
        areas = [np.abs(curve).sum() for curve in curves]
        assert areas == sorted(areas, reverse=True)
        np.testing.assert_allclose(defocused_transfer(FREQUENCIES, -1, CLEAR), curves[3])

    def test_the_focus_is_as_deep_as_a_gaussian_of_the_literature_says(self):
        # sigma along z: 2 sqrt(6) n / (k NA^2), k = 2 pi / wavelength (Zhang et al. 2007, paraxial: small apertures)
        lens = dataclasses.replace(CLEAR, numerical_aperture=0.5)
        sigma = 2 * np.sqrt(6) * lens.refractive_index * lens.wavelength / (2 * np.pi * 0.5**2)
        frequency = np.linspace(0, 2 * 0.5 / lens.wavelength, 200)
        peaks = [(defocused_transfer(frequency, z, lens) * frequency).sum() for z in (0, sigma)]
        assert peaks[1] / peaks[0] == pytest.approx(np.exp(-0.5), abs=0.06)

    def test_a_cone_of_light_widens_as_the_aperture_says(self):
        # far from the focus light fills the disc of geometrical optics
        (image,) = planes_of_a_point([3.0])
        y, x = (np.indices(image.shape) - 64) * CLEAR.pixel_size
        radius = 3.0 * 1.3 / np.sqrt(1.406**2 - 1.3**2)
        assert image[np.hypot(y, x) < 1.1 * min(radius, 6.0)].sum() > 0.9 * min(1, (6.0 / radius) ** 2)
        assert image[np.hypot(y, x) < 0.5].sum() < 0.2


class TestFocalPlanes:
    def test_the_plane_in_focus_is_the_sharpest(self):
        peaks = planes_of_a_point([-2, -1, -0.5, 0, 0.5, 1, 2]).max(axis=(1, 2))
        assert np.argmax(peaks) == 3
        assert (np.diff(peaks[:4]) > 0).all()
        np.testing.assert_allclose(peaks, peaks[::-1], rtol=1e-4)

    def test_defocus_keeps_the_light(self):
        slices = rng().random((4, 65, 48), dtype=np.float32)
        images = list(focal_planes(slices, np.arange(4.0), np.array([-3, 0, 1.5, 8.0]), CLEAR))
        assert [image.sum() for image in images] == pytest.approx([slices.sum()] * 4, rel=1e-3)

    def test_a_flat_sample_in_focus_looks_as_in_a_pair(self):
        density = STRUCTURES["actin"].draw((128, 128), rng(4), 1.0)[0].density[:128, :128]
        (image,) = focal_planes(density[None], np.zeros(1), np.zeros(1), Microscope())
        assert correlation(image, blur(density, Microscope())) > 0.99

    def test_what_does_not_fit_is_refused(self):
        with pytest.raises(InputError, match="found 3 for"):
            next(focal_planes(np.ones((2, 32, 32), np.float32), np.arange(3.0), np.zeros(1), CLEAR))
        with pytest.raises(ParameterError, match=r"below the refractive index.*1\.45 and 1\.406"):
            planes_of_a_point([0], dataclasses.replace(CLEAR, numerical_aperture=1.45))


def test_the_slices_of_a_cell_are_together_the_cell():
    cells = STRUCTURES["dendra"].draw((256, 256), rng(3), 0.5)
    cell = max(cells, key=lambda each: len(each.spots))
    heights = 0.25 * np.arange(30)
    parts = _sliced(cell, heights, rng(1), px_per_um=5.0)
    np.testing.assert_allclose(sum(part.density for part in parts), cell.density, rtol=1e-4, atol=1e-5)
    assert sum(len(part.spots) for part in parts) == len(cell.spots)
    occupied = [height for height, part in zip(heights, parts, strict=True) if part.density.sum() > 0]
    assert 1.0 < max(occupied) <= 7.25


@every_structure
def test_a_z_stack_is_a_pair_of_planes_that_change_slowly(name):
    low, high = simulate_z_stack(name, 7, (96, 112), ImagingConditions(z_step=0.5), seed=5)
    assert low.shape == high.shape == (7, 96, 112)
    assert low.dtype == high.dtype == np.uint16
    assert correlation(low[3], high[3]) > 0.1
    assert correlation(high[3], high[4]) > correlation(high[3], high[6])
    light = high.mean(axis=(1, 2)) - 100
    np.testing.assert_allclose(light, light[3], rtol=0.15)


def test_structures_come_into_focus_within_the_stack():
    _, high = simulate_z_stack("mitochondria", 21, (160, 160), ImagingConditions(z_step=0.6, high_ms=4000), seed=6)
    detail = laplace(high.astype(float)).var(axis=(1, 2))
    assert 3 < np.argmax(detail) < 17
    assert detail.max() > 3 * max(detail[0], detail[-1])


def test_a_z_stack_follows_from_its_seed():
    first, again, other = (simulate_z_stack("actin", 3, (64, 64), seed=seed) for seed in (3, 3, 4))
    for one, same, changed in zip(first, again, other, strict=True):
        np.testing.assert_array_equal(one, same)
        assert (one != changed).any()


def test_bad_z_stacks_are_refused():
    with pytest.raises(ParameterError, match="planes must be a whole number of at least 1, found 0"):
        simulate_z_stack("actin", 0, (64, 64), seed=1)
    with pytest.raises(ParameterError, match="z_step must be a number above zero"):
        ImagingConditions(z_step=0)
    with pytest.raises(InputError, match="tubulin"):
        simulate_z_stack("tubulin", 3, (64, 64), seed=1)
    with pytest.raises(InputError, match="at least 16 px"):
        simulate_z_stack("actin", 3, (64, 8), seed=1)
    with pytest.raises(InputError, match="GB of memory are free"):
        simulate_z_stack("actin", 3, (200_000, 200_000), seed=1)
