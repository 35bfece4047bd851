"""Packages of other authors for bioimage.io: usable networks are imported, and no code is run without consent."""

import numpy as np
import pytest
import torch
from fixtures.bioimageio_packages import (
    BACK,
    CLIP,
    FIXED,
    LINEAR,
    PERCENTILES,
    STANDARD,
    Denoiser,
    PooledDenoiser,
    TheirCare,
    normalized,
    onnx_of,
    seeded,
    torchscript,
    write_package,
    yes,
)
from fixtures.cli_runs import status_of
from fixtures.imported_models import read_foreign
from fixtures.random_models import image_of, make_model, needs_openvino

from napari_care_losses.errors import ModelFileError, UnagreedProgramError
from napari_care_losses.images.frames import Frames
from napari_care_losses.images.normalization import FixedLevels, PercentileNormalization, Standardization
from napari_care_losses.images.regions import Region
from napari_care_losses.interchange.bioimageio.export import export_bioimageio
from napari_care_losses.interchange.import_model import import_model
from napari_care_losses.models.library import list_models
from napari_care_losses.models.model import load_model
from napari_care_losses.models.user_folder import LIST, is_agreed
from napari_care_losses.restoration.preview.previewer import Previewer
from napari_care_losses.restoration.restore_stack import RestorationParameters, restore


def expected_of(network, image, preprocessing, block=2):
    """Return the result of the network for an image, in normalised units, computed with torch and numpy alone."""
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
            (PERCENTILES, PercentileNormalization(low=1.0, high=99.8)),
            (STANDARD, Standardization()),
            (FIXED, FixedLevels(low=150.0, high=150.0 + (80.0 + 1e-6))),
            ([{"id": "ensure_dtype", "kwargs": {"dtype": "float32"}}, LINEAR], FixedLevels(low=100.0, high=200.0)),
            ([PERCENTILES, CLIP], PercentileNormalization(low=1.0, high=99.8)),
            ([LINEAR, STANDARD, {"id": "scale_linear", "kwargs": {"gain": 2.0, "offset": 0.5}}], Standardization()),
            ([], FixedLevels(low=0.0, high=1.0)),
        ],
    )
    def test_a_program_gives_the_result_that_its_package_describes(self, written, preprocessing, levels):
        network = seeded(Denoiser())
        model = read_foreign(written(network, preprocessing=preprocessing), agrees=yes)
        assert model.card.normalization == levels
        image = image_of((70, 101), seed=3)
        restored = restore(image, model, RestorationParameters(tile_size=40))
        expected = expected_of(network, image, preprocessing)
        # the result is scaled back as the input was normalised, without the clipping
        steps = [step for step in np.atleast_1d(preprocessing) if step["id"] != "clip"]
        slope, start = np.polyfit(normalized(image, steps).ravel(), image.ravel(), 1)
        inner = slice(4, -4), slice(4, -4)
        np.testing.assert_allclose(restored[inner], (expected * slope + start)[inner], atol=1e-4 * np.ptp(image))

    @pytest.mark.parametrize("size", [None, 64])
    def test_tiles_have_a_size_that_the_network_takes_and_fit_together(self, written, size):
        network = seeded(PooledDenoiser())
        options = {} if size is None else {"size": size, "halo": 0}
        model = read_foreign(written(network, **options), agrees=yes)
        program = model.card.architecture
        # 1 px at full size, 1 px at half size and what pooling adds: measured, because the package may state less
        assert (program.block, program.size, program.margin) == (2, size or 0, 6)
        image = image_of((150, 204), seed=3)
        expected = expected_of(network, image, PERCENTILES)
        low, high = np.percentile(image, [1, 99.8])
        for parameters in (RestorationParameters(), RestorationParameters(tile_size=48)):
            restored = (restore(image, model, parameters) - low) / (high - low)
            np.testing.assert_allclose(restored[6:-6, 6:-6], expected[6:-6, 6:-6], atol=1e-5)

    def test_an_image_smaller_than_the_network_takes_is_padded(self, written):
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

    def test_postprocessing_that_undoes_the_preprocessing_is_applied_once(self, written):
        network = seeded(Denoiser())
        model = read_foreign(written(network, preprocessing=FIXED, postprocessing=[BACK]), agrees=yes)
        image = image_of((40, 40))
        expected = expected_of(network, image, FIXED) * 80 + 150
        np.testing.assert_allclose(restore(image, model), expected, atol=1e-2)

    @needs_openvino
    def test_an_onnx_graph_needs_no_consent_and_gives_the_same_result(self, written):
        network = seeded(Denoiser())
        graph = read_foreign(written(network, "onnx"))
        program = read_foreign(written(network), agrees=yes)
        image = image_of((70, 90))
        np.testing.assert_allclose(restore(image, graph), restore(image, program), atol=1e-3)

    @needs_openvino
    def test_the_program_is_preferred_to_the_graph_if_the_user_agrees(self, tmp_path):
        network = seeded(Denoiser())
        weights = {"torchscript": torchscript(network), "onnx": onnx_of(network)}
        path = write_package(tmp_path / "p.zip", network, weights)
        assert read_foreign(path).card.preset == "onnx"
        assert read_foreign(path, agrees=yes).card.preset == "torchscript"

    def test_the_preview_shows_what_will_be_restored(self, written, model_library):
        path = import_model(written(), "theirs", agrees=yes)
        image = image_of((200, 230))
        tiles = Previewer().preview(
            Frames(image, "YX"), 0, Region(20, 120, 30, 130), None, path, RestorationParameters()
        )
        last = [tile for tile in tiles if tile.image is not None][-1]
        restored = restore(image, load_model(path))
        np.testing.assert_allclose(last.image, restored[last.position], atol=1e-3)


