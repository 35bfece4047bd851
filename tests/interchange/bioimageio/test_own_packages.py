"""Exported packages for bioimage.io: they can be imported again, are documented, and no code of them is run."""

import io
import json
import subprocess
import sys
import warnings
import zipfile
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
import yaml
from fixtures.cli_runs import names
from fixtures.csbdeep_models import zip_of
from fixtures.imported_models import read_foreign
from fixtures.random_models import image_of, make_model, tile_of
from onnx.reference import ReferenceEvaluator

from napari_care_losses.errors import InputError, MissingLibraryError, ModelFileError, OutputError
from napari_care_losses.images.normalization import PercentileNormalization, frame_range
from napari_care_losses.interchange import archives
from napari_care_losses.interchange.bioimageio import network_source, read_state_dict
from napari_care_losses.interchange.bioimageio.export import export_bioimageio, smallest_input
from napari_care_losses.models.architecture import BILINEAR, Architecture
from napari_care_losses.restoration.restore_stack import RestorationParameters, restore

SCALED = Architecture(depth=1, kernel_size=5, filters=2, predicts_scale=True)
ARCHITECTURES = [
    SCALED,
    Architecture(depth=2, kernel_size=3, filters=2, residual=False),
    Architecture(depth=3, kernel_size=1, filters=1),
    Architecture(depth=2, kernel_size=3, filters=2, upsampling=BILINEAR),
    Architecture(depth=1, kernel_size=3, filters=2, refinement=2),
]


@pytest.fixture(scope="module")
def model():
    return make_model(SCALED, "laplace", normalization=PercentileNormalization(low=1, high=99.9), training={"steps": 7})


@pytest.fixture(scope="module")
def package(tmp_path_factory, model):
    path = tmp_path_factory.mktemp("package") / "package.zip"
    export_bioimageio(model, path, name="mine", authors=["A. Nyone", "S. Omeone"], license="MIT")
    return path


def files_of(path):
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def torchscript_of(files):
    with warnings.catch_warnings():
        # deprecated, but DeepImageJ and ilastik run it
        warnings.filterwarnings("ignore", "`torch.jit", DeprecationWarning)
        return torch.jit.load(io.BytesIO(files["torchscript.pt"]))


@pytest.fixture
def changed_copy(package, tmp_path):
    """Return a function that makes a copy of the package with other files in it."""

    def change(**changed):
        files = files_of(package) | {
            name.replace("_yaml", ".yaml").replace("_pt", ".pt"): b for name, b in changed.items()
        }
        return zip_of(tmp_path / "changed_copy.zip", files.items())

    return change


@pytest.fixture
def described(package, changed_copy):
    """Return a function that makes a copy of the package with a changed description."""

    def change(edit):
        values = yaml.safe_load(files_of(package)["rdf.yaml"])
        edit(values)
        return changed_copy(rdf_yaml=yaml.safe_dump(values).encode())

    return change


def without_digest(values):
    del values["weights"]["pytorch_state_dict"]["sha256"]


def with_weights(described, package, saved):
    """Return a package with another state dict."""
    buffer = io.BytesIO()
    torch.save(saved, buffer)
    path = described(without_digest)
    return zip_of(path, (files_of(path) | {"weights.pt": buffer.getvalue()}).items())


