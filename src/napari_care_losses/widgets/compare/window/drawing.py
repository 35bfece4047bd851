"""What the panels of a comparison draw: images of matched brightness, no larger than the screen needs."""

from __future__ import annotations

import math
from contextlib import suppress
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from napari_care_losses.comparison.compare import INPUT
from napari_care_losses.errors import InputError
from napari_care_losses.evaluation.metrics import align
from napari_care_losses.widgets.compare.results import TRUTH
from napari_care_losses.widgets.layers.conversion import comparable_limits

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import ArrayLike, NDArray

    from napari_care_losses.widgets.compare.results import ComparisonResults

SMALLEST_LEVEL = 128
"""Width in pixels below which an image is not reduced further."""

SAMPLED = 2**18
"""Approximate number of pixels for percentiles."""

DIFFERENCE_PERCENTILE = 98
"""Percentile of the absolute differences that is shown in full colour."""


class DrawingOptions(NamedTuple):
    """The frame that the panels show, and how."""

    index: int
    is_difference: bool
    """Whether differences are shown: to the ground truth, or without one the residuals (input minus restored)."""

    is_matched: bool
    """Whether the brightness of every image is first matched to the ground truth, or without one to the input."""


class Drawing(NamedTuple):
    """The image of a panel, ready to be drawn."""

    name: str
    options: DrawingOptions
    pyramid: Pyramid
    limits: tuple[float, float]
    """Suitable contrast limits."""

    span: tuple[float, float]
    """Minimum and maximum."""

    difference: float
    """The difference shown in full colour."""


def anchor(results: ComparisonResults) -> str:
    """Return the name of the panel that the others are compared with: the ground truth, or without one the input."""
    return INPUT if results.plan.truth is None else TRUTH


def draw(results: ComparisonResults, names: Sequence[str], options: DrawingOptions) -> Iterator[Drawing]:
    """Yield the drawings of some panels.

    Raises
    ------
    InputError
        If input or truth cannot be read.
    """
    fixed = anchor(results)
    reference = as_float(results.image(fixed, options.index))
    for name in names:
        image = reference if name == fixed else as_float(results.image(name, options.index))
        if name != fixed:
            image = _compared(image, reference, options, is_residual=fixed == INPUT)
        span = (float(image.min()), float(image.max()))
        # percentiles are slow on large images
        step = max(1, math.isqrt(image.size // SAMPLED))
        sample = image[::step, ::step]
        difference = float(np.percentile(np.abs(sample), DIFFERENCE_PERCENTILE)) or 1.0
        yield Drawing(name, options, Pyramid(image), comparable_limits(sample), span, difference)


def _compared(
    image: NDArray[np.float32], reference: NDArray[np.float32], options: DrawingOptions, *, is_residual: bool
) -> NDArray[np.float32]:
    if options.is_matched:
        # where that is impossible, the image stays as it is
        with suppress(InputError):
            image = align(image, reference).astype(np.float32)
    if not options.is_difference:
        return image
    return reference - image if is_residual else image - reference


class Part(NamedTuple):
    """The part of an image that is drawn, and its place in pixels of the image."""

    image: NDArray[np.float32]
    """Array (Y, X); each of its pixels is the mean of a square of the image's pixels."""

    left: float
    top: float
    width: float
    height: float


class Pyramid:
    """An image at several resolutions, each half the one before.

    A panel draws only the part in view at the resolution of the screen, so that moving and zooming are as fast for
    large images as for small ones. The image is an array (Y, X) of any real dtype.
    """

    def __init__(self, image: ArrayLike) -> None:
        self.levels = [np.ascontiguousarray(image, np.float32)]
        while min(self.levels[-1].shape) > SMALLEST_LEVEL:
            self.levels.append(_halved(self.levels[-1]))

    @property
    def image(self) -> NDArray[np.float32]:
        """The image itself."""
        return self.levels[0]

    def part(self, left: float, top: float, right: float, bottom: float, *, step: float) -> Part | None:
        """Return the part in a rectangle, with a margin of a pixel; None where the rectangle is outside the image.

        Parameters
        ----------
        left, top, right, bottom : float
            The rectangle, in pixels of the image.
        step : float
            Pixels of the image per pixel of the screen.
        """
        level = min(max(0, round(math.log2(max(step, 1)))), len(self.levels) - 1)
        image, size = self.levels[level], 2**level
        height, width = image.shape
        x0, x1 = max(0, math.floor(left / size) - 1), min(width, math.ceil(right / size) + 1)
        y0, y1 = max(0, math.floor(top / size) - 1), min(height, math.ceil(bottom / size) + 1)
        if x0 >= x1 or y0 >= y1:
            return None
        return Part(image[y0:y1, x0:x1], x0 * size, y0 * size, (x1 - x0) * size, (y1 - y0) * size)


def as_float(image: ArrayLike) -> NDArray[np.float32]:
    """Return an image as finite float32 values; NaN and infinity become 0."""
    return np.nan_to_num(np.asarray(image, np.float32), posinf=0.0, neginf=0.0)


def _halved(image: NDArray[np.float32]) -> NDArray[np.float32]:
    padded = np.pad(image, [(0, size % 2) for size in image.shape], mode="edge")
    rows = padded[::2] + padded[1::2]
    halved: NDArray[np.float32] = 0.25 * (rows[:, ::2] + rows[:, 1::2])
    return halved.astype(np.float32, copy=False)
