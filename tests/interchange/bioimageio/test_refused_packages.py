"""Packages of other authors for bioimage.io that cannot be used: refused with the reason."""

import json
import os
import pickle
import zipfile

import pytest
from fixtures.bioimageio_packages import (
    BACK,
    CLIP,
    STANDARD,
    Denoiser,
    Normalizing,
    seeded,
    torchscript,
    write_package,
    yes,
)
from fixtures.imported_models import read_foreign
from fixtures.random_models import image_of

from napari_care_losses.errors import InputError, ModelFileError, ParameterError
from napari_care_losses.interchange.bioimageio.export import export_bioimageio
from napari_care_losses.losses.registry import LOSSES
from napari_care_losses.restoration.engines.choose import open_engine
from napari_care_losses.restoration.restore_stack import RestorationParameters, restore
from napari_care_losses.training.trainer import Trainer


class TestRefusing:
    def test_an_external_network_cannot_be_trained_or_exported(self, written, tmp_path):
        model = read_foreign(written(), agrees=yes)
        with pytest.raises(InputError, match="cannot be trained further, exported"):
            export_bioimageio(model, tmp_path / "m.zip", name="m")
        with pytest.raises(InputError, match="cannot be trained further"):
            Trainer([], LOSSES["mae"](), start_from=model)
        for engine in ("openvino", "openvino-int8"):
            with pytest.raises(InputError, match=f"the engine {engine} does not run"):
                open_engine(engine, model)
        standard = read_foreign(written(preprocessing=STANDARD), agrees=yes)
        with pytest.raises(ParameterError, match="does not normalise by percentiles"):
            restore(image_of((20, 20)), standard, RestorationParameters(low_percentile=5))
        with pytest.raises(ParameterError, match="does not normalise by percentiles"):
            read_foreign(written(preprocessing=STANDARD), agrees=yes, low_percentile=5)

    def test_a_network_with_an_unlimited_receptive_field_is_refused(self, written):
        with pytest.raises(ModelFileError, match="every pixel of its result depends on pixels"):
            read_foreign(written(seeded(Normalizing())), agrees=yes)

    def test_a_network_whose_result_is_not_that_of_its_package_is_refused(self, tmp_path):
        path = write_package(
            tmp_path / "p.zip", seeded(Denoiser()), {"torchscript": torchscript(seeded(Denoiser(), seed=1))}
        )
        with pytest.raises(ModelFileError, match=r"cannot be used: its result for the test image is not that"):
            read_foreign(path, agrees=yes)

    def test_damaged_weights_are_refused(self, tmp_path):
        for kind, message in (("torchscript", "cannot be used"), ("onnx", "no ONNX graph|used")):
            path = write_package(tmp_path / "p.zip", seeded(Denoiser()), {kind: b"not a network"})
            with pytest.raises(ModelFileError, match=message):
                read_foreign(path, agrees=yes)

    @pytest.mark.parametrize(
        ("edit", "message"),
        [
            (lambda v: v["inputs"].append(v["inputs"][0]), "has 2 inputs"),
            (lambda v: v["outputs"].append(v["outputs"][0]), "has 2 outputs"),
            (lambda v: v.pop("inputs"), "no list of inputs"),
            (lambda v: v["inputs"][0]["axes"].insert(2, {"type": "space", "id": "z", "size": 8}), "only 2D ones"),
            (lambda v: v["inputs"][0]["axes"][1].update(channel_names=["a", "b"]), "takes several channels"),
            (lambda v: v["outputs"][0]["axes"][1].update(channel_names=["a", "b"]), "differs from its input in size"),
            (lambda v: v["outputs"][0]["axes"][2].update(scale=2.0), "differs from its input in size along y"),
            (lambda v: v["inputs"][0]["axes"][2].update(size=32), "only square ones"),
            (lambda v: v["inputs"][0]["axes"][2].update(size="large"), "size that is not understood: 'large'"),
            (lambda v: v["inputs"][0].update(axes="yx"), "shape that is not understood|size that is not understood"),
            (lambda v: v["inputs"][0].update(preprocessing=[{"id": "sigmoid"}]), "to be processed by sigmoid"),
            (
                lambda v: v["inputs"][0].update(preprocessing=[{"id": "clip", "kwargs": {"max_percentile": 99}}]),
                "clipp",
            ),
            (lambda v: v["inputs"][0].update(preprocessing=[CLIP, STANDARD]), "clipped before zero_mean"),
            (
                lambda v: v["inputs"][0]["preprocessing"][0]["kwargs"].update(max_percentile=40),
                "high must lie between 50",
            ),
            (lambda v: v["inputs"][0]["preprocessing"][0]["kwargs"].update(axes=["y"]), "expected y and x"),
            (
                lambda v: v["outputs"][0].update(postprocessing=[{"id": "sigmoid"}]),
                "result is to be processed by sigmoid",
            ),
            (lambda v: v["outputs"][0].update(postprocessing=[BACK]), "not the inverse"),
            (lambda v: v["outputs"][0].update(data={"type": "uint8"}), "pixels of type 'uint8'"),
            (lambda v: v["inputs"][0].pop("test_tensor"), "does not say which of its files is the test image"),
            (lambda v: v["inputs"][0]["test_tensor"].update(sha256="0" * 64), "in.npy is damaged"),
            (lambda v: v["outputs"][0].update(test_tensor={"source": "README.md"}), "test image is damaged"),
            (lambda v: v.update(weights={"keras_hdf5": {"source": "x.h5"}}), "has keras_hdf5; supported are"),
            (lambda v: v.pop("weights"), "has no weights"),
        ],
    )
    def test_unsupported_descriptions_are_refused_with_the_reason(self, written, edit, message):
        with pytest.raises(ModelFileError, match=message):
            read_foreign(written(edit=edit), agrees=yes)

    def test_a_pickled_test_image_is_not_loaded(self, written, tmp_path):
        class Evil:
            def __reduce__(self):
                return (os.mkdir, (str(tmp_path / "evil"),))

        path = written()
        with zipfile.ZipFile(path) as archive:
            files = {name: archive.read(name) for name in archive.namelist()}
        values = json.loads(files["rdf.yaml"])
        del values["inputs"][0]["test_tensor"]["sha256"]
        files |= {"rdf.yaml": json.dumps(values).encode(), "in.npy": pickle.dumps(Evil())}
        with zipfile.ZipFile(path, "w") as archive:
            for name, data in files.items():
                archive.writestr(name, data)
        with pytest.raises(ModelFileError, match="test image is damaged"):
            read_foreign(path, agrees=yes)
        assert not (tmp_path / "evil").exists()


