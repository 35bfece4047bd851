"""Whether two images can be a pair to learn from, and what is doubtful of a pair that can."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from napari_care_losses.core.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from napari_care_losses.core.patches import Pair

SMALLEST_SHIFT = 0.75
"""In pixels: between the exposures of sound pairs, real and simulated, up to 0.4 were found."""

LEAST_EXCESS = 1.25
"""How many times as noisy as the low image, each by its own contrast, the high one must be to be taken for it."""

LARGEST_LOOKED_AT = 1024
"""Height and width of the part, in the middle, that a shift is found from."""

FRAMES_LOOKED_AT = 20
"""Frames of a set of pairs that doubts are looked for in."""


def check_images(low: NDArray[Any], high: NDArray[Any]) -> None:
    """Check that two images (Y, X) of real numbers can be learnt from.

    Raises
    ------
    InputError
        If their shapes differ, one is constant or holds NaN or infinite pixels, or the two are identical.
    """
    if low.shape != high.shape:
        raise InputError(f"low and high must have the same shape, found {low.shape} and {high.shape}.")
    for which, image in (("low", low), ("high", high)):
        if image.dtype.kind == "f" and not np.isfinite(image).all():
            raise InputError(f"the {which} image holds NaN or infinite pixels: replace them first.")
        if image.min() == image.max():
            raise InputError(f"the {which} image is constant: there is nothing to learn from it.")
    if np.array_equal(low, high):
        raise InputError("low and high hold the same image: choose the two exposures.")


def doubts(low: NDArray[Any], high: NDArray[Any]) -> list[str]:
    """Return what is doubtful of a pair that can be learnt from, in sentences; nothing of a sound one.

    Parameters
    ----------
    low, high : array (Y, X) of any real dtype
        As `check_images` lets them pass.
    """
    found = []
    down, right = _shift(low, high)
    if max(abs(down), abs(right)) >= SMALLEST_SHIFT:
        found.append(
            f"The low image lies {abs(down):.1f} px {'below' if down > 0 else 'above'} and {abs(right):.1f} px "
            f"{'right' if right > 0 else 'left'} of the high one: register them, or the model learns to shift and blur."
        )
    if _relative_noise(high) > LEAST_EXCESS * _relative_noise(low):
        found.append("The low image is less noisy than the high one: have the two been swapped?")
    return found


def doubts_of(pairs: Sequence[Pair]) -> Iterator[str]:
    """Yield what is doubtful of pairs, each with its pair's name; of many, some spread over all are looked at."""
    count = min(len(pairs), FRAMES_LOOKED_AT)
    for place in np.linspace(0, len(pairs) - 1, count).round().astype(int):
        pair = pairs[place]
        for doubt in doubts(pair.low, pair.high):
            yield f"Pair {pair.name}: {doubt}"


def _shift(low: NDArray[Any], high: NDArray[Any]) -> tuple[float, float]:
    """Return by how many pixels, down and right, the low image lies off the high one; 0 where that explains nothing."""
    from skimage.registration import phase_cross_correlation

    low, high = _middle(low), _middle(high)
    window = np.outer(np.hanning(low.shape[0] + 2)[1:-1], np.hanning(low.shape[1] + 2)[1:-1]).astype(np.float32)
    # Not the phase alone: the noise of the low image would count as much as its structure.
    moves, _, _ = phase_cross_correlation(high * window, low * window, upsample_factor=10, normalization=None)
    down, right = (-float(move) for move in moves)
    whole = round(down), round(right)
    if max(abs(part) / size for part, size in zip(whole, low.shape, strict=True)) > 0.5:
        return 0.0, 0.0
    return (down, right) if _correlation(low, high, *whole) > _correlation(low, high, 0, 0) else (0.0, 0.0)


def _middle(image: NDArray[Any]) -> NDArray[np.float32]:
    """Return the middle part of an image, of mean 0."""
    part = tuple(
        slice(max(0, (size - LARGEST_LOOKED_AT) // 2), max(0, (size - LARGEST_LOOKED_AT) // 2) + LARGEST_LOOKED_AT)
        for size in image.shape
    )
    cut = image[part].astype(np.float32)
    return cut - cut.mean()


def _correlation(low: NDArray[np.float32], high: NDArray[np.float32], down: int, right: int) -> float:
    """Return how well two images correlate where they overlap, the low one `down` and `right` of the high one."""
    height, width = low.shape
    moved = low[max(down, 0) : height + min(down, 0), max(right, 0) : width + min(right, 0)]
    still = high[max(-down, 0) : height + min(-down, 0), max(-right, 0) : width + min(-right, 0)]
    moved, still = moved - moved.mean(), still - still.mean()
    size = float(np.sqrt((moved**2).sum() * (still**2).sum()))
    return float((moved * still).sum()) / size if size else 0.0


def _relative_noise(image: NDArray[Any]) -> float:
    """Return the noise of an image in units of its contrast."""
    from napari_care_losses.core.baselines import estimate_noise

    return estimate_noise(image) / float(image.std(dtype=np.float64))
