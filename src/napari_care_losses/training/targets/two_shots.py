"""Patches of two noisy images of one field, with equal grey levels."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from napari_care_losses.images.noise.change import symmetric_map

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from napari_care_losses.training.pairs import Share


MOST_CHANGED, LEAST_CHANGED = 0.5, 0.1
"""Share of the structure that changes from one image to the other above which they show other things, and above which
it is warned of: what moves is learnt as a blur."""


class TwoShots:
    """Patches of two noisy images with equal grey levels; each is the target of the other where `either_way`."""

    def __init__(self, share: Share, patch_size: int, *, either_way: bool) -> None:
        self._size, self._either_way = patch_size, either_way
        self._first, self._second = share.pair.low[share.region], share.pair.second[share.region]
        # of the whole images: those of a part are less certain
        gain, offset = symmetric_map(share.pair.second, share.pair.low)
        self._gain, self._offset = np.float32(gain), np.float32(offset)

    def draw(
        self, top: int, left: int, rng: np.random.Generator, *, augmented: bool
    ) -> tuple[NDArray[Any], NDArray[Any]]:
        """Return an input and a target patch (Y, X)."""
        window = (slice(top, top + self._size), slice(left, left + self._size))
        first = self._first[window]
        second = self._gain * self._second[window] + self._offset
        return (second, first) if self._either_way and rng.integers(2) else (first, second)
