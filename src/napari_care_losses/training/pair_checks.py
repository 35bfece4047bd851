"""Warnings about pairs that can be trained on but are probably wrong: shifted, swapped, saturated."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from napari_care_losses.images.regions import middle
from napari_care_losses.images.sampling import evenly_spaced

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from numpy.typing import NDArray

    from napari_care_losses.images.frames import Frames
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

LEAST_RELATED = 0.45
"""Correlation of two images at their best shift, without the low one's noise, below which their fields of view differ:
sound pairs, real and simulated, have 0.9 and more, others up to 0.6 and mostly below 0.4."""

LEAST_STRUCTURE = 8.0
"""Correlation of neighbouring pixels, in standard deviations of independent ones, that shows structure."""

DETAIL = 6.0
"""Standard deviation in pixels of the Gaussian without which images are compared: uneven light is in all of them."""

MOST_SATURATED = 0.01
"""Largest share of an image's pixels that may lie at its largest level, where they pile up."""

FEWEST_LEVELS = 16
"""Different grey levels of an image from which a pile-up of pixels can be seen."""

SAME_PIXEL_SIZE = 0.01
"""Largest difference of two pixel sizes, relative to the second, that is none: files and programs round."""

MAX_SHOWN = 5
"""Most warnings about a set of pairs that are shown one by one."""

MAX_CHECKED_PAIRS = 20
"""Most pairs of a set that are checked."""


def warnings_of(low: NDArray[Any], high: NDArray[Any], *, target_is_noisy: bool = False) -> list[str]:
    """Return warnings about a pair (Y, X) that passes `pairs.check_images`, one sentence each; none for a sound one.

    Where the target is noisy, either image may be the noisier one.
    """
    if min(low.shape) < SMALLEST:
        return []
    found = []
    is_other_field = _are_unrelated(low, high)
    down, right = (0.0, 0.0) if is_other_field else _shift(low, high)
    if is_other_field:
        found.append(
            "The two images seem to show different fields of view, for they do not correlate at any shift: choose "
            "images of one field."
        )
    if max(abs(down), abs(right)) >= SMALLEST_SHIFT:
        found.append(
            f"The low image lies {abs(down):.1f} px {'below' if down > 0 else 'above'} and {abs(right):.1f} px "
            f"{'right' if right > 0 else 'left'} of the high one: register them, or the model learns to shift and blur."
        )
    if not target_is_noisy and _relative_noise(high) > LEAST_EXCESS * _relative_noise(low):
        found.append("The low image is less noisy than the high one: have the two been swapped?")
    for which, image in (("low", low), ("high", high)):
        if _saturated(image) > MOST_SATURATED:
            found.append(
                f"More than {MOST_SATURATED:.0%} of the {which} image's pixels are saturated, at {image.max()}: their "
                "structure is lost, expose shorter."
            )
    return found


def pixel_size_warning(low: Frames, high: Frames) -> str:
    """Return a warning where the pixels of two stacks differ in size; empty where they do not, or a size is unknown.

    Examples
    --------
    >>> from napari_care_losses.images.frames import Calibration, Frames
    >>> low, high = (Frames(np.zeros((8, 8)), "YX", Calibration(pixel_size=(size, size))) for size in (0.13, 0.065))
    >>> pixel_size_warning(low, high).partition(":")[0]
    'The low image has pixels of 0.13 x 0.13 µm, the high one of 0.065 x 0.065 µm'
    """
    size, other_size = low.calibration.pixel_size, high.calibration.pixel_size
    if size is None or other_size is None or np.allclose(size, other_size, rtol=SAME_PIXEL_SIZE, atol=0):
        return ""
    one, other = (" x ".join(f"{side:.4g}" for side in sides) for sides in (size, other_size))
    return (
        f"The low image has pixels of {one} µm, the high one of {other} µm: their pixels do not show the same places, "
        "and the model learns a wrong image. Choose images of one magnification, or correct the size that is wrong."
    )


def warnings_of_pairs(pairs: Sequence[Pair], warnings: Callable[[Pair], Sequence[str]]) -> list[str]:
    """Return the `warnings` of pairs with the pairs' names; of many pairs, some spread over all are checked."""
    checked = evenly_spaced(pairs, MAX_CHECKED_PAIRS)
    return named_once((pair.name, warning) for pair in checked for warning in warnings(pair))


