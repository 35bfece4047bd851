"""New low-exposure patches from clean ones, with the noise of their own pair: the same field seen again, or larger."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from napari_care_losses.images.line_fit import fit_line
from napari_care_losses.images.noise import wavelet_noise

if TYPE_CHECKING:
    from typing import Any

    from numpy.typing import NDArray

POOL = 65_536
"""Pixels of a pair whose noise is kept."""

STEPS = 16_384
"""Steps of brightness a pool is looked up in: a table of them is twenty times as fast as a search."""

NEIGHBOURS = 0.005
"""Share of the pool, either way in order of brightness, that noise is drawn from."""

STRENGTH = 0.5
"""Noise is made up to a factor of 2**0.5 stronger or weaker."""

SIZE = 1.0
"""Structure is made up to a factor of 2 larger or smaller."""

MOST_CORRELATED = 0.1
"""Noise that neighbours share more of is not independent from pixel to pixel, and cannot be drawn anew so."""

MOST_NOISE_IN_HIGH = 0.3
"""The clean image's noise relative to the low one's: of more, low patches made from it would show it again, and a
network would learn to keep it."""


class NoisePool:
    r"""The noise of a pair, in order of the brightness it fell on.

    With the affine map of least squares from the high to the low image, :math:`l = a h + b + n`, the noise :math:`n` of
    pixels about as bright as a pixel of the clean image is noise it could have had: drawn among them, it has their
    variance and skewness, whatever the camera. Made by `noise_pool`.

    Parameters
    ----------
    gain, offset : float
        The map from high to low grey levels.
    levels : float32 array (N,)
        Grey levels of the clean image, ascending.
    noise : float32 array (N,)
        Noise that fell on them, in the low image's grey levels.
    """

    def __init__(self, gain: float, offset: float, levels: NDArray[np.float32], noise: NDArray[np.float32]) -> None:
        self._gain, self._offset = np.float32(gain), np.float32(offset)
        self._noise = noise
        self._reach = max(1, round(NEIGHBOURS * len(levels)))
        self._darkest, self._step = levels[0], (levels[-1] - levels[0]) / np.float32(STEPS - 1)
        self._places = np.searchsorted(levels, self._darkest + self._step * np.arange(STEPS, dtype=np.float32))

    def expose(self, high: NDArray[np.float32], strength: float, rng: np.random.Generator) -> NDArray[np.float32]:
        """Return a low-exposure image of a clean one, float32 array (Y, X), with noise `strength` times as strong."""
        steps = np.clip((high.ravel() - self._darkest) / self._step, 0, STEPS - 1)
        places = self._places[steps.astype(np.intp)]
        places += rng.integers(-self._reach, self._reach + 1, places.size)
        # at both ends what lies outside is reflected, or the outermost pixel's noise would be drawn again and again
        last = len(self._noise) - 1
        places = np.clip(last - np.abs(last - np.abs(places)), 0, last)
        noise = self._noise[places].reshape(high.shape)
        exposed: NDArray[np.float32] = self._gain * high + (self._offset + np.float32(strength) * noise)
        return exposed


def noise_pool(low: NDArray[Any], high: NDArray[Any], rng: np.random.Generator) -> NoisePool | None:
    """Return the noise of a pair, or None where it cannot be drawn anew.

    That is where it correlates between neighbours, or the map between the images leaves structure, or where the high
    image is not much cleaner than the low one.

    Parameters
    ----------
    low, high : array (Y, X)
        Any real dtype; same shape.
    rng : numpy.random.Generator
        Chooses the pixels kept, `POOL` at most.
    """
    low, high = low.astype(np.float32), high.astype(np.float32)
    gain, offset = fit_line(high, low)
    noise = low - (np.float32(gain) * high + np.float32(offset))
    spread = float(noise.std())
    if spread == 0 or gain <= 0 or gain * wavelet_noise(high) > MOST_NOISE_IN_HIGH * spread:
        return None
    if max(_shared(noise[1:], noise[:-1]), _shared(noise[:, 1:], noise[:, :-1])) > MOST_CORRELATED * spread**2:
        return None
    kept = rng.choice(noise.size, POOL, replace=False) if noise.size > POOL else rng.permutation(noise.size)
    # the random order of what is kept stays among equal levels: their noise must not be sorted by place
    kept = kept[np.argsort(high.ravel()[kept], kind="stable")]
    return NoisePool(float(gain), float(offset), high.ravel()[kept], noise.ravel()[kept])


def resized_window(image: NDArray[Any], corner: tuple[int, int], size: int, factor: float) -> NDArray[np.float32]:
    """Return a square window of an image, its structure `factor` times as large, float32 array (size, size).

    Parameters
    ----------
    image : array (Y, X)
        At least `size` a side.
    corner : tuple of int
        Where the window begins, moved inward where it would end outside.
    size : int
        Width of the result, in pixels.
    factor : float
        Above one magnifies. An image too small for the window limits how far it is made smaller.
    """
    width = min(round(size / factor), *image.shape)
    top, left = (min(start, extent - width) for start, extent in zip(corner, image.shape, strict=True))
    window = np.asarray(image[top : top + width, left : left + width], dtype=np.float32)
    if width == size:
        return window
    resized = Image.fromarray(window).resize((size, size), Image.Resampling.BICUBIC)
    return np.asarray(resized, dtype=np.float32)


def _shared(one: NDArray[np.float32], other: NDArray[np.float32]) -> float:
    return float(np.mean(one * other))
