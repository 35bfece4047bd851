"""Pairs of a low and a high exposure, and which of them train and which validate."""

from __future__ import annotations

import hashlib
import math
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from napari_care_losses.errors import InputError, UnreadableError
from napari_care_losses.images.axes import truth_of
from napari_care_losses.images.checks import unusable
from napari_care_losses.models.model import NEIGHBOUR_AXIS, NEIGHBOUR_SPACING
from napari_care_losses.training.neighbours import Around, AroundReader
from napari_care_losses.training.parameters import TrainingParameters

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from napari_care_losses.images.frames import Frames

VALIDATION_SHARE = 5
"""One image in this many validates: the paper's split of 4:1."""


@dataclass(frozen=True)
class Pair:
    """A low-exposure image and the high-exposure image, or another noisy one, of the same field of view.

    Parameters
    ----------
    low, high : array (Y, X)
        Any real dtype; same shape. `high` is None where the network is to learn from the low image alone.
    name : str
        Used in messages and in the model's provenance.
    around : Around, optional
        The frames around it in its stack, for networks that read them too.

    Raises
    ------
    InputError
        If the shapes differ, an image is constant or holds values that are NaN, infinite or beyond float32, or the two
        are identical.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> clean = rng.random((64, 64))
    >>> pair = Pair(clean + rng.normal(0, 0.1, clean.shape), clean, "field 1")
    >>> pair.low.shape
    (64, 64)
    """

    low: NDArray[Any]
    high: NDArray[Any] | None
    name: str
    around: Around | None = None

    def __post_init__(self) -> None:
        try:
            check_images(self.low, self.high)
            check_around(self.low, self.around)
        except InputError as error:
            what = f"Pair {self.name}" if self.high is not None else self.name
            raise InputError(f"{what}: {error}") from error

    @property
    def second(self) -> NDArray[Any]:
        """The high image; raises `InputError` where there is none."""
        if self.high is None:
            raise InputError(f"{self.name} has no second image.")
        return self.high


def pairs_from_frames(
    low: Frames,
    high: Frames | None,
    name: str,
    *,
    places: Sequence[tuple[int, ...]] | None = None,
    left_out: list[str] | None = None,
    neighbours: int = 0,
    along: str = "auto",
) -> list[Pair]:
    """Pair frame i of one stack with frame i of another, or with its only one: the truth of all frames of a movie.

    Without `high`, the frames are alone, or paired with one another: `places` has the numbers of both, or of the one,
    as `napari_care_losses.training.targets.base.Target.places` gives them. A pair is named by the number that its
    frame has in the whole stack. With `left_out`, pairs that cannot be learnt from are left out, and the reasons added
    there. With `neighbours`, so many frames around each are read too, `along` an axis of
    `napari_care_losses.images.neighbours.ALONG`.

    Raises
    ------
    InputError
        If the stacks differ in number or shape of frames, without `left_out` a pair is unusable, or frames have no
        neighbours.

    Examples
    --------
    >>> from napari_care_losses.images.frames import Frames
    >>> clean = np.random.default_rng(0).random((3, 64, 64))
    >>> noisy = clean + np.random.default_rng(1).normal(0, 0.1, clean.shape)
    >>> [pair.name for pair in pairs_from_frames(Frames(noisy), Frames(clean), "movie")]
    ['movie[0]', 'movie[1]', 'movie[2]']
    """
    if high is not None:
        high = truth_of(high, low)
        if low.shape != high.shape:
            raise InputError(f"{name}: low and high must have the same shape, found {low.shape} and {high.shape}.")
    whole = low.data.shape[:-2]
    read = images_reader(low, high, neighbours, along, name)
    pairs = []
    for place in places or [(index,) for index in range(len(low))]:
        number = f"[{np.ravel_multi_index(low.position(place[0]), whole)}]" if math.prod(whole) > 1 else ""
        try:
            images = read(place)
            pairs.append(Pair(images.low, images.high, name + number, images.around))
        except UnreadableError as error:
            raise UnreadableError(f"{name}: {error}") from error
        except InputError as error:
            if left_out is None:
                raise
            left_out.append(str(error))
    return pairs


