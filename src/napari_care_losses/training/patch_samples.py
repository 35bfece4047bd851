"""Patches drawn once: those a model is validated on, and a look at what a training would draw."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from napari_care_losses.errors import InputError
from napari_care_losses.training.patches import Pair, PatchSource, Share, draw_batch, split_pairs

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari_care_losses.training.pair_sources import PairSource
    from napari_care_losses.training.parameters import TrainingParameters
    from napari_care_losses.training.patches import Batch

MOST_IMAGES = 6
"""Images the patches are drawn from: all of them would have to be read."""


def draw_validation(sources: Sequence[PatchSource], parameters: TrainingParameters) -> list[Batch]:
    """Draw the patches the validation loss is taken over, in batches: the same for equal seeds."""
    rng = np.random.default_rng([parameters.seed, 1])
    sizes = [parameters.batch_size] * (parameters.validation_patches // parameters.batch_size)
    rest = parameters.validation_patches % parameters.batch_size
    return [draw_batch(sources, count, rng, augmented=False) for count in [*sizes, rest] if count]


def patch_source(share: Share, parameters: TrainingParameters, rng: np.random.Generator) -> PatchSource:
    """Return what draws patches from a share of a pair as the parameters say."""
    return PatchSource(
        share,
        patch_size=parameters.patch_size,
        background_filter=parameters.background_filter,
        rng=rng,
        vary_levels=parameters.vary_levels,
        vary_noise=parameters.vary_noise,
        redraw_noise=parameters.redraw_noise,
        vary_size=parameters.vary_size,
        match_levels=parameters.match_levels,
    )


def sample_patches(
    sources: Sequence[PairSource], parameters: TrainingParameters, count: int, rng: np.random.Generator
) -> Batch:
    """Draw patches as a training does: normalised, where there is signal, flipped and turned.

    Parameters
    ----------
    sources : sequence of PairSource
        What to learn from; a few frames chosen at random are read.
    parameters : TrainingParameters
        Patch size and background filter are used.
    count : int
        Number of patches.
    rng : numpy.random.Generator
        Source of the choice.

    Raises
    ------
    InputError
        If there is no pair, one cannot be used, or a patch does not fit.
    """
    if not sources:
        raise InputError("Training needs at least one pair of a low and a high image.")
    places = [(source, index) for source in sources for index in range(len(source.opened()[0]))]
    chosen = rng.permutation(len(places))[:MOST_IMAGES]
    pairs = [_pair(*places[place]) for place in chosen]
    whole = (slice(None), slice(None))
    # a single image is split by region: what validates is not drawn from
    shares = (
        split_pairs(pairs, parameters.patch_size, rng)[:1]
        if len(places) == 1
        else [Share(pair, whole, False) for pair in pairs]
    )
    drawn_from = [patch_source(share, parameters, rng) for share in shares]
    return draw_batch(drawn_from, count, rng)


def _pair(source: PairSource, index: int) -> Pair:
    low, high = source.opened()
    return Pair(low[index], high[index], source.name)