class TestEarlierFormat:
    """Model description 0.4."""

    def edit(self, values):
        entering, leaving = values["inputs"][0], values["outputs"][0]
        values.update(
            format_version="0.4.10",
            test_inputs=[entering.pop("test_tensor")["source"]],
            test_outputs=[leaving.pop("test_tensor")["source"]],
        )
        kwargs = {"mode": "per_sample", "axes": "yx", "min_percentile": 1.0, "max_percentile": 99.8}
        entering.update(
            name="noisy",
            axes="bcyx",
            data_type="float32",
            shape={"min": [1, 1, 32, 32], "step": [0, 0, 16, 16]},
            preprocessing=[{"name": "scale_range", "kwargs": kwargs}],
        )
        shape = {"reference_tensor": "noisy", "scale": [1, 1, 1, 1], "offset": [0, 0, 0, 0]}
        leaving.update(name="clean", axes="bcyx", data_type="float32", shape=shape, halo=[0, 0, 16, 16])
        for tensor in (entering, leaving):
            tensor.pop("data")
        values["weights"] = {"pytorch_script": values["weights"]["torchscript"]}

    def test_it_can_be_read(self, written):
        network = seeded(Denoiser())
        program = read_foreign(written(network, edit=self.edit), agrees=yes).card.architecture
        assert (program.smallest, program.block, program.margin) == (32, 16, 16)

    @pytest.mark.parametrize(
        ("edit", "message"),
        [
            (lambda v: v["inputs"][0].update(axes="bczyx"), "only 2D ones"),
            (lambda v: v["inputs"][0].update(shape=[1, 3, 64, 64]), "several channels"),
            (lambda v: v["outputs"][0]["shape"].update(offset=[0, 0, -8, -8]), "differs from its input in size"),
            (lambda v: v["inputs"][0].update(shape={"min": [1]}), "size that is not understood"),
        ],
    )
    def test_unsupported_descriptions_are_refused(self, written, edit, message):
        def both(values):
            self.edit(values)
            edit(values)

        with pytest.raises(ModelFileError, match=message):
            read_foreign(written(edit=both), agrees=yes)
