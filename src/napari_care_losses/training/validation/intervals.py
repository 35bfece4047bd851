"""Intervals of a trained model, calibrated on the images that validated it."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from napari_care_losses.evaluation.intervals import ValidationPixels, calibrate_intervals
from napari_care_losses.images.frames import Frames
from napari_care_losses.images.neighbours import among
from napari_care_losses.images.normalization import frame_range
from napari_care_losses.images.regions import Region
from napari_care_losses.images.sampling import evenly_spaced
from napari_care_losses.restoration.parameters import RestorationParameters
from napari_care_losses.restoration.restore_stack import restore_frames
from napari_care_losses.training.targets.registry import TARGETS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari_care_losses.evaluation.intervals import Intervals
    from napari_care_losses.models.model import Model
    from napari_care_losses.training.pairs import Share

MOST_IMAGES, MOST_PIXELS = 24, 1 << 20
"""So many images are restored at most, and so many pixels of all of them."""

PIXELS_AN_IMAGE = 20_000
"""Of each, so many pixels chosen at random are looked at."""

_PARAMETERS = RestorationParameters(engine="torch")


def with_intervals(
    model: Model,
    shares: Sequence[Share],
    *,
    device: str = "auto",
    are_simulated: bool = False,
    most_images: int = MOST_IMAGES,
) -> Model:
    """Return a model with intervals that hold the true values of images which it did not learn from.

    Each image is restored as a user restores it, in a window at a random place. The truth is brought to the grey levels
    that the training asked for: those of the noisy image, or to a range of its own.

    Parameters
    ----------
    model : Model
        The trained model.
    shares : sequence of Share
        The images; of those that train, none is looked at.
    device : str
        One of `napari_care_losses.restoration.parameters.DEVICES`.
    are_simulated : bool
        Whether the images were simulated.
    most_images : int
        How many are restored at most; of more, some spread over them.

    Returns
    -------
    Model
        With the same weights. A model that learnt from noisy images alone has no intervals: it has seen no true value.

    Raises
    ------
    ComputeError
        If the device fails.

    Examples
    --------
    >>> from napari_care_losses.models.library import find_model
    >>> from napari_care_losses.models.model import load_model
    >>> from napari_care_losses.simulation.varied_pairs import simulate_varied_pair
    >>> from napari_care_losses.training.pairs import Pair, Share
    >>> whole = slice(None), slice(None)
    >>> pairs = [Pair(*simulate_varied_pair("actin", (96, 96), seed=seed), f"field {seed}") for seed in range(3)]
    >>> shares = [Share(pair, whole, True) for pair in pairs]
    >>> model = with_intervals(load_model(find_model("laplace-lite")), shares, device="cpu", are_simulated=True)
    >>> model.card.intervals.describe().partition(";")[0]
    'Calibrated on 3 simulated images'
    """
    if TARGETS[model.card.target].is_noisy:
        return replace(model, card=replace(model.card, intervals=None))
    chosen = evenly_spaced([share for share in shares if share.validates], most_images)
    rng = np.random.default_rng(0)
    pixels = MOST_PIXELS // max(1, len(chosen))
    samples = [validation_pixels(model, share, rng, most=pixels, device=device) for share in chosen]
    found: Intervals | None = calibrate_intervals(samples, are_simulated=are_simulated) if samples else None
    return replace(model, card=replace(model.card, intervals=found))


def validation_pixels(
    model: Model, share: Share, rng: np.random.Generator, *, most: int = MOST_PIXELS, device: str = "auto"
) -> ValidationPixels:
    """Restore a window of an image, of so many pixels at most, and return some of its pixels, chosen at random.

    Examples
    --------
    >>> from napari_care_losses.models.library import find_model
    >>> from napari_care_losses.models.model import load_model
    >>> from napari_care_losses.simulation.varied_pairs import simulate_varied_pair
    >>> from napari_care_losses.training.pairs import Pair, Share
    >>> share = Share(Pair(*simulate_varied_pair("actin", (96, 96), seed=1), "field"), (slice(None), slice(None)), True)
    >>> pixels = validation_pixels(load_model(find_model("fft-lite")), share, np.random.default_rng(0), device="cpu")
    >>> pixels.restored.shape, pixels.truth.shape, pixels.scale
    ((9216,), (9216,), None)
    """
    pair, card = share.pair, model.card
    window = _window(share, most, rng)
    around = () if pair.around is None else pair.around.low
    frames, own = Frames(np.asarray(among(around, pair.low))), len(around) // 2
    *_, last = restore_frames(frames, model, _PARAMETERS, indices=[own], region=window, device=device)
    frame = last.frame
    assert frame is not None
    grey_levels = frame_range(pair.low, card.normalization)
    level_map = TARGETS[card.target].level_map(pair, matches=card.training.get("match_levels") is True)
    if level_map is None:
        truth = frame_range(pair.second, card.normalization).apply(pair.second[window.slices])
    else:
        gain, offset = level_map
        truth = grey_levels.apply(gain * pair.second[window.slices].astype(np.float64) + offset)
    place = rng.permutation(truth.size)[:PIXELS_AN_IMAGE]
    scale = None if frame.scale is None else (frame.scale / np.float32(grey_levels.width)).ravel()[place]
    return ValidationPixels(grey_levels.apply(frame.image).ravel()[place], truth.ravel()[place], scale)


def _window(share: Share, most: int, rng: np.random.Generator) -> Region:
    """Return a part of what validates in an image, of so many pixels at most, at a random place."""
    spans = []
    side = max(1, math.isqrt(most))
    for part, size in zip(share.region, share.pair.low.shape, strict=True):
        start, stop, _ = part.indices(int(size))
        width = min(side, stop - start)
        first = start + int(rng.integers(stop - start - width + 1))
        spans += [first, first + width]
    return Region(*spans)
