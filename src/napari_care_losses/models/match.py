"""Whether images are like those that a model was trained on, and how they differ.

A model's card stores mean, spread and correlation of the statistics of its training images; images match where their
Mahalanobis distance from that mean is at most `LARGEST_DISTANCE`. How often this is wrong: ``docs/benchmarks.md``.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_care_losses.errors import InputError
from napari_care_losses.images.noise.shared import measure_images
from napari_care_losses.images.sampling import evenly_spaced
from napari_care_losses.models.image_statistics import measure
from napari_care_losses.models.model import LEARNED_CORRELATION

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from napari_care_losses.models.image_statistics import ImageStatistics
    from napari_care_losses.models.model import ModelCard

VERSION = 1
"""Version of the statistics and their summary; summaries of other versions are ignored."""

SAMPLED_IMAGES = 50
"""Largest number of images of a training set that are measured."""

LARGEST_DISTANCE = 4.4
"""Largest Mahalanobis distance at which images match."""

LARGEST_DEVIATION = 2.5
"""Standard deviations beyond which a statistic is a reason by itself; beyond twice as many it is "much" more."""

MOST_REASONS = 3

NOISE_IMAGES = 12
"""Largest number of images of a training set whose noise is measured."""

# that of so many percent of the images is not stronger
_MOST_IMAGES = 80
# The spread of few images is unreliable: the usual spread counts as that of so many images.
_PRIOR_IMAGES = 2.0
# Values are clipped to the first before a logarithm is taken, others to the second.
_LEAST, _MOST = 1e-4, 1.2


@dataclass(frozen=True)
class _Statistic:
    """How a statistic is compared and described.

    Reasons name one statistic of each group. `spread` is 1.5 times the usual one among images of one structure and
    exposure. In `more` and `less`, ``{much}`` stands for "much " or nothing; in `what`, ``{}`` for the value.
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
        # A damaged card may store any number.
        value = 100 * (10 ** max(-9.0, min(9.0, compared)) if self.is_logarithmic else max(0.0, min(1.0, compared)))
        return f"{value:.1f}" if value < 9.95 else f"{value:.0f}"


def _noise(spread: float, relative_to: str) -> _Statistic:
    return _Statistic(
        "noise", True, spread, "is {much}noisier", "is {much}less noisy", f"noise {{}} % of {relative_to}"
    )


def _detail(name: str, size: int, spread: float) -> _Statistic:
    more, less = (f"has {{much}}{word} {name} detail" for word in ("more", "less"))
    return _Statistic("detail", True, spread, more, less, f"contrast of detail about {size} px wide {{}} %")


def _lines(name: str) -> _Statistic:
    more, less = (f"looks {{much}}{word} like lines" for word in ("more", "less"))
    return _Statistic("lines", False, 0.105, more, less, f"{{}} % of its {name} detail runs in one direction")


_STATISTICS = {
    "noise": _noise(0.18, "the range of grey levels"),
    "noise_in_light": _noise(0.2, "the light"),
    "fine": _detail("fine", 3, 0.18),
    "medium": _detail("medium", 6, 0.18),
    "coarse": _detail("coarse", 13, 0.165),
    "fine_lines": _lines("fine"),
    "coarse_lines": _lines("coarse"),
    "bright": _Statistic(
        "brightness",
        False,
        0.135,
        "is {much}more evenly bright",
        "is {much}less evenly bright",
        "percentile 90 is {} % of percentile 98",
    ),
}


def summarize(measured: Sequence[ImageStatistics]) -> dict[str, Any]:
    """Summarise the statistics of a training set as plain values, for the model's card.

    Returns
    -------
    dict
        ``images``, their number; ``centre`` (mean), ``spread`` (standard deviation) and ``correlation`` of the
        statistics, of their logarithm (base 10) where that is compared; ``version``. Empty where there is no image.
    """
    if not measured:
        return {}
    rows = np.array([_compared(statistics) for statistics in measured])
    spread = rows.std(axis=0, ddof=1) if len(rows) > 1 else np.zeros(len(_STATISTICS))
    deviations = np.divide(rows - rows.mean(axis=0), spread, out=np.zeros_like(rows), where=spread > 0)
    correlation = deviations.T @ deviations / max(1, len(rows) - 1)
    return {
        "version": VERSION,
        "images": len(rows),
        "centre": dict(zip(_STATISTICS, rows.mean(axis=0).round(4).tolist(), strict=True)),
        "spread": dict(zip(_STATISTICS, spread.round(4).tolist(), strict=True)),
        "correlation": correlation.round(3).tolist(),
    }


def summarize_images(images: Sequence[NDArray[Any]]) -> dict[str, Any]:
    """Measure and summarise at most `SAMPLED_IMAGES` evenly chosen images (Y, X), without those that are too small.

    Besides what `summarize` returns, ``noise_correlation`` is the largest correlation of the noise of neighbouring
    pixels in most of `NOISE_IMAGES` of them.
    """
    measured = []
    for image in evenly_spaced(images, SAMPLED_IMAGES):
        try:
            measured.append(measure(image))
        except InputError:
            continue
    summary = summarize(measured)
    noises = [measure_images([image]) for image in evenly_spaced(images, NOISE_IMAGES)]
    found = [noise.strongest for noise in noises if noise is not None]
    if summary and found:
        summary[LEARNED_CORRELATION] = round(float(np.percentile(found, _MOST_IMAGES)), 2)
    return summary


def learned_correlation(card: ModelCard) -> float | None:
    """Return how strongly the noise of neighbouring pixels correlates in the images that a model learned from.

    None where its card does not say so.
    """
    found = card.statistics.get(LEARNED_CORRELATION)
    return float(found) if isinstance(found, int | float) and 0 <= found <= 1 else None


