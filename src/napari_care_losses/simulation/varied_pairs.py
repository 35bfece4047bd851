"""Pairs as any microscope might give them: every structure, magnification and exposure, and noise of every kind.

The bundled models learn from them. Where `simulate_pair` follows the paper's microscope, everything is drawn at random
here, the kind of noise included, and the high exposure is free of noise.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from napari_care_losses.errors import ParameterError
from napari_care_losses.simulation.microscope import Microscope, blur, checked_shape
from napari_care_losses.simulation.pairs_and_movies import checked_seed, draw_structure
from napari_care_losses.simulation.processing import Processing

if TYPE_CHECKING:
    from napari_care_losses.simulation.cells import FloatImage

ZOOM = (0.35, 1.6)
PIXEL_SIZE = (0.055, 0.2)
LARGEST_PIXEL = {"beads": 0.12, "vesicles": 0.12}
"""A point whose image is narrower than a pixel cannot be told from a photon."""
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
    shape = checked_shape(shape)
    if not 0 <= most_correlation <= 1:
        raise ParameterError(f"most_correlation must be between 0 and 1, found {most_correlation}.")
    rng = np.random.default_rng(checked_seed(seed))
    light = _light(name, shape, rng)
    processing = Processing.drawn(rng, most_correlation=most_correlation)
    read_noise = 0.0 if rng.random() < _WITHOUT_READ_NOISE else _log_uniform(READ_NOISE, rng)
    variance = 10 ** (-rng.uniform(*NOISE_DB) / 10)
    # photons at a light of 1, for which the noise has this variance: mean * photons + read_noise**2, over photons**2
    mean = float(light.mean())
    photons = (mean + math.sqrt(mean**2 + 4 * variance * read_noise**2)) / (2 * variance)
    excess = rng.uniform(1, _MOST_EXCESS) if rng.random() < _MULTIPLYING else 1.0
    electrons = rng.poisson(light * (photons * excess)).astype(np.float32)
    electrons += np.sqrt((excess - 1) * electrons) * rng.standard_normal(shape, dtype=np.float32)
    spread = np.exp(_READ_NOISE_SPREAD * rng.standard_normal(shape, dtype=np.float32))
    electrons += read_noise * spread * rng.standard_normal(shape, dtype=np.float32)
    gain = _log_uniform(GAIN, rng)
    low = processing.recorded(OFFSET + gain * electrons, gain * photons * math.sqrt(variance), rng)
    return np.rint(low), processing.linear(light)


def _light(name: str, shape: tuple[int, int], rng: np.random.Generator) -> FloatImage:
    """Return the light of a field (Y, X), of range 1 above its background."""
    density = draw_structure(name, shape, rng, zoom=_log_uniform(ZOOM, rng))
    microscope = Microscope(
        pixel_size=min(_log_uniform(PIXEL_SIZE, rng), LARGEST_PIXEL.get(name, math.inf)),
        haze=HAZE * rng.random() ** 2,
        haze_radius=_log_uniform(HAZE_RADIUS, rng),
        background=0,
    )
    light = blur(density, microscope)
    dark, bright = np.percentile(light, [0.1, 99.9])
    light = light / np.float32(max(bright - dark, 1e-6)) + np.float32(_log_uniform(BACKGROUND, rng))
    if rng.random() < 0.3:
        # uneven illumination
        slope = 1 + 0.3 * rng.uniform(-1, 1) * np.linspace(-1, 1, shape[0], dtype=np.float32)[:, None]
        light = light * slope
    return np.asarray(light, dtype=np.float32)


def _log_uniform(ends: tuple[float, float], rng: np.random.Generator) -> float:
    return math.exp(rng.uniform(*np.log(ends)))
