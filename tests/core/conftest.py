"""Fixtures of the tests of the command line."""

import numpy as np
import pytest
import torch
from command_line import TINY, write
from outsiders import Denoiser, onnx_of, seeded, state_dict, torchscript, write_package

from napari_care_losses.core.architecture import PRESETS
from napari_care_losses.core.engines import Engine


@pytest.fixture
def tiny_preset(monkeypatch):
    monkeypatch.setitem(PRESETS, "lite", TINY)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Run in a folder with a pair of stacks of 6 frames, `low.tif` and `high.tif`."""
    rng = np.random.default_rng(0)
    high = rng.integers(100, 1000, (6, 28, 24)).astype(np.uint16)
    write(tmp_path / "high.tif", high)
    write(tmp_path / "low.tif", high // 4 + rng.integers(0, 50, high.shape).astype(np.uint16))
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture(autouse=True)
def no_remembered_tile(monkeypatch):
    """Let no test see the tile that another one made too large."""
    monkeypatch.setattr(Engine, "_limits", {})


@pytest.fixture
def one_torch_thread():
    """Compute in one thread, quicker where tiles are small, and give torch its threads back after the test."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def written(tmp_path):
    """Return a function that writes a package of TorchScript."""

    def write(network=None, kind="torchscript", **options):
        network = network or seeded(Denoiser())
        make = {"torchscript": torchscript, "onnx": onnx_of, "pytorch_state_dict": state_dict}[kind]
        return write_package(tmp_path / "theirs.zip", network, {kind: make(network)}, **options)

    return write
