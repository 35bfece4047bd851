"""Models of CSBDeep: they restore an image as CSBDeep does, and unusable ones are refused."""

import json
import shutil

import h5py
import numpy as np
import pytest
import tifffile
from fixtures.cli_runs import names, status_of
from fixtures.csbdeep_models import CSBDEEP, csbdeep_files, zip_of
from fixtures.imported_models import read_foreign

from napari_care_losses.errors import InputError, ModelFileError, ParameterError
from napari_care_losses.images.frames import Frames
from napari_care_losses.images.normalization import PercentileNormalization
from napari_care_losses.interchange.import_model import import_model
from napari_care_losses.models.architecture import Architecture
from napari_care_losses.models.model import load_model
from napari_care_losses.restoration.restore_stack import RestorationParameters, restore_frames

ARCHITECTURES = {
    "residual": Architecture(depth=1, kernel_size=5, filters=4),
    "probabilistic": Architecture(depth=2, kernel_size=3, filters=4, predicts_scale=True),
    "direct": Architecture(depth=2, kernel_size=3, filters=4, residual=False),
}


@pytest.fixture
def copy(tmp_path):
    """Return a function that copies a model, so that a test can change it."""

    def copy(name="residual", **config):
        folder = tmp_path / name
        shutil.copytree(CSBDEEP / name, folder)
        values = json.loads((folder / "config.json").read_text()) | config
        (folder / "config.json").write_text(json.dumps(values))
        return folder

    return copy


def restored(model, image, engine="torch"):
    (frame,) = [
        progress.frame
        for progress in restore_frames(Frames(image), model, RestorationParameters(engine=engine), device="cpu")
        if progress.frame is not None
    ]
    return frame


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_an_image_is_restored_as_by_csbdeep(name):
    expected = np.load(CSBDEEP / "restored.npz")
    model = read_foreign(CSBDEEP / name)
    assert model.card.architecture == ARCHITECTURES[name]
    assert model.card.normalization == PercentileNormalization(low=2, high=99.8)
    assert model.card.loss == {"residual": "mae", "probabilistic": "laplace", "direct": "mse"}[name]
    assert (model.card.preset, model.card.structure) == ("custom", "other")
    frame = restored(model, expected["image"])
    width = np.subtract(*np.percentile(expected["image"], [99.8, 2]))
    np.testing.assert_allclose(frame.image / width, expected[name] / width, atol=1e-4, rtol=0)
    assert np.ptp(expected[name]) > 0.1 * width
    if name == "probabilistic":
        np.testing.assert_allclose(frame.scale / width, expected["probabilistic_scale"] / width, atol=1e-4, rtol=0)
    else:
        assert frame.scale is None


def test_a_network_for_images_with_x_first_is_transposed(copy):
    """In CSBDeep the same image has X first."""
    image = np.load(CSBDEEP / "restored.npz")["image"]
    turned = read_foreign(copy(axes="XYC"))
    expected = restored(read_foreign(CSBDEEP / "residual"), np.ascontiguousarray(image.T)).image.T
    np.testing.assert_allclose(restored(turned, image).image, expected, atol=0.02)


def test_folders_archives_and_the_description_itself_are_the_same_model(tmp_path):
    digest = read_foreign(CSBDEEP / "residual").digest()
    flat = zip_of(tmp_path / "flat.zip", csbdeep_files())
    extra = [("other/readme.txt", b"hello"), ("__MACOSX/my/._config.json", b"\0"), ("my/", b"")]
    nested = zip_of(tmp_path / "nested.zip", csbdeep_files(prefix="my/") + extra)
    for path in (flat, nested, CSBDEEP / "residual" / "config.json"):
        assert read_foreign(path).digest() == digest


def test_the_best_weights_are_preferred_to_the_last(copy):
    folder = copy()
    spoilt = folder / "weights_last.h5"
    spoilt.write_bytes(b"no weights")
    assert read_foreign(folder).card.training["weights"] == "weights_best.h5"
    (folder / "weights_best.h5").unlink()
    with pytest.raises(ModelFileError, match=r"weights_last\.h5 cannot be read: it is no HDF5 file"):
        read_foreign(folder)
    spoilt.unlink()
    with pytest.raises(ModelFileError, match=r"There is no weights_best\.h5 and no weights_last\.h5"):
        read_foreign(folder)


