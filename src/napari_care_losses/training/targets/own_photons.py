"""The noisy images alone: their photons are split into an input and a target."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from napari_care_losses.images.checks import countable
from napari_care_losses.images.noise.estimate import estimate_noise
from napari_care_losses.images.sampling import evenly_spaced
from napari_care_losses.training.targets.base import MAX_CHECKED, Exposures, Target

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from napari_care_losses.images.noise.model import NoiseModel
    from napari_care_losses.training.pairs import Pair, Share
    from napari_care_losses.training.parameters import TrainingParameters

SHARES = (0.6, 0.95)
"""Least and largest share of the photons that the network is given; the rest is its target."""

MOST_CORRELATED, LEAST_CORRELATED = 0.3, 0.1
"""Correlation of the noise in neighbouring pixels above which images are refused, and above which it is warned of."""

BRIGHT = 99.0
"""Percentile of an image that stands for its bright pixels."""

MANY = 1e4
"""Photons of a pixel at which their noise is as good as normally distributed."""

MOST, LEAST_NOISE = 1e8, 1e-6
"""Photons of a pixel that no camera counts; noise relative to an image's contrast that is none."""


class OwnPhotons(Target):
    r"""The image itself, its photons split in two that are independent of each other.

    With the gain :math:`g` and the offset :math:`o` of an image, where its variance against brightness has its slope
    and its zero, a grey level :math:`y` stands for :math:`k = (y - o) / g` photons, rounded at random. A share
    :math:`q`, drawn for every patch, gives the input and the target

    .. math:: k_1 \sim B(k, q), \quad x = k_1 g / q + o, \quad t = (k - k_1) g / (1 - q) + o

    where :math:`B` is the binomial distribution. Of Poisson noise the two are independent. Read noise moves the zero
    of the variance, so that it counts as photons in the dark. Noise that does not grow with brightness is split as
    that of many photons, which is normally distributed.
    """

    name: ClassVar[str] = "self"
    medians: ClassVar[tuple[float, ...]] = (0.0, 0.38, 0.92)

    def exposures(self, share: Share, parameters: TrainingParameters, rng: np.random.Generator) -> Exposures:  # noqa: D102
        return PhotonSplit(share, parameters.patch_size)

    def problem(self, pair: Pair) -> str:  # noqa: D102
        correlated = neighbour_correlation(estimate_noise(pair.low))
        if correlated <= MOST_CORRELATED:
            return ""
        return (
            f"the noise of neighbouring pixels correlates by {correlated:.1f}, as after a filter, an interpolation or "
            "a lossy compression: from the image alone the network would learn to keep it as structure. Train on "
            "images as the camera gave them, on images binned 2 x 2 or more, or on two shots of each field (target "
            "'shot')."
        )

    def warnings(self, pair: Pair) -> list[str]:  # noqa: D102
        noise = estimate_noise(pair.low)
        said, correlated = [], neighbour_correlation(noise)
        if correlated > LEAST_CORRELATED:
            said.append(
                f"The noise of neighbouring pixels correlates by {correlated:.1f}: some of it may be kept as structure."
            )
        if not grows_with_brightness(noise, float(pair.low.mean())):
            said.append("The noise does not grow with brightness: it is taken for normally distributed noise.")
        return said

    def remarks(self, pairs: Sequence[Pair]) -> list[str]:  # noqa: D102
        photons = []
        for pair in evenly_spaced(pairs, MAX_CHECKED):
            noise = estimate_noise(pair.low)
            if grows_with_brightness(noise, float(pair.low.mean())):
                gain, offset = split_of(pair.low, noise)
                photons.append((float(np.percentile(countable(pair.low), BRIGHT)) - offset) / gain)
        return [f"By their noise, bright pixels hold about {np.median(photons):.2g} photons."] if photons else []


class PhotonSplit:
    """Splits the photons of an image anew for every patch."""

    def __init__(self, share: Share, patch_size: int) -> None:
        self._size, self._image = patch_size, share.pair.low[share.region]
        self._gain, self._offset = split_of(share.pair.low, estimate_noise(share.pair.low))

    def draw(
        self, top: int, left: int, rng: np.random.Generator, *, augmented: bool
    ) -> tuple[NDArray[Any], NDArray[Any]]:
        """Return an input and a target patch (Y, X)."""
        image = self._image[top : top + self._size, left : left + self._size]
        photons = np.maximum((image.astype(np.float64) - self._offset) / self._gain, 0)
        # rounded at random, so that their mean stays
        count = np.floor(photons + rng.random(photons.shape)).astype(np.int64)
        share = rng.uniform(*SHARES)
        given = rng.binomial(count, share)
        return given * (self._gain / share) + self._offset, (count - given) * (self._gain / (1 - share)) + self._offset


def split_of(image: NDArray[Any], noise: NoiseModel) -> tuple[float, float]:
    """Return the grey levels of one photon and of none, by the noise of an image (Y, X)."""
    mean = float(image.mean(dtype=np.float64))
    if grows_with_brightness(noise, mean):
        return noise.slope, -noise.intercept / noise.slope
    # of an image without any noise, there must be some to split
    least = LEAST_NOISE * float(image.std(dtype=np.float64))
    variance = max(float(noise.variance(mean)), least**2)
    gain = float(np.sqrt(variance / MANY))
    return gain, mean - variance / gain


def grows_with_brightness(noise: NoiseModel, mean: float) -> bool:
    """Return whether the noise of an image of this mean is that of a number of photons that can be counted."""
    return noise.slope * mean + noise.intercept < MOST * noise.slope**2


def neighbour_correlation(noise: NoiseModel) -> float:
    """Return the largest correlation of the noise of two neighbours along Y or X, offsets of rows and columns too."""
    lags = np.array(noise.correlation)
    nearest = max([*lags[1:2, 0].tolist(), *lags[0, 1:2].tolist()], default=0.0)
    offsets = noise.rows + noise.columns
    return float(max(nearest, 0.0) + offsets / (offsets + noise.least) if offsets else max(nearest, 0.0))
