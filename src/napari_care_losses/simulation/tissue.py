"""Nuclei, membranes and tissue drawn: what fills a field of view rather than single spread cells."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy.ndimage import gaussian_filter
from scipy.spatial import cKDTree

from napari_care_losses.simulation.cells import MARGIN
from napari_care_losses.simulation.points import draw_filaments
from napari_care_losses.simulation.structures import NO_SPOTS, Cell, clouds, splat

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from napari_care_losses.simulation.cells import FloatImage, Real


def draw_nuclei(shape: tuple[int, int], rng: np.random.Generator, zoom: float) -> list[Cell]:
    """Draw stained nuclei: ellipses with chromatin and dark nucleoli, some condensed and bright, dim cytoplasm."""
    size = rng.uniform(25, 70) * zoom
    spacing = size * rng.uniform(1.6, 4.5)
    places = _scattered(shape, spacing, rng)
    if not (np.abs(places - complex(*shape[::-1]) / 2) < min(shape) / 2).any():
        places = np.append(places, complex(*(np.array(shape[::-1]) * rng.uniform(0.2, 0.8, 2))))
    cells = [_nucleus(place, size * rng.uniform(0.75, 1.25), rng, zoom) for place in places]
    if rng.random() < 0.4:
        cytoplasm = np.clip(0.5 + clouds(_wide(shape), 40 * zoom, rng), 0, None)
        cells.append(_whole(np.float32(rng.uniform(0.02, 0.2)) * cytoplasm))
    return cells


def _nucleus(place: complex, size: float, rng: np.random.Generator, zoom: float) -> Cell:
    half = int(1.6 * size) + 6
    corner = int(place.imag) - half, int(place.real) - half
    y, x = np.mgrid[-half : half + 1, -half : half + 1].astype(np.float32)
    turned = (x + 1j * y) * np.exp(1j * rng.uniform(0, np.pi))
    stretch = rng.uniform(1.0, 1.5)
    distance = np.hypot(turned.real / (size * stretch**0.5), turned.imag / (size / stretch**0.5))
    distance = distance * (1 + 0.05 * clouds(y.shape, size / 2, rng))
    inside = np.clip((1 - distance) * size / rng.uniform(1.5, 4), 0, 1)
    coarse, fine = rng.uniform(0.05, 0.45), rng.uniform(0, 0.3)
    texture = 1 + coarse * clouds(y.shape, size / 7, rng) + fine * clouds(y.shape, max(1.0, 2 * zoom), rng)
    for _ in range(int(rng.integers(0, 5))):
        away = turned - size * 0.55 * np.sqrt(rng.random()) * np.exp(2j * np.pi * rng.random())
        spot = np.exp(-((np.abs(away) / (size * rng.uniform(0.08, 0.2))) ** 2))
        # nucleoli are dark; centres of condensed chromatin are bright
        texture *= 1 + spot * rng.choice([-0.7, -0.5, 0.9])
    light = rng.lognormal(0, 0.35) * (rng.uniform(1.5, 4) if rng.random() < 0.07 else 1)
    density = np.clip(texture * inside * light, 0, None)
    return Cell(density=density.astype(np.float32), corner=corner, spots=NO_SPOTS)


def draw_membranes(shape: tuple[int, int], rng: np.random.Generator, zoom: float) -> list[Cell]:
    """Draw outlines of packed cells, thin to thick, even to patchy, with folds, dots and a dim interior."""
    box = _wide(shape)
    size = rng.uniform(30, 110) * zoom
    places = _scattered(shape, size, rng, margin=2 * MARGIN) + complex(MARGIN, MARGIN)
    grid = np.mgrid[: box[0], : box[1]].astype(np.float32)
    # bent straight lines are what cells are bounded by
    bend = [size * rng.uniform(0.05, 0.2) * clouds(box, size / 3, rng) for _ in range(2)]
    points = np.stack([grid[0] + bend[0], grid[1] + bend[1]], axis=-1).reshape(-1, 2)
    tree = cKDTree(np.stack([places.imag, places.real], axis=1))
    near, index = tree.query(points, k=min(2, len(places)), workers=1)
    if near.ndim == 1 or near.shape[1] < 2:
        near, index = np.stack([near.ravel(), near.ravel() + size], 1), np.stack([index.ravel()] * 2, 1)
    gap = (near[:, 1] - near[:, 0]).reshape(box) / 2
    width = rng.uniform(0.5, 2.2) * zoom**0.5
    line = np.exp(-((gap / width) ** 2))
    bright = rng.lognormal(0, rng.uniform(0.1, 0.6), len(places))
    level = (bright[index[:, 0]] + bright[index[:, 1]]).reshape(box) / 2
    patchy = np.exp(rng.uniform(0, 0.7) * clouds(box, 6 * zoom, rng))
    density = line * level * patchy * rng.uniform(4, 12)
    density += rng.uniform(0.05, 0.8) * bright[index[:, 0]].reshape(box) * (1 + 0.3 * clouds(box, 5 * zoom, rng))
    if rng.random() < 0.5:
        dots = _random_places(box, int(rng.uniform(0.0002, 0.002) * box[0] * box[1] / zoom), rng)
        density += gaussian_filter(splat(dots, rng.lognormal(3, 0.6, len(dots)), box), 1.0 + zoom / 2)
    density = _of_mean_one(density)
    if rng.random() < 0.5:
        # tissue has its edges: no cells beyond, and as bright within
        inside = clouds(box, 90 * zoom, rng) + rng.uniform(0.2, 1.5)
        # the whole field must not lie beyond
        field = inside[MARGIN : MARGIN + shape[0], MARGIN : MARGIN + shape[1]]
        inside += max(0.0, 1 / 3 - float(np.quantile(field, 0.9)))
        density *= np.clip(3 * inside, 0, 1)
    return [_whole(density)]


def draw_tissue(shape: tuple[int, int], rng: np.random.Generator, zoom: float) -> list[Cell]:
    """Draw tissue: texture of all sizes, bright cells with processes over it, dark vessels, fibres."""
    box = _wide(shape)
    slope = rng.uniform(0.3, 1.1)
    texture = np.zeros(box, np.float32)
    for sigma in (1.2, 2.5, 5.0, 10.0, 20.0, 40.0):
        texture += clouds(box, sigma * max(zoom, 0.4), rng) * np.float32((sigma / 10) ** slope)
    density = np.exp(rng.uniform(0.3, 1.0) * texture / float(texture.std()))
    for _ in range(int(rng.integers(0, 8))):
        density *= 1 - rng.uniform(0.4, 0.95) * _blob(box, rng.uniform(6, 35) * zoom, rng)
    density /= density.mean()
    somata = int(rng.integers(0, 30)) if rng.random() < 0.6 else 0
    for _ in range(somata):
        density += rng.lognormal(1.0, 0.7) * _blob(box, rng.uniform(5, 16) * zoom, rng)
    if somata or rng.random() < 0.5:
        strength = rng.uniform(0.02, 0.4)
        density += strength * draw_filaments(box, rng, zoom, crowded=rng.uniform(0.05, 0.6))
    return [_whole(_of_mean_one(density))]


def _blob(box: tuple[int, int], size: float, rng: np.random.Generator) -> FloatImage:
    """Return one rounded patch (Y, X) of height 1 at a random place."""
    place = complex(rng.uniform(0, box[1]), rng.uniform(0, box[0]))
    y, x = np.ogrid[: box[0], : box[1]]
    turned = ((x - place.real) + 1j * (y - place.imag)) * np.exp(1j * rng.uniform(0, np.pi))
    distance = np.hypot(turned.real / rng.uniform(1, 2), turned.imag) / size
    angle = np.angle(turned)
    distance = distance * (1 + 0.2 * np.cos(3 * angle + rng.uniform(0, 6)) + 0.1 * np.cos(5 * angle))
    return np.asarray(np.clip((1.2 - distance) * rng.uniform(1.5, 5), 0, 1), dtype=np.float32)


def _scattered(
    shape: tuple[int, int], spacing: float, rng: np.random.Generator, margin: int = MARGIN
) -> NDArray[np.complex128]:
    """Return places x + iy on a jittered grid around and in the field, with gaps."""
    rows, columns = (int((side + 2 * margin) / spacing) + 2 for side in shape)
    y, x = np.mgrid[:rows, :columns] + rng.uniform(0.05, 0.95, (2, rows, columns))
    places = ((x * spacing - margin) + 1j * (y * spacing - margin)).ravel()
    kept = places[rng.random(places.size) < rng.uniform(0.6, 1)]
    return kept if kept.size else np.array([complex(shape[1] / 2, shape[0] / 2)])


def _random_places(box: tuple[int, int], count: int, rng: np.random.Generator) -> NDArray[np.complex128]:
    return np.asarray(rng.uniform(0, box[1], count) + 1j * rng.uniform(0, box[0], count))


def _wide(shape: tuple[int, int]) -> tuple[int, int]:
    return shape[0] + 2 * MARGIN, shape[1] + 2 * MARGIN


def _whole(density: NDArray[np.floating]) -> Cell:
    """Return a cell that covers the field and its surroundings."""
    return Cell(density=density.astype(np.float32), corner=(-MARGIN, -MARGIN), spots=NO_SPOTS)


def _of_mean_one(density: Real) -> Real:
    density = np.clip(density, 0, None)
    return np.asarray(density / max(float(density.mean()), 1e-9))