def test_the_file_of_weights_that_is_taken_is_said(copy, model_library, capsys):
    folder = copy()
    best = folder / "weights_best.h5"
    bias = read_foreign(folder).weights["mean.bias"]
    for name in ("weights_last.h5", "weights_now.h5", "weights_epoch_0010.h5"):
        best = best.rename(folder / name)
        assert status_of("import", folder, "--name", name) == 0
        assert f"The weights are those of {name}: there is no weights_best.h5." in capsys.readouterr().out
        assert (load_model(model_library / f"{name}.safetensors").weights["mean.bias"] == bias).all()
    shutil.copy(best, folder / "weights_epoch_0020.h5")
    with pytest.raises(ModelFileError, match=r"several files .*: weights_epoch_0010\.h5, weights_epoch_0020\.h5"):
        read_foreign(folder)
    best.rename(folder / "weights_now.h5").write_bytes(b"")
    with pytest.raises(ModelFileError, match=r"weights_now\.h5 is empty: it has 0 bytes"):
        read_foreign(folder)


def rename(file, names):
    """Rename layers, in the list and in the groups."""
    for old, new in names.items():
        if old in file:
            file.move(old, new)
    listed = [name if isinstance(name, str) else name.decode() for name in file.attrs["layer_names"]]
    file.attrs["layer_names"] = [names.get(name, name) for name in listed]


def test_a_whole_saved_model_and_layers_without_csbdeep_s_names_are_read(copy):
    """`model.save` puts the weights into a group; other versions name every layer conv2d with a number."""
    folder = copy("probabilistic")
    expected = read_foreign(folder).weights
    with h5py.File(folder / "weights_best.h5", "r+") as file:
        layers = [name for name in file.attrs["layer_names"] if name.startswith(("down", "middle", "up_level"))]
        rename(file, {name: f"conv2d_{number + 20}" for number, name in enumerate(layers)})
        file.create_group("model_weights")
        file["model_weights"].attrs["layer_names"] = file.attrs["layer_names"]
        for name in list(file):
            if name != "model_weights":
                file.move(name, f"model_weights/{name}")
        del file.attrs["layer_names"]
    found = read_foreign(folder).weights
    assert found.keys() == expected.keys()
    assert all((found[name] == expected[name]).all() for name in expected)


def test_a_long_list_of_layers_in_pieces_and_names_without_numbers_are_read(copy):
    """Keras cuts attributes larger than 64 KB; Keras 3 leaves out the ``:0`` of its arrays."""
    folder = copy("probabilistic")
    expected = read_foreign(folder).digest()
    with h5py.File(folder / "weights_best.h5", "r+") as file:
        listed = list(file.attrs["layer_names"])
        del file.attrs["layer_names"]
        file.attrs["layer_names0"], file.attrs["layer_names1"] = listed[:5], listed[5:]
        for layer in listed:
            inner = file[layer].get(layer)
            for name in list(inner or ()):
                inner.move(name, name.removesuffix(":0"))
    assert read_foreign(folder).digest() == expected


