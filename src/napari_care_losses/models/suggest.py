"""Suggests the models that were trained on images like the ones to restore."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

from napari_care_losses.models.match import distance, reasons

if TYPE_CHECKING:
    from collections.abc import Iterable

    from napari_care_losses.models.image_statistics import ImageStatistics
    from napari_care_losses.models.library import LibraryEntry


class Match(NamedTuple):
    """How well a model matches images."""

    entry: LibraryEntry
    distance: float
    """From `napari_care_losses.models.match.distance`; infinite where the model does not store statistics."""
    reasons: list[str]
    """How the images differ from those it was trained on; empty where they match."""


def rank_models(entries: Iterable[LibraryEntry], measured: list[ImageStatistics]) -> list[Match]:
    """Sort models by how well they match the images measured, the best first; equal ones keep their order.

    Examples
    --------
    >>> from napari_care_losses.models.image_statistics import measure
    >>> from napari_care_losses.models.library import list_models
    >>> from napari_care_losses.models.suggest import rank_models
    >>> from napari_care_losses.simulation.pairs_and_movies import simulate_pairs
    >>> low, _ = simulate_pairs("actin", 1, (128, 128), seed=0)
    >>> bundled = [entry for entry in list_models() if entry.bundled]
    >>> sorted(match.entry.name for match in rank_models(bundled, [measure(low[0])]))[:2]
    ['bandpass-care', 'bandpass-lite']
    """
    matches = []
    for entry in entries:
        how_far = distance(entry.card.statistics, measured)
        matches.append(Match(entry, math.inf if how_far is None else how_far, reasons(entry.card.statistics, measured)))
    return sorted(matches, key=lambda match: match.distance)
