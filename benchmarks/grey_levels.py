"""Whether restored grey levels can be measured: slope against the truth, and the decay of a movie that bleaches.

    python benchmarks/grey_levels.py

Simulated, by the bundled models; prints two Markdown tables. The decay constant is that of an exponential fitted to the
mean above the background where the cells lie in the first frame, over `FRAMES` frames; cells move, so it is compared
with that of the long exposures. Beside it stands what is left of it where every frame is brought to its own range, as
results are that stay in normalised grey levels.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from napari_care_losses.images.normalization import PercentileNormalization, percentiles
from napari_care_losses.models.library import BUNDLED_LOSSES, BUNDLED_SIZES, find_model
from napari_care_losses.models.model import load_model
from napari_care_losses.restoration.restore_stack import restore
from napari_care_losses.simulation.microscope import Microscope
from napari_care_losses.simulation.pairs_and_movies import ImagingConditions, simulate_movie, simulate_pairs

if TYPE_CHECKING:
    from numpy.typing import NDArray

EXPOSURES = {"actin": ((1.0, 10.0, 40.0, 100.0), 400.0), "dendra": ((10.0, 40.0, 100.0), 4000.0)}
"""Low exposures, and one without noise to speak of, in ms."""
FIELDS, SIZE, SEED = 3, 384, 44
FRAMES, BLEACHING = 30, 0.6
OFFSET = Microscope().offset
NAMES = [f"{loss}-{size}" for loss in BUNDLED_LOSSES for size in BUNDLED_SIZES]


def main() -> None:
    """Print both tables."""
    print("| model | low exposure | slope | R2 |\n|---|---|---|---|")
    for structure, (exposures, high_ms) in EXPOSURES.items():
        for name in NAMES:
            model = load_model(find_model(name))
            for low_ms in exposures:
                found = []
                conditions = ImagingConditions(low_ms=low_ms, high_ms=high_ms)
                simulated = simulate_pairs(structure, FIELDS, (SIZE, SIZE), conditions, seed=SEED)
                for low, high in zip(*simulated, strict=True):
                    truth = ((high - OFFSET) * (low_ms / high_ms)).ravel()
                    restored = restore(low, model).ravel()
                    found.append((np.polyfit(truth, restored, 1)[0], np.corrcoef(truth, restored)[0, 1] ** 2))
                slopes, r2 = zip(*found, strict=True)
                slope, explained = (f"{min(values):.3f} to {max(values):.3f}" for values in (slopes, r2))
                print(f"| {name} | {low_ms:g} ms | {slope} | {explained} |", flush=True)
    print("\n| movie | what | decay constant (frames) | off by |\n|---|---|---|---|")
    for structure in EXPOSURES:
        low, high = simulate_movie(
            structure, FRAMES, (SIZE, SIZE), ImagingConditions(low_ms=10.0), seed=SEED, bleaching=BLEACHING
        )
        cells = high[0] > np.percentile(high[0], 60)
        rows = {"the truth": high, "input": low}
        for name in NAMES:
            rows[name] = np.stack([restore(frame, load_model(find_model(name))) for frame in low])
        last = next(reversed(rows))
        rows[f"{last}, every frame left in its own range"] = np.stack([_normalized(frame) for frame in rows[last]])
        truly = _decay(high, cells)
        for what, movie in rows.items():
            constant = _decay(movie, cells)
            print(f"| {structure} | {what} | {constant:.1f} | {100 * (constant / truly - 1):+.1f} % |", flush=True)


def _normalized(frame: NDArray[np.float32]) -> NDArray[np.float32]:
    low, high = percentiles(frame, PercentileNormalization().low, PercentileNormalization().high)
    return (frame - np.float32(low)) / np.float32(high - low)


def _decay(movie: NDArray[np.generic], cells: NDArray[np.bool_]) -> float:
    """Return the time in frames after which the light within the cells has fallen to 1/e."""
    light = [float(frame[cells].mean() - np.percentile(frame, 1)) for frame in movie]
    return float(-1 / np.polyfit(np.arange(len(light)), np.log(light), 1)[0])


if __name__ == "__main__":
    main()
