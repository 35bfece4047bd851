"""Cells of a movie: how each drifts, turns, deforms and divides from frame to frame."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from scipy.ndimage import gaussian_filter1d, map_coordinates

from napari_care_losses.simulation.structures import Cell

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from napari_care_losses.simulation.cells import Real

DIVIDING = 0.35
"""Share of the cells that divide, where cells do."""

_PARTING_FRAMES = 25.0


@dataclass(frozen=True)
class MovingCell:
    """A cell and its motion over T frames."""

    cell: Cell
    drift: Real
    """Displacement (T, 2) along y and x in px."""
    angle: Real
    """Turn (T,) in radians."""
    strain: Real
    """Stretch (T,) along y."""
    phase: Real
    """Phase (T,) of the wave that bends it."""
    spots: Real
    """Displacement (T, N, 2) in px of each vesicle besides."""
    daughters: tuple[Cell, ...]
    """The two that it divides into, empty where it does not."""
    parting: Real
    """Displacement (T, 2) in px of the first daughter; the second goes the other way."""

    @classmethod
    def drawn(cls, cell: Cell, frames: int, rng: np.random.Generator, *, divides: bool = False) -> MovingCell:
        """Draw the motion of a cell over a number of frames; it may divide where `divides` says so."""
        speed, course = rng.uniform(0.25, 0.8), rng.uniform(0, 2 * np.pi)
        time = np.arange(frames)
        wave = 2 * np.pi * time / rng.uniform(25, 60)
        sway = gaussian_filter1d(rng.standard_normal((frames, 2)), 4, axis=0) * 2
        # the cell turns back before its edge, which is cut off beyond the field, comes into view
        along = 26 * np.sin(speed * time / 26)
        path = along[:, None] * [np.sin(course), np.cos(course)] + sway - sway[:1]
        daughters: tuple[Cell, ...] = ()
        parting = np.zeros((frames, 2))
        if divides and rng.random() < DIVIDING:
            cell, daughters, axis, length = _divided(cell)
            begun = rng.uniform(0, max(1.0, frames - _PARTING_FRAMES))
            apart = np.clip((time - begun) / _PARTING_FRAMES, 0, 1) ** 2
            parting = apart[:, None] * (rng.uniform(0.25, 0.45) * length * axis)
        return cls(
            cell=cell,
            drift=path,
            angle=rng.normal(0, 0.05) * np.sin(wave / 2),
            strain=rng.uniform(0.01, 0.03) * np.sin(wave),
            phase=np.asarray(rng.uniform(-0.05, 0.05) * time, dtype=np.float64),
            spots=np.cumsum(rng.normal(0, 0.45, (frames, len(cell.spots), 2)), axis=0),
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
        bent_y, bent_x = np.sin(x / 35 + phase) - np.sin(x / 35), np.sin(y / 42 - phase) - np.sin(y / 42)
        from_y = (cos * y - sin * x) * np.float32(1 - strain) + 2 * bent_y + middle_y
        from_x = (sin * y + cos * x) * np.float32(1 + strain) + 2 * bent_x + middle_x
        density = map_coordinates(cell.density, [from_y, from_x], order=1, mode="constant")
        moved = cell.spots.copy()
        centre = np.array([cell.corner[0] + middle_y, cell.corner[1] + middle_x])
        rest = cell.spots[:, :2] - centre
        moved[:, 0] = centre[0] + cos * rest[:, 0] + sin * rest[:, 1] + drift[0] + spots[:, 0]
        moved[:, 1] = centre[1] - sin * rest[:, 0] + cos * rest[:, 1] + drift[1] + spots[:, 1]
        return Cell(density=density, corner=(cell.corner[0] + whole[0], cell.corner[1] + whole[1]), spots=moved)


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
