"""Pairs and movies as any microscope might give them: every structure, magnification, exposure and kind of noise.

The bundled models learn from them. Where `simulate_pair` follows the paper's microscope, everything is drawn at random
here, the kind of noise included, and the high exposure is free of noise.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from napari_care_losses.errors import ParameterError
from napari_care_losses.simulation.microscope import Microscope, blur, checked_shape
from napari_care_losses.simulation.pairs_and_movies import checked_seed, draw_movie, draw_structure
from napari_care_losses.simulation.processing import Processing

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from napari_care_losses.simulation.cells import FloatImage

ZOOM = (0.35, 1.6)
PIXEL_SIZE = (0.055, 0.2)
LARGEST_PIXEL = {"beads": 0.12, "vesicles": 0.12}
"""A point whose image is narrower than a pixel cannot be told from a photon."""
INTERVAL_S = (0.1, 60.0)
"""Time between the frames of a movie."""
HAZE = 0.8
HAZE_RADIUS = (0.5, 6.0)
BACKGROUND = (0.001, 0.5)
"""Even light relative to the range of the structure."""
NOISE_DB = (10.0, 32.0)
"""PSNR of the low exposure as the camera gives it, relative to the range of its light: filters weaken noise."""
READ_NOISE = (0.7, 12.0)
GAIN = (1.0, 30.0)
OFFSET = 100.0

# of detectors that multiply electrons (EMCCD, PMT), the variance is up to twice that of the photons
_MOST_EXCESS = 2.0
_MULTIPLYING, _WITHOUT_READ_NOISE = 0.3, 0.35
_READ_NOISE_SPREAD = 0.25


def simulate_varied_pair(
    name: str, shape: tuple[int, int], *, seed: int, most_correlation: float = 1.0
) -> tuple[FloatImage, FloatImage]:
    """Simulate one field of view through any microscope, as it was recorded and free of noise.

    Parameters
    ----------
    name : str
        A key of `napari_care_losses.simulation.pairs_and_movies.STRUCTURES`.
    shape : tuple of int
        Height and width in px, each at least 16.
    seed : int
        Zero or more; the same seed gives the same images.
    most_correlation : float, optional
        Largest `Processing.correlation` of the noise, 0 to 1. Strongly correlated noise cannot be told from structure
        at full resolution; all kinds by default.

    Returns
    -------
    low, high : ndarray of float32, shape (Y, X)
        The noisy frame in grey levels, and the light without noise, 0 to about 1; filtered and interpolated alike. The
        map between their levels is a line, but for the pixels that a stretch to 8 bits cuts off.

    Raises
    ------
    InputError
        If the structure is unknown or the shape unusable.
    ParameterError
        If the seed or the correlation is out of bounds.

    Examples
    --------
    >>> low, high = simulate_varied_pair("nuclei", (64, 64), seed=3)
    >>> low.shape, high.dtype
    ((64, 64), dtype('float32'))
    """
    shape, rng = checked_shape(shape), np.random.default_rng(checked_seed(seed))
    density = draw_structure(name, shape, rng, zoom=_log_uniform(ZOOM, rng))
    (low,), (high,) = _recorded(_lights(name, [density], rng), most_correlation, rng)
    return low, high


def simulate_varied_movie(
    name: str, frames: int, shape: tuple[int, int], *, seed: int, most_correlation: float = 1.0
) -> tuple[FloatImage, FloatImage]:
    """Simulate a movie through any microscope, at any time between frames: `INTERVAL_S`.

    Parameters, errors and images are those of `simulate_varied_pair`, for a number of frames (T, Y, X) that one camera
    records.

    Examples
    --------
    >>> low, high = simulate_varied_movie("dendra", 3, (64, 64), seed=3)
    >>> low.shape, high.shape
    ((3, 64, 64), (3, 64, 64))
    """
    shape, rng = checked_shape(shape), np.random.default_rng(checked_seed(seed))
    times = np.arange(frames, dtype=np.float64) * _log_uniform(INTERVAL_S, rng)
    densities = draw_movie(name, times, shape, rng, zoom=_log_uniform(ZOOM, rng))
    low, high = _recorded(_lights(name, densities, rng), most_correlation, rng)
    return np.stack(low), np.stack(high)


def _lights(name: str, densities: Iterable[FloatImage], rng: np.random.Generator) -> list[FloatImage]:
    """Return the light of a field in each frame (Y, X), of range 1 above its background in the first."""
    microscope = Microscope(
        pixel_size=min(_log_uniform(PIXEL_SIZE, rng), LARGEST_PIXEL.get(name, math.inf)),
        haze=HAZE * rng.random() ** 2,
        haze_radius=_log_uniform(HAZE_RADIUS, rng),
        background=0,
    )
    lights = [blur(density, microscope) for density in densities]
    dark, bright = np.percentile(lights[0], [0.1, 99.9])
    background = np.float32(_log_uniform(BACKGROUND, rng))
    lights = [light / np.float32(max(bright - dark, 1e-6)) + background for light in lights]
    if rng.random() < 0.3:
        # uneven illumination
        slope = 1 + 0.3 * rng.uniform(-1, 1) * np.linspace(-1, 1, len(lights[0]), dtype=np.float32)[:, None]
        lights = [light * slope for light in lights]
    return [np.asarray(light, dtype=np.float32) for light in lights]


def _recorded(
    lights: Sequence[FloatImage], most_correlation: float, rng: np.random.Generator
) -> tuple[list[FloatImage], list[FloatImage]]:
    """Record frames by one camera, and process them and their truth alike."""
    if not 0 <= most_correlation <= 1:
        raise ParameterError(f"most_correlation must be between 0 and 1, found {most_correlation}.")
    shape = lights[0].shape
    processing = Processing.drawn(rng, most_correlation=most_correlation)
    read_noise = 0.0 if rng.random() < _WITHOUT_READ_NOISE else _log_uniform(READ_NOISE, rng)
    variance = 10 ** (-rng.uniform(*NOISE_DB) / 10)
    # photons at a light of 1, for which the noise has this variance: mean * photons + read_noise**2, over photons**2
    mean = float(lights[0].mean())
    photons = (mean + math.sqrt(mean**2 + 4 * variance * read_noise**2)) / (2 * variance)
    excess = rng.uniform(1, _MOST_EXCESS) if rng.random() < _MULTIPLYING else 1.0
    detected = []
    for light in lights:
        electrons = rng.poisson(light * (photons * excess)).astype(np.float32)
        electrons += np.sqrt((excess - 1) * electrons) * rng.standard_normal(shape, dtype=np.float32)
        detected.append(electrons)
    spread = np.exp(_READ_NOISE_SPREAD * rng.standard_normal(shape, dtype=np.float32))
    for electrons in detected:
        electrons += read_noise * spread * rng.standard_normal(shape, dtype=np.float32)
    gain = _log_uniform(GAIN, rng)
    noise = gain * photons * math.sqrt(variance)
    low = [np.rint(processing.recorded(OFFSET + gain * electrons, noise, rng)) for electrons in detected]
    return low, [processing.linear(light) for light in lights]


def _log_uniform(ends: tuple[float, float], rng: np.random.Generator) -> float:
    return math.exp(rng.uniform(*np.log(ends)))
