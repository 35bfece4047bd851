"""Drawings of labelled cells: actin, mitochondria and dendra, as fluorophore density before any optics.

Every structure is a list of `Cell`: a field of view is their sum, and a movie moves each on its own. Lengths are in
pixels of 0.108 um (60x, sCMOS) at ``zoom`` 1. Curves are streamlines of a flow around the nucleus that bend smoothly,
drawn with bilinear weights.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy.ndimage import gaussian_filter, gaussian_filter1d

from napari_care_losses.simulation.cells import ANGLES, Body, place_bodies

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from napari_care_losses.simulation.cells import Complex, FloatImage, Real

NO_SPOTS = np.zeros((0, 3), np.float32)
"""The `Cell.spots` of a cell without any."""


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One cell of a field of view."""

    density: FloatImage
    """Fluorophore density (Y, X) of the cell in its bounding box."""
    corner: tuple[int, int]
    """Position (y, x) of the box's first pixel in the field, in px; may be negative."""
    spots: NDArray[np.float32]
    """Vesicles (N, 3): y, x in px of the field, and the light of each in px of mean density."""


def assemble(cells: list[Cell], shape: tuple[int, int]) -> FloatImage:
    """Return the fluorophore density (Y, X) of a field of view: the sum of the cells and their vesicles in it."""
    field = np.zeros(shape, np.float32)
    for cell in cells:
        y, x = cell.corner
        top, left = max(0, -y), max(0, -x)
        part = cell.density[top : max(top, shape[0] - y), left : max(left, shape[1] - x)]
        field[y + top : y + top + part.shape[0], x + left : x + left + part.shape[1]] += part
    spots = np.concatenate([NO_SPOTS, *(cell.spots for cell in cells)])
    if len(spots):
        field += gaussian_filter(splat(spots[:, 1] + 1j * spots[:, 0], spots[:, 2], shape), 1.3, truncate=3)
    return field


def draw_actin(shape: tuple[int, int], rng: np.random.Generator, zoom: float) -> list[Cell]:
    """Draw spread cells with stress fibres, crossing bundles, a fine mesh, a bright cortex and filopodia.

    Cells range from flat and fibrous to thick, their fibres faint in the haze; see `STRUCTURES`.
    """
    bodies = place_bodies(shape, rng, zoom, size=(150, 300), spiky=0.55, avoidance=0.5)
    return [_actin_cell(body, rng) for body in bodies]


def draw_mitochondria(shape: tuple[int, int], rng: np.random.Generator, zoom: float) -> list[Cell]:
    """Draw cells with chains of beaded tubes, free worms, rings and lumps around a dark nucleus.

    Cells range from networks to fragments, from smooth to beaded, from flat to hazy; see `STRUCTURES`.
    """
    return [_mitochondria_cell(body, rng) for body in place_bodies(shape, rng, zoom, size=(150, 270), spiky=0.45)]


def draw_dendra(shape: tuple[int, int], rng: np.random.Generator, zoom: float) -> list[Cell]:
    """Draw cells with a grainy cytoplasm, a dark or a bright nucleus, vacuoles and vesicles; see `STRUCTURES`."""
    bright_nucleus = rng.random() < 0.4
    return [
        _dendra_cell(body, rng, bright_nucleus) for body in place_bodies(shape, rng, zoom, size=(110, 180), spiky=0.35)
    ]


