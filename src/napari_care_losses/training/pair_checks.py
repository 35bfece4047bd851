"""Whether two images can be a pair to learn from, and what is doubtful of a pair that can."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from napari_care_losses.images.sampling import evenly_spaced

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from napari_care_losses.training.pairs import Pair

SMALLEST = 32
"""Height and width below which images tell too little for doubts."""

SMALLEST_SHIFT = 0.75
"""In pixels: between the exposures of sound pairs, real and simulated, up to 0.4 were found."""

LEAST_EVIDENCE = 1.0
"""By how many standard deviations of independent pixels a shift must raise the correlation; 0.4 came by chance."""

LEAST_EXCESS = 1.25
"""How many times as noisy as the low image, each by its own contrast, the high one must be to be taken for it."""

LARGEST_LOOKED_AT = 1024
"""Height and width of the part, in the middle, that a shift is found from."""

FULL_WELLS = tuple(2**bits - 1 for bits in (8, 10, 12, 14, 16))
"""Grey levels that cameras and files cannot exceed."""

MOST_SATURATED = 0.01
"""Share of an image's pixels that may reach such a level: more have lost structure."""

MOST_SAID = 5
"""Doubts about a set of pairs that are said one by one."""

FRAMES_LOOKED_AT = 20
"""Frames of a set of pairs that doubts are looked for in."""


def doubts(low: NDArray[Any], high: NDArray[Any]) -> list[str]:
    """Return what is doubtful of a pair that can be learnt from, in sentences; nothing of a sound one.

    Parameters
    ----------
    low, high : array (Y, X) of any real dtype
        As `check_images` lets them pass.
    """
    if min(low.shape) < SMALLEST:
        return []
    found = []
    down, right = _shift(low, high)
    if max(abs(down), abs(right)) >= SMALLEST_SHIFT:
        found.append(
            f"The low image lies {abs(down):.1f} px {'below' if down > 0 else 'above'} and {abs(right):.1f} px "
            f"{'right' if right > 0 else 'left'} of the high one: register them, or the model learns to shift and blur."
        )
    if _relative_noise(high) > LEAST_EXCESS * _relative_noise(low):
        found.append("The low image is less noisy than the high one: have the two been swapped?")
    for which, image in (("low", low), ("high", high)):
        if _saturated(image) > MOST_SATURATED:
            found.append(
                f"More than {MOST_SATURATED:.0%} of the {which} image's pixels are saturated, at {image.max()}: their "
                "structure is lost, expose shorter."
            )
    return found


def doubts_of(pairs: Sequence[Pair]) -> list[str]:
    """Return what is doubtful of pairs, each with its pair's name; of many, some spread over all are looked at."""
    said: dict[str, list[str]] = {}
    for pair in evenly_spaced(pairs, FRAMES_LOOKED_AT):
        for doubt in doubts(pair.low, pair.high):
            said.setdefault(doubt, []).append(pair.name)
    lines = [
        f"Pair {names[0]}{f' and {len(names) - 1} more' if len(names) > 1 else ''}: {doubt}"
        for doubt, names in said.items()
    ]
    return lines if len(lines) <= MOST_SAID else [*lines[:MOST_SAID], f"{len(lines) - MOST_SAID} more of these."]


def _shift(low: NDArray[Any], high: NDArray[Any]) -> tuple[float, float]:
    """Return by how many pixels, down and right, the low image lies off the high one; 0 where that explains nothing."""
    low, high = _middle(low), _middle(high)
    down, right = (round(part) for part in _estimated(low, high))
    if _is_far(down, right, low.shape):
        return 0.0, 0.0
    # once more where they overlap: the window pulls a large shift towards 0
    moved, still = _overlapping(low, high, down, right)
    more_down, more_right = _estimated(moved, still)
    down, right = down + round(more_down), right + round(more_right)
    if _is_far(down, right, low.shape):
        return 0.0, 0.0
    # Fisher's transformation: of correlations, differences of which are then equally likely to be chance
    gain = np.arctanh(_correlation(*_overlapping(low, high, down, right))) - np.arctanh(_correlation(low, high))
    if gain * np.sqrt(low.size) < LEAST_EVIDENCE:
        return 0.0, 0.0
    return down + more_down - round(more_down), right + more_right - round(more_right)


def _is_far(down: int, right: int, shape: tuple[int, ...]) -> bool:
    """Return whether less than half of the images would overlap: then it is chance that they resemble each other."""
    return 2 * abs(down) > shape[0] or 2 * abs(right) > shape[1]


def _estimated(low: NDArray[np.float32], high: NDArray[np.float32]) -> tuple[float, float]:
    """Return how far the low image lies down and right of the high one, by the peak of their cross-correlation."""
    from skimage.registration import phase_cross_correlation

    window = np.outer(np.hanning(low.shape[0] + 2)[1:-1], np.hanning(low.shape[1] + 2)[1:-1]).astype(np.float32)
    # Not the phase alone: the noise of the low image would count as much as its structure.
    found = phase_cross_correlation(  # type: ignore[no-untyped-call]
        high * window, low * window, upsample_factor=10, normalization=None
    )
    return -float(found[0][0]), -float(found[0][1])


def _overlapping(
    low: NDArray[np.float32], high: NDArray[np.float32], down: int, right: int
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return the parts of two images that show the same where the low one lies `down` and `right` of the high one."""
    height, width = low.shape
    moved = low[max(down, 0) : height + min(down, 0), max(right, 0) : width + min(right, 0)]
    still = high[max(-down, 0) : height + min(-down, 0), max(-right, 0) : width + min(-right, 0)]
    return moved - moved.mean(), still - still.mean()


def _middle(image: NDArray[Any]) -> NDArray[np.float32]:
    """Return the middle part of an image, of mean 0 and at most 1."""
    part = tuple(
        slice(max(0, (size - LARGEST_LOOKED_AT) // 2), max(0, (size - LARGEST_LOOKED_AT) // 2) + LARGEST_LOOKED_AT)
        for size in image.shape
    )
    cut = image[part].astype(np.float64)
    cut -= cut.mean()
    # of a usual size: squares of the largest numbers that float32 holds are none
    scaled: NDArray[np.float32] = (cut / (np.abs(cut).max() or 1.0)).astype(np.float32)
    return scaled


def _correlation(one: NDArray[np.float32], other: NDArray[np.float32]) -> float:
    """Return how well two images of mean 0 correlate."""
    size = float(np.sqrt((one**2).sum() * (other**2).sum()))
    # below 1, of which the transformation is infinite
    return 0.999999 * float((one * other).sum()) / size if size else 0.0


def _relative_noise(image: NDArray[Any]) -> float:
    """Return the noise of an image in units of its contrast."""
    from napari_care_losses.images.noise import wavelet_noise

    scaled = _middle(image)
    return wavelet_noise(scaled) / (float(scaled.std(dtype=np.float64)) or 1.0)


def _saturated(image: NDArray[Any]) -> float:
    """Return the share of pixels at a level that could not be exceeded."""
    highest = image.max()
    if image.dtype.kind not in "iu" or int(highest) not in FULL_WELLS:
        return 0.0
    return float((image == highest).mean())
