"""Files in use are neither replaced nor deleted on Windows: what the package does then, under its law."""

import os
import sys
from contextlib import suppress

import numpy as np
import pytest
from fixtures.random_models import make_model
from fixtures.toy_trainings import trainer
from fixtures.windows_files import OneFileOnWindowsError, law_of_windows

from napari_care_losses.errors import InputError, OutputError
from napari_care_losses.images.frames import Frames
from napari_care_losses.io import whole_files
from napari_care_losses.io.ome_zarr_writer import FrameWriter
from napari_care_losses.io.stacks import read_stack, save_frames, save_stack
from napari_care_losses.io.whole_files import check_folder, locked, patiently, replacing
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


def test_the_law_refuses_to_cut_what_is_mapped_to_move_onto_what_is_there_and_names(tmp_path):
    path, other = tmp_path / "a.npy", tmp_path / "b.npy"
    np.save(path, STACK)
    other.write_bytes(b"")
    mapped = np.load(path, mmap_mode="r")
    with pytest.raises(OSError, match="mapped"):
        patiently(open, path, "wb")
    assert (mapped == STACK).all()
    del mapped
    with pytest.raises(FileExistsError):
        patiently(os.rename, other, tmp_path / "a.npy")
    for folder in ("c", "d"):
        (tmp_path / folder).mkdir()
    with pytest.raises(PermissionError, match="denied"):
        patiently(os.replace, tmp_path / "c", tmp_path / "d")
    for name in ("a:b", "nul.txt", "x."):
        with pytest.raises(OSError, match="name is not correct"):
            patiently(open, tmp_path / name, "wb")
        with pytest.raises(OSError, match="name is not correct"):
            patiently(os.mkdir, tmp_path / name)
    with pytest.raises(OneFileOnWindowsError, match=r"A\.npy"):
        patiently(open, tmp_path / "A.npy", "wb")


@pytest.fixture
def scanner(monkeypatch):
    """Return what holds a file until somebody has waited for it."""
    waited = []

    def hold(path):
        file = path.open("rb")
        monkeypatch.setattr(whole_files.time, "sleep", lambda seconds: (waited.append(seconds), file.close()))
        return waited

    return hold


@pytest.mark.parametrize("name", ["m.safetensors", "a.tif", "a.ome.zarr"])
def test_a_file_that_a_scanner_holds_for_a_moment_is_replaced_after_it(tmp_path, scanner, name):
    path = tmp_path / name

    def save(path):
        if path.suffix == ".safetensors":
            make_model().save(path)
        else:
            save_stack(path, STACK, axes="TYX")

    save(path)
    waited = scanner(path / "zarr.json" if path.is_dir() else path)
    save(path)
    assert waited
    assert [each.name for each in tmp_path.iterdir()] == [name]


@pytest.mark.parametrize("name", ["a.tif", "a.ome.zarr"])
def test_a_result_that_a_scanner_reads_when_it_is_whole_is_put_in_place_after_it(tmp_path, scanner, name):
    path, waited = tmp_path / name, []
    for saved in save_frames(path, Frames(STACK, "TYX")):
        if saved.done == saved.total:
            held = tmp_path / f"{name}.partial"
            waited = scanner(held / "zarr.json" if held.is_dir() else held)
    assert waited
    assert (np.stack(list(read_stack(path))) == STACK).all()


def test_a_chunk_that_a_scanner_reads_is_written_after_it(tmp_path, scanner):
    path = tmp_path / "a.ome.zarr"
    save_stack(path, STACK, axes="TYX")
    waited = scanner(next(file for file in path.rglob("*") if file.is_file() and file.name != "zarr.json"))
    for index, frame in enumerate(STACK):
        FrameWriter(path, "TYX", (3,)).write(index, frame + 1)
    assert waited
    assert (np.stack(list(read_stack(path))) == STACK + 1).all()


def test_patience_is_for_files_in_use_alone_and_ends():
    tried = []

    def fail(code):
        tried.append(code)
        error = PermissionError(13, "Access is denied")
        error.winerror = code
        raise error

    for code, times in ((None, 1), (3, 1), (5, 3), (32, 3)):
        tried.clear()
        with pytest.raises(PermissionError):
            patiently(fail, code)
        assert len(tried) == times


@pytest.mark.parametrize("name", ["a.tif", "a.ome.zarr"])
def test_the_longest_path_that_is_let_pass_can_be_written(tmp_path, monkeypatch, name):
    monkeypatch.setattr(whole_files, "_longest_path", lambda: 259)

    def passes(letters):
        path = tmp_path / ("d" * letters) / name
        path.parent.mkdir()
        with suppress(InputError):
            check_folder(path)
            return True
        return False

    letters = next(letters for letters in range(240, 0, -1) if passes(letters))
    path = tmp_path / ("d" * letters) / name
    stack = np.zeros((11, 2, 2, 8, 8), np.uint8)
    with law_of_windows(longest=259):
        save_stack(path, stack, axes="TZCYX")
    monkeypatch.undo()
    with law_of_windows(longest=len(str(path)) + 10), pytest.raises((OSError, OutputError), match="too long"):
        save_stack(path.with_name(f"b{name}"), stack, axes="TZCYX")


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


def test_an_ome_zarr_is_replaced_while_it_is_read_lazily_and_a_tiff_file_after_that(tmp_path):
    for name in ("a.tif", "a.ome.zarr"):
        path = tmp_path / name
        save_stack(path, STACK, axes="TYX")
        shown = read_stack(path)
        assert (shown[0] == STACK[0]).all()
        if name == "a.tif":
            with pytest.raises(OutputError, match="Close what has it open, such as a layer"):
                save_stack(path, STACK + 1, axes="TYX")
            assert (shown[1] == STACK[1]).all()
            del shown
        save_stack(path, STACK + 1, axes="TYX")
        assert (np.stack(list(read_stack(path))) == STACK + 1).all()
