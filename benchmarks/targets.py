"""Training with and without clean images: what each target and loss reaches.

    python benchmarks/targets.py [--folder FOLDER] [--rows self:fft shot:fft clean:fft self:mse] [--steps 600]
    python benchmarks/targets.py --noise gaussian --photons 10 --rows self:mse blind_spots:mse --steps 200 --batch 8
    python benchmarks/targets.py --movie --structure actin --rows next:fft self:fft clean:fft
    python benchmarks/targets.py --bias [--photons 1 3 10] [--rows shot:fft shot:mae]

Without FOLDER on simulated mitochondria, of which there are two shots: 60 fields to train, nine others to test. With a
folder that holds ``STRUCTURE_low.tif`` and ``STRUCTURE_high.tif`` on frames 0-59 and 60-68 (W2S), or of fewer on all of
them, which are then scored too (FMD), without the target ``shot``. A row is TARGET:LOSS, or TARGET:LOSS:MODEL to start
from a model; the target ``none`` does not train. Prints Markdown tables, first the medians of noisy targets, which a
loss like the absolute error learns in place of their means.

With ``--movie`` the fields are the frames of simulated movies, five of 12 frames to train, nine frames of another to
test, for the target ``next``.

With ``--noise`` the simulated fields have noise of one kind, all of the same variance: that of photons, Gaussian noise,
the same with half of its variance shared by the pixels of a row, or, for a number, with this correlation between
neighbouring pixels. Targets train there too where they refuse to, and say so. With ``--bias`` the mean of what is
restored is compared with that of the clean images, at some numbers of photons a pixel. With ``--kept``: how much of the
noise a network keeps that learnt from split photons, where it correlates.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple
from unittest import mock

import numpy as np

from napari_care_losses.evaluation.metrics import score
from napari_care_losses.io.stacks import read_stack
from napari_care_losses.losses.registry import LOSSES
from napari_care_losses.models.library import find_model
from napari_care_losses.models.model import load_model
from napari_care_losses.restoration.restore_stack import restore
from napari_care_losses.simulation.pairs_and_movies import STRUCTURES, ImagingConditions, simulate_movie, simulate_pairs
from napari_care_losses.training.pairs import Pair
from napari_care_losses.training.parameters import RECIPES, TrainingParameters, recommended_recipe
from napari_care_losses.training.targets.base import PHOTONS
from napari_care_losses.training.targets.own_photons import SHARES
from napari_care_losses.training.targets.registry import TARGETS
from napari_care_losses.training.trainer import Trainer

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from napari_care_losses.models.model import Model

TRAINING, ALL, MOVIE = 60, 69, 12
SIZE, SEED = (256, 256), 4
ROWS = ("clean:fft", "shot:fft", "self:fft", "clean:mse", "shot:mse", "self:mse", "self:mae")
BIAS_ROWS = ("shot:fft", "shot:mae", "self:fft", "self:mae")
CORRELATIONS = (0.05, 0.1, 0.15, 0.2, 0.3, 0.4)
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
    parser.add_argument("--rows", nargs="*")
    parser.add_argument("--steps", type=int, default=600)
    parser.add_argument("--batch", type=int, default=TrainingParameters.batch_size)
    parser.add_argument("--noise", default="camera", help="camera, photons, gaussian, rows, or a correlation.")
    parser.add_argument("--photons", nargs="*", type=float, help="Mean number of photons a pixel.")
    parser.add_argument("--bias", action="store_true")
    parser.add_argument("--movie", action="store_true")
    parser.add_argument("--kept", action="store_true")
    options = parser.parse_args()
    if options.bias:
        print("| photons a pixel | target | loss | bias of the mean | PSNR (dB) |\n|---|---|---|---|---|")
        for photons in options.photons or PHOTONS:
            fields = simulated(options.structure, "photons", photons)
            for row in options.rows or BIAS_ROWS:
                target, loss = row.split(":")
                restored = restored_fields(fields, trained(fields, target, loss, None, options.steps, options.batch))
                bias = np.mean(restored) / fields.high[TRAINING:].mean() - 1
                print(f"| {photons:g} | {target} | {loss} | {bias:+.1%} | {scored(fields, restored)[:5]} |", flush=True)
        return
    if options.kept:
        print_kept()
        return
    print_medians()
    if options.movie:
        fields = simulated_movies(options.structure)
    elif options.folder is None:
        fields = simulated(options.structure, options.noise, *(options.photons or [10.0]))
    else:
        fields = recorded(options.folder, options.structure)
    print("\n| target | loss | start | PSNR (dB) | SSIM |\n|---|---|---|---|---|")
    for row in options.rows or ROWS:
        target, loss, *start = row.split(":")
        model = trained(fields, target, loss, start[0] if start else None, options.steps, options.batch)
        is_refused = target in ("self", "blind_spots") and TARGETS[target].problem(Pair(fields.low[0], None, ""))
        note = " (refused)" if is_refused else ""
        figures = scored(fields, restored_fields(fields, model))
        print(f"| {target}{note} | {loss} | {start[0] if start else 'nothing'} | {figures} |", flush=True)


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


def print_kept() -> None:
    """Print the share of correlated noise that the best linear network keeps where the image is flat.

    With the spectrum S of the noise, of mean 1, and the share q of the photons that are the input, input and target
    have the cross spectrum S - 1, for no pixel shares noise with itself, and the input has S + (1 - q) / q. The Wiener
    filter is their ratio; of a whole frame it keeps S times its square.
    """
    waves = np.cos(2 * np.pi * np.fft.fftfreq(256))
    print("| correlation of neighbours | noise kept, along one axis | along both |\n|---|---|---|")
    for correlation in CORRELATIONS:
        cells = []
        for axes in (1, 2):
            part = _part(correlation, axes)
            around = waves[:, None] + (waves if axes == 2 else 0)
            spectrum = (1 + 2 * part * around) ** 2 / (1 + 2 * axes * part**2) + 0 * waves
            noise = (1 - np.mean(SHARES)) / np.mean(SHARES)
            cells.append(f"{np.mean(((spectrum - 1) / (spectrum + noise)) ** 2 * spectrum):.1%}")
        print(f"| {correlation} | {' | '.join(cells)} |")


def _part(correlation: float, axes: int) -> float:
    """Return how much of a pixel's noise its neighbours along one axis or both get, to correlate so much."""
    return (1 - np.sqrt(1 - 2 * axes * correlation**2)) / (2 * axes * correlation) if correlation else 0.0


