"""The order in which frames are done: from the one being looked at outward, wherever the look goes meanwhile."""

from __future__ import annotations

from collections.abc import Collection, Iterator


class Outward(Collection[int]):
    """Frame indices, each iterated over once: always the one left that is nearest to `shown`.

    Parameters
    ----------
    indices : collection of int
        The frames to do.
    shown : int
        The frame being looked at; may be set from another thread while the frames are being iterated over.
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
