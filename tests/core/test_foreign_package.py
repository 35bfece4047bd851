"""Packages for bioimage.io that others made: what can be used is, and nothing is run unasked."""

import json
import os
import pickle
import zipfile

import numpy as np
import pytest
import torch
from command_line import status_of
from models import image_of, make_model, needs_openvino
from outsiders import (
    PERCENTILES,
    STANDARD,
    Denoiser,
    Normalizing,
    PooledDenoiser,
    TheirCare,
    normalized,
    onnx_of,
    seeded,
    state_dict,
    torchscript,
    write_package,
)

from napari_care_losses.core.agreed import LIST, is_agreed
from napari_care_losses.core.engines import open_engine
from napari_care_losses.core.errors import InputError, ModelFileError, ParameterError, UnagreedProgramError
from napari_care_losses.core.foreign.bioimageio_export import export_bioimageio
from napari_care_losses.core.foreign.importing import import_model, read_foreign
from napari_care_losses.core.frames import Frames
from napari_care_losses.core.library import list_models
from napari_care_losses.core.losses import LOSSES
from napari_care_losses.core.model import load_model
from napari_care_losses.core.normalization import FixedLevels, Normalization, Standardization
from napari_care_losses.core.preview_tiles import Window
from napari_care_losses.core.previewer import Previewer
from napari_care_losses.core.restoration import RestorationParameters, restore
from napari_care_losses.core.training import Trainer

FIXED = {"id": "fixed_zero_mean_unit_variance", "kwargs": {"mean": 150.0, "std": 80.0}}
BACK = {"id": "scale_linear", "kwargs": {"gain": 80.0, "offset": 150.0}}
LINEAR = {"id": "scale_linear", "kwargs": {"gain": 0.01, "offset": -1.0}}
CLIP = {"id": "clip", "kwargs": {"min": 0.0, "max": 1.5}}


def yes(_):
    return True


@pytest.fixture
def written(tmp_path):
    """Return a function that writes a package of TorchScript."""

    def write(network=None, kind="torchscript", **options):
        network = network or seeded(Denoiser())
        make = {"torchscript": torchscript, "onnx": onnx_of, "pytorch_state_dict": state_dict}[kind]
        return write_package(tmp_path / "theirs.zip", network, {kind: make(network)}, **options)

    return write


def expected_of(network, image, preprocessing, block=2):
    """Return what the package says an image becomes, in normalised units, by torch and numpy alone."""
    tile = normalized(image, preprocessing)
    missing = [-size % block for size in tile.shape]
    padded = np.pad(tile, [(0, one) for one in missing], mode="reflect")
    with torch.inference_mode():
        made = network(torch.from_numpy(padded)[None, None])[0, 0].numpy()
    return made[: tile.shape[0], : tile.shape[1]]


