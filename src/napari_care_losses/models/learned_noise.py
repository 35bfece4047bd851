"""How strongly the noise of neighbouring pixels correlates in the images that a model learned from."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from napari_care_losses.images.noise.shared import measure_images
from napari_care_losses.images.sampling import evenly_spaced
from napari_care_losses.models.model import LEARNED_CORRELATION

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from napari_care_losses.models.model import ModelCard

IMAGES = 12
"""Largest number of images of a training set whose noise is measured."""

# that of so many percent of the images is not stronger
_MOST_IMAGES = 80


def noise_statistics(images: Sequence[NDArray[Any]]) -> dict[str, Any]:
    """Measure the noise of at most `IMAGES` evenly chosen images (Y, X), for the statistics of a model's card.

    Empty where none holds noise, or all are too small.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> noise_statistics([rng.poisson(50, (128, 128)) for _ in range(3)])
    {'noise_correlation': 0.0}
    """
    noises = [measure_images([image]) for image in evenly_spaced(images, IMAGES)]
    found = [noise.strongest for noise in noises if noise is not None]
    return {LEARNED_CORRELATION: round(float(np.percentile(found, _MOST_IMAGES)), 2)} if found else {}


def learned_correlation(card: ModelCard) -> float | None:
    """Return how strongly the noise of neighbouring pixels correlates in the images that a model learned from.

    None where its card does not say so.
    """
    found = card.statistics.get(LEARNED_CORRELATION)
    return float(found) if isinstance(found, int | float) and 0 <= found <= 1 else None