class Images(NamedTuple):
    """What a pair is made of: two frames of one stack, a frame of each, or one alone; and the frames around it."""

    low: NDArray[Any]
    high: NDArray[Any] | None
    around: Around | None = None


def images_reader(
    low: Frames, high: Frames | None, neighbours: int = 0, along: str = "auto", name: str = ""
) -> Callable[[tuple[int, ...]], Images]:
    """Return what reads the images at a place; raises `InputError`, with a name, if there are no neighbours."""
    if neighbours:
        try:
            around = AroundReader(low, high, neighbours, along)
        except InputError as error:
            raise InputError(f"{name}: {error}" if name else str(error)) from error

    def read(place: tuple[int, ...]) -> Images:
        if neighbours:
            return Images(*around.read(place[0]))
        if len(place) > 1:
            return Images(low[place[0]], low[place[1]])
        return Images(low[place[0]], None if high is None else high[place[0]])

    return read


def usable_pairs(pairs: Sequence[Pair], left_out: list[str], patch_size: int) -> list[Pair]:
    """Return the pairs without those smaller than a patch, unless all are; the reasons are added to `left_out`.

    Raises
    ------
    InputError
        If there are none because all are in `left_out` already: the first reason.
    """
    if not pairs and left_out:
        raise InputError(left_out[0])
    large = [pair for pair in pairs if min(pair.low.shape) >= patch_size]
    if not large:
        return list(pairs)
    left_out += [
        f"Pair {pair.name}: {' x '.join(map(str, pair.low.shape))} px are too small for patches of {patch_size} px."
        for pair in pairs
        if min(pair.low.shape) < patch_size
    ]
    return large


