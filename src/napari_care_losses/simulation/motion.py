"""Cells of a movie: how fast each crawls, turns, deforms and divides, and what moves within it."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from scipy.ndimage import gaussian_filter, map_coordinates

from napari_care_losses.simulation.structures import Cell, splat

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from napari_care_losses.simulation.cells import FloatImage, Real

DIVIDING = 0.35
"""Share of the cells that begin to divide in a movie, where cells do: more than in nature, so that some are seen."""

_PARTING_S = 600.0
_LARGEST_DRIFT, _LARGEST_TURN = 26.0, 0.05
_WAVES_UM = (3.8, 4.5)


@dataclass(frozen=True, kw_only=True)
class Motion:
    """How fast the cells of a structure and what they hold move; ranges from which each cell draws its own.

    Sources: crawling, 3T3 fibroblasts at most 40 um/h (Kim et al. 2009, doi:10.1016/j.biomaterials.2009.06.042), the
    fastest of fifty cell types 5.2 um/min (Maiuri et al. 2012, doi:10.1016/j.cub.2012.07.052); turning, a few degrees a
    minute (Kumar et al. 2014, doi:10.1038/srep03781); flow of actin, 9 nm/s where adhesions hold it to 88 nm/s at the
    edge (Gardel et al. 2008, doi:10.1083/jcb.200810060; Vitriol et al. 2015, doi:10.1016/j.celrep.2015.03.033); period
    of protrusion and retraction (Ryan et al. 2012, doi:10.1016/j.bpj.2012.03.005); mitochondria, 9.3 um/min in runs of
    1.4 um, a third of the time (Mills et al. 2016, doi:10.1091/mbc.E15-09-0632); vesicles, 0.3 and 1.0 um/s in runs of
    4 s (Gu et al. 2012, doi:10.1038/ncomms2037), else diffusing (Oheim and Stuehmer 2000, doi:10.1007/s002490050253).
    """

    crawl: tuple[float, float] = (0.0015, 0.015)
    """Speed of a cell in um/s."""
    turn: float = 0.0003
    """Standard deviation of its turning in rad/s."""
    flow: tuple[float, float] = (0.005, 0.02)
    """Root mean square speed in um/s at which parts of a cell move against one another."""
    period_s: tuple[float, float] = (130.0, 200.0)
    """Time in s after which they have moved there and back."""
    organelles: float = 0.0
    """Organelles in a square um of a cell that move on their own, besides the vesicles of `Cell.spots`."""
    radius: float = 0.5
    """Radius of such an organelle in um."""
    transport: tuple[float, float] = (0.3, 1.0)
    """Speed in um/s of organelles and vesicles that motors carry."""
    carried: float = 0.3
    """Share of the time in which a motor carries them."""
    run_s: float = 4.0
    """Mean time in s for which it does."""
    diffusion: float = 0.01
    """Their diffusion coefficient in um2/s for the rest of the time."""
    reach: float = 3.0
    """Distance in um at which they turn back."""


@dataclass(frozen=True)
class Organelles:
    """What was cut out of a cell's density to move on its own: pixels, each a point of light of one organelle."""

    place: NDArray[np.complex128]
    """Position x + iy (M,) of each pixel in the box of the cell, in px."""
    light: FloatImage
    """Density (M,) of each."""
    owner: NDArray[np.int64]
    """The organelle (M,) that each belongs to."""
    path: Real
    """Displacement (T, N, 2) along y and x of each organelle, in px."""

    def at(self, index: int, shape: tuple[int, ...]) -> FloatImage:
        """Draw them in the box of the cell in a frame."""
        moved = self.path[index][self.owner]
        return splat(self.place + moved[:, 1] + 1j * moved[:, 0], self.light, shape)


