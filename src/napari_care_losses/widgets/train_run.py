"""Training from chosen pairs into the model library, as one iterator; no Qt."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from napari_care_losses.core.model import load_model
from napari_care_losses.core.reports import Preparing

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from napari_care_losses.core.losses import Loss
    from napari_care_losses.core.patches import Pair
    from napari_care_losses.core.reports import Report
    from napari_care_losses.core.training_parameters import TrainingParameters
    from napari_care_losses.widgets.pair_table import ChosenPair


class TrainingPlan(NamedTuple):
    """All that a training needs.

    Attributes
    ----------
    pairs : sequence of ChosenPair
        What to learn from.
    loss : Loss
        The training loss.
    parameters : TrainingParameters
        How to train.
    structure : str
        What the images show.
    start_from : Path, optional
        Model file whose weights to start from.
    out : Path
        The model file to make.
    """

    pairs: Sequence[ChosenPair]
    loss: Loss
    parameters: TrainingParameters
    structure: str
    start_from: Path | None
    out: Path


def train(plan: TrainingPlan) -> Iterator[Report]:
    """Train; when the iterator is closed after the first step, the best model so far is saved.

    Yields
    ------
    Preparing, Step or Epoch
        As the trainer reports them; images being read and checked count as preparing.
    """
    # torch takes seconds to load: it does so here, in the background, and not when the widget is opened
    from napari_care_losses.core.engines import leave_a_core
    from napari_care_losses.core.jobs import train_to_file
    from napari_care_losses.core.patches import pairs_from_frames
    from napari_care_losses.core.training import Trainer

    leave_a_core()
    pairs: list[Pair] = []
    for done, (name, low, high) in enumerate(plan.pairs):
        yield Preparing(done, len(plan.pairs))
        pairs += pairs_from_frames(low, high, name)
    start_from = None if plan.start_from is None else load_model(plan.start_from)
    trainer = Trainer(pairs, plan.loss, plan.parameters, structure=plan.structure, start_from=start_from)
    try:
        yield from train_to_file(trainer, plan.out)
    except GeneratorExit:
        if trainer.has_started:
            trainer.model().save(plan.out)
        raise
