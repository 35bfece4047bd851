"""Compare the figures shown without a ground truth with what a ground truth tells.

    python benchmarks/diagnostics.py [LOW.tif HIGH.tif MODEL ...]

Structure left in the residual, for restorations from careful to crude, beside the share of the residual's power that
is signal really lost: of simulated fields that is known, because two exposures of one field share the signal and not
the noise. For pairs of files the lost signal is estimated from the one pair, and holds the noise that the restoration
let through besides. Then flicker and timing. The last line is one JSON object.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.ndimage import gaussian_filter
from scipy.stats import spearmanr

from napari_care_losses.comparison.baselines import restore_with
from napari_care_losses.evaluation.metrics import align
from napari_care_losses.evaluation.without_truth.residual import flicker, region_means, residual, structure_left
from napari_care_losses.images.frames import Frames
from napari_care_losses.io.tiff_reader import read_tiff
from napari_care_losses.models.library import find_model
from napari_care_losses.models.model import load_model
from napari_care_losses.restoration.restore_stack import RestorationParameters, restore
from napari_care_losses.simulation.microscope import Microscope, blur, record
from napari_care_losses.simulation.pairs_and_movies import STRUCTURES, draw_structure, simulate_movie

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    Image = NDArray[Any]

FIELDS, SIZE = 2, 256
FRAMES = (60, 64)
BLURS = (1, 2, 4, 8)


def main(low: str = "", high: str = "", *models: str) -> None:
    """Print a table for every set of images, then one JSON object."""
    result: dict[str, Any] = {"structure_left": {}, "flicker": {}, "seconds": {}}
    every = []
    for name in ("actin", "mitochondria", "dendra"):
        rows = simulated(name)
        result["structure_left"][f"simulated {name}"] = show(f"simulated {name}", rows)
        every += rows
    figures = np.array([row[1:] for row in every if row[0] != "truth"])
    result["rank_correlation"] = round(float(spearmanr(figures[:, 0], figures[:, 1])[0]), 3)
    result["correlation"] = round(float(np.corrcoef(figures.T)[0, 1]), 3)
    print(f"simulated: correlation {result['correlation']}, of ranks {result['rank_correlation']}")
    if low:
        result["structure_left"][Path(low).stem] = show(Path(low).stem, measured(Path(low), Path(high), models))
    result["flicker"] = flickers()
    result["seconds"] = timings()
    print(json.dumps(result))


def methods(models: tuple[str, ...]) -> dict[str, Callable[[Image], Image]]:
    """Return what makes a restoration of an image, by name."""
    made: dict[str, Callable[[Image], Image]] = {
        f"blur {sigma} px": lambda image, sigma=sigma: gaussian_filter(image.astype(float), sigma) for sigma in BLURS
    }
    made |= {"TV": lambda image: restore_with("tv", image), "NL-means": lambda image: restore_with("nl-means", image)}
    for name in models:
        model = load_model(find_model(name))
        made[name] = lambda image, model=model: restore(image, model)
    return made


def simulated(name: str) -> list[tuple[str, float, float]]:
    """Return method, structure left and share really lost, over fields of one structure."""
    structure, microscope = STRUCTURES[name], Microscope()
    rows: dict[str, list[tuple[float, float]]] = {}
    for seed in range(FIELDS):
        rng = np.random.default_rng(seed)
        clean = blur(draw_structure(name, (SIZE, SIZE), rng), microscope)
        first, second = (record(clean, structure.low_ms, microscope, rng, structure.photons_per_ms) for _ in range(2))
        signal = align(clean, first)
        rows.setdefault("truth", []).append((structure_left(first, clean), 0.0))
        for method, function in methods(("laplace-lite", "bandpass-lite")).items():
            restored = [function(image) for image in (first, second)]
            # errors against the signal that both restorations share: what is lost or invented, without their noise
            one, other = (signal - align(image, first) for image in restored)
            lost = float((one * other).mean() / residual(first, restored[0]).var())
            rows.setdefault(method, []).append((structure_left(first, restored[0]), lost))
    return [(method, *np.mean(values, axis=0).tolist()) for method, values in rows.items()]


def measured(low: Path, high: Path, models: tuple[str, ...]) -> list[tuple[str, float, float]]:
    """Return the same for a pair of files."""
    noisy, clean = read_tiff(low), read_tiff(high)
    rows: dict[str, list[tuple[float, float]]] = {}
    for index in range(*FRAMES) if len(noisy) > FRAMES[1] else range(len(noisy)):
        image = noisy[index]
        signal = align(clean[index], image)
        rows.setdefault("truth", []).append((structure_left(image, signal), 0.0))
        for method, function in methods(models).items():
            restored = function(image)
            lost = float(np.square(signal - align(restored, image)).mean() / residual(image, restored).var())
            rows.setdefault(method, []).append((structure_left(image, restored), lost))
    return [(method, *np.mean(values, axis=0).tolist()) for method, values in rows.items()]


def show(title: str, rows: list[tuple[str, float, float]]) -> dict[str, list[float]]:
    """Print a table and return it."""
    print(f"{title:<32}{'left':>8}{'lost':>8}")
    for method, left, lost in rows:
        print(f"  {method:<30}{left:8.3f}{lost:8.3f}")
    return {method: [round(left, 4), round(lost, 4)] for method, left, lost in rows}


def visited(frames: int = 16, size: int = 128) -> Image:
    """Return a movie in which a bright object comes and goes twice."""
    low, _ = simulate_movie("dendra", frames, (size, size), seed=3)
    y, x = np.mgrid[:size, :size]
    spot = 8 * np.ptp(low) * np.exp(-((y - 30) ** 2 + (x - 90) ** 2) / (2 * 5**2))
    movie = low.astype(np.float32)
    movie[4:7] += spot
    movie[11:13] += spot
    return movie


def flickers() -> dict[str, float]:
    """Return the flicker of a restored movie for every range."""
    movie = visited()
    model = load_model(find_model("laplace-lite"))
    given = np.array([region_means(frame) for frame in Frames(movie)])
    found = {}
    for name in ("frame", "stack", "bleaching"):
        restored = restore(movie, model, RestorationParameters(normalization=name))
        found[name] = round(flicker(given, np.array([region_means(frame) for frame in restored])), 3)
    print("flicker where a bright object comes and goes:", found)
    return found


def timings() -> dict[str, float]:
    """Return the seconds that structure left takes, by frame size; the best of three."""
    found = {}
    for size in (512, 2048):
        rng = np.random.default_rng(0)
        image = rng.poisson(100, (size, size)).astype(np.uint16)
        restored = gaussian_filter(image.astype(np.float32), 2)
        best = np.inf
        for _ in range(3):
            start = time.perf_counter()
            structure_left(image, restored)
            best = min(best, time.perf_counter() - start)
        found[str(size)] = round(best, 4)
    print("seconds for structure left:", found)
    return found


if __name__ == "__main__":
    main(*sys.argv[1:])
