"""Patches drawn from pairs of images while a network trains."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.ndimage import maximum_filter

from napari_care_losses.errors import InputError
from napari_care_losses.images.checks import countable
from napari_care_losses.images.neighbours import among
from napari_care_losses.training.pairs import Pair, Share, images_reader, split_pairs, usable_pairs
from napari_care_losses.training.targets.registry import TARGETS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from napari_care_losses.training.pair_sources import PairSource
    from napari_care_losses.training.parameters import TrainingParameters

LOW_PERCENTILES = (1.0, 3.0)
HIGH_PERCENTILES = (99.5, 99.9)
"""Ranges of the percentiles that become 0 and 1: drawn at random for every patch (CSBDeep: for every image)."""

BACKGROUND_THRESHOLD, BACKGROUND_PERCENTILE = 0.4, 99.9
"""A patch is background if the brightest pixel near its centre is below this part of the high image's percentile."""

GAIN, OFFSET, NOISE = 0.5, 0.1, 0.1
"""Limits of the random changes: gain 2**-0.5 to 2**0.5; offset and noise's standard deviation in units of the range."""

MAX_CENTRES = 200_000
"""Largest number of patch centres kept for one image; of more, some are chosen at random."""

MAX_SAMPLED_IMAGES = 6
"""Largest number of images that sample patches come from: every one has to be read."""

Batch = tuple["NDArray[np.float32]", "NDArray[np.float32]"]
"""Low and high patches, float32 arrays (N, 1, Y, X), normalised; the low ones (N, 1 + neighbours, Y, X) with those."""


