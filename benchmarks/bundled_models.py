"""Score the bundled models on real images, and on simulated ones of every structure.

    python benchmarks/bundled_models.py FOLDER

FOLDER holds pairs as in ``benchmarks/baselines.py``; of large images the middle is scored. The table goes into
``docs/benchmarks.md``; scores lie in ``build/models/judged.json`` and are not taken again while a model is the same.
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
from napari_care_losses.evaluation.metrics import score
from napari_care_losses.images.regions import middle
from napari_care_losses.models.library import bundled_folder
from napari_care_losses.models.model import SUFFIX, load_model
from napari_care_losses.restoration.restore_stack import restore
from napari_care_losses.simulation.pairs_and_movies import STRUCTURES
from napari_care_losses.simulation.varied_pairs import simulate_varied_pair

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    Image = NDArray[Any]

LOSSES, PRESETS = ("laplace", "fft", "bandpass"), ("care", "lite", "live")
FIELDS, SIZE, SEED = 4, (320, 320), 50_000
LARGEST = 512
SCORES = Path("build/models/judged.json")


def main(folder: str) -> None:
    """Score what has no scores yet, and write the table."""
    images = {name: [tuple(map(shown_part, pair)) for pair in pairs] for name, pairs in sets(Path(folder))}
    images |= dict(simulated())
    methods: dict[str, tuple[str, Callable[[Image], Image]]] = {"input": ("input", np.asarray)}
    methods |= {each.title: (name, lambda low, name=name: restore_with(name, low)) for name, each in BASELINES.items()}
    for loss in LOSSES:
        for preset in PRESETS:
            model = load_model(bundled_folder() / f"{loss}-{preset}{SUFFIX}")
            methods[f"`{loss}-{preset}`"] = (model.digest(), lambda low, model=model: restore(low, model))
    found: dict[str, list[float]] = json.loads(SCORES.read_text(encoding="utf-8")) if SCORES.is_file() else {}
    SCORES.parent.mkdir(parents=True, exist_ok=True)
    lines = [f"| images | {' | '.join(methods)} |", "|---" * (len(methods) + 1) + "|"]
    for name, pairs in images.items():
        for title, (key, method) in methods.items():
            if f"{name} {key}" not in found:
                scores = [score(method(low), high) for low, high in pairs]
                found[f"{name} {key}"] = [float(np.mean([one[of] for one in scores])) for of in ("psnr", "ssim")]
                SCORES.write_text(json.dumps(found), encoding="utf-8")
                print(name, title, found[f"{name} {key}"], flush=True)
        cells = [found[f"{name} {key}"] for key, _ in methods.values()]
        lines.append(f"| {name} | " + " | ".join(f"{psnr:.2f} / {ssim:.3f}" for psnr, ssim in cells) + " |")
    write_part("bundled_models", "\n".join(lines))


def shown_part(image: Image) -> Image:
    """Return the middle of a large image, a small one whole."""
    return image[middle(image.shape, LARGEST).slices]


def simulated() -> list[tuple[str, list[tuple[Image, Image]]]]:
    """Return simulated fields of every structure that no model was trained on."""
    fields = []
    for number, structure in enumerate(STRUCTURES):
        seeds = range(SEED + 1000 * number, SEED + 1000 * number + FIELDS)
        pairs = [simulate_varied_pair(structure, SIZE, seed=seed) for seed in seeds]
        fields.append((f"simulated {structure}, {FIELDS} fields", pairs))
    return fields


if __name__ == "__main__":
    main(*sys.argv[1:])
