"""Files in use are neither replaced nor deleted on Windows: what the package does then, under its law."""

import sys

import numpy as np
import pytest
from fixtures.random_models import make_model
from fixtures.toy_trainings import trainer
from fixtures.windows_files import law_of_windows

from napari_care_losses.errors import OutputError
from napari_care_losses.io.stacks import read_stack, save_stack
from napari_care_losses.io.whole_files import locked, replacing
from napari_care_losses.models.model import load_model
from napari_care_losses.training.checkpoint import state_path
from napari_care_losses.training.progress import Epoch
from napari_care_losses.training.to_file import train_to_file

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="/proc says what is open")

STACK = np.random.default_rng(0).integers(0, 100, (3, 32, 32)).astype(np.uint16)


@pytest.fixture(autouse=True)
def law():
    with law_of_windows():
        yield


def test_the_law_refuses_open_and_mapped_files_and_folders_that_hold_one(tmp_path):
    path = tmp_path / "a.npy"
    np.save(path, STACK)

    def replace():
        with replacing(path) as temporary:
            temporary.write_bytes(b"new")

    with path.open("rb"), pytest.raises(OutputError, match="in use"):
        replace()
    mapped = np.load(path, mmap_mode="r")
    with pytest.raises(OutputError, match="in use"):
        replace()
    del mapped
    replace()
    assert path.read_bytes() == b"new"
    assert list(tmp_path.iterdir()) == [path]


def test_no_lock_is_left(tmp_path):
    with locked(tmp_path / "m.safetensors"):
        assert list(tmp_path.iterdir())
    assert list(tmp_path.iterdir()) == []


def test_a_training_resumed_twice_saves_and_removes_its_state(tmp_path):
    path = tmp_path / "m.safetensors"
    for _ in range(2):
        running = train_to_file(trainer(steps_per_epoch=1), path, resume=True)
        next(report for report in running if isinstance(report, Epoch))
        running.close()
        assert state_path(path).is_file()
    for _ in train_to_file(trainer(steps_per_epoch=1), path, resume=True):
        pass
    assert load_model(path).card.training["steps"] == 7


def test_a_model_is_trained_anew_over_one_that_is_loaded(tmp_path):
    path = tmp_path / "m.safetensors"
    make_model().save(path)
    loaded = load_model(path)
    again = trainer(start_from=loaded, preset="lite")
    for _ in train_to_file(again, path):
        pass
    assert load_model(path).card.training["steps"] == 7
    assert loaded.card.training.get("steps") != 7


@pytest.mark.parametrize("name", ["a.tif", "a.ome.zarr"])
def test_a_stack_that_is_shown_is_said_to_be_in_use_before_the_work(tmp_path, name):
    path = tmp_path / name
    save_stack(path, STACK, axes="TYX")
    held = next(iter(sorted(path.rglob("*")))) if path.is_dir() else path
    with held.open("rb") if held.is_file() else (path / "zarr.json").open("rb"):
        with pytest.raises(OutputError, match=r"cannot be replaced .*in use.* Close what has it open"):
            save_stack(path, STACK + 1, axes="TYX")
        assert [each.name for each in tmp_path.iterdir()] == [name]
    save_stack(path, STACK + 1, axes="TYX")
    assert (np.stack(list(read_stack(path))) == STACK + 1).all()
