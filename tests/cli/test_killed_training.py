"""A training without clean images whose process is killed goes on where its last epoch ended, bit for bit."""

import numpy as np
import pytest
import torch
from fixtures.cli_runs import QUICK, save_model, write
from fixtures.forked_programs import run_forked

from napari_care_losses.models.model import load_model
from napari_care_losses.training.checkpoint import read_state

pytestmark = pytest.mark.usefixtures("folder")

KILLED_IN_ITS_SIXTH_STEP = """
import os, sys
from napari_care_losses.cli.main import main
from napari_care_losses.training.trainer import Trainer
step = Trainer._step
def killed(self):
    if self._progress.step == 5:
        os._exit(9)
    return step(self)
Trainer._step = killed
sys.exit(main(sys.argv[1:]))
"""


@pytest.mark.parametrize(
    ("target", "loss", "neighbours"),
    [("self", "fft", 0), ("blind_spots", "mse", 0), ("self", "fft", 2), ("neighbours", "fft", 4)],
)
def test_a_killed_training_is_resumed_bit_for_bit(folder, target, loss, neighbours):
    save_model(folder / "tiny.safetensors")
    write(folder / "noisy.tif", np.random.default_rng(0).poisson(20, (6, 28, 24)).astype(np.uint8))
    command = ["train", "--low", "noisy.tif", "--target", target, "--loss", loss, *QUICK]
    command += ["--neighbours", str(neighbours)] if neighbours else ["--from", "tiny.safetensors"]
    command += ["--steps", "8", "--steps-per-epoch", "3", "--device", "cpu", "--out"]
    # all in one thread: sums in another order end in other bits
    assert run_forked(*command, "whole.safetensors").returncode == 0
    done = run_forked(*command, "killed.safetensors", code=KILLED_IN_ITS_SIXTH_STEP)
    assert done.returncode == 9, done.stderr
    assert read_state(folder / "killed.resume")[0]["progress"]["step"] == 3
    assert run_forked(*command, "killed.safetensors", "--resume").returncode == 0
    whole, resumed = (load_model(folder / f"{name}.safetensors") for name in ("whole", "killed"))
    assert resumed.card.training["steps"] == 8
    assert resumed.card.training["best_validation_loss"] == whole.card.training["best_validation_loss"]
    for name, value in whole.weights.items():
        assert torch.equal(value, resumed.weights[name])
    (progress, tensors), (others, other_tensors) = (
        read_state(folder / f"{name}.resume") for name in ("whole", "killed")
    )
    assert progress["progress"]["history"] == others["progress"]["history"]
    assert progress["rng"] == others["rng"]
    for name, value in tensors.items():
        assert torch.equal(value, other_tensors[name])
