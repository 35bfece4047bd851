"""What the tests of the command line share."""

import sys

import tifffile
import torch

from napari_care_losses.cli import main
from napari_care_losses.core.architecture import Architecture
from napari_care_losses.core.model import Model, ModelCard
from napari_care_losses.core.network import CareNetwork

TINY = Architecture(kernel_size=3, filters=2, depth=1)
QUICK = ["--preset", "lite", "--patch-size", "16", "--batch-size", "2", "--validation-patches", "2"]


def write(path, stack, **options):
    tifffile.imwrite(path, stack, photometric="minisblack", **options)


def save_model(path, architecture=TINY, **card):
    values = {"structure": "actin", "loss": "laplace" if architecture.predicts_scale else "mae", "preset": "lite"}
    network = CareNetwork(architecture, torch.Generator().manual_seed(0))
    model = Model(ModelCard(**values | card, architecture=architecture), network.state_dict())
    model.save(path)
    return model


def status_of(*arguments):
    """Run the command line in this process; return its exit status."""
    try:
        return main([str(argument) for argument in arguments])
    except SystemExit as ended:
        return ended.code


def names(folder):
    return sorted(file.name for file in folder.iterdir())


def train(*more, steps=("--steps", 4, "--steps-per-epoch", 2), loss="mae", out="m.safetensors"):
    return status_of(
        "train", "--low", "low.tif", "--high", "high.tif", "--loss", loss, "--out", out, *QUICK, *steps, *more
    )


def in_a_process(*arguments):
    return [sys.executable, "-W", "error::UserWarning", "-m", "napari_care_losses.cli", *map(str, arguments)]
