"""What a restoration does to each spatial frequency: radial power spectra and Fourier ring correlation."""

from __future__ import annotations

import math
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

from napari_care_losses.evaluation.score import Score
from napari_care_losses.images.checks import check_equal_shapes, checked_frame

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

THRESHOLD = 1 / 7
"""Correlation at the limit of resolution: the field's usual choice."""

SMALLEST = 16
"""Height and width in pixels below which rings hold too few frequencies."""

_SMOOTHED_RINGS = 5
# amplitude relative to the largest grey level that is rounding, not image
_ROUNDING = 1e-13


def radial_power(image: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    r"""Return the power spectrum of an image, averaged over rings of equal spatial frequency.

    The mean is removed and the edges are faded out by a Hann window :math:`w`, without which the jump between opposite
    edges leaks into every frequency. With :math:`N` the smaller of height and width, ring :math:`k = 1 .. N / 2` holds
    the frequencies within half a ring of :math:`k / N`, and its power is the mean over them of

    .. math:: |F(w (x - \bar x_w))|^2 / \sum w^2 ,

    so that white noise has its variance in every ring.

    Parameters
    ----------
    image : (Y, X) array of any real dtype
        At least 16 x 16 px.

    Returns
    -------
    frequency : (N // 2,) float64
        Centre of every ring in cycles per pixel, above 0 up to 0.5.
    power : (N // 2,) float64
        Its mean power, in squared grey levels.

    Raises
    ------
    InputError
        If the image is not 2D, real and finite, or too small.

    Examples
    --------
    >>> import numpy as np
    >>> from napari_care_losses.evaluation.spectra import radial_power
    >>> frequency, power = radial_power(np.random.default_rng(0).normal(0, 2, (64, 64)))
    >>> frequency.shape, round(float(power[8:].mean()), 1)
    ((32,), 4.1)
    """
    checked = checked_frame(image, smallest=SMALLEST)
    return _frequencies(checked.shape), _ring_means(_power(_spectrum(checked)), checked.shape)


def fourier_ring_correlation(
    image: ArrayLike, truth: ArrayLike, *, shift: tuple[float, float] = (0.0, 0.0)
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    r"""Return how well an image agrees with its ground truth at each spatial frequency.

    .. math:: \mathrm{Re} \sum F(x) F(t)^* / \sqrt{\sum |F(x)|^2 \sum |F(t)|^2}

    over each ring (van Heel and Schatz 2005, doi:10.1016/j.jsb.2005.05.009), of images windowed as in `radial_power`.
    Brightness and contrast of the images do not matter. They must have one shape; else as in `radial_power`. Where the
    truth was sampled `shift` pixels (Y, X) further than the image, both are compared at the same places.

    Returns
    -------
    frequency : (N // 2,) float64
        As in `radial_power`.
    correlation : (N // 2,) float64
        -1..1; 0 in a ring that one of the images leaves empty.

    Examples
    --------
    >>> import numpy as np
    >>> from napari_care_losses.evaluation.spectra import fourier_ring_correlation
    >>> truth = np.random.default_rng(0).random((32, 32))
    >>> _, correlation = fourier_ring_correlation(3 * truth + 1, truth)
    >>> round(float(correlation.min()), 6)
    1.0
    """
    first, second = checked_frame(image, smallest=SMALLEST), checked_frame(truth, "The ground truth", smallest=SMALLEST)
    check_equal_shapes(first, second, "The image and the ground truth")
    one, other = _spectrum(first), _spectrum(second)
    if any(shift):
        height, width = first.shape
        distance = shift[0] * np.fft.fftfreq(height)[:, None] + shift[1] * np.fft.rfftfreq(width)
        other = other * np.exp(-2j * np.pi * distance)
    shared = _ring_means(one.real * other.real + one.imag * other.imag, first.shape)
    norm = np.sqrt(_ring_means(_power(one), first.shape) * _ring_means(_power(other), first.shape))
    correlation = np.divide(shared, norm, out=np.zeros_like(shared), where=norm > 0)
    return _frequencies(first.shape), np.clip(correlation, -1, 1)


def resolution(frequency: ArrayLike, correlation: ArrayLike, threshold: float = THRESHOLD) -> float:
    """Return the spatial frequency at which a Fourier ring correlation first falls below a threshold.

    The correlation is averaged by `averaged_rings`, because that of a single ring fluctuates; the crossing is
    interpolated between rings. Parameters are what `fourier_ring_correlation` returns.

    Returns
    -------
    float
        In cycles per pixel; its inverse is the resolution in pixels. NaN where the correlation never falls below the
        threshold, 0 where it starts below.

    Examples
    --------
    >>> from napari_care_losses.evaluation.spectra import resolution
    >>> frequency = [0.1, 0.2, 0.3, 0.4, 0.5]
    >>> round(resolution(frequency, [1.0, 0.8, 0.2, 0.0, 0.0]), 2)
    0.38
    """
    frequency, correlation = np.asarray(frequency, np.float64), np.asarray(correlation, np.float64)
    smoothed = averaged_rings(correlation)
    below = np.flatnonzero(smoothed < threshold)
    if not below.size:
        return math.nan
    last = int(below[0])
    if last == 0:
        return 0.0
    before, after = smoothed[last - 1], smoothed[last]
    fraction = (before - threshold) / (before - after)
    return float(frequency[last - 1] + fraction * (frequency[last] - frequency[last - 1]))


def agreement(image: ArrayLike, truth: ArrayLike) -> dict[str, float]:
    """Return how much detail of the ground truth an image holds, as two values.

    ``frc`` is the mean of `fourier_ring_correlation` over all rings, ``cutoff`` its `resolution` in cycles per pixel,
    0.5 where it never falls below the threshold. Empty for images too small for a spectrum.

    Examples
    --------
    >>> import numpy as np
    >>> from napari_care_losses.evaluation.spectra import agreement
    >>> truth = np.random.default_rng(0).random((32, 32))
    >>> {name: round(value, 3) for name, value in agreement(truth, truth).items()}
    {'frc': 1.0, 'cutoff': 0.5}
    """
    if min(np.shape(image)) < SMALLEST:
        return {}
    frequency, correlation = fourier_ring_correlation(image, truth)
    limit = resolution(frequency, correlation)
    return {"frc": float(correlation.mean()), "cutoff": 0.5 if math.isnan(limit) else limit}


DETAIL_SCORES: dict[str, Score] = {
    "frc": Score(title="FRC", help="Mean of the Fourier ring correlation with the ground truth over all frequencies."),
    "cutoff": Score(
        title="Limit of resolution",
        unit="cycles/px",
        help="Spatial frequency at which the Fourier ring correlation with the ground truth first falls below 1/7.",
    ),
}
"""The values of `agreement`."""


def averaged_rings(values: ArrayLike) -> NDArray[np.float64]:
    """Return values of rings (N,) averaged over five of them, as `resolution` looks at a correlation.

    A ring has as many neighbours on one side as on the other; fewer at the ends.
    """
    values = np.asarray(values, np.float64)
    sums = np.concatenate([[0.0], np.cumsum(values)])
    places = np.arange(values.size)
    reach = np.minimum(_SMOOTHED_RINGS // 2, np.minimum(places, values.size - 1 - places))
    averaged: NDArray[np.float64] = (sums[places + reach + 1] - sums[places - reach]) / (2 * reach + 1)
    return averaged


def _spectrum(image: NDArray[np.float64]) -> NDArray[np.complex128]:
    """Return the half spectrum of an image without its mean, edges faded out, in the units of `radial_power`."""
    window = _hann(image.shape[0])[:, None] * _hann(image.shape[1])
    centred = image - np.vdot(window, image) / window.sum()
    # what is left of a constant image would be taken for structure
    if np.abs(centred).max() <= _ROUNDING * np.abs(image).max():
        centred[:] = 0
    centred *= window
    return np.fft.rfft2(centred) / math.sqrt(float(np.square(window).sum()))


def _power(spectrum: NDArray[np.complex128]) -> NDArray[np.float64]:
    power: NDArray[np.float64] = np.square(spectrum.real) + np.square(spectrum.imag)
    return power


def _hann(size: int) -> NDArray[np.float64]:
    # the periodic window, without the symmetric one's zeros at both ends
    window: NDArray[np.float64] = np.sin(np.pi * (np.arange(size) + 0.5) / size) ** 2
    return window


def _frequencies(shape: tuple[int, ...]) -> NDArray[np.float64]:
    size = min(shape)
    return np.arange(1, size // 2 + 1) / size


def _ring_means(values: NDArray[np.float64], shape: tuple[int, ...]) -> NDArray[np.float64]:
    """Average a quantity given over the half spectrum of an image of this shape over rings."""
    rings, weights, counts = _rings(*shape)
    sums = np.bincount(rings, weights=(values * weights).ravel(), minlength=counts.size)
    means: NDArray[np.float64] = sums[1 : counts.size - 1] / counts[1:-1]
    return means


@lru_cache(maxsize=2)
def _rings(height: int, width: int) -> tuple[NDArray[np.int32], NDArray[np.float64], NDArray[np.float64]]:
    """Return the ring of every frequency of the half spectrum, the weight of every column, and the weight of each ring.

    The first ring holds frequency zero and the last one all that lies beyond 0.5.
    """
    size = min(height, width)
    last = size // 2 + 1
    y, x = np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width)
    rings = np.minimum(np.rint(np.hypot(y, x) * size), last).astype(np.int32)
    # columns of the half spectrum stand for their conjugates too, but for the first and, of an even width, the last
    weights = np.full(x.size, 2.0)
    weights[0] = 1
    if width % 2 == 0:
        weights[-1] = 1
    spread = np.broadcast_to(weights, rings.shape).ravel()
    counts: NDArray[np.float64] = np.bincount(rings.ravel(), weights=spread, minlength=last + 1).astype(np.float64)
    return rings.ravel(), weights, counts
