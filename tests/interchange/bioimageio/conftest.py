"""Fixtures of the tests of bioimage.io packages."""

import pytest
from fixtures.bioimageio_packages import Denoiser, onnx_of, seeded, state_dict, torchscript, write_package


@pytest.fixture
def written(tmp_path):
    """Return a function that writes a package with a TorchScript network."""

    def write(network=None, kind="torchscript", **options):
        network = network or seeded(Denoiser())
        make = {"torchscript": torchscript, "onnx": onnx_of, "pytorch_state_dict": state_dict}[kind]
        return write_package(tmp_path / "theirs.zip", network, {kind: make(network)}, **options)

    return write
