"""The resolution of one image by decorrelation analysis."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from napari_care_losses.images.checks import checked_frame

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    Floats = NDArray[np.float64]

FINEST = 2.0
"""Finest resolution that can be found, in pixels."""

SMALLEST = 32
"""Least width and height of an image, in pixels."""

# radii, high-pass filters and passes of the authors; the edge that is faded out, in pixels
_RADII, _FILTERS, _PASSES, _EDGE = 50, 10, 2, 20
# width of the finest high-pass filter in pixels, and least decorrelation of a peak that counts
_FINEST_FILTER, _LEAST_PEAK = 0.15, 0.05
# how much lower the curve must be behind a peak
_LEAST_FALL = 5e-4


def decorrelation_resolution(image: ArrayLike) -> float:
    r"""Return the resolution of one image by decorrelation analysis.

    The method is that of Descloux et al. (2019, doi:10.1038/s41592-019-0515-7).
    With :math:`I(k)` the spectrum of the image, edges faded out, the curve

    .. math:: d(r) = \sum_{|k| < r} |I| / \sqrt{\textstyle\sum |I|^2 \; \#\{|k| < r\}}

    compares the image with itself without amplitudes, within a circle of radius :math:`r`. It falls where only noise
    is added. The image is high-pass filtered ever more strongly, ten times, and then again around the highest radius
    found; that of the highest of all peaks is the cut-off frequency.

    The noise has to be independent from pixel to pixel. That of a restored image is not: the value then is the finest
    detail drawn, true or not.

    Parameters
    ----------
    image : (Y, X) array of any real dtype
        At least 32 x 32 px.

    Returns
    -------
    float
        In pixels, 2 at least; NaN where no structure is found.

    Raises
    ------
    InputError
        If the image is not 2D, real and finite, or too small.

    Examples
    --------
    >>> import numpy as np
    >>> rng = np.random.default_rng(0)
    >>> y, x = np.fft.fftfreq(256)[:, None], np.fft.fftfreq(256)
    >>> passed = np.fft.fft2(rng.normal(size=(256, 256))) * (np.hypot(y, x) < 0.125)
    >>> round(decorrelation_resolution(np.fft.ifft2(passed).real + rng.normal(0, 0.05, (256, 256))))
    8
    """
    rings = _rings_of(checked_frame(image, smallest=SMALLEST))
    radii = np.linspace(0, 1, _RADII)
    first, _ = _peak(_curve(rings, radii, None))
    coarsest = 2 / radii[first] if first else max(rings.shape) / 2
    widths = [min(rings.shape) / 4, *np.geomspace(coarsest, _FINEST_FILTER, _FILTERS)]
    found: list[tuple[float, float]] = [(float(radii[first]), math.inf)] if first else []
    for _ in range(_PASSES):
        peaks = []
        for width in widths:
            place, height = _peak(_curve(rings, radii, width))
            peaks.append((float(radii[place]) if height >= _LEAST_PEAK else 0.0, width))
        found += peaks
        best = max(range(len(peaks)), key=lambda at: peaks[at][0])
        if not peaks[best][0]:
            break
        # again, with finer steps of radius and of filters around the best
        widths = list(np.geomspace(widths[max(best - 1, 0)], widths[min(best + 1, len(widths) - 1)], _FILTERS))
        radii = np.linspace(max(peaks[best][0] - 0.1, 0), min(peaks[best][0] + 0.3, 1), _RADII)
    cutoff = max((radius for radius, _ in found), default=0.0)
    return max(FINEST, 2 / cutoff) if cutoff else math.nan


class _Rings(NamedTuple):
    """An image's spectrum, summed over thin rings."""

    shape: tuple[int, ...]
    radius: Floats
    """Outer radius of each ring, 1 at half a cycle a pixel."""
    frequencies: Floats
    """How many each ring holds."""
    amplitude: Floats
    power: Floats
    """Sums over them."""


def _rings_of(image: Floats) -> _Rings:
    height, width = image.shape
    faded = (image - image.mean()) * _faded(height)[:, None] * _faded(width)
    amplitude = np.abs(np.fft.rfft2(faded))
    y, x = np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width)
    # columns that stand for their conjugates too
    weights = np.broadcast_to(np.where((x > 0) & (x < 0.5), 2.0, 1.0), amplitude.shape).ravel()
    number = max(image.shape)
    place = np.minimum((2 * number * np.hypot(y, x)).astype(np.intp), number).ravel()
    flat = amplitude.ravel()
    frequencies, amplitudes, powers = (
        np.bincount(place, weights * each, number + 1)[:-1].astype(np.float64)
        for each in (np.ones_like(flat), flat, flat**2)
    )
    return _Rings(image.shape, np.arange(1, number + 1) / number, frequencies, amplitudes, powers)


def _faded(size: int) -> Floats:
    """Return a window that is 1 but for a smooth rise at both ends."""
    edge = min(_EDGE, size // 4)
    window = np.ones(size)
    rise = np.sin(np.pi / 2 * (np.arange(edge) + 0.5) / edge) ** 2
    window[:edge], window[size - edge :] = rise, rise[::-1]
    return window


def _curve(rings: _Rings, radii: Floats, width: float | None) -> Floats:
    """Return the decorrelation at some radii, of the image after a high-pass filter of a width in pixels."""
    kept = np.ones_like(rings.radius)
    if width is not None:
        kept -= np.exp(-0.5 * (np.pi * width * rings.radius) ** 2)
    power = float((kept**2 * rings.power).sum())
    shared, count = np.cumsum(kept * rings.amplitude), np.cumsum(rings.frequencies)
    curve = shared / np.sqrt(np.maximum(power * count, np.finfo(np.float64).tiny))
    return np.interp(radii, rings.radius, curve, left=0.0)


def _peak(curve: Floats) -> tuple[int, float]:
    """Return place and height of the highest point behind which the curve falls; (0, 0) without one."""
    end = len(curve)
    while end > 1:
        place = int(np.argmax(curve[:end]))
        if place == 0:
            break
        if place < end - 1 and curve[place] - curve[place:end].min() >= _LEAST_FALL:
            return place, float(curve[place])
        end -= 1
    return 0, 0.0
