"""Packages for bioimage.io from the command line."""

import pytest
from fixtures.cli_runs import names, status_of
from fixtures.random_models import make_model

from napari_care_losses.models.library import bundled_folder
from napari_care_losses.models.model import load_model


class TestCommandLine:
    def test_a_bundled_model_goes_out_and_comes_back(self, tmp_path, model_library, capsys, monkeypatch):
        monkeypatch.chdir(tmp_path)
        assert status_of("export", "actin-fft-lite", "--out", "p.zip") == 0
        assert capsys.readouterr().out == "p.zip: by the napari-care-losses developers, licence BSD-3-Clause\n"
        assert status_of("import", "p.zip", "--name", "back") == 0
        assert capsys.readouterr().out.startswith("back: actin, fft loss, lite network; ")
        original = load_model(bundled_folder() / "actin-fft-lite.safetensors")
        assert load_model(model_library / "back.safetensors").digest() == original.digest()

    def test_who_made_it_can_be_said(self, tmp_path, capsys, monkeypatch):
        monkeypatch.chdir(tmp_path)
        make_model().save(tmp_path / "mine.safetensors")
        assert status_of("export", "mine.safetensors", "--out", "p.zip") == 0
        assert capsys.readouterr().out == "p.zip: by anonymous, licence CC-BY-4.0\n"
        said = ("--author", "A. Nyone", "--author", "B", "--license", "CC0-1.0")
        assert status_of("export", "mine.safetensors", "--out", "p.zip", *said) == 0
        assert capsys.readouterr().out == "p.zip: by A. Nyone, B, licence CC0-1.0\n"

    @pytest.mark.parametrize(
        ("arguments", "said"),
        [
            (("nobody", "--out", "p.zip"), "no model 'nobody'"),
            (("actin-fft-lite", "--out", "p.tar"), "must end in .zip"),
            (("actin-fft-lite", "--out", "none/p.zip"), "folder none does not exist"),
            (("actin-fft-lite", "--out", "p.zip", "--license", "mine"), "license"),
        ],
    )
    def test_bad_input_ends_with_status_2(self, tmp_path, capsys, monkeypatch, arguments, said):
        monkeypatch.chdir(tmp_path)
        assert status_of("export", *arguments) == 2
        assert said in capsys.readouterr().err
        assert names(tmp_path) == []