@pytest.mark.parametrize(
    ("name", "config", "message"),
    [
        ("residual", {"axes": "ZYXC", "n_dim": 3}, "axes 'ZYXC': only 2D"),
        ("residual", {"n_channel_in": 2}, "takes 2 channels"),
        ("residual", {"n_channel_out": 3}, "gives 3 channels"),
        ("residual", {"unet_last_activation": "relu"}, "activation 'relu'"),
        ("residual", {"unet_kern_size": 4}, "kernel_size must be odd"),
        ("residual", {"unet_kern_size": [3, 5]}, "kernel_size must be of type int"),
        ("residual", {"unet_n_depth": 40}, "depth must lie between"),
        ("residual", {"unet_n_depth": "2"}, "depth must be of type int"),
        ("residual", {"unet_n_first": 10**9}, "filters must lie between"),
        ("residual", {"unet_pool_size": 4}, "unet_pool_size"),
        ("residual", {"unet_batch_norm": True}, "unet_batch_norm"),
        ("residual", {"n2v_perc_pix": 1}, "Noise2Void"),
        ("residual", {"unet_n_depth": 2}, "6 convolutions|7 convolutions"),
        ("residual", {"unet_kern_size": 3}, r"'down_level_0_no_0' has a kernel of \(5, 5, 1, 4\).*\(3, 3, 1, 4\)"),
        ("residual", {"unet_n_first": 8}, r"\(5, 5, 1, 8\)"),
        ("residual", {"unet_residual": False}, "is not residual, its layers say otherwise"),
        ("direct", {"unet_residual": True}, "is residual, its layers say otherwise"),
        ("residual", {"probabilistic": True}, "convolutions"),
        ("probabilistic", {"probabilistic": False}, "convolutions"),
    ],
)
def test_networks_of_other_kinds_are_refused_with_the_reason(copy, name, config, message):
    with pytest.raises(ModelFileError, match=message):
        read_foreign(copy(name, **config))


@pytest.mark.parametrize("message", [{"unet_dropout": 0.2}, {"batch_norm": False}, {"unet_kern_size": [5, 5]}])
def test_settings_that_change_nothing_are_accepted(copy, message):
    assert read_foreign(copy(**message)).card.architecture == ARCHITECTURES["residual"]


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "null", '{"axes": "YXC"}', "[" * 100_000, '{"unet_n_depth": ' + "9" * 5000 + "}", "\xff"]
)
def test_a_damaged_description_is_refused(copy, text):
    folder = copy()
    (folder / "config.json").write_bytes(text.encode("latin-1"))
    with pytest.raises(ModelFileError, match=r"config\.json is"):
        read_foreign(folder)


def damage(path, how):
    with h5py.File(path, "r+") as file:
        kernel = file["middle_0/middle_0/kernel:0"]
        if how == "NaN":
            kernel[0, 0, 0, 0] = np.nan
        elif how == "3D":
            del file["middle_0/middle_0/kernel:0"]
            file["middle_0/middle_0/kernel:0"] = np.zeros((3, 3, 3, 4, 8), np.float32)
        elif how == "text":
            del file["middle_0/middle_0/kernel:0"]
            file["middle_0/middle_0/kernel:0"] = ["a", "b"]
        elif how == "no bias":
            del file["middle_0/middle_0/bias:0"]
        elif how == "missing":
            del file["middle_0"]
        elif how == "batch normalisation":
            rename(file, {"max_0": "batch_normalization_1"})
            file["batch_normalization_1/gamma:0"] = np.ones(4, np.float32)
        elif how == "activation":
            rename(file, {"max_0": "leaky_re_lu_1"})
        elif how == "no list":
            del file.attrs["layer_names"]
        elif how == "listed twice":
            file.attrs["layer_names"] = list(file.attrs["layer_names"]) * 2
        elif how == "links":
            del file["middle_0"]
            file["middle_0"] = h5py.ExternalLink("/etc/passwd", "/")
        elif how == "soft links":
            file["elsewhere"] = file["middle_0"]
            del file["middle_0"]
            file["middle_0"] = h5py.SoftLink("/elsewhere")
        elif how == "external storage":
            del file["middle_0/middle_0/kernel:0"]
            storage = [("/etc/hostname", 0, h5py.h5f.UNLIMITED)]
            file.create_dataset("middle_0/middle_0/kernel:0", (2,), np.float32, external=storage)
        elif how == "huge":
            del file["middle_0/middle_0/kernel:0"]
            file.create_dataset("middle_0/middle_0/kernel:0", (1 << 20, 1 << 20), np.float32, chunks=(64, 64))
        elif how == "many":
            file.attrs["layer_names"] = [str(number) for number in range(3000)]
        elif how == "nested":
            del file["middle_0"]
            file["middle_0/" + "a/" * 50 + "kernel:0"] = np.zeros(3)


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ("NaN", "not finite"),
        ("3D", "'middle_0' is a convolution in 3D"),
        ("text", "not of plain numbers"),
        ("no bias", "'middle_0' is no 2D convolution with a bias"),
        ("missing", "lists a layer 'middle_0' that it does not hold"),
        ("batch normalisation", "has batch normalisation"),
        ("activation", "has a layer 'leaky_re_lu_1'"),
        ("no list", "no list of Keras layers"),
        ("listed twice", "some of them twice"),
        ("links", "'middle_0' is a link"),
        ("soft links", "'middle_0' is a link"),
        ("external storage", "not of plain numbers"),
        ("huge", "too large"),
        ("many", "lists 3000 layers"),
        ("nested", "nested too deeply"),
    ],
)
def test_damaged_and_hostile_weights_are_refused(copy, how, message):
    folder = copy()
    damage(folder / "weights_best.h5", how)
    with pytest.raises(ModelFileError, match=message):
        read_foreign(folder)


