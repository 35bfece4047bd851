"""Filaments, vesicles and beads drawn: thin lines and points of light."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy.ndimage import gaussian_filter, gaussian_filter1d

from napari_care_losses.simulation.cells import MARGIN, place_bodies
from napari_care_losses.simulation.structures import NO_SPOTS, Cell, clouds, splat

if TYPE_CHECKING:
    from collections.abc import Callable

    from napari_care_losses.simulation.cells import Body, FloatImage

    _Fill = Callable[[Body, FloatImage, np.random.Generator], FloatImage]
    """From a cell's body, where it is (Y, X) and random generator to its density (Y, X)."""

# steps of a filament, of one pixel each
_STEPS = 240


def draw_filaments(
    shape: tuple[int, int], rng: np.random.Generator, zoom: float, *, crowded: float = 0.5
) -> FloatImage:
    """Return thin curves over a whole field (Y, X), of mean 1; `crowded` is 0 for few, 1 for a dense net."""
    count = int((0.2 + 2 * crowded) * shape[0] * shape[1] / 2000 / max(zoom, 0.2)) + 3
    start = rng.uniform(-40, shape[1] + 40, count) + 1j * rng.uniform(-40, shape[0] + 40, count)
    curl = rng.uniform(0.003, 0.05)
    turns = gaussian_filter1d(rng.standard_normal((count, _STEPS)), 8, axis=1) * (curl * np.sqrt(8 * 3.54))
    heading = rng.uniform(0, 2 * np.pi, (count, 1)) + np.cumsum(turns, axis=1)
    path = start[:, None] + np.cumsum(np.exp(1j * heading), axis=1)
    length = rng.uniform(0.2, 1, (count, 1)) * _STEPS
    light = rng.lognormal(0, 0.4, (count, 1)) * np.clip((length - np.arange(_STEPS)) / 5, 0, 1)
    drawn = splat(path, light, shape)
    sigma = rng.uniform(0.5, 1.4) * max(1, zoom) ** 0.5
    drawn = gaussian_filter(drawn, sigma, truncate=3)
    return np.asarray(drawn / max(float(drawn.mean()), 1e-9), dtype=np.float32)


def draw_microtubules(shape: tuple[int, int], rng: np.random.Generator, zoom: float) -> list[Cell]:
    """Draw cells filled by a net of long thin filaments, denser around the nucleus."""
    return [_filled(body, rng, _net) for body in place_bodies(shape, rng, zoom, size=(140, 260), spiky=0.4)]


def draw_vesicles(shape: tuple[int, int], rng: np.random.Generator, zoom: float) -> list[Cell]:
    """Draw cells with vesicles: points and small discs of very unlike brightness over a dim cytoplasm."""
    return [_filled(body, rng, _spots) for body in place_bodies(shape, rng, zoom, size=(110, 240), spiky=0.4)]


def draw_beads(shape: tuple[int, int], rng: np.random.Generator, zoom: float) -> list[Cell]:
    """Draw beads or single molecules: separate points, of one size and nearly one brightness, some in clumps."""
    box = shape[0] + 2 * MARGIN, shape[1] + 2 * MARGIN
    count = int(box[0] * box[1] * 10 ** rng.uniform(-3.3, -1.8))
    place = rng.uniform(0, box[1], count) + 1j * rng.uniform(0, box[0], count)
    if rng.random() < 0.4:
        clump = rng.integers(0, count, count // 2)
        place[: count // 2] = place[clump] + (rng.normal(0, 6, count // 2) + 1j * rng.normal(0, 6, count // 2)) * zoom
    light = rng.lognormal(0, rng.uniform(0.1, 0.8), count)
    drawn = gaussian_filter(splat(place, light, box), rng.uniform(0.3, 2.5) * max(1, zoom) ** 0.5, truncate=3)
    density = drawn * (6 / max(float(np.percentile(drawn, 99.5)), 1e-6))
    density = density + rng.uniform(0.0, 0.4) * np.clip(1 + 0.4 * clouds(box, 60, rng), 0, None)
    return [Cell(density=density.astype(np.float32), corner=(-MARGIN, -MARGIN), spots=NO_SPOTS)]


def _net(body: Body, inside: FloatImage, rng: np.random.Generator) -> FloatImage:
    drawn = draw_filaments(body.shape, rng, body.zoom, crowded=rng.uniform(0.2, 1.0))
    away = np.abs(body.grid() - body.nucleus) / body.nucleus_radius
    crowd = 0.4 + np.exp(-np.clip(away - 1, 0, None) * rng.uniform(0.3, 1.5))
    nucleus = np.clip((away - 1) * 8, rng.uniform(0.1, 0.6), 1)
    haze = rng.uniform(0.05, 0.6)
    return np.asarray((drawn + haze) * crowd * nucleus * inside, dtype=np.float32)


def _spots(body: Body, inside: FloatImage, rng: np.random.Generator) -> FloatImage:
    weight = np.cumsum(inside.ravel())
    count = int(weight[-1] * 10 ** rng.uniform(-3.3, -2.0) / max(body.zoom, 0.3)) + 3
    index = np.minimum(np.searchsorted(weight, rng.uniform(0, weight[-1], count)), inside.size - 1)
    y, x = np.divmod(index, body.shape[1])
    place = (x + rng.uniform(-0.5, 0.5, count)) + 1j * (y + rng.uniform(-0.5, 0.5, count))
    light = rng.lognormal(0, rng.uniform(0.3, 1.2), count)
    small = rng.random(count) < rng.uniform(0.4, 1.0)
    drawn = gaussian_filter(splat(place[small], light[small], body.shape), 0.5 * max(1, body.zoom), truncate=3)
    wide = rng.uniform(1.5, 4.5) * body.zoom
    drawn += gaussian_filter(splat(place[~small], 4 * light[~small], body.shape), wide, truncate=3)
    cytoplasm = inside * np.clip(1 + 0.25 * clouds(body.shape, 6 * body.zoom, rng), 0, None)
    return np.asarray(drawn + rng.uniform(0.01, 0.2) * cytoplasm * drawn.max() / 10, dtype=np.float32)


def _filled(body: Body, rng: np.random.Generator, fill: _Fill) -> Cell:
    level = body.level(body.grid())
    inside = np.clip((1 - level) * body.axes.imag / 6, 0, 1).astype(np.float32)
    density = fill(body, inside, rng)
    mean = max(float(density.sum()), 1e-9) / max(float(inside.sum()), 1.0)
    light = rng.lognormal(0, 0.3) / mean
    return Cell(density=(density * light).astype(np.float32), corner=body.corner, spots=NO_SPOTS)
