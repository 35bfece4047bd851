"""From pairs to a model file: stoppable, resumable."""

from __future__ import annotations

from contextlib import nullcontext
from typing import TYPE_CHECKING

from napari_care_losses.errors import InputError, OutputError, TrainingDivergedError
from napari_care_losses.io.whole_files import locked
from napari_care_losses.training.checkpoint import state_path
from napari_care_losses.training.trainer import Epoch, Report, Trainer

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


def train_to_file(trainer: Trainer, path: Path, *, resume: bool = False) -> Iterator[Report]:
    """Train and write the best model to `path`; the state to resume from is kept beside it.

    The state is written at the end of every epoch and when the iterator is closed, the model once the budget is used
    up; of several processes that train together, the first one writes, and all must see its files.

    Parameters
    ----------
    trainer : Trainer
        A new trainer.
    path : Path
        The model file; an existing one is replaced at the end.
    resume : bool
        Go on where a stopped run to the same file ended; start where there is none.

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
        If the loss became NaN or exploded; the best model before that has been written if an epoch was completed.
    ComputeError, OutputError
        If the device or the disk fails; the state of the last epoch saved stays.
    """
    with locked(path) if trainer.team.is_first else nullcontext():
        yield from _train(trainer, path, resume=resume)


def _train(trainer: Trainer, path: Path, *, resume: bool) -> Iterator[Report]:
    state, writes = state_path(path), trainer.team.is_first
    if resume and state.is_file():
        trainer.load_state(state)
    else:
        if writes:
            state.unlink(missing_ok=True)
    if trainer.is_finished:
        if writes and not path.is_file():
            trainer.model().save(path)
        return
    running = trainer.run()
    is_saved = False
    try:
        for report in running:
            is_saved = isinstance(report, Epoch)
            if is_saved and writes:
                _save(trainer, path)
            yield report
    except TrainingDivergedError:
        is_saved = True
        if trainer.history and writes:
            trainer.model().save(path)
        raise
    finally:
        running.close()
        if not is_saved and trainer.has_started and writes:
            _save(trainer, path)


def _save(trainer: Trainer, path: Path) -> None:
    """Save the state of a training, before it the model of one that is finished."""
    state = state_path(path)
    try:
        # The model first: a state that says "finished" promises that the model is in place.
        if trainer.is_finished:
            trainer.model().save(path)
        trainer.save_state(state)
    except (InputError, OutputError) as error:
        # the folder was there when the training began
        kept = f"{state} holds all but the last epoch: resume it" if state.is_file() else "Start again"
        raise OutputError(f"{error} {kept} once there is room and the folder can be written to.") from error