@dataclass(frozen=True)
class MovingCell:
    """A cell and its motion over T frames."""

    cell: Cell
    """The cell in the first frame, without its organelles."""
    organelles: Organelles | None
    drift: Real
    """Displacement (T, 2) along y and x in px."""
    angle: Real
    """Turn (T,) in radians."""
    strain: Real
    """Stretch (T,) along y."""
    phase: Real
    """Phase (T,) of the waves that shear it, in radians."""
    waves: tuple[float, float, float]
    """Amplitude of the waves, and their wavelengths along x and y over 2 pi, in px."""
    spots: Real
    """Displacement (T, N, 2) in px of each vesicle besides."""
    daughters: tuple[Cell, ...]
    """The two that it divides into, empty where it does not."""
    parting: Real
    """Displacement (T, 2) in px of the first daughter; the second goes the other way."""

    @classmethod
    def drawn(
        cls,
        cell: Cell,
        times: Real,
        motion: Motion,
        rng: np.random.Generator,
        *,
        px_per_um: float,
        divides: bool = False,
    ) -> MovingCell:
        """Draw the motion of a cell at times (T,) in s, evenly spaced; it may divide where `divides` says so."""
        path = _there_and_back(rng.uniform(*motion.crawl) * px_per_um, times, _LARGEST_DRIFT)
        course = rng.uniform(0, 2 * np.pi)
        period = rng.uniform(*motion.period_s)
        wave = times * (2 * np.pi / period)
        amplitude = rng.uniform(*motion.flow) * period / (2 * np.pi)
        daughters: tuple[Cell, ...] = ()
        parting = np.zeros((len(times), 2))
        organelles = None
        if divides and rng.random() < DIVIDING:
            cell, daughters, axis, length = _divided(cell)
            begun = rng.uniform(0, times[-1])
            apart = np.clip((times - begun) / _PARTING_S, 0, 1) ** 2
            parting = apart[:, None] * (rng.uniform(0.25, 0.45) * length * axis)
        elif motion.organelles:
            cell, organelles = _cut_out(cell, times, motion, rng, px_per_um)
        return cls(
            cell=cell,
            organelles=organelles,
            drift=path[:, None] * [np.sin(course), np.cos(course)],
            angle=_there_and_back(rng.normal(0, motion.turn), times, _LARGEST_TURN),
            strain=rng.uniform(0.01, 0.03) * np.sin(wave),
            phase=wave,
            waves=(amplitude * px_per_um, _WAVES_UM[0] * px_per_um, _WAVES_UM[1] * px_per_um),
            spots=_carried(len(cell.spots), times, motion, rng) * px_per_um,
            daughters=daughters,
            parting=parting,
        )

    def at(self, index: int) -> list[Cell]:
        """Return the cell in a frame, or its daughters."""
        parting = self.parting[index]
        if not parting.any():
            return [self._moved(self.cell, self.drift[index], self.spots[index], index)]
        one, other = self.daughters
        return [
            self._moved(one, self.drift[index] + parting, self.spots[index, : len(one.spots)], index),
            self._moved(other, self.drift[index] - parting, self.spots[index, len(one.spots) :], index),
        ]

    def _moved(self, cell: Cell, drift: Real, spots: Real, index: int) -> Cell:
        angle, strain, phase = float(self.angle[index]), float(self.strain[index]), float(self.phase[index])
        whole = (round(drift[0]), round(drift[1]))
        height, width = cell.density.shape
        middle_y, middle_x = (height - 1) / 2, (width - 1) / 2
        y = (np.arange(height, dtype=np.float32) - np.float32(middle_y + drift[0] - whole[0]))[:, None]
        x = (np.arange(width, dtype=np.float32) - np.float32(middle_x + drift[1] - whole[1]))[None, :]
        cos, sin = np.float32(math.cos(angle)), np.float32(math.sin(angle))
        amplitude, along_x, along_y = (np.float32(length) for length in self.waves)
        bent_y = amplitude * (np.sin(x / along_x + phase) - np.sin(x / along_x))
        bent_x = amplitude * (np.sin(y / along_y - phase) - np.sin(y / along_y))
        from_y = (cos * y - sin * x) * np.float32(1 - strain) + bent_y + middle_y
        from_x = (sin * y + cos * x) * np.float32(1 + strain) + bent_x + middle_x
        density = cell.density
        if self.organelles is not None:
            density = density + self.organelles.at(index, density.shape)
        density = map_coordinates(density, [from_y, from_x], order=1, mode="constant")
        moved = cell.spots.copy()
        centre = np.array([cell.corner[0] + middle_y, cell.corner[1] + middle_x])
        rest = cell.spots[:, :2] - centre
        moved[:, 0] = centre[0] + cos * rest[:, 0] + sin * rest[:, 1] + drift[0] + spots[:, 0]
        moved[:, 1] = centre[1] - sin * rest[:, 0] + cos * rest[:, 1] + drift[1] + spots[:, 1]
        return Cell(density=density, corner=(cell.corner[0] + whole[0], cell.corner[1] + whole[1]), spots=moved)


def _there_and_back(rate: float, times: Real, limit: float) -> Real:
    """Return a way (T,) that starts at a rate and stays within a limit, so that no edge cut off comes into view."""
    return np.asarray(limit * np.sin(rate * times / limit))


