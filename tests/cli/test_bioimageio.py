"""Packages for bioimage.io from the command line."""

from fixtures.cli_runs import status_of
from fixtures.random_models import make_model

from napari_care_losses.models.library import bundled_folder
from napari_care_losses.models.model import load_model


class TestCommandLine:
    def test_a_bundled_model_goes_out_and_comes_back(self, tmp_path, model_library, capsys, monkeypatch):
        monkeypatch.chdir(tmp_path)
        assert status_of("export", "fft-lite", "--out", "p.zip") == 0
        assert capsys.readouterr().out == "p.zip: by the napari-care-losses developers, licence BSD-3-Clause\n"
        assert status_of("import", "p.zip", "--name", "back") == 0
        assert capsys.readouterr().out.startswith("back: fft loss, lite network; ")
        original = load_model(bundled_folder() / "fft-lite.safetensors")
        assert load_model(model_library / "back.safetensors").digest() == original.digest()

    def test_authors_and_licence_are_options(self, tmp_path, capsys, monkeypatch):
        monkeypatch.chdir(tmp_path)
        make_model().save(tmp_path / "mine.safetensors")
        assert status_of("export", "mine.safetensors", "--out", "p.zip") == 0
        assert capsys.readouterr().out == "p.zip: by anonymous, licence CC-BY-4.0\n"
        said = ("--author", "A. Nyone", "--author", "B", "--license", "CC0-1.0")
        assert status_of("export", "mine.safetensors", "--out", "p.zip", *said) == 0
        assert capsys.readouterr().out == "p.zip: by A. Nyone, B, licence CC0-1.0\n"
