"""Rectangles of a frame: its middle, a grid of them, and the one with most light, detail or contrast."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray


class Region(NamedTuple):
    """A rectangle of a frame, in pixels; the second number of each axis is not in it."""

    y0: int
    y1: int
    x0: int
    x1: int

    @property
    def shape(self) -> tuple[int, int]:
        """(Y, X) of the rectangle."""
        return self.y1 - self.y0, self.x1 - self.x0

    @property
    def slices(self) -> tuple[slice, slice]:
        """What cuts the rectangle out of the frame."""
        return slice(self.y0, self.y1), slice(self.x0, self.x1)

    def within(self, outer: Region) -> Region:
        """Return where the rectangle lies in one that contains it."""
        return Region(self.y0 - outer.y0, self.y1 - outer.y0, self.x0 - outer.x0, self.x1 - outer.x0)


def cells(shape: tuple[int, int], width: int) -> list[Region]:
    """Cut a frame into a grid of squares, narrower ones at its far edges.

    Examples
    --------
    >>> cells((2, 5), 3)
    [Region(y0=0, y1=2, x0=0, x1=3), Region(y0=0, y1=2, x0=3, x1=5)]
    """
    height, breadth = shape
    return [
        Region(y, min(y + width, height), x, min(x + width, breadth))
        for y in range(0, height, width)
        for x in range(0, breadth, width)
    ]


def middle(shape: tuple[int, int], size: int) -> Region:
    """Return the middle of a frame (Y, X), at most `size` pixels high and wide.

    Examples
    --------
    >>> middle((9, 2), 4)
    Region(y0=2, y1=6, x0=0, x1=2)
    """
    height, width = shape
    top, left = max(0, height - size) // 2, max(0, width - size) // 2
    return Region(top, min(top + size, height), left, min(left + size, width))


def best_window(
    shape: tuple[int, int], size: tuple[int, int], step: tuple[int, int], value: Callable[[Region], float]
) -> Region:
    """Return the window of one size with the largest value, among those a step apart and those at the far edges.

    Parameters
    ----------
    shape, size, step : tuple of int
        (Y, X) of the frame, of the window, and between neighbouring windows, in pixels.
    value : callable
        What makes a window a good one, for example `sum_over`.
    """
    tops, lefts = (
        [*range(0, total - extent, stride), total - extent]
        for total, extent, stride in zip(shape, size, step, strict=True)
    )
    windows = (Region(top, top + size[0], left, left + size[1]) for top in tops for left in lefts)
    return max(windows, key=value)


def sum_over(image: NDArray[Any]) -> Callable[[Region], float]:
    """Return a function that gives the sum of an image (Y, X) over a region, in the same time for any region.

    Examples
    --------
    >>> image = np.arange(12).reshape(3, 4)
    >>> best_window(image.shape, (2, 2), (1, 1), sum_over(image))
    Region(y0=1, y1=3, x0=2, x1=4)
    """
    sums = np.zeros((image.shape[0] + 1, image.shape[1] + 1))
    sums[1:, 1:] = image.cumsum(0, dtype=np.float64).cumsum(1)

    def total(region: Region) -> float:
        y0, y1, x0, x1 = region
        return float(sums[y1, x1] - sums[y0, x1] - sums[y1, x0] + sums[y0, x0])

    return total
