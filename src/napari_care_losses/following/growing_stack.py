"""The frames of a growing source as a stack, as long as it is at the moment."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from napari_care_losses.images.frames import Frames

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from napari_care_losses.following.source import Layout, Source


def stack_of(source: Source, layout: Layout, count: int) -> Frames:
    """Return the first `count` frames of a source as a stack; frames are read when they are asked for.

    Frames of an incomplete last time point can be read too, those that are there.

    Parameters
    ----------
    source : Source
        The source.
    layout : Layout
        Its layout.
    count : int
        At least 1.
    """
    times = -(-count // layout.frames_per_time)
    data = _SourceArray(source, layout.shape(times), layout.dtype)
    return Frames(data, layout.axes, layout.calibration, metadata=layout.metadata)


class _SourceArray:
    """Frames of a source as an array (T, ..., Y, X)."""

    def __init__(self, source: Source, shape: tuple[int, ...], dtype: np.dtype[Any]) -> None:
        self._source, self.shape, self.dtype, self.ndim = source, shape, dtype, len(shape)

    def __getitem__(self, place: tuple[int, ...]) -> NDArray[Any]:
        return self._source.frame(int(np.ravel_multi_index(place, self.shape[:-2])))
