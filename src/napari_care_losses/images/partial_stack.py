"""A stack that is being filled frame by frame, and the order in which that is done."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.lib.mixins import NDArrayOperatorsMixin

if TYPE_CHECKING:
    from numpy.typing import DTypeLike, NDArray

CHANGING = ("partition", "put", "resize", "setfield", "setflags", "sort")
"""Methods of arrays that change them in place."""


class PartialStack(NDArrayOperatorsMixin):
    """A float32 stack whose missing frames read as NaN, which viewers draw as transparent.

    It can stand wherever an array is read: lazily, frame by frame, by integers and slices; by everything else that
    numpy offers (operators, methods, masks, functions) as an array of what is there, made at each call. It cannot be
    changed that way. The memory behind it need not be initialised: what was never filled is never read from it.

    Parameters
    ----------
    array : float32 array (..., Y, X)
        Where the frames are kept, in memory or on disk.
    is_done : bool array (...), optional
        Which of them are filled already, kept up to date; by default none.

    Attributes
    ----------
    array, is_done
        As given; what lies in the array is the stack only where frames are filled.
    shape, dtype, ndim, size, nbytes
        Those of the array.

    Examples
    --------
    >>> import numpy as np
    >>> from napari_care_losses.images.partial_stack import PartialStack
    >>> stack = PartialStack(np.zeros((2, 2, 2), np.float32))
    >>> stack.fill(0, np.float32([[1, 2], [3, 4]]))
    >>> stack[0].max(), stack.missing, int((stack > 2).sum())
    (np.float32(4.0), [1], 2)
    """

    def __init__(self, array: NDArray[np.float32], is_done: NDArray[np.bool_] | None = None) -> None:
        self.array = array
        self.is_done = np.zeros(array.shape[:-2], bool) if is_done is None else is_done
        self.shape: tuple[int, ...] = array.shape
        self.dtype = array.dtype
        self.ndim, self.size, self.nbytes = array.ndim, array.size, array.nbytes

    @property
    def done(self) -> set[int]:
        """The frames filled so far, counted in C order over the leading axes."""
        return set(np.flatnonzero(self.is_done).tolist())

    @property
    def missing(self) -> list[int]:
        """The frames not filled yet."""
        return [int(index) for index in np.flatnonzero(~self.is_done)]

    @property
    def count(self) -> int:
        """Number of frames."""
        return math.prod(self.shape[:-2])

    def fill(self, index: int, frame: NDArray[np.float32]) -> None:
        """Store frame `index`, an array (Y, X); from here on it can be read."""
        place = np.unravel_index(index, self.is_done.shape) if self.is_done.shape else ()
        self.array[place] = frame
        # only now, for the viewer reads at any time
        self.is_done[place] = True

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, key: Any) -> NDArray[np.float32]:
        keys = self._expanded(key)
        if keys is None:
            chosen: NDArray[np.float32] = np.asarray(self)[key]
            return chosen
        leading, within = keys[:-2], keys[-2:]
        # before the pixels are read: a frame filled in between reads as missing, not as what lay there before
        is_done = np.asarray(self.is_done[leading])
        pixels = np.asarray(self.array[keys])
        if is_done.all():
            return pixels
        kept = sum(not isinstance(index, (int, np.integer)) for index in within)
        there = is_done.reshape(is_done.shape + (1,) * kept)
        return np.where(there, pixels, np.float32(np.nan))

    def __array__(self, dtype: DTypeLike | None = None, copy: bool | None = None) -> NDArray[Any]:
        if copy is False:
            raise ValueError("a partial stack cannot be given out without a copy")
        return np.array(self[()], dtype=dtype)

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: Any, **options: Any) -> Any:
        if any(isinstance(one, PartialStack) for one in options.get("out", ())):
            raise TypeError("A stack that is still being restored cannot be changed: copy it first.")
        arrays = (np.asarray(one) if isinstance(one, PartialStack) else one for one in inputs)
        return getattr(ufunc, method)(*arrays, **options)

    def __getattr__(self, name: str) -> Any:
        """Return what arrays have under this name."""
        if name.startswith("_") or name in CHANGING or not hasattr(np.ndarray, name):
            raise AttributeError(f"a partial stack has no {name!r}")
        return getattr(np.asarray(self), name)

    def __deepcopy__(self, _memo: object) -> NDArray[np.float32]:
        """Return what is there as an array: nobody fills a copy."""
        return np.asarray(self)

    def _expanded(self, key: Any) -> tuple[Any, ...] | None:
        """Return one index an axis, of integers and slices, as viewers and `Frames` ask for them; None of others."""
        given = key if isinstance(key, tuple) else (key,)
        whole = [index is Ellipsis for index in given]
        if sum(whole) == 1:
            place = whole.index(True)
            given = (*given[:place], *[slice(None)] * (self.ndim - len(given) + 1), *given[place + 1 :])
        if len(given) > self.ndim or not all(_is_plain(index) for index in given):
            return None
        return (*given, *[slice(None)] * (self.ndim - len(given)))


def _is_plain(index: Any) -> bool:
    return isinstance(index, (int, np.integer, slice)) and not isinstance(index, bool)


class NearestFirst(Collection[int]):
    """Frame indices in the order in which they are restored: always the one left that is nearest to the shown one.

    The shown frame may be set from another thread during the iteration.
    """

    def __init__(self, indices: Collection[int], shown: int = 0) -> None:
        self._indices = sorted(set(indices))
        self.shown = shown

    def __len__(self) -> int:
        return len(self._indices)

    def __contains__(self, index: object) -> bool:
        return index in self._indices

    def __iter__(self) -> Iterator[int]:
        left = list(self._indices)
        while left:
            shown = self.shown
            nearest = min(left, key=lambda index: abs(index - shown))
            left.remove(nearest)
            yield nearest
