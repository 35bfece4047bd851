"""How many true grey levels intervals hold: calibrated on the same microscope, as bundled, and from Stein's estimate.

    python benchmarks/intervals.py FOLDER [EVERY]

FOLDER holds pairs as for ``baselines.py``, of which every EVERYth frame is taken (1); simulated pairs of every
structure are added. The tables go into ``docs/explanation/intervals.md``.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from baselines import sets
from page import write_part

from napari_care_losses.evaluation.intervals import LEVELS, USUAL_LEVEL, calibrate_intervals
from napari_care_losses.images.frames import Frames
from napari_care_losses.images.line_fit import fit_line
from napari_care_losses.images.noise.estimate import estimate_noise
from napari_care_losses.images.regions import middle
from napari_care_losses.models.library import find_model
from napari_care_losses.models.model import load_model
from napari_care_losses.restoration.restore_stack import restore
from napari_care_losses.simulation.pairs_and_movies import STRUCTURES
from napari_care_losses.simulation.varied_pairs import simulate_varied_pair
from napari_care_losses.training.pairs import Pair, Share
from napari_care_losses.training.validation.intervals import validation_pixels

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from napari_care_losses.evaluation.intervals import Intervals, ValidationPixels
    from napari_care_losses.models.model import Model

    Pairs = list[tuple[NDArray[Any], NDArray[Any]]]

PAGE = Path(__file__).parents[1] / "docs" / "explanation" / "intervals.md"
SIMULATED, CALIBRATING, SIZE, SEED = 4, 6, 256, 6_000_000
"""Simulated pairs of every structure that are measured, and that calibrate Stein's estimate."""
SPLITS, SHARE = 50, 0.5
"""Random splits of a set, and the part of it that calibrates."""
WINDOW = 256
"""Of each field, so many pixels high and wide are restored."""
MOST_CORRELATION = 0.1
"""Of neighbouring pixels' noise, above which Stein's estimate refuses."""
PROBES, STEP, BINS, LEAST = 2, 0.1, 16, 1e-5
WHOLE = slice(None), slice(None)


def main(folder: str, every: str = "1") -> None:
    """Measure all three; write the tables."""
    real = [(name, pairs[:: int(every)]) for name, pairs in sets(Path(folder), every_frame=True)]
    simulated = [(f"simulated {name}", simulated_pairs(name, SIMULATED)) for name in STRUCTURES]
    laplace, fft = (load_model(find_model(name)) for name in ("laplace-lite", "fft-lite"))
    of_laplace = {name: _pixels(laplace, pairs) for name, pairs in [*real, *simulated]}
    large = {name: pairs for name, pairs in real if len(pairs) > 2 / SHARE}
    rows = [_same_microscope(name, "laplace", of_laplace[name]) for name in large]
    rows += [_same_microscope(name, "fft", _pixels(fft, pairs)) for name, pairs in large.items()]
    head = _head("images", "loss", "fields", more=("spread from field to field", "darker half", "brightest tenth"))
    _write("calibrated", [head, *rows])
    assert laplace.card.intervals is not None
    rows = [
        _row([name, str(len(images))], _shares(laplace.card.intervals, images)) for name, images in of_laplace.items()
    ]
    _write("bundled", [_head("images", "fields"), *rows])
    _write("stein", [_head("images", "estimated from", "fields"), *_of_stein(fft, [*real, *simulated])])


def simulated_pairs(name: str, count: int, first: int = 0) -> Pairs:
    """Return fields through any microscope that no model has learned from."""
    seeds = range(SEED + 1000 * list(STRUCTURES).index(name) + first, SEED + 10**6)
    return [simulate_varied_pair(name, (SIZE, SIZE), seed=seed, most_correlation=0.0) for seed in seeds[:count]]


def _pixels(model: Model, pairs: Pairs) -> list[ValidationPixels]:
    rng = np.random.default_rng(0)
    shares = [Share(Pair(low, high, "pair"), WHOLE, True) for low, high in pairs]
    return [validation_pixels(model, share, rng, most=WINDOW**2) for share in shares]


def _held(intervals: Intervals, image: ValidationPixels, level: float) -> NDArray[np.bool_]:
    held: NDArray[np.bool_] = np.abs(image.truth - image.restored) <= intervals.half_width(
        level, image.restored, image.scale
    )
    return held


def _shares(intervals: Intervals, images: Sequence[ValidationPixels]) -> NDArray[np.float64]:
    """Return the mean share that each level holds."""
    return np.mean([[_held(intervals, image, level).mean() for level in LEVELS] for image in images], axis=0)


