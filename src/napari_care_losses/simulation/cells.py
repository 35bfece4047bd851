"""Outlines of cells: where each lies in the field of view, its nucleus, and the flow its fibres follow."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter1d

FloatImage = NDArray[np.float32]
Complex = NDArray[np.complex128]
Real = NDArray[np.float64]

# pixels by which cells are drawn beyond the field, so that they can move into it
MARGIN = 64
ANGLES = 2048
_ATTEMPTS = 20


@dataclass(frozen=True, kw_only=True)
class Body:
    """Outline, nucleus and pixel grid of a cell; complex numbers are positions x + iy in px about its centre."""

    centre: complex
    """Position in the field, in px."""
    axes: complex
    """Half the length (real) and half the width (imaginary), in px."""
    turn: complex
    """Direction of the long axis, of modulus 1."""
    radius: Real
    """Outline (2048,) relative to the axes, over the full circle."""
    nucleus: complex
    nucleus_radius: float
    avoidance: float
    """From 0, where curves run straight over the nucleus, to 1, where they run around it."""
    fan: float
    """How far curves spread out (above 0) or draw together towards the tips."""
    zoom: float
    """Size relative to a pixel of 0.108 um."""
    corner: tuple[int, int]
    """First pixel (y, x) of the cell's box in the field; `shape` is the size of the box, in px."""
    shape: tuple[int, int]

    def grid(self) -> Complex:
        """Return every pixel of the box as a position in the cell's frame, long axis along x."""
        y = np.arange(self.shape[0])[:, None] + self.corner[0] - self.centre.imag
        x = np.arange(self.shape[1])[None, :] + self.corner[1] - self.centre.real
        return np.asarray((x + 1j * y) / self.turn)

    def level(self, place: Complex) -> Real:
        """Return 0 in the centre, 1 on the outline, more outside."""
        scaled = place.real / self.axes.real + 1j * (place.imag / self.axes.imag)
        index = (np.angle(scaled) * (ANGLES / (2 * np.pi))).astype(np.int64) % ANGLES
        return np.asarray(np.abs(scaled) / self.radius[index])

    def rim(self, angle: Real) -> Complex:
        """Return the places of the outline at the angles given (radians, any real number)."""
        length = np.interp(angle % (2 * np.pi), np.arange(ANGLES) * (2 * np.pi / ANGLES), self.radius)
        return length * (np.cos(angle) * self.axes.real + 1j * np.sin(angle) * self.axes.imag)

    def heading(self, place: Complex) -> Complex:
        """Return the unit direction of the potential flow around the nucleus, fanned out (or in) towards the tips."""
        away = place - self.nucleus
        squared = np.maximum(away.real**2 + away.imag**2, self.nucleus_radius**2)
        around = away / squared * self.nucleus_radius
        spread = self.fan * np.tanh(away.real / self.nucleus_radius) / np.sqrt(squared)
        flow = 1 - self.avoidance * around**2 + spread * away
        return np.asarray(flow / np.sqrt(np.maximum(flow.real**2 + flow.imag**2, 1e-12)))

    def pixels(self, place: Complex) -> Complex:
        """Return positions x + iy in the pixels of the box."""
        return place * self.turn + self.centre - complex(self.corner[1], self.corner[0])


def place_bodies(
    shape: tuple[int, int],
    rng: np.random.Generator,
    zoom: float,
    *,
    size: tuple[float, float],
    spiky: float,
    avoidance: float = 0.95,
) -> list[Body]:
    """Scatter cells over a field of view, so that it shows parts of cells and, where it is large, some background.

    Parameters
    ----------
    shape : tuple of int
        Height and width of the field in px.
    zoom, avoidance : float
        As in `Body`.
    size : tuple of float
        Smallest and largest radius of a round cell in px, at zoom 1.
    spiky : float
        From 0, round, to 1, drawn out into tips with hollow edges between them.
    """
    typical = zoom * (size[0] + size[1]) / 2
    most = 0.93 if min(shape) > 2 * typical else 1.0
    for _ in range(_ATTEMPTS):
        pitch = rng.uniform(1.5, 2.0) * typical
        bodies = [
            _body(centre, shape, rng, zoom, rng.uniform(*size) * zoom, spiky, avoidance, axis)
            for centre, axis in _scatter(shape, pitch, rng)
        ]
        bodies = [body for body in bodies if min(body.shape) > 0]
        if bodies and 0.2 <= _share_covered(bodies, shape) <= most:
            break
    return bodies


