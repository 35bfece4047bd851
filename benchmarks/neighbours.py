"""What neighbouring frames are worth: networks with and without them, trained for the same time on the same frames.

    python benchmarks/neighbours.py [--structures dendra actin] [--minutes 7 | --steps 1000] [--z]
    python benchmarks/neighbours.py --models fft-lite fft-lite-movie [--z]

Simulated movies at 10 ms, or with ``--z`` z-stacks: ten of 20 frames to train on, and as many others, of other cells
and seeds, to test on. Every network is ``lite``, trained from nothing by the robust recipe with one loss; networks are
trained one after the other, for equal minutes or for equal steps, with the seconds that each took. Scores are those of
CARE: PSNR and SSIM of whole frames, and the PSNR of the moving parts, where the clean frame differs by more than noise
from the one before it or after it (in z-stacks: the plane below or above). With ``--models``, models of the library are
scored, and none is trained. Prints a Markdown table.
"""

from __future__ import annotations

import argparse
import time
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from scipy.ndimage import binary_dilation, gaussian_filter

from napari_care_losses.evaluation.metrics import scale_truth, score
from napari_care_losses.images.frames import Calibration, Frames
from napari_care_losses.losses.registry import LOSSES
from napari_care_losses.models.architecture import PRESETS
from napari_care_losses.models.library import find_model
from napari_care_losses.models.model import load_model
from napari_care_losses.restoration.restore_stack import restore
from napari_care_losses.simulation.microscope import Microscope
from napari_care_losses.simulation.pairs_and_movies import STRUCTURES, ImagingConditions, simulate_movie
from napari_care_losses.simulation.z_stacks import simulate_z_stack
from napari_care_losses.training.pairs import pairs_from_frames
from napari_care_losses.training.parameters import RECIPES, TrainingParameters
from napari_care_losses.training.progress import Epoch
from napari_care_losses.training.trainer import Trainer

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from napari_care_losses.models.model import Model

LOW_MS = 10.0
CLEAN_MS = {"actin": 400.0, "dendra": 4000.0, "mitochondria": 1000.0}
"""Exposures of hardly any noise."""
TRAINING_SEED, TEST_SEED = 610, 810
MOVING = 6.0
"""Standard deviations of the noise by which clean frames differ where something moves."""


class Movie(NamedTuple):
    """A low exposure and the clean one."""

    low: Frames
    high: Frames


class Row(NamedTuple):
    """What a network took and reached."""

    steps: int
    seconds: float
    psnr: float
    ssim: float
    moving: float


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--structures", nargs="+", choices=tuple(CLEAN_MS), default=["dendra", "actin"])
    parser.add_argument("--neighbours", nargs="+", type=int, default=[0, 4])
    parser.add_argument("--models", nargs="+", help="Models of the library, in place of training.")
    parser.add_argument("--z", action="store_true", help="Z-stacks in place of movies.")
    parser.add_argument("--loss", choices=tuple(LOSSES), default="fft")
    parser.add_argument("--preset", choices=tuple(PRESETS), default="lite")
    parser.add_argument("--minutes", type=float, default=7.0)
    parser.add_argument("--steps", type=int, help="Equal steps in place of equal minutes.")
    parser.add_argument("--movies", type=int, default=10)
    parser.add_argument("--frames", type=int, default=20)
    parser.add_argument("--size", type=int, default=256)
    options = parser.parse_args()
    what = "model" if options.models else "neighbours"
    print(f"| structure | {what} | steps | seconds | PSNR (dB) | SSIM | PSNR of moving parts (dB) | moving |")
    print("|---|---|---|---|---|---|---|---|", flush=True)
    for structure in options.structures:
        tests = recorded(structure, TEST_SEED, options)
        training = [] if options.models else recorded(structure, TRAINING_SEED, options)
        masks = [moving_parts(movie.high) for movie in tests]
        share = f"{np.mean([mask.mean() for mask in masks]):.1%}"
        for which in options.models or options.neighbours:
            if options.models:
                model, steps, seconds = load_model(find_model(which)), 0, 0.0
            else:
                model, steps, seconds = trained(training, which, options)
            row = scored(model, steps, seconds, tests, masks)
            figures = f"{row.psnr:.2f} | {row.ssim:.4f} | {row.moving:.2f} | {share}"
            print(f"| {structure} | {which} | {row.steps} | {row.seconds:.0f} | {figures} |", flush=True)


