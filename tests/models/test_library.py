import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from napari_care_losses.errors import InputError, ModelFileError, RenamedModelWarning
from napari_care_losses.models import library
from napari_care_losses.models.architecture import Architecture
from napari_care_losses.models.library import find_model, free_name, list_models, new_model_path
from napari_care_losses.models.model import HEADER, Model, ModelCard, read_card
from napari_care_losses.models.unet import CareNetwork
from napari_care_losses.models.user_folder import library_folder

TINY = Architecture(kernel_size=3, filters=1, depth=1)


def save(path, structure="actin"):
    card = ModelCard(structure=structure, loss="mae", architecture=TINY)
    Model(card, CareNetwork(TINY).state_dict()).save(path)


@pytest.fixture
def bundled(tmp_path, monkeypatch):
    """Return a folder of two bundled models."""
    folder = tmp_path / "bundled"
    folder.mkdir()
    for name in ("beta", "alpha"):
        save(folder / f"{name}.safetensors", "dendra")
    monkeypatch.setattr(library, "bundled_folder", lambda: folder)
    return folder


def test_bundled_models_stand_behind_the_user_s(bundled, model_library):
    save(model_library / "mine.safetensors")
    save(model_library / "beta.safetensors")
    found = [(entry.name, entry.bundled, entry.card.structure) for entry in list_models()]
    assert found == [
        ("beta", False, "actin"),
        ("mine", False, "actin"),
        ("alpha", True, "dendra"),
        ("beta", True, "dendra"),
    ]
    assert all(entry.path.is_file() for entry in list_models())


def test_models_are_found_by_name_the_user_s_first(bundled, model_library):
    assert find_model("beta") == bundled / "beta.safetensors"
    save(model_library / "beta.safetensors")
    assert find_model("beta") == model_library / "beta.safetensors"
    assert find_model("alpha") == bundled / "alpha.safetensors"


def test_models_are_found_by_path(bundled, tmp_path, monkeypatch):
    save(tmp_path / "there.safetensors")
    assert find_model(str(tmp_path / "there.safetensors")) == tmp_path / "there.safetensors"
    shutil.copy(tmp_path / "there.safetensors", tmp_path / "no_suffix")
    assert find_model(str(tmp_path / "no_suffix")) == tmp_path / "no_suffix"
    monkeypatch.chdir(tmp_path)
    assert find_model("there.safetensors") == Path("there.safetensors")


def test_an_unknown_name_lists_the_known(bundled, monkeypatch, tmp_path):
    with pytest.raises(ModelFileError, match=r"no model 'gamma'.*\(alpha, beta\)"):
        find_model("gamma")
    monkeypatch.setattr(library, "bundled_folder", lambda: tmp_path / "nowhere")
    with pytest.raises(ModelFileError, match="none yet"):
        find_model("gamma")


def test_damaged_and_foreign_files_are_left_out(bundled, model_library):
    save(model_library / "good.safetensors")
    (model_library / "broken.safetensors").write_bytes(b"\0" * 20)
    save_file({"a": torch.zeros(1)}, model_library / "foreign.safetensors")
    save_file({"a": torch.zeros(1)}, model_library / "newer.safetensors", metadata={HEADER: '{"format": 99}'})
    (model_library / "notes.txt").write_text("mine")
    assert [entry.name for entry in list_models() if not entry.bundled] == ["good"]


def test_a_card_is_read_again_only_when_its_file_changes(bundled, model_library, monkeypatch):
    read = []
    monkeypatch.setattr(library, "read_card", lambda path: read.append(path.name) or read_card(path))
    save(model_library / "mine.safetensors")
    for _ in range(2):
        assert [entry.card.structure for entry in list_models()] == ["actin", "dendra", "dendra"]
    assert sorted(read) == ["alpha.safetensors", "beta.safetensors", "mine.safetensors"]
    read.clear()
    save(model_library / "mine.safetensors", "dendra")
    assert list_models()[0].card.structure == "dendra"
    assert read == ["mine.safetensors"]
    (model_library / "mine.safetensors").unlink()
    assert [entry.name for entry in list_models()] == ["alpha", "beta"]


