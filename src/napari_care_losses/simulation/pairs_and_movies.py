"""Simulated pairs of low and high exposure, as the paper's microscope would record them.

Cells are drawn in `structures` and seen through `microscope`: blur and haze, Poisson photons, Gaussian read noise, gain
and offset of the camera. Exposure in milliseconds is the knob. Everything follows from a seed: models bundled with the
package are trained on seeds of 1000 and above; sample data, demo and tests stay below.
"""

from __future__ import annotations

from dataclasses import dataclass
from reprlib import repr as shortened
from typing import TYPE_CHECKING

import numpy as np
from psutil import virtual_memory

from napari_care_losses.errors import InputError, ParameterError
from napari_care_losses.simulation.microscope import (
    Frame,
    Microscope,
    MicroscopeRange,
    blur,
    checked_positive,
    checked_shape,
    expose,
    record,
)
from napari_care_losses.simulation.motion import MovingCell
from napari_care_losses.simulation.structures import (
    Cell,
    assemble,
    draw_actin,
    draw_dendra,
    draw_mitochondria,
)

__all__ = [
    "STRUCTURES",
    "Microscope",
    "MicroscopeRange",
    "Structure",
    "draw_structure",
    "expose",
    "simulate_movie",
    "simulate_pair",
    "simulate_pairs",
]

if TYPE_CHECKING:
    from collections.abc import Callable

    from napari_care_losses.simulation.cells import FloatImage

# a pixel, for the images that one frame is made of
_BYTES_AT_WORK = 60
Variation = float | tuple[float, float]


@dataclass(frozen=True, kw_only=True)
class Structure:
    """What can be simulated: how it is drawn, how bright it is and the paper's exposures.

    Attributes
    ----------
    title : str
        Name shown to users.
    draw : callable
        Takes shape in px, random generator and zoom; returns the cells of a field of view.
    photons_per_ms : float
        Photons detected per pixel and millisecond at a density of 1.
    low_ms, high_ms : float
        The paper's short and long exposure in ms.
    divides : bool
        Whether cells divide in a movie.
    """

    title: str
    draw: Callable[[tuple[int, int], np.random.Generator, float], list[Cell]]
    photons_per_ms: float
    low_ms: float
    high_ms: float
    divides: bool = False


STRUCTURES: dict[str, Structure] = {
    "actin": Structure(title="Actin", draw=draw_actin, photons_per_ms=12.0, low_ms=1.0, high_ms=100.0),
    "mitochondria": Structure(
        title="Mitochondria", draw=draw_mitochondria, photons_per_ms=3.0, low_ms=1.0, high_ms=100.0
    ),
    "dendra": Structure(title="Dendra", draw=draw_dendra, photons_per_ms=0.7, low_ms=10.0, high_ms=400.0, divides=True),
}


def draw_structure(name: str, shape: tuple[int, int], rng: np.random.Generator, *, zoom: float = 1.0) -> FloatImage:
    """Draw a field of view of labelled cells, before any optics.

    Parameters
    ----------
    name : str
        A key of `STRUCTURES`.
    shape : tuple of int
        Height and width in px, each at least 16.
    rng : numpy.random.Generator
        Source of chance.
    zoom : float
        Size of the cells relative to a pixel of 0.108 um; 0.33 looks like a 20x objective.

    Returns
    -------
    ndarray of float32, shape (Y, X)
        Fluorophore density, not negative; the mean within a cell is about 1, the background 0.

    Raises
    ------
    InputError
        If the structure is unknown or the shape unusable.
    ParameterError
        If the zoom is not positive.
    """
    structure, shape = _structure(name), checked_shape(shape)
    return assemble(structure.draw(shape, rng, checked_positive("zoom", zoom)), shape)