def _same_microscope(name: str, loss: str, images: list[ValidationPixels]) -> str:
    """Calibrate on some fields chosen at random and measure the others, again and again."""
    rng, shares, spread, dark, bright = np.random.default_rng(0), [], [], [], []
    count = round(SHARE * len(images))
    for _ in range(SPLITS):
        order = rng.permutation(len(images))
        intervals = calibrate_intervals([images[place] for place in order[:count]])
        others = [images[place] for place in order[count:]]
        shares.append(_shares(intervals, others))
        spread.append(np.std([_held(intervals, image, USUAL_LEVEL).mean() for image in others]))
        for image in others:
            held, (low, high) = _held(intervals, image, USUAL_LEVEL), np.percentile(image.restored, [50, 90])
            dark.append(held[image.restored <= low].mean())
            bright.append(held[image.restored >= high].mean())
    more = [f"{100 * np.mean(each):.1f}" for each in (spread, dark, bright)]
    return _row([name, loss, f"{count}, {len(images) - count}"], np.mean(shares, axis=0), np.std(shares, axis=0), more)


class _Field(NamedTuple):
    """What Stein's estimate needs of a field, each (Y, X), in grey levels of the input."""

    restored: NDArray[np.float64]
    distance: NDArray[np.float64]
    error: NDArray[np.float64]
    """What estimates the squared error of each pixel, on average over many."""
    response: NDArray[np.float64]
    """What the squared error would be of a network that gives the mean of all images that may be behind this one."""


def _of_stein(model: Model, groups: list[tuple[str, Pairs]]) -> list[str]:
    """Return rows of intervals as wide as the error that is estimated for pixels of about the same brightness."""
    calibrating = [simulated_pairs(name, CALIBRATING, SIMULATED) for name in STRUCTURES]
    known = [found for pairs in calibrating for pair in pairs if (found := _field(model, *pair)) is not None]
    fields = {name: [found for pair in pairs if (found := _field(model, *pair)) is not None] for name, pairs in groups}
    rows = []
    for kind in ("response", "error"):
        scores = np.concatenate([_scores(field, kind) for field in known])
        factors = np.quantile(scores, LEVELS)
        for name, found in fields.items():
            if found:
                shares = [[(_scores(field, kind) <= factor).mean() for factor in factors] for field in found]
                title = {"response": "the response to noise", "error": "Stein's estimate"}[kind]
                rows.append(_row([name, title, str(len(found))], np.mean(shares, axis=0)))
    return rows


def _field(model: Model, low: NDArray[Any], high: NDArray[Any]) -> _Field | None:
    """Restore a field and its probes; None where the noise of neighbouring pixels correlates."""
    given, truth = (image[middle(image.shape, WINDOW).slices].astype(np.float64) for image in (low, high))
    noise = estimate_noise(given)
    if max(noise.neighbour_correlations) > MOST_CORRELATION:
        return None
    variance, rng = noise.variance_of(given), np.random.default_rng(0)
    restored = restore(Frames(given.astype(np.float32)), model).astype(np.float64)
    response = np.zeros_like(given)
    for _ in range(PROBES):
        drawn = np.sqrt(variance) * rng.choice((-1.0, 1.0), given.shape)
        changed = restore(Frames((given + STEP * drawn).astype(np.float32)), model)
        response += drawn * (changed - restored) / STEP / PROBES
    slope, intercept = fit_line(restored, truth)
    distance = np.abs((truth - intercept) / slope - restored)
    error = np.square(restored - given) - variance + 2 * response
    return _Field(restored, distance, error, response)


def _scores(field: _Field, kind: str) -> NDArray[np.float64]:
    """Return the distance of every true pixel in estimated standard deviations."""
    edges = np.quantile(field.restored, np.linspace(0, 1, BINS + 1)[1:-1])
    places = np.searchsorted(edges, field.restored.ravel(), side="right")
    counts = np.maximum(np.bincount(places, minlength=BINS), 1)
    squares = np.bincount(places, getattr(field, kind).ravel(), BINS) / counts
    # chance can make an estimate negative
    width = np.sqrt(np.maximum(squares, LEAST * field.restored.var()))
    return field.distance.ravel() / width[places]


def _head(*columns: str, more: Sequence[str] = ()) -> str:
    titles = [*columns, *(f"{100 * level:g} %" for level in LEVELS), *more]
    return f"| {' | '.join(titles)} |\n{'|---' * len(titles)}|"


def _row(
    cells: list[str],
    shares: NDArray[np.float64],
    spread: NDArray[np.float64] | None = None,
    more: Sequence[str] = (),
) -> str:
    texts = [f"{100 * share:.1f}" for share in shares]
    if spread is not None:
        texts = [f"{text} ± {100 * each:.1f}" for text, each in zip(texts, spread, strict=True)]
    return f"| {' | '.join([*cells, *texts, *more])} |"


def _write(name: str, lines: list[str]) -> None:
    print(*lines, sep="\n", flush=True)
    write_part(name, "\n".join(lines), PAGE)


if __name__ == "__main__":
    main(*sys.argv[1:])