@pytest.mark.parametrize(
    "name", ["", "  ", "a/b", "../a", ".hidden", "a\\b", "c:d", "what?", "a*", 'a"b', "a|b", "<a>", "."]
)
def test_a_name_must_be_a_plain_file_name(bundled, name):
    with pytest.raises(InputError, match="plain file name"):
        new_model_path(name)


def test_a_new_name_leads_into_the_user_s_folder(bundled, model_library):
    assert new_model_path(" my model µ ") == model_library / "my model µ.safetensors"


def test_a_taken_name_is_refused(bundled, model_library):
    save(model_library / "mine.safetensors")
    # Not readable by this version, and yet not to be overwritten.
    save_file({"a": torch.zeros(1)}, model_library / "newer.safetensors", metadata={HEADER: '{"format": 99}'})
    for name in ("mine", "alpha", "newer", "MINE", "Newer"):
        with pytest.raises(InputError, match=f"already has a model '{name}'"):
            new_model_path(name)


def test_the_environment_names_the_folder_and_it_is_made(tmp_path, monkeypatch):
    monkeypatch.setenv("NAPARI_CARE_LOSSES_LIBRARY", str(tmp_path / "a" / "b"))
    assert library_folder() == tmp_path / "a" / "b"
    assert library_folder().is_dir()
    monkeypatch.delenv("NAPARI_CARE_LOSSES_LIBRARY")
    monkeypatch.setattr("platformdirs.user_data_dir", lambda *_, **__: str(tmp_path / "data"))
    assert library_folder() == tmp_path / "data" / "models"


def test_a_folder_that_cannot_be_made_is_named(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("NAPARI_CARE_LOSSES_LIBRARY", str(tmp_path / "file" / "models"))
    with pytest.raises(InputError, match=r"library .*models cannot be made"):
        library_folder()


def test_every_bundled_model_can_be_loaded_by_its_name():
    """Each is called after loss and size, and movies; the bare loss means the larger one."""
    bundled = [entry for entry in list_models() if entry.bundled]
    for entry in bundled:
        assert find_model(entry.name) == entry.path
        movies = "-movie" if entry.card.architecture.neighbours else ""
        assert entry.name == f"{entry.card.loss}-{entry.card.preset}{movies}"
        assert find_model(entry.card.loss).stem == f"{entry.card.loss}-care"


@pytest.mark.parametrize("loss", ["laplace", "fft", "bandpass"])
@pytest.mark.parametrize("structure", ["actin", "mitochondria", "dendra"])
@pytest.mark.parametrize("size", ["care", "lite"])
def test_a_former_name_means_the_model_of_every_structure(structure, loss, size, model_library):
    old = f"{structure}-{loss}-{size}"
    with pytest.warns(
        RenamedModelWarning, match=f"{old} is now {loss}-{size}: one model for every structure"
    ) as warned:
        assert find_model(old) == library.bundled_folder() / f"{loss}-{size}.safetensors"
    assert len(warned) == 1
    # of one's own there may be a model of that name
    save(model_library / f"{old}.safetensors")
    assert find_model(old) == model_library / f"{old}.safetensors"


def test_a_former_name_without_the_new_model_is_unknown(bundled):
    with pytest.raises(ModelFileError, match="no model 'actin-fft-lite'"):
        find_model("actin-fft-lite")
    with pytest.raises(ModelFileError, match="no model 'fft'"):
        find_model("fft")


@pytest.mark.parametrize("text", ["", "...", "\u00b5" * 300, "a/b\\c:d", "con", "con.1", "\n", "\U0001d7d8" * 300])
def test_a_name_made_of_any_text_can_be_used(text, model_library):
    path = new_model_path(free_name(text))
    path.touch()
    assert len(path.name.encode()) < 250


def test_a_name_that_is_taken_gets_a_number(model_library):
    save(model_library / "cells-fft.safetensors")
    (model_library / "cells-fft-3.safetensors").write_text("no model")
    assert free_name("cells (fft)", taken=["cells-fft-2"]) == "cells-fft-4"
