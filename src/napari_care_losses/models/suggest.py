"""Which models of the library were trained on images like the ones to restore."""

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
"""Frames of a stack that are measured, evenly chosen."""


class Match(NamedTuple):
    """How well a model matches images.

    Attributes
    ----------
    entry : LibraryEntry
        The model.
    distance : float
        From `matching.distance`; infinite where the model does not store what it was trained on.
    reasons : list of str
        In what the images differ from those it was trained on, in plain words; empty where they match.
    """

    entry: LibraryEntry
    distance: float
    reasons: list[str]


def measure_frames(frames: Frames) -> list[ImageStatistics]:
    """Measure `MEASURED_FRAMES` of a stack, or all if there are fewer; those that cannot be measured are left out.

    Raises
    ------
    InputError
        If none can be: what is wrong with the first.
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
    """Sort models by how well they match images, the best first; equals stay as they were.

    Parameters
    ----------
    entries : iterable of LibraryEntry
        The models.
    measured : list of ImageStatistics
        What the images look like, from `measure_frames`.
    """
    matches = []
    for entry in entries:
        far = distance(entry.card.statistics, measured)
        matches.append(Match(entry, math.inf if far is None else far, reasons(entry.card.statistics, measured)))
    return sorted(matches, key=lambda match: match.distance)