class TestRestoring:
    @pytest.mark.parametrize(
        ("preprocessing", "levels"),
        [
            (PERCENTILES, Normalization(low=1.0, high=99.8)),
            (STANDARD, Standardization()),
            (FIXED, FixedLevels(low=150.0, high=230.0)),
            ([{"id": "ensure_dtype", "kwargs": {"dtype": "float32"}}, LINEAR], FixedLevels(low=100.0, high=200.0)),
            ([PERCENTILES, CLIP], Normalization(low=1.0, high=99.8)),
            ([LINEAR, STANDARD, {"id": "scale_linear", "kwargs": {"gain": 2.0, "offset": 0.5}}], Standardization()),
            ([], FixedLevels(low=0.0, high=1.0)),
        ],
    )
    def test_a_program_restores_what_its_package_says(self, written, preprocessing, levels):
        network = seeded(Denoiser())
        model = read_foreign(written(network, preprocessing=preprocessing), agrees=yes)
        assert model.card.normalization == levels
        image = image_of((70, 101), seed=3)
        restored = restore(image, model, RestorationParameters(tile_size=40))
        expected = expected_of(network, image, preprocessing)
        # the way back to grey levels is that of the input, without its clipping
        steps = [step for step in np.atleast_1d(preprocessing) if step["id"] != "clip"]
        slope, start = np.polyfit(normalized(image, steps).ravel(), image.ravel(), 1)
        inner = slice(4, -4), slice(4, -4)
        np.testing.assert_allclose(restored[inner], (expected * slope + start)[inner], atol=1e-4 * np.ptp(image))

    @pytest.mark.parametrize("size", [None, 64])
    def test_tiles_are_as_large_as_it_takes_them_and_fit_together(self, written, size):
        network = seeded(PooledDenoiser())
        options = {} if size is None else {"size": size, "halo": 0}
        model = read_foreign(written(network, **options), agrees=yes)
        program = model.card.architecture
        # 1 px at full size, 1 px of half of it and what pooling adds: measured where the package says too little
        assert (program.block, program.size, program.margin) == (2, size or 0, 6)
        image = image_of((150, 204), seed=3)
        expected = expected_of(network, image, PERCENTILES)
        low, high = np.percentile(image, [1, 99.8])
        for parameters in (RestorationParameters(), RestorationParameters(tile_size=48)):
            restored = (restore(image, model, parameters) - low) / (high - low)
            np.testing.assert_allclose(restored[6:-6, 6:-6], expected[6:-6, 6:-6], atol=1e-5)

    def test_an_image_smaller_than_it_takes_is_padded(self, written):
        network = seeded(Denoiser())
        model = read_foreign(written(network), agrees=yes)
        image = image_of((9, 5))
        restored = restore(image, model)
        low, high = np.percentile(image, [1, 99.8])
        expected = expected_of(network, np.pad(image, [(0, 11), (0, 11)], mode="symmetric"), PERCENTILES)
        assert restored.shape == (9, 5)
        assert np.isfinite(restored).all()
        assert abs((restored[3, 1] - low) / (high - low) - expected[3, 1]) < 0.5

    def test_axes_in_another_order(self, tmp_path):
        class ChannelsLast(torch.nn.Module):
            def __init__(self):
                super().__init__()
                self.inner = seeded(Denoiser())

            def forward(self, x):
                return self.inner(x.permute(0, 3, 2, 1)).permute(0, 3, 2, 1)

        weights = {"torchscript": torchscript(ChannelsLast().eval())}
        path = write_package(tmp_path / "p.zip", seeded(Denoiser()), weights, tensor_order="bxyc")
        image = image_of((40, 62))
        restored = restore(image, read_foreign(path, agrees=yes))
        plain = write_package(tmp_path / "q.zip", seeded(Denoiser()), {"torchscript": torchscript(seeded(Denoiser()))})
        np.testing.assert_allclose(restored, restore(image, read_foreign(plain, agrees=yes)), atol=1e-3)

    def test_the_way_back_to_grey_levels_in_the_package_is_ours_too(self, written):
        network = seeded(Denoiser())
        model = read_foreign(written(network, preprocessing=FIXED, postprocessing=[BACK]), agrees=yes)
        image = image_of((40, 40))
        expected = expected_of(network, image, FIXED) * 80 + 150
        np.testing.assert_allclose(restore(image, model), expected, atol=1e-2)

    @needs_openvino
    def test_an_onnx_graph_needs_no_consent_and_restores_alike(self, written):
        network = seeded(Denoiser())
        graph = read_foreign(written(network, "onnx"))
        program = read_foreign(written(network), agrees=yes)
        image = image_of((70, 90))
        np.testing.assert_allclose(restore(image, graph), restore(image, program), atol=1e-3)

    @needs_openvino
    def test_of_both_the_program_is_taken_where_the_user_agrees(self, tmp_path):
        network = seeded(Denoiser())
        weights = {"torchscript": torchscript(network), "onnx": onnx_of(network)}
        path = write_package(tmp_path / "p.zip", network, weights)
        assert read_foreign(path).card.preset == "onnx"
        assert read_foreign(path, agrees=yes).card.preset == "torchscript"

    def test_the_preview_shows_what_will_be_restored(self, written, model_library):
        path = import_model(written(), "theirs", agrees=yes)
        image = image_of((200, 230))
        tiles = Previewer().preview(
            Frames(image, "YX"), 0, Window(20, 120, 30, 130), None, path, RestorationParameters()
        )
        last = [tile for tile in tiles if tile.image is not None][-1]
        restored = restore(image, load_model(path))
        np.testing.assert_allclose(last.image, restored[last.position], atol=1e-3)


