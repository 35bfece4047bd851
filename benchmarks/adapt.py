"""Adapting a bundled model to one's own noisy images: PSNR before and after, true and estimated without the truth.

    python benchmarks/adapt.py --folder FOLDER [--images confocal twophoton] [--models fft-lite] [--steps 300]

FOLDER holds ``IMAGE_low.tif`` and ``IMAGE_high.tif``: single pairs (FMD), or stacks of which the frames 60-68 are
adapted to and scored (W2S). As in the Restore widget, but with a budget in steps, so that a loaded computer
gets as far. Prints a Markdown table.
"""

from __future__ import annotations

import argparse
import tempfile
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import numpy as np

from napari_care_losses.compute.steps import finish
from napari_care_losses.evaluation.metrics import score
from napari_care_losses.images.frames import Frames
from napari_care_losses.io.stacks import read_stack
from napari_care_losses.models.library import find_model
from napari_care_losses.models.model import Model, load_model
from napari_care_losses.restoration.correlated_noise import choose_treatment
from napari_care_losses.restoration.parameters import RestorationParameters
from napari_care_losses.restoration.ranges import estimate_ranges
from napari_care_losses.restoration.restore_stack import restore
from napari_care_losses.restoration.window_psnr import PsnrWindow
from napari_care_losses.training.plans.adapt import adaptation_plan
from napari_care_losses.training.plans.plan import train

TEST = slice(60, 69)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--images", nargs="+", default=["confocal", "twophoton"])
    parser.add_argument("--models", nargs="+", default=["fft-lite"])
    parser.add_argument("--steps", type=int, nargs="+", default=[300])
    options = parser.parse_args()
    print("| images | model | steps | PSNR (dB) | SSIM | estimated gain (dB) |\n|---|---|---|---|---|---|")
    for name in options.images:
        low, high = (_frames(options.folder / f"{name}_{which}.tif") for which in ("low", "high"))
        for start in options.models:
            models = [load_model(find_model(start)), *(_adapted(name, low, start, steps) for steps in options.steps)]
            gains = _estimated_gains(models, low)
            for steps, model, gain in zip((0, *options.steps), models, gains, strict=True):
                print(f"| {name} | {start} | {steps} | {_scores(model, low, high)} | {gain:.2f} |", flush=True)


def _frames(path: Path) -> Frames:
    stack = read_stack(path)
    return Frames(np.stack([stack[index] for index in range(len(stack))][TEST if len(stack) > 60 else slice(None)]))


def _adapted(name: str, low: Frames, start: str, steps: int) -> Model:
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "adapted.safetensors"
        plan = adaptation_plan(name, low, 0, find_model(start), out)
        plan = plan._replace(parameters=replace(plan.parameters, budget="steps", amount=steps))
        with closing(train(plan, previews=False)) as reports:
            for _ in reports:
                pass
        return load_model(out)


def _scores(model: Model, low: Frames, high: Frames) -> str:
    rows = [score(restore(low[index], model), high[index]) for index in range(len(low))]
    psnr, ssim = (np.mean([row[metric] for row in rows]) for metric in ("psnr", "ssim"))
    return f"{psnr:.2f} | {ssim:.3f}"


def _estimated_gains(models: list[Model], low: Frames) -> list[float]:
    """Return how far each model is ahead of the first, estimated without the truth, in the mean of all frames."""
    parameters, behind = RestorationParameters(), []
    for index in range(len(low)):
        window, measured = None, []
        for model in models:
            ranges = finish(estimate_ranges(low, parameters, model.card.normalization))
            window = window or PsnrWindow(low, index, parameters, ranges)
            treatment = choose_treatment(low, model.card, parameters)
            measured.append(window.measure(model, parameters, ranges, treatment))
        assert window is not None
        behind.append([found.behind for found in window.estimator.estimates(measured)])
    mean = np.mean(behind, axis=0)
    return [float(gain) for gain in mean[0] - mean]


if __name__ == "__main__":
    main()
