"""Packages of models that read neighbouring frames: what goes in is explained, and they can be imported again."""

import io
import subprocess
import sys
import warnings
import zipfile

import numpy as np
import pytest
import torch
import yaml
from fixtures.imported_models import read_foreign
from fixtures.random_models import image_of, make_model
from onnx.reference import ReferenceEvaluator

from napari_care_losses.interchange.bioimageio import network_source
from napari_care_losses.interchange.bioimageio.export import export_bioimageio
from napari_care_losses.models.architecture import Architecture
from napari_care_losses.restoration.restore_stack import restore

TRAINING = {"neighbour_axis": "T", "neighbour_spacing": 0.5}


NETWORKS = {
    "seen": {},
    "blind": {"is_blind": True},
    "refined": {"refinement": 2},
    "refined blind": {"refinement": 2, "is_blind": True},
}


def model_of(network):
    more = NETWORKS[network]
    return make_model(Architecture(depth=1, kernel_size=3, filters=2, neighbours=4, **more), training=TRAINING)


def export(model, path):
    export_bioimageio(model, path, name="movies", authors=["A. Nyone"])
    return path


@pytest.fixture(scope="module", params=NETWORKS)
def model(request):
    return model_of(request.param)


@pytest.fixture(scope="module")
def package(tmp_path_factory, model):
    return export(model, tmp_path_factory.mktemp("package") / "package.zip")


@pytest.fixture(scope="module")
def files(package):
    with zipfile.ZipFile(package) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def test_it_can_be_imported_again(package, model):
    imported = read_foreign(package)
    assert imported.digest() == model.digest()
    stack = image_of((4, 32, 32))
    np.testing.assert_array_equal(restore(stack, imported, device="cpu"), restore(stack, model, device="cpu"))


def test_the_test_output_is_that_of_every_kind_of_weights(files, model):
    raw, expected = (np.load(io.BytesIO(files[f"{name}.npy"])) for name in ("raw", "restored"))
    assert raw.shape == (1, 5, 256, 256)
    assert expected.shape == (1, 1, 256, 256)
    low, high = np.percentile(raw, [2, 99.8])
    given = ((raw - low) / (high - low)).astype(np.float32)
    network = network_source.CareUNet(**model.card.care.to_dict())
    network.load_state_dict(torch.load(io.BytesIO(files["weights.pt"]), weights_only=True))
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "`torch.jit", DeprecationWarning)
        traced = torch.jit.load(io.BytesIO(files["torchscript.pt"]))
    with torch.inference_mode():
        results = [each(torch.from_numpy(given)).numpy() for each in (network, traced)]
    # the reference implementation is slow
    part = given[..., :32, :32]
    (onnx_result,) = ReferenceEvaluator(files["model.onnx"]).run(None, {"raw": part})
    for result in results:
        np.testing.assert_allclose(result, expected, rtol=0, atol=1e-4)
    with torch.inference_mode():
        np.testing.assert_allclose(onnx_result, network(torch.from_numpy(part)).numpy(), rtol=0, atol=1e-4)


def test_the_channels_are_explained(files, model):
    described = yaml.safe_load(files["rdf.yaml"])
    (given,), (result,) = described["inputs"], described["outputs"]
    channels = {axis.get("type"): axis for axis in given["axes"]}["channel"]["channel_names"]
    assert channels == ["before_2", "before_1", "frame", "after_1", "after_2"]
    assert "among its neighbours" in given["description"]
    assert {axis.get("type"): axis for axis in result["axes"]}["channel"]["channel_names"] == ["intensity"]
    (scaling,) = (step for step in given["preprocessing"] if step["id"] == "scale_range")
    assert scaling["kwargs"]["axes"] == ["channel", "y", "x"]
    readme = files["README.md"].decode()
    assert "as channels: `before_2`, `before_1`, `frame`, `after_1`, `after_2`" in readme
    assert ("does not see `frame` itself" in readme) == model.card.care.is_blind
    assert "neighbour spacing: 0.5" in readme


def test_all_are_valid_for_the_library_of_the_format(tmp_path):
    packages = [export(model_of(network), tmp_path / f"{network}.zip") for network in NETWORKS]
    code = (
        "import sys; from bioimageio.spec import load_description\n"
        "from bioimageio.spec.model.v0_5 import ModelDescr\n"
        "for package in sys.argv[1:]:\n"
        "    description = load_description(package, perform_io_checks=True)\n"
        "    assert isinstance(description, ModelDescr), (package, description.validation_summary.display())\n"
    )
    # it changes settings of the whole process
    done = subprocess.run([sys.executable, "-c", code, *packages], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
