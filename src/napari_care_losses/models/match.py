"""Whether a model was trained on images like those it is given, and in what they differ.

What a model saw is summarised as centre, spread and correlation of the figures of its training images; a frame
matches where its distance from the centre, in units of that spread (Mahalanobis), stays below `LARGEST_DISTANCE`. How
often this is wrong: ``docs/benchmarks.md``.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from napari_care_losses.errors import InputError
from napari_care_losses.images.sampling import evenly_spaced
from napari_care_losses.models.image_statistics import measure

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from napari_care_losses.models.image_statistics import ImageStatistics

VERSION = 1
"""Of the figures and their summary; a summary of another version is not compared with."""

SAMPLED_IMAGES = 50
"""Images of a training set that are measured at most."""

LARGEST_DISTANCE = 4.4
"""Beyond it, in units of the spread over all figures, a frame is not like the training images."""

LARGEST_DEVIATION = 2.5
"""Beyond it, in units of its own spread, a figure is a reason by itself; twice as far it is "much" more or less."""

MOST_REASONS = 3

# The spread of few images cannot be relied on: the figures' usual ones count as much as those of so many images.
_PRIOR_IMAGES = 2.0
# Figures are compared no lower (as their logarithm) and no higher (lines) than this.
_LEAST, _MOST = 1e-4, 1.2


@dataclass(frozen=True)
class _Figure:
    """How a figure is compared and spoken of.

    Of the figures of one group one is named. `spread` is 1.5 times that usual among images of one structure and
    exposure. In `more` and `less`, ``{much}`` stands for "much " or nothing; in `what`, ``{}`` for the figure.
    """

    group: str
    is_logarithmic: bool
    spread: float
    more: str
    less: str
    what: str

    def compared(self, value: float) -> float:
        return math.log10(max(value, _LEAST)) if self.is_logarithmic else min(value, _MOST)

    def percent(self, compared: float) -> str:
        # what a card stores may be any number
        value = 100 * (10 ** max(-9.0, min(9.0, compared)) if self.is_logarithmic else max(0.0, min(1.0, compared)))
        return f"{value:.1f}" if value < 9.95 else f"{value:.0f}"


def _noise(spread: float, relative_to: str) -> _Figure:
    return _Figure("noise", True, spread, "is {much}noisier", "is {much}less noisy", f"noise {{}} % of {relative_to}")


def _detail(name: str, size: int, spread: float) -> _Figure:
    more, less = (f"has {{much}}{word} {name} detail" for word in ("more", "less"))
    return _Figure("detail", True, spread, more, less, f"contrast of detail about {size} px wide {{}} %")


def _lines(name: str) -> _Figure:
    more, less = (f"looks {{much}}{word} like lines" for word in ("more", "less"))
    return _Figure("lines", False, 0.105, more, less, f"{{}} % of its {name} detail runs in one direction")


_FIGURES = {
    "noise": _noise(0.18, "the range of grey levels"),
    "noise_in_light": _noise(0.2, "the light"),
    "fine": _detail("fine", 3, 0.18),
    "medium": _detail("medium", 6, 0.18),
    "coarse": _detail("coarse", 13, 0.165),
    "fine_lines": _lines("fine"),
    "coarse_lines": _lines("coarse"),
    "bright": _Figure(
        "brightness",
        False,
        0.135,
        "is {much}more evenly bright",
        "is {much}less evenly bright",
        "percentile 90 is {} % of percentile 98",
    ),
}


class _Seen(NamedTuple):
    """What the images of a training set are like: mean (N,) and covariance (N, N) to be expected of one more."""

    mean: NDArray[np.float64]
    covariance: NDArray[np.float64]


def summarize(measured: Sequence[ImageStatistics]) -> dict[str, Any]:
    """Summarise the figures of a training set as plain values, for the model's card.

    Returns
    -------
    dict
        ``images``, how many there were; ``centre`` and ``spread`` (standard deviation) of every figure and their
        ``correlation``, of the logarithm (base 10) where that is compared; ``version``. Empty where there is no image.
    """
    if not measured:
        return {}
    rows = np.array([_compared(statistics) for statistics in measured])
    spread = rows.std(axis=0, ddof=1) if len(rows) > 1 else np.zeros(len(_FIGURES))
    deviations = np.divide(rows - rows.mean(axis=0), spread, out=np.zeros_like(rows), where=spread > 0)
    correlation = deviations.T @ deviations / max(1, len(rows) - 1)
    return {
        "version": VERSION,
        "images": len(rows),
        "centre": dict(zip(_FIGURES, rows.mean(axis=0).round(4).tolist(), strict=True)),
        "spread": dict(zip(_FIGURES, spread.round(4).tolist(), strict=True)),
        "correlation": correlation.round(3).tolist(),
    }


def summarize_images(images: Sequence[NDArray[Any]]) -> dict[str, Any]:
    """Measure and summarise images (Y, X), `SAMPLED_IMAGES` evenly chosen of more; those too small are left out."""
    measured = []
    for image in evenly_spaced(images, SAMPLED_IMAGES):
        try:
            measured.append(measure(image))
        except InputError:
            continue
    return summarize(measured)


def mismatches(stored: dict[str, Any], frames: Sequence[NDArray[Any]]) -> list[str]:
    """Say why frames do not match the training images of a model.

    Parameters
    ----------
    stored : dict
        From `summarize`; anything else (a card without statistics, of another version, damaged) matches every frame.
    frames : sequence of array (Y, X)
        Frames of one stack; the mean of their figures is compared.

    Returns
    -------
    list of str
        Reasons in plain words, the strongest first; empty where the frames match.

    Raises
    ------
    InputError
        If a frame cannot be measured.
    """
    return reasons(stored, [measure(frame) for frame in frames])


def noise_seen(stored: dict[str, Any]) -> str:
    """Return the noise of most training images, in percent of the range of grey levels; empty where not stored."""
    try:
        centre, spread = (float(stored[key]["noise"]) for key in ("centre", "spread"))
    except (KeyError, TypeError, ValueError):
        return ""
    low, high = (_FIGURES["noise"].percent(centre + side * 2 * spread) for side in (-1, 1))
    return f"{low} %" if low == high else f"{low} to {high} %"


def distance(stored: dict[str, Any], measured: Sequence[ImageStatistics]) -> float | None:
    """Return how far frames are from the training images of a model: 0 at their centre, a match to `LARGEST_DISTANCE`.

    Parameters
    ----------
    stored : dict
        From `summarize`.
    measured : sequence of ImageStatistics
        Frames of one stack; the mean of their figures is compared.

    Returns
    -------
    float or None
        Mahalanobis distance; None where nothing usable is stored or no frame was measured.
    """
    seen = _seen(stored)
    if seen is None or not measured:
        return None
    off = _found(measured) - seen.mean
    return math.sqrt(off @ np.linalg.solve(seen.covariance, off))


def reasons(stored: dict[str, Any], measured: Sequence[ImageStatistics]) -> list[str]:
    """Return what `mismatches` does, of frames measured before."""
    seen, far = _seen(stored), distance(stored, measured)
    if seen is None or far is None or far <= LARGEST_DISTANCE:
        return []
    found = _found(measured)
    spread = np.sqrt(np.diag(seen.covariance))
    pull = np.asarray(np.linalg.solve(seen.covariance, found - seen.mean), dtype=np.float64)
    return _single_reasons(found, seen.mean, spread) or [_joint_reason(found, pull, seen.covariance)]


def _found(measured: Sequence[ImageStatistics]) -> NDArray[np.float64]:
    found: NDArray[np.float64] = np.mean([_compared(statistics) for statistics in measured], axis=0)
    return found


def _compared(statistics: ImageStatistics) -> list[float]:
    values = asdict(statistics)
    return [figure.compared(values[name]) for name, figure in _FIGURES.items()]


def _seen(stored: dict[str, Any]) -> _Seen | None:
    """Return what to expect of an image, the usual spreads mixed in; None where nothing usable is stored."""
    try:
        if stored["version"] != VERSION:
            return None
        images = max(1, int(stored["images"]))
        mean, spread = (np.array([float(stored[key][name]) for name in _FIGURES]) for key in ("centre", "spread"))
        correlation = np.array(stored["correlation"], dtype=np.float64).reshape(len(mean), len(mean))
    except (KeyError, TypeError, ValueError, OverflowError):
        return None
    prior = np.diag([figure.spread**2 for figure in _FIGURES.values()])
    covariance = correlation * np.outer(spread, spread)
    mixed = (_PRIOR_IMAGES * prior + (images - 1) * covariance) / (_PRIOR_IMAGES + images - 1)
    # The centre is known from so many images only.
    expected = mixed * (1 + 1 / images)
    is_usable = np.isfinite(mean).all() and np.isfinite(expected).all() and np.linalg.eigvalsh(expected).min() > 0
    return _Seen(mean, expected) if is_usable else None


def _single_reasons(found: NDArray[np.float64], mean: NDArray[np.float64], spread: NDArray[np.float64]) -> list[str]:
    """Return a sentence on each group's most deviating figure, where it deviates by itself."""
    deviations = (found - mean) / spread
    said: dict[str, str] = {}
    for index in np.argsort(-np.abs(deviations)).tolist():
        figure = list(_FIGURES.values())[index]
        deviation = float(deviations[index])
        if abs(deviation) < LARGEST_DEVIATION or figure.group in said:
            continue
        much = "much " if abs(deviation) > 2 * LARGEST_DEVIATION else ""
        phrase = (figure.more if deviation > 0 else figure.less).format(much=much)
        start, end = ("It also", "") if said else ("The image", " than those the model was trained on")
        figures = _figures(figure, found[index], mean[index], spread[index])
        said[figure.group] = f"{start} {phrase}{end} ({figures})."
    return list(said.values())[:MOST_REASONS]


def _joint_reason(found: NDArray[np.float64], pull: NDArray[np.float64], covariance: NDArray[np.float64]) -> str:
    """Return a sentence on the figure that fits the others least, where none deviates by itself."""
    # of a figure given all the others: its variance is 1 / inverse[i, i], its deviation from what is expected
    # (inverse @ off)[i] times that
    variances = 1 / np.diag(np.linalg.inv(covariance))
    index = int(np.argmax(np.abs(pull) * np.sqrt(variances)))
    figure = list(_FIGURES.values())[index]
    expected = found[index] - pull[index] * variances[index]
    phrase = (figure.more if pull[index] > 0 else figure.less).format(much="")
    return (
        f"The image {phrase} than those the model was trained on that are otherwise like it "
        f"({_figures(figure, found[index], expected, math.sqrt(variances[index]))})."
    )


def _figures(figure: _Figure, found: float, expected: float, spread: float) -> str:
    low, high = (figure.percent(expected + side * 2 * spread) for side in (-1, 1))
    return f"{figure.what.format(figure.percent(found))}; trained on {low} to {high} %"