def _actin_cell(body: Body, rng: np.random.Generator) -> Cell:
    grid = body.grid()
    level = body.level(grid)
    inside = np.clip((1 - level) * body.axes.imag / 3, 0, 1)
    area = float(inside.sum())
    # from thick and hazy to flat and fibrous
    fibrous = rng.uniform(0.1, 1.0)
    haze = rng.uniform(0.6, 1.0) * (1.4 - fibrous) * rng.choice([1.0, 1.0, 3.0])
    crossing = rng.uniform(0.3, 1.3) * rng.choice([-1, 1])

    cortex = gaussian_filter1d(rng.standard_normal(ANGLES), 85, mode="wrap") * 16 + 0.4
    fine, medium, coarse, hazy = (np.zeros(body.shape, np.float32) for _ in range(4))

    def add(
        layer: FloatImage, count: float, steps: int, wander: float, mixed: float, weight: float, turned: float = 0.0
    ) -> None:
        start = _starts(inside, max(3, int(count * area / 1e5 / body.zoom)), rng, body)
        bend = _wander(len(start), steps, 32, rng) * wander + mixed * rng.uniform(-np.pi, np.pi, (len(start), 1))
        bend = bend + turned
        place = body.pixels(_trace(start, bend, body))
        light = rng.lognormal(0, 0.6, (len(start), 1)) * _taper(len(start), steps, rng)
        light = light * (1 + 0.3 * _wander(len(start), steps, 4, rng)) * _sample(inside, place) * weight
        layer += splat(place, light, body.shape)

    add(fine, 320, 120, 0.12, 0.06, 0.9 * fibrous)
    add(fine, 500, 22, 0.5, 1.0, 0.3)
    add(medium, 90, 180, 0.07, 0.02, 2.0 * fibrous)
    add(coarse, 22, 210, 0.06, 0.02, 5.6 * fibrous)
    add(medium, 45 * rng.random(), 130, 0.06, 0.05, 2.0 * fibrous, crossing)
    add(coarse, 8 * rng.random(), 160, 0.05, 0.03, 4.0 * fibrous, crossing)
    add(hazy, 30, 160, 0.1, 0.03, 5.0)
    dots = _starts(inside, int(60 * rng.random() ** 2 * area / 1e5 / body.zoom), rng, body)
    fine += splat(body.pixels(dots), rng.lognormal(2.0, 0.5, len(dots)) * body.zoom, body.shape)
    for layer, depth, weight in ((medium, 0.992, 2.2), (coarse, 0.975, 2.2), (hazy, 0.945, 6.0)):
        layer += _cortex(body, depth, weight, cortex)
    fine += _filopodia(body, rng)
    wide = body.zoom**0.5
    density = gaussian_filter(fine, 0.6 * max(1, body.zoom), truncate=3)
    for layer, sigma in ((medium, 0.95 * wide), (coarse, 1.7 * wide), (hazy, 4.5 * body.zoom)):
        density += gaussian_filter(layer, sigma, truncate=3)
    thickness = np.sqrt(np.clip(1 - level, 0, None)) * inside
    thickness *= 1 + 0.35 * clouds(body.shape, 25 * body.zoom, rng) + 0.12 * clouds(body.shape, 3, rng)
    lump = np.exp(-((np.abs(grid - body.nucleus) / (1.4 * body.nucleus_radius)) ** 2)) * inside
    density += haze * thickness + rng.uniform(-0.3, 1.2) * haze * lump
    density = np.clip(density, 0, None)
    return _finish(density, area, body, rng)


def _cortex(body: Body, depth: float, weight: float, bright: Real) -> FloatImage:
    angle = np.linspace(0, 2 * np.pi, 3 * ANGLES, endpoint=False)
    rim = body.rim(angle) * depth
    arc = np.abs(np.diff(rim, append=rim[:1]))
    return splat(body.pixels(rim), arc * np.clip(np.repeat(bright, 3), 0.1, 2.5) * weight, body.shape)


def _filopodia(body: Body, rng: np.random.Generator) -> FloatImage:
    count = int(rng.integers(4, 30))
    root = body.rim(rng.uniform(0, 2 * np.pi) + rng.normal(0, 1.2, count))
    length = np.linspace(-0.3, 1, 45)[None, :] * rng.uniform(8, 30, (count, 1)) * body.zoom
    lean = np.exp(1j * (rng.normal(0, 0.35, (count, 1)) + 0.15 * _wander(count, 45, 20, rng)))
    path = root[:, None] + length * lean * (root / np.maximum(np.abs(root), 1e-9))[:, None]
    light = rng.uniform(0.2, 0.8, (count, 1)) * np.linspace(1, 0.3, 45)[None, :]
    return splat(body.pixels(path), light, body.shape)


