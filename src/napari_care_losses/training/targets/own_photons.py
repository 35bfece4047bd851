"""The noisy images alone: their photons are split into an input and a target."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from napari_care_losses.images.checks import countable
from napari_care_losses.images.noise.estimate import estimate_noise
from napari_care_losses.images.noise.photons import draw_photons, light_around, read_noise_of
from napari_care_losses.images.sampling import evenly_spaced
from napari_care_losses.training.targets.base import (
    LEAST_CORRELATED,
    MAX_CHECKED,
    MOST_CORRELATED,
    Exposures,
    Target,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from napari_care_losses.images.noise.model import NoiseModel
    from napari_care_losses.training.pairs import Pair, Share
    from napari_care_losses.training.parameters import TrainingParameters

SHARES = (0.6, 0.95)
"""Least and largest share of the photons that the network is given; the rest is its target."""

BRIGHT = 99.0
"""Percentile of an image that stands for its bright pixels."""

MANY = 1e4
"""Photons of a pixel at which their noise is as good as normally distributed."""

LEAST_READ_NOISE = 0.25
"""Variance of the read noise, in photons squared, below which it is not told from the photons: gains that vary from
photon to photon, as of EMCCDs, would be taken for it."""

MARGIN, WIDE = 12, 6.0
"""Pixels beside a patch from which what lies around its pixels is known; sigma in pixels of the Gaussian by which
levels below black are spread, so wide that the noise of none is seen in it."""

MOST, LEAST_NOISE = 1e8, 1e-6
"""Photons of a pixel that no camera counts; noise relative to an image's contrast that is none."""


class OwnPhotons(Target):
    r"""The image itself, its photons split in two that are independent of each other.

    With the gain :math:`g` and the offset :math:`o` of an image, where its variance against brightness has its slope
    and its zero, a grey level :math:`y` stands for :math:`k = (y - o) / g` photons, rounded at random. A share
    :math:`q`, drawn for every patch, gives the input and the target

    .. math:: k_1 \sim B(k, q), \quad x = k_1 g / q + o, \quad t = (k - k_1) g / (1 - q) + o

    where :math:`B` is the binomial distribution. Of Poisson noise the two are independent.

    Read noise moves the zero of the variance, and levels below black would be lost. So where it is more than half a
    photon, :math:`k` is drawn from its distribution given :math:`y` and the light around it
    (`napari_care_losses.images.noise.photons`), and the rest :math:`n = y - o - k g`, of variance :math:`s^2`, is split
    too, :math:`n_1 \sim N(q n, q (1 - q) s^2)`: both sums are independent (data thinning, Neufeld et al. 2024,
    arXiv:2301.07276). Noise that does not grow with brightness is split as that of many photons, which
    is normally distributed. The mean of input and target is always the image's.
    """

    name: ClassVar[str] = "self"
    medians: ClassVar[tuple[float, ...]] = (0.0, 0.38, 0.92)

    def exposures(self, share: Share, parameters: TrainingParameters, rng: np.random.Generator) -> Exposures:  # noqa: D102
        return PhotonSplit(share, parameters.patch_size)

    def problem(self, pair: Pair) -> str:  # noqa: D102
        along = estimate_noise(pair.low).neighbour_correlations
        if max(along) <= MOST_CORRELATED:
            return ""
        start = f"the noise of neighbouring pixels correlates by {max(along):.1f}"
        if min(along) <= MOST_CORRELATED:
            which = "rows" if along[1] > along[0] else "columns"
            return (
                f"{start} along {which}, as by the lines of a camera or a scan: the network would learn to keep it "
                f"as structure. Choose the target 'blind_spots', which hides whole {which}, with a loss that compares "
                "pixel by pixel (mse)."
            )
        return (
            f"{start}, as after a filter, an interpolation or a lossy compression: from the image alone the network "
            "would learn to keep it as structure. Train on images as the camera gave them, on images binned 2 x 2 or "
            "more, or on two shots of each field (target 'shot')."
        )

    def warnings(self, pair: Pair) -> list[str]:  # noqa: D102
        noise = estimate_noise(pair.low)
        said, correlated = [], max(noise.neighbour_correlations)
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
                gain, black, _ = split_of(pair.low, noise)
                photons.append((float(np.percentile(countable(pair.low), BRIGHT)) - black) / gain)
        return [f"By their noise, bright pixels hold about {np.median(photons):.2g} photons."] if photons else []


class PhotonSplit:
    """Splits the photons of an image anew for every patch."""

    def __init__(self, share: Share, patch_size: int) -> None:
        self._size, self._image = patch_size, share.pair.low[share.region]
        self._gain, self._black, self._read_noise = split_of(share.pair.low, estimate_noise(share.pair.low))

    def draw(
        self, top: int, left: int, rng: np.random.Generator, *, augmented: bool
    ) -> tuple[NDArray[Any], NDArray[Any]]:
        """Return an input and a target patch (Y, X)."""
        from scipy.ndimage import gaussian_filter

        around = tuple(slice(max(0, start - MARGIN), start + self._size + MARGIN) for start in (top, left))
        patch = tuple(slice(min(start, MARGIN), min(start, MARGIN) + self._size) for start in (top, left))
        levels = (self._image[around].astype(np.float64) - self._black) / self._gain
        share = rng.uniform(*SHARES)
        if self._read_noise:
            light, levels = light_around(levels)[patch], levels[patch]
            count = draw_photons(levels, light, self._read_noise, rng)
            rest = levels - count
            deviation = np.sqrt(share * (1 - share) * self._read_noise)
            given_rest = share * rest + deviation * rng.standard_normal(rest.shape)
        else:
            # what lies below black is taken from all around, so that no pixel shows its own in both
            below = gaussian_filter(np.minimum(levels, 0), WIDE, truncate=MARGIN / WIDE)
            rest, levels = below[patch], np.maximum(levels[patch], 0)
            # rounded at random, so that their mean stays
            count = np.floor(levels + rng.random(levels.shape))
            given_rest = share * rest
        given = rng.binomial(count.astype(np.int64), share) + given_rest
        kept = count + rest - given
        return given * (self._gain / share) + self._black, kept * (self._gain / (1 - share)) + self._black


def split_of(image: NDArray[Any], noise: NoiseModel) -> tuple[float, float, float]:
    """Return how the noise of an image (Y, X) is split.

    Returns
    -------
    gain, black : float
        The grey levels of one photon more, and of none.
    read_noise : float
        Its variance in photons squared; 0 where it is left in the photons.
    """
    mean = float(image.mean(dtype=np.float64))
    if grows_with_brightness(noise, mean):
        gain, offset = noise.slope, -noise.intercept / noise.slope
        read_noise = read_noise_of((image.astype(np.float64) - offset) / gain)
        read_noise = read_noise if read_noise >= LEAST_READ_NOISE else 0.0
        return gain, offset + gain * read_noise, read_noise
    # of an image without any noise, there must be some to split
    least = LEAST_NOISE * float(image.std(dtype=np.float64))
    variance = max(float(noise.variance(mean)), least**2)
    gain = float(np.sqrt(variance / MANY))
    return gain, mean - variance / gain, 0.0


def grows_with_brightness(noise: NoiseModel, mean: float) -> bool:
    """Return whether the noise of an image of this mean is that of a number of photons that can be counted."""
    return noise.slope * mean + noise.intercept < MOST * noise.slope**2
