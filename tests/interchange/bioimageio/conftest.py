"""Fixtures of the tests of bioimage.io packages."""

import subprocess
from types import SimpleNamespace

import pytest
from fixtures.bioimageio_packages import Denoiser, onnx_of, seeded, state_dict, torchscript, write_package
from fixtures.forked_programs import ForkedReader

from napari_care_losses.interchange import sandbox


@pytest.fixture(autouse=True, scope="module")
def forked_readers():
    """Fork the readers of weights; those of the other folders' tests are started as they are for the user."""
    with pytest.MonkeyPatch.context() as patch:
        named = {name: getattr(subprocess, name) for name in ("DEVNULL", "TimeoutExpired")}
        patch.setattr(sandbox, "subprocess", SimpleNamespace(Popen=ForkedReader, **named))
        yield


@pytest.fixture
def written(tmp_path):
    """Return a function that writes a package with a TorchScript network."""

    def write(network=None, kind="torchscript", **options):
        network = network or seeded(Denoiser())
        make = {"torchscript": torchscript, "onnx": onnx_of, "pytorch_state_dict": state_dict}[kind]
        return write_package(tmp_path / "theirs.zip", network, {kind: make(network)}, **options)

    return write