def noise_seen(stored: dict[str, Any]) -> str:
    """Return the noise of most training images, such as "2 to 5 %" of the range of grey levels; empty if not stored."""
    try:
        centre, spread = (float(stored[key]["noise"]) for key in ("centre", "spread"))
    except (KeyError, TypeError, ValueError):
        return ""
    low, high = (_STATISTICS["noise"].percent(centre + side * 2 * spread) for side in (-1, 1))
    return f"{low} %" if low == high else f"{low} to {high} %"


def distance(stored: dict[str, Any], measured: Sequence[ImageStatistics]) -> float | None:
    """Return the distance of frames from the training images of a model; up to `LARGEST_DISTANCE` they match.

    Parameters
    ----------
    stored : dict
        From `summarize`.
    measured : sequence of ImageStatistics
        Statistics of frames of one stack; their mean is compared.

    Returns
    -------
    float or None
        Mahalanobis distance; None where nothing usable is stored (a card without statistics, of another version, or
        damaged) or no frame was measured.
    """
    trained_on = _trained_on(stored)
    if trained_on is None or not measured:
        return None
    mean, covariance = trained_on
    off = _mean(measured) - mean
    return math.sqrt(off @ np.linalg.solve(covariance, off))


def reasons(stored: dict[str, Any], measured: Sequence[ImageStatistics]) -> list[str]:
    """Say in sentences why frames do not match the training images of a model, the strongest reason first.

    Arguments as of `distance`. Empty where the frames match or the distance is not known.
    """
    trained_on, how_far = _trained_on(stored), distance(stored, measured)
    if trained_on is None or how_far is None or how_far <= LARGEST_DISTANCE:
        return []
    values, (mean, covariance) = _mean(measured), trained_on
    return _single_reasons(values, mean, np.sqrt(np.diag(covariance))) or [_joint_reason(values, mean, covariance)]


def _mean(measured: Sequence[ImageStatistics]) -> NDArray[np.float64]:
    mean: NDArray[np.float64] = np.mean([_compared(statistics) for statistics in measured], axis=0)
    return mean


def _compared(statistics: ImageStatistics) -> list[float]:
    values = asdict(statistics)
    return [statistic.compared(values[name]) for name, statistic in _STATISTICS.items()]


def _trained_on(stored: dict[str, Any]) -> tuple[NDArray[np.float64], NDArray[np.float64]] | None:
    """Return mean (N,) and covariance (N, N) of one more image like the training images; None where not usable."""
    try:
        if stored["version"] != VERSION:
            return None
        images = max(1, int(stored["images"]))
        mean, spread = (np.array([float(stored[key][name]) for name in _STATISTICS]) for key in ("centre", "spread"))
        correlation = np.array(stored["correlation"], dtype=np.float64).reshape(len(mean), len(mean))
    except (KeyError, TypeError, ValueError, OverflowError):
        return None
    prior = np.diag([statistic.spread**2 for statistic in _STATISTICS.values()])
    covariance = correlation * np.outer(spread, spread)
    mixed = (_PRIOR_IMAGES * prior + (images - 1) * covariance) / (_PRIOR_IMAGES + images - 1)
    # The usual spreads are mixed in; the uncertainty of a mean over so many images adds to the spread.
    expected = mixed * (1 + 1 / images)
    is_usable = np.isfinite(mean).all() and np.isfinite(expected).all() and np.linalg.eigvalsh(expected).min() > 0
    return (mean, expected) if is_usable else None


def _single_reasons(value: NDArray[np.float64], mean: NDArray[np.float64], spread: NDArray[np.float64]) -> list[str]:
    """Return a sentence on the most deviating statistic of each group, if it deviates by itself."""
    deviations = (value - mean) / spread
    sentences: dict[str, str] = {}
    for index in np.argsort(-np.abs(deviations)).tolist():
        statistic = list(_STATISTICS.values())[index]
        deviation = float(deviations[index])
        if abs(deviation) < LARGEST_DEVIATION or statistic.group in sentences:
            continue
        much = "much " if abs(deviation) > 2 * LARGEST_DEVIATION else ""
        phrase = (statistic.more if deviation > 0 else statistic.less).format(much=much)
        start, end = ("It also", "") if sentences else ("The image", " than those the model was trained on")
        values = _values(statistic, value[index], mean[index], spread[index])
        sentences[statistic.group] = f"{start} {phrase}{end} ({values})."
    return list(sentences.values())[:MOST_REASONS]


def _joint_reason(value: NDArray[np.float64], mean: NDArray[np.float64], covariance: NDArray[np.float64]) -> str:
    """Return a sentence on the statistic that agrees least with the others, where none deviates by itself."""
    # Given all other statistics, statistic i has the variance 1 / inverse[i, i], and deviates from its expected value
    # by (inverse @ off)[i] times that variance.
    solved = np.asarray(np.linalg.solve(covariance, value - mean), dtype=np.float64)
    variances = 1 / np.diag(np.linalg.inv(covariance))
    index = int(np.argmax(np.abs(solved) * np.sqrt(variances)))
    statistic = list(_STATISTICS.values())[index]
    expected = value[index] - solved[index] * variances[index]
    phrase = (statistic.more if solved[index] > 0 else statistic.less).format(much="")
    return (
        f"The image {phrase} than those the model was trained on that are otherwise like it "
        f"({_values(statistic, value[index], expected, math.sqrt(variances[index]))})."
    )


def _values(statistic: _Statistic, value: float, expected: float, spread: float) -> str:
    low, high = (statistic.percent(expected + side * 2 * spread) for side in (-1, 1))
    return f"{statistic.what.format(statistic.percent(value))}; trained on {low} to {high} %"
