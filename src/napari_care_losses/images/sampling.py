"""Some of many frames, chosen evenly."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

Item = TypeVar("Item")


def evenly_spaced(items: Sequence[Item], count: int) -> list[Item]:
    """Return `count` of the items at equal distances, the first and the last among them; all of fewer.

    Examples
    --------
    >>> evenly_spaced(range(10), 4)
    [0, 3, 6, 9]
    >>> evenly_spaced("ab", 4)
    ['a', 'b']
    """
    return [items[round(place)] for place in np.linspace(0, len(items) - 1, min(count, len(items)))]


def spread(items: Sequence[Item], count: int, rng: np.random.Generator) -> list[Item]:
    """Choose an item out of each of `count` equal stretches, the first and the last among them; all of fewer."""
    if len(items) <= count:
        return list(items)
    edges = np.arange(count + 1) * len(items) // count
    chosen = rng.integers(edges[:-1], edges[1:])
    if count > 1:
        chosen[0], chosen[-1] = 0, len(items) - 1
    return [items[i] for i in chosen]


def grid_over(shape: tuple[int, int], count: int) -> tuple[int, int]:
    """Return rows and columns of a grid of at most `count` cells, about square, over a frame (Y, X)."""
    height, width = shape
    if height * width <= count:
        return shape
    columns = min(width, count, max(1, math.isqrt(count * width // height)))
    return min(height, count // columns), columns


def one_a_cell(image: NDArray[Any], grid: tuple[int, int], rng: np.random.Generator) -> NDArray[Any]:
    """Return a random pixel out of each cell of a grid."""
    if grid == image.shape:
        return image
    rows, columns = (
        # a fraction next to 1 can round up to the next cell, and out of the frame at the last
        np.minimum((np.arange(count).reshape(along) + rng.random(grid)) * (size / count), size - 1).astype(np.intp)
        for size, count, along in zip(image.shape, grid, ((-1, 1), (1, -1)), strict=True)
    )
    sample: NDArray[Any] = image[rows, columns]
    return sample


def windows_of(image: NDArray[Any], width: int = 256, across: int = 4) -> NDArray[Any]:
    """Return evenly spaced windows (N, `width`, `width`) of a frame (Y, X), at most `across` along each axis.

    A frame of no more pixels than these is its only window.

    Examples
    --------
    >>> windows_of(np.zeros((2000, 3000))).shape
    (16, 256, 256)
    >>> windows_of(np.zeros((20, 30))).shape
    (1, 20, 30)
    """
    if image.size <= (width * across) ** 2:
        return image[None]
    tops, lefts = (
        np.linspace(0, max(0, size - width), min(across, max(1, size // width))).astype(int).tolist()
        for size in image.shape
    )
    return np.stack([image[top : top + width, left : left + width] for top in tops for left in lefts])
