"""Thousands of frames and hundreds of trainings in one process: the memory stays what it was after the first tenth."""

from __future__ import annotations

import gc
from pathlib import Path
from tempfile import TemporaryDirectory

import psutil
from counts import QUICK, images, say, scaled, size_of_images, write_images
from killing import _model

from napari_care_losses.images.frames import Frames
from napari_care_losses.io.stacks import read_stack
from napari_care_losses.losses.registry import LOSSES
from napari_care_losses.restoration.restore_stack import restore_frames
from napari_care_losses.training.pairs import pairs_from_frames
from napari_care_losses.training.parameters import TrainingParameters
from napari_care_losses.training.to_file import train_to_file
from napari_care_losses.training.trainer import Trainer

FRAMES, TRAININGS = 2000, 200
STACK = 20
"""Frames restored at a time."""

LARGEST_GROWTH = 0.05
FEWEST = 20
"""Rounds below which the first tenth is too little to compare with."""


def run(scale: float) -> dict[str, float]:
    """Restore and train again and again."""
    frames, trainings = scaled(FRAMES, scale), scaled(TRAININGS, scale)
    size = size_of_images(scale)
    stack, model = images(STACK, size)[0], _model(seed=1)
    counts: dict[str, float] = {"frames_restored": 0, "trainings": 0}

    def restore_some() -> None:
        for progress in restore_frames(Frames(stack), model, device="cpu"):
            counts["frames_restored"] += progress.frame is not None

    counts["growth_restoring"] = _growth(restore_some, -(-frames // STACK))
    say(f"soak: {counts}")
    with TemporaryDirectory() as name:
        folder = Path(name)
        write_images(folder, 4, size)

        def train_once() -> None:
            pairs = pairs_from_frames(read_stack(folder / "low.tif"), read_stack(folder / "high.tif"), "pair")
            settings = {**QUICK, "budget": "steps", "amount": 10, "steps_per_epoch": 5}
            loss = list(LOSSES.values())[int(counts["trainings"]) % 3]()
            trainer = Trainer(pairs, loss, TrainingParameters(**settings), device="cpu")
            for _ in train_to_file(trainer, folder / "model.safetensors"):
                pass
            counts["trainings"] += 1

        counts["growth_training"] = _growth(train_once, trainings)
    return counts


def _growth(work, rounds: int) -> float:
    """Return by what share the memory has grown since the first tenth of the rounds."""
    process, first = psutil.Process(), 0
    for number in range(1, rounds + 1):
        work()
        if number == max(1, rounds // 10):
            gc.collect()
            first = process.memory_info().rss
    gc.collect()
    growth = process.memory_info().rss / first - 1
    assert growth < LARGEST_GROWTH or rounds < FEWEST, f"the memory grew by {growth:.1%}"
    return round(growth, 4)
