"""``restore --follow`` as a process: killed, resumed, ended by Ctrl+C; options that do not go together."""

import csv
import shlex
import signal
import sys
import time

import numpy as np
import pytest
import zarr
from fixtures.cli_runs import save_model, status_of
from fixtures.forked_programs import ForkedProgram
from fixtures.growing_files import KINDS, GrowingFiles, frames_of

from napari_care_losses.io.ome_zarr_writer import PROVENANCE
from napari_care_losses.io.stacks import read_stack
from napari_care_losses.restoration.restore_stack import RestorationParameters, restore

COUNT = 14


@pytest.fixture
def files(request, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return GrowingFiles(request.param, tmp_path, frames_of(COUNT))


def command(files, *more):
    return [
        *("restore", "m.safetensors", files.path.name, "--follow", "--out", "r.ome.zarr", "--device", "cpu"),
        *("--engine", "torch", *more),
    ]


def rows(folder):
    try:
        with (folder / "r_frames.csv").open(newline="") as file:
            return [int(row["frame"]) for row in csv.DictReader(file)]
    except FileNotFoundError:
        return []


def wait_for(condition, process, seconds=120.0):
    until = time.monotonic() + seconds
    while not condition():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < until
        time.sleep(0.02)


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGKILL")
@pytest.mark.parametrize("files", KINDS, indirect=True)
def test_killed_and_resumed_each_frame_is_restored_once(files, tmp_path):
    model = save_model("m.safetensors")
    process = ForkedProgram(*command(files))
    files.write(2)
    wait_for(lambda: len(rows(tmp_path)) >= 2, process)
    for _ in range(5):
        files.write()
    wait_for(lambda: len(rows(tmp_path)) >= 4, process)
    process.kill()
    process.communicate()
    assert not (tmp_path / "r.ome.zarr").exists()
    files.write(COUNT - files.written)
    assert status_of(*command(files, "--resume", "--until", COUNT)) == 0
    # a frame that was written when it was killed may lack its row
    assert sorted(set(rows(tmp_path))) == sorted(rows(tmp_path))
    assert len(rows(tmp_path)) >= COUNT - 1
    expected = restore(files.frames, model, RestorationParameters(engine="torch"), device="cpu", axes="TYX")
    np.testing.assert_array_equal(np.stack(list(read_stack(tmp_path / "r.ome.zarr"))), expected)
    assert not (tmp_path / "r.ome.zarr.partial.order").exists()


@pytest.mark.skipif(sys.platform == "win32", reason="Windows sends no SIGINT to one process")
@pytest.mark.parametrize("files", ["folder"], indirect=True)
def test_ctrl_c_ends_it_with_a_whole_result(files, tmp_path):
    save_model("m.safetensors")
    process = ForkedProgram(*command(files))
    files.write(3)
    wait_for(lambda: len(rows(tmp_path)) >= 1, process)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    assert "no more frames are taken" in err
    assert "r.ome.zarr: 3 frames of 24 x 28 px" in out
    assert len(read_stack(tmp_path / "r.ome.zarr")) == 3


@pytest.mark.parametrize("files", ["ome-zarr"], indirect=True)
def test_without_new_frames_it_ends_by_itself(files, capsys):
    save_model("m.safetensors")
    files.write(2)
    assert status_of(*command(files, "--idle", 0.5)) == 0
    assert "r.ome.zarr: 2 frames of 24 x 28 px" in capsys.readouterr().out


@pytest.mark.parametrize("files", ["folder"], indirect=True)
@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--follow", "--frames", "0:2"], "--frames cannot be used while frames come"),
        (["--follow", "--workers", "2"], "--workers cannot be used"),
        (["--follow", "--scale-out", "s.tif"], "--scale-out cannot be used"),
        (["--follow", "--format", "tiff"], "leave out --format tiff"),
        (["--until", "3"], "add --follow"),
        (["--follow", "--until", "0"], "expected a number from 1"),
        (["--follow", "--idle", "-1"], "expected seconds above 0"),
        (["--follow", "--idle", "0.1"], "No whole time point came from incoming"),
        (["--follow", "--normalization", "bleaching"], "smoothed over the whole movie"),
    ],
)
def test_options_that_do_not_go_together_are_refused(files, more, message, capsys):
    save_model("m.safetensors")
    assert status_of("restore", "m.safetensors", "incoming", "--out", "r.ome.zarr", *more) == 2
    assert message in capsys.readouterr().err
    assert not list(files.path.parent.glob("r*"))


@pytest.mark.parametrize("files", ["ome-zarr"], indirect=True)
def test_the_result_is_never_its_input(files, capsys):
    save_model("m.safetensors")
    assert status_of("restore", "m.safetensors", files.path.name, "--follow", "--out", files.path.name) == 2
    assert "would overwrite its input" in capsys.readouterr().err


@pytest.mark.parametrize("files", ["folder"], indirect=True)
@pytest.mark.parametrize("way", ["bash", "python"])
def test_how_a_result_was_made_makes_it_again(files, tmp_path, way, capsys):
    save_model("m.safetensors")
    files.write(3)
    options = ("--follow", "--idle", 0.5, "--engine", "torch", "--device", "cpu", "--dtype", "uint16")
    assert status_of("restore", "m.safetensors", "incoming", "--out", "r.ome.zarr", *options) == 0
    made, texts = np.stack(list(read_stack("r.ome.zarr"))), zarr.open_group("r.ome.zarr").attrs[PROVENANCE]
    assert shlex.split(texts["bash"])[-3:] == ["--follow", "--until", "3"]
    (tmp_path / "r.ome.zarr").rename(tmp_path / "first.ome.zarr")
    if way == "bash":
        assert status_of(*shlex.split(texts["bash"])[1:]) == 0
    else:
        exec(texts["python"], {})
    np.testing.assert_array_equal(np.stack(list(read_stack("r.ome.zarr"))), made)
