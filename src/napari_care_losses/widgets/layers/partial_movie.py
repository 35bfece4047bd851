"""A movie that grows while it is filled."""

from __future__ import annotations

import math
import threading
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.lib.mixins import NDArrayOperatorsMixin

from napari_care_losses.images.partial_stack import PartialStack

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import DTypeLike, NDArray

BLOCK_BYTES = 128 << 20
"""Memory of a block, the number of time points that are made room for at a time."""


class PartialMovie(NDArrayOperatorsMixin):
    """A movie (T, ..., Y, X) that is as long as its last filled frame; those missing before it read as NaN.

    It can stand wherever an array is read. Frames may be filled by another thread than reads them.

    Parameters
    ----------
    inner : tuple of int
        Sizes of the axes between time and Y.
    frame_shape : tuple of int
        (Y, X).
    new_block : callable
        Returns an array of a shape to keep frames in.

    Examples
    --------
    >>> import numpy as np
    >>> movie = PartialMovie((), (2, 2), lambda shape: np.zeros(shape, np.float32))
    >>> movie.fill(2, np.ones((2, 2), np.float32))
    >>> movie.shape, bool(np.isnan(movie[0]).all()), float(movie[2, 1, 1])
    ((3, 2, 2), True, 1.0)
    """

    def __init__(
        self,
        inner: tuple[int, ...],
        frame_shape: tuple[int, int],
        new_block: Callable[[tuple[int, ...]], NDArray[Any]],
        *,
        block_bytes: int = BLOCK_BYTES,
    ) -> None:
        self._inner, self._frame_shape, self._new_block = inner, frame_shape, new_block
        self._per_time = math.prod(inner)
        self._block = max(1, block_bytes // (4 * self._per_time * math.prod(frame_shape)))
        self._blocks: dict[int, PartialStack] = {}
        self._lock = threading.Lock()
        self._times, self._dtype = 0, np.dtype(np.float32)

    @property
    def shape(self) -> tuple[int, ...]:
        """(T, ..., Y, X)."""
        return (self._times, *self._inner, *self._frame_shape)

    @property
    def dtype(self) -> np.dtype[Any]:
        """That of the blocks."""
        return self._dtype

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return len(self.shape)

    @property
    def size(self) -> int:
        """Number of pixels."""
        return math.prod(self.shape)

    @property
    def nbytes(self) -> int:
        """Memory of all pixels."""
        return self.size * self.dtype.itemsize

    @property
    def done(self) -> set[int]:
        """The frames filled so far, counted in C order."""
        with self._lock:
            first = self._block * self._per_time
            return {number * first + index for number, block in self._blocks.items() for index in block.done}

    def fill(self, number: int, frame: NDArray[Any]) -> None:
        """Store a frame (Y, X); raises what `new_block` raises."""
        time, within = divmod(number, self._per_time)
        which, place = divmod(time, self._block)
        if which not in self._blocks:
            array = self._new_block((self._block, *self._inner, *self._frame_shape))
            with self._lock:
                self._blocks[which], self._dtype = PartialStack(array), array.dtype
        self._blocks[which].fill(place * self._per_time + within, frame)
        self._times = max(self._times, time + 1)

    def __len__(self) -> int:
        return self._times

    def __getitem__(self, key: Any) -> NDArray[Any]:
        given = key if isinstance(key, tuple) else (key,)
        first = given[0] if given else slice(None)
        if isinstance(first, (int, np.integer)) and not isinstance(first, bool):
            index = int(first) + (self._times if first < 0 else 0)
            if not 0 <= index < self._times:
                raise IndexError(f"time point {first} of {self._times}")
            return self._at(index, given[1:])
        if isinstance(first, slice):
            parts = [self._at(index, given[1:]) for index in range(self._times)[first]]
            return np.stack(parts) if parts else np.empty((0, *self.shape[1:]), self.dtype)
        chosen: NDArray[Any] = np.asarray(self)[key]
        return chosen

    def __array__(self, dtype: DTypeLike | None = None, copy: bool | None = None) -> NDArray[Any]:
        if copy is False:
            raise ValueError("a partial movie cannot be given out without a copy")
        return np.array(self[:], dtype=dtype)

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: Any, **options: Any) -> Any:
        arrays = (np.asarray(one) if isinstance(one, PartialMovie) else one for one in inputs)
        return getattr(ufunc, method)(*arrays, **options)

    def _at(self, index: int, key: tuple[Any, ...]) -> NDArray[Any]:
        which, place = divmod(index, self._block)
        block = self._blocks.get(which)
        if block is None:
            chosen: NDArray[Any] = np.full(self.shape[1:], np.nan, np.float32)[key]
            return chosen
        return block[(place, *key)]
