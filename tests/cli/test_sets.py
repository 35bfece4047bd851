"""``restore`` and ``train`` of sets of several files, as Bruker and Micro-Manager write them."""

from pathlib import Path

import numpy as np
import pytest
from fixtures.acquisitions import (
    PIXEL_SIZE,
    TIME_STEP,
    Z_STEP,
    acquired,
    write_bruker,
    write_micro_manager_files,
    write_mmstack,
    write_ndtiff,
)
from fixtures.cli_runs import QUICK, names, save_model, status_of

from napari_care_losses.images.frames import Frames
from napari_care_losses.io.stacks import read_stack, save_stack
from napari_care_losses.training.pair_sources import pair_files

pytestmark = pytest.mark.usefixtures("tiny_preset", "folder")

RESTORE = ("restore", "m.safetensors")
PIXELS = acquired(3, 2, 2)
SETS = {
    "bruker": (write_bruker, "TSeries-01012024-1200-001"),
    "micro_manager": (lambda path, pixels: write_micro_manager_files(path.parent, pixels, path.name), None),
    "mmstack": (lambda path, pixels: write_mmstack(path, [pixels], per_file=5), "cells_1_MMStack.ome"),
    "ndtiff": (lambda path, pixels: write_ndtiff(path, pixels, per_file=5), "cells_NDTiffStack"),
}


@pytest.fixture(autouse=True)
def model(folder):
    save_model(folder / "m.safetensors")


def pixels_of(path):
    return np.stack(list(read_stack(Path(path))))


@pytest.mark.parametrize("kind", SETS)
def test_a_set_is_restored_once_however_it_is_named(folder, kind):
    write, name = SETS[kind]
    (folder / "data").mkdir()
    files = write(folder / "data" / "in", PIXELS)
    save_stack("whole.tif", Frames(PIXELS, "TZCYX"))
    assert status_of(*RESTORE, "whole.tif", "--out", "right.tif") == 0
    assert status_of(*RESTORE, files[-1], "--out", "file.tif") == 0
    assert status_of(*RESTORE, "data/in", "--out", "folder") == 0
    assert status_of(*RESTORE, *files, "--out", "files") == 0
    result = f"{name or 'data_in'}_restored-m.tif"
    assert names(folder / "folder") == names(folder / "files") == [result]
    for path in ("file.tif", f"folder/{result}", f"files/{result}"):
        np.testing.assert_array_equal(pixels_of(path), pixels_of("right.tif"))
        found = read_stack(path)
        assert found.axes == "TZCYX"
        assert [one["label"] for one in found.channels] == ["Red", "Green"]
        assert found.calibration.pixel_size == pytest.approx((PIXEL_SIZE, PIXEL_SIZE))
        assert found.calibration.z_step == pytest.approx(Z_STEP)
        if kind != "ndtiff":
            assert found.calibration.time_step == pytest.approx(TIME_STEP)


@pytest.mark.parametrize("kind", ["bruker", "micro_manager", "mmstack"])
def test_missing_planes_are_counted_refused_or_left_out(folder, capsys, kind):
    write, name = SETS[kind]
    (folder / "data").mkdir()
    files = write(folder / "data" / "in", PIXELS)
    files[-1].unlink()
    before = names(folder)
    assert status_of(*RESTORE, files[0], "--out", "out.tif") == 2
    error = capsys.readouterr().err
    assert "of 12 frames are missing" in error
    assert "--incomplete" in error
    assert names(folder) == before
    assert status_of(*RESTORE, files[0], "--out", "out.tif", "--incomplete") == 0
    assert "2 of 3 steps along T are whole" in capsys.readouterr().err
    save_stack("two.tif", Frames(PIXELS[:2], "TZCYX"))
    assert status_of(*RESTORE, "two.tif", "--out", "right.tif") == 0
    np.testing.assert_array_equal(pixels_of("out.tif"), pixels_of("right.tif"))
    assert status_of(*RESTORE, "data/in", "--out", "out") == 1
    assert names(folder / "out") == []
    assert status_of(*RESTORE, "data/in", "--out", "out", "--incomplete") == 0
    assert names(folder / "out") == [f"{name or 'data_in'}_restored-m.tif"]


def test_positions_have_results_of_their_own(folder):
    for number in range(2):
        write_micro_manager_files(folder / "cells", acquired(3, seed=number), f"Pos{number}", number=number)
    assert status_of(*RESTORE, "cells", "--out", "out") == 0
    assert names(folder / "out") == ["cells_Pos0_restored-m.tif", "cells_Pos1_restored-m.tif"]
    files = write_bruker(folder / "fields", acquired(4), positions=[(0, 0), (500, 0)])
    assert status_of(*RESTORE, files[0], "--series", "all", "--out", "fields_out") == 0
    assert len(names(folder / "fields_out")) == 2
    assert len(pixels_of(next((folder / "fields_out").iterdir()))) == 2


def test_a_result_never_replaces_a_file_of_its_input(folder, capsys):
    files = write_bruker(folder / "in", PIXELS)
    before = files[3].read_bytes()
    assert status_of(*RESTORE, files[0], "--out", files[3]) == 2
    assert "a file of its input" in capsys.readouterr().err
    assert files[3].read_bytes() == before


def test_a_run_is_not_resumed_when_any_file_of_the_set_changed(folder, capsys):
    files = write_bruker(folder / "in", PIXELS)
    command = (*RESTORE, files[0], "--out", "out.tif", "--resume")
    assert status_of(*command) == 0
    first = pixels_of("out.tif")
    write_bruker(folder / "in", acquired(3, 2, 2, seed=5))
    assert status_of(*command) == 0
    assert (pixels_of("out.tif") != first).any()


def test_sets_are_pairs_by_file_and_by_folder(folder):
    shots = acquired(4)
    low = write_micro_manager_files(folder / "low", shots, "Pos0")
    high = write_micro_manager_files(folder / "high", shots * 3 + shots % 7, "Pos0")
    pairs, left_over = pair_files([folder / "low"], [folder / "high"])
    assert [(one.parent.parent.name, other.parent.parent.name) for one, other in pairs] == [("low", "high")]
    assert left_over == ""
    for choice in ((low[2], high[0]), ("low", "high")):
        command = ("train", "--low", choice[0], "--high", choice[1], "--loss", "mae", "--out", "new.safetensors")
        assert status_of(*command, *QUICK, "--steps", 2, "--steps-per-epoch", 2) == 0
        Path("new.safetensors").unlink()
