"""Power spectra of small blocks of an image, from which its noise is estimated.

A block of 16 x 16 px is small enough to lie between structures, and large enough to tell noise that differs from pixel
to pixel from noise that neighbours share. Spectra are folded: frequencies that differ in their sign only are averaged,
so that a spectrum has 9 x 9 entries along Y and X, from 0 to half a cycle a pixel.
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from typing import Any

    from numpy.typing import NDArray

    FloatArray = NDArray[np.float32]
    Spectrum = NDArray[np.float64]
    Area = NDArray[np.bool_]

BLOCK = 16
"""Width of a block in pixels."""

_HALF = BLOCK // 2
# a Hann window: what crosses the edges of a block leaks into neighbouring frequencies only
_WINDOW = np.hanning(BLOCK + 1)[:-1]
_WINDOW /= np.sqrt(np.sum(_WINDOW**2))
_Y, _X = np.indices((_HALF + 1, _HALF + 1))
# of more pixels, blocks do not overlap
_MOST_OVERLAPPED = 2**19
# blocks with less than this share of the usual power are constant: saturated, padded or without a single photon
_LEAST_POWER = 1e-9

COUNTS = np.where(_Y % _HALF, 2.0, 1.0) * np.where(_X % _HALF, 2.0, 1.0)
"""Frequencies that an entry of a folded spectrum stands for."""

RADIUS = np.hypot(_Y, _X)
"""Frequency of an entry, in cycles a block."""

IS_KEPT = np.maximum(_Y, _X) > 1
"""Entries that stay the same when the mean of a block is subtracted."""

IS_HIGH = np.maximum(_Y, _X) >= 5
"""Frequencies that a microscope's optics hardly pass."""

SECTORS = [
    *((_Y >= 5) & (first <= _X) & (_X < last) for first, last in ((0, 3), (3, 5))),
    *((_X >= 5) & (first <= _Y) & (_Y < last) for first, last in ((0, 3), (3, 5))),
    np.minimum(_Y, _X) >= 5,
]
"""Parts of `IS_HIGH`: white noise has the same power in all of them."""

_EDGES = (1.5, 2.5, 3.5, 4.5, 5.5, 6.5, 8, 12)
RINGS = [
    IS_KEPT & (first <= RADIUS) & (last > RADIUS) for first, last in pairwise((1.5, 2.5, 3.5, 4.5, 5.5, 6.5, 8, 12))
]
"""Rings of equal frequency."""

ROWS: Spectrum = np.tile(np.abs(np.fft.rfft(_WINDOW)) ** 2, (_HALF + 1, 1))
"""Spectrum of rows with an offset each, of variance 1; that of columns is its transpose."""

IS_OF_ROWS = (_X == 0) & (_Y >= 5)
"""Entries from which `row_offsets` are taken; its transpose for columns."""

ROW_ENTRIES = 2
"""Entries along the other axis in which the offsets of rows or columns appear."""


class Blocks(NamedTuple):
    """Blocks of an image, each `BLOCK` px wide."""

    brightness: FloatArray
    """Mean grey levels (N,)."""
    unevenness: FloatArray
    """Variance of the mean grey levels of a block and those around it (N,): structure, and hardly any noise."""
    noisiness: FloatArray
    """Mean power at high frequencies of a block and those around it (N,)."""
    cut_off: FloatArray
    """Share of pixels at the lowest and the highest level of the windows (N, 2)."""
    places: NDArray[np.intp]
    """Window, row and column of a block's first pixel (N, 3)."""
    powers: FloatArray
    """Folded spectra (N, 9, 9); the power of white noise is its variance at every frequency."""

    def chosen(self, which: NDArray[Any]) -> Blocks:
        """Return some of the blocks, by index or mask (N,)."""
        return Blocks(*(values[which] for values in self))


