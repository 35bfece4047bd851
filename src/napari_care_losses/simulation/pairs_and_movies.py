"""Simulated pairs of low and high exposure, as the paper's microscope would record them.

`structures` draws cells and `microscope` records them: blur and haze, Poisson photons, Gaussian read noise, gain and
offset of the camera. The random seed decides everything: models bundled with the package are trained on seeds of 1000
and above; sample data, demo and tests stay below.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from reprlib import repr as shortened
from typing import TYPE_CHECKING

import numpy as np

from napari_care_losses.compute.memory import free_memory
from napari_care_losses.errors import InputError, ParameterError
from napari_care_losses.simulation.microscope import (
    Frame,
    Microscope,
    MicroscopeRange,
    blur,
    checked_positive,
    checked_shape,
    record,
)
from napari_care_losses.simulation.motion import Motion, MovingCell
from napari_care_losses.simulation.points import draw_beads, draw_microtubules, draw_vesicles
from napari_care_losses.simulation.structures import Cell, assemble, draw_actin, draw_dendra, draw_mitochondria
from napari_care_losses.simulation.tissue import draw_membranes, draw_nuclei, draw_tissue

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from numpy.typing import NDArray

    from napari_care_losses.simulation.cells import FloatImage

# bytes per pixel that simulating one frame takes
_BYTES_AT_WORK = 60
PX_PER_UM = 1 / 0.108
"""Pixels in which a um of a cell is drawn at zoom 1."""
Variation = float | tuple[float, float]


@dataclass(frozen=True, kw_only=True)
class Structure:
    """A kind of cells that can be simulated, with the paper's short and long exposure in ms."""

    title: str
    draw: Callable[[tuple[int, int], np.random.Generator, float], list[Cell]]
    """From shape in px, random generator and zoom to the cells of a field of view."""
    photons_per_ms: float
    """Photons detected per pixel and millisecond at a density of 1."""
    low_ms: float
    high_ms: float
    interval_s: float = 0.4
    """Time between the frames of a movie in s."""
    motion: Motion = field(default_factory=Motion)
    """How fast cells and what they hold move."""
    divides: bool = False
    """Whether cells divide in a movie."""


_ACTIN = Motion(flow=(0.01, 0.05))
_MITOCHONDRIA = Motion(organelles=0.05, radius=1.0, transport=(0.1, 0.3), run_s=9.0, diffusion=0.001)
_VESICLES = Motion(organelles=0.05)
_NUCLEI = Motion(turn=0.001, flow=(0.0005, 0.002), period_s=(1000.0, 2000.0))
_SHEET = Motion(crawl=(0.0003, 0.002), flow=(0.0005, 0.002), period_s=(1000.0, 2000.0))
# beads move with the stage alone
_STAGE = Motion(crawl=(0.0005, 0.002), turn=0.0, flow=(0.0, 0.0))

STRUCTURES: dict[str, Structure] = {
    "actin": Structure(title="Actin", draw=draw_actin, photons_per_ms=12.0, low_ms=1.0, high_ms=100.0, motion=_ACTIN),
    "mitochondria": Structure(
        title="Mitochondria",
        draw=draw_mitochondria,
        photons_per_ms=3.0,
        low_ms=1.0,
        high_ms=100.0,
        interval_s=1.0,
        motion=_MITOCHONDRIA,
    ),
    "dendra": Structure(title="Dendra", draw=draw_dendra, photons_per_ms=0.7, low_ms=10.0, high_ms=400.0, divides=True),
    "nuclei": Structure(
        title="Nuclei",
        draw=draw_nuclei,
        photons_per_ms=14.0,
        low_ms=1.0,
        high_ms=100.0,
        interval_s=30.0,
        motion=_NUCLEI,
    ),
    "membranes": Structure(
        title="Membranes",
        draw=draw_membranes,
        photons_per_ms=6.0,
        low_ms=1.0,
        high_ms=100.0,
        interval_s=30.0,
        motion=_SHEET,
    ),
    "microtubules": Structure(
        title="Microtubules", draw=draw_microtubules, photons_per_ms=1.5, low_ms=1.0, high_ms=100.0, interval_s=1.0
    ),
    "vesicles": Structure(
        title="Vesicles", draw=draw_vesicles, photons_per_ms=2.0, low_ms=1.0, high_ms=100.0, motion=_VESICLES
    ),
    "beads": Structure(title="Beads", draw=draw_beads, photons_per_ms=2.5, low_ms=1.0, high_ms=100.0, motion=_STAGE),
    "tissue": Structure(
        title="Tissue",
        draw=draw_tissue,
        photons_per_ms=12.0,
        low_ms=1.0,
        high_ms=100.0,
        interval_s=30.0,
        motion=_SHEET,
    ),
}


