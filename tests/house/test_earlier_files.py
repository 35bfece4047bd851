"""Files made by earlier versions still work: a model with its card, a training to resume, stacks to go on with.

``tests/data/earlier`` was made at commit abaa038, the last one before the package was sorted into folders, by a script
with the settings of `toy_training` and `STACK`: a training of three epochs, the same stopped in its third, and a
restoration stopped after frames 0 to 2 of four.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import tifffile
import torch
import zarr

from napari_care_losses.cli.main import main
from napari_care_losses.images.frames import Frames
from napari_care_losses.losses.registry import LOSSES
from napari_care_losses.models.architecture import Architecture
from napari_care_losses.models.model import load_model, read_card
from napari_care_losses.restoration.parameters import RunOptions
from napari_care_losses.restoration.restore_stack import restore
from napari_care_losses.restoration.to_file import restore_to_file
from napari_care_losses.training.pairs import Pair
from napari_care_losses.training.parameters import TrainingParameters
from napari_care_losses.training.to_file import train_to_file
from napari_care_losses.training.trainer import Trainer

EARLIER = Path(__file__).parents[1] / "data" / "earlier"
STACK = np.random.default_rng(1).gamma(2, 100, (4, 24, 20)).astype(np.float32)

pytestmark = pytest.mark.usefixtures("one_torch_thread", "tiny_preset")


@pytest.fixture
def earlier(tmp_path: Path) -> Path:
    """Return a copy of the files."""
    return Path(shutil.copytree(EARLIER, tmp_path / "earlier"))


def toy_pairs() -> list[Pair]:
    rng = np.random.default_rng(0)
    high = rng.random((3, 20, 20))
    return [Pair(image + rng.normal(0, 0.2, image.shape), image, f"toy[{i}]") for i, image in enumerate(high)]


def toy_training() -> Trainer:
    settings = TrainingParameters(
        preset="lite",
        budget="steps",
        amount=6,
        steps_per_epoch=2,
        patch_size=16,
        batch_size=2,
        validation_patches=2,
    )
    return Trainer(toy_pairs(), LOSSES["laplace"](), settings, device="cpu")


def test_the_card_is_read() -> None:
    card = read_card(EARLIER / "model.safetensors")
    assert card.loss == "laplace"
    assert card.preset == "lite"
    assert card.architecture == Architecture(kernel_size=3, filters=2, depth=1, predicts_scale=True)
    assert card.training["steps"] == 6
    assert card.training["patch_size"] == 16


def test_the_model_restores_as_before() -> None:
    restored = restore(STACK, load_model(EARLIER / "model.safetensors"), axes="TYX", device="cpu")
    np.testing.assert_allclose(restored, np.load(EARLIER / "restored.npy"), rtol=1e-4, atol=1e-2)


def test_the_stopped_training_is_resumed(earlier: Path) -> None:
    training = toy_training()
    training.load_state(earlier / "stopped.resume")
    assert training.step > 0
    assert not training.is_finished
    list(train_to_file(toy_training(), earlier / "stopped.safetensors", resume=True))
    expected = load_model(earlier / "model.safetensors").weights
    resumed = load_model(earlier / "stopped.safetensors").weights
    for name, values in expected.items():
        torch.testing.assert_close(resumed[name], values, rtol=1e-3, atol=1e-4)


def test_the_command_line_resumes_it_with_the_recipe_it_had(earlier: Path) -> None:
    """It was stopped when the recipe of the paper was the default."""
    for name, which in (("toy.tif", "low"), ("high.tif", "high")):
        stack = np.stack([getattr(pair, which) for pair in toy_pairs()])
        tifffile.imwrite(earlier / name, stack, photometric="minisblack")
    files = ["--low", earlier / "toy.tif", "--high", earlier / "high.tif", "--out", earlier / "stopped.safetensors"]
    network = "--loss laplace --preset lite --patch-size 16 --batch-size 2 --validation-patches 2 --device cpu"
    budget = "--steps 6 --steps-per-epoch 2 --resume"
    arguments = [*map(str, files), *network.split(), *budget.split()]
    assert main(["train", *arguments]) == 0
    expected = load_model(earlier / "model.safetensors").weights
    resumed = load_model(earlier / "stopped.safetensors").weights
    for name, values in expected.items():
        torch.testing.assert_close(resumed[name], values, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("name", ["stopped.tif", "stopped.ome.zarr"])
def test_the_stopped_restoration_is_resumed(earlier: Path, name: str) -> None:
    model = load_model(earlier / "model.safetensors")
    run = RunOptions(device="cpu", resume=True)
    resumed = restore_to_file(Frames(STACK, "TYX"), model, earlier / name, run=run)
    assert [progress.frame.index for progress in resumed if progress.frame is not None] == [3]
    pixels = tifffile.imread(earlier / name) if name.endswith("tif") else zarr.open_group(earlier / name, mode="r")["0"]
    np.testing.assert_allclose(np.asarray(pixels), np.load(earlier / "restored.npy"), rtol=1e-4, atol=1e-2)
