"""Which recipe of training, or which loss, restores best, on real pairs: a ranked ablation.

    python benchmarks/recipe.py FOLDER [--losses] [--steps 3000] [--only NAME ...] [--out recipe.json]

With ``--losses`` the rows are the losses, each trained by the robust recipe.
FOLDER holds ``mitochondria_low.tif``, ``mitochondria_high.tif`` and the same of actin (W2S). Every recipe trains one
network on frames 0-59 of each structure and is scored on those of them that validate, of both structures, so that a
choice made here has not seen a test frame. Results are added to the JSON file as they come; what it holds is not done
again. The table is printed at the end, the best mean PSNR first: PSNR and SSIM of each structure, the means of both and
of the ring correlation with the truth, and the CPU time of a training step, that of drawing its patches included.
"""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import tifffile

from napari_care_losses.evaluation.metrics import score
from napari_care_losses.evaluation.spectra import agreement
from napari_care_losses.losses.registry import LOSSES
from napari_care_losses.models.architecture import PRESETS, Architecture
from napari_care_losses.restoration.restore_stack import RestorationParameters, restore
from napari_care_losses.training.pairs import Pair, split_pairs
from napari_care_losses.training.parameters import RECIPES as TRAINING_RECIPES
from napari_care_losses.training.parameters import TrainingParameters
from napari_care_losses.training.trainer import Trainer

STRUCTURES = ("mitochondria", "actin")
FRAMES = slice(0, 60)
PLAIN = {"preset": "lite", "budget": "steps", "steps_per_epoch": 250}
UNIFORM = {**PLAIN, "background_filter": False}
AVERAGED = {**UNIFORM, "average_weights": True}
VARIED = {**AVERAGED, "vary_levels": True, "vary_noise": True}
FAST = {**VARIED, "learning_rate": 1e-3}
ROBUST = {**PLAIN, **TRAINING_RECIPES["robust"]}


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """How to train and restore: a loss, settings, and in place of a preset's network another one."""

    loss: str = "fft"
    loss_parameters: dict[str, Any] = field(default_factory=dict)
    settings: dict[str, Any]
    restoring: dict[str, Any] = field(default_factory=dict)
    network: Architecture | None = None


RECIPES = {
    "plain": Recipe(settings=PLAIN),
    "uniform patches": Recipe(settings=UNIFORM),
    "+ averaged weights": Recipe(settings=AVERAGED),
    "+ varied levels": Recipe(settings={**AVERAGED, "vary_levels": True}),
    "+ varied noise": Recipe(settings={**AVERAGED, "vary_noise": True}),
    "+ both varied": Recipe(settings=VARIED),
    "both varied, bandpass": Recipe(loss="bandpass", settings=VARIED),
    "both varied, FFT + bandpass, low band tied": Recipe(
        loss="fft+bandpass", settings=VARIED, restoring={"low_band": "tied"}
    ),
    "both varied, patches of 128 px, 4 a step": Recipe(settings={**VARIED, "patch_size": 128, "batch_size": 4}),
    "both varied, deep": Recipe(settings={**VARIED, "preset": "deep"}),
    "levels varied, noise redrawn": Recipe(settings={**AVERAGED, "vary_levels": True, "redraw_noise": True}),
    "levels and size varied": Recipe(settings={**AVERAGED, "vary_levels": True, "vary_size": True}),
    "both varied, learning rate 1e-3": Recipe(settings=FAST),
    "both varied, learning rate 1e-3, bandpass": Recipe(loss="bandpass", settings=FAST),
    "robust": Recipe(settings=ROBUST),
    "robust, bandpass": Recipe(loss="bandpass", settings=ROBUST),
    "robust, bandpass, deep": Recipe(loss="bandpass", settings={**ROBUST, "preset": "deep"}),
    "robust, bandpass, 24 filters": Recipe(
        loss="bandpass", settings=ROBUST, network=replace(PRESETS["lite"], filters=24)
    ),
}

LOSS_RECIPES = {
    **{name: Recipe(loss=name, settings=ROBUST) for name in LOSSES},
    "fft, low band tied": Recipe(settings=ROBUST, restoring={"low_band": "tied"}),
    "laplacian-pyramid, low band tied": Recipe(
        loss="laplacian-pyramid", settings=ROBUST, restoring={"low_band": "tied"}
    ),
}


