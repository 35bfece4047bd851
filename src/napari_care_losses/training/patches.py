"""Pairs of low- and high-exposure images, and the patches drawn from them on the fly."""

from __future__ import annotations

import copy
import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from scipy.ndimage import maximum_filter

from napari_care_losses.errors import InputError, UnreadableError
from napari_care_losses.images.normalization import countable
from napari_care_losses.training.pair_checks import check_images
from napari_care_losses.training.synthetic_noise import SIZE, STRENGTH, levels_map, noise_pool, resized_window

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from napari_care_losses.images.frames import Frames

LOW_PERCENTILES = (1.0, 3.0)
HIGH_PERCENTILES = (99.5, 99.9)
"""Bounds of the percentiles that become 0 and 1, drawn anew for every patch (CSBDeep: for every image)."""

BACKGROUND_THRESHOLD = 0.4
BACKGROUND_PERCENTILE = 99.9
"""A patch is background where the brightest clean pixel near its centre stays under this part of that percentile."""

VALIDATION_SHARE = 5
"""One image in this many validates: the paper's split of 4:1."""

GAIN, OFFSET, NOISE = 0.5, 0.1, 0.1
"""How far patches vary: gain up to a factor of 2**0.5 either way, offset and standard deviation of added noise in units
of the image's range."""

MAX_CENTRES = 200_000
"""Patch centres kept of one image, drawn at random where there are more."""

Batch = tuple["NDArray[np.float32]", "NDArray[np.float32]"]
"""Low and high patches, float32 arrays (N, 1, Y, X), normalised."""


@dataclass(frozen=True)
class Pair:
    """A low-exposure image and the high-exposure image of the same field of view.

    Parameters
    ----------
    low, high : array (Y, X)
        Any real dtype; same shape.
    name : str
        Used in messages and in the model's provenance.

    Raises
    ------
    InputError
        If the shapes differ, an image is constant or holds NaN or infinite values, or the two are identical.
    """

    low: NDArray[Any]
    high: NDArray[Any]
    name: str

    def __post_init__(self) -> None:
        try:
            check_images(self.low, self.high)
        except InputError as error:
            raise InputError(f"Pair {self.name}: {error}") from error


def pairs_from_frames(low: Frames, high: Frames, name: str) -> list[Pair]:
    """Pair frame i of one stack with frame i of another.

    Raises
    ------
    InputError
        If the stacks differ in number or shape of frames, or a pair is unusable.
    """
    if low.shape != high.shape:
        raise InputError(f"{name}: low and high must have the same shape, found {low.shape} and {high.shape}.")
    count = len(low)
    try:
        return [Pair(low[i], high[i], f"{name}[{i}]" if count > 1 else name) for i in range(count)]
    except UnreadableError as error:
        raise UnreadableError(f"{name}: {error}") from error


def fingerprint(pairs: Sequence[Pair]) -> str:
    """Return a short digest of the pairs, from their shapes and a grid of their pixels."""
    digest = hashlib.sha256()
    for pair in pairs:
        for image in (pair.low, pair.high):
            digest.update(f"{image.shape}{image.dtype.str}".encode())
            digest.update(np.ascontiguousarray(image[::31, ::31]).tobytes())
    return digest.hexdigest()[:16]


class Share(NamedTuple):
    """The part of a pair that trains or validates."""

    pair: Pair
    region: tuple[slice, slice]
    validates: bool


def split_pairs(pairs: Sequence[Pair], patch_size: int, rng: np.random.Generator) -> list[Share]:
    """Split pairs 4:1 into training and validation: by image, a single pair by region.

    Parameters
    ----------
    pairs : sequence of Pair
        At least one.
    patch_size : int
        Smallest width a region of a single pair must have, in pixels.
    rng : numpy.random.Generator
        Chooses which images validate.

    Raises
    ------
    InputError
        If there is no pair, or a single one is too small to be split.
    """
    if not pairs:
        raise InputError("Training needs at least one pair of a low and a high image.")
    if len(pairs) == 1:
        training, validation = _split_region(pairs[0].low.shape, patch_size, pairs[0].name)
        return [Share(pairs[0], training, False), Share(pairs[0], validation, True)]
    count = max(1, round(len(pairs) / VALIDATION_SHARE))
    chosen = set(rng.permutation(len(pairs))[:count].tolist())
    whole = (slice(None), slice(None))
    return [Share(pair, whole, i in chosen) for i, pair in enumerate(pairs)]


