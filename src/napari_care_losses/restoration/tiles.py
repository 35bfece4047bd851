"""Cutting a frame into tiles whose stitched restoration equals the whole."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from napari_care_losses.images.regions import Region

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from napari_care_losses.models.architecture import Local, Tileable


class Tile(NamedTuple):
    """The pixels of the padded frame that a tile reads, those of them it keeps, and where it writes these."""

    source: tuple[slice, slice]
    inner: tuple[slice, slice]
    target: tuple[slice, slice]


def plan_tiles(shape: tuple[int, int], architecture: Local, tile_size: int) -> list[Tile]:
    """Cut a frame into the fewest tiles of one size.

    The frame is padded to multiples of the network's block. Tiles start at multiples of the block, so that pooling
    windows match those of the whole frame, and read a margin of the receptive field around what they write, except at
    the frame's edge. All tiles of a frame (Y, X) read equally many pixels, so that an engine compiles one shape: at
    most `tile_size` wide and high, or `smallest_tile` if that is more.
    """
    sizes = [_padded(size, architecture.block) for size in shape]
    (rows, height), (columns, width) = (_spans(size, architecture, tile_size) for size in sizes)
    return [
        Tile(
            (slice(top, top + height), slice(left, left + width)),
            (slice(first - top, last - top), slice(start - left, stop - left)),
            (slice(first, last), slice(start, stop)),
        )
        for top, first, last in rows
        for left, start, stop in columns
    ]


def smallest_tile(architecture: Local) -> int:
    """Return the smallest width that a tile reads: a margin on both sides and one to write."""
    return 3 * architecture.margin


def largest_tile(architecture: Tileable, memory: int) -> int:
    """Return the width of the largest square tile that runs in `memory` bytes."""
    return math.isqrt(memory // architecture.memory_per_pixel)


def working_memory(architecture: Tileable, width: int) -> int:
    """Return the largest memory, in bytes, that a square tile of `width` pixels needs."""
    return architecture.memory_per_pixel * width**2


def pad(image: NDArray[Any], block: int) -> NDArray[Any]:
    """Return an image (..., Y, X) padded by reflection to multiples of the network's block, on both sides (CSBDeep).

    It is the image itself where its size is such a multiple.
    """
    *leading, height, width = image.shape
    # Reflection needs more pixels than it adds; very narrow images are mirrored with their edge.
    mode: Any = "reflect" if min(height, width) > block else "symmetric"
    widths = [(0, 0)] * len(leading) + [_padding(size, block) for size in (height, width)]
    if not any(map(any, widths)):
        return image
    return np.pad(image, widths, mode=mode)


def crop(shape: tuple[int, ...], block: int) -> tuple[slice, ...]:
    """Return where an image of this shape lies after `pad`."""
    return tuple(slice(_padding(size, block)[0], _padding(size, block)[0] + size) for size in shape)


def in_padded(region: Region, shape: tuple[int, ...], block: int) -> Region:
    """Return where a region of an image of this shape lies after `pad`."""
    rows, columns = crop(shape, block)
    return Region(region.y0 + rows.start, region.y1 + rows.start, region.x0 + columns.start, region.x1 + columns.start)


def reach(region: Region, shape: tuple[int, int], architecture: Local) -> Region:
    """Return what is read of a padded frame of shape (Y, X) to restore a region of it as with the whole frame.

    Both are in pixels of the padded frame. It is the region with a margin of the receptive field, as far as the frame
    goes, in whole blocks.
    """
    block, margin = architecture.block, architecture.margin
    (y0, y1), (x0, x1) = (
        (max(0, span.start - margin) // block * block, min(_padded(size, block), _padded(span.stop + margin, block)))
        for span, size in zip(region.slices, shape, strict=True)
    )
    return Region(y0, y1, x0, x1)


def _padding(size: int, block: int) -> tuple[int, int]:
    missing = _padded(size, block) - size
    return missing // 2, missing - missing // 2


def _padded(size: int, block: int) -> int:
    return -(-size // block) * block


def _spans(size: int, architecture: Local, tile_size: int) -> tuple[list[tuple[int, int, int]], int]:
    """Return, along one axis, where every tile starts to read, starts and stops to write; and the width it reads."""
    block, margin = architecture.block, architecture.margin
    largest = max(tile_size, smallest_tile(architecture)) // block * block
    count = 1 if size <= largest else -(-(size - 2 * margin) // (largest - 2 * margin))
    width = min(size, _padded(-(-(size + 2 * (count - 1) * margin) // count), block))
    spans = []
    written = 0
    for number in range(count):
        start = min(number * (width - 2 * margin), size - width)
        stop = size if number == count - 1 else start + width - margin
        spans.append((start, written, stop))
        written = stop
    return spans, width
