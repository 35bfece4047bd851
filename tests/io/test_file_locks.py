"""One run at a time makes a file, however runs end."""

import os
import signal
import subprocess
import sys
import threading
from itertools import islice

import numpy as np
import pytest
from fixtures.random_models import make_model

from napari_care_losses.errors import InputError, OutputError
from napari_care_losses.images.frames import Frames
from napari_care_losses.io.stacks import save_frames, save_stack
from napari_care_losses.io.whole_files import locked
from napari_care_losses.restoration.parameters import RunOptions
from napari_care_losses.restoration.to_file import restore_to_file
from napari_care_losses.training.checkpoint import state_path
from napari_care_losses.training.to_file import train_to_file

STACK = np.random.default_rng(0).integers(0, 100, (4, 32, 32)).astype(np.uint16)

HOLD = """
import sys, time, pathlib
from napari_care_losses.io.whole_files import locked
with locked(pathlib.Path(sys.argv[1])):
    print("locked", flush=True)
    time.sleep(60)
"""


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_a_file_is_locked_once_and_nothing_is_left(tmp_path):
    path = tmp_path / "m.safetensors"
    with locked(path), pytest.raises(InputError, match="is being made by another run"), locked(path):
        pytest.fail("locked twice")
    with locked(path), locked(tmp_path / "other.tif"):
        pass
    assert names(tmp_path) == []


def test_threads_of_one_process_lock_each_other_out(tmp_path):
    refused = []

    def lock():
        try:
            with locked(tmp_path / "m"):
                pass
        except InputError:
            refused.append(True)

    with locked(tmp_path / "m"):
        thread = threading.Thread(target=lock)
        thread.start()
        thread.join()
    assert refused == [True]


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGKILL")
def test_the_lock_of_another_process_holds_until_it_is_killed(tmp_path):
    path = tmp_path / "m.safetensors"
    with subprocess.Popen([sys.executable, "-c", HOLD, path], stdout=subprocess.PIPE) as process:
        process.stdout.readline()
        with pytest.raises(InputError, match="another run"), locked(path):
            pass
        os.kill(process.pid, signal.SIGKILL)
    with locked(path):
        pass
    assert names(tmp_path) == []


def test_a_missing_folder_and_one_that_is_no_folder(tmp_path):
    with pytest.raises(InputError, match="does not exist"), locked(tmp_path / "none" / "m"):
        pass
    (tmp_path / "m").mkdir()
    (tmp_path / ".m.lock").mkdir()
    with pytest.raises(OutputError, match="cannot be written"), locked(tmp_path / "m"):
        pass


@pytest.mark.parametrize("name", ["out.tif", "out.ome.zarr"])
def test_two_restorations_never_make_one_file(tmp_path, name):
    out = tmp_path / name
    first = restore_to_file(Frames(STACK), make_model(), out, run=RunOptions(device="cpu"))
    list(islice(first, 2))
    for second in (
        restore_to_file(Frames(STACK), make_model(), out, run=RunOptions(device="cpu", resume=True)),
        save_frames(out, Frames(STACK)),
    ):
        with pytest.raises(InputError, match="another run"):
            next(second)
    with pytest.raises(InputError, match="another run"):
        save_stack(out, Frames(STACK))
    assert len(list(first)) == 2
    assert names(tmp_path) == [name]


def test_two_trainings_never_make_one_model(tmp_path):
    from fixtures.toy_trainings import trainer

    path = tmp_path / "m.safetensors"
    first = train_to_file(trainer(), path)
    list(islice(first, 8))
    with pytest.raises(InputError, match="another run"):
        next(train_to_file(trainer(), path, resume=True))
    list(first)
    assert names(tmp_path) == [state_path(path).name, path.name]
