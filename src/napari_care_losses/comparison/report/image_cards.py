"""The images of a comparison's report: brought to one contrast, with what each method changed beside them."""

from __future__ import annotations

from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING

import numpy as np

from napari_care_losses.comparison.compare import INPUT
from napari_care_losses.comparison.report.pictures import (
    colour_bar,
    detail_window,
    difference_png,
    grey_png,
    picture,
    shrunk,
)
from napari_care_losses.errors import InputError
from napari_care_losses.evaluation.metrics import HIGH_PERCENTILE, LOW_PERCENTILE, METRICS, align

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from napari_care_losses.comparison.report.content import ComparisonReport
    from napari_care_losses.images.regions import Region

TRUTH = "ground truth"

LARGEST_PERCENTILE = 99.0
"""Percentile of the absolute differences of all methods at which the colours end."""


@dataclass(frozen=True, eq=False)
class ShownFrame:
    """The frame a report shows, in one contrast; images are (Y, X)."""

    images: dict[str, NDArray[np.float64]]
    """Input, methods and, last, the truth, in this order, each aligned to the truth where the report asks for that."""
    differences: dict[str, NDArray[np.float64]]
    """With a truth, image minus truth relative to the truth's range; without, input minus restored in grey levels."""
    limits: tuple[float, float]
    """Grey levels shown black and white in every image."""
    largest: float
    """Difference at which the colours end."""
    has_truth: bool
    is_aligned: bool

    @property
    def shape(self) -> tuple[int, int]:
        """(Y, X) of every image."""
        height, width = next(iter(self.images.values())).shape
        return height, width

    @property
    def methods(self) -> list[str]:
        """Names of the methods."""
        return [name for name in self.images if name != INPUT and not (self.has_truth and name == TRUTH)]


def shown_frame(report: ComparisonReport) -> ShownFrame:
    """Bring the images of a report to one contrast; raises `InputError` if they cannot be shown together."""
    images, truth = _images(report)
    is_aligned = truth is not None and report.aligned
    if truth is None:
        limits = _limits([image for name, image in images.items() if name != INPUT] or list(images.values()))
        differences = {name: images[INPUT] - image for name, image in images.items() if INPUT in images}
        differences.pop(INPUT, None)
    else:
        images = {name: align(image, truth) for name, image in images.items()} if is_aligned else images
        limits = _limits([truth])
        width = limits[1] - limits[0]
        differences = {name: (image - truth) / (width if width > 0 else 1) for name, image in images.items()}
        images[TRUTH] = truth
    restored = {name: image for name, image in differences.items() if name != INPUT} or differences
    ends = [float(np.percentile(np.abs(image), LARGEST_PERCENTILE)) for image in restored.values()]
    return ShownFrame(images, differences, limits, max(ends, default=0.0), truth is not None, is_aligned)


def _images(report: ComparisonReport) -> tuple[dict[str, NDArray[np.float64]], NDArray[np.float64] | None]:
    """Return the report's images by name, without the truth, and the truth."""
    truth = None if report.truth is None else np.asarray(report.truth, np.float64)
    kept = [
        shown
        for shown in report.images
        # the truth has no scores, which a perfect restoration has
        if truth is None or shown.scores or not np.array_equal(shown.image, truth)
    ]
    images = {shown.name: np.asarray(shown.image, np.float64) for shown in kept}
    shapes = {image.shape for image in (*images.values(), *([] if truth is None else [truth]))}
    if not images or len(shapes) > 1 or len(next(iter(shapes))) != 2:
        raise InputError(f"A report needs at least one image (Y, X), all of one shape, found {sorted(shapes)}.")
    if len(images) < len(kept) or (truth is not None and TRUTH in images):
        names = ", ".join(repr(shown.name) for shown in kept)
        raise InputError(f"Every image needs a name of its own other than {TRUTH!r}, found {names}.")
    return images, truth


def _limits(images: list[NDArray[np.float64]]) -> tuple[float, float]:
    low, high = np.percentile(np.stack(images), (LOW_PERCENTILE, HIGH_PERCENTILE))
    return float(low), float(high)


def detail_of(frame: ShownFrame) -> Region | None:
    """Return the part of the frame to magnify: that with most fine structure in the truth or the methods."""
    if frame.has_truth:
        return detail_window(frame.images[TRUTH])
    chosen = [frame.images[name] for name in frame.methods] or list(frame.images.values())
    return detail_window(np.mean(chosen, axis=0))


def limits_in(frame: ShownFrame, window: Region) -> tuple[float, float]:
    """Return the grey levels shown black and white in a part of the frame: its own, or its texture might not show."""
    chosen = [TRUTH] if frame.has_truth else frame.methods or list(frame.images)
    return _limits([frame.images[name][window.slices] for name in chosen])


def cards(
    report: ComparisonReport, frame: ShownFrame, window: Region | None = None, *, marked: Region | None = None
) -> str:
    """Return a card for each image: the image, its name and scores, and its difference.

    Only the part of the frame in `window` is shown, in the contrast of `limits_in`; a box is drawn around `marked`.
    """
    scores = {shown.name: shown.scores for shown in report.images}
    limits = frame.limits if window is None else limits_in(frame, window)
    parts = []
    for place, (name, image) in enumerate(frame.images.items()):
        line = report.profile_line if window is None and place == 0 else None
        shown, shape = _part(image, window)
        address = grey_png(shown, limits)
        above = picture(address, shape, name, pixel_size=report.pixel_size, marked=marked, line=line)
        below = _bar(frame)
        if name in frame.differences:
            difference, _ = _part(frame.differences[name], window)
            below = picture(difference_png(difference, frame.largest), shape, f"{name}, difference")
        caption = f"<figcaption><b>{escape(name)}</b> {_scores_text(scores.get(name, {}))}</figcaption>"
        parts.append(f"<figure>{above}{caption}{below}</figure>")
    # four side by side are still large enough on paper
    columns = len(parts) if len(parts) <= 4 else 3 if len(parts) <= 6 else 4
    return f'<div class="cards" style="--columns: {columns}">{"".join(parts)}</div>'


def _part(image: NDArray[np.float64], window: Region | None) -> tuple[NDArray[np.float64], tuple[int, int]]:
    """Return a part of an image, or all of it made small enough, and how many of its pixels (Y, X) that shows."""
    if window is not None:
        return image[window.slices], window.shape
    return shrunk(image)[0], (image.shape[0], image.shape[1])


def _bar(frame: ShownFrame) -> str:
    """Return the colour bar, with its caption, where an image has no difference of its own."""
    if not frame.differences:
        return ""
    if frame.has_truth:
        end, meaning = f"{frame.largest:.3f}", "image minus truth, relative to the truth's range"
    else:
        end, meaning = f"{frame.largest:.4g}", "input minus restored, in grey levels"
    bar = colour_bar(f"\u2212{end}", "0", f"+{end}")
    return f'<div class="key">{bar}<p>{meaning}</p></div>'


def _scores_text(scores: Mapping[str, float]) -> str:
    shown = {METRICS[name]: value for name, value in scores.items() if name in METRICS and METRICS[name].is_main}
    return ", ".join(f"{metric.title} {metric.with_unit(value)}" for metric, value in shown.items())
