"""Detects a diverging loss; the error says when it happened, the probable cause and what is kept."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from napari_care_losses.errors import TrainingDivergedError

if TYPE_CHECKING:
    from napari_care_losses.training.patches import Batch
    from napari_care_losses.training.progress import RunProgress

EXPLODED = 1e4
"""A loss above which training does not recover: losses of normalised images are about 1 at most."""

BROKEN_PIXEL = 1e3
"""A normalised pixel value above which a broken image is the probable cause."""


def check_loss(value: float, progress: RunProgress, rate: float, batch: Batch | None = None) -> None:
    """Check that a loss is finite and not huge.

    Parameters
    ----------
    value : float
        Of a step, or of the validation after one.
    progress : RunProgress
        How far the training has come; the steps before this one.
    rate : float
        The learning rate.
    batch : tuple of array, optional
        The patches of the step, low and high, normalised; without them it is a validation loss.

    Raises
    ------
    TrainingDivergedError
        If it is not.
    """
    if math.isfinite(value) and abs(value) < EXPLODED:
        return
    which, step = ("validation loss", progress.step) if batch is None else ("loss", progress.step + 1)
    epoch = len(progress.history) + 1
    before = ", ".join(f"{loss:.3g}" for loss in progress.epoch_losses[-3:])
    when = f"at step {step}, in epoch {epoch}" + (f", after {before}" if before else "")
    raise TrainingDivergedError(f"The {which} became {value:.3g} {when}. {_cause(rate, batch)} {_kept(progress)}")


def _cause(rate: float, batch: Batch | None) -> str:
    for which, patches in zip(("low", "high"), batch or (), strict=False):
        highest = float(np.abs(patches).max())
        if not highest < BROKEN_PIXEL:
            what = f"a value {highest:.0f} times its image's range" if math.isfinite(highest) else "NaN"
            return f"A {which} patch of that step holds {what}: look for broken images among the pairs."
    return f"The patches are sound and the weights ran away: lower the learning rate, {rate:.2g} at that step."


def _kept(progress: RunProgress) -> str:
    if not progress.history:
        return "No epoch was completed before it, so there is no model."
    return f"The best weights before it are kept, of validation loss {progress.best_loss:.4g}."