@dataclass(frozen=True, kw_only=True)
class ImagingConditions:
    """How fields of view are lit, magnified and recorded; the defaults are the paper's.

    Raises
    ------
    ParameterError
        If an exposure, a step, the brightness or the zoom is not positive, or a range not a pair from low to high.
    """

    low_ms: float | None = None
    """Short exposure in ms; by default the paper's for the structure, as for `high_ms`, the long one."""
    high_ms: float | None = None
    interval_s: float | None = None
    """Time between the frames of a movie in s; by default that of the structure."""
    z_step: float = 0.3
    """Distance of the planes of a z-stack in um."""
    microscope: Microscope | MicroscopeRange = field(default_factory=Microscope)
    """Optics and camera, or ranges from which each field draws its own."""
    brightness: Variation = 1.0
    """Factor on the light of both exposures, or a range from which each field draws one (evenly in the logarithm)."""
    zoom: Variation = 1.0
    """Size of the cells relative to a pixel of 0.108 um, or a range likewise; 0.33 looks like a 20x objective."""

    def __post_init__(self) -> None:
        for name in ("low_ms", "high_ms", "interval_s", "z_step"):
            if getattr(self, name) is not None:
                checked_positive(name, getattr(self, name))
        for name in ("brightness", "zoom"):
            value = getattr(self, name)
            ends = value if isinstance(value, tuple) else (value, value)
            if len(ends) != 2:
                raise ParameterError(f"{name} must be a number or a range of two numbers, found {value!r}.")
            low, high = (checked_positive(name, end) for end in ends)
            if low > high:
                raise ParameterError(f"{name} must be a range from low to high, found {value!r}.")


def draw_structure(name: str, shape: tuple[int, int], rng: np.random.Generator, *, zoom: float = 1.0) -> FloatImage:
    """Return the fluorophore density (Y, X) of a field of view: about 1 in the mean of a cell, 0 in the background.

    Parameters and errors are those of `simulate_pair`, the zoom that of `ImagingConditions`.
    """
    structure, shape = known_structure(name), checked_shape(shape)
    return assemble(structure.draw(shape, rng, checked_positive("zoom", zoom)), shape)


def draw_movie(
    name: str, times: NDArray[np.float64], shape: tuple[int, int], rng: np.random.Generator, *, zoom: float = 1.0
) -> Iterator[FloatImage]:
    """Yield the fluorophore density (Y, X) of a field of view as its cells move, at times (T,) in s, evenly spaced.

    Parameters and errors are those of `draw_structure`.
    """
    structure, shape = known_structure(name), checked_shape(shape)
    return _moving(structure, structure.draw(shape, rng, checked_positive("zoom", zoom)), times, shape, zoom, rng)


def simulate_pair(
    name: str, shape: tuple[int, int] = (512, 512), conditions: ImagingConditions | None = None, *, seed: int
) -> tuple[Frame, Frame]:
    """Simulate one field of view at a short and at a long exposure.

    Parameters
    ----------
    name : str
        A key of `STRUCTURES`.
    shape : tuple of int
        Height and width in px, each at least 16.
    conditions : ImagingConditions, optional
        Exposures, microscope, brightness and zoom; by default the paper's.
    seed : int
        Zero or more; the same seed gives the same images.

    Returns
    -------
    low, high : ndarray of uint16, shape (Y, X)
        The pair, in grey levels of the same camera.

    Raises
    ------
    InputError
        If the structure is unknown or the shape unusable.
    ParameterError
        If the seed is out of bounds.

    Examples
    --------
    >>> from napari_care_losses.simulation.pairs_and_movies import ImagingConditions, simulate_pair
    >>> low, high = simulate_pair("actin", (64, 64), ImagingConditions(low_ms=1, high_ms=50), seed=0)
    >>> low.shape, low.dtype
    ((64, 64), dtype('uint16'))
    >>> bool(high.mean() > low.mean())
    True
    """
    structure, shape = known_structure(name), checked_shape(shape)
    rng = np.random.default_rng(checked_seed(seed))
    return _pair(structure, shape, conditions or ImagingConditions(), rng)


def simulate_pairs(
    name: str,
    count: int,
    shape: tuple[int, int] = (512, 512),
    conditions: ImagingConditions | None = None,
    *,
    seed: int,
) -> tuple[Frame, Frame]:
    """Simulate `count` independent fields of view, (N, Y, X); field i does not depend on how many there are.

    The other parameters and the errors are those of `simulate_pair`.
    """
    structure, shape = known_structure(name), checked_shape(shape)
    low, high = empty_stacks(checked_whole("count", count), shape)
    for index, child in enumerate(np.random.SeedSequence(checked_seed(seed)).spawn(len(low))):
        rng = np.random.default_rng(child)
        low[index], high[index] = _pair(structure, shape, conditions or ImagingConditions(), rng)
    return low, high