def main() -> None:
    """Train and score every recipe or loss, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--steps", type=int, default=3000)
    parser.add_argument("--losses", action="store_true")
    parser.add_argument("--only", nargs="+", metavar="NAME")
    parser.add_argument("--out", type=Path, default=Path("build/recipe.json"))
    options = parser.parse_args()
    recipes = LOSS_RECIPES if options.losses else RECIPES
    chosen = options.only or list(recipes)
    if unknown := sorted(set(chosen) - set(recipes)):
        parser.error(f"there is no {unknown[0]!r}; choose from {', '.join(recipes)}")
    options.out.parent.mkdir(parents=True, exist_ok=True)
    found = json.loads(options.out.read_text()) if options.out.is_file() else {}
    data = {name: real_pairs(options.folder, name) for name in STRUCTURES}
    for name in chosen:
        if name not in found:
            found[name] = {}
            for trained_on in STRUCTURES:
                found[name] |= train_and_score(recipes[name], trained_on, data, options.steps)
            options.out.write_text(json.dumps(found, indent=1))
            print(name, found[name], flush=True)
    print(table(found))


def table(found: dict[str, dict[str, Any]]) -> str:
    """Return a Markdown table of all rows, the best mean PSNR first."""
    ranked = sorted(found.items(), key=lambda item: -np.mean([row["psnr"] for row in item[1].values()]))
    titles = {"mitochondria": "M", "actin": "A"}
    cells = [f"{titles[a]}{titles[b]}" for a in STRUCTURES for b in STRUCTURES]
    lines = [
        "| trained with | " + " | ".join(cells) + " | mean | FRC | CPU ms a step |",
        "|---|" + "---|" * (len(cells) + 3),
    ]
    for name, rows in ranked:
        figures = [f"{row['psnr']:.2f} / {row['ssim']:.3f}" for row in rows.values()]
        psnr, ssim, frc, cost = (
            float(np.mean([row[what] for row in rows.values()])) for what in ("psnr", "ssim", "frc", "step_ms")
        )
        lines.append(f"| {name} | {' | '.join(figures)} | {psnr:.2f} / {ssim:.3f} | {frc:.4f} | {cost:.0f} |")
    return "\n".join(lines)


def real_pairs(folder: Path, structure: str) -> list[Pair]:
    """Return the pairs of a structure that train and validate."""
    low, high = (tifffile.imread(folder / f"{structure}_{which}.tif")[FRAMES] for which in ("low", "high"))
    return [Pair(*images, f"{structure}[{i}]") for i, images in enumerate(zip(low, high, strict=True))]


def train_and_score(recipe: Recipe, trained_on: str, data: dict[str, list[Pair]], amount: float) -> dict[str, Any]:
    """Train on one structure, as long as the recipe's budget says, and score the validation images of both."""
    parameters = TrainingParameters(**recipe.settings, amount=amount)
    preset = PRESETS[parameters.preset]
    PRESETS[parameters.preset] = recipe.network or preset
    try:
        trainer = Trainer(data[trained_on], LOSSES[recipe.loss](**recipe.loss_parameters), parameters, device="cpu")
    finally:
        PRESETS[parameters.preset] = preset
    begun = time.process_time()
    for _ in trainer.run():
        pass
    seconds = time.process_time() - begun
    model, scores = trainer.model(), {}
    for tested_on in STRUCTURES:
        shares = split_pairs(data[tested_on], parameters.patch_size, np.random.default_rng(parameters.seed))
        pairs = [share.pair for share in shares if share.validates]
        low = np.stack([pair.low for pair in pairs])
        restored = restore(low, model, RestorationParameters(**recipe.restoring), axes="TYX")
        rows = [
            {**score(image, pair.high), **agreement(image, pair.high)}
            for image, pair in zip(restored, pairs, strict=True)
        ]
        scores[f"{trained_on} -> {tested_on}"] = {
            **{metric: float(np.mean([row[metric] for row in rows])) for metric in rows[0]},
            "steps": trainer.step,
            "step_ms": round(1000 * seconds / trainer.step, 1),
        }
    return scores


if __name__ == "__main__":
    main()
