"""Training with and without clean images: what each target and loss reaches.

    python benchmarks/targets.py [--folder FOLDER] [--rows self:fft shot:fft clean:fft self:mse] [--steps 600]

Without FOLDER on simulated mitochondria, of which there are two shots: 60 fields to train, nine others to test. With a
folder that holds ``STRUCTURE_low.tif`` and ``STRUCTURE_high.tif`` on frames 0-59 and 60-68 (W2S), or of fewer on all of
them, which are then scored too (FMD), without the target ``shot``. A row is TARGET:LOSS, or TARGET:LOSS:MODEL to start
from a model; the target ``none`` does not train. Prints Markdown tables, first the medians of noisy targets, which a
loss like the absolute error learns in place of their means.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from napari_care_losses.evaluation.metrics import score
from napari_care_losses.io.stacks import read_stack
from napari_care_losses.losses.registry import LOSSES
from napari_care_losses.models.library import find_model
from napari_care_losses.models.model import load_model
from napari_care_losses.restoration.restore_stack import restore
from napari_care_losses.simulation.pairs_and_movies import STRUCTURES, ImagingConditions, simulate_pairs
from napari_care_losses.training.pairs import Pair
from napari_care_losses.training.parameters import RECIPES, TrainingParameters, recommended_recipe
from napari_care_losses.training.targets.base import PHOTONS
from napari_care_losses.training.targets.own_photons import SHARES
from napari_care_losses.training.trainer import Trainer

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from napari_care_losses.models.model import Model

TRAINING, ALL = 60, 69
SIZE, SEED = (256, 256), 4
ROWS = ("clean:fft", "shot:fft", "self:fft", "clean:mse", "shot:mse", "self:mse", "self:mae")
DRAWS = 200_001


class Fields(NamedTuple):
    """Noisy images, clean ones and other noisy ones of the same fields, (N, Y, X)."""

    low: NDArray[Any]
    high: NDArray[Any]
    shot: NDArray[Any] | None


def main() -> None:
    """Print what was asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--structure", default="mitochondria")
    parser.add_argument("--rows", nargs="*", default=ROWS)
    parser.add_argument("--steps", type=int, default=600)
    options = parser.parse_args()
    print_medians()
    fields = simulated(options.structure) if options.folder is None else recorded(options.folder, options.structure)
    print("\n| target | loss | start | PSNR (dB) | SSIM |\n|---|---|---|---|---|")
    for row in options.rows:
        target, loss, *start = row.split(":")
        figures = trained(fields, target, loss, start[0] if start else None, options.steps)
        print(f"| {target} | {loss} | {start[0] if start else 'nothing'} | {figures} |", flush=True)


def print_medians() -> None:
    """Print the medians of noisy targets, relative to their means, at some numbers of photons a pixel."""
    rng = np.random.default_rng(0)
    print("| photons a pixel | shot, next | self |\n|---|---|---|")
    for photons in PHOTONS:
        cells = []
        for is_split in (False, True):
            # around this number, for the median of whole numbers goes in steps
            light = np.linspace(0.5, 1.5, 21) * photons
            share = 1 - rng.uniform(*SHARES, DRAWS) if is_split else np.ones(DRAWS)
            medians = [np.median(rng.poisson(level * share) / share) for level in light]
            cells.append(f"{np.mean(medians) / light.mean():.2f}")
        print(f"| {photons} | {' | '.join(cells)} |")


def simulated(structure: str) -> Fields:
    """Draw fields, two shots and a long exposure of each."""
    low, high = simulate_pairs(structure, ALL, SIZE, seed=SEED)
    twice = ImagingConditions(high_ms=STRUCTURES[structure].low_ms)
    _, shot = simulate_pairs(structure, ALL, SIZE, twice, seed=SEED)
    return Fields(low, high, shot)


def recorded(folder: Path, structure: str) -> Fields:
    """Read fields."""
    low, high = (read_stack(folder / f"{structure}_{which}.tif") for which in ("low", "high"))
    return Fields(*(np.stack([stack[i] for i in range(min(ALL, len(stack)))]) for stack in (low, high)), None)


def trained(fields: Fields, target: str, loss: str, start: str | None, steps: int) -> str:
    """Train, and return the scores of the fields that were not trained on, if there are any."""
    model = None if start is None else load_model(find_model(start))
    count = len(fields.low)
    if target == "none":
        return scored(fields, model, count)
    seconds = {"clean": fields.high, "shot": fields.shot}.get(target)
    pairs = [
        Pair(fields.low[i], None if seconds is None else seconds[i], f"field {i}") for i in range(min(TRAINING, count))
    ]
    recipe = RECIPES[recommended_recipe(from_model=model is not None)]
    parameters = TrainingParameters(
        **recipe, target=target, preset="lite", budget="steps", amount=steps, steps_per_epoch=100
    )
    trainer = Trainer(pairs, LOSSES[loss](), parameters, start_from=model)
    for _ in trainer.run():
        pass
    return scored(fields, trainer.model(), count)


def scored(fields: Fields, model: Model, count: int) -> str:
    """Return the mean scores of the fields that are not trained on, of all where there are none."""
    rows = [
        score(restore(fields.low[i], model), fields.high[i]) for i in range(TRAINING if count > TRAINING else 0, count)
    ]
    psnr, ssim = (np.mean([row[metric] for row in rows]) for metric in ("psnr", "ssim"))
    return f"{psnr:.2f} | {ssim:.3f}"


if __name__ == "__main__":
    main()
