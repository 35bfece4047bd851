"""What targets share that are a second noisy image: equal grey levels, patches of both, what changes between them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from napari_care_losses.training.pairs import Share

BLUR = 2.0
"""Sigma in pixels of the Gaussian that leaves hardly any noise where two noisy images are compared."""


def symmetric_map(first: NDArray[Any], second: NDArray[Any]) -> tuple[float, float]:
    """Return gain and offset from the grey levels of one noisy image (Y, X) to those of another of the same field.

    Least squares would flatten: the noise of the image that is mapped counts as contrast (regression dilution). The
    reduced major axis of the blurred images treats both alike. Where the two have nothing in common, the gain is 0.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> light = rng.random((16, 16)).repeat(8, 0).repeat(8, 1) * 50
    >>> gain, offset = symmetric_map(rng.poisson(light), 3 * rng.poisson(light) + 20)
    >>> round(gain, 1), round(offset)
    (3.0, 20)
    """
    blurred, other = (_blurred(image) for image in (first, second))
    spread, other_spread = float(blurred.std(dtype=np.float64)), float(other.std(dtype=np.float64))
    means = float(blurred.mean(dtype=np.float64)), float(other.mean(dtype=np.float64))
    is_related = spread > 0 and float(((blurred - means[0]) * (other - means[1])).mean(dtype=np.float64)) > 0
    gain = other_spread / spread if is_related else 0.0
    return gain, means[1] - gain * means[0]


def changed_share(first: NDArray[Any], second: NDArray[Any]) -> float:
    """Return the share of the structure, 0 to 1, that differs between two noisy images (Y, X) of equal grey levels.

    It is the variance of the difference of the blurred images that the noise of both does not explain, relative to
    what two unrelated images of such structure would give. A change in brightness does not count.
    """
    from napari_care_losses.images.noise.estimate import estimate_noise

    gain, offset = symmetric_map(second, first)
    if gain == 0:
        return 1.0
    mapped = second.astype(np.float32) * np.float32(gain) + np.float32(offset)
    noises = []
    for image in (first.astype(np.float32), mapped):
        noise = estimate_noise(image)
        pixels = float(noise.variance_of(image).mean()) * noise.correlated_pixels
        # the blur takes the mean of so many pixels
        noises.append(pixels / (4 * np.pi * BLUR**2))
    images = _blurred(first), _blurred(mapped)
    structure = sum(float(image.var(dtype=np.float64)) for image in images) - sum(noises)
    difference = float((images[0] - images[1]).var(dtype=np.float64)) - sum(noises)
    return float(np.clip(difference / structure, 0.0, 1.0)) if structure > 0 else 0.0


class TwoShots:
    """Patches of two noisy images with equal grey levels; each is the target of the other where `either_way`."""

    def __init__(self, share: Share, patch_size: int, *, either_way: bool) -> None:
        self._size, self._either_way = patch_size, either_way
        self._first, self._second = share.pair.low[share.region], share.pair.second[share.region]
        # of the whole images: those of a part are less certain
        gain, offset = symmetric_map(share.pair.second, share.pair.low)
        self._gain, self._offset = np.float32(gain), np.float32(offset)

    def draw(
        self, top: int, left: int, rng: np.random.Generator, *, augmented: bool
    ) -> tuple[NDArray[Any], NDArray[Any]]:
        """Return an input and a target patch (Y, X)."""
        window = (slice(top, top + self._size), slice(left, left + self._size))
        first = self._first[window]
        second = self._gain * self._second[window] + self._offset
        return (second, first) if self._either_way and rng.integers(2) else (first, second)


def _blurred(image: NDArray[Any]) -> NDArray[np.float32]:
    from scipy.ndimage import gaussian_filter

    blurred: NDArray[np.float32] = gaussian_filter(image.astype(np.float32), BLUR)
    return blurred
