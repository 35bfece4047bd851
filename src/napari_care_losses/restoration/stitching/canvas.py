"""A restored frame, filled tile by tile, several tiles and orientations at once where memory allows."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from napari_care_losses.errors import ComputeError
from napari_care_losses.restoration.tiles import largest_tile, plan_tiles, smallest_tile

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from numpy.typing import NDArray

    from napari_care_losses.images.regions import Region
    from napari_care_losses.restoration.engines.base import Engine, Pixels
    from napari_care_losses.restoration.tiles import Tile

    Channels = Callable[[tuple[slice, ...]], Pixels]

Flip = tuple[slice, slice]

FLIPS: tuple[Flip, ...] = tuple((slice(None, None, y), slice(None, None, x)) for y in (1, -1) for x in (1, -1))
"""The orientations to average over, each its own inverse; the first is the frame's own.

Frames are padded to multiples of the network's block, at which tiles start too, so that flips keep the blocks.
"""


class Tiling:
    """The tiles of what is read of every frame of a stack; fewer at once, then smaller ones, after a failure."""

    def __init__(self, shape: tuple[int, int], engine: Engine, tile_size: int | None, memory: int) -> None:
        self._shape, self._engine = shape, engine
        self._architecture = engine.architecture
        self._cut(tile_size or largest_tile(self._architecture, memory))
        self._at_once = engine.at_once(self._width)

    def fill(self, canvas: Canvas) -> Iterator[int]:
        """Restore a frame tile by tile, in less memory if the device fails; yields the number of finished tiles."""
        filled, has_failed = 0, False
        while filled < len(self.tiles):
            tiles = self.tiles[filled : filled + max(1, self._at_once // canvas.orientations)]
            together = min(self._at_once, len(tiles) * canvas.orientations)
            try:
                canvas.fill(tiles, self._engine, together)
            except ComputeError:
                # Libraries do not distinguish lack of memory from other failures; those fail with small tiles too.
                if together == 1 and self._width <= smallest_tile(self._architecture):
                    raise
                self._at_once, has_failed = max(1, together // 2), True
                if together == 1:
                    self._cut(self._width // 2)
                    filled = 0
                continue
            if has_failed:
                self._engine.remember_tile(self._width, self._at_once)
                has_failed = False
            for _ in tiles:
                filled += 1
                yield filled

    def _cut(self, width: int) -> None:
        self.tiles: list[Tile] = plan_tiles(self._shape, self._architecture, width)
        self._width = max(span.stop - span.start for span in self.tiles[0].source)


class Canvas:
    """A region of a normalised frame and its restoration, filled tile by tile.

    `channels` gives what is read of a part of the region `read`, of which `kept` is kept; both are regions of the
    padded frame.
    """

    def __init__(
        self, channels: Channels, flips: Sequence[Flip], read: Region, kept: Region, *, has_scale: bool
    ) -> None:
        self._channels, self._flips, self._kept = channels, flips, kept.within(read).slices
        self._mean = np.empty(read.shape, np.float32)
        self._scale = np.empty_like(self._mean) if has_scale else None

    @property
    def orientations(self) -> int:
        """Number of restorations of every tile."""
        return len(self._flips)

    def fill(self, tiles: Sequence[Tile], engine: Engine, at_once: int) -> None:
        """Restore tiles in every orientation, so many at once, and average."""
        todo = [
            (tile, number, flip, _flipped(channels, flip))
            for tile, channels in ((tile, self._channels(tile.source)) for tile in tiles)
            for number, flip in enumerate(self._flips, start=1)
        ]
        for start in range(0, len(todo), at_once):
            part = todo[start : start + at_once]
            restored = engine.restore_together([pixels for *_, pixels in part])
            for (tile, number, flip, _), (mean, scale) in zip(part, restored, strict=True):
                _average_into(self._mean[tile.target], mean[flip][tile.inner], number)
                if self._scale is not None and scale is not None:
                    _average_into(self._scale[tile.target], scale[flip][tile.inner], number)

    def finished(self) -> tuple[NDArray[np.float32], NDArray[np.float32] | None]:
        """Return mean and scale of what is kept, once all tiles are filled."""
        return self._mean[self._kept], None if self._scale is None else self._scale[self._kept]


def _flipped(pixels: Pixels, flip: Flip) -> Pixels:
    """Return pixels (..., Y, X) flipped; torch has no steps below 0."""
    if isinstance(pixels, np.ndarray):
        return pixels[..., *flip]
    return pixels.flip([axis for axis, span in zip((-2, -1), flip, strict=True) if span.step == -1])


def _average_into(mean: NDArray[np.float32], values: NDArray[np.float32], number: int) -> None:
    """Update the mean of `number` - 1 arrays with one more; the first replaces what is there."""
    if number == 1:
        mean[:] = values
    else:
        mean += (values - mean) / np.float32(number)