def simulated(structure: str, noise: str, photons: float) -> Fields:
    """Draw fields, two shots and a long exposure of each; the shots of any camera, or with noise of one kind."""
    low, high = simulate_pairs(structure, ALL, SIZE, seed=SEED)
    if noise == "camera":
        twice = ImagingConditions(high_ms=STRUCTURES[structure].low_ms)
        _, shot = simulate_pairs(structure, ALL, SIZE, twice, seed=SEED)
        return Fields(low, high, shot)
    light = high - np.percentile(high, 1)
    light = photons * np.maximum(light, 0.1 * light.mean()) / light.mean()
    rng = np.random.default_rng(SEED)
    return Fields(exposed(light, noise, rng), light, exposed(light, noise, rng))


def simulated_movies(structure: str) -> Fields:
    """Draw movies, their frames one after the other."""
    frames = [MOVIE] * (TRAINING // MOVIE) + [ALL - TRAINING]
    movies = [simulate_movie(structure, count, SIZE, seed=SEED + number) for number, count in enumerate(frames)]
    low, high = (np.concatenate(stacks) for stacks in zip(*movies, strict=True))
    return Fields(low, high, None)


def exposed(light: NDArray[Any], noise: str, rng: np.random.Generator) -> NDArray[Any]:
    """Return light (N, Y, X) with noise; all kinds have the same variance on average."""
    if noise == "photons":
        return rng.poisson(light).astype(np.float32)
    drawn = rng.standard_normal(light.shape)
    if noise == "rows":
        drawn = (drawn + rng.standard_normal((*light.shape[:2], 1))) / np.sqrt(2)
    elif noise != "gaussian":
        part = _part(float(noise), 2)
        around = sum(np.roll(drawn, shift, axis) for shift in (-1, 1) for axis in (1, 2))
        drawn = (drawn + part * around) / np.sqrt(1 + 4 * part**2)
    return (light + np.sqrt(light.mean()) * drawn).astype(np.float32)


def recorded(folder: Path, structure: str) -> Fields:
    """Read fields."""
    low, high = (read_stack(folder / f"{structure}_{which}.tif") for which in ("low", "high"))
    return Fields(*(np.stack([stack[i] for i in range(min(ALL, len(stack)))]) for stack in (low, high)), None)


def trained(fields: Fields, target: str, loss: str, start: str | None, steps: int, batch: int) -> Model:
    """Return what a training on the first fields gives, or the model to start from where nothing is to be trained."""
    model = None if start is None else load_model(find_model(start))
    if target == "none":
        assert model is not None
        return model
    seconds = {"clean": fields.high, "shot": fields.shot}.get(target)
    if target == "next":
        seconds = np.roll(fields.low, -1, axis=0)
    step = 2 if target == "next" else 1
    pairs = [
        Pair(fields.low[i], None if seconds is None else seconds[i], f"field {i}")
        for i in range(0, min(TRAINING, len(fields.low)), step)
    ]
    recipe = RECIPES[recommended_recipe(from_model=model is not None)]
    parameters = TrainingParameters(
        **recipe, target=target, preset="lite", budget="steps", amount=steps, steps_per_epoch=100, batch_size=batch
    )
    # also where it refuses
    with mock.patch.object(type(TARGETS[target]), "check"):
        trainer = Trainer(pairs, LOSSES[loss](), parameters, start_from=model)
    for _ in trainer.run():
        pass
    return trainer.model()


def restored_fields(fields: Fields, model: Model) -> list[NDArray[Any]]:
    """Restore the fields that are not trained on, or all where there are none."""
    return [restore(low, model) for low in fields.low[TRAINING if len(fields.low) > TRAINING else 0 :]]


def scored(fields: Fields, restored: list[NDArray[Any]]) -> str:
    """Return the mean scores of restored fields, the last ones."""
    rows = [score(image, high) for image, high in zip(restored, fields.high[-len(restored) :], strict=True)]
    psnr, ssim = (np.mean([row[metric] for row in rows]) for metric in ("psnr", "ssim"))
    return f"{psnr:.2f} | {ssim:.3f}"


if __name__ == "__main__":
    main()