def _mitochondria_cell(body: Body, rng: np.random.Generator) -> Cell:
    grid = body.grid()
    level = body.level(grid)
    distance = np.abs(grid - body.nucleus) / body.nucleus_radius
    room = np.clip((0.97 - level) * 15, 0, 1) * np.clip((distance - 1) * 8, 0, 1)
    crowd = room * (0.12 + np.exp(-np.clip(distance - 1, 0, None) / rng.uniform(0.4, 1.2)))
    area = float(np.clip((1 - level) * 15, 0, 1).sum())
    per_area = area / 1e5 / body.zoom**2
    chained, beaded, curly = rng.uniform(0.1, 1.0), rng.uniform(0.2, 1.0), rng.uniform(1.0, 2.2)
    wide = rng.uniform(0.75, 1.25)

    def tubes(count: float, steps: int, wander: float, mixed: float, gate: float, sigma: float) -> FloatImage:
        start = _starts(crowd, max(2, int(count)), rng, body)
        bend = _wander(len(start), steps, 11, rng) * wander * curly
        bend = bend + mixed * rng.uniform(-np.pi, np.pi, (len(start), 1))
        place = body.pixels(_trace(start, bend, body))
        light = rng.lognormal(0, 0.35, (len(start), 1)) * _taper(len(start), steps, rng)
        light = light * np.clip(3 * (_wander(len(start), steps, 7, rng) + gate), 0, 1)
        beads = np.exp(beaded * _wander(len(start), steps, 3.5, rng) - 0.5 * beaded**2)
        light = light * beads * _sample(room, place)
        drawn = splat(place, light, body.shape)
        return np.asarray(gaussian_filter(drawn, sigma * wide * body.zoom**0.5, truncate=3))

    density = tubes(95 * chained * per_area, 210, 0.3, 0.04, 0.75, 1.4)
    density += tubes(120 * (1.2 - chained) * per_area, 21, 0.9, 0.7, 1.2, 1.6)
    density += tubes(50 * per_area, 48, 0.6, 0.3, 0.8, 1.1)
    blurred = tubes(110 * per_area, 40, 0.7, 0.6, 1.0, 4.5 * body.zoom**0.5)
    density += rng.uniform(0.5, 2.0) * blurred
    density += _rings(crowd, 150 * rng.random() ** 2 * per_area, body, rng)
    # over and under the layer in focus more of them lie than in it, crowded around the nucleus
    pile = gaussian_filter(density, 14 * body.zoom, truncate=3) * rng.uniform(0, 0.8)
    cytoplasm = np.sqrt(np.clip(1 - level, 0, None)) * (0.7 + 0.5 * clouds(body.shape, 20 * body.zoom, rng))
    light = float(density.sum()) / max(area, 1.0)
    density += pile + rng.uniform(0.01, 0.12) * light * np.clip(cytoplasm, 0, None)
    if rng.random() < 0.4:
        nucleus = np.clip((1 - distance) * 12, 0, 1) * (1 + 0.3 * clouds(body.shape, 4 * body.zoom, rng))
        density += rng.uniform(0.1, 0.6) * light * np.clip(nucleus, 0, None)
    return _finish(density, area, body, rng)


def _rings(crowd: Real, count: float, body: Body, rng: np.random.Generator) -> FloatImage:
    middle = _starts(crowd, int(count) + 1, rng, body)[:, None]
    angle = np.linspace(0, 2 * np.pi, 40, endpoint=False)[None, :]
    squeeze = rng.uniform(0.3, 1.0, middle.shape)
    ring = (np.cos(angle) + 1j * squeeze * np.sin(angle)) * rng.uniform(2.0, 7.0, middle.shape) * body.zoom
    path = middle + ring * np.exp(1j * rng.uniform(0, np.pi, middle.shape))
    light = rng.lognormal(-1.0, 0.4, middle.shape) * np.ones_like(angle)
    return np.asarray(gaussian_filter(splat(body.pixels(path), light, body.shape), 1.0, truncate=3))


def _dendra_cell(body: Body, rng: np.random.Generator, bright_nucleus: bool) -> Cell:
    grid = body.grid()
    level = body.level(grid)
    inside = np.clip((1 - level) * body.axes.imag / 3, 0, 1)
    area = float(inside.sum())
    away = (grid - body.nucleus) * np.exp(1j * rng.uniform(0, np.pi))
    distance = np.abs(away.real + 1j * away.imag * rng.uniform(1.0, 1.4)) / body.nucleus_radius
    distance *= 1 + 0.05 * clouds(body.shape, 15 * body.zoom, rng)
    nucleus = np.clip((1 - distance) * body.nucleus_radius / 3, 0, 1)
    grain = 0.10 * clouds(body.shape, 1.6, rng) + 0.16 * clouds(body.shape, 5 * body.zoom, rng)
    density = np.clip(1 - level, 0, None) ** 0.6 * inside * np.clip(0.9 + grain, 0.1, None)
    chromatin = 1 + 0.16 * clouds(body.shape, 3 * body.zoom, rng)
    density *= 1 - 0.6 * nucleus
    if bright_nucleus:
        density = 0.45 * density + nucleus * chromatin * rng.uniform(1.2, 2.0)
    cytoplasm = inside * (1 - nucleus) * (level < 0.9)
    holes = _starts(cytoplasm, int(rng.integers(5, 30)), rng, body)
    nucleoli = body.nucleus + body.nucleus_radius * 0.5 * (rng.normal(0, 0.6, 3) + 1j * rng.normal(0, 0.6, 3))
    dips: list[tuple[Complex, float]] = [(holes, 2.5), (np.asarray(nucleoli), 4.5)]
    for middle, radius in dips:
        depth = rng.uniform(0.4, 0.9, len(middle)) * 2 * np.pi * (radius * body.zoom) ** 2
        dark = gaussian_filter(splat(body.pixels(middle), depth, body.shape), radius * body.zoom, truncate=3)
        density *= np.clip(1 - dark, 0.15, 1)
    vesicles = body.pixels(_starts(cytoplasm, int(rng.integers(6, 30)), rng, body))
    light = rng.lognormal(0, 0.6, len(vesicles)) * 12
    places = [vesicles.imag + body.corner[0], vesicles.real + body.corner[1], light]
    return _finish(density, area, body, rng, np.stack(places, axis=1).astype(np.float32))