class TestRecognizing:
    def test_a_care_network_under_other_names_is_ours(self, written):
        network = seeded(TheirCare())
        model = read_foreign(written(network, "pytorch_state_dict"))
        architecture = model.card.architecture
        assert (architecture.depth, architecture.kernel_size, architecture.filters) == (1, 3, 3)
        assert architecture.residual
        image = image_of((32, 32))
        low, high = np.percentile(image, [1, 99.8])
        expected = expected_of(network, image, PERCENTILES) * (high - low) + low
        np.testing.assert_allclose(restore(image, model), expected, atol=1e-2)

    def test_it_can_be_exported_again_however_it_is_normalised(self, written, tmp_path):
        for preprocessing in (STANDARD, FIXED):
            model = read_foreign(written(seeded(TheirCare()), "pytorch_state_dict", preprocessing=preprocessing))
            export_bioimageio(model, tmp_path / "again.zip", name="again")
            again = read_foreign(tmp_path / "again.zip")
            assert again.digest() == model.digest()

    def test_a_network_that_only_looks_like_it_is_not_taken_for_it(self, written):
        class Other(TheirCare):
            def forward(self, x):
                return super().forward(x).tanh()

        with pytest.raises(ModelFileError, match="is no CARE network, and the source code of another one is not run"):
            read_foreign(written(seeded(Other()), "pytorch_state_dict"))


class WritesWhenLoaded(torch.nn.Module):
    """Code that runs as soon as the program is loaded, and writes a file: TorchScript is not harmless."""

    def __init__(self, path):
        super().__init__()
        self.path = path

    @torch.jit.export
    def __getstate__(self):
        return (self.path, self.training)

    @torch.jit.export
    def __setstate__(self, state: tuple[str, bool]):
        self.path = state[0]
        self.training = state[1]
        torch.save(torch.zeros(1), self.path)

    def forward(self, x):
        return x


class TestConsent:
    def test_a_program_that_would_write_files_when_loaded_is_not_loaded(self, tmp_path):
        network = WritesWhenLoaded(str(tmp_path / "evil")).eval()
        path = write_package(tmp_path / "p.zip", network, {"torchscript": torchscript(network)})
        (tmp_path / "evil").unlink(missing_ok=True)
        with pytest.raises(UnagreedProgramError):
            read_foreign(path)
        assert not (tmp_path / "evil").exists()

    def test_nothing_of_a_program_is_run_unasked(self, written, model_library):
        asked = []
        path = written()
        for agrees in (None, lambda program: asked.append(program)):
            with pytest.raises(UnagreedProgramError, match=r"O\. Utsider, N\. Eighbour.*scripted\.pt, SHA-256"):
                read_foreign(path, agrees=agrees)
        (program,) = asked
        assert (program.package, program.authors) == ("Denoiser of others", ("O. Utsider", "N. Eighbour"))
        assert not is_agreed(program.sha256)
        assert list(model_library.iterdir()) == []

    def test_the_word_of_the_user_does_not_travel_with_the_model(self, written, tmp_path, monkeypatch):
        path = import_model(written(), "theirs", agrees=yes)
        model = load_model(path)
        assert is_agreed(model.card.architecture.sha256)
        (elsewhere := tmp_path / "elsewhere").mkdir()
        monkeypatch.setenv("NAPARI_CARE_LOSSES_LIBRARY", str(elsewhere))
        with pytest.raises(ModelFileError, match="nobody has agreed to run on this machine"):
            load_model(path)
        with pytest.raises(UnagreedProgramError, match=r"'Denoiser of others' by O\. Utsider"):
            import_model(path, "theirs")
        assert load_model(import_model(path, "theirs", agrees=yes)).digest() == model.digest()
        assert (elsewhere / LIST).read_text() == f"{model.card.architecture.sha256}\n"

    def test_a_model_file_whose_program_was_exchanged_is_refused(self, written, tmp_path):
        path = import_model(written(), "theirs", agrees=yes)
        model = load_model(path)
        type(model)(model.card, {"program": torch.zeros(9, dtype=torch.uint8)}).save(tmp_path / "other.safetensors")
        with pytest.raises(ModelFileError, match="not the one that its card names"):
            load_model(tmp_path / "other.safetensors")

    def test_the_card_remembers_where_it_came_from(self, written):
        training = read_foreign(written(), agrees=yes).card.training
        assert training["authors"] == ["O. Utsider", "N. Eighbour"]
        assert "bioimage.io package 'Denoiser of others' (torchscript)" in training["imported_from"]

    def test_from_the_command_line(self, written, tmp_path, capsys, monkeypatch):
        monkeypatch.chdir(tmp_path)
        path = written()
        assert status_of("import", path, "--name", "theirs") == 2
        said = capsys.readouterr().err
        assert "O. Utsider" in said
        assert "repeat the command with --run-its-code" in said
        assert list_models()[0].bundled
        assert status_of("import", path, "--name", "theirs", "--run-its-code") == 0
        said = capsys.readouterr().out
        assert "code of theirs, which runs with all your rights" in said
        assert "theirs: other, unknown loss, torchscript network; " in said
        assert status_of("models") == 0
        assert "theirs" in capsys.readouterr().out