def simulate_pair(
    name: str,
    shape: tuple[int, int] = (512, 512),
    *,
    low_ms: float | None = None,
    high_ms: float | None = None,
    seed: int,
    microscope: Microscope | MicroscopeRange | None = None,
    brightness: Variation = 1.0,
    zoom: Variation = 1.0,
) -> tuple[Frame, Frame]:
    """Simulate one field of view at a short and at a long exposure.

    Parameters
    ----------
    name : str
        A key of `STRUCTURES`.
    shape : tuple of int
        Height and width in px, each at least 16.
    low_ms, high_ms : float, optional
        Exposures in ms; by default the paper's for the structure.
    seed : int
        Seed, zero or more; the same seed gives the same pair.
    microscope : Microscope or MicroscopeRange, optional
        Optics and camera, or ranges of which each field draws its own; by default the paper's.
    brightness : float or tuple of two floats
        Factor on the light of both exposures, or a range of which each field draws one (evenly in the logarithm).
    zoom : float or tuple of two floats
        Size of the cells, as in `draw_structure`, or a range likewise.

    Returns
    -------
    low, high : ndarray of uint16, shape (Y, X)
        The pair, in grey levels of the same camera.

    Raises
    ------
    InputError
        If the structure is unknown or the shape unusable.
    ParameterError
        If an exposure, brightness, zoom or seed is out of bounds.
    """
    shape = checked_shape(shape)
    setting = _Setting.checked(name, low_ms, high_ms, microscope, brightness, zoom)
    return _pair(setting, shape, np.random.default_rng(_seed(seed)))


def simulate_pairs(
    name: str,
    count: int,
    shape: tuple[int, int] = (512, 512),
    *,
    low_ms: float | None = None,
    high_ms: float | None = None,
    seed: int,
    microscope: Microscope | MicroscopeRange | None = None,
    brightness: Variation = 1.0,
    zoom: Variation = 1.0,
) -> tuple[Frame, Frame]:
    """Simulate independent fields of view; field i does not depend on how many are asked for.

    Parameters
    ----------
    count : int
        How many fields, at least 1; the other parameters and the errors are those of `simulate_pair`.

    Returns
    -------
    low, high : ndarray of uint16, shape (N, Y, X)
        The pairs, in grey levels of the same camera.
    """
    shape = checked_shape(shape)
    setting = _Setting.checked(name, low_ms, high_ms, microscope, brightness, zoom)
    low, high = _stacks(_whole("count", count), shape)
    for index, child in enumerate(np.random.SeedSequence(_seed(seed)).spawn(len(low))):
        low[index], high[index] = _pair(setting, shape, np.random.default_rng(child))
    return low, high


def simulate_movie(
    name: str,
    frames: int,
    shape: tuple[int, int] = (384, 384),
    *,
    low_ms: float | None = None,
    high_ms: float | None = None,
    seed: int,
    microscope: Microscope | MicroscopeRange | None = None,
    brightness: Variation = 1.0,
    zoom: Variation = 1.0,
    bleaching: float = 0.0,
) -> tuple[Frame, Frame]:
    """Simulate moving cells, every time point recorded at both exposures.

    Each cell drifts, turns and deforms a little on its own; its vesicles wander besides. Some dendra cells divide, each
    daughter with its part of the light.

    Parameters
    ----------
    frames : int
        Time points, at least 1.
    bleaching : float
        Share of the light lost by the last time point, at least 0 and below 1; the light fades exponentially. The other
        parameters and the errors are those of `simulate_pair`.

    Returns
    -------
    low, high : ndarray of uint16, shape (T, Y, X)
        The movie at the short and at the long exposure, in grey levels of the same camera.
    """
    shape = checked_shape(shape)
    setting = _Setting.checked(name, low_ms, high_ms, microscope, brightness, zoom)
    if not 0 <= bleaching < 1:
        raise ParameterError(f"bleaching must be at least 0 and below 1, found {bleaching!r}.")
    low, high = _stacks(_whole("frames", frames), shape)
    rng = np.random.default_rng(_seed(seed))
    rate = setting.structure.photons_per_ms * setting.brightness.draw(rng)
    cells = setting.structure.draw(shape, rng, setting.zoom.draw(rng))
    moving = [MovingCell.drawn(cell, len(low), rng, divides=setting.structure.divides) for cell in cells]
    seen_through = setting.draw_microscope(rng)
    for index in range(len(low)):
        density = assemble([part for cell in moving for part in cell.at(index)], shape)
        fade = np.float32((1 - bleaching) ** (index / max(1, len(low) - 1)))
        low[index], high[index] = setting.record(density * fade, seen_through, rate, rng)
    return low, high