def block_spectra(windows: FloatArray, brightness: FloatArray | None = None) -> Blocks:
    """Return the spectra of blocks of windows (N, Y, X), each at least `BLOCK` px a side.

    Blocks overlap by half unless there are many; constant ones and those with NaN are left out. `brightness` are images
    of the windows' shape whose means are taken for those of the windows.
    """
    from scipy.fft import rfft2
    from scipy.ndimage import uniform_filter

    step = _HALF if windows.size <= _MOST_OVERLAPPED else BLOCK
    cut = _cut(windows, step)
    window = np.outer(_WINDOW, _WINDOW).astype(np.float32)
    level = np.einsum("...yx,yx->...", cut, window / window.sum())
    found = rfft2((cut - level[..., None, None]) * window)
    halves = np.square(found.real) + np.square(found.imag)
    powers = halves[..., : _HALF + 1, :].copy()
    powers[..., 1:_HALF, :] = (powers[..., 1:_HALF, :] + halves[..., :_HALF:-1, :]) / 2
    high = mean_power(powers, IS_HIGH)
    is_usable = np.isfinite(high)
    is_usable &= high > _LEAST_POWER * (np.median(high[is_usable]) if is_usable.any() else 0)
    means = np.where(is_usable, _means(windows, step), 0)
    # blocks that overlap or touch, in the same window
    around = (1, *[2 * (BLOCK // step) + 1] * 2)
    unevenness = uniform_filter(np.square(means), around) - np.square(uniform_filter(means, around))
    noisiness = uniform_filter(np.where(is_usable, high, 0), around)
    # running sums are rounded: at least a block's own share
    noisiness = np.maximum(noisiness, high / np.float32(around[1] * around[2]))
    shown = means if brightness is None else _means(brightness, step)
    ends = ((windows == end).astype(np.float32) for end in (np.nanmin(windows), np.nanmax(windows)))
    cut_off = np.stack([_means(end, step) for end in ends], -1)
    places = np.moveaxis(np.indices(means.shape), 0, -1) * (1, step, step)
    return Blocks(shown, np.maximum(unevenness, 0), noisiness, cut_off, places, powers).chosen(is_usable)


def normality(windows: FloatArray, places: NDArray[np.intp]) -> FloatArray:
    """Return how normally the pixels of blocks at `Blocks.places` are distributed (N,), the mean along Y and X.

    It is the squared mean of the absolute differences of neighbours over their mean square: 2/pi where they are
    normally distributed, less where some are edges.
    """
    blocks = _cut(windows, 1)[tuple(places.T)]
    shares = []
    for differences in (np.diff(blocks, axis=-2), np.diff(blocks, axis=-1)):
        squares = np.square(differences).mean((-2, -1))
        shares.append(np.square(np.abs(differences).mean((-2, -1))) / np.maximum(squares, 1e-30))
    mean: FloatArray = np.mean(shares, axis=0, dtype=np.float32)
    return mean


def _means(windows: FloatArray, step: int) -> FloatArray:
    """Return the means of the blocks of windows (N, Y, X); of overlapping ones from those of their quarters."""
    overlaps = BLOCK // step - 1
    down, across = ((size - BLOCK) // step + 1 + overlaps for size in windows.shape[1:])
    cells = windows[:, : down * step, : across * step].reshape(-1, down, step, across, step)
    # one axis after the other: faster than both at once
    means: FloatArray = cells.mean(-1).mean(2)
    if overlaps:
        means = (means[:, :-1] + means[:, 1:]) / np.float32(2)
        means = (means[..., :-1] + means[..., 1:]) / np.float32(2)
    return means


def _cut(windows: FloatArray, step: int) -> FloatArray:
    """Return a view (N, blocks down, blocks across, Y, X) of windows (N, Y, X)."""
    return np.lib.stride_tricks.sliding_window_view(windows, (BLOCK, BLOCK), axis=(1, 2))[:, ::step, ::step]


def mean_power(spectra: NDArray[Any], area: NDArray[Any]) -> NDArray[Any]:
    """Return the mean of spectra (..., 9, 9) over the frequencies of an area; entries may be left out or weighted."""
    mean: NDArray[Any] = np.einsum("...yx,yx->...", spectra, weights_of(area).astype(spectra.dtype))
    return mean


def weights_of(area: NDArray[Any]) -> Spectrum:
    """Return the weight of each entry of a spectrum (9, 9) in its mean over the frequencies of an area."""
    weights = COUNTS * area
    shares: Spectrum = weights / weights.sum()
    return shares


def row_offsets(spectrum: Spectrum) -> float:
    """Return the variance of the offsets of rows that a spectrum shows, 0 or more; give its transpose for columns.

    Their power lies at the lowest frequency along X, on top of a power that is smooth in the frequency: a parabola
    of its square through the next three.
    """
    smooth = spectrum[5:, 2:5] @ (2.4, -64 / 35, 3 / 7)
    return max(0.0, float(np.average(spectrum[5:, 0] - smooth, weights=COUNTS[5:, 0])) / float(ROWS[0, 0]))


ROW_OFFSETS_ERROR = 3.2 / float(ROWS[0, 0])
"""Standard error of `row_offsets` for a spectrum of one block whose power is 1, times the root of its frequencies."""


def spectrum_of(lags: int) -> Spectrum:
    """Return the spectra (9, 9, lags, lags) of covariances of 1 at one lag along Y and X each, and its opposites."""
    lag = np.arange(lags)
    overlap = np.array([np.sum(_WINDOW[: BLOCK - shift] * _WINDOW[shift:]) for shift in lag])
    waves = np.cos(2 * np.pi * np.outer(np.arange(_HALF + 1), lag) / BLOCK) * overlap * np.where(lag, 2, 1)
    spectra: NDArray[np.float64] = np.einsum("ya,xb->yxab", waves, waves)
    return spectra