class TestRefusing:
    def test_it_cannot_do_what_care_networks_can(self, written, tmp_path):
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

    def test_a_network_that_looks_at_the_whole_image_does_not_fit_tiles(self, written):
        with pytest.raises(ModelFileError, match="every place of its result depends on places"):
            read_foreign(written(seeded(Normalizing())), agrees=yes)

    def test_a_network_that_makes_something_else_than_its_package_says(self, tmp_path):
        path = write_package(
            tmp_path / "p.zip", seeded(Denoiser()), {"torchscript": torchscript(seeded(Denoiser(), seed=1))}
        )
        with pytest.raises(ModelFileError, match=r"cannot be used: of its own test image it makes something else"):
            read_foreign(path, agrees=yes)

    def test_damaged_weights(self, tmp_path):
        for kind, said in (("torchscript", "cannot be used"), ("onnx", "no ONNX graph|used")):
            path = write_package(tmp_path / "p.zip", seeded(Denoiser()), {kind: b"nothing of the kind"})
            with pytest.raises(ModelFileError, match=said):
                read_foreign(path, agrees=yes)

    @pytest.mark.parametrize(
        ("edit", "said"),
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
            (lambda v: v["inputs"][0].update(preprocessing=[{"id": "sigmoid"}]), "to be treated by sigmoid"),
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
                "result is to be treated by sigmoid",
            ),
            (lambda v: v["outputs"][0].update(postprocessing=[BACK]), "not the inverse"),
            (lambda v: v["outputs"][0].update(data={"type": "uint8"}), "pixels of type 'uint8'"),
            (lambda v: v["inputs"][0].pop("test_tensor"), "does not say which of its files is the test image"),
            (lambda v: v["inputs"][0]["test_tensor"].update(sha256="0" * 64), "in.npy is damaged"),
            (lambda v: v["outputs"][0].update(test_tensor={"source": "README.md"}), "test image is damaged"),
            (lambda v: v.update(weights={"keras_hdf5": {"source": "x.h5"}}), "has keras_hdf5; what can be used"),
            (lambda v: v.pop("weights"), "has no weights"),
        ],
    )
    def test_what_cannot_be_done_is_refused_with_the_reason(self, written, edit, said):
        with pytest.raises(ModelFileError, match=said):
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

    def test_it_is_read_too(self, written):
        network = seeded(Denoiser())
        program = read_foreign(written(network, edit=self.edit), agrees=yes).card.architecture
        assert (program.smallest, program.block, program.margin) == (32, 16, 16)

    @pytest.mark.parametrize(
        ("edit", "said"),
        [
            (lambda v: v["inputs"][0].update(axes="bczyx"), "only 2D ones"),
            (lambda v: v["inputs"][0].update(shape=[1, 3, 64, 64]), "several channels"),
            (lambda v: v["outputs"][0]["shape"].update(offset=[0, 0, -8, -8]), "differs from its input in size"),
            (lambda v: v["inputs"][0].update(shape={"min": [1]}), "size that is not understood"),
        ],
    )
    def test_what_cannot_be_done_is_refused(self, written, edit, said):
        def both(values):
            self.edit(values)
            edit(values)

        with pytest.raises(ModelFileError, match=said):
            read_foreign(written(edit=both), agrees=yes)


def test_our_own_model_files_can_be_imported_too(tmp_path):
    make_model().save(tmp_path / "m.safetensors")
    assert load_model(import_model(tmp_path / "m.safetensors", "mine")).digest() == make_model().digest()
