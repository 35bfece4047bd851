"""Trainings that run away: they stop, say when and why, and keep the best weights before."""

from __future__ import annotations

import random
import re
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
from counts import QUICK, SMALL_SIZE, images, say, scaled

from napari_care_losses.errors import TrainingDivergedError
from napari_care_losses.losses.registry import LOSSES
from napari_care_losses.models.model import load_model
from napari_care_losses.training.pairs import Pair
from napari_care_losses.training.parameters import TrainingParameters
from napari_care_losses.training.progress import Epoch, Step
from napari_care_losses.training.to_file import train_to_file
from napari_care_losses.training.trainer import Trainer

TIMES = 3
"""Of every loss and fault."""

EPOCH, STEPS = 10, 40
FAULTS = ("a weight becomes NaN", "a weight becomes infinite", "a weight explodes", "pixels are broken")


def run(scale: float) -> dict[str, float]:
    """Break trainings by every loss at random steps."""
    moments = random.Random(0)
    names = [name for name in LOSSES if scale >= 1 or name in ("mae", "laplace")]
    counts = {"trainings_broken": 0, "stopped_and_said_why": 0, "best_weights_kept": 0}
    for name in names:
        for fault in FAULTS:
            if name == "ssim" and fault == FAULTS[2]:
                # never above 1, whatever the weights
                continue
            size = 192 if scale >= 0.1 else SMALL_SIZE
            for _ in range(scaled(TIMES, scale)):
                counts["trainings_broken"] += 1
                kept = _break(name, fault, moments, size)
                counts["stopped_and_said_why"] += 1
                counts["best_weights_kept"] += kept
        say(f"explode: {name}: {counts}")
    return counts


def _break(loss: str, fault: str, moments: random.Random, side: int) -> bool:
    """Break one training; return whether it left a model, which must be the best before."""
    pairs = [Pair(low, high, f"pair[{i}]") for i, (low, high) in enumerate(zip(*images(4, side), strict=True))]
    pairs = [Pair(pair.low.astype(np.float32), pair.high.astype(np.float32), pair.name) for pair in pairs]
    size = 176 if "ms-ssim" in loss else 32 if "ssim" in loss else 16
    settings = {**QUICK, "patch_size": size, "budget": "steps", "amount": STEPS, "steps_per_epoch": EPOCH}
    trainer = Trainer(pairs, LOSSES[loss](), TrainingParameters(**settings), device="cpu")
    moment, best = moments.randrange(1, STEPS - 1), None
    with TemporaryDirectory() as name:
        out = Path(name) / "model.safetensors"
        try:
            for report in train_to_file(trainer, out):
                if isinstance(report, Epoch) and report.is_best:
                    best = report.validation_loss
                if isinstance(report, Step) and report.step == moment:
                    _apply(fault, trainer, pairs)
        except TrainingDivergedError as error:
            said = re.search(r"loss became \S+ at step (\d+), in epoch (\d+)", str(error))
            assert said, error
            assert moment <= int(said[1]) <= (STEPS if fault == FAULTS[3] else moment + 2), error
            assert "learning rate" in str(error) or "broken images" in str(error), error
        else:
            raise AssertionError(f"{loss}: {fault}, and the training went on")
        if best is None:
            assert not out.exists()
            return False
        model = load_model(out)
        assert model.card.training["best_validation_loss"] <= best
        return True


def _apply(fault: str, trainer: Trainer, pairs: list[Pair]) -> None:
    weight = next(trainer._learner.network.parameters())
    if fault == FAULTS[3]:
        for pair in pairs:
            pair.low[:] = np.nan
            pair.high[:] = np.nan
        return
    value = {FAULTS[0]: torch.nan, FAULTS[1]: torch.inf, FAULTS[2]: 1e12}[fault]
    with torch.no_grad():
        weight[0] = value
