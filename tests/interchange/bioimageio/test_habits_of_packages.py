"""Packages as other tools write them: CAREamics' processing, names of descriptions, earlier formats, Keras weights."""

import json
import zipfile

import h5py
import numpy as np
import pytest
import torch
from fixtures.bioimageio_packages import (
    FIXED,
    PERCENTILES,
    Denoiser,
    TheirCare,
    normalized,
    seeded,
    torchscript,
    write_package,
    yes,
)
from fixtures.cli_runs import status_of
from fixtures.csbdeep_models import CSBDEEP
from fixtures.imported_models import read_foreign
from fixtures.random_models import image_of, needs_openvino

from napari_care_losses.errors import ModelFileError
from napari_care_losses.images.normalization import FixedLevels
from napari_care_losses.interchange.import_model import import_model
from napari_care_losses.models.model import NOTE, load_model
from napari_care_losses.restoration.parameters import RestorationParameters
from napari_care_losses.restoration.restore_stack import restore


def fixed(mean, std):
    """Return CAREamics' step: subtract and divide along the channel axis."""
    kwargs = {"mean": [mean], "std": [std], "axis": "channel"}
    return {"id": "fixed_zero_mean_unit_variance", "kwargs": kwargs}


def inverse(mean, std, eps=1e-6):
    """Return the step with which CAREamics undoes `fixed`; readers add eps to its standard deviation."""
    return fixed(-mean / (std + eps), 1 / (std + eps) - eps)


def changed(path, edit):
    """Change the files of an archive, a dict of names and bytes."""
    with zipfile.ZipFile(path) as archive:
        files = {name: archive.read(name) for name in archive.namelist()}
    edit(files)
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return path


def undone(written, mean, std, step, network=None):
    """Write a package that normalises by fixed numbers, undoes that by `step`, and holds the right test result."""
    network = network or seeded(Denoiser())
    return written(
        network,
        preprocessing=[{"id": "fixed_zero_mean_unit_variance", "kwargs": {"mean": mean, "std": std}}],
        postprocessing=[{"id": "scale_linear", "kwargs": {"gain": std, "offset": mean}}],
        edit=lambda values: (
            values["inputs"][0].update(preprocessing=[fixed(mean, std)]),
            values["outputs"][0].update(postprocessing=[step] if isinstance(step, dict) else step),
        ),
    )


class TestFixedNumbers:
    # a standard deviation of 40,000 has an inverse of 2.5e-5, of which the eps is 4 %
    @pytest.mark.parametrize(("mean", "std"), [(150.0, 80.0), (21000.0, 40000.0), (-3.0, 0.5)])
    def test_careamics_inverse_gives_grey_levels(self, written, mean, std):
        network = seeded(Denoiser())
        model = read_foreign(undone(written, mean, std, inverse(mean, std), network), agrees=yes)
        assert isinstance(model.card.normalization, FixedLevels)
        image = image_of((40, 40))
        with torch.inference_mode():
            expected = network(torch.from_numpy((image - mean) / std).float()[None, None])[0, 0].numpy() * std + mean
        np.testing.assert_allclose(restore(image, model), expected, rtol=0, atol=1e-4 * max(std, np.ptp(image)))

    def test_an_inverse_in_several_steps(self, written):
        steps = [{"id": "scale_linear", "kwargs": {"gain": 8.0}}, inverse(150.0, 10.0)]
        assert read_foreign(undone(written, 150.0, 80.0, steps), agrees=yes).card.normalization.low == 150.0

    @pytest.mark.parametrize(
        ("step", "message"),
        [
            (inverse(150.0, 79.0), r"multiplies by 79 and adds 150, the inverse by 80 and 150"),
            (inverse(151.0, 80.0), "adds 151, the inverse by 80 and 150"),
            (fixed(150.0, 80.0), "not the inverse"),
            (fixed(-1.875, -0.1), "standard deviation of -0.09"),
            ({"id": "zero_mean_unit_variance"}, "result is to be processed by zero_mean_unit_variance"),
        ],
    )
    def test_another_step_is_refused_with_the_reason(self, written, step, message):
        with pytest.raises(ModelFileError, match=message):
            read_foreign(undone(written, 150.0, 80.0, step), agrees=yes)

    def test_fixed_numbers_do_not_undo_percentiles(self, written):
        path = written(edit=lambda v: v["outputs"][0].update(postprocessing=[inverse(150.0, 80.0)]))
        with pytest.raises(ModelFileError, match="each image's own grey levels, which fixed numbers cannot undo"):
            read_foreign(path, agrees=yes)

    def test_a_level_far_above_its_spread_must_be_undone_to_a_part_of_the_spread(self, written):
        """Ten grey levels are little beside 10,000, and ten standard deviations."""
        with pytest.raises(ModelFileError, match="not the inverse"):
            read_foreign(undone(written, 10000.0, 1.0, inverse(10009.0, 1.0)), agrees=yes)

    def test_a_standard_deviation_of_nothing_is_refused(self, written):
        path = written(edit=lambda v: v["inputs"][0].update(preprocessing=[fixed(5.0, -2.0)]))
        with pytest.raises(ModelFileError, match="expected one above 0"):
            read_foreign(path, agrees=yes)


