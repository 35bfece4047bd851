"""From pairs to a model file: can be stopped anywhere, then keeps the best model, and can be resumed."""

from __future__ import annotations

from contextlib import closing, nullcontext
from typing import TYPE_CHECKING

from napari_care_losses.errors import ComputeError, InputError, ModelFileError, OutputError, TrainingDivergedError
from napari_care_losses.io.whole_files import locked, patiently
from napari_care_losses.models.model import read_card
from napari_care_losses.training.checkpoint import state_path
from napari_care_losses.training.progress import Epoch, Report

if TYPE_CHECKING:
    from collections.abc import Generator
    from pathlib import Path

    from napari_care_losses.training.trainer import Trainer


def train_to_file(trainer: Trainer, path: Path, *, resume: bool = False) -> Generator[Report, None, None]:
    """Train and write the best model to `path`, and beside it the state that a stopped run is resumed from.

    The model is written when the budget is used up, and when the training ends early: when the iterator is closed, by
    Ctrl+C, by an error of the device or by divergence. Until then an existing file stays as it is. Closed within the
    first epoch, the model is that of the weights so far, and an existing file stays; after an error within the first
    epoch there is no model. The state is written after every epoch and when the iterator is closed; after an error it
    is that of the last epoch. Of several processes that train together, the first one writes, and all must see its
    files.

    Parameters
    ----------
    trainer : Trainer
        A new trainer.
    path : Path
        The model file, ending in ``.safetensors``; the state file ends in ``.resume``.
    resume : bool
        Continue a stopped run to the same file; start a new one if there is none.

    Yields
    ------
    Preparing, Step or Epoch
        What the trainer reports.

    Raises
    ------
    InputError
        If the folder is missing, or another run trains into the same file.
    ResumeError
        If the stopped run had other pairs, loss or settings.
    TrainingDivergedError
        If the loss became NaN or exploded.
    ComputeError, OutputError
        If the device or the disk fails.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> import numpy as np
    >>> from napari_care_losses.losses.registry import LOSSES
    >>> from napari_care_losses.models.model import load_model
    >>> from napari_care_losses.training.pairs import Pair
    >>> from napari_care_losses.training.parameters import TrainingParameters
    >>> from napari_care_losses.training.trainer import Trainer
    >>> rng = np.random.default_rng(0)
    >>> clean = rng.random((3, 24, 24))
    >>> pairs = [Pair(image + rng.normal(0, 0.2, image.shape), image, f"field {i}") for i, image in enumerate(clean)]
    >>> settings = TrainingParameters(
    ...     preset="lite", budget="steps", amount=4, steps_per_epoch=2, patch_size=16, batch_size=2
    ... )
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = Path(folder) / "model.safetensors"
    ...     for report in train_to_file(Trainer(pairs, LOSSES["mae"](), settings, device="cpu"), path):
    ...         pass
    ...     load_model(path).card.training["steps"]
    4
    """
    with locked(path) if trainer.team.is_first else nullcontext():
        yield from _train(trainer, path, resume=resume)


def holds_weights_after(path: Path, step: int) -> bool:
    """Return whether a file is a model after so many steps, as a training stopped within its first epoch leaves it."""
    try:
        return read_card(path).training.get("steps") == step
    except ModelFileError:
        return False


def _train(trainer: Trainer, path: Path, *, resume: bool) -> Generator[Report, None, None]:
    state, writes = state_path(path), trainer.team.is_first
    is_own = False
    if resume and state.is_file():
        trainer.load_state(state)
        is_own = holds_weights_after(path, trainer.step)
    elif writes:
        patiently(state.unlink, missing_ok=True)
    if trainer.is_finished:
        if writes and not path.is_file():
            trainer.calibrated().save(path)
        return
    is_saved = False
    with closing(trainer.run()) as running:
        try:
            for report in running:
                is_saved = isinstance(report, Epoch)
                if is_saved and writes:
                    _save(trainer, path)
                yield report
        except GeneratorExit:
            running.close()
            if writes and trainer.step and not trainer.is_finished:
                if not is_saved:
                    _save(trainer, path)
                if trainer.history or is_own or not path.exists():
                    model = trainer.calibrated()
                    # None where the weights so far give a loss that is no number
                    if model.card.training["best_validation_loss"] is not None:
                        model.save(path)
            raise
        except (TrainingDivergedError, ComputeError, KeyboardInterrupt):
            # in the middle of a step: neither the weights nor the random generator stand where a run can go on
            if writes and trainer.history:
                trainer.model(with_started_epoch=False).save(path)
            raise


def _save(trainer: Trainer, path: Path) -> None:
    """Save the state of a training, before it the model of one that is finished."""
    state = state_path(path)
    try:
        # The model first: a state that says "finished" promises that the model is in place.
        if trainer.is_finished:
            trainer.calibrated().save(path)
        trainer.save_state(state)
    except (InputError, OutputError) as error:
        # the folder was there when the training began
        kept = f"{state} holds all but the last epoch: resume it" if state.is_file() else "Start again"
        raise OutputError(f"{error} {kept} once there is room and the folder can be written to.") from error
