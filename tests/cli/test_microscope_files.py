"""The command line takes CZI, LIF and ND2 wherever it takes TIFF."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import tifffile
from fixtures.cli_runs import QUICK, names, save_model, status_of, write
from fixtures.microscope_files import write_czi, write_lif, write_nd2

from napari_care_losses.io.stacks import read_stack

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.usefixtures("tiny_preset", "folder")

RESTORE = ("restore", "m.safetensors")
OPTIONS = ("--normalization", "stack", "--tile-size", 32)
WRITERS: dict[str, Any] = {
    "czi": lambda path, movie: write_czi(path, [movie], axes="TYX"),
    "lif": lambda path, movie: write_lif(path, {"movie": ("TYX", movie)}),
    "nd2": lambda path, movie: write_nd2(path, movie, "TYX"),
}


@pytest.mark.parametrize("kind", WRITERS)
def test_a_file_is_restored_as_its_pixels_in_tiff_are(folder: Path, kind: str) -> None:
    save_model(folder / "m.safetensors")
    WRITERS[kind](folder / f"low.{kind}", tifffile.imread("low.tif"))
    assert status_of(*RESTORE, "low.tif", "--out", "a.tif", *OPTIONS) == 0
    assert status_of(*RESTORE, f"low.{kind}", "--out", "b.ome.tif", *OPTIONS) == 0
    np.testing.assert_array_equal(tifffile.imread("b.ome.tif"), tifffile.imread("a.tif"))
    restored, source = read_stack("b.ome.tif"), read_stack(f"low.{kind}")
    assert restored.calibration.pixel_size == pytest.approx(source.calibration.pixel_size)
    assert restored.calibration.time_step == source.calibration.time_step
    assert [one["label"] for one in restored.channels] == ["dye 0"]


def test_a_folder_of_all_formats(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    save_model(folder / "m.safetensors")
    movies = folder / "movies"
    movies.mkdir()
    low = tifffile.imread("low.tif")[:2]
    write(movies / "tiff.tif", low)
    for kind, writer in WRITERS.items():
        writer(movies / f"{kind}.{kind}", low)
    write_lif(movies / "many.lif", {"a": ("TYX", low), "b": ("TYX", low)})
    assert status_of(*RESTORE, "movies", "--out", "out", *OPTIONS) == 1
    assert "many.lif: It holds 2 images: 0 (2 x 28 x 24 TYX, a)" in capsys.readouterr().err
    (movies / "many.lif").unlink()
    assert status_of(*RESTORE, "movies", "--out", "out", *OPTIONS, "--resume") == 0
    assert names(folder / "out") == [f"{one}_restored-m.tif" for one in ("czi", "lif", "nd2", "tiff")]
    stacks = [tifffile.imread(path) for path in sorted((folder / "out").iterdir())]
    assert all(np.array_equal(stack, stacks[0]) for stack in stacks)


def test_one_image_of_several_by_its_number_or_all(folder: Path) -> None:
    save_model(folder / "m.safetensors")
    low = tifffile.imread("low.tif")[:2]
    write_lif(folder / "day.lif", {"a": ("TYX", low), "b": ("TYX", low + 9)})
    assert status_of(*RESTORE, "day.lif", "--out", "one.tif", "--series", 1, *OPTIONS) == 0
    assert status_of(*RESTORE, "day.lif/1", "--out", "same.tif", *OPTIONS) == 0
    assert status_of(*RESTORE, "day.lif", "--out", "out", "--series", "all", *OPTIONS) == 0
    assert names(folder / "out") == ["day_0_restored-m.tif", "day_1_restored-m.tif"]
    for other in ("same.tif", "out/day_1_restored-m.tif"):
        np.testing.assert_array_equal(tifffile.imread("one.tif"), tifffile.imread(other))


def test_pairs_from_folders_a_comparison_and_scores(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name, kind in (("low", "nd2"), ("high", "czi")):
        (folder / name).mkdir()
        stack = tifffile.imread(f"{name}.tif")
        WRITERS[kind](folder / name / f"cell1.{kind}", stack[:3])
        WRITERS[kind](folder / name / f"cell2.{kind}", stack[3:])
    steps = ("--steps", 4, "--steps-per-epoch", 2)
    assert (
        status_of("train", "--low", "low", "--high", "high", "--loss", "mae", "--out", "m.safetensors", *QUICK, *steps)
        == 0
    )
    given = ("low/cell1.nd2", "high/cell1.czi")
    capsys.readouterr()
    assert status_of("compare", given[0], "--truth", given[1], "--methods", "m.safetensors", "--out", "c.html") == 0
    assert status_of("evaluate", "--restored", given[0], "--truth", given[1]) == 0
    assert "psnr" in capsys.readouterr().out.lower()


@pytest.mark.parametrize("kind", WRITERS)
def test_an_input_is_never_written_over(folder: Path, kind: str, capsys: pytest.CaptureFixture[str]) -> None:
    save_model(folder / "m.safetensors")
    WRITERS[kind](folder / f"low.{kind}", tifffile.imread("low.tif"))
    before = (folder / f"low.{kind}").read_bytes()
    assert status_of(*RESTORE, f"low.{kind}", "--out", f"low.{kind}", *OPTIONS) == 2
    assert "would overwrite its input" in capsys.readouterr().err
    assert (folder / f"low.{kind}").read_bytes() == before
