"""The work of following, as an iterator without Qt."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from napari_care_losses.following.sources.received_frames import SequenceFrames
from napari_care_losses.models.model import load_model
from napari_care_losses.widgets.layers.partial_movie import PartialMovie

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

    from napari_care_losses.following.progress import FollowProgress
    from napari_care_losses.following.source import Layout, Source
    from napari_care_losses.restoration.parameters import RestorationParameters


class Movies(NamedTuple):
    """What is kept of a sequence."""

    restored: PartialMovie
    originals: PartialMovie | None
    """The frames as they came; None where the viewer shows them already."""


class FollowReport(NamedTuple):
    """A step of following."""

    progress: FollowProgress
    movies: Movies | None = None
    """None of a live image, of which nothing is kept."""


def followed(
    source: Source,
    path: Path,
    parameters: RestorationParameters,
    new_array: Callable[[tuple[int, ...]], NDArray[np.float32]],
    *,
    keeps_originals: bool,
) -> Iterator[FollowReport]:
    """Follow a source with the model of a file; what is restored of a sequence is kept."""
    # imported here, in the background: opening the widget need not wait for it
    from napari_care_losses.following.follow import follow

    movies = None
    for progress in follow(source, load_model(path), None, parameters):
        frame, layout = progress.frame, progress.layout
        if source.keeps_frames and frame is not None and layout is not None:
            movies = movies or _movies(layout, new_array, keeps_originals=keeps_originals)
            movies.restored.fill(frame.index, frame.image)
            if movies.originals is not None and progress.original is not None:
                movies.originals.fill(frame.index, progress.original)
            if isinstance(source, SequenceFrames):
                source.done(frame.index)
        yield FollowReport(progress, movies)


def _movies(
    layout: Layout, new_array: Callable[[tuple[int, ...]], NDArray[np.float32]], *, keeps_originals: bool
) -> Movies:
    restored, originals = (PartialMovie(layout.inner, layout.frame_shape, new_array) for _ in range(2))
    return Movies(restored, originals if keeps_originals else None)