class TestPackage:
    def test_an_exported_model_can_be_imported_again(self, package, model, tmp_path):
        assert read_foreign(package).digest() == model.digest()
        with zipfile.ZipFile(package) as archive:
            archive.extractall(tmp_path / "unpacked")
        assert read_foreign(tmp_path / "unpacked" / "rdf.yaml").digest() == model.digest()

    def test_it_is_valid_for_the_library_of_the_format(self, package):
        code = (
            "import sys; from bioimageio.spec import load_description\n"
            "from bioimageio.spec.model.v0_5 import ModelDescr\n"
            "found = load_description(sys.argv[1]); assert isinstance(found, ModelDescr), found\n"
            "assert found.validation_summary.status in ('passed', 'valid-format'), found.validation_summary.status"
        )
        done = subprocess.run([sys.executable, "-c", code, package], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr[-2000:]

    def test_it_names_its_authors_and_explains_how_to_get_grey_levels(self, package):
        files = files_of(package)
        values = yaml.safe_load(files["rdf.yaml"])
        assert values["format_version"].startswith("0.5.")
        assert [author["name"] for author in values["authors"]] == ["A. Nyone", "S. Omeone"]
        assert values["license"] == "MIT"
        assert values["cite"][0]["doi"] == "10.1038/s41592-018-0216-7"
        assert {kind: entry.get("parent") for kind, entry in values["weights"].items()} == {
            "pytorch_state_dict": None,
            "torchscript": "pytorch_state_dict",
            "onnx": "pytorch_state_dict",
        }
        sizes = [axis["size"] for axis in values["inputs"][0]["axes"][2:]]
        assert sizes == [{"min": smallest_input(SCALED), "step": 2}] * 2
        assert [axis["halo"] for axis in values["outputs"][0]["axes"][2:]] == [SCALED.margin] * 2
        scale_range = values["inputs"][0]["preprocessing"][1]["kwargs"]
        assert (scale_range["min_percentile"], scale_range["max_percentile"]) == (1, 99.9)
        readme = files["README.md"].decode()
        assert "grey = restored * (p99.9 - p1) + p1" in readme
        assert "stays in these normalised units" in readme
        assert "`scale`" in readme
        assert "steps: 7" in readme
        assert files["cover.png"].startswith(b"\x89PNG")

    def test_the_documented_formula_gives_the_restored_image(self, package, model):
        image = image_of((64, 48))
        low, high = np.percentile(image, [1, 99.9])
        network = torchscript_of(files_of(package))
        with torch.inference_mode():
            restored, scale = network(torch.from_numpy((image - low) / (high - low)).float()[None, None])
        expected = restore(image, model, RestorationParameters(engine="torch"), device="cpu")
        np.testing.assert_allclose(restored[0, 0].numpy() * (high - low) + low, expected, atol=1e-3 * (high - low))
        assert scale.min() > 0

    def test_the_readme_warns_of_losses_that_leave_brightness_free(self, tmp_path):
        export_bioimageio(make_model(loss="bandpass"), tmp_path / "m.zip", name="m")
        readme = files_of(tmp_path / "m.zip")["README.md"].decode()
        assert "brightness can drift" in readme
        assert "Nguyen, Hagen, Ventura" in readme

    @pytest.mark.parametrize("architecture", ARCHITECTURES)
    def test_every_kind_of_weights_computes_the_same(self, architecture, tmp_path):
        model = make_model(architecture)
        export_bioimageio(model, tmp_path / "m.zip", name="m")
        files = files_of(tmp_path / "m.zip")
        kinds = torchscript_of(files), _from_source(files, architecture)
        evaluator = ReferenceEvaluator(onnx.load_from_string(files["model.onnx"]))
        raw, restored = (np.load(io.BytesIO(files[f"{name}.npy"])) for name in ("raw", "restored"))
        grey_levels = frame_range(raw, model.card.normalization)
        normalized = ((raw - grey_levels.low) / grey_levels.width).astype(np.float32)
        with torch.inference_mode():
            found = kinds[0](torch.from_numpy(normalized))
        found = found[0] if architecture.predicts_scale else found
        np.testing.assert_allclose(found, restored, atol=1e-3 * np.ptp(restored))
        for shape in ((1, 1, 16, 24), (2, 1, 8, 8)):
            tiles = torch.from_numpy(tile_of(shape))
            with torch.inference_mode():
                expected = [each.numpy() for each in model.network()(tiles) if each is not None]
                results = [kind(tiles) for kind in kinds]
            results = [[each] if isinstance(each, torch.Tensor) else each for each in results]
            results.append(evaluator.run(None, {"raw": tiles.numpy()}))
            for result in results:
                assert len(result) == len(expected)
                for one, other in zip(result, expected, strict=True):
                    np.testing.assert_allclose(np.asarray(one), other, atol=1e-5 * np.abs(other).max())

    def test_a_network_without_a_card_is_recognised_by_its_result(self, tmp_path):
        model = make_model(ARCHITECTURES[1], "fft")
        export_bioimageio(model, tmp_path / "m.zip", name="m")
        files = files_of(tmp_path / "m.zip")
        values = yaml.safe_load(files["rdf.yaml"])
        del values["config"]
        zip_of(tmp_path / "m.zip", (files | {"rdf.yaml": yaml.safe_dump(values).encode()}).items())
        found = read_foreign(tmp_path / "m.zip")
        assert found.card.architecture == model.card.architecture
        assert all(torch.equal(found.weights[name], model.weights[name]) for name in model.weights)

    def test_another_structure_and_other_percentiles_can_be_given(self, package):
        card = read_foreign(package, structure="dendra", low_percentile=3).card
        assert (card.structure, card.normalization) == ("dendra", PercentileNormalization(low=3, high=99.9))


def _from_source(files, architecture):
    """Return the network made of the package's source code and state dict."""
    assert files["care_network.py"].decode() == Path(network_source.__file__).read_text(encoding="utf-8")
    values = yaml.safe_load(files["rdf.yaml"])["weights"]["pytorch_state_dict"]["architecture"]
    assert values["callable"] == "CareUNet"
    assert values["kwargs"] == architecture.to_dict()
    network = network_source.CareUNet(**values["kwargs"])
    network.load_state_dict(torch.load(io.BytesIO(files["weights.pt"]), weights_only=True))
    return network.eval()


class TestWriting:
    @pytest.mark.parametrize("library", ["onnx", "bioimageio.spec"])
    def test_a_missing_library_is_named(self, model, tmp_path, monkeypatch, library):
        monkeypatch.setitem(sys.modules, library, None)
        with pytest.raises(MissingLibraryError, match=r"pip install .*\[bioimageio\]"):
            export_bioimageio(model, tmp_path / "m.zip", name="m")
        assert names(tmp_path) == []

    @pytest.mark.parametrize(("message", "where"), [({"license": "my own"}, "license"), ({"authors": [""]}, "author")])
    def test_values_that_the_format_refuses_raise_an_input_error(self, model, tmp_path, message, where):
        with pytest.raises(InputError, match=where):
            export_bioimageio(model, tmp_path / "m.zip", name="m", **message)
        assert names(tmp_path) == []

    def test_a_failed_export_leaves_the_old_file(self, model, tmp_path, monkeypatch):
        path = tmp_path / "m.zip"
        path.write_bytes(b"old")

        def fail(*_):
            raise OSError(28, "No space left on device")

        monkeypatch.setattr("zipfile.ZipFile.write", fail)
        with pytest.raises(OutputError, match="No space left"):
            export_bioimageio(model, path, name="m")
        assert path.read_bytes() == b"old"
        assert names(tmp_path) == ["m.zip"]

    @pytest.mark.parametrize("name", ["a", "µ model / 1, with * signs", "x" * 200])
    def test_any_name_can_be_given(self, name, tmp_path):
        export_bioimageio(make_model(), tmp_path / "m.zip", name=name)
        assert yaml.safe_load(files_of(tmp_path / "m.zip")["rdf.yaml"])["name"]


class TestAttacks:
    """Attacks with pickles and YAML are in `tests/attacks/test_models.py`."""

    def test_no_code_of_a_package_is_run(self, changed_copy, model, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        code = b"open('evil', 'w')\nraise SystemExit(1)\n"
        path = changed_copy(**{"care_network.py": code, "torch.py": code, "sitecustomize.py": code})
        with zipfile.ZipFile(path) as archive:
            archive.extractall(tmp_path)
        assert read_foreign(tmp_path).digest() == model.digest()
        assert "evil" not in names(tmp_path)

    def test_a_description_that_is_too_large_is_refused(self, changed_copy):
        with pytest.raises(ModelFileError, match=r"rdf\.yaml in .* is larger than"):
            read_foreign(changed_copy(rdf_yaml=b"#" * (archives.MAX_TEXT + 1)))

    @pytest.mark.parametrize(
        "source",
        ["../weights.pt", "/etc/passwd", "https://example.org/weights.pt", "..", "", "sub/weights.pt", 7, None],
    )
    def test_a_source_outside_the_package_is_refused(self, described, source, tmp_path):
        def edit(values):
            values["weights"]["pytorch_state_dict"]["source"] = source

        path = described(edit)
        with pytest.raises(ModelFileError, match=r"has no file|does not say which"):
            read_foreign(path)
        with zipfile.ZipFile(path) as archive:
            archive.extractall(tmp_path / "unpacked" / "here")
        (tmp_path / "unpacked" / "weights.pt").write_bytes(files_of(path)["weights.pt"])
        with pytest.raises(ModelFileError, match=r"has no file|does not say which"):
            read_foreign(tmp_path / "unpacked" / "here")

    def test_weights_with_another_digest_are_refused(self, changed_copy, package):
        damaged = bytearray(files_of(package)["weights.pt"])
        damaged[-1000] ^= 1
        with pytest.raises(ModelFileError, match="its SHA-256 is not the one"):
            read_foreign(changed_copy(weights_pt=bytes(damaged)))

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            ({"mean.bias": torch.full((1,), torch.nan)}, "not finite"),
            ({"mean.bias": torch.zeros(2)}, r"do not fit.*mean\.bias"),
            ({"extra": torch.zeros(2)}, "do not fit.*extra"),
            ({"mean.bias": torch.zeros(1, dtype=torch.float64)}, "cannot be read: 'mean.bias' is no plain tensor"),
        ],
    )
    def test_weights_that_do_not_fit_are_refused(self, described, package, model, change, message):
        with pytest.raises(ModelFileError, match=message):
            read_foreign(with_weights(described, package, model.weights | change))

    @pytest.mark.parametrize(
        ("edit", "message"),
        [
            (lambda v: v.update(type="dataset"), "not describe a model but 'dataset'"),
            (lambda v: v.pop("config"), "has 2 outputs: only those with 1"),
            (lambda v: v.update(config=[1]), "has 2 outputs"),
            (lambda v: v["config"].update(napari_care_losses={"card": 7}), "card in the package is damaged"),
            (lambda v: v["config"].update(napari_care_losses={"card": "{}"}), "card is damaged"),
            (lambda v: v.pop("weights"), "does not say which"),
            (lambda v: v.update(weights="all"), "does not say which"),
            (lambda v: v["weights"].pop("pytorch_state_dict"), "does not say which"),
        ],
    )
    def test_other_packages_are_refused_with_the_reason(self, described, edit, message):
        with pytest.raises(ModelFileError, match=message):
            read_foreign(described(edit))

    def test_a_card_that_claims_a_larger_network_than_the_file_holds_is_refused(self, described):
        def edit(values):
            card = json.loads(values["config"]["napari_care_losses"]["card"])
            card["architecture"] |= {"depth": 6, "filters": 256, "kernel_size": 15}
            values["config"]["napari_care_losses"]["card"] = json.dumps(card)

        with pytest.raises(ModelFileError, match="claims a network of"):
            read_foreign(described(edit))


