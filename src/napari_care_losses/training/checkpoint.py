"""The file a stopped training is resumed from: tensors, and in the header plain values that are read without torch."""

from __future__ import annotations

import json
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, NamedTuple

from safetensors import SafetensorError

from napari_care_losses.compute.optimizer_state import LAST_STEP, Tensors
from napari_care_losses.errors import InputError, ResumeError
from napari_care_losses.io.untrusted_files import copied_tensors, open_tensors, read_json
from napari_care_losses.io.whole_files import replacing
from napari_care_losses.losses.registry import LOSSES
from napari_care_losses.models.model import SUFFIX
from napari_care_losses.training.parameters import FLOAT32, TrainingParameters
from napari_care_losses.training.progress import Epoch, RunProgress

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from napari_care_losses.losses.base import Loss

STATE_HEADER = "napari_care_losses_training"
STATE_SUFFIX = ".resume"


class StoppedTraining(NamedTuple):
    """A stopped training, as its state file describes it."""

    path: Path
    """The model file it belongs to, which may not exist yet."""
    loss: Loss
    parameters: TrainingParameters
    structure: str
    starts_from_model: bool
    """Whether it began with the weights of a model (fine-tuning), which is needed again."""
    step: int
    fraction: float
    """Part of the budget used, 0 to 1."""
    history: list[Epoch]


def state_path(path: Path) -> Path:
    """Return where the resume state of the model file `path` lies: beside it."""
    return path.with_suffix(STATE_SUFFIX)


def write_state(path: Path, values: dict[str, Any], tensors: Tensors) -> None:
    """Write a state; replaces and raises as `Model.save` does."""
    from safetensors.torch import save

    with replacing(path) as temporary:
        # not `save_file`: see `Model.save`
        temporary.write_bytes(save(tensors, metadata={STATE_HEADER: json.dumps(values)}))


def read_state(path: Path) -> tuple[dict[str, Any], Tensors]:
    """Return the values and tensors of a state; a `ResumeError` if the file is damaged or no state."""
    with readable(path), open_tensors(path, "pt") as file:
        values = _values(file.metadata())
        return values, copied_tensors(file)


def check_identity(found: dict[str, Any], expected: dict[str, Any]) -> None:
    """Raise a `ResumeError`, with the names of all that differ, if a state is of other pairs, loss or settings."""
    # states of earlier versions name no target, those of float32 no precision
    found, expected = ({"target": "clean", "precision": FLOAT32, **identity} for identity in (found, expected))
    differing = sorted(key for key in expected if found.get(key) != expected[key])
    if differing:
        which = "other" if any(key.endswith("s") and key != "loss" for key in differing) else "another"
        raise ResumeError(f"The stopped training had {which} {', '.join(differing)}: give the same, or start afresh.")


def progress_of(values: dict[str, Any]) -> RunProgress:
    """Return the progress that a state notes; a KeyError, TypeError or ValueError says what is wrong with it."""
    progress = RunProgress(**values["progress"])
    if not isinstance(progress.epoch_losses, list) or not isinstance(progress.history, list):
        raise TypeError("its losses are not a list")
    numbers = [progress.seconds, progress.best_loss, *progress.epoch_losses]
    if not _are(int, [progress.step]) or not _are(float, numbers):
        raise TypeError("its progress holds values that are not numbers")
    if not 0 <= progress.step <= LAST_STEP or not 0 <= progress.seconds <= LAST_STEP:
        raise ValueError("its progress is below 0 or beyond all bounds")
    for epoch in progress.history:
        if not _are(int, Epoch(*epoch)[:2]) or not _are(float, Epoch(*epoch)[2:5]) or not isinstance(epoch[5], bool):
            raise TypeError("its epochs hold values that are not numbers")
    return progress


def plateau_of(values: dict[str, Any]) -> dict[str, Any]:
    """Return how long the validation loss has not fallen, as torch's schedule keeps it; raises like `progress_of`."""
    noted = values["plateau"]
    counts = {name: int(noted[name]) for name in ("last_epoch", "cooldown_counter", "num_bad_epochs")}
    return {"best": float(noted["best"]), **counts}


def _are(kind: type, values: Iterable[object]) -> bool:
    """Return whether all values are whole numbers (int), or numbers of any kind (float)."""
    kinds = int if kind is int else int | float
    return all(isinstance(value, kinds) and not isinstance(value, bool) for value in values)


def read_stopped(path: Path) -> StoppedTraining:
    """Return the training that a state file belongs to, without loading torch; raises as `read_state` does."""
    with readable(path):
        with open_tensors(path, "numpy") as file:
            values = _values(file.metadata())
        identity, progress = values["identity"], progress_of(values)
        loss = dict(identity["loss"])
        settings = {name: identity[name] for name in TrainingParameters.described() if name in identity}
        parameters = TrainingParameters(**settings, amount=values["amount"])
        return StoppedTraining(
            path=path.with_suffix(SUFFIX),
            loss=LOSSES[loss.pop("name")].from_dict(loss),
            parameters=parameters,
            structure=str(values["structure"]),
            starts_from_model=identity["starting model"] is not None,
            step=progress.step,
            fraction=parameters.fraction(progress.step, progress.seconds),
            history=[Epoch(*epoch) for epoch in progress.history],
        )


def list_stopped(folder: Path) -> list[StoppedTraining]:
    """Return the trainings of a folder that have not used up their budget, by name; unreadable states are left out."""
    found = []
    for path in sorted(folder.glob(f"*{STATE_SUFFIX}")):
        with suppress(ResumeError):
            found.append(read_stopped(path))
    return [stopped for stopped in found if stopped.fraction < 1]


def _values(metadata: dict[str, str] | None) -> dict[str, Any]:
    values = read_json((metadata or {})[STATE_HEADER])
    return {**values, "identity": dict(values["identity"])}


@contextmanager
def readable(path: Path) -> Iterator[None]:
    """Turn every error of a damaged state file into a `ResumeError`."""
    try:
        yield
    except (
        *(SafetensorError, OSError, InputError),
        *(KeyError, ValueError, TypeError, AttributeError, OverflowError),
        # torch raises RuntimeError for tensors that do not fit
        RuntimeError,
    ) as error:
        raise ResumeError(f"{path} holds no resumable training ({error}): start afresh.") from error
