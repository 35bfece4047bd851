"""Score the bundled models on real images, and on simulated ones of every structure.

    python benchmarks/bundled_models.py FOLDER

FOLDER holds pairs as in ``benchmarks/baselines.py``. The table goes into ``docs/benchmarks.md``; scores lie in
``build/models/judged.json`` and are not taken again while a model is the same. Of each model the window in which it is
furthest from the truth goes to ``docs/images/models``.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from baselines import sets
from page import write_part

from napari_care_losses.comparison.baselines import BASELINES, restore_with
from napari_care_losses.comparison.report.panels import save_panels
from napari_care_losses.evaluation.metrics import score
from napari_care_losses.models.library import bundled_folder
from napari_care_losses.models.model import SUFFIX, load_model
from napari_care_losses.restoration.restore_stack import restore
from napari_care_losses.simulation.pairs_and_movies import STRUCTURES
from napari_care_losses.simulation.varied_pairs import simulate_varied_pair

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    Image = NDArray[Any]

LOSSES, PRESETS = ("laplace", "fft", "bandpass"), ("care", "lite")
FIELDS, SIZE, SEED = 4, (320, 320), 50_000
CROP = 160
SCORES = Path("build/models/judged.json")
PICTURES = Path("docs/images/models")


def main(folder: str) -> None:
    """Score what has no scores yet; write the table and the pictures."""
    images = dict(sets(Path(folder))) | dict(simulated())
    methods: dict[str, tuple[str, Callable[[Image], Image]]] = {"input": ("input", np.asarray)}
    methods |= {each.title: (name, lambda low, name=name: restore_with(name, low)) for name, each in BASELINES.items()}
    for loss in LOSSES:
        for preset in PRESETS:
            model = load_model(bundled_folder() / f"{loss}-{preset}{SUFFIX}")
            methods[f"`{loss}-{preset}`"] = (model.digest(), lambda low, model=model: restore(low, model))
    found: dict[str, list[float]] = json.loads(SCORES.read_text()) if SCORES.is_file() else {}
    SCORES.parent.mkdir(parents=True, exist_ok=True)
    lines = [f"| images | {' | '.join(methods)} |", "|---" * (len(methods) + 1) + "|"]
    for name, pairs in images.items():
        for title, (key, method) in methods.items():
            if f"{name} {key}" not in found:
                scores = [score(method(low), high) for low, high in pairs]
                found[f"{name} {key}"] = [float(np.mean([one[of] for one in scores])) for of in ("psnr", "ssim")]
                SCORES.write_text(json.dumps(found))
                print(name, title, found[f"{name} {key}"], flush=True)
        cells = [found[f"{name} {key}"] for key, _ in methods.values()]
        lines.append(f"| {name} | " + " | ".join(f"{psnr:.2f} / {ssim:.3f}" for psnr, ssim in cells) + " |")
    write_part("bundled_models", "\n".join(lines))
    for title, (_, method) in methods.items():
        if title.startswith("`"):
            save_worst(title.strip("`"), method, [pair for name, pairs in simulated() for pair in pairs])


def simulated() -> list[tuple[str, list[tuple[Image, Image]]]]:
    """Return simulated fields of every structure that no model was trained on."""
    fields = []
    for number, structure in enumerate(STRUCTURES):
        seeds = range(SEED + 1000 * number, SEED + 1000 * number + FIELDS)
        pairs = [simulate_varied_pair(structure, SIZE, seed=seed) for seed in seeds]
        fields.append((f"simulated {structure}, {FIELDS} fields", pairs))
    return fields


def save_worst(name: str, method: Callable[[Image], Image], pairs: list[tuple[Image, Image]]) -> None:
    """Make the picture of the window where a restoration is furthest from the truth."""
    furthest, panels = 0.0, {}
    for low, high in pairs:
        restored = method(low)
        gain, offset = np.polyfit(restored.ravel().astype(np.float64), high.ravel().astype(np.float64), 1)
        wrong = np.abs(gain * restored + offset - high) / np.ptp(np.percentile(high, [0.1, 99.9]))
        sums = wrong.cumsum(axis=0).cumsum(axis=1)
        windows = sums[CROP:, CROP:] - sums[:-CROP, CROP:] - sums[CROP:, :-CROP] + sums[:-CROP, :-CROP]
        if windows.max() > furthest:
            furthest = float(windows.max())
            top, left = np.unravel_index(int(windows.argmax()), windows.shape)
            window = (slice(int(top), int(top) + CROP), slice(int(left), int(left) + CROP))
            psnr = score(restored, high)["psnr"]
            shown = {"input": low, f"restored\n{psnr:.2f} dB": restored, "ground truth": high}
            panels = {title: image[window] for title, image in shown.items()}
    PICTURES.mkdir(parents=True, exist_ok=True)
    save_panels(PICTURES / f"{name}.png", panels, zoom=2)


if __name__ == "__main__":
    main(*sys.argv[1:])
