"""Chooses the part of a frame that a preview restores, and its tiles."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_care_losses.images.regions import Region, cells
from napari_care_losses.restoration.tiles import Tile, crop

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from napari_care_losses.models.architecture import Tileable


LARGEST_WINDOW = 512
"""Largest height and width of a window, in pixels."""

WIDTHS = (128, 256, LARGEST_WINDOW)
"""Widths that tiles write, in pixels: few, because an engine compiles each anew."""

COST = 4e9
"""Largest cost of a tile on a CPU, as from `cost`: 0.2 s on two cores."""

_BLOCK_MEAN = 8


def visible_part(shape: tuple[int, int], visible: tuple[float, float, float, float]) -> Region | None:
    """Return the part of a frame that is visible; None if no pixel is.

    Parameters
    ----------
    shape : tuple of int
        (Y, X) of the frame.
    visible : tuple of float
        First and last visible y, first and last visible x, in pixels of the frame; may lie outside. Pixel i reaches
        from i - 0.5 to i + 0.5 and is visible if more than its edge is.

    Examples
    --------
    >>> visible_part((40, 50), (-3.0, 12.2, 20.6, 90.0))
    Region(y0=0, y1=13, x0=21, x1=50)
    """
    (y0, y1), (x0, x1) = (
        _visible_span(first, last, size) for first, last, size in zip(visible[::2], visible[1::2], shape, strict=True)
    )
    return Region(y0, y1, x0, x1) if y0 < y1 and x0 < x1 else None


def choose_window(
    shape: tuple[int, int],
    visible: tuple[float, float, float, float],
    cursor: tuple[float, float] | None = None,
    current: Region | None = None,
) -> Region | None:
    """Return the window to restore: the visible part, and of it at most 512 px along each axis, around the cursor.

    Parameters
    ----------
    shape : tuple of int
        (Y, X) of the frame.
    visible : tuple of float
        As in `visible_part`.
    cursor : tuple of float, optional
        (y, x) in the same pixels; by default, and if it lies outside, the middle of the visible part.
    current : Region, optional
        The present window, which is kept while it fits.

    Returns
    -------
    Region, or None
        None if no pixel of the frame is visible.
    """
    part = visible_part(shape, visible)
    if part is None:
        return None
    y0, y1, x0, x1 = part
    seen = (y0, y1), (x0, x1)
    is_inside = cursor is not None and all(
        low - 0.5 <= at < high - 0.5 for at, (low, high) in zip(cursor, seen, strict=True)
    )
    centre = cursor if cursor is not None and is_inside else ((y0 + y1 - 1) / 2, (x0 + x1 - 1) / 2)
    rows, columns = (_span(low, high, at) for at, (low, high) in zip(centre, seen, strict=True))
    window = Region(*rows, *columns)
    fits = (
        current is not None
        and current.shape == window.shape
        and y0 <= current.y0
        and current.y1 <= y1
        and x0 <= current.x0
        and current.x1 <= x1
        and (not is_inside or _distance(current, centre) == 0)
    )
    return current if fits else window


def cost(architecture: Tileable, width: int) -> float:
    """Return the cost of a tile that writes `width` pixels, in multiply-adds up to a factor."""
    return architecture.cost_per_pixel * (width + 2 * architecture.margin) ** 2


def tile_width(architecture: Tileable, *, on_cpu: bool) -> int:
    """Return the width of tiles that are restored without noticeable delay: one of `WIDTHS`, in pixels."""
    affordable = [width for width in WIDTHS if not on_cpu or cost(architecture, width) <= COST]
    return max(affordable, default=WIDTHS[0])


def plan_window(
    window: Region,
    shape: tuple[int, int],
    architecture: Tileable,
    width: int,
    cursor: tuple[float, float] | None = None,
) -> list[Tile]:
    """Cut a window into tiles, from the cursor outward.

    One tile that writes just the window if `width`, one of `WIDTHS`, is that of the largest window; else the tiles of a
    fixed grid that overlap the window, which are the same when the window moves. `shape` is (Y, X) of the frame, the
    cursor (y, x) in its pixels; by default it is in the middle of the window.
    """
    if width >= LARGEST_WINDOW:
        needed = next(size for size in WIDTHS if size >= min(max(window.shape), LARGEST_WINDOW))
        return [cut(window, shape, architecture, needed)]
    at = cursor or _middle(window)
    overlapping = [cell for cell in cells(shape, width) if _overlap(cell, window)]
    overlapping.sort(key=lambda cell: (_distance(cell, at), math.dist(_middle(cell), at)))
    return [cut(cell, shape, architecture, width) for cell in overlapping]


def cut(window: Region, shape: tuple[int, int], architecture: Tileable, width: int) -> Tile:
    """Return the tile that writes a window of at most `width` pixels; its restoration equals that of the whole frame.

    It is in pixels of the frame padded by `napari_care_losses.restoration.tiles.pad`. Tiles read equally many pixels
    for all windows, unless the frame is smaller.
    """
    block, margin = architecture.block, architecture.margin
    # One block more than needed, for windows that do not start at a multiple of the block.
    reading = (-(-(width + 2 * margin) // block) + 1) * block
    spans = []
    for wanted, inside, size in zip(window.slices, crop(shape, block), shape, strict=True):
        padded = -(-size // block) * block
        first, last = wanted.start + inside.start, wanted.stop + inside.start
        read = min(reading, padded)
        start = min(max(0, first - margin) // block * block, padded - read)
        spans.append((slice(start, start + read), slice(first - start, last - start), slice(first, last)))
    (read_y, inner_y, target_y), (read_x, inner_x, target_x) = spans
    return Tile((read_y, read_x), (inner_y, inner_x), (target_y, target_x))


def richest_cell(frame: NDArray[Any], high: float) -> Region:
    """Return the cell of 128 px with most structure: the one to estimate from what holds for the frame.

    `high` is the grey level that counts for all above it, so that no single bright pixel decides.
    """
    found = cells((int(frame.shape[0]), int(frame.shape[1])), WIDTHS[0])
    return max(found, key=lambda cell: _structure(frame[cell.slices], high))


def _structure(part: NDArray[Any], high: float) -> float:
    """Return the sum of squares of what differs from the mean, after averaging noise away over blocks."""
    height, width = (max(1, size // _BLOCK_MEAN) for size in part.shape)
    rows, columns = (min(_BLOCK_MEAN, size) for size in part.shape)
    blocks = np.minimum(part[: height * rows, : width * columns], np.float32(high), dtype=np.float32)
    means = blocks.reshape(height, rows, width, columns).mean(axis=(1, 3))
    return float(np.square(means - means.mean()).sum())


def _visible_span(first: float, last: float, size: int) -> tuple[int, int]:
    """Return start and stop of the visible pixels of an axis, by comparisons: `first + 0.5` may be rounded up."""
    if first >= last:
        return 0, 0
    start, stop = math.floor(first), math.ceil(last)
    return max(0, start + (first >= start + 0.5)), min(size, stop + (last > stop - 0.5))


def _span(low: int, high: int, at: float) -> tuple[int, int]:
    """Return start and stop of a window along an axis, on the grid of the narrowest tiles if there is room."""
    if high - low <= LARGEST_WINDOW:
        return low, high
    step = WIDTHS[0]
    start = round((at - LARGEST_WINDOW / 2) / step) * step
    start = min(max(start, low), high - LARGEST_WINDOW)
    return start, start + LARGEST_WINDOW


def _overlap(first: Region, second: Region) -> bool:
    return first.y0 < second.y1 and second.y0 < first.y1 and first.x0 < second.x1 and second.x0 < first.x1


def _distance(window: Region, at: tuple[float, float]) -> float:
    """Return the distance of a place from the nearest pixel of a window; 0 inside."""
    spans = ((window.y0, window.y1), (window.x0, window.x1))
    return math.hypot(
        *(max(low - 0.5 - place, place - (high - 0.5), 0.0) for place, (low, high) in zip(at, spans, strict=True))
    )


def _middle(window: Region) -> tuple[float, float]:
    return (window.y0 + window.y1 - 1) / 2, (window.x0 + window.x1 - 1) / 2