def recorded(structure: str, seed: int, options: argparse.Namespace) -> list[Movie]:
    """Simulate movies or z-stacks."""
    conditions = ImagingConditions(low_ms=LOW_MS, high_ms=CLEAN_MS[structure])
    interval_s, pixel = STRUCTURES[structure].interval_s, (Microscope().pixel_size,) * 2
    steps = {"z_step": conditions.z_step} if options.z else {"time_step": interval_s}
    calibration, axes = Calibration(pixel_size=pixel, **steps), "ZYX" if options.z else "TYX"
    shape = (options.size, options.size)
    return [
        Movie(
            *(
                Frames(stack, axes, calibration)
                for stack in (simulate_z_stack if options.z else simulate_movie)(
                    structure, options.frames, shape, conditions, seed=seed + index
                )
            )
        )
        for index in range(options.movies)
    ]


def trained(movies: list[Movie], neighbours: int, options: argparse.Namespace) -> tuple[Model, int, float]:
    """Train a network; return it with its steps and seconds."""
    budget: dict[str, Any] = {"budget": "minutes", "amount": options.minutes}
    if options.steps is not None:
        budget = {"budget": "steps", "amount": options.steps}
    settings = RECIPES["robust"] | budget | {"preset": options.preset, "steps_per_epoch": 100}
    pairs = [
        pair
        for index, movie in enumerate(movies)
        for pair in pairs_from_frames(movie.low, movie.high, f"movie {index}", neighbours=neighbours)
    ]
    trainer = Trainer(pairs, LOSSES[options.loss](), TrainingParameters(**settings, neighbours=neighbours))
    begun, steps = time.perf_counter(), 0
    for report in trainer.run():
        steps = report.step if isinstance(report, Epoch) else steps
    return trainer.model(), steps, time.perf_counter() - begun


def moving_parts(high: Frames) -> NDArray[np.bool_]:
    """Return where the clean frames (T, Y, X) differ from the one before or after them by more than noise does."""
    camera = Microscope()
    levels = np.stack([high[index] for index in range(len(high))]).astype(np.float64)
    smooth = gaussian_filter(levels, (0, 1, 1))
    # the variance of Poisson noise, twice for a difference, after a Gaussian of sigma 1 px
    noise = np.sqrt(2 * camera.gain * np.clip(smooth - camera.offset, 1, None) / (4 * np.pi))
    differs = np.abs(np.diff(smooth, axis=0)) > MOVING * noise[1:]
    moving = np.zeros(levels.shape, bool)
    moving[1:] |= differs
    moving[:-1] |= differs
    return np.stack([binary_dilation(mask, iterations=2) for mask in moving])


def scored(model: Model, steps: int, seconds: float, movies: list[Movie], masks: list[NDArray[np.bool_]]) -> Row:
    """Restore every frame; return the means of whole frames, and the PSNR of all moving pixels."""
    found: list[dict[str, float]] = []
    squared: list[NDArray[np.float64]] = []
    for movie, moving in zip(movies, masks, strict=True):
        restored = restore(movie.low, model)
        for image, index in zip(restored, range(len(movie.high)), strict=True):
            truth = scale_truth(movie.high[index])
            found.append(score(image, truth))
            squared.append(np.square(truth.match(image, aligned=True) - truth.image)[moving[index]])
    psnr, ssim = (float(np.mean([one[metric] for one in found])) for metric in ("psnr", "ssim"))
    return Row(steps, seconds, psnr, ssim, float(-10 * np.log10(np.concatenate(squared).mean())))


if __name__ == "__main__":
    main()
