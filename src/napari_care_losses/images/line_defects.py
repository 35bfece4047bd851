"""Rows and columns with an offset of their own, as line readout and scanning leave them, and dead ones."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

# Medians of lines are taken over at most so many of their pixels.
_SAMPLED = 256
# That of a whole frame, over at most about so many: a median of more takes longer than all the rest.
_SAMPLED_OF_FRAME = 2**14
# Lines are uneven if their steps exceed those that chance gives by this factor.
_UNEVEN = 2.0
# A line is dead if its step is so many times the noise of a pixel, and so many times the steps of the other lines.
_DEAD, _DEAD_STEPS = 1.0, 8.0
# Share of a dead line's pixels that may lie on the other side: structure is hardly as straight and as long.
_OTHERS = 0.1
# Least correlation of the offsets of both halves of the lines.
_ALIKE = 0.5
# Offsets below this share of the noise are not worth a word.
_LEAST = 0.2
_FEWEST = 8
# Lines by which a frame is smoothed, standard deviation: offsets that change more slowly are taken for structure.
_SMOOTHED = 4.0
_NORMAL_MAD = 0.6745
# Standard error of the median of n normal values, times sqrt(n).
_MEDIAN_ERROR = 1.2533


class LineDefects(NamedTuple):
    """What is uneven along one axis of a frame."""

    dead: NDArray[np.intp]
    """Indices of lines far above or below both neighbours."""
    offsets: NDArray[np.float32] | None
    """What every line lies above the lines around it, in grey levels; None if no more than chance would have it."""
    noise: float
    """Standard deviation of the noise of a pixel, in grey levels."""


def line_defects(frame: NDArray[Any], axis: int) -> LineDefects:
    """Find the defects of the rows (axis 0) or columns (axis 1) of a frame.

    A line is compared with the mean of its neighbours, by the median over its pixels, so that structure that crosses
    some of them makes no difference.

    Parameters
    ----------
    frame : array (Y, X) of any real dtype
        Finite.
    axis : int
        0 for rows, 1 for columns.

    Examples
    --------
    >>> frame = np.random.default_rng(0).normal(100, 5, (64, 64))
    >>> frame[:, 20] = 180
    >>> line_defects(frame, 1).dead.tolist()
    [20]
    """
    lines = frame if axis == 0 else frame.T
    if min(lines.shape) < _FEWEST:
        return LineDefects(np.empty(0, np.intp), None, 0.0)
    # a line's pixels side by side, where they are partitioned
    lines = lines[:, :: -(-lines.shape[1] // _SAMPLED)].astype(np.float32, order="C")
    padded = np.pad(lines, ((1, 1), (0, 0)), mode="reflect")
    above = lines - (padded[:-2] + padded[2:]) / 2
    steps = _medians(above)
    # of differences to the mean of two neighbours, the variance is one and a half times that of a pixel
    residuals = (above - steps[:, None]).ravel()
    # an odd step, so that pixels of all columns are among them
    residuals = np.abs(residuals[:: residuals.size // _SAMPLED_OF_FRAME | 1])
    spread = float(_medians(residuals[None])[0]) / _NORMAL_MAD
    noise = spread / 1.5**0.5
    chance = _MEDIAN_ERROR * spread / lines.shape[1] ** 0.5
    typical = float(np.median(np.abs(steps))) / _NORMAL_MAD
    sizes = np.abs(steps)
    # the first and the last line have one neighbour only
    sizes[[0, -1]] = 0
    far = sizes > max(_DEAD * noise, _DEAD_STEPS * max(typical, chance))
    dead = [
        index
        for index in np.flatnonzero(far & (sizes > 1.5 * np.maximum(*_beside(sizes))))
        if np.quantile(above[index] * np.sign(steps[index]), _OTHERS) > 0
    ]
    uneven = typical > max(_UNEVEN * chance, _LEAST * noise) and noise > 0 and _goes_through(above)
    return LineDefects(np.array(dead, np.intp), steps if uneven else None, noise)


def evened(frame: NDArray[Any], axis: int, defects: LineDefects | None = None) -> NDArray[Any]:
    """Return a frame (Y, X) with dead lines replaced by the mean of their neighbours, and offsets of lines removed.

    An offset is the median difference of a line's pixels to the frame smoothed across the lines, so that what changes
    slowly from line to line stays. Without defects, the frame is returned as it is. Parameters are those of
    `line_defects`, and what it found, where that is known already.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> frame = rng.normal(100, 5, (64, 64)) + rng.normal(0, 10, (64, 1))
    >>> bool(evened(frame, 0).mean(axis=1).std() < frame.mean(axis=1).std() / 2)
    True
    """
    # loaded where it is needed: it takes part of a second
    from scipy.ndimage import gaussian_filter1d

    defects = defects or line_defects(frame, axis)
    if not defects.dead.size and defects.offsets is None:
        return frame
    lines = (frame if axis == 0 else frame.T).astype(np.float32)
    lines[defects.dead] = (lines[defects.dead - 1] + lines[defects.dead + 1]) / 2
    if defects.offsets is not None:
        lines -= np.median(lines - gaussian_filter1d(lines, _SMOOTHED, axis=0, mode="reflect"), axis=1, keepdims=True)
    return lines if axis == 0 else lines.T


def _medians(lines: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the median of every line (N, samples) of finite values, as `numpy.median`, which takes six times as long.

    NumPy partitions around one place much faster than around several.
    """
    half = lines.shape[1] // 2
    parted = np.partition(lines, half, axis=1)
    if lines.shape[1] % 2:
        return parted[:, half]
    medians: NDArray[np.float32] = (parted[:, :half].max(axis=1) + parted[:, half]) / 2
    return medians


def _goes_through(above: NDArray[np.float32]) -> bool:
    """Return whether both halves of the lines (N, samples) lie above their neighbours alike, as structure does not."""
    first, second = (_medians(half) for half in np.array_split(above, 2, axis=1))
    if not (first.std() > 0 and second.std() > 0):
        return False
    return bool(np.corrcoef(first, second)[0, 1] > _ALIKE)


def _beside(values: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    padded = np.pad(values, 1)
    return padded[:-2], padded[2:]
