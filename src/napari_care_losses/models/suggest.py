"""Suggests the models that were trained on images like the ones to restore."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

from napari_care_losses.errors import InputError
from napari_care_losses.images.sampling import evenly_spaced
from napari_care_losses.models.image_statistics import measure
from napari_care_losses.models.match import distance, reasons

if TYPE_CHECKING:
    from collections.abc import Iterable

    from napari_care_losses.images.frames import Frames
    from napari_care_losses.models.image_statistics import ImageStatistics
    from napari_care_losses.models.library import LibraryEntry

MEASURED_FRAMES = 5
"""Largest number of frames of a stack that are measured."""


class Match(NamedTuple):
    """How well a model matches images."""

    entry: LibraryEntry
    distance: float
    """From `napari_care_losses.models.match.distance`; infinite where the model does not store statistics."""
    reasons: list[str]
    """How the images differ from those it was trained on; empty where they match."""


def measure_frames(frames: Frames) -> list[ImageStatistics]:
    """Measure `MEASURED_FRAMES` evenly chosen frames of a stack, without those that cannot be measured.

    Raises
    ------
    InputError
        If no frame can be measured, with the reason for the first.

    Examples
    --------
    >>> import numpy as np
    >>> from napari_care_losses.images.frames import Frames
    >>> from napari_care_losses.models.suggest import measure_frames
    >>> noise = np.random.default_rng(0).normal(100, 10, (2, 64, 64))
    >>> [round(statistics.noise, 2) for statistics in measure_frames(Frames(noise))]
    [0.21, 0.2]
    """
    measured, first_error = [], None
    for index in evenly_spaced(range(len(frames)), MEASURED_FRAMES):
        try:
            measured.append(measure(frames[index]))
        except InputError as error:
            first_error = first_error or error
    if first_error is not None and not measured:
        raise first_error
    return measured


def rank_models(entries: Iterable[LibraryEntry], measured: list[ImageStatistics]) -> list[Match]:
    """Sort models by how well they match the images measured, the best first; equal ones keep their order.

    Examples
    --------
    >>> from napari_care_losses.images.frames import Frames
    >>> from napari_care_losses.models.library import list_models
    >>> from napari_care_losses.models.suggest import measure_frames, rank_models
    >>> from napari_care_losses.simulation.pairs_and_movies import simulate_pairs
    >>> low, _ = simulate_pairs("actin", 1, (128, 128), seed=0)
    >>> bundled = [entry for entry in list_models() if entry.bundled]
    >>> sorted(match.entry.name for match in rank_models(bundled, measure_frames(Frames(low))))[:2]
    ['bandpass-care', 'bandpass-lite']
    """
    matches = []
    for entry in entries:
        how_far = distance(entry.card.statistics, measured)
        matches.append(Match(entry, math.inf if how_far is None else how_far, reasons(entry.card.statistics, measured)))
    return sorted(matches, key=lambda match: match.distance)