class PatchSource:
    """Draws normalised patches from one pair, as its target says.

    Percentiles are those of the whole images; the frames around an image have the image's. With `background_filter`,
    patches have signal near the centre as in CSBDeep:
    ``maximum_filter(high, patch_size // 2) > 0.4 * percentile(high, 99.9)``; where the target is noisy, the blurred low
    image takes the place of the high one.

    Parameters
    ----------
    share : Share
        The images and the region to draw from.
    parameters : TrainingParameters
        The patch size, and how patches are chosen and varied.
    rng : numpy.random.Generator
        Chooses the centres and the noise that are kept.

    Raises
    ------
    InputError
        If the region is smaller than a patch.
    """

    def __init__(self, share: Share, parameters: TrainingParameters, rng: np.random.Generator) -> None:
        pair = share.pair
        self._parameters, patch_size = parameters, parameters.patch_size
        target = TARGETS[parameters.target]
        self._low = _Levels(pair.low)
        level_map = target.level_map(pair, matches=parameters.match_levels)
        self._high = _Levels(pair.second) if level_map is None else self._low.after(*level_map)
        self._exposures = target.exposures(share, parameters, rng)
        height, width = pair.low[share.region].shape
        rows, columns = height - patch_size + 1, width - patch_size + 1
        if rows < 1 or columns < 1:
            raise InputError(
                f"Pair {pair.name} is {height} x {width} px, too small for patches of {patch_size} px: "
                "choose a smaller patch size or leave the pair out."
            )
        self._around = () if pair.around is None else tuple(image[share.region] for image in pair.around.low)
        self._columns = columns
        self._corners = np.arange(rows * columns)
        if parameters.background_filter:
            half, visible = patch_size // 2, countable(target.visible(pair))
            threshold = BACKGROUND_THRESHOLD * np.percentile(visible, BACKGROUND_PERCENTILE)
            bright = maximum_filter(visible[share.region], half, mode="constant") > threshold
            kept = np.flatnonzero(bright[half : half + rows, half : half + columns])
            self._corners = kept if kept.size else self._corners
        if self._corners.size > MAX_CENTRES:
            self._corners = rng.choice(self._corners, MAX_CENTRES, replace=False)
        self._corners = self._corners.astype(np.uint32)

    def draw(self, rng: np.random.Generator, *, augmented: bool) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Draw a low and a high patch, float32 (Y, X), normalised; low with its neighbours is (1 + neighbours, Y, X).

        Augmented patches are flipped, rotated, their neighbours reversed, and varied as the parameters say, and their
        percentiles are random; the others have the mean percentiles.
        """
        top, left = divmod(int(self._corners[rng.integers(self._corners.size)]), self._columns)
        low, high = self._exposures.draw(top, left, rng, augmented=augmented)
        if low.ndim == 2:
            height, width = low.shape
            low = among([image[top : top + height, left : left + width] for image in self._around], low)
        low_percentile = rng.uniform(*LOW_PERCENTILES) if augmented else sum(LOW_PERCENTILES) / 2
        high_percentile = rng.uniform(*HIGH_PERCENTILES) if augmented else sum(HIGH_PERCENTILES) / 2
        low = self._low.normalized(low, low_percentile, high_percentile)
        high = self._high.normalized(high, low_percentile, high_percentile)
        if augmented:
            turns, flipped = int(rng.integers(4)), bool(rng.integers(2))
            low, high = (
                np.rot90(patch[..., ::-1] if flipped else patch, turns, axes=(-2, -1)) for patch in (low, high)
            )
            if self._around and rng.integers(2):
                low = low[::-1]
            if self._parameters.vary_levels:
                gain, offset = np.float32(2 ** rng.uniform(-GAIN, GAIN)), np.float32(rng.uniform(-OFFSET, OFFSET))
                low, high = low * gain + offset, high * gain + offset
            if self._parameters.vary_noise:
                strength = np.float32(rng.uniform(0, NOISE))
                low = low + strength * rng.standard_normal(low.shape, np.float32)
        return low, high


def draw_batch(
    sources: Sequence[PatchSource], count: int, rng: np.random.Generator, *, augmented: bool = True
) -> Batch:
    """Draw `count` patches from images chosen at random."""
    drawn = [sources[int(rng.integers(len(sources)))].draw(rng, augmented=augmented) for _ in range(count)]
    low, high = zip(*drawn, strict=True)
    size = high[0].shape
    return np.stack(low).reshape(count, -1, *size), np.stack(high)[:, None]


def draw_validation(sources: Sequence[PatchSource], parameters: TrainingParameters) -> list[Batch]:
    """Draw the validation patches in batches; equal seeds give equal patches."""
    rng = np.random.default_rng([parameters.seed, 1])
    sizes = [parameters.batch_size] * (parameters.validation_patches // parameters.batch_size)
    rest = parameters.validation_patches % parameters.batch_size
    return [draw_batch(sources, count, rng, augmented=False) for count in [*sizes, rest] if count]


def sample_patches(
    sources: Sequence[PairSource], parameters: TrainingParameters, count: int, rng: np.random.Generator
) -> Batch:
    """Draw `count` patches as a training does, from a few frames chosen at random.

    Raises
    ------
    InputError
        If there is no pair, one cannot be used, or a patch does not fit.
    """
    if not sources:
        raise InputError("Training needs at least one pair of images, or one noisy image.")
    target = TARGETS[parameters.target]
    places = [(source, place) for source in sources for place in target.places(source.opened()[0])]
    pairs: list[Pair] = []
    left_out: list[str] = []
    for place in rng.permutation(len(places))[:MAX_SAMPLED_IMAGES]:
        source, frames = places[place]
        low, high = source.opened()
        read = images_reader(low, high, parameters.neighbours, parameters.neighbours_along, source.name)
        images = read(frames)
        try:
            pairs.append(Pair(images.low, images.high, source.name, images.around))
        except InputError as error:
            left_out.append(str(error))
    pairs = usable_pairs(pairs, left_out, parameters.patch_size)
    if len(places) == 1:
        # a training splits a single image into regions: the validation region is left out
        shares = split_pairs(pairs, parameters.patch_size, rng)[:1]
    else:
        shares = [Share(pair, (slice(None), slice(None)), False) for pair in pairs]
    return draw_batch([PatchSource(share, parameters, rng) for share in shares], count, rng)


class _Levels:
    """Percentiles of an image in the ranges that training draws from, linear between knots.

    Patches are first mapped by a gain and an offset, which `after` sets.
    """

    KNOTS = 9

    def __init__(self, image: NDArray[Any]) -> None:
        self._gain, self._offset = np.float32(1), np.float32(0)
        self._low_knots = np.linspace(*LOW_PERCENTILES, self.KNOTS)
        self._high_knots = np.linspace(*HIGH_PERCENTILES, self.KNOTS)
        levels = np.percentile(countable(image), np.concatenate([self._low_knots, self._high_knots]))
        self._low_levels, self._high_levels = levels[: self.KNOTS], levels[self.KNOTS :]

    def after(self, gain: float, offset: float) -> _Levels:
        """Return these levels for patches that a gain and an offset bring to the image's grey levels."""
        levels = copy.copy(self)
        levels._gain, levels._offset = np.float32(gain), np.float32(offset)
        return levels

    def normalized(self, patch: NDArray[Any], low_percentile: float, high_percentile: float) -> NDArray[np.float32]:
        low = np.interp(low_percentile, self._low_knots, self._low_levels)
        high = np.interp(high_percentile, self._high_knots, self._high_levels)
        width = high - low if high > low else 1.0
        normalized: NDArray[np.float32] = ((self._gain * patch + (self._offset - low)) / width).astype(np.float32)
        return normalized
