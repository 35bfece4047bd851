import shlex
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tifffile
import zarr
from fixtures.cli_runs import TINY, save_model, status_of, write

import napari_care_losses as ncl
from napari_care_losses.errors import InputError, ModelFileError
from napari_care_losses.images.regions import Region
from napari_care_losses.images.selection import Selection, numbered
from napari_care_losses.io.ome_zarr_writer import PROVENANCE
from napari_care_losses.models.library import find_model, model_word
from napari_care_losses.restoration.parameters import RestorationParameters, RunOptions
from napari_care_losses.restoration.record import RestorationRecord
from napari_care_losses.restoration.restore_stack import restore_frames
from napari_care_losses.restoration.to_file import restore_to_file

FOLDER = "Zellen's \u00fc (1 ms)"


@pytest.fixture
def movie(tmp_path):
    """Return a folder of an awkward name, with a model and a movie of two channels, whose noise differs by frame."""
    folder = tmp_path / FOLDER
    folder.mkdir()
    save_model(folder / "own model.safetensors", TINY)
    rng = np.random.default_rng(0)
    stack = rng.poisson(np.linspace(5, 400, 8).reshape(4, 2, 1, 1), (4, 2, 48, 56)).astype(np.uint16)
    tifffile.imwrite(folder / "my movie.ome.tif", stack, ome=True, photometric="minisblack", metadata={"axes": "TCYX"})
    return folder


def record_in(folder, **settings):
    given = {"parameters": RestorationParameters(average_flips=True, normalization="stack", tile_size=32), **settings}
    model = model_word(folder / "own model.safetensors")
    return RestorationRecord(model=model, source=folder / "my movie.ome.tif", out=folder / "out.tif", **given)


EVERY_KIND = [
    {"parameters": RestorationParameters()},
    {},
    {"channel": 1},
    {"channel": 1, "selection": Selection((1, 2), Region(0, 32, 8, 48)), "run": RunOptions(dtype="uint16")},
    {"ranges": [(0, 1), (2, 4)], "run": RunOptions(device="cpu")},
    {"selection": Selection((5,))},
    {"selection": Selection(None, Region(3, 40, 5, 50))},
]


@pytest.mark.parametrize("settings", EVERY_KIND, ids=lambda given: "-".join(given) or "flips")
def test_command_and_python_make_the_same_file(movie, settings):
    record, out = record_in(movie, **settings), movie / "out.tif"
    words = shlex.split(record.bash())
    assert words[1:] == record.words()
    assert status_of(*record.words()) == 0
    by_command = tifffile.imread(out)
    out.unlink()
    exec(record.python(), {})
    np.testing.assert_array_equal(tifffile.imread(out), by_command)
    # the result says how it was made, in the same words
    with tifffile.TiffFile(out) as file:
        description = tifffile.xml2dict(file.ome_metadata)["OME"]["Image"]["Description"]
    assert record.bash() in description and record.python() in description


def test_command_runs_in_a_process_of_its_own(movie, tmp_path):
    record = record_in(movie, selection=Selection((2, 3), Region(0, 32, 0, 40)))
    program = [sys.executable, "-m", "napari_care_losses.cli.main"]
    subprocess.run([*program, *shlex.split(record.bash())[1:]], check=True, cwd=tmp_path)
    frames, model = ncl.read_stack(record.source), ncl.load_model(movie / "own model.safetensors")
    expected = [
        step.frame.image
        for step in restore_frames(frames, model, record.parameters, indices=[2, 3], region=record.selection.region)
        if step.frame is not None
    ]
    np.testing.assert_array_equal(np.stack(list(ncl.read_stack(movie / "out.tif"))), expected)


def test_a_part_has_the_pixels_that_it_has_in_the_whole(movie):
    whole = record_in(movie)
    part = replace(whole, selection=Selection((1, 3, 5), Region(8, 40, 0, 24)), out=movie / "part.ome.zarr")
    for record in (whole, part):
        assert status_of(*record.words()) == 0
    restored, pixels = (np.stack(list(ncl.read_stack(record.out))) for record in (whole, part))
    np.testing.assert_allclose(pixels, restored[[1, 3, 5], 8:40, :24], rtol=1e-5, atol=1e-3)
    assert zarr.open_group(part.out, mode="r").attrs[PROVENANCE] == part.texts()


def test_a_stopped_part_is_resumed_as_the_same_part_only(movie):
    record = record_in(movie, selection=Selection((2, 3, 4, 5)), parameters=RestorationParameters())
    frames, model = ncl.read_stack(record.source), ncl.load_model(movie / "own model.safetensors")
    work = restore_to_file(frames, model, record.out, source=record.source, selection=record.selection)
    # two frames are written before the third is begun
    written = 0
    for step in work:
        written += step.frame is not None
        if written == 3:
            break
    work.close()
    assert status_of(*record.words(), "--resume") == 0
    resumed = tifffile.imread(record.out)
    record.out.unlink()
    assert status_of(*record.words()) == 0
    np.testing.assert_array_equal(tifffile.imread(record.out), resumed)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--only", "7:9"], "stack has 8 in all"),
        (["--only", "0:1,3:4"], "make no stack"),
        (["--region", "0:64,0:8"], "frames are 48 x 56 px"),
        (["--region", "0:8"], "expected Y0:Y1,X0:X1"),
        (["--channel", "2"], "there are 2, counted from 0"),
    ],
)
def test_parts_that_are_not_there_are_refused(movie, capsys, options, said):
    record = record_in(movie, parameters=RestorationParameters())
    assert status_of(*record.words(), *options) == 2
    assert said in capsys.readouterr().err
    assert not record.out.exists()


def test_a_part_is_of_one_image(movie, capsys):
    (movie / "results").mkdir()
    arguments = ["restore", "fft-lite", movie / "my movie.ome.tif", "--out", movie / "results", "--channel", "0"]
    assert status_of(*arguments) == 2
    assert "--channel chooses a part of one image" in capsys.readouterr().err


def test_another_file_of_the_name_is_refused(movie):
    path = movie / "own model.safetensors"
    word = model_word(path)
    assert find_model(word) == path
    save_model(path, TINY, structure="dendra")
    with pytest.raises(ModelFileError, match="another model than was asked for"):
        find_model(word)
    with pytest.raises(ModelFileError, match="There is no model file"):
        find_model(f"{movie / 'gone.safetensors'}@0123456789abcdef")


def test_names_of_the_library_are_short(model_library):
    assert model_word(find_model("fft-lite")).partition("@")[0] == "fft-lite"
    save_model(model_library / "-odd.safetensors", TINY)
    assert Path(model_word(model_library / "-odd.safetensors").rpartition("@")[0]).is_absolute()


def test_numbers_count_over_all_axes(tmp_path):
    write(tmp_path / "a.tif", np.zeros((2, 3, 8, 8), np.uint8))
    frames = ncl.read_stack(tmp_path / "a.tif")
    assert numbered(frames, [(4, 6), (0, 1)]) == (0, 4, 5)
    with pytest.raises(InputError, match="the start must come before"):
        numbered(frames, [(2, 2)])