def test_a_truncated_file_of_weights_is_refused(copy):
    folder = copy()
    whole = (folder / "weights_best.h5").read_bytes()
    for size in (0, 100, 3000, len(whole) // 2, len(whole) - 2000):
        (folder / "weights_best.h5").write_bytes(whole[:size])
        with pytest.raises(ModelFileError, match=r"weights_best\.h5"):
            read_foreign(folder)


class TestCommandLine:
    def test_a_model_is_added_unless_its_name_is_taken(self, model_library, capsys, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        options = ("--structure", "dendra", "--high-percentile", 99.9)
        assert status_of("import", CSBDEEP / "residual", "--name", "cells", *options) == 0
        message = capsys.readouterr()
        assert message.out.startswith("cells: dendra, mae loss, custom network; ")
        card = load_model(model_library / "cells.safetensors").card
        assert (card.structure, card.normalization) == ("dendra", PercentileNormalization(low=2, high=99.9))
        assert card.training["imported_from"] == "CSBDeep"
        before = (model_library / "cells.safetensors").read_bytes()
        assert status_of("import", CSBDEEP / "direct", "--name", "cells") == 2
        assert "already has a model 'cells'" in capsys.readouterr().err
        assert (model_library / "cells.safetensors").read_bytes() == before
        image = np.load(CSBDEEP / "restored.npz")["image"]
        tifffile.imwrite("image.tif", image)
        assert status_of("restore", "cells", "image.tif", "--out", "out.tif") == 0
        assert tifffile.imread("out.tif").shape == image.shape

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            (("nowhere", "--name", "x"), "no file or folder nowhere"),
            (
                (".", "--name", "x"),
                "not a model in a known format: it has no bioimageio.yaml and no rdf.yaml and no model.yaml",
            ),
            ((CSBDEEP / "restored.npz", "--name", "x"), "not a model in a known format"),
            ((CSBDEEP / "residual" / "weights_best.h5", "--name", "x"), "neither a folder nor a zip archive"),
            ((CSBDEEP / "residual", "--name", "../x"), "plain file name"),
            (
                (CSBDEEP / "residual", "--name", "x", "--high-percentile", "10"),
                "high_percentile must lie between 50 and 100",
            ),
            ((CSBDEEP / "residual",), "--name"),
        ],
    )
    def test_bad_input_ends_with_status_2_and_adds_nothing(
        self, model_library, capsys, tmp_path, monkeypatch, arguments, message
    ):
        monkeypatch.chdir(tmp_path)
        assert status_of("import", *arguments) == 2
        error = capsys.readouterr().err
        assert message in error
        assert error.count("\n") == 1
        assert names(model_library) == []


def test_a_taken_name_is_refused_before_anything_is_read(model_library):
    (model_library / "mine.safetensors").touch()
    with pytest.raises(InputError, match="already has"):
        import_model(CSBDEEP / "nothing", "mine")


def test_a_structure_must_be_known():
    with pytest.raises(InputError, match="structure must be one of"):
        read_foreign(CSBDEEP / "residual", structure="cheese")
    with pytest.raises(ParameterError):
        PercentileNormalization(low=60)
