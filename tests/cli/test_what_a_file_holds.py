"""``restore`` of files that hold several images, too few frames, or grey levels that do not fit the type asked for."""

from pathlib import Path

import numpy as np
import pytest
import tifffile
import zarr
from fixtures.cli_runs import names, save_model, status_of

from napari_care_losses.images.frames import Calibration, Frames, ImageMetadata
from napari_care_losses.io.stacks import read_stack, save_stack

pytestmark = pytest.mark.usefixtures("tiny_preset", "folder")

RESTORE = ("restore", "m.safetensors")
STACK = np.random.default_rng(0).integers(90, 200, (8, 32, 32)).astype(np.uint16)


@pytest.fixture(autouse=True)
def model(folder):
    save_model(folder / "m.safetensors")


def pixels(path):
    return np.stack(list(read_stack(Path(path))))


def write_plate(path):
    """Write a plate of two wells with one and two fields; return the paths of the fields."""
    fields = [path / "A" / "1" / "0", path / "B" / "2" / "0", path / "B" / "2" / "1"]
    rows = {"plate": {"wells": [{"path": "A/1"}, {"path": "B/2"}]}}
    zarr.create_group(path, attributes={"ome": {"version": "0.5", **rows}})
    for number, field in enumerate(fields):
        images = [{"path": one.name} for one in fields if one.parent == field.parent]
        attributes = {"ome": {"version": "0.5", "well": {"images": images}}}
        zarr.open_group(field.parent, mode="a", attributes=attributes).attrs.update(attributes)
        save_stack(field.parent / "new.zarr", Frames(STACK[2 * number : 2 * number + 2], "TYX"))
        (field.parent / "new.zarr").rename(field)
    return fields


class TestMissingFrames:
    @pytest.fixture
    def stopped(self, folder):
        described = "ImageJ=1.53t\nimages=8\nframes=8\n"
        with tifffile.TiffWriter(folder / "stopped.tif") as tiff:
            for one in range(5):
                tiff.write(STACK[one], photometric="minisblack", metadata=None, description=described, compression=8)

    @pytest.mark.parametrize("normalization", ["frame", "stack", "bleaching"])
    def test_they_are_refused_or_left_out_and_never_made_up(self, stopped, capsys, normalization):
        before = names(Path())
        command = (*RESTORE, "stopped.tif", "--out", "out.tif", "--normalization", normalization)
        assert status_of(*command) == 2
        error = capsys.readouterr().err
        assert "3 of 8 frames are missing (frames 5 to 7" in error
        assert "--incomplete" in error
        assert names(Path()) == before
        assert status_of(*command, "--incomplete") == 0
        assert "5 of 8 steps along T" in capsys.readouterr().err
        save_stack("five.tif", Frames(STACK[:5], "TYX"))
        assert status_of(*RESTORE, "five.tif", "--out", "right.tif", "--normalization", normalization) == 0
        np.testing.assert_array_equal(pixels("out.tif"), pixels("right.tif"))

    def test_in_a_folder_the_others_are_restored(self, stopped, folder, capsys):
        (folder / "in").mkdir()
        (folder / "stopped.tif").rename(folder / "in" / "a.tif")
        save_stack("in/b.tif", Frames(STACK, "TYX"))
        assert status_of(*RESTORE, "in", "--out", "out") != 0
        assert names(folder / "out") == ["b_restored-m.tif"]
        capsys.readouterr()
        assert status_of(*RESTORE, "in", "--out", "out", "--incomplete") == 0
        assert "5 of 8 steps along T" in capsys.readouterr().out
        assert len(pixels("out/a_restored-m.tif")) == 5


