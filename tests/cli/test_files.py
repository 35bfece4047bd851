"""The command line with OME-Zarr in place of TIFF, and with many files at once."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import tifffile
from fixtures.cli_runs import names, save_model, status_of, train

from napari_care_losses.errors import InputError
from napari_care_losses.images.frames import Calibration, Frames
from napari_care_losses.io.stacks import read_stack, save_stack
from napari_care_losses.io.tiff_reader import read_tiff
from napari_care_losses.models.model import load_model

pytestmark = pytest.mark.usefixtures("tiny_preset", "folder")

RESTORE = ("restore", "m.safetensors")


def to_zarr(name, version="0.5"):
    out = Path(name).with_suffix(".ome.zarr")
    frames = Frames(read_tiff(Path(name)).data, "TYX", Calibration(pixel_size=(0.1, 0.1), time_step=2.0))
    save_stack(out, frames, zarr_version=version)
    return out


def pixels(path):
    return np.stack(list(read_stack(Path(path))))


class TestOmeZarr:
    @pytest.mark.parametrize("version", ["0.4", "0.5"])
    def test_restores_from_and_into_it_with_its_calibration(self, folder, version):
        save_model(folder / "m.safetensors")
        source = to_zarr("low.tif", version)
        options = ("--normalization", "stack", "--tile-size", 32)
        assert status_of(*RESTORE, "low.tif", "--out", "a.tif", *options) == 0
        assert status_of(*RESTORE, source, "--out", "b.ome.zarr", "--ome-zarr", version, *options) == 0
        np.testing.assert_array_equal(pixels("b.ome.zarr"), tifffile.imread("a.tif"))
        assert (folder / "b.ome.zarr" / "zarr.json").exists() == (version == "0.5")
        calibration = read_stack(folder / "b.ome.zarr").calibration
        assert calibration == Calibration(pixel_size=(0.1, 0.1), time_step=2.0)

    def test_a_run_is_resumed_and_a_finished_one_ends_at_once(self, folder, capsys):
        save_model(folder / "m.safetensors")
        command = (*RESTORE, "low.tif", "--out", "out.ome.zarr", "--resume")
        assert status_of(*command) == 0
        before = (folder / "out.ome.zarr").stat().st_mtime_ns
        assert status_of(*command) == 0
        assert (folder / "out.ome.zarr").stat().st_mtime_ns == before
        assert status_of(*command[:-1]) == 0
        assert (folder / "out.ome.zarr").stat().st_mtime_ns != before
        assert status_of(*command, "--ome-zarr", "0.4") == 0
        assert (folder / "out.ome.zarr" / ".zattrs").exists()

    def test_an_image_inside_the_output_is_never_overwritten(self, folder, capsys):
        save_model(folder / "m.safetensors")
        (folder / "outer.zarr").mkdir()
        shutil.move(to_zarr("low.tif"), folder / "outer.zarr" / "0")
        (folder / "outer.zarr" / ".zgroup").write_text('{"zarr_format": 2}')
        assert status_of(*RESTORE, "outer.zarr/0", "--out", "outer.zarr") == 2
        assert "would overwrite its input" in capsys.readouterr().err

    def test_scale_out_and_integers(self, folder):
        from napari_care_losses.models.architecture import Architecture

        save_model(folder / "m.safetensors", Architecture(kernel_size=3, filters=2, depth=1, predicts_scale=True))
        more = ("--scale-out", "s.ome.zarr", "--dtype", "uint16")
        assert status_of(*RESTORE, "low.tif", "--out", "out.ome.zarr", *more) == 0
        assert read_stack(folder / "out.ome.zarr").dtype == np.uint16
        assert pixels("s.ome.zarr").min() > 0

    def test_trains_on_it_as_on_tiff(self, folder):
        assert train(out="a.safetensors") == 0
        for name in ("low", "high"):
            to_zarr(f"{name}.tif")
            shutil.move(f"{name}.tif", f"{name}_kept.tif")
            shutil.move(f"{name}.ome.zarr", f"{name}.tif")
        # it is known by what it is, not by its name alone
        assert train(out="b.safetensors") == 0
        first, second = (load_model(folder / f"{name}.safetensors") for name in "ab")
        assert all((first.weights[name] == value).all() for name, value in second.weights.items())

    def test_evaluates_and_compares_it(self, folder, capsys):
        to_zarr("low.tif"), to_zarr("high.tif")
        found = []
        for low, high in (("low.tif", "high.tif"), ("low.ome.zarr", "high.tif"), ("low.ome.zarr", "high.ome.zarr")):
            assert status_of("evaluate", "--restored", low, "--truth", high, "--json") == 0
            found.append(json.loads(capsys.readouterr().out))
        assert found[0] == found[1] == found[2]
        save_model(folder / "m.safetensors")
        files = ("low.ome.zarr", "--truth", "high.ome.zarr", "--out", "report.html")
        assert status_of("compare", *files, "--methods", "m.safetensors") == 0
        assert (folder / "report.html").exists()

    def test_axes_in_another_order_are_brought_together(self, folder, capsys):
        stack = tifffile.imread("high.tif").reshape(2, 3, 28, 24)
        save_stack(folder / "z.tif", Frames(stack, "ZTYX"))
        save_stack(folder / "z.ome.zarr", Frames(stack + 1, "ZTYX"))
        assert read_stack(folder / "z.ome.zarr").axes == "TZYX"
        assert status_of("evaluate", "--restored", "z.ome.zarr", "--truth", "z.tif", "--json") == 0
        assert json.loads(capsys.readouterr().out)["mean"]["restored"]["ssim"] == pytest.approx(1)


class TestManyFiles:
    @pytest.fixture
    def stacks(self, folder):
        """Make a folder with two TIFF files and an OME-Zarr image."""
        save_model(folder / "m.safetensors")
        (folder / "in").mkdir()
        shutil.copy("low.tif", "in/a.tif")
        shutil.copy("high.tif", "in/b.tif")
        to_zarr("low.tif").rename("in/c.ome.zarr")
        return folder / "in"

    def test_a_folder_is_restored_file_by_file_in_the_format_of_each(self, folder, stacks, capsys):
        assert status_of(*RESTORE, "in", "--out", "out") == 0
        said = capsys.readouterr()
        assert said.out.endswith("out: 3 of 3 files restored, 0 failed\n")
        assert said.err == ""
        assert names(folder / "out") == ["a_restored-m.tif", "b_restored-m.tif", "c_restored-m.ome.zarr"]
        for name in ("low", "high"):
            assert status_of(*RESTORE, f"{name}.tif", "--out", f"{name}_alone.tif") == 0
        np.testing.assert_array_equal(pixels("out/a_restored-m.tif"), pixels("low_alone.tif"))
        np.testing.assert_array_equal(pixels("out/b_restored-m.tif"), pixels("high_alone.tif"))
        np.testing.assert_array_equal(pixels("out/c_restored-m.ome.zarr"), pixels("low_alone.tif"))

    def test_files_named_one_by_one_in_one_format_and_only_some_frames(self, folder, stacks):
        options = ("--out", "out", "--format", "ome-zarr", "--frames", "1:4", "--dtype", "uint16")
        assert status_of(*RESTORE, "in/a.tif", "in/c.ome.zarr", *options) == 0
        assert names(folder / "out") == ["a_restored-m.ome.zarr", "c_restored-m.ome.zarr"]
        restored = read_stack(folder / "out" / "a_restored-m.ome.zarr")
        assert (len(restored), restored.dtype) == (3, np.uint16)

    def test_one_file_into_a_folder_that_is_there(self, folder, stacks):
        (folder / "out").mkdir()
        assert status_of(*RESTORE, "low.tif", "--out", "out") == 0
        assert names(folder / "out") == ["low_restored-m.tif"]

    def test_a_failed_file_is_reported_the_rest_done_and_the_status_is_1(self, folder, stacks, capsys):
        (stacks / "aa.tif").write_bytes((stacks / "a.tif").read_bytes()[:700])
        assert status_of(*RESTORE, "in", "missing.tif", "--out", "out") == 1
        said = capsys.readouterr()
        assert "in/aa.tif: failed. " in said.out
        assert "missing.tif: failed. There is no file missing.tif" in said.out
        assert "3 of 5 files restored, 2 failed" in said.out
        assert said.err.startswith("napari-care-losses: error: in/aa.tif: ")
        assert said.err.count("\n") == 1
        assert len(names(folder / "out")) == 3

    def test_resume_does_only_what_is_missing(self, folder, stacks):
        assert status_of(*RESTORE, "in", "--out", "out") == 0
        before = {name: (folder / "out" / name).stat().st_mtime_ns for name in names(folder / "out")}
        (folder / "out" / "b_restored-m.tif").unlink()
        assert status_of(*RESTORE, "in", "--out", "out", "--resume") == 0
        after = {name: (folder / "out" / name).stat().st_mtime_ns for name in names(folder / "out")}
        assert [name for name in before if after[name] != before[name]] == ["b_restored-m.tif"]
        assert status_of(*RESTORE, "in", "--out", "out") == 0
        assert (folder / "out" / "a_restored-m.tif").stat().st_mtime_ns != before["a_restored-m.tif"]

    def test_a_missing_folder_is_refused(self, folder, stacks, capsys):
        assert status_of(*RESTORE, "in", "--out", "none/out") == 2
        assert "none/out cannot be made" in capsys.readouterr().err


def test_what_is_no_image_is_called_by_its_name(tmp_path):
    for name, start, reason in (
        ("a.ome.zarr.zip", b"PK\x03\x04", "a ZIP archive: unpack it"),
        ("a.ome.zarr", b"PK\x03\x04", "a ZIP archive: unpack it"),
        ("a.tif", b"\x89HDF\r\n", "an HDF5 file"),
    ):
        (tmp_path / name).write_bytes(start + bytes(99))
        with pytest.raises(InputError, match=f"is {reason}"):
            read_stack(tmp_path / name)


def test_some_ranges_of_frames_are_restored_compared_and_scored(folder, capsys):
    save_model(folder / "m.safetensors")
    assert status_of(*RESTORE, "low.tif", "--out", "all.tif") == 0
    for out in ("some.tif", "some.ome.zarr"):
        assert status_of(*RESTORE, "low.tif", "--frames", "0:1,3:5", "--out", out) == 0
        np.testing.assert_array_equal(pixels(out), pixels("all.tif")[[0, 3, 4]])
    (folder / "many").mkdir()
    assert status_of(*RESTORE, "low.tif", "all.tif", "--frames", "0:1,3:5", "--out", "many") == 0
    np.testing.assert_array_equal(pixels("many/low_restored-m.tif"), pixels("some.tif"))
    capsys.readouterr()
    scores = []
    for restored in ("some.tif", "all.tif"):
        assert (
            status_of("evaluate", "--restored", restored, "--truth", "high.tif", "--frames", "0:1,3:5", "--json") == 0
        )
        scores.append(json.loads(capsys.readouterr().out))
    assert scores[0] == scores[1]
    assert len(scores[0]["frames"]) == 3
    compare = ("compare", "low.tif", "--methods", "tv", "--truth", "high.tif", "--frames", "0:1,3:5", "--out", "a.html")
    assert status_of(*compare) == 0
    assert "frames 0 up to, not including, 1, 3 up to, not including, 5" in (folder / "a.html").read_text()


def test_one_image_is_the_truth_of_a_movie(folder, capsys):
    save_stack("one.tif", pixels("high.tif")[0], axes="YX")
    save_stack("same.tif", np.repeat(pixels("high.tif")[:1], 6, axis=0), axes="TYX")
    scores = []
    for truth in ("one.tif", "same.tif"):
        assert status_of("evaluate", "--restored", "low.tif", "--truth", truth, "--json") == 0
        scores.append(capsys.readouterr().out)
    assert scores[0] == scores[1]
    assert status_of("compare", "low.tif", "--methods", "tv", "--truth", "one.tif", "--out", "a.html") == 0
