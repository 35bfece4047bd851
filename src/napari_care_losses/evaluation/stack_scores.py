"""Scores of whole stacks against their ground truth, and what every score is called."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from napari_care_losses.errors import InputError, UnreadableError
from napari_care_losses.evaluation.metrics import GREY_LEVEL_SCORES, METRICS, grey_levels, score
from napari_care_losses.evaluation.score import Score
from napari_care_losses.evaluation.spectra import DETAIL_SCORES
from napari_care_losses.images.axes import in_axes_of, truth_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from napari_care_losses.images.frames import Frames


def describe_score(name: str) -> Score:
    """Return title, unit, digits and help of a score by its name; an unknown one is called by its name."""
    tables: tuple[Mapping[str, Score], ...] = (METRICS, GREY_LEVEL_SCORES, DETAIL_SCORES)
    return next((table[name] for table in tables if name in table), Score(title=name, help="", higher_is_better=None))


def evaluate(stacks: Mapping[str, Frames], truth: Frames, *, aligned: bool = True) -> dict[str, Any]:
    """Score stacks frame by frame against their ground truth.

    Parameters
    ----------
    stacks : mapping of str to Frames
        What to score, by name; frame i belongs to frame i of the truth, whose only frame is that of a whole movie.
    aligned : bool
        As in `score`.

    Returns
    -------
    dict
        ``frames``: for every frame, by name, the metrics and slope, intercept and R2 of the grey levels against the
        truth's; ``mean``: their means over the frames.

    Raises
    ------
    InputError
        If number or shape of frames differ, or a frame cannot be scored.
    """
    truth = truth_of(truth, next(iter(stacks.values()), truth))
    stacks = {name: in_axes_of(frames, truth) for name, frames in stacks.items()}
    for name, frames in stacks.items():
        if (len(frames), frames.frame_shape) != (len(truth), truth.frame_shape):
            raise InputError(
                f"The {name} stack has {len(frames)} frames of {frames.frame_shape}, the truth {len(truth)} of "
                f"{truth.frame_shape}: they must be the same."
            )
    rows: list[dict[str, dict[str, float]]] = []
    for index in range(len(truth)):
        clean = truth[index]
        try:
            images = {name: frames[index] for name, frames in stacks.items()}
            rows.append(
                {
                    name: {**score(image, clean, aligned=aligned), **vars(grey_levels(image, clean))}
                    for name, image in images.items()
                }
            )
        except UnreadableError:
            raise
        except InputError as error:
            raise InputError(f"Frame {index}: {error}") from error
    mean = {name: {key: float(np.mean([row[name][key] for row in rows])) for key in rows[0][name]} for name in stacks}
    return {"mean": mean, "frames": rows}
