"""Scores of whole stacks against their ground truth."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from napari_care_losses.errors import InputError, UnreadableError
from napari_care_losses.evaluation.metrics import grey_levels, score

if TYPE_CHECKING:
    from collections.abc import Mapping

    from napari_care_losses.images.frames import Frames


def evaluate(stacks: Mapping[str, Frames], truth: Frames, *, aligned: bool = True) -> dict[str, Any]:
    """Score stacks frame by frame against the ground truth.

    Parameters
    ----------
    stacks : mapping of str to Frames
        What to score, by name; frame i belongs to frame i of the truth.
    truth : Frames
        The ground truth.
    aligned : bool
        Whether each frame is first brought to the truth by the affine map of least squared error (the CARE protocol).

    Returns
    -------
    dict
        ``frames``: a list with, for every name, the metrics and slope, intercept and R2 of its grey levels against the
        truth's; ``mean``: their means over the frames.

    Raises
    ------
    InputError
        If number or shape of frames differ, or a frame cannot be scored.
    """
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
            rows.append({name: _scored(frames[index], clean, aligned=aligned) for name, frames in stacks.items()})
        except UnreadableError:
            raise
        except InputError as error:
            raise InputError(f"Frame {index}: {error}") from error
    mean = {name: {key: float(np.mean([row[name][key] for row in rows])) for key in rows[0][name]} for name in stacks}
    return {"mean": mean, "frames": rows}


def _scored(image: Any, truth: Any, *, aligned: bool) -> dict[str, float]:
    levels = grey_levels(image, truth)
    return {
        **score(image, truth, aligned=aligned),
        "slope": levels.slope,
        "intercept": levels.intercept,
        "r2": levels.r2,
    }