def simulate_movie(
    name: str,
    frames: int,
    shape: tuple[int, int] = (384, 384),
    conditions: ImagingConditions | None = None,
    *,
    seed: int,
    bleaching: float = 0.0,
) -> tuple[Frame, Frame]:
    """Simulate moving cells; every time point is recorded at both exposures.

    Each cell crawls, turns and deforms on its own, at the speeds of `Structure.motion`; vesicles and mitochondria also
    move within it. Some dendra cells divide, and their light is shared between the daughters. The light fades
    exponentially: `bleaching` is the share lost by the last of the `frames` time points, at least 0 and below 1. The
    other parameters and the errors are those of `simulate_pair`; the movies are (T, Y, X).

    Examples
    --------
    >>> from napari_care_losses.simulation.pairs_and_movies import simulate_movie
    >>> low, high = simulate_movie("dendra", 3, (64, 64), seed=0, bleaching=0.2)
    >>> low.shape, high.shape
    ((3, 64, 64), (3, 64, 64))
    """
    structure, shape, conditions = known_structure(name), checked_shape(shape), conditions or ImagingConditions()
    if not 0 <= bleaching < 1:
        raise ParameterError(f"bleaching must be at least 0 and below 1, found {bleaching!r}.")
    low, high = empty_stacks(checked_whole("frames", frames), shape)
    rng = np.random.default_rng(checked_seed(seed))
    rate, zoom, cells = lit_cells(structure, shape, conditions, rng)
    times = np.arange(len(low), dtype=np.float64) * (conditions.interval_s or structure.interval_s)
    densities = _moving(structure, cells, times, shape, zoom, rng)
    microscope = conditions.microscope.draw(rng)
    for index, density in enumerate(densities):
        fade = np.float32((1 - bleaching) ** (index / max(1, len(low) - 1)))
        low[index], high[index] = recorded(
            blur(density * fade, microscope), structure, conditions, microscope, rate, rng
        )
    return low, high


def _moving(
    structure: Structure,
    cells: Sequence[Cell],
    times: NDArray[np.float64],
    shape: tuple[int, int],
    zoom: float,
    rng: np.random.Generator,
) -> Iterator[FloatImage]:
    """Draw how cells move, then yield the density of every frame."""
    moving = [
        MovingCell.drawn(cell, times, structure.motion, rng, px_per_um=zoom * PX_PER_UM, divides=structure.divides)
        for cell in cells
    ]
    return (assemble([part for cell in moving for part in cell.at(index)], shape) for index in range(len(times)))


def _pair(
    structure: Structure, shape: tuple[int, int], conditions: ImagingConditions, rng: np.random.Generator
) -> tuple[Frame, Frame]:
    rate, _, cells = lit_cells(structure, shape, conditions, rng)
    microscope = conditions.microscope.draw(rng)
    return recorded(blur(assemble(cells, shape), microscope), structure, conditions, microscope, rate, rng)


def lit_cells(
    structure: Structure, shape: tuple[int, int], conditions: ImagingConditions, rng: np.random.Generator
) -> tuple[float, float, list[Cell]]:
    """Draw the photons per ms at a density of 1, the zoom and the cells."""
    rate = structure.photons_per_ms * _drawn(conditions.brightness, rng)
    zoom = _drawn(conditions.zoom, rng)
    return rate, zoom, structure.draw(shape, rng, zoom)


def _drawn(value: Variation, rng: np.random.Generator) -> float:
    low, high = value if isinstance(value, tuple) else (value, value)
    return float(np.exp(rng.uniform(np.log(low), np.log(high))))


def recorded(
    image: FloatImage,
    structure: Structure,
    conditions: ImagingConditions,
    microscope: Microscope,
    rate: float,
    rng: np.random.Generator,
) -> tuple[Frame, Frame]:
    """Record an image at both exposures, the short one first."""
    exposures = (conditions.low_ms or structure.low_ms, conditions.high_ms or structure.high_ms)
    low, high = (record(image, exposure, microscope, rng, rate) for exposure in exposures)
    return low, high


def empty_stacks(count: int, shape: tuple[int, int], *, bytes_at_work: int = _BYTES_AT_WORK) -> tuple[Frame, Frame]:
    """Return two stacks to be filled; raises `InputError` where memory lacks for them and the work on each pixel."""
    needed, free = (4 * count + bytes_at_work) * shape[0] * shape[1], free_memory()
    if needed > free:
        raise InputError(
            f"{count} images of {shape[0]} x {shape[1]} px take {shortened(needed // 10**9)} GB to simulate, and only "
            f"{free / 1e9:.1f} GB of memory are free: simulate fewer or smaller ones."
        )
    return np.empty((count, *shape), np.uint16), np.empty((count, *shape), np.uint16)


def known_structure(name: str) -> Structure:
    """Return the structure of a name; raises `InputError` if there is none."""
    if name not in STRUCTURES:
        raise InputError(f"There is no structure {name!r} to simulate; choose one of: {', '.join(STRUCTURES)}.")
    return STRUCTURES[name]


def checked_seed(seed: int) -> int:
    """Return a random seed as a plain integer; raises `ParameterError` unless it is zero or more."""
    return checked_whole("seed", seed, 0)


def checked_whole(name: str, value: int, least: int = 1) -> int:
    """Return a whole number as a plain integer; raises `ParameterError` unless it is at least `least`."""
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < least:
        raise ParameterError(f"{name} must be a whole number of at least {least}, found {shortened(value)}.")
    return int(value)
