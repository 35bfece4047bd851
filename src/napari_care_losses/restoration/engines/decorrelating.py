"""Runs a network on images whose shared noise is made independent from pixel to pixel, and undoes that after."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from napari_care_losses.images.noise.model import NoiseModel
from napari_care_losses.restoration.engines.base import WrappingEngine

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from napari_care_losses.restoration.engines.base import Engine

    Image = NDArray[np.float32]

REACH = 8
"""Radius of both filters, in pixels."""

# Frequencies with less power than this, relative to the lowest, are raised no further: little is known of them.
_LEAST_POWER = 0.03
_GRID = 64


class DecorrelatingEngine(WrappingEngine):
    """Filters images so that their noise is independent from pixel to pixel, restores them, and filters them back.

    The filter is the inverse root of the noise's spectrum, so the network sees noise of the kind that it was trained
    on. What it makes of the image is put back to the image's own sharpness: no detail is lost.

    Parameters
    ----------
    engine : Engine
        What runs the network.
    correlation : tuple of tuples of float
        That of the noise, as in `napari_care_losses.images.noise.model.NoiseModel`.
    """

    def __init__(self, engine: Engine, correlation: tuple[tuple[float, ...], ...]) -> None:
        super().__init__(engine, reach=2 * REACH)
        self._filter, self._undo = decorrelating_kernels(correlation)

    def _before(self, image: Image) -> Image:
        if image.ndim == 2:
            return _filtered(image, self._filter)
        return np.stack([_filtered(channel, self._filter) for channel in image])

    def _after(self, image: Image) -> Image:
        return _filtered(image, self._undo)


def decorrelating_kernels(correlation: tuple[tuple[float, ...], ...]) -> tuple[Image, Image]:
    """Return the filter that decorrelates noise, and the one that undoes it: each (17, 17), its sum 1.

    Examples
    --------
    >>> along_x = ((1.0, 0.4), (0.0, 0.0))
    >>> decorrelate, undo = decorrelating_kernels(along_x)
    >>> print(undo[8, 6:11].round(1))
    [-0.   0.2  0.7  0.2 -0. ]
    """
    y, x = np.fft.fftfreq(_GRID), np.fft.rfftfreq(_GRID)
    power = NoiseModel(correlation=correlation).spectrum(y, x)
    root = np.sqrt(np.maximum(power, _LEAST_POWER * power.max()))
    root /= root[0, 0]
    return _kernel(1 / root), _kernel(root)


def _kernel(transfer: NDArray[np.float64]) -> Image:
    whole = np.fft.fftshift(np.fft.irfft2(transfer, (_GRID, _GRID)))
    middle = slice(_GRID // 2 - REACH, _GRID // 2 + REACH + 1)
    kernel = whole[middle, middle]
    kept: Image = (kernel / kernel.sum()).astype(np.float32)
    return kept


def _filtered(image: Image, kernel: Image) -> Image:
    """Return an image (Y, X) filtered by a symmetric kernel; beyond its edges it is mirrored."""
    from scipy.fft import irfft2, next_fast_len, rfft2

    padded = np.pad(image, REACH, mode="symmetric")
    shape: Any = tuple(next_fast_len(size + 2 * REACH, real=True) for size in padded.shape)
    found = irfft2(rfft2(padded, shape) * rfft2(kernel, shape), shape)
    # the kernel's middle is its pixel (REACH, REACH)
    rows, columns = (slice(2 * REACH, 2 * REACH + size) for size in image.shape)
    made: Image = np.ascontiguousarray(found[rows, columns], dtype=np.float32)
    return made
