"""What a training reports while it runs, and what a resumed run needs to know of it."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


class Preparing(NamedTuple):
    """Images are being read through before the first step."""

    done: int
    total: int


class Step(NamedTuple):
    """One optimisation step was taken."""

    step: int
    fraction: float
    """Part of the budget used, 0 to 1."""
    loss: float
    """Training loss of the step's batch."""
    steps_per_second: float
    """Speed since the run or its resumption began."""
    seconds_left: float
    """Estimate at that speed."""
    learning_rate: float = math.nan


class Epoch(NamedTuple):
    """An epoch ended and the model was validated."""

    epoch: int
    step: int
    """Steps so far."""
    training_loss: float
    """Mean over the epoch's steps."""
    validation_loss: float
    """Over fixed patches of images not trained on."""
    learning_rate: float
    """Rate of the epoch's last step."""
    is_best: bool
    """Whether the validation loss is the lowest so far; the best weights are kept."""


class Preview(NamedTuple):
    """A region of a validation image as the network restores it now; asked for, not reported."""

    low: NDArray[np.float32]
    """(Y, X) in normalised units; contrast limits of the truth serve all three."""
    restored: NDArray[np.float32]
    """Aligned to the truth, if there is one."""
    truth: NDArray[np.float32] | None
    """None where the network learns from noisy images."""
    low_psnr: float
    """Of the region against the truth, aligned, in dB; NaN without a truth."""
    restored_psnr: float
    """Likewise; estimated without a truth, NaN where it cannot be."""


Report = Preparing | Step | Epoch


@dataclass
class RunProgress:
    """How far a run has come, in plain values, as a state file stores it."""

    step: int = 0
    seconds: float = 0.0
    epoch_losses: list[float] = field(default_factory=list)
    history: list[list[Any]] = field(default_factory=list)
    best_loss: float = math.inf