class TestDescriptions:
    @pytest.mark.parametrize("name", ["model.yaml", "denoiser.rdf.yaml", "x.bioimageio.yaml", "my net.model.yaml"])
    @needs_openvino
    def test_names_of_the_description(self, written, name, tmp_path):
        def rename(files):
            files[name] = files.pop("rdf.yaml")
            files["._" + name] = b"\0"

        path = changed(written(kind="onnx"), rename)
        assert read_foreign(path).card.preset == "onnx"
        with zipfile.ZipFile(path) as archive:
            archive.extractall(tmp_path / "folder")
        assert read_foreign(tmp_path / "folder" / name).card.preset == "onnx"

    @needs_openvino
    def test_of_two_descriptions_one_must_be_named(self, written, tmp_path):
        def double(files):
            files["a.rdf.yaml"] = files["b.rdf.yaml"] = files.pop("rdf.yaml")

        path = changed(written(kind="onnx"), double)
        with pytest.raises(ModelFileError, match=r"several models: name one of a\.rdf\.yaml, b\.rdf\.yaml"):
            read_foreign(path)
        with zipfile.ZipFile(path) as archive:
            archive.extractall(tmp_path / "folder")
        assert read_foreign(tmp_path / "folder" / "b.rdf.yaml").card.preset == "onnx"

    def earlier(self, values):
        """Change a description to 0.3.1: no type, authors by name, the names of then."""
        entering, leaving = values["inputs"][0], values["outputs"][0]
        values.pop("type")
        values.update(
            format_version="0.3.1",
            authors=["O. Utsider;@lab", "N. Eighbour"],
            test_inputs=[entering.pop("test_tensor")["source"]],
            test_outputs=["./" + leaving.pop("test_tensor")["source"]],
        )
        kwargs = {"mode": "per_sample", "axes": "yx", "min_percentile": 1.0, "max_percentile": 99.8}
        entering.update(
            name="noisy", axes="bcyx", data_type="float32", shape={"min": [1, 1, 16, 16], "step": [0, 0, 2, 2]}
        )
        entering["preprocessing"] = [{"name": "scale_range", "kwargs": kwargs}]
        shape = {"reference_input": "noisy", "scale": [1.0, 1.0, 1.0, 1.0], "offset": [0, 0, 0, 0]}
        leaving.update(name="clean", axes="bcyx", data_type="float32", shape=shape, halo=[0, 0, 4, 4])
        elsewhere = {"source": "https://zenodo.org/record/1/files/weights.torch"}
        values["weights"] = {"pytorch_state_dict": elsewhere, "pytorch_script": values["weights"]["torchscript"]}

    def test_description_0_3_1_without_a_type(self, written):
        card = read_foreign(written(edit=self.earlier), agrees=yes).card
        assert card.preset == "torchscript"
        assert card.training["authors"] == ["O. Utsider;@lab", "N. Eighbour"]

    def test_what_is_no_model_is_none_without_a_type_either(self, written):
        def edit(values):
            del values["type"], values["weights"]

        with pytest.raises(ModelFileError, match="does not describe a model"):
            read_foreign(written(edit=edit))

    def test_weights_elsewhere_are_the_reason(self, written):
        def edit(values):
            self.earlier(values)
            del values["weights"]["pytorch_script"]

        with pytest.raises(ModelFileError, match=r"no file of its PyTorch state dict, which lies at https://zenodo"):
            read_foreign(written(edit=edit))

    @pytest.mark.parametrize(
        ("name", "kwargs"),
        [
            ("zero_mean_unit_variance", {"mode": "per_dataset", "axes": "yx"}),
            ("scale_range", {"mode": "per_dataset", "axes": "xy", "min_percentile": 1, "max_percentile": 99.8}),
            ("zero_mean_unit_variance", {"axes": ["batch", "channel", "y", "x"]}),
            # all axes, where the axes and not a mode say it
            ("scale_range", {"min_percentile": 1, "max_percentile": 99.8}),
        ],
    )
    def test_statistics_of_a_dataset_are_those_of_the_whole_stack(self, written, name, kwargs, capsys, model_library):
        step = {"id": name, "kwargs": {key: value for key, value in kwargs.items() if key != "mode"}}
        step["kwargs"]["axes"] = ["y", "x"]
        network = seeded(Denoiser())
        path = written(
            network,
            preprocessing=[step],
            edit=lambda v: v["inputs"][0].update(preprocessing=[{"name": name, "kwargs": kwargs}]),
        )
        assert status_of("import", path, "--name", "theirs", "--run-its-code") == 0
        assert "statistics of a whole dataset" in capsys.readouterr().out
        stack = image_of((3, 40, 46)) * np.array([1, 3, 10], np.float32)[:, None, None]
        if name == "scale_range":
            low, high = np.percentile(stack, [1, 99.8])
        else:
            low, high = stack.mean(), stack.mean() + stack.std()
        with torch.inference_mode():
            given = torch.from_numpy((stack - low) / (high - low)).float()[:, None]
            expected = network(given)[:, 0].numpy() * (high - low) + low
        tolerance = 1e-4 * np.ptp(expected)
        model = load_model(model_library / "theirs.safetensors")
        np.testing.assert_allclose(restore(stack, model), expected, rtol=0, atol=tolerance)
        of_each = restore(stack, model, RestorationParameters(normalization="frame"))
        assert np.abs(of_each - expected).max() > 10 * tolerance
        each = {**kwargs, "axes": ["y", "x"], "mode": "per_sample"}
        path = changed(path, lambda files: files.update({"rdf.yaml": _with_step(files["rdf.yaml"], name, each)}))
        card = read_foreign(path, agrees=yes).card
        assert NOTE not in card.training
        assert not card.normalization.of_dataset

    def test_earlier_steps_with_numbers_and_no_mode_are_fixed(self, written):
        step = {"name": "zero_mean_unit_variance", "kwargs": {"axes": "yx", "mean": [150.0], "std": [80.0]}}
        path = written(preprocessing=FIXED, edit=lambda v: v["inputs"][0].update(preprocessing=[step]))
        assert read_foreign(path, agrees=yes).card.normalization.low == 150.0

    def test_percentiles_of_the_tensor_itself_by_its_name(self, written):
        step = {**PERCENTILES, "kwargs": {**PERCENTILES["kwargs"], "reference_tensor": "noisy"}}
        path = written(edit=lambda v: v["inputs"][0].update(preprocessing=[step]))
        assert read_foreign(path, agrees=yes).card.preset == "torchscript"


