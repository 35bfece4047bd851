"""Chunks that hold several frames, unpacked once and kept while their frames are read."""

from __future__ import annotations

import math
import time
from bisect import bisect_right
from collections import OrderedDict, deque
from concurrent.futures import Future
from itertools import accumulate
from threading import Lock
from typing import TYPE_CHECKING, Any
from weakref import WeakValueDictionary

import numpy as np

from napari_care_losses.compute.memory import free_memory
from napari_care_losses.images.any_array import chunks_of, pixel_type, to_numpy

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

LARGEST_KEPT = 1 << 30
"""Bytes of unpacked chunks that are kept of one array at most."""

MEMORY_SHARE = 0.125
"""Share of the free memory that they may take at most."""

KEPT_SECONDS = 300.0
"""Time after which a chunk is read anew: files change."""

REMEMBERED = 64
"""Parts of frames that were read last, and their chunks, half of either: read again, they are kept."""

Span = tuple[int, int]

_CACHES: WeakValueDictionary[tuple[int, int], ChunkCache] = WeakValueDictionary()
"""By array and number of leading axes, while somebody reads: all who read an array share what is unpacked of it."""


def cached(data: Any, leading: int | None = None) -> Any:
    """Return an array that unpacks chunks of several frames once; the array itself where no chunk holds several.

    Parameters
    ----------
    data : array
        Anything with ``shape``, ``dtype``, indexing and, where it has chunks, ``chunks``.
    leading : int, optional
        The number of axes that count frames; all but the last two by default.

    Examples
    --------
    >>> import dask.array as da
    >>> type(cached(da.zeros((4, 8, 8), chunks=(4, 8, 8)))).__name__
    'ChunkCache'
    >>> type(cached(da.zeros((4, 8, 8), chunks=(1, 8, 8)))).__name__
    'Array'
    """
    leading = len(data.shape) - 2 if leading is None else leading
    if leading < 1 or isinstance(data, (np.ndarray, ChunkCache)):
        return data
    key = id(data), leading
    known = _CACHES.get(key)
    if known is not None:
        return known
    chunks = chunks_of(data)
    if chunks is None or not any(map(_holds_several, chunks[:leading], data.shape)):
        return data
    return _CACHES.setdefault(key, ChunkCache(data, chunks, leading))


def forget_chunks(*, only_old: bool = False) -> None:
    """Forget all that is unpacked, or what is older than `KEPT_SECONDS`: it is read anew from where it is stored."""
    for cache in list(_CACHES.values()):
        cache.forget(only_old=only_old)


