"""Training alone and beside another one, with threads that wait asleep and with threads that turn in place.

    python benchmarks/beside_other_work.py [--preset lite] [--seconds 12] [--rounds 2] [--values 5000,20000]

Every training is a process with as many threads as torch takes. The first row is what the OpenMP of GNU does by itself,
the others are values of GOMP_SPINCOUNT, of which `napari_care_losses.compute.openmp` sets one. All take turns; the
figures are the best of the rounds, in steps a second of one training.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time

BY_ITSELF = "300000"
"""Turns of a waiting thread where nothing is set, as libgomp's manual says."""


def train(preset: str, seconds: float) -> None:
    """Train for some seconds and print the steps a second."""
    from napari_care_losses.losses.registry import LOSSES
    from napari_care_losses.simulation.pairs_and_movies import simulate_pairs
    from napari_care_losses.training.pairs import Pair
    from napari_care_losses.training.parameters import TrainingParameters
    from napari_care_losses.training.progress import Step
    from napari_care_losses.training.trainer import Trainer

    lows, highs = simulate_pairs("actin", 2, (128, 128), seed=1)
    pairs = [Pair(*images, f"pair {i}") for i, images in enumerate(zip(lows, highs, strict=True))]
    parameters = TrainingParameters(preset=preset, steps_per_epoch=100_000)
    reports = (report for report in Trainer(pairs, LOSSES["fft"](), parameters, device="cpu").run())
    steps = (report for report in reports if isinstance(report, Step))
    next(steps)
    print("ready", flush=True)
    sys.stdin.readline()
    begun, done = time.monotonic(), 0
    while time.monotonic() < begun + seconds:
        next(steps)
        done += 1
    print(done / (time.monotonic() - begun), flush=True)


def speeds(value: str, number: int, options: argparse.Namespace) -> list[float]:
    """Return the steps a second of trainings at the same time."""
    environment = {name: told for name, told in os.environ.items() if not name.startswith(("GOMP_", "KMP_", "OMP_"))}
    command = [sys.executable, __file__, "--preset", options.preset, "--seconds", str(options.seconds), "--train"]
    environment["GOMP_SPINCOUNT"] = value
    trainings = [
        subprocess.Popen(command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for _ in range(number)
    ]
    for training in trainings:
        assert training.stdout is not None
        assert training.stdout.readline().strip() == "ready"
    for training in trainings:
        assert training.stdin is not None
        training.stdin.write("\n")
        training.stdin.flush()
    return [float(training.communicate()[0]) for training in trainings]


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--preset", default="lite")
    parser.add_argument("--seconds", type=float, default=12)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--values", type=lambda text: text.split(","), default=["5000"])
    parser.add_argument("--train", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.train:
        train(options.preset, options.seconds)
        return
    values = [BY_ITSELF, *options.values]
    best = {(value, number): 0.0 for value in values for number in (1, 2)}
    for _ in range(options.rounds):
        for value, number in best:
            best[value, number] = max(best[value, number], min(speeds(value, number, options)))
    print("| GOMP_SPINCOUNT | alone | beside another | alone, ratio | beside another, ratio |\n|---|---|---|---|---|")
    for value in values:
        alone, beside = best[value, 1], best[value, 2]
        ratios = f"{alone / best[BY_ITSELF, 1]:.2f} | {beside / best[BY_ITSELF, 2]:.2f}"
        print(f"| {value} | {alone:.2f} | {beside:.2f} | {ratios} |")


if __name__ == "__main__":
    main()
