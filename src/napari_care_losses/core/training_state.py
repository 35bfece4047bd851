"""The file a stopped training is resumed from: tensors, and in the header plain values that are read without torch."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

from safetensors import SafetensorError, safe_open

from napari_care_losses.core.atomic import replacing
from napari_care_losses.core.errors import InputError, ResumeError
from napari_care_losses.core.losses import LOSSES
from napari_care_losses.core.model import SUFFIX
from napari_care_losses.core.reports import Epoch
from napari_care_losses.core.training_parameters import TrainingParameters

if TYPE_CHECKING:
    from pathlib import Path

    from torch import Tensor

    from napari_care_losses.core.loss import Loss

Tensors = dict[str, "Tensor"]

STATE_HEADER = "napari_care_losses_training"
STATE_SUFFIX = ".resume"


@dataclass
class RunProgress:
    """What a resumed run needs besides tensors: plain values."""

    step: int = 0
    seconds: float = 0.0
    epoch_losses: list[float] = field(default_factory=list)
    history: list[list[Any]] = field(default_factory=list)
    best_loss: float = math.inf


class StoppedTraining(NamedTuple):
    """What the state of a training says of it.

    Attributes
    ----------
    path : Path
        The model file it belongs to, which may not exist yet.
    loss : Loss
        The training loss.
    parameters : TrainingParameters
        How it was trained.
    structure : str
        What the images show.
    starts_from_model : bool
        Whether it began with the weights of a model (fine-tuning), which is needed again.
    step : int
        Steps taken.
    fraction : float
        Part of the budget used, 0 to 1.
    history : list of Epoch
        Its epochs.
    """

    path: Path
    loss: Loss
    parameters: TrainingParameters
    structure: str
    starts_from_model: bool
    step: int
    fraction: float
    history: list[Epoch]


def state_path(path: Path) -> Path:
    """Return where the resume state of the model file `path` lies: beside it."""
    return path.with_suffix(STATE_SUFFIX)


def write_state(path: Path, values: dict[str, Any], tensors: Tensors) -> None:
    """Write a state; an existing one is replaced once the new one is whole.

    Raises
    ------
    InputError
        If the folder does not exist.
    OutputError
        If the file cannot be written.
    """
    from safetensors.torch import save

    with replacing(path) as temporary:
        # as `Model.save` does it, and for the same reason
        temporary.write_bytes(save(tensors, metadata={STATE_HEADER: json.dumps(values)}))


def read_state(path: Path) -> tuple[dict[str, Any], Tensors]:
    """Return the values and tensors of a state.

    Raises
    ------
    ResumeError
        If the file is damaged or no state.
    """
    try:
        with safe_open(path, framework="pt") as file:
            values = _values(file.metadata())
            return values, {name: file.get_tensor(name) for name in file.keys()}
    except (SafetensorError, OSError, KeyError, ValueError, TypeError) as error:
        raise _unreadable(path, error) from error


def pack_tensors(
    weights: Tensors,
    best: Tensors,
    optimizer: dict[str, Any],
    average: Tensors | None = None,
    objective: Tensors | None = None,
) -> Tensors:
    """Return a state's tensors: the weights, the best so far, Adam's moments, averaged weights, the objective's own."""
    tensors = {f"weights.{name}": value for name, value in weights.items()}
    tensors |= {f"best.{name}": value for name, value in best.items()}
    tensors |= {f"average.{name}": value for name, value in (average or {}).items()}
    tensors |= {f"objective.{name}": value for name, value in (objective or {}).items()}
    return tensors | pack_moments(optimizer)


def unpack_tensors(tensors: Tensors) -> tuple[Tensors, Tensors, dict[int, Tensors], Tensors, Tensors]:
    """Return weights, best weights, moments, averaged weights and objective as `pack_tensors` took them."""
    weights, best, average, objective = (
        named(tensors, f"{part}.") for part in ("weights", "best", "average", "objective")
    )
    return weights, best, unpack_moments(tensors), average, objective


def pack_moments(optimizer: dict[str, Any]) -> Tensors:
    """Return copies of Adam's moments of every parameter, from its state."""
    return {
        f"adam.{index}.{name}": value.detach().to("cpu", copy=True).contiguous()
        for index, moments in optimizer["state"].items()
        for name, value in moments.items()
    }


def unpack_moments(tensors: Tensors) -> dict[int, Tensors]:
    """Return the moments that `pack_moments` took, which may lie among other tensors."""
    moments: dict[int, Tensors] = {}
    for name, value in named(tensors, "adam.").items():
        index, key = name.split(".")
        moments.setdefault(int(index), {})[key] = value
    return moments


def named(tensors: Tensors, prefix: str) -> Tensors:
    """Return the tensors whose names begin so, by the rest of their names."""
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}


def read_stopped(path: Path) -> StoppedTraining:
    """Return what the state file `path` says of its training, without torch.

    Raises
    ------
    ResumeError
        If the file is damaged, no state, or of a version that did not note the budget.
    """
    try:
        with safe_open(path, framework="numpy") as file:
            values = _values(file.metadata())
        identity, progress = values["identity"], values["progress"]
        loss = dict(identity.pop("loss"))
        settings = {name: identity[name] for name in TrainingParameters.described() if name in identity}
        parameters = TrainingParameters(**settings, amount=values["amount"])
        return StoppedTraining(
            path=path.with_suffix(SUFFIX),
            loss=LOSSES[loss.pop("name")].from_dict(loss),
            parameters=parameters,
            structure=str(values["structure"]),
            starts_from_model=identity["starting model"] is not None,
            step=int(progress["step"]),
            fraction=parameters.fraction(int(progress["step"]), float(progress["seconds"])),
            history=[Epoch(*epoch) for epoch in progress["history"]],
        )
    except (SafetensorError, OSError, KeyError, ValueError, TypeError, InputError) as error:
        raise _unreadable(path, error) from error


def list_stopped(folder: Path) -> list[StoppedTraining]:
    """Return the trainings of a folder that have not used up their budget, by name; unreadable states are left out."""
    found = []
    for path in sorted(folder.glob(f"*{STATE_SUFFIX}")):
        try:
            stopped = read_stopped(path)
        except ResumeError:
            continue
        if stopped.fraction < 1:
            found.append(stopped)
    return found


def _values(metadata: dict[str, str] | None) -> dict[str, Any]:
    values = json.loads((metadata or {})[STATE_HEADER])
    return {**values, "identity": dict(values["identity"])}


def _unreadable(path: Path, error: Exception) -> ResumeError:
    return ResumeError(f"{path} holds no resumable training ({error}): start afresh.")
