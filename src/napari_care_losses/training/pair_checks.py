"""Warnings about pairs that can be trained on but are probably wrong: shifted, swapped, saturated."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from napari_care_losses.images.sampling import evenly_spaced

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from napari_care_losses.training.pairs import Pair

SMALLEST = 32
"""Height and width below which there are too few pixels for a warning."""

SMALLEST_SHIFT = 0.75
"""Smallest shift that is reported, in pixels: sound pairs, real and simulated, are shifted by up to 0.4."""

LEAST_EVIDENCE = 1.0
"""Smallest gain in correlation for a shift, in standard deviations of independent pixels: chance gives up to 0.4."""

LEAST_EXCESS = 1.25
"""Noise of the high image relative to the low one's, each divided by its contrast, above which the two seem swapped."""

MAX_SIZE = 1024
"""Largest height and width of the central part that the shift is estimated from."""

FULL_WELLS = tuple(2**bits - 1 for bits in (8, 10, 12, 14, 16))
"""Grey levels that cameras and files cannot exceed."""

MOST_SATURATED = 0.01
"""Largest share of an image's pixels that may reach such a level."""

MAX_SHOWN = 5
"""Most warnings about a set of pairs that are shown one by one."""

MAX_CHECKED_PAIRS = 20
"""Most pairs of a set that are checked."""


def warnings_of(low: NDArray[Any], high: NDArray[Any]) -> list[str]:
    """Return warnings about a pair (Y, X) that passes `pairs.check_images`, one sentence each; none for a sound one."""
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
        is_full = image.dtype.kind in "iu" and int(image.max()) in FULL_WELLS
        if is_full and (image == image.max()).mean() > MOST_SATURATED:
            found.append(
                f"More than {MOST_SATURATED:.0%} of the {which} image's pixels are saturated, at {image.max()}: their "
                "structure is lost, expose shorter."
            )
    return found


def warnings_of_pairs(pairs: Sequence[Pair]) -> list[str]:
    """Return warnings about pairs with the pairs' names; of many pairs, some spread over all are checked."""
    names_of: dict[str, list[str]] = {}
    for pair in evenly_spaced(pairs, MAX_CHECKED_PAIRS):
        for warning in warnings_of(pair.low, pair.high):
            names_of.setdefault(warning, []).append(pair.name)
    lines = [
        f"Pair {names[0]}{f' and {len(names) - 1} more' if len(names) > 1 else ''}: {warning}"
        for warning, names in names_of.items()
    ]
    return lines if len(lines) <= MAX_SHOWN else [*lines[:MAX_SHOWN], f"{len(lines) - MAX_SHOWN} more of these."]


def _shift(low: NDArray[Any], high: NDArray[Any]) -> tuple[float, float]:
    """Return the shift of the low image, down and right in pixels; 0 if no shift explains the images better."""
    low, high = _middle(low), _middle(high)
    moved, still, whole_down, whole_right = low, high, 0, 0
    # the second time where they overlap: the window biases a large shift towards 0
    for _ in range(2):
        down, right = _estimated(moved, still)
        whole_down, whole_right = whole_down + round(down), whole_right + round(right)
        # where less than half of the images would overlap, similarity is chance
        if 2 * abs(whole_down) > low.shape[0] or 2 * abs(whole_right) > low.shape[1]:
            return 0.0, 0.0
        moved, still = _overlapping(low, high, whole_down, whole_right)
    # Fisher's transformation makes differences of correlations comparable
    gain = np.arctanh(_correlation(moved, still)) - np.arctanh(_correlation(low, high))
    if gain * np.sqrt(low.size) < LEAST_EVIDENCE:
        return 0.0, 0.0
    return whole_down + down - round(down), whole_right + right - round(right)


def _estimated(low: NDArray[np.float32], high: NDArray[np.float32]) -> tuple[float, float]:
    """Return the shift of the low image, down and right, from the peak of the cross-correlation."""
    from skimage.registration import phase_cross_correlation

    window = np.outer(np.hanning(low.shape[0] + 2)[1:-1], np.hanning(low.shape[1] + 2)[1:-1]).astype(np.float32)
    # no phase correlation: it would give the noise of the low image the weight of its structure
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
    starts = (max(0, (size - MAX_SIZE) // 2) for size in image.shape)
    cut = image[tuple(slice(start, start + MAX_SIZE) for start in starts)].astype(np.float64)
    cut -= cut.mean()
    # scaled: squares of the largest float32 values would overflow
    scaled: NDArray[np.float32] = (cut / (np.abs(cut).max() or 1.0)).astype(np.float32)
    return scaled


def _correlation(one: NDArray[np.float32], other: NDArray[np.float32]) -> float:
    """Return how well two images of mean 0 correlate."""
    size = float(np.sqrt((one**2).sum() * (other**2).sum()))
    # below 1, for which Fisher's transformation is infinite
    return 0.999999 * float((one * other).sum()) / size if size else 0.0


def _relative_noise(image: NDArray[Any]) -> float:
    """Return the noise of an image in units of its contrast."""
    from napari_care_losses.images.noise import wavelet_noise

    scaled = _middle(image)
    return wavelet_noise(scaled) / (float(scaled.std(dtype=np.float64)) or 1.0)
