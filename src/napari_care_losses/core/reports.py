"""What a training reports while it runs."""

from __future__ import annotations

from typing import NamedTuple


class Preparing(NamedTuple):
    """Images are being read through before the first step."""

    done: int
    total: int


class Step(NamedTuple):
    """One optimisation step was taken.

    Attributes
    ----------
    step : int
        Steps taken so far.
    fraction : float
        Part of the budget used, 0 to 1.
    loss : float
        Training loss of the step's batch.
    steps_per_second : float
        Speed since the run or its resumption began.
    seconds_left : float
        Estimate at that speed.
    """

    step: int
    fraction: float
    loss: float
    steps_per_second: float
    seconds_left: float


class Epoch(NamedTuple):
    """An epoch ended and the model was validated.

    Attributes
    ----------
    epoch, step : int
        Epochs and steps so far.
    training_loss : float
        Mean over the epoch's steps.
    validation_loss : float
        Over fixed patches of images not trained on.
    learning_rate : float
        Rate of the epoch's last step.
    is_best : bool
        Whether the validation loss is the lowest so far; the best weights are kept.
    """

    epoch: int
    step: int
    training_loss: float
    validation_loss: float
    learning_rate: float
    is_best: bool


Report = Preparing | Step | Epoch