def _finish(
    density: NDArray[np.floating],
    area: float,
    body: Body,
    rng: np.random.Generator,
    spots: NDArray[np.float32] = NO_SPOTS,
) -> Cell:
    # The mean within the outline becomes 1 times the cell's own expression of the label.
    light = rng.lognormal(0, 0.25)
    mean = max(float(density.sum()), 1e-9) / max(area, 1.0)
    spots = spots * np.array([1, 1, light], np.float32)
    return Cell(density=(density * (light / mean)).astype(np.float32), corner=body.corner, spots=spots)


def _trace(start: Complex, bend: Real, body: Body) -> Complex:
    path = np.empty(bend.shape, np.complex128)
    here = start
    for step, turn in enumerate(np.exp(1j * bend.T)):
        path[:, step] = here
        here = here + 1.5 * body.zoom * body.heading(here) * turn
    return path


def _starts(weight: Real, count: int, rng: np.random.Generator, body: Body) -> Complex:
    total = np.cumsum(weight.ravel())
    if total[-1] <= 0:
        return np.full(count, body.nucleus)
    index = np.searchsorted(total, rng.uniform(0, total[-1], count))
    y, x = np.divmod(np.minimum(index, weight.size - 1), weight.shape[1])
    place = (x + body.corner[1]) + 1j * (y + body.corner[0]) + rng.uniform(-0.5, 0.5, count)
    return np.asarray((place - body.centre) / body.turn)


def _wander(count: int, steps: int, length: float, rng: np.random.Generator) -> Real:
    noise = gaussian_filter1d(rng.standard_normal((count, steps)), length / 2, axis=1, mode="reflect")
    return np.asarray(noise * np.sqrt(length * np.sqrt(np.pi)))


def _taper(count: int, steps: int, rng: np.random.Generator) -> Real:
    length = rng.uniform(0.3, 1.0, (count, 1)) * steps
    return np.clip((length - np.arange(steps)[None, :]) / 6, 0, 1)


def clouds(shape: tuple[int, int], sigma: float, rng: np.random.Generator) -> FloatImage:
    """Return smooth random texture (Y, X) of mean 0 and standard deviation about 1; `sigma` is its grain in px."""
    step = max(1.0, sigma / 2)
    coarse = [int(length / step) + 2 for length in shape]
    noise = gaussian_filter(rng.standard_normal(coarse, dtype=np.float32), sigma / step, mode="reflect")
    if step > 1:
        noise = _enlarged(_enlarged(noise, shape[0], step).T, shape[1], step).T
    noise = noise[: shape[0], : shape[1]] * np.float32(2 * np.sqrt(np.pi) * sigma / step)
    return np.asarray(noise, dtype=np.float32)


def _enlarged(image: FloatImage, length: int, step: float) -> FloatImage:
    place = np.arange(length) / step
    first = place.astype(np.int64)
    share = (place - first).astype(np.float32)[:, None]
    return np.asarray(image[first] * (1 - share) + image[first + 1] * share)


def _sample(image: Real, place: Complex) -> Real:
    y = np.clip(np.rint(place.imag).astype(np.int64), 0, image.shape[0] - 1)
    x = np.clip(np.rint(place.real).astype(np.int64), 0, image.shape[1] - 1)
    return np.asarray(image[y, x])


def splat(place: Complex, light: NDArray[np.floating], shape: tuple[int, ...]) -> FloatImage:
    """Add points of light with bilinear weights; what falls outside is left out."""
    place, light = place.ravel(), light.ravel()
    height, width = shape
    within = (place.imag >= 0) & (place.imag < height - 1) & (place.real >= 0) & (place.real < width - 1)
    place, light = place[within], light[within]
    y, x = place.imag.astype(np.int64), place.real.astype(np.int64)
    down, right = place.imag - y, place.real - x
    first = y * width + x
    index = np.concatenate([first, first + 1, first + width, first + width + 1])
    share = [(1 - down) * (1 - right), (1 - down) * right, down * (1 - right), down * right]
    weight = np.concatenate([part * light for part in share])
    return np.bincount(index, weight, minlength=height * width).reshape(height, width).astype(np.float32)