def named_once(warnings: Iterable[tuple[str, str]]) -> list[str]:
    """Return lines for the names of pairs and their warnings; what holds for many pairs is one line.

    Examples
    --------
    >>> named_once([("a", "It is shifted."), ("b", "It is shifted.")])
    ['Pair a and 1 more: It is shifted.']
    """
    names_of: dict[str, list[str]] = {}
    for name, warning in warnings:
        names_of.setdefault(warning, []).append(name)
    lines = [
        f"Pair {names[0]}{f' and {len(names) - 1} more' if len(names) > 1 else ''}: {warning}"
        for warning, names in names_of.items()
    ]
    return lines if len(lines) <= MAX_SHOWN else [*lines[:MAX_SHOWN], f"{len(lines) - MAX_SHOWN} more of these."]


def _are_unrelated(low: NDArray[Any], high: NDArray[Any]) -> bool:
    """Return whether two images have no structure in common; False where one is too noisy to say."""
    # of float32, numpy's takes twice as long
    from scipy.fft import irfft2, rfft2
    from scipy.ndimage import gaussian_filter

    images = [_scaled_middle(image) for image in (low, high)]
    shape, window = images[0].shape, _window(images[0].shape)
    first, second = (rfft2((image - gaussian_filter(image, DETAIL)) * window) for image in images)
    structure = []
    for spectrum in (first, second):
        correlation = irfft2(np.abs(spectrum) ** 2, s=shape)
        # noise is independent from pixel to pixel: what neighbours share is structure
        structure.append(min(correlation[0, 1], correlation[1, 0]))
        if structure[-1] * np.sqrt(images[0].size) <= LEAST_STRUCTURE * correlation[0, 0]:
            return False
    most = irfft2(first * second.conj(), s=shape).max()
    return bool(most < LEAST_RELATED * np.sqrt(np.prod(structure)))


def _shift(low: NDArray[Any], high: NDArray[Any]) -> tuple[float, float]:
    """Return the shift of the low image, down and right in pixels; 0 if no shift explains the images better."""
    low, high = _scaled_middle(low), _scaled_middle(high)
    moved, still, whole_down, whole_right = low, high, 0, 0
    # the second time where they overlap: the window biases a large shift towards 0
    for _ in range(2):
        down, right = _estimated(moved, still)
        whole_down, whole_right = whole_down + round(down), whole_right + round(right)
        if not round(down) and not round(right):
            # they would overlap where they do already
            break
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

    window = _window(low.shape)
    # no phase correlation: it would give the noise of the low image the weight of its structure
    found = phase_cross_correlation(  # type: ignore[no-untyped-call]
        high * window, low * window, upsample_factor=10, normalization=None
    )
    return -float(found[0][0]), -float(found[0][1])


def _window(shape: tuple[int, ...]) -> NDArray[np.float32]:
    """Return a window that falls to 0 just outside the image."""
    window: NDArray[np.float32] = np.outer(*(np.hanning(size + 2)[1:-1] for size in shape)).astype(np.float32)
    return window


def _overlapping(
    low: NDArray[np.float32], high: NDArray[np.float32], down: int, right: int
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return the parts of two images that show the same where the low one lies `down` and `right` of the high one."""
    height, width = low.shape
    moved = low[max(down, 0) : height + min(down, 0), max(right, 0) : width + min(right, 0)]
    still = high[max(-down, 0) : height + min(-down, 0), max(-right, 0) : width + min(-right, 0)]
    return moved - moved.mean(), still - still.mean()


def _scaled_middle(image: NDArray[Any]) -> NDArray[np.float32]:
    """Return the middle part of an image, of mean 0 and at most 1."""
    height, width = image.shape
    cut = image[middle((height, width), MAX_SIZE).slices].astype(np.float64)
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
    from napari_care_losses.images.noise.estimate import estimate_noise

    scaled = _scaled_middle(image)
    # of mean 0
    noise = float(np.sqrt(estimate_noise(scaled).variance(0.0)))
    return noise / (float(scaled.std(dtype=np.float64)) or 1.0)


def _saturated(image: NDArray[Any]) -> float:
    """Return the share of pixels at the largest level, if more lie there than at the levels just below: a pile-up."""
    levels, counts = np.unique(image, return_counts=True)
    if len(levels) < FEWEST_LEVELS:
        return 0.0
    levels = levels.astype(np.float64)
    below = levels[:-1] >= levels[-2] - (levels[-1] - levels[0]) / 64
    return float(counts[-1] / image.size) if counts[-1] > counts[:-1][below].sum() else 0.0
