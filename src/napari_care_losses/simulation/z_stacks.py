"""Simulated z-stacks: cells with a height, recorded plane by plane through a widefield microscope."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from scipy.fft import dctn, idctn
from scipy.ndimage import distance_transform_edt
from scipy.special import j0

from napari_care_losses.errors import InputError, ParameterError
from napari_care_losses.simulation.microscope import checked_shape, with_haze
from napari_care_losses.simulation.pairs_and_movies import (
    PX_PER_UM,
    ImagingConditions,
    checked_seed,
    checked_whole,
    empty_stacks,
    known_structure,
    lit_cells,
    recorded,
)
from napari_care_losses.simulation.structures import assemble, clouds

if TYPE_CHECKING:
    from collections.abc import Iterator

    from napari_care_losses.simulation.cells import FloatImage, Real
    from napari_care_losses.simulation.microscope import Frame, Microscope
    from napari_care_losses.simulation.structures import Cell

TALLEST_UM = 7.0
"""Height of the tallest cells; the flattest are less than half as high."""

_FLATTEST_UM, _RISE_UM = 3.0, 6.0
_LAYERS = 3
_SLICE_UM = 0.25


def simulate_z_stack(
    name: str,
    planes: int,
    shape: tuple[int, int] = (384, 384),
    conditions: ImagingConditions | None = None,
    *,
    seed: int,
) -> tuple[Frame, Frame]:
    """Simulate a field of cells in focal planes from below to above; every plane is recorded at both exposures.

    Cells are 3 to 7 um high and flat at their edges; what they hold lies in three layers whose heights wander. The
    middle plane is that of their mean light; planes lie `ImagingConditions.z_step` apart. A plane shows all of the
    sample, each part as blurred as it is out of focus (see `focal_planes`). The other parameters and the errors are
    those of `simulate_pair`, with `ParameterError` for an aperture not below the refractive index; the stacks are
    (Z, Y, X).

    Examples
    --------
    >>> from napari_care_losses.simulation.z_stacks import simulate_z_stack
    >>> low, high = simulate_z_stack("mitochondria", 5, (64, 64), seed=0)
    >>> low.shape, high.shape
    ((5, 64, 64), (5, 64, 64))
    """
    structure, shape, conditions = known_structure(name), checked_shape(shape), conditions or ImagingConditions()
    step = conditions.z_step / math.ceil(conditions.z_step / _SLICE_UM)
    heights = step * np.arange(math.ceil(TALLEST_UM / step) + 2, dtype=np.float64)
    low, high = empty_stacks(checked_whole("planes", planes), shape, bytes_at_work=20 * len(heights) + 80)
    rng = np.random.default_rng(checked_seed(seed))
    rate, zoom, cells = lit_cells(structure, shape, conditions, rng)
    microscope = conditions.microscope.draw(rng)
    slices = np.zeros((len(heights), *shape), np.float32)
    for cell in cells:
        for index, part in enumerate(_sliced(cell, heights, rng, zoom * PX_PER_UM)):
            slices[index] += assemble([part], shape)
    light = slices.sum(axis=(1, 2), dtype=np.float64)
    middle = step * round(float(light @ heights) / max(float(light.sum()), 1e-9) / step)
    places = middle + conditions.z_step * (np.arange(len(low), dtype=np.float64) - (len(low) - 1) / 2)
    for index, image in enumerate(focal_planes(slices, heights, places, microscope)):
        low[index], high[index] = recorded(image, structure, conditions, microscope, rate, rng)
    return low, high


def focal_planes(slices: FloatImage, heights: Real, places: Real, microscope: Microscope) -> Iterator[FloatImage]:
    """Form the image of a sample at one focal plane after the other, with haze and background as `blur` adds them.

    Parameters
    ----------
    slices : ndarray of float32, shape (S, Y, X)
        Density in slices of the sample.
    heights : ndarray, shape (S,)
        Height of each slice, in um.
    places : ndarray, shape (P,)
        Height of each focal plane, in um.

    Yields
    ------
    ndarray of float32, shape (Y, X)
        Expected light, as `blur` returns it.

    Raises
    ------
    InputError
        If slices and heights do not fit.
    ParameterError
        If the numerical aperture is not below the refractive index.
    """
    if slices.ndim != 3 or len(slices) != len(heights):
        raise InputError(f"One height for each slice (S, Y, X) was expected, found {len(heights)} for {slices.shape}.")
    # the discrete cosine transform of an image is its spectrum where it goes on mirrored at the edges
    spectra = dctn(slices, axes=(1, 2))
    along_y, along_x = (np.arange(size) / (2 * size * microscope.pixel_size) for size in slices.shape[1:])
    frequency = np.hypot(along_y[:, None], along_x[None, :])
    radial = np.linspace(0, 2 * microscope.numerical_aperture / microscope.wavelength, 256)
    curves: dict[float, Real] = {}
    density = slices.sum(axis=0)
    for place in places:
        total = np.zeros(frequency.shape)
        for height, spectrum in zip(heights, spectra, strict=True):
            defocus = round(abs(float(place - height)), 6)
            if defocus not in curves:
                curves[defocus] = defocused_transfer(radial, defocus, microscope)
            total += spectrum * np.interp(frequency, radial, curves[defocus], right=0)
        yield with_haze(idctn(total).astype(np.float32), density, microscope)


def defocused_transfer(frequency: Real, defocus: float, microscope: Microscope) -> Real:
    """Return the optical transfer function of a widefield microscope at a distance from its focus.

    The Fourier transform of the squared modulus of the scalar Debye integral over an evenly lit pupil (Zhang, Zerubia
    and Olivo-Marin 2007, doi:10.1364/AO.46.001819), without aberrations. It is 1 at frequency 0: defocus keeps the
    light.

    Parameters
    ----------
    frequency : ndarray, shape (F,)
        Spatial frequencies in cycles per um.
    defocus : float
        Distance from the focal plane in um.

    Returns
    -------
    ndarray, shape (F,)
        Share of the contrast that is left; below 0 where it is reversed.

    Raises
    ------
    ParameterError
        If the numerical aperture is not below the refractive index.

    Examples
    --------
    >>> import numpy as np
    >>> from napari_care_losses.simulation.microscope import Microscope
    >>> sharp, blurred = (defocused_transfer(np.array([0.0, 1.0]), z, Microscope()) for z in (0, 2))
    >>> bool(np.allclose((sharp[0], blurred[0]), 1)), bool(blurred[1] < sharp[1] / 4)
    (True, True)
    """
    aperture, index = microscope.numerical_aperture, microscope.refractive_index
    if aperture >= index:
        raise ParameterError(
            f"numerical_aperture must be below the refractive index to record planes, found {aperture} and {index}."
        )
    pupil = (np.arange(512) + 0.5) / 512 * (aperture / microscope.wavelength)
    wave = pupil * np.exp(2j * np.pi * defocus * np.sqrt((index / microscope.wavelength) ** 2 - pupil**2))
    cone = abs(defocus) * aperture / math.sqrt(index**2 - aperture**2)
    # the squared modulus holds no frequency above 2 aperture / wavelength
    step = microscope.wavelength / (8 * aperture)
    radius = np.arange(step / 2, 1.2 * cone + 16 * microscope.wavelength / aperture, step)
    light = np.abs(j0(2 * np.pi * np.outer(radius, pupil)) @ wave) ** 2 * radius
    return np.asarray(j0(2 * np.pi * np.outer(frequency, radius)) @ (light / light.sum()))


def _sliced(cell: Cell, heights: Real, rng: np.random.Generator, px_per_um: float) -> list[Cell]:
    """Give a cell a height and return its part in each slice; together they are the cell."""
    shape, inside = cell.density.shape, cell.density > 0
    away = np.full(shape, np.inf) if inside.all() else distance_transform_edt(inside)
    top = rng.uniform(_FLATTEST_UM, TALLEST_UM) * np.sqrt(np.clip(away / (_RISE_UM * px_per_um), 0, 1))
    shares = [np.exp(2 * clouds(shape, 3 * px_per_um, rng)) for _ in range(_LAYERS)]
    whole = sum(shares)
    step = heights[1] - heights[0]
    parts = np.zeros((len(heights), *shape), np.float32)
    for layer, share in enumerate(shares):
        level = (layer + 0.5 + 0.15 * clouds(shape, 8 * px_per_um, rng)) / _LAYERS
        place = top * np.clip(level, 0, 1) / step
        light = cell.density * share / whole
        for index, part in enumerate(parts):
            part += light * np.clip(1 - np.abs(place - index), 0, 1)
    y, x = (
        np.clip(np.rint(cell.spots[:, axis]).astype(int) - cell.corner[axis], 0, shape[axis] - 1) for axis in (0, 1)
    )
    level = rng.uniform(0, 1, len(cell.spots)) * top[y, x] / step
    return [replace(cell, density=part, spots=cell.spots[np.rint(level) == index]) for index, part in enumerate(parts)]
