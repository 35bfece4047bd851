"""What a movie without any clean image is worth to learn from: predicted from neighbouring frames, or photons split.

    python benchmarks/movies_alone.py [--steps 300]

Simulated dendra at 10 ms: 60 frames to train on, 12 of another movie to test on. Networks are ``lite``, trained by the
robust recipe with the FFT loss. Prints the PSNR of the noisy frames, of the bundled model, and of each network.
"""

from __future__ import annotations

import argparse

import numpy as np

from napari_care_losses.evaluation.metrics import score
from napari_care_losses.images.frames import Frames
from napari_care_losses.losses.registry import LOSSES
from napari_care_losses.models.library import find_model
from napari_care_losses.models.model import load_model
from napari_care_losses.restoration.parameters import RestorationParameters
from napari_care_losses.restoration.restore_stack import restore
from napari_care_losses.simulation.pairs_and_movies import ImagingConditions, simulate_movie
from napari_care_losses.training.pairs import pairs_from_frames
from napari_care_losses.training.parameters import RECIPES, TrainingParameters
from napari_care_losses.training.trainer import Trainer

SHAPE, TRAINED_ON, TESTED_ON, SEEDS = (256, 256), 60, 12, (11, 977)
ROWS = (("neighbours", 4), ("self", 0), ("self", 4))
"""Targets, and how many neighbouring frames are read."""


def main() -> None:
    """Print a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=300)
    steps = parser.parse_args().steps
    conditions, stack_range = ImagingConditions(low_ms=10), RestorationParameters(normalization="stack")
    low, _ = simulate_movie("dendra", TRAINED_ON, SHAPE, conditions, seed=SEEDS[0])
    noisy, truth = simulate_movie("dendra", TESTED_ON, SHAPE, conditions, seed=SEEDS[1])

    def show(name: str, images: np.ndarray) -> None:
        found = np.mean([score(image, clean)["psnr"] for image, clean in zip(images, truth, strict=True)])
        print(f"| {name} | {found:.2f} |", flush=True)

    print("| frames | PSNR (dB) |\n|---|---|")
    show("noisy", noisy)
    show("`fft-lite`", restore(noisy, load_model(find_model("fft-lite")), stack_range))
    settings = {"preset": "lite", "budget": "steps", "amount": steps, "steps_per_epoch": 100, **RECIPES["robust"]}
    for target, neighbours in ROWS:
        pairs = pairs_from_frames(Frames(low, "TYX"), None, "movie", neighbours=neighbours)
        trainer = Trainer(pairs, LOSSES["fft"](), TrainingParameters(**settings, target=target, neighbours=neighbours))
        for _ in trainer.run():
            pass
        show(f"`{target}`, {neighbours} neighbours", restore(Frames(noisy, "TYX"), trainer.model(), stack_range))


if __name__ == "__main__":
    main()