def _split_region(
    shape: tuple[int, ...], patch_size: int, name: str
) -> tuple[tuple[slice, slice], tuple[slice, slice]]:
    """Give the last fifth of the longer side, at least one patch wide, to validation."""
    height, width = shape
    longer = max(height, width)
    held_out = max(patch_size, longer // VALIDATION_SHARE)
    if longer - held_out < patch_size or min(shape) < patch_size:
        raise InputError(
            f"Pair {name} is {height} x {width} px: a single pair is split into two regions, so it must be at least "
            f"{2 * patch_size} x {patch_size} px at a patch size of {patch_size}."
        )
    whole, cut = slice(None), longer - held_out
    if height >= width:
        return (slice(0, cut), whole), (slice(cut, None), whole)
    return (whole, slice(0, cut)), (whole, slice(cut, None))


class PatchSource:
    """Draws normalised patches from one pair.

    Parameters
    ----------
    share : Share
        The images and the region to draw from. Percentiles are those of the whole images.
    patch_size : int
        Width of the square patches, in pixels.
    background_filter : bool
        Keep only patches with signal near the centre, as CSBDeep does: where
        ``maximum_filter(high, patch_size // 2) > 0.4 * percentile(high, 99.9)``.
    rng : numpy.random.Generator
        Chooses the centres kept where there are more than `MAX_CENTRES`.
    vary_levels : bool
        Draw a gain and an offset for every augmented patch, the same for both exposures.
    vary_noise : bool
        Add Gaussian noise of a strength drawn anew to every augmented low patch.
    redraw_noise : bool
        Make augmented low patches from the high ones, with noise of the pair, stronger or weaker. A pair whose noise
        cannot be drawn anew (`redrawing.noise_pool`) gives its own low patches.
    vary_size : bool
        Enlarge or shrink the structure too; implies `redraw_noise`.
    match_levels : bool
        Bring the clean patches to the low image's grey levels, by least squares over the pair, instead of to a range of
        their own.

    Raises
    ------
    InputError
        If a patch does not fit.
    """

    def __init__(
        self,
        share: Share,
        *,
        patch_size: int,
        background_filter: bool,
        rng: np.random.Generator,
        vary_levels: bool = False,
        vary_noise: bool = False,
        redraw_noise: bool = False,
        vary_size: bool = False,
        match_levels: bool = False,
    ) -> None:
        pair = share.pair
        self._vary_levels, self._vary_noise = vary_levels, vary_noise
        self._low = _Levels(pair.low)
        self._high = self._low.seen_by(pair) if match_levels else _Levels(pair.high)
        self._low_image, self._high_image = pair.low[share.region], pair.high[share.region]
        self._vary_size = vary_size
        redraws = redraw_noise or vary_size
        self._noise = noise_pool(self._low_image, self._high_image, rng) if redraws else None
        self._patch_size = patch_size
        rows, columns = (size - patch_size + 1 for size in self._high_image.shape)
        if rows < 1 or columns < 1:
            height, width = self._high_image.shape
            raise InputError(
                f"Pair {pair.name} is {height} x {width} px, too small for patches of {patch_size} px: "
                "choose a smaller patch size or leave the pair out."
            )
        self._columns = columns
        self._corners = np.arange(rows * columns)
        if background_filter:
            half = patch_size // 2
            threshold = BACKGROUND_THRESHOLD * np.percentile(countable(pair.high), BACKGROUND_PERCENTILE)
            bright = maximum_filter(countable(self._high_image), half, mode="constant") > threshold
            kept = np.flatnonzero(bright[half : half + rows, half : half + columns])
            self._corners = kept if kept.size else self._corners
        if self._corners.size > MAX_CENTRES:
            self._corners = rng.choice(self._corners, MAX_CENTRES, replace=False)
        self._corners = self._corners.astype(np.uint32)

    def draw(self, rng: np.random.Generator, *, augmented: bool) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Draw one pair of patches, float32 arrays (Y, X), normalised.

        Parameters
        ----------
        rng : numpy.random.Generator
            Source of place, percentiles and augmentation.
        augmented : bool
            Whether percentiles vary, patches are flipped and turned, and whatever else this source varies; otherwise
            the mean percentiles are used.
        """
        top, left = divmod(int(self._corners[rng.integers(self._corners.size)]), self._columns)
        low, high = self._exposures(top, left, rng, augmented=augmented)
        low_percentile = rng.uniform(*LOW_PERCENTILES) if augmented else sum(LOW_PERCENTILES) / 2
        high_percentile = rng.uniform(*HIGH_PERCENTILES) if augmented else sum(HIGH_PERCENTILES) / 2
        low = self._low.normalized(low, low_percentile, high_percentile)
        high = self._high.normalized(high, low_percentile, high_percentile)
        if augmented:
            turns, flipped = int(rng.integers(4)), bool(rng.integers(2))
            low, high = (np.rot90(patch[:, ::-1] if flipped else patch, turns) for patch in (low, high))
            low, high = self._varied(low, high, rng)
        return low, high

    def _exposures(
        self, top: int, left: int, rng: np.random.Generator, *, augmented: bool
    ) -> tuple[NDArray[Any], NDArray[Any]]:
        size = self._patch_size
        if self._noise is None or not augmented:
            window = (slice(top, top + size), slice(left, left + size))
            return self._low_image[window], self._high_image[window]
        factor = 2 ** rng.uniform(-SIZE, SIZE) if self._vary_size else 1.0
        high = resized_window(self._high_image, (top, left), size, factor)
        return self._noise.expose(high, 2 ** rng.uniform(-STRENGTH, STRENGTH), rng), high

    def _varied(
        self, low: NDArray[np.float32], high: NDArray[np.float32], rng: np.random.Generator
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        if self._vary_levels:
            gain, offset = np.float32(2 ** rng.uniform(-GAIN, GAIN)), np.float32(rng.uniform(-OFFSET, OFFSET))
            low, high = low * gain + offset, high * gain + offset
        if self._vary_noise:
            strength = np.float32(rng.uniform(0, NOISE))
            low = low + strength * rng.standard_normal(low.shape, np.float32)
        return low, high


def draw_batch(
    sources: Sequence[PatchSource], count: int, rng: np.random.Generator, *, augmented: bool = True
) -> Batch:
    """Draw `count` patches from images chosen at random."""
    drawn = [sources[int(rng.integers(len(sources)))].draw(rng, augmented=augmented) for _ in range(count)]
    low, high = zip(*drawn, strict=True)
    return np.stack(low)[:, None], np.stack(high)[:, None]


class _Levels:
    """Percentiles of an image within the bounds training draws from, linear between knots.

    With a gain and an offset, the grey levels of patches are mapped by them first.
    """

    KNOTS = 9

    def __init__(self, image: NDArray[Any]) -> None:
        self._gain, self._offset = np.float32(1), np.float32(0)
        self._low_knots = np.linspace(*LOW_PERCENTILES, self.KNOTS)
        self._high_knots = np.linspace(*HIGH_PERCENTILES, self.KNOTS)
        levels = np.percentile(countable(image), np.concatenate([self._low_knots, self._high_knots]))
        self._low_levels, self._high_levels = levels[: self.KNOTS], levels[self.KNOTS :]

    def seen_by(self, pair: Pair) -> _Levels:
        """Return the same percentiles, of the low image of a pair, for its high one."""
        gain, offset = levels_map(pair.low, pair.high)
        if gain < 0:
            # of a field with nothing in it to see: the low image without its noise is even
            gain, offset = 0.0, float(pair.low.mean())
        levels = copy.copy(self)
        levels._gain, levels._offset = np.float32(gain), np.float32(offset)
        return levels

    def normalized(self, patch: NDArray[Any], low_percentile: float, high_percentile: float) -> NDArray[np.float32]:
        low = np.interp(low_percentile, self._low_knots, self._low_levels)
        high = np.interp(high_percentile, self._high_knots, self._high_levels)
        width = high - low if high > low else 1.0
        normalized: NDArray[np.float32] = ((self._gain * patch + (self._offset - low)) / width).astype(np.float32)
        return normalized