@dataclass(frozen=True)
class _Range:
    low: float
    high: float

    @classmethod
    def checked(cls, name: str, value: Variation) -> _Range:
        ends = value if isinstance(value, tuple) else (value, value)
        if len(ends) != 2:
            raise ParameterError(f"{name} must be a number or a range of two numbers, found {value!r}.")
        low, high = (checked_positive(name, end) for end in ends)
        if low > high:
            raise ParameterError(f"{name} must be a range from low to high, found {value!r}.")
        return cls(low, high)

    def draw(self, rng: np.random.Generator) -> float:
        return float(np.exp(rng.uniform(np.log(self.low), np.log(self.high))))


@dataclass(frozen=True)
class _Setting:
    structure: Structure
    low_ms: float
    high_ms: float
    microscope: Microscope | MicroscopeRange
    brightness: _Range
    zoom: _Range

    @classmethod
    def checked(
        cls,
        name: str,
        low_ms: float | None,
        high_ms: float | None,
        microscope: Microscope | MicroscopeRange | None,
        brightness: Variation,
        zoom: Variation,
    ) -> _Setting:
        structure = _structure(name)
        return cls(
            structure,
            checked_positive("low_ms", structure.low_ms if low_ms is None else low_ms),
            checked_positive("high_ms", structure.high_ms if high_ms is None else high_ms),
            microscope or Microscope(),
            _Range.checked("brightness", brightness),
            _Range.checked("zoom", zoom),
        )

    def draw_microscope(self, rng: np.random.Generator) -> Microscope:
        return self.microscope.draw(rng) if isinstance(self.microscope, MicroscopeRange) else self.microscope

    def record(
        self, density: FloatImage, microscope: Microscope, rate: float, rng: np.random.Generator
    ) -> tuple[Frame, Frame]:
        image = blur(density, microscope)
        low = record(image, self.low_ms, microscope, rng, rate)
        return low, record(image, self.high_ms, microscope, rng, rate)


def _pair(setting: _Setting, shape: tuple[int, int], rng: np.random.Generator) -> tuple[Frame, Frame]:
    rate = setting.structure.photons_per_ms * setting.brightness.draw(rng)
    cells = setting.structure.draw(shape, rng, setting.zoom.draw(rng))
    return setting.record(assemble(cells, shape), setting.draw_microscope(rng), rate, rng)


def _stacks(count: int, shape: tuple[int, int]) -> tuple[Frame, Frame]:
    needed, free = (4 * count + _BYTES_AT_WORK) * shape[0] * shape[1], virtual_memory().available
    if needed > free:
        raise InputError(
            f"{count} images of {shape[0]} x {shape[1]} px take {shortened(needed // 10**9)} GB to simulate, and only "
            f"{free / 1e9:.1f} GB of memory are free: simulate fewer or smaller ones."
        )
    return np.empty((count, *shape), np.uint16), np.empty((count, *shape), np.uint16)


def _structure(name: str) -> Structure:
    if name not in STRUCTURES:
        raise InputError(f"There is no structure {name!r} to simulate; choose one of: {', '.join(STRUCTURES)}.")
    return STRUCTURES[name]


def _whole(name: str, value: int) -> int:
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < 1:
        raise ParameterError(f"{name} must be a whole number of at least 1, found {shortened(value)}.")
    return int(value)


def _seed(value: int) -> int:
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < 0:
        raise ParameterError(f"seed must be a whole number of zero or more, found {shortened(value)}.")
    return int(value)