def size_problem(shapes: Sequence[tuple[int, ...]], patch_size: int) -> str:
    """Return why images of these shapes (Y, X) are too small to train on, and what to do; empty if they are not.

    Images smaller than a patch are left out, unless all are. A single image that is left must hold two patches.

    Examples
    --------
    >>> size_problem([(100, 50), (100, 128)], 64)
    ''
    >>> size_problem([(100, 50), (20, 200)], 64)
    '100 x 50 px are too small for patches of 64 px: choose a smaller patch size, or larger images.'
    >>> size_problem([(100, 120), (20, 200)], 64).partition(". ")[0]
    '100 x 120 px are too small for patches of 64 px'
    """
    largest = max(shapes, key=min)
    count = sum(min(shape) >= patch_size for shape in shapes) or len(shapes)
    most = min(largest) if count > 1 else min(*largest, max(largest) // 2)
    if patch_size <= most:
        return ""
    problem = f"{' x '.join(map(str, largest))} px are too small for patches of {patch_size} px"
    smaller = "a smaller patch size, or " if most >= int(TrainingParameters.described()["patch_size"].low) else ""
    if min(largest) < patch_size:
        return f"{problem}: choose {smaller}larger images."
    return (
        f"{problem}. A single image is split into a part that trains and a part that validates, so it must be at least "
        f"{2 * patch_size} x {patch_size} px: {'choose a smaller patch size, or ' if smaller else ''}add another image."
    )


def check_sizes(pairs: Sequence[Pair], patch_size: int) -> None:
    """Check that pairs can be split into training and validation, and are large enough for patches.

    Raises
    ------
    InputError
        If there is no pair, or all are too small.
    """
    if not pairs:
        raise InputError("Training needs at least one pair of images, or one noisy image.")
    problem = size_problem([pair.low.shape for pair in pairs], patch_size)
    if problem:
        raise InputError(
            f"Pair {pairs[0].name}: {problem}" if len(pairs) == 1 else f"No pair is large enough: {problem}"
        )


def check_images(low: NDArray[Any], high: NDArray[Any] | None) -> None:
    """Check that two images (Y, X) of real numbers, or one alone, can be learnt from; raises as `Pair` does."""
    if high is not None and low.shape != high.shape:
        raise InputError(f"low and high must have the same shape, found {low.shape} and {high.shape}.")
    for which, image in (("low", low), ("high", high)):
        if image is None:
            continue
        problem = unusable(image)
        if problem:
            raise InputError(f"in the {which} image {problem} first.")
        if image.min() == image.max():
            raise InputError(f"the {which} image is constant: there is nothing to learn from it.")
    if high is not None and np.array_equal(low, high):
        raise InputError("low and high hold the same image: choose the two exposures.")


def check_around(low: NDArray[Any], around: Around | None) -> None:
    """Check that the frames around an image (Y, X) can be read with it; raises as `Pair` does."""
    for image in () if around is None else (*around.low, *around.high):
        if image.shape != low.shape:
            raise InputError(f"a neighbouring frame must have the shape {low.shape}, found {image.shape}.")
        problem = unusable(image)
        if problem:
            raise InputError(f"in a neighbouring frame {problem} first.")


def check_neighbours(pairs: Sequence[Pair], count: int, of_model: int) -> None:
    """Check that pairs have so many frames around them, as many as the model to start from reads, unless 0.

    Raises
    ------
    InputError
        If they have others.
    """
    if of_model not in (0, count):
        raise InputError(
            f"The model to start from reads {of_model} neighbouring frames, not {count}: choose {of_model}, or another "
            "model."
        )
    for pair in pairs:
        found = 0 if pair.around is None else len(pair.around.low)
        if found != count:
            raise InputError(f"{pair.name}: expected {count} neighbouring frames around every image, found {found}.")


def neighbour_provenance(pairs: Sequence[Pair]) -> dict[str, Any]:
    """Return axis and spacing of the neighbours of pairs, for a model's card; nothing where they have none.

    Where pairs differ, they are those of most of them; None where a spacing is not known.
    """
    around = [pair.around for pair in pairs if pair.around is not None]
    if not around:
        return {}
    axis = Counter(one.axis for one in around).most_common(1)[0][0]
    spacing = Counter(one.spacing for one in around if one.axis == axis).most_common(1)[0][0]
    return {NEIGHBOUR_AXIS: axis, NEIGHBOUR_SPACING: spacing}


def fingerprint(pairs: Sequence[Pair]) -> str:
    """Return a short digest of the pairs, from their shapes and a grid of their pixels."""
    digest = hashlib.sha256()
    for pair in pairs:
        for image in (pair.low, pair.high, *(pair.around.low if pair.around else ())):
            if image is None:
                continue
            digest.update(f"{image.shape}{image.dtype.str}".encode())
            digest.update(np.ascontiguousarray(image[::31, ::31]).tobytes())
    return digest.hexdigest()[:16]


class Share(NamedTuple):
    """The part of a pair that trains or validates."""

    pair: Pair
    region: tuple[slice, slice]
    validates: bool


def split_pairs(pairs: Sequence[Pair], patch_size: int, rng: np.random.Generator) -> list[Share]:
    """Split pairs 4:1 into training and validation: by image at random, a single pair into regions of a patch at least.

    Raises
    ------
    InputError
        As `check_sizes` does.
    """
    check_sizes(pairs, patch_size)
    if len(pairs) == 1:
        return _split_region(pairs[0], patch_size)
    count = max(1, round(len(pairs) / VALIDATION_SHARE))
    chosen = set(rng.permutation(len(pairs))[:count].tolist())
    whole = (slice(None), slice(None))
    return [Share(pair, whole, i in chosen) for i, pair in enumerate(pairs)]


def _split_region(pair: Pair, patch_size: int) -> list[Share]:
    """Give the last fifth of the longer side, at least one patch wide, to validation."""
    height, width = pair.low.shape
    longer = max(height, width)
    cut = longer - max(patch_size, longer // VALIDATION_SHARE)
    parts, whole = (slice(0, cut), slice(cut, None)), slice(None)
    training, validation = ((part, whole) if height >= width else (whole, part) for part in parts)
    return [Share(pair, training, False), Share(pair, validation, True)]
