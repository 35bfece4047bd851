"""Scores of whole stacks against their ground truth, and what every score is called."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_care_losses.errors import InputError, UnreadableError
from napari_care_losses.evaluation.metrics import GREY_LEVEL_SCORES, METRICS, grey_levels, score
from napari_care_losses.evaluation.score import Score
from napari_care_losses.evaluation.spectra import DETAIL_SCORES
from napari_care_losses.evaluation.truth_limit import TRUTH_LIMIT_SCORES, truth_limit
from napari_care_losses.evaluation.without_truth.contradictions import find_contradictions
from napari_care_losses.evaluation.without_truth.estimated_psnr import ESTIMATED_SCORES
from napari_care_losses.evaluation.without_truth.single_image import SINGLE_IMAGE_SCORES, measure_image
from napari_care_losses.images.axes import in_axes_of, truth_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from napari_care_losses.images.frames import Frames


def describe_score(name: str) -> Score:
    """Return title, unit, digits and help of a score by its name; an unknown one is called by its name."""
    tables: tuple[Mapping[str, Score], ...] = (
        METRICS,
        GREY_LEVEL_SCORES,
        DETAIL_SCORES,
        SINGLE_IMAGE_SCORES,
        ESTIMATED_SCORES,
        TRUTH_LIMIT_SCORES,
    )
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
    return _with_means(rows)


def measure(stacks: Mapping[str, Frames]) -> dict[str, Any]:
    """Measure stacks frame by frame without a ground truth.

    Parameters
    ----------
    stacks : mapping of str to Frames
        What to measure, by name; all have as many frames.

    Returns
    -------
    dict
        ``frames``: for every frame, by name, what
        `napari_care_losses.evaluation.without_truth.single_image.measure_image` finds;
        ``mean``: the means over the frames that have a value, NaN where none has.

    Raises
    ------
    InputError
        If the numbers of frames differ, or a frame cannot be measured.
    """
    counts = {name: len(frames) for name, frames in stacks.items()}
    if len(set(counts.values())) > 1:
        found = ", ".join(f"{name} {count}" for name, count in counts.items())
        raise InputError(f"The stacks must have as many frames, found: {found}.")
    pixels = {name: frames.calibration.square_pixel for name, frames in stacks.items()}
    rows: list[dict[str, dict[str, float]]] = []
    for index in range(next(iter(counts.values()))):
        try:
            rows.append({name: measure_image(frames[index], pixels[name]) for name, frames in stacks.items()})
        except UnreadableError:
            raise
        except InputError as error:
            raise InputError(f"Frame {index}: {error}") from error
    return _with_means(rows)


def add_contradictions(scores: dict[str, Any], given: Frames, restored: Frames) -> None:
    """Add to scores of a stack called ``restored`` how much of each frame contradicts its input, and the mean.

    The values are called ``contradictions``, 0..1, NaN where it cannot be told (see
    `napari_care_losses.evaluation.without_truth.contradictions.find_contradictions`).
    """
    shares = []
    for index, row in enumerate(scores["frames"]):
        try:
            share = find_contradictions(given[index], restored[index]).share
        except UnreadableError:
            raise
        except InputError:
            share = math.nan
        row["restored"]["contradictions"] = share
        shares.append(share)
    scores["mean"]["restored"]["contradictions"] = _mean(shares, skips_nan=True)


def add_truth_limit(scores: dict[str, Any], given: Frames, truth: Frames) -> None:
    """Add to scores of a stack called ``input`` which PSNR each frame would have without noise, and the mean.

    The values are called ``psnr_limit``, in dB (see `napari_care_losses.evaluation.truth_limit.truth_limit`).
    """
    for index, row in enumerate(scores["frames"]):
        row["input"]["psnr_limit"] = truth_limit(given[index], truth[index]).psnr
    limits = [row["input"]["psnr_limit"] for row in scores["frames"]]
    scores["mean"]["input"]["psnr_limit"] = _mean(limits, skips_nan=True)


def _with_means(rows: list[dict[str, dict[str, float]]]) -> dict[str, Any]:
    """Return the scores of frames and their means; a value that a single image does not have does not count."""
    mean = {
        name: {key: _mean([row[name][key] for row in rows], skips_nan=key in SINGLE_IMAGE_SCORES) for key in found}
        for name, found in rows[0].items()
    }
    return {"mean": mean, "frames": rows}


def _mean(values: list[float], *, skips_nan: bool) -> float:
    known = [value for value in values if not (skips_nan and math.isnan(value))]
    return float(np.mean(known)) if known else math.nan
