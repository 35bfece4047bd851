"""A model trained further on one noisy stack alone, in minutes."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_care_losses.errors import InputError
from napari_care_losses.images.sampling import evenly_spaced
from napari_care_losses.models.model import read_card, structure_named
from napari_care_losses.restoration.neighbours import choose_neighbours
from napari_care_losses.training.pair_sources import PairSource
from napari_care_losses.training.pairs import size_problem
from napari_care_losses.training.parameters import RECIPES, TrainingParameters, recommended_recipe
from napari_care_losses.training.plans.plan import TrainingPlan
from napari_care_losses.training.targets.registry import fine_tuning_loss

if TYPE_CHECKING:
    from pathlib import Path

    from napari_care_losses.images.frames import Frames
    from napari_care_losses.restoration.neighbours import Neighbours

BUDGET: dict[str, Any] = {"budget": "minutes", "amount": 2.0, "steps_per_epoch": 50}
"""How long it takes, and how often the result is validated."""

PATCH_SIZES = (64, 32)
"""Widths of the patches, in pixels; the first that the images have room for is taken."""

MOST_FRAMES, MOST_PIXELS = 32, 1 << 23
"""So much of a stack is learnt from, spread over it, and one frame at least."""


def adaptation_plan(name: str, frames: Frames, shown: int, start_from: Path, out: Path) -> TrainingPlan:
    """Return the training that adapts a model to a noisy stack, without clean images.

    It learns from frames spread over the stack, of the channel of the frame `shown`, which is one of them; if the model
    reads neighbouring frames, from those around it. It takes the loss of the model where that suits noisy targets.

    Parameters
    ----------
    name : str
        Of the stack.
    frames : Frames
        The stack.
    shown : int
        A frame that must be learnt from.
    start_from : Path
        The model.
    out : Path
        The model file to write.

    Raises
    ------
    InputError
        If the model cannot be trained further, the frames are too small, or there are no neighbours that it reads.
    ModelFileError
        If it cannot be read.

    Examples
    --------
    >>> from pathlib import Path
    >>> from napari_care_losses.images.frames import Frames
    >>> from napari_care_losses.models.library import find_model
    >>> movie = Frames(np.zeros((100, 2, 128, 128)), "TCYX")
    >>> plan = adaptation_plan("movie", movie, 101, find_model("fft-lite"), Path("adapted.safetensors"))
    >>> len(plan.pairs), plan.pairs[-1].only, plan.loss.name, plan.parameters.target
    (32, (199,), 'fft', 'self')
    """
    card = read_card(start_from)
    block, neighbours = card.care.block, choose_neighbours(frames, card)
    chosen = chosen_run(frames, shown, neighbours) if neighbours.number else chosen_frames(frames, shown)
    shapes = [frames.frame_shape] * min(2, len(chosen))
    sizes = [size for size in PATCH_SIZES if size % block == 0 and not size_problem(shapes, size)]
    if not sizes:
        least = PATCH_SIZES[-1]
        raise InputError(
            f"{name}: {' x '.join(map(str, frames.frame_shape))} px are too small to adapt a model to: at least "
            f"{least} x {least} px are needed, of a single image {2 * least} x {least}."
        )
    parameters = TrainingParameters(
        **RECIPES[recommended_recipe(from_model=True)],
        **BUDGET,
        target="self",
        patch_size=sizes[0],
        neighbours=neighbours.number,
        neighbours_along=neighbours.axis.lower() or "auto",
    )
    # one by one: a frame is a step of the progress
    parts: list[tuple[int, ...]] = [tuple(chosen)] if neighbours.number else [(index,) for index in chosen]
    return TrainingPlan(
        pairs=[PairSource(name, frames, None, "self", only=part) for part in parts],
        loss=fine_tuning_loss(card, "self"),
        parameters=parameters,
        structure=structure_named(name) or card.structure,
        start_from=start_from,
        out=out,
        only=None if len(chosen) == len(frames) else tuple(chosen),
    )


def chosen_frames(frames: Frames, shown: int) -> list[int]:
    """Return the frames that are learnt from, by index.

    Examples
    --------
    >>> from napari_care_losses.images.frames import Frames
    >>> chosen_frames(Frames(np.zeros((2, 3, 2048, 2048), np.uint8), "CTYX"), 4)
    [4, 5]
    """
    numbers = np.arange(len(frames)).reshape(frames.leading_shape)
    if "C" in frames.axes:
        numbers = numbers.take([frames.channel(shown)], frames.axes.index("C"))
    spread = evenly_spaced(numbers.ravel().tolist(), _most_frames(frames))
    nearest = min(spread, key=lambda index: abs(index - shown))
    return sorted({*spread, shown} - ({nearest} - {shown}))


def chosen_run(frames: Frames, shown: int, neighbours: Neighbours) -> list[int]:
    """Return the frames that a model which reads their neighbours learns from: those around the shown one.

    Examples
    --------
    >>> from napari_care_losses.images.frames import Frames
    >>> from napari_care_losses.restoration.neighbours import Neighbours
    >>> chosen_run(Frames(np.zeros((9, 2, 2048, 2048), np.uint8), "TCYX"), 15, Neighbours(2, "T"))
    [13, 15, 17]
    """
    numbers = np.moveaxis(np.arange(len(frames)).reshape(frames.leading_shape), frames.axes.index(neighbours.axis), -1)
    row = next(row for row in numbers.reshape(-1, numbers.shape[-1]).tolist() if shown in row)
    count = min(len(row), max(_most_frames(frames), neighbours.number + 1))
    start = min(max(0, row.index(shown) - count // 2), len(row) - count)
    return row[start : start + count]


def _most_frames(frames: Frames) -> int:
    return max(1, min(MOST_FRAMES, MOST_PIXELS // math.prod(frames.frame_shape)))