def _carried(count: int, times: Real, motion: Motion, rng: np.random.Generator) -> Real:
    """Return the displacement (T, N, 2) in um of vesicles that motors carry along a line for a while, now and then."""
    step = float(times[1] - times[0]) if len(times) > 1 else 0.0
    axis, speed = rng.uniform(0, 2 * np.pi, count), rng.uniform(*motion.transport, count)
    along, free = np.zeros((len(times), count)), np.zeros((len(times), count, 2))
    runs, way = rng.random(count) < motion.carried, rng.choice([-1.0, 1.0], count)
    # both states relax to their shares of the time, whatever the step
    changed = 1 - math.exp(-step / (motion.run_s * (1 - motion.carried)))
    for index in range(1, len(times)):
        along[index] = along[index - 1] + runs * way * speed * step
        wander = rng.normal(0, math.sqrt(2 * motion.diffusion * step), (count, 2))
        free[index] = free[index - 1] + wander * ~runs[:, None]
        switched = rng.random(count) < changed * np.where(runs, 1 - motion.carried, motion.carried)
        way = np.where(switched & ~runs, rng.choice([-1.0, 1.0], count), way)
        runs = runs ^ switched
    line = np.stack([np.sin(axis), np.cos(axis)], axis=1)
    return np.asarray(_folded(along, motion.reach)[..., None] * line + _folded(free, motion.reach))


def _folded(way: Real, reach: float) -> Real:
    """Return a way that turns back whenever it comes to the reach on either side."""
    return np.asarray(reach - np.abs((way + reach) % (4 * reach) - 2 * reach))


def _cut_out(
    cell: Cell, times: Real, motion: Motion, rng: np.random.Generator, px_per_um: float
) -> tuple[Cell, Organelles]:
    """Cut organelles out of a cell where it is brighter than its surroundings; return what is left, and them."""
    left, radius = cell.density.copy(), motion.radius * px_per_um
    detail = np.clip(left - gaussian_filter(left, 2 * radius), 0, None)
    count = int(motion.organelles * np.count_nonzero(left) / px_per_um**2)
    total = np.cumsum(detail.ravel() ** 2, dtype=np.float64)
    middles = np.searchsorted(total, rng.uniform(0, total[-1], count)).clip(max=detail.size - 1)
    reach = math.ceil(radius)
    places, lights = [], []
    for y, x in zip(*np.unravel_index(middles, detail.shape), strict=True):
        top, first = max(0, y - reach), max(0, x - reach)
        part = (slice(top, y + reach + 1), slice(first, x + reach + 1))
        dy, dx = np.ogrid[top - y : detail[part].shape[0] + top - y, first - x : detail[part].shape[1] + first - x]
        light = np.minimum(detail[part] * np.clip(1 - (dy**2 + dx**2) / radius**2, 0, 1), left[part])
        left[part] -= light
        detail[part] -= light
        places.append(((dx + x) + 1j * (dy + y)).ravel())
        lights.append(light.ravel())
    owner = np.repeat(np.arange(count), [len(place) for place in places])
    organelles = Organelles(
        place=np.concatenate([*places, np.zeros(0, np.complex128)]),
        light=np.concatenate([*lights, np.zeros(0, np.float32)]).astype(np.float32),
        owner=owner,
        path=_carried(count, times, motion, rng) * px_per_um,
    )
    return replace(cell, density=left), organelles


def _divided(cell: Cell) -> tuple[Cell, tuple[Cell, Cell], Real, float]:
    """Cut a cell across its long axis; return it, its halves, that axis (y, x) and half the cell's length in px.

    The vesicles of the cell returned are those of the first half, then those of the second.
    """
    light = np.asarray(cell.density, dtype=np.float64)
    y, x = (np.arange(size, dtype=np.float64) for size in light.shape)
    total = max(float(light.sum()), 1e-9)
    middle = np.array([light.sum(axis=1) @ y, light.sum(axis=0) @ x]) / total
    dy, dx = (y - middle[0])[:, None], (x - middle[1])[None, :]
    crossed = float((light * dy * dx).sum())
    moments = np.array([[(light * dy**2).sum(), crossed], [crossed, (light * dx**2).sum()]]) / total
    spread, axes = np.linalg.eigh(moments)
    axis = axes[:, 1]

    def side(along: NDArray[np.float64]) -> NDArray[np.float32]:
        return (1 / (1 + np.exp(-np.clip(along / 2, -50, 50)))).astype(np.float32)

    first = side(axis[0] * dy + axis[1] * dx)
    ahead = (cell.spots[:, :2] - cell.corner - middle) @ axis > 0
    daughters = (
        replace(cell, density=cell.density * first, spots=cell.spots[ahead]),
        replace(cell, density=cell.density * (1 - first), spots=cell.spots[~ahead]),
    )
    whole = replace(cell, spots=np.concatenate([daughter.spots for daughter in daughters]))
    return whole, daughters, axis, 2 * math.sqrt(max(float(spread[1]), 0.0))
