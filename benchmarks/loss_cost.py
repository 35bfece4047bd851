"""What the losses cost in training, relative to the mean absolute error: whole steps, and the loss alone.

    python benchmarks/loss_cost.py [--presets care,lite,live] [--rounds 8] [--steps 4]

The processor's time of one thread counts, which hardly depends on what else runs; trainings take turns in one process,
every other round in the reverse order. A ratio is the median over the rounds.
"""

from __future__ import annotations

import argparse
import itertools
import statistics
import time
from typing import TYPE_CHECKING, Any

import torch

from napari_care_losses.losses.registry import LOSSES
from napari_care_losses.models.unet import Prediction
from napari_care_losses.simulation.pairs_and_movies import simulate_pairs
from napari_care_losses.training.pairs import Pair
from napari_care_losses.training.parameters import TrainingParameters
from napari_care_losses.training.progress import Step
from napari_care_losses.training.trainer import Trainer

if TYPE_CHECKING:
    from collections.abc import Callable

NAMES = ("mae", "laplace", "fft", "bandpass")
BATCH = (16, 1, 64, 64)
ALONE_ROUNDS = 60


def in_turns(work: dict[str, Callable[[], Any]], rounds: int) -> dict[str, list[float]]:
    """Return the processor's seconds of each, round by round; a first round is not counted."""
    times: dict[str, list[float]] = {name: [] for name in work}
    for number in range(rounds + 1):
        for name in work if number % 2 else reversed(work):
            begun = time.process_time()
            work[name]()
            if number:
                times[name].append(time.process_time() - begun)
    return times


def steps_of(preset: str, name: str, pairs: list[Pair], steps: int) -> Callable[[], Any]:
    """Return what takes some steps of a training with a loss."""
    trainer = Trainer(pairs, LOSSES[name](), TrainingParameters(preset=preset, steps_per_epoch=100_000), device="cpu")
    reports = (report for report in trainer.run() if isinstance(report, Step))
    return lambda: list(itertools.islice(reports, steps))


def alone(name: str) -> Callable[[], Any]:
    """Return what computes a loss of a batch and its gradient."""
    generator = torch.Generator().manual_seed(0)
    mean, scale, target = (torch.rand(BATCH, generator=generator) + 0.1 for _ in range(3))
    prediction = Prediction(mean.requires_grad_(), scale.requires_grad_())
    return lambda: LOSSES[name]()(prediction, target).backward()


def show(what: str, times: dict[str, list[float]], each: int) -> None:
    """Print a line for each loss."""
    for name, seconds in times.items():
        ratio = statistics.median(base / own for base, own in zip(times["mae"], seconds, strict=True))
        median, least = statistics.median(seconds), min(seconds)
        shown = f"{1e3 * median / each:.2f} | {1e3 * least / each:.2f} | {ratio:.3f} | {min(times['mae']) / least:.3f}"
        print(f"| {what} | {name} | {shown} |", flush=True)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--presets", type=lambda text: text.split(","), default=["care", "lite", "live"])
    parser.add_argument("--rounds", type=int, default=8)
    parser.add_argument("--steps", type=int, default=4, help="Steps of a turn.")
    options = parser.parse_args()
    torch.set_num_threads(1)
    print("| | loss | ms, median | ms, least | speed of mae's | of the least |\n|---|---|---|---|---|---|")
    show("the loss alone", in_turns({name: alone(name) for name in NAMES}, ALONE_ROUNDS), 1)
    lows, highs = simulate_pairs("actin", 4, (256, 256), seed=1)
    pairs = [Pair(*images, f"pair {i}") for i, images in enumerate(zip(lows, highs, strict=True))]
    for preset in options.presets:
        work = {name: steps_of(preset, name, pairs, options.steps) for name in NAMES}
        show(f"a step of {preset}", in_turns(work, options.rounds), options.steps)


if __name__ == "__main__":
    main()
