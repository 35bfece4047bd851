"""How a model came about, as plain values for its card."""

from __future__ import annotations

import datetime
import math
from typing import TYPE_CHECKING, Any

from napari_care_losses import __version__

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari_care_losses.training.checkpoint import RunProgress
    from napari_care_losses.training.pairs import Pair
    from napari_care_losses.training.parameters import TrainingParameters

NAMED_PAIRS = 100
"""Pairs whose names a card holds at most."""


def provenance(
    parameters: TrainingParameters,
    pairs: Sequence[Pair],
    progress: RunProgress,
    *,
    best_loss: float,
    started_from: str | None,
) -> dict[str, Any]:
    """Return settings, pairs, steps, seconds, the loss reached, versions and date of a training.

    Parameters
    ----------
    parameters : TrainingParameters
        Its settings.
    pairs : sequence of Pair
        What it was trained on.
    progress : RunProgress
        How far it has come.
    best_loss : float
        Lowest validation loss; None is stored for one that is not finite.
    started_from : str, optional
        Digest of the model it started from.
    """
    import torch

    return {
        **parameters.to_dict(),
        "pairs": len(pairs),
        "names": [pair.name for pair in pairs[:NAMED_PAIRS]],
        "steps": progress.step,
        "seconds": round(progress.seconds, 1),
        "best_validation_loss": best_loss if math.isfinite(best_loss) else None,
        "started_from": started_from,
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "versions": {"napari-care-losses": __version__, "torch": torch.__version__},
    }
