"""Notices that the pixels of a layer changed while, or after, frames were restored from them."""

from __future__ import annotations

import zlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

import numpy as np

from napari_care_losses.errors import InputError
from napari_care_losses.images.chunk_cache import forget_chunks
from napari_care_losses.images.frames import Frames
from napari_care_losses.widgets.layers.conversion import pixels_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from napari.layers import Image, Layer
    from numpy.typing import NDArray

SAMPLED = 4096
"""Values of an array that are compared to notice a change in place at any time."""

_DATA_EVENTS: WeakKeyDictionary[Layer, int] = WeakKeyDictionary()
"""How often the data of a layer were set, since it was first asked about."""


def data_state(layer: Image) -> tuple[Any, ...]:
    """Return what is another value once the data of a layer were set, or most times once they were changed in place."""
    if layer not in _DATA_EVENTS:
        _DATA_EVENTS[layer] = 0
        layer.events.data.connect(_count)
    pixels = pixels_of(layer.data[0] if layer.multiscale else layer.data)
    sample = pixels.flat[:: max(1, pixels.size // SAMPLED)].tobytes() if type(pixels) is np.ndarray else b""
    # what dask and torch change with the values
    own = [str(getattr(pixels, name, "")) for name in ("name", "_version")]
    return id(pixels), _DATA_EVENTS[layer], zlib.crc32(sample), *own


@dataclass(frozen=True)
class WatchedFrames(Frames):
    """Frames that notice when one reads otherwise than before.

    Attributes
    ----------
    seen : dict of int to int
        Checksums of the frames read so far, by index.
    changed : set of int
        Frames that were found changed.
    """

    seen: dict[int, int] = field(default_factory=dict)
    changed: set[int] = field(default_factory=set)

    def __getitem__(self, index: int) -> NDArray[Any]:
        """Read a frame; raise `InputError` if it has changed since it was first read."""
        frame = super().__getitem__(index)
        checksum = zlib.crc32(np.ascontiguousarray(frame))
        if self.seen.setdefault(index, checksum) != checksum:
            self.changed.add(index)
            which = f"frame {index} of the image" if len(self) > 1 else "the image"
            raise InputError(f"{which} was changed after it was first read. Restore starts from the beginning.")
        return frame

    def check(self) -> Iterator[int]:
        """Read again all frames seen so far, and yield after each; raise `InputError` if one has changed."""
        forget_chunks()
        for index in sorted(self.seen):
            self[index]
            yield index


def _count(event: Any) -> None:
    _DATA_EVENTS[event.source] += 1