class TestRecognizing:
    def test_a_care_network_with_other_names_of_layers_is_recognised(self, written):
        network = seeded(TheirCare())
        model = read_foreign(written(network, "pytorch_state_dict"))
        architecture = model.card.architecture
        assert (architecture.depth, architecture.kernel_size, architecture.filters) == (1, 3, 3)
        assert architecture.residual
        image = image_of((32, 32))
        low, high = np.percentile(image, [1, 99.8])
        expected = expected_of(network, image, PERCENTILES) * (high - low) + low
        np.testing.assert_allclose(restore(image, model), expected, atol=1e-2)

    def test_it_can_be_exported_again_with_any_normalisation(self, written, tmp_path):
        for preprocessing in (STANDARD, FIXED):
            model = read_foreign(written(seeded(TheirCare()), "pytorch_state_dict", preprocessing=preprocessing))
            export_bioimageio(model, tmp_path / "again.zip", name="again")
            again = read_foreign(tmp_path / "again.zip")
            assert again.digest() == model.digest()

    def test_a_network_with_the_shapes_but_not_the_result_of_care_is_refused(self, written):
        class Other(TheirCare):
            def forward(self, x):
                return super().forward(x).tanh()

        with pytest.raises(ModelFileError, match="is not a CARE network, and the source code of another"):
            read_foreign(written(seeded(Other()), "pytorch_state_dict"))


class WritesWhenLoaded(torch.nn.Module):
    """Writes a file as soon as the program is loaded: TorchScript can run any code."""

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

    def test_no_program_is_run_without_consent(self, written, model_library):
        asked = []
        path = written()
        for agrees in (None, lambda program: asked.append(program)):
            with pytest.raises(UnagreedProgramError, match=r"O\. Utsider, N\. Eighbour.*scripted\.pt, SHA-256"):
                read_foreign(path, agrees=agrees)
        (program,) = asked
        assert (program.package, program.authors) == ("Denoiser of others", ("O. Utsider", "N. Eighbour"))
        assert not is_agreed(program.sha256)
        assert list(model_library.iterdir()) == []

    def test_consent_is_valid_on_one_machine_only(self, written, tmp_path, monkeypatch):
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

    def test_a_model_file_with_another_program_is_refused(self, written, tmp_path):
        path = import_model(written(), "theirs", agrees=yes)
        model = load_model(path)
        type(model)(model.card, {"program": torch.zeros(9, dtype=torch.uint8)}).save(tmp_path / "other.safetensors")
        with pytest.raises(ModelFileError, match="not the one that its card names"):
            load_model(tmp_path / "other.safetensors")

    def test_the_card_names_the_package_and_its_authors(self, written):
        training = read_foreign(written(), agrees=yes).card.training
        assert training["authors"] == ["O. Utsider", "N. Eighbour"]
        assert "bioimage.io package 'Denoiser of others' (torchscript)" in training["imported_from"]

    def test_from_the_command_line(self, written, tmp_path, capsys, monkeypatch):
        monkeypatch.chdir(tmp_path)
        path = written()
        assert status_of("import", path, "--name", "theirs") == 2
        message = capsys.readouterr().err
        assert "O. Utsider" in message
        assert "repeat the command with --run-its-code" in message
        assert list_models()[0].bundled
        assert status_of("import", path, "--name", "theirs", "--run-its-code") == 0
        message = capsys.readouterr().out
        assert "foreign code, which runs with all your rights" in message
        assert "theirs: unknown loss, torchscript network; " in message
        assert status_of("models") == 0
        assert "theirs" in capsys.readouterr().out


def test_model_files_of_this_package_can_be_imported_too(tmp_path):
    make_model().save(tmp_path / "m.safetensors")
    assert load_model(import_model(tmp_path / "m.safetensors", "mine")).digest() == make_model().digest()