def _with_step(text, name, kwargs):
    values = json.loads(text)
    values["inputs"][0]["preprocessing"] = [{"name": name, "kwargs": kwargs}]
    return json.dumps(values).encode()


class TestKeras:
    """A CARE network of CSBDeep, in a package."""

    def package(self, tmp_path, name="direct", spoil=None):
        """Write a package of description 0.4, as CSBDeep's networks have them: channels last."""
        model = read_foreign(CSBDEEP / name)
        image = image_of((32, 40))
        given = normalized(image, PERCENTILES)
        with torch.inference_mode():
            result = model.network()(torch.from_numpy(given)[None, None]).mean[0, 0].numpy()
        np.save(tmp_path / "in.npy", image[None, ..., None].astype(np.float32))
        np.save(tmp_path / "out.npy", result[None, ..., None])
        (weights,) = (CSBDEEP / name).glob("*.h5")
        data = weights.read_bytes()
        (tmp_path / "weights.h5").write_bytes(spoil(data) if spoil else data)
        tensor = {"axes": "byxc", "data_type": "float32"}
        kwargs = {"mode": "per_sample", "axes": "yx", "min_percentile": 1, "max_percentile": 99.8}
        values = {
            "format_version": "0.4.10",
            "type": "model",
            "name": "theirs",
            "inputs": [
                {
                    **tensor,
                    "name": "x",
                    "shape": {"min": [1, 16, 16, 1], "step": [0, 4, 4, 0]},
                    "preprocessing": [{"name": "scale_range", "kwargs": kwargs}],
                }
            ],
            "outputs": [{**tensor, "name": "y", "shape": {"reference_tensor": "x", "scale": [1] * 4}}],
            "test_inputs": ["in.npy"],
            "test_outputs": ["out.npy"],
            "weights": {"keras_hdf5": {"source": "./weights.h5", "tensorflow_version": "2.4"}},
        }
        (tmp_path / "rdf.yaml").write_text(json.dumps(values))
        return model, tmp_path

    @pytest.mark.parametrize("name", ["direct", "residual"])
    def test_it_is_the_model_that_csbdeep_s_folder_is(self, tmp_path, name):
        model, path = self.package(tmp_path, name)
        found = read_foreign(path)
        assert found.card.architecture == model.card.architecture
        assert all((found.weights[key] == values).all() for key, values in model.weights.items())
        assert found.card.normalization.low == 1

    @pytest.mark.parametrize("part", [0, 0.5, 0.99])
    def test_damaged_weights_are_the_reason(self, tmp_path, part):
        _, path = self.package(tmp_path, spoil=lambda data: data[: int(part * len(data))])
        with pytest.raises(ModelFileError, match=r"its Keras HDF5 file: .*(is empty|damaged)"):
            read_foreign(path)

    def test_another_network_of_keras_is_refused_by_its_layers(self, tmp_path):
        _, path = self.package(tmp_path)
        with h5py.File(path / "weights.h5", "r+") as file:
            names = list(file.attrs["layer_names"])
            at = next(number for number, name in enumerate(names) if "max" in str(name))
            file.move(str(names[at]), "leaky_re_lu_1")
            names[at] = "leaky_re_lu_1"
            file.attrs["layer_names"] = names
        with pytest.raises(ModelFileError, match="has a layer 'leaky_re_lu_1' that a CARE network"):
            read_foreign(path)