class ChunkCache:
    """An array of which the chunks read last are kept unpacked, up to `LARGEST_KEPT` and `MEMORY_SHARE`.

    A frame is read together with those that share its chunks: with as many of them as fit into half of the memory,
    beside all frames that come in between when frames are read in order. A part of a frame is read alone the first
    time, and like a frame once it is asked for of other frames, or its chunks are needed again. Threads may read at the
    same time; what one of them is unpacking the others wait for.

    Parameters
    ----------
    data, leading
        As in `cached`.
    chunks : tuple
        The size of its chunks, as from `napari_care_losses.images.any_array.chunks_of`.
    """

    def __init__(self, data: Any, chunks: tuple[Any, ...], leading: int) -> None:
        self._data, self._leading = data, leading
        self.shape: tuple[int, ...] = tuple(map(int, data.shape))
        self._starts: list[Sequence[int]] = [
            range(0, size, along) if isinstance(along, int) else [0, *accumulate(along[:-1])]
            for size, along in zip(self.shape, chunks, strict=True)
        ]
        self.dtype, self.ndim = pixel_type(data), len(self.shape)
        self._lock = Lock()
        self._blocks: OrderedDict[tuple[Span, ...], _Block] = OrderedDict()
        self._windows: deque[tuple[Span, ...]] = deque(maxlen=REMEMBERED)
        self._steps: list[int] | None = None

    def __getitem__(self, place: Any) -> Any:
        """Return the pixels at a place: integers and slices, those of the last axes may be left out."""
        keys = place if isinstance(place, tuple) else (place,)
        spans = self._spans(keys)
        block = None if spans is None else self._block_around(spans)
        if spans is None or block is None or self._is_new_window(spans, block):
            return self._data[place]
        pixels = self._unpacked(block)
        if pixels is None:
            return self._data[place]
        inside = tuple(slice(a - start, b - start) for (a, b), (start, _) in zip(spans, block, strict=True))
        counted = tuple(axis for axis, key in enumerate(keys) if not isinstance(key, slice))
        # a copy: a part of the block would keep all of it in memory
        found = pixels[inside].squeeze(counted).copy()
        return self._data[place] if _is_blank(found) else found

    def forget(self, *, only_old: bool = False) -> None:
        """Forget what is unpacked, as `forget_chunks` does."""
        with self._lock:
            for block in [block for block, one in self._blocks.items() if one.is_old or not only_old]:
                del self._blocks[block]

    def __reduce__(self) -> tuple[Any, ...]:
        return cached, (self._data, self._leading)

    def _spans(self, keys: tuple[Any, ...]) -> tuple[Span, ...] | None:
        """Return where a place starts and stops along every axis; None if it is no such place."""
        spans: list[Span] = []
        for axis, size in enumerate(self.shape):
            key = keys[axis] if axis < len(keys) else slice(None)
            if isinstance(key, slice):
                start, stop, step = key.indices(size)
            elif isinstance(key, (int, np.integer)) and not isinstance(key, bool):
                start, stop, step = int(key), int(key) + 1, 1
            else:
                return None
            if step != 1 or not 0 <= start < stop <= size:
                return None
            spans.append((start, stop))
        return tuple(spans) if len(keys) <= self.ndim else None

    def _block_around(self, spans: tuple[Span, ...]) -> tuple[Span, ...] | None:
        """Return what is unpacked with some pixels: the frames in their chunks; None where there are no others."""
        if self._steps is None:
            self._steps = self._planned()
        block: list[Span] = []
        for axis, (first, last) in enumerate(spans):
            start, stop = self._chunk(axis, first)
            if axis >= self._leading:
                block.append((start, self._chunk(axis, last - 1)[1]))
                continue
            start += (first - start) // self._steps[axis] * self._steps[axis]
            block.append((start, min(start + self._steps[axis], stop)))
            if last > block[-1][1]:
                # frames of several chunks, which are unpacked together as it is
                return None
        return tuple(block) if block[: self._leading] != list(spans[: self._leading]) else None

    def _is_new_window(self, spans: tuple[Span, ...], block: tuple[Span, ...]) -> bool:
        """Return whether pixels are a part of a frame that is looked at for the first time: others may never be."""
        window = spans[self._leading :]
        if window == tuple((0, size) for size in self.shape[self._leading :]):
            return False
        with self._lock:
            is_new = window not in self._windows and block not in self._windows
            self._windows.extend((window, block))
        return is_new

    def _chunk(self, axis: int, index: int) -> Span:
        """Return where the chunk of an index starts and stops."""
        starts = self._starts[axis]
        number = bisect_right(starts, index)
        return starts[number - 1], starts[number] if number < len(starts) else self.shape[axis]

    def _planned(self) -> list[int]:
        """Return how many steps along each leading axis are unpacked together at most."""
        # two blocks: who looks at neighbouring frames goes back and forth
        frames = _budget(0) // 2 // (math.prod(self.shape[self._leading :]) * self.dtype.itemsize)
        return [max(1, frames // math.prod(self.shape[axis + 1 : self._leading])) for axis in range(self._leading)]

    def _kept(self) -> int:
        return sum(block.size for block in self._blocks.values())

    def _unpacked(self, block: tuple[Span, ...]) -> NDArray[Any] | None:
        """Return the pixels of a block, from memory if they are there; None if they cannot be read, or not be kept."""
        forget_chunks(only_old=True)
        with self._lock:
            found = self._blocks.get(block)
            is_new = found is None
            if found is None:
                size = math.prod(stop - start for start, stop in block) * self.dtype.itemsize
                self._make_room(size)
                if size + self._kept() > _budget(self._kept()):
                    return None
                found = self._blocks[block] = _Block(size)
            self._blocks.move_to_end(block)
        if is_new:
            pixels = None
            try:
                pixels = to_numpy(self._data[tuple(slice(*span) for span in block)])
            except Exception:  # noqa: BLE001 - the frame asked for may be whole; if not, reading it alone says why
                pass
            finally:
                found.pixels.set_result(pixels)
        return found.pixels.result()

    def _make_room(self, size: int) -> None:
        """Forget the blocks that were used longest ago, as far as `size` bytes need it."""
        budget = _budget(self._kept())
        for block in [block for block, one in self._blocks.items() if one.pixels.done()]:
            if self._kept() + size <= budget:
                return
            del self._blocks[block]


class _Block:
    """What is unpacked, or being unpacked; None in place of the pixels if they cannot be read."""

    def __init__(self, size: int) -> None:
        self.size, self._since = size, time.monotonic()
        self.pixels: Future[NDArray[Any] | None] = Future()

    @property
    def is_old(self) -> bool:
        """Whether what lies in the file may be another one by now."""
        return self.pixels.done() and time.monotonic() - self._since > KEPT_SECONDS


def _holds_several(chunks: int | tuple[int, ...], size: int) -> bool:
    """Return whether a chunk holds several of the steps along an axis."""
    return min(chunks, size) > 1 if isinstance(chunks, int) else len(chunks) < size


def _budget(kept: int) -> int:
    """Return the bytes that may be kept of an array of which `kept` are."""
    return min(LARGEST_KEPT, int(MEMORY_SHARE * (free_memory() + kept)))


def _is_blank(pixels: NDArray[Any]) -> bool:
    """Return whether all pixels have one value, as those that are not written yet; they may have been since."""
    first = pixels.flat[0]
    is_same = pixels == first if first == first else pixels != pixels
    return bool(is_same.all())