def _scatter(shape: tuple[int, int], pitch: float, rng: np.random.Generator) -> list[tuple[complex, float]]:
    """Return centres on a jittered grid with gaps, reaching beyond the field, and directions of the long axes."""
    rows, columns = (max(1, round(length / pitch)) for length in shape)
    shift = rng.uniform(-0.3, 0.3, 2) * pitch
    axis = rng.uniform(0, np.pi)
    kept = [index for index in range(rows * columns) if rng.random() < 0.8]
    places = []
    for index in kept or [0]:
        y = (index // columns + 0.5) * shape[0] / rows + shift[0] + rng.uniform(-0.25, 0.25) * pitch
        x = (index % columns + 0.5) * shape[1] / columns + shift[1] + rng.uniform(-0.25, 0.25) * pitch
        places.append((complex(x, y), axis + rng.normal(0, 0.4)))
    return places


def _share_covered(bodies: list[Body], shape: tuple[int, int]) -> float:
    points = np.linspace(0, shape[1], 24)[None, :] + 1j * np.linspace(0, shape[0], 24)[:, None]
    covered = np.zeros(points.shape, bool)
    for body in bodies:
        place = (points - body.centre) / body.turn
        covered |= (body.level(place) < 0.9) & (np.abs(place - body.nucleus) > body.nucleus_radius)
    return float(covered.mean())


def _body(
    centre: complex,
    shape: tuple[int, int],
    rng: np.random.Generator,
    zoom: float,
    size: float,
    spiky: float,
    avoidance: float,
    axis: float,
) -> Body:
    corners = int(rng.integers(5, 10))
    angles = (np.arange(corners) + rng.uniform(-0.3, 0.3, corners)) * (2 * np.pi / corners)
    tips = rng.uniform(1 - 0.5 * spiky, 1 + 0.7 * spiky, corners) * np.exp(1j * angles)
    following = np.roll(tips, -1)
    hollows = (tips + following) / 2 * rng.uniform(1 - spiky, 1.15, corners)
    t = np.linspace(0, 1, 40, endpoint=False)[:, None]
    points = ((1 - t) ** 2 * tips + 2 * t * (1 - t) * hollows + t**2 * following).ravel()
    bearing = np.angle(points) % (2 * np.pi)
    order = np.argsort(bearing)
    table = np.arange(ANGLES) * (2 * np.pi / ANGLES)
    radius = np.interp(table, bearing[order], np.abs(points)[order], period=2 * np.pi)
    ripple = gaussian_filter1d(rng.standard_normal(ANGLES), 12, mode="wrap") * 0.06
    radius = gaussian_filter1d(radius, 22 * (1 - spiky), mode="wrap") * (1 + ripple)
    stretch = rng.uniform(1.0, 1.6)
    axes = complex(size * stretch, size / stretch)
    reach = float(radius.max()) * max(axes.real, axes.imag) + 30 * zoom
    low = [max(-MARGIN, int(at - reach)) for at in (centre.imag, centre.real)]
    high = [min(n + MARGIN, int(at + reach) + 1) for n, at in zip(shape, (centre.imag, centre.real), strict=True)]
    return Body(
        centre=centre,
        axes=axes,
        turn=complex(np.exp(1j * axis)),
        radius=radius,
        nucleus=complex(rng.normal(0, 0.15) * axes.real, rng.normal(0, 0.12) * axes.imag),
        nucleus_radius=min(rng.uniform(50, 75) * zoom, 0.42 * axes.imag),
        avoidance=avoidance,
        fan=rng.uniform(-0.1, 0.9),
        zoom=zoom,
        corner=(low[0], low[1]),
        shape=(max(0, high[0] - low[0]), max(0, high[1] - low[1])),
    )