class TestDamagedWeights:
    @pytest.mark.parametrize(
        ("kind", "message"),
        [
            ("torchscript", "it is damaged, or not of this version of torch"),
            ("onnx", "it is no ONNX graph"),
            ("pytorch_state_dict", "its PyTorch state dict: weights.pt cannot be read: it is damaged"),
        ],
    )
    @needs_openvino
    def test_the_damage_is_the_reason(self, written, kind, message):
        network = seeded(TheirCare()) if kind == "pytorch_state_dict" else None
        path = written(network, kind, edit=lambda values: values["weights"][kind].pop("sha256"))
        for part, reason in ((0.5, message), (0, "is empty: it has 0 bytes")):

            def cut(files, part=part):
                (name,) = files.keys() & {"scripted.pt", "graph.onnx", "state.pth"}
                files[name] = files[name][: int(part * len(files[name]))]

            with pytest.raises(ModelFileError, match=reason):
                read_foreign(changed(path, cut), agrees=yes)

    @pytest.mark.parametrize("name", ["model.zip", "model.safetensors"])
    def test_an_empty_file_is_no_model(self, tmp_path, model_library, name):
        (tmp_path / name).touch()
        with pytest.raises(ModelFileError, match=r"is empty: it has 0 bytes|is no model file"):
            import_model(tmp_path / name, "mine")


class Casting(torch.nn.Module):
    """Computes in float64, whatever it is given."""

    def __init__(self):
        super().__init__()
        self.inner = seeded(Denoiser()).double()

    def forward(self, x):
        return self.inner(x.double())


@pytest.mark.parametrize("network", [seeded(Denoiser()).double(), Casting().eval()])
def test_programs_of_float64_give_the_result_of_float32(tmp_path, network):
    image = image_of((40, 46))
    paths = [
        write_package(tmp_path / f"{number}.zip", seeded(Denoiser()), {"torchscript": torchscript(each)})
        for number, each in enumerate((seeded(Denoiser()), network))
    ]
    single, double = (restore(image, read_foreign(path, agrees=yes)) for path in paths)
    np.testing.assert_allclose(double, single, rtol=0, atol=1e-4 * np.ptp(image))
