"""Packages that CAREamics exports: its U-Net becomes a CARE network with the result that CAREamics itself gives."""

import io
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from fixtures.csbdeep_models import zip_of
from fixtures.imported_models import read_foreign
from fixtures.random_models import needs_openvino

from napari_care_losses.errors import ModelFileError
from napari_care_losses.images.normalization import FixedLevels
from napari_care_losses.interchange.archives import open_contents
from napari_care_losses.interchange.bioimageio.careamics_unet import care_weights, is_careamics_unet
from napari_care_losses.interchange.bioimageio.export import export_bioimageio
from napari_care_losses.interchange.bioimageio.rdf import DESCRIPTIONS
from napari_care_losses.models.architecture import BILINEAR, Architecture
from napari_care_losses.restoration.restore_stack import RestorationParameters, restore

CAREAMICS = Path(__file__).parents[2] / "data" / "careamics"
"""Packages, an image and restored images made by CAREamics 0.3.5: ``tools/make_careamics_fixture.py``."""

ARCHITECTURES = {
    "care": Architecture(depth=1, kernel_size=3, filters=8, residual=False, upsampling=BILINEAR),
    "n2v": Architecture(depth=2, kernel_size=3, filters=8, residual=True, upsampling=BILINEAR),
}


def files_of(name):
    with zipfile.ZipFile(CAREAMICS / f"{name}.zip") as archive:
        return {file: archive.read(file) for file in archive.namelist()}


def changed(path, edit):
    """Write the package of CARE with what `edit` makes of its files and of the values in its YAML files."""
    files = files_of("care")
    values = {file: yaml.safe_load(files[file]) for file in ("rdf.yaml", "careamics.yaml")}
    for way in ("inputs", "outputs"):
        values["rdf.yaml"][way][0]["test_tensor"].pop("sha256")
    edit(values, files)
    files |= {file: yaml.safe_dump(each).encode() for file, each in values.items()}
    return zip_of(path, files.items())


def replace_array(files, name, change):
    buffer = io.BytesIO()
    np.save(buffer, change(np.load(io.BytesIO(files[name]))))
    files[name] = buffer.getvalue()


@pytest.fixture(scope="module")
def imported():
    return {name: read_foreign(CAREAMICS / f"{name}.zip") for name in ARCHITECTURES}


@pytest.fixture(scope="module")
def arrays():
    return dict(np.load(CAREAMICS / "restored.npz"))


@pytest.mark.parametrize("engine", ["torch", pytest.param("openvino", marks=needs_openvino)])
@pytest.mark.parametrize("name", ARCHITECTURES)
def test_the_result_is_that_of_careamics(imported, arrays, name, engine):
    """CARE's has the grey levels of its targets, which the package itself does not say."""
    model, expected = imported[name], arrays[name]
    assert model.card.architecture == ARCHITECTURES[name]
    found = restore(arrays["image"], model, RestorationParameters(engine=engine), device="cpu")
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5 * np.ptp(expected))


def test_it_is_a_model_like_any_other(imported, tmp_path):
    """It can be exported, so its card says all of the network."""
    export_bioimageio(imported["n2v"], tmp_path / "mine.zip", name="mine", authors=["A. Nyone"], license="MIT")
    assert read_foreign(tmp_path / "mine.zip").digest() == imported["n2v"].digest()


def test_another_name_of_the_description_and_several_test_images_of_which_the_first_counts(imported, tmp_path):
    def edit(values, files):
        for name in ("inputs.npy", "outputs.npy"):
            replace_array(files, name, lambda image: np.concatenate([image, 0 * image]))
        values["bioimageio.yaml"] = values.pop("rdf.yaml")
        del files["rdf.yaml"]

    assert read_foreign(changed(tmp_path / "changed.zip", edit)).digest() == imported["care"].digest()


def test_a_target_that_was_not_normalised_has_its_own_grey_levels(arrays, tmp_path):
    levels = yaml.safe_load(files_of("care")["careamics.yaml"])["data_config"]["normalization"]
    (mean,), (deviation,) = levels["target_means"], levels["target_stds"]

    def edit(values, files):
        values["careamics.yaml"]["data_config"]["normalization"]["skip_target"] = True
        replace_array(files, "outputs.npy", lambda output: (output - mean) / deviation)

    found = restore(arrays["image"], read_foreign(changed(tmp_path / "changed.zip", edit)))
    expected = (arrays["care"] - mean) / deviation
    # the result's range is a thousandth of the input's level, from which it is computed in float32
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-3 * np.ptp(expected))


def test_a_result_in_other_grey_levels_is_refused_with_the_reason(tmp_path):
    def edit(values, files):
        values["careamics.yaml"]["data_config"]["normalization"]["target_means"] = None

    with pytest.raises(ModelFileError, match="its layers are those of one, but its test result differs by"):
        read_foreign(changed(tmp_path / "changed.zip", edit))


def _is_residual(values, tensors):
    values["rdf.yaml"]["weights"]["pytorch_state_dict"]["architecture"]["kwargs"]["residual"] = True


def _lacks_a_layer(values, tensors):
    del tensors["decoder.bottleneck.conv2.bias"]


def _has_another_count(values, tensors):
    tensors["decoder.bottleneck.batch_norm1.num_batches_tracked"] = np.ones(2, np.float32)


def _has_a_damaged_target(values, tensors):
    values["careamics.yaml"]["data_config"]["normalization"]["target_means"] = ["none"]


@pytest.mark.parametrize(
    ("name", "edit", "message"),
    [
        ("care", _is_residual, "with a residual connection and a result in other grey levels than its input"),
        ("care", _lacks_a_layer, r"but not its layers \('decoder.bottleneck.conv2.bias'\)"),
        ("care", _has_another_count, "but not its layers"),
        ("care", _has_a_damaged_target, "a number mean that is not understood"),
        ("n2v2", lambda values, tensors: None, r"CAREamics' network for N2V2.*train it with use_n2v2=False"),
    ],
)
def test_what_does_not_fit_is_refused_with_the_reason(name, edit, message, tmp_path):
    files = files_of(name)
    values = {file: yaml.safe_load(files[file]) for file in ("rdf.yaml", "careamics.yaml")}
    found = torch.load(io.BytesIO(files["weights.pth"]), weights_only=True)
    tensors = {key: tensor.float().numpy() for key, tensor in found.items()}
    edit(values, tensors)
    files |= {file: yaml.safe_dump(each).encode() for file, each in values.items()}
    path = zip_of(tmp_path / "changed.zip", files.items())
    assert is_careamics_unet(tensors)
    with open_contents(path, DESCRIPTIONS) as (contents, _), pytest.raises(ModelFileError, match=message):
        care_weights(tensors, contents, values["rdf.yaml"], FixedLevels(low=79, high=116))
