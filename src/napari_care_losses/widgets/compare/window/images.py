"""Images as the panels of a comparison draw them: alike in brightness, and no larger than the screen."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from napari_care_losses.errors import InputError
from napari_care_losses.evaluation.metrics import align

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

SMALLEST_LEVEL = 128
"""Width in pixels below which an image is not reduced further."""

SAMPLED = 2**18
"""Pixels percentiles are taken from, about."""

DIFFERENCE_PERCENTILE = 98
"""Of the absolute differences: shown in full colour."""


class Part(NamedTuple):
    """What is drawn of an image.

    Attributes
    ----------
    image : float32 array (Y, X)
        Its pixels, each of them the mean of a square of the image's own.
    left, top, width, height : float
        Where it lies, in pixels of the image.
    """

    image: NDArray[np.float32]
    left: float
    top: float
    width: float
    height: float


class Pyramid:
    """An image at resolutions that halve from level to level.

    A panel draws of it what is in view, at the resolution of the screen: moving and zooming take the same short time
    for a camera's full frame as for a small one.

    Parameters
    ----------
    image : array (Y, X) of any real dtype
        The image.
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
        """Return what lies in a rectangle, with a rim of a pixel; None where there is nothing of the image.

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
    """Return an image as numbers that can be drawn: float32, finite."""
    return np.nan_to_num(np.asarray(image, np.float32), posinf=0.0, neginf=0.0)


def matched(image: NDArray[np.float32], reference: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return an image in the grey levels of another one, by the affine map of least squared error.

    An image too small or too plain for that comes back as it is.
    """
    try:
        return align(image, reference).astype(np.float32)
    except InputError:
        return image


def difference_limit(image: NDArray[np.float32]) -> float:
    """Return the difference to be shown in full colour."""
    return float(np.percentile(np.abs(thinned(image)), DIFFERENCE_PERCENTILE)) or 1.0


def thinned(image: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return an even sample of an image's pixels, enough for a percentile: those sort, which takes its time."""
    step = max(1, math.isqrt(image.size // SAMPLED))
    return image[::step, ::step]


def _halved(image: NDArray[np.float32]) -> NDArray[np.float32]:
    padded = np.pad(image, [(0, size % 2) for size in image.shape], mode="edge")
    rows = padded[::2] + padded[1::2]
    halved: NDArray[np.float32] = 0.25 * (rows[:, ::2] + rows[:, 1::2])
    return halved.astype(np.float32, copy=False)