class TestSeries:
    def test_of_several_images_one_or_all_are_restored(self, folder, capsys):
        with tifffile.TiffWriter("positions.ome.tif", ome=True) as tiff:
            for one in range(2):
                tiff.write(STACK[4 * one : 4 * one + 4], photometric="minisblack", metadata={"axes": "TYX"})
        assert status_of(*RESTORE, "positions.ome.tif", "--out", "out.tif") == 2
        assert "holds 2 images" in capsys.readouterr().err
        save_stack("second.tif", Frames(STACK[4:], "TYX"))
        assert status_of(*RESTORE, "second.tif", "--out", "right.tif") == 0
        assert status_of(*RESTORE, "positions.ome.tif", "--series", 1, "--out", "out.tif") == 0
        assert status_of(*RESTORE, "positions.ome.tif/1", "--out", "named.tif", "--resume") == 0
        assert status_of(*RESTORE, "positions.ome.tif", "--series", "all", "--out", "out") == 0
        assert names(folder / "out") == ["positions_0_restored-m.tif", "positions_1_restored-m.tif"]
        for path in ("out.tif", "named.tif", "out/positions_1_restored-m.tif"):
            np.testing.assert_array_equal(pixels(path), pixels("right.tif"))
        for number in ("2", "first"):
            with_number = (*RESTORE, "positions.ome.tif", "--series", number, "--out", "no.tif")
            assert status_of(*with_number) == 2
        assert status_of(*RESTORE, "positions.ome.tif", "--series", "1", "--out", "positions.ome.tif") == 2
        assert "overwrite" in capsys.readouterr().err

    @pytest.mark.parametrize("series", [(), ("--series", "all"), ("--series", "0")])
    def test_a_movie_written_page_by_page_is_one_stack(self, folder, capsys, series):
        for frame in STACK[:3]:
            tifffile.imwrite("pages.tif", frame, append=True)
        assert status_of(*RESTORE, "pages.tif", "--out", "out.tif", *series) == 0
        assert "nothing tells apart" in capsys.readouterr().err
        save_stack("three.tif", Frames(STACK[:3], "TYX"))
        assert status_of(*RESTORE, "three.tif", "--out", "right.tif") == 0
        np.testing.assert_array_equal(pixels("out.tif"), pixels("right.tif"))

    def test_fields_of_a_plate_have_names_that_tell_them_apart(self, folder):
        fields = write_plate(folder / "p.zarr")
        assert status_of(*RESTORE, *fields[:2], "--out", "named") == 0
        assert names(folder / "named") == ["p_A_1_0_restored-m.ome.zarr", "p_B_2_0_restored-m.ome.zarr"]
        assert status_of(*RESTORE, "p.zarr", "--series", "all", "--out", "all") == 0
        assert len(names(folder / "all")) == 3
        save_stack("third.tif", Frames(STACK[4:6], "TYX"))
        assert status_of(*RESTORE, "third.tif", "--out", "right.tif") == 0
        np.testing.assert_array_equal(pixels("all/p_B_2_1_restored-m.ome.zarr"), pixels("right.tif"))


@pytest.mark.parametrize("out", ["out.tif", "out.ome.zarr"])
@pytest.mark.parametrize("suffix", [".tif", ".ome.zarr"])
def test_channels_and_stage_position_are_those_of_the_input(folder, suffix, out):
    channels = [{"label": "DAPI", "color": "0000FF"}, {"label": "GFP", "color": "00FF00"}]
    metadata = ImageMetadata(channels=channels, position={"Y": (12.0, "µm"), "X": (-7.0, "µm")})
    calibration = Calibration(pixel_size=(0.1, 0.1))
    save_stack(f"in{suffix}", Frames(STACK[:4].reshape(2, 2, 32, 32), "TCYX", calibration, metadata=metadata))
    assert status_of(*RESTORE, f"in{suffix}", "--out", out) == 0
    found = read_stack(Path(out))
    assert [dict(one) for one in found.channels] == channels
    assert {axis: place for axis, (place, _) in found.metadata.position.items()} == {"Y": 12.0, "X": -7.0}


class TestPixelTypes:
    @pytest.mark.parametrize(
        ("image", "dtype"),
        [
            ((STACK / 200).astype(np.float32), "uint16"),
            ((STACK / 200).astype(np.float32), "uint8"),
            ((STACK - 140.0) / 20, "uint16"),
            (STACK * 1e4, "uint16"),
            (STACK + np.uint16(300), "uint8"),
        ],
    )
    def test_a_type_in_which_the_image_is_lost_is_refused(self, folder, capsys, image, dtype):
        save_stack("in.ome.zarr", Frames(image, "TYX"))
        before = names(folder)
        command = (*RESTORE, "in.ome.zarr", "--out", "out.tif")
        assert status_of(*command, "--dtype", dtype) == 2
        assert "grey levels would be left of frame 0" in capsys.readouterr().err
        assert names(folder) == before
        assert status_of(*command) == 0

    @pytest.mark.parametrize("dtype", ["uint16", "uint8"])
    def test_grey_levels_that_fit_are_rounded(self, folder, dtype):
        save_stack("in.tif", Frames(STACK.astype(np.float32), "TYX"))
        assert status_of(*RESTORE, "in.tif", "--out", "out.tif", "--dtype", dtype) == 0
        assert read_stack("out.tif").dtype == dtype

    @pytest.mark.parametrize("name", ["x.png", "x.jpg", "x.ome", "x.tif.gz", "x"])
    def test_a_name_of_another_format_is_refused(self, folder, capsys, name):
        save_stack("in.tif", Frames(STACK, "TYX"))
        before = names(folder)
        assert status_of(*RESTORE, "in.tif", "--out", name) == 2
        assert ".tif, .tiff, .zarr" in capsys.readouterr().err
        assert names(folder) == before