class TestReader:
    """The script that runs in the sandbox."""

    @pytest.mark.parametrize(
        ("saved", "message"),
        [
            ({"a": torch.zeros(1, dtype=torch.float64)}, "no plain tensor of float32"),
            ({"a": "text"}, "no plain tensor"),
            ({"a": torch.zeros(1).to_sparse()}, "no plain tensor"),
            ({"a": torch.zeros(1).expand(1 << 40)}, "too large"),
            ({3: torch.zeros(2)}, "no state dict"),
            ([torch.zeros(2)], "no state dict"),
            (torch.zeros(3), "no state dict"),
        ],
    )
    def test_a_file_that_is_not_a_state_dict_is_refused(self, tmp_path, saved, message, capsys):
        torch.save(saved, tmp_path / "w.pt")
        assert read_state_dict.main(str(tmp_path / "w.pt"), str(tmp_path / "out")) == 2
        assert message in capsys.readouterr().err
        assert names(tmp_path) == ["w.pt"]

    def test_damaged_weights_end_with_status_2(self, tmp_path, package, capsys):
        whole = files_of(package)["weights.pt"]
        for size in (0, 10, 200, len(whole) // 2, -300, -10):
            (tmp_path / "w.pt").write_bytes(whole[:size])
            assert read_state_dict.main(str(tmp_path / "w.pt"), str(tmp_path / "out")) == 2
            assert capsys.readouterr().err.startswith("it is damaged")
        assert names(tmp_path) == ["w.pt"]
