"""Makes low-exposure patches from high-exposure ones with the noise of their own pair."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from napari_care_losses.images.line_fit import fit_line
from napari_care_losses.images.noise.estimate import estimate_noise

if TYPE_CHECKING:
    from typing import Any

    from numpy.typing import NDArray

    from napari_care_losses.images.noise.model import NoiseModel

POOL = 65_536
"""Number of pixels of a pair whose noise is kept."""

STEPS = 16_384
"""Entries of the table from brightness to the place in the pool, which is faster than a search."""

NEIGHBOURS = 0.005
"""Noise is drawn from the pixels closest in brightness: this part of the pool on either side."""

STRENGTH = 0.5
"""The noise is made stronger or weaker by a factor of up to 2**0.5."""

SIZE = 1.0
"""Structures are enlarged or shrunk by a factor of up to 2**1."""

MOST_CORRELATED = 0.1
"""Largest correlation of the noise in neighbouring pixels that is drawn pixel by pixel, and so has none."""

MOST_UNLIKE, MOST_TIMES = 0.15, 1.5
"""Noise that neighbours share is that of the low image if it is found in that alone too: largest difference of the
correlations, and largest factor between the variances. Otherwise it is structure of images that do not match."""

MOST_NOISE_IN_HIGH = 0.3
"""Largest noise of the high image relative to the low one's: the network would learn to keep more."""


class NoisePool:
    r"""The noise of a pair, sorted by the brightness of its pixels in the high image; made by `noise_pool`.

    The affine map of least squares from the high to the low image, :math:`l = a h + b + n`, leaves the noise :math:`n`.
    New noise of a pixel is drawn from pixels of about the same brightness, so it has their variance and skewness,
    whatever the camera.

    Parameters
    ----------
    gain, offset : float
        The map from high to low grey levels.
    levels : float32 array (N,)
        Grey levels of the high image, ascending.
    noise : float32 array (N,)
        Noise of these pixels, in the low image's grey levels.
    """

    def __init__(self, gain: float, offset: float, levels: NDArray[np.float32], noise: NDArray[np.float32]) -> None:
        self._gain, self._offset = np.float32(gain), np.float32(offset)
        self._noise = noise
        self._reach = max(1, round(NEIGHBOURS * len(levels)))
        self._darkest, self._step = levels[0], (levels[-1] - levels[0]) / np.float32(STEPS - 1)
        self._places = np.searchsorted(levels, self._darkest + self._step * np.arange(STEPS, dtype=np.float32))

    def expose(self, high: NDArray[np.float32], strength: float, rng: np.random.Generator) -> NDArray[np.float32]:
        """Return the low-exposure image of a high one (Y, X), with noise `strength` times as strong as the pair's."""
        steps = np.clip((high.ravel() - self._darkest) / self._step, 0, STEPS - 1)
        places = self._places[steps.astype(np.intp)]
        places += rng.integers(-self._reach, self._reach + 1, places.size)
        # reflected at both ends: clipped, the noise of the darkest and brightest pixels would be drawn too often
        last = len(self._noise) - 1
        places = np.clip(last - np.abs(last - np.abs(places)), 0, last)
        noise = self._noise[places].reshape(high.shape)
        exposed: NDArray[np.float32] = self._gain * high + (self._offset + np.float32(strength) * noise)
        return exposed


class SharedNoise:
    """The noise of a pair whose neighbouring pixels share it: drawn from its model, with its correlation.

    Parameters
    ----------
    gain, offset : float
        The map from high to low grey levels.
    noise : NoiseModel
        Of the low image.
    """

    def __init__(self, gain: float, offset: float, noise: NoiseModel) -> None:
        self._gain, self._offset, self._noise = np.float32(gain), np.float32(offset), noise

    def expose(self, high: NDArray[np.float32], strength: float, rng: np.random.Generator) -> NDArray[np.float32]:
        """Return the low-exposure image of a high one, as `NoisePool.expose`."""
        expected = self._gain * high + self._offset
        exposed: NDArray[np.float32] = (expected + strength * self._noise.draw(expected, rng)).astype(np.float32)
        return exposed


def noise_pool(low: NDArray[Any], high: NDArray[Any], rng: np.random.Generator) -> NoisePool | SharedNoise | None:
    """Return the noise of a low and a high image (Y, X), or None where it cannot be drawn.

    It cannot where the map between the images leaves structure, or where the high image is not much cleaner than the
    low one. `rng` chooses the pixels kept.
    """
    low, high = low.astype(np.float32), high.astype(np.float32)
    gain, offset = fit_line(high, low)
    noise = low - (np.float32(gain) * high + np.float32(offset))
    spread = float(noise.std())
    if spread == 0 or gain <= 0:
        return None
    in_high = np.sqrt(float(estimate_noise(high).variance(float(high.mean(dtype=np.float64)))))
    if gain * in_high > MOST_NOISE_IN_HIGH * spread:
        return None
    covariances = (noise[1:] * noise[:-1]).mean(), (noise[:, 1:] * noise[:, :-1]).mean()
    if float(max(covariances)) > MOST_CORRELATED * spread**2:
        shared = _shared_noise(low, high)
        return None if shared is None else SharedNoise(gain, offset, shared)
    kept = rng.choice(noise.size, POOL, replace=False) if noise.size > POOL else rng.permutation(noise.size)
    # stable: pixels of equal brightness stay in random order, not in that of their places
    kept = kept[np.argsort(high.ravel()[kept], kind="stable")]
    return NoisePool(float(gain), float(offset), high.ravel()[kept], noise.ravel()[kept])


def _shared_noise(low: NDArray[np.float32], high: NDArray[np.float32]) -> NoiseModel | None:
    """Return the noise that neighbours share in a low image; None where they rather share structure."""
    alone, beside = estimate_noise(low), estimate_noise(low, high)
    if alone.correlated_pixels == 1 or len(alone.correlation) != len(beside.correlation):
        return None
    unlike = np.abs(np.subtract(alone.correlation, beside.correlation)).max()
    times = float(alone.variance(low).mean() / beside.variance(low).mean())
    return alone if unlike <= MOST_UNLIKE and 1 / MOST_TIMES <= times <= MOST_TIMES else None


def resized_window(image: NDArray[Any], corner: tuple[int, int], size: int, factor: float) -> NDArray[np.float32]:
    """Return a square window of an image (Y, X), its structures `factor` times as large: float32 (size, size).

    The window begins at `corner` and is moved inward where it would end outside; an image too small for the window
    limits how far structures are shrunk.
    """
    width = min(round(size / factor), *image.shape)
    top, left = (min(start, extent - width) for start, extent in zip(corner, image.shape, strict=True))
    window = np.asarray(image[top : top + width, left : left + width], dtype=np.float32)
    if width == size:
        return window
    resized = Image.fromarray(window).resize((size, size), Image.Resampling.BICUBIC)
    return np.asarray(resized, dtype=np.float32)
