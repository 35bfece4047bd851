"""What a further frame costs a network with neighbouring frames, relative to one of single frames.

    python benchmarks/neighbours_speed.py

Both restore the same movie in turns. Time of the processor counts, which hardly depends on what else runs.
"""

from __future__ import annotations

import time
from dataclasses import replace

import numpy as np
import torch

from napari_care_losses.images.frames import Frames
from napari_care_losses.models.architecture import PRESETS
from napari_care_losses.models.model import Model, ModelCard
from napari_care_losses.models.unet import CareNetwork
from napari_care_losses.restoration.parameters import RestorationParameters
from napari_care_losses.restoration.restore_stack import restore_frames
from napari_care_losses.simulation.pairs_and_movies import simulate_movie

FRAMES, SIZE, ROUNDS, NEIGHBOURS = 12, 512, 5, 4


def model_of(neighbours: int) -> Model:
    """Return an untrained model."""
    architecture = replace(PRESETS["lite"], neighbours=neighbours)
    card = ModelCard(structure="other", loss="fft", architecture=architecture)
    return Model(card, CareNetwork(architecture, torch.Generator().manual_seed(0)).state_dict())


def seconds_a_frame(frames: Frames, model: Model, engine: str) -> float:
    """Return the processor's time from the first restored frame to the last, for each."""
    begun = time.process_time()
    for progress in restore_frames(frames, model, RestorationParameters(engine=engine), device="cpu"):
        if progress.frame is not None and progress.frame.index == 0:
            begun = time.process_time()
    return (time.process_time() - begun) / (len(frames) - 1)


def main() -> None:
    """Print the ratios, a line an engine."""
    torch.set_num_threads(1)
    low, _ = simulate_movie("dendra", FRAMES, (SIZE, SIZE), seed=0)
    frames, models = Frames(low, "TYX"), (model_of(0), model_of(NEIGHBOURS))
    print(f"| engine | ms a frame, single | ms a frame, {NEIGHBOURS} neighbours | ratio |\n|---|---|---|---|")
    for engine in ("torch", "openvino"):
        times = np.array([[seconds_a_frame(frames, model, engine) for model in models] for _ in range(ROUNDS)])
        single, around = np.median(times, axis=0) * 1000
        print(f"| {engine} | {single:.0f} | {around:.0f} | {np.median(times[:, 1] / times[:, 0]):.2f} |", flush=True)


if __name__ == "__main__":
    main()
