"""What files hold: several images, too few frames, grey levels that do not fit the type asked for, pixel sizes."""

from pathlib import Path

import numpy as np
import pytest
import tifffile
from fixtures.cli_runs import names, save_model, status_of, train
from fixtures.plates import field_pixels, lose, write_plate

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
        fields = [folder / "p.zarr" / field for field in write_plate(folder / "p.zarr")]
        assert status_of(*RESTORE, fields[0], fields[4], "--out", "named") == 0
        assert names(folder / "named") == ["p_A_1_0_restored-m.ome.zarr", "p_B_2_0_restored-m.ome.zarr"]
        assert status_of(*RESTORE, "p.zarr", "--series", "all", "--out", "all") == 0
        assert len(names(folder / "all")) == 6
        save_stack("last.tif", Frames(field_pixels(5), "TYX"))
        assert status_of(*RESTORE, "last.tif", "--out", "right.tif") == 0
        np.testing.assert_array_equal(pixels("all/p_B_2_1_restored-m.ome.zarr"), pixels("right.tif"))


class TestPlates:
    def test_a_plate_is_restored_into_a_plate(self, folder, capsys):
        fields = write_plate(folder / "p.zarr")
        command = (*RESTORE, "p.zarr", "--out", "out.zarr", "--frames", "1:2", "--dtype", "uint16")
        assert status_of(*command) == 0
        assert "out.zarr: a plate of 6 fields" in capsys.readouterr().out
        save_stack("last.tif", Frames(field_pixels(5)[1:], "TYX"))
        assert status_of(*RESTORE, "last.tif", "--out", "right.tif", "--dtype", "uint16") == 0
        np.testing.assert_array_equal(pixels(f"out.zarr/{fields[5]}"), pixels("right.tif"))
        assert (
            status_of(*RESTORE, "p.zarr", "--out", "out.zarr", "--frames", "1:2", "--dtype", "uint16", "--resume") == 0
        )

    def test_a_well_that_is_missing_is_named_and_left_out_when_asked(self, folder, capsys):
        write_plate(folder / "p.zarr")
        lose(folder / "p.zarr", "A/3")
        before = names(folder)
        for more in (("--out", "out.zarr"), ("--series", "all", "--out", "all")):
            assert status_of(*RESTORE, "p.zarr", *more) == 2
            assert "1 of 3 wells is missing (A/3)" in capsys.readouterr().err
            assert names(folder) == before
            assert status_of(*RESTORE, "p.zarr", *more, "--incomplete") == 0
            assert "1 of 3 wells is missing (A/3)" in capsys.readouterr().err
            before = names(folder)
        assert len(names(folder / "all")) == 4

    @pytest.mark.parametrize(
        "more", [("--out", "o.tif"), ("--out", "o.zarr", "--format", "tiff"), ("--out", "no/o.zarr")]
    )
    def test_what_cannot_be_is_refused(self, folder, more):
        write_plate(folder / "p.zarr")
        before = names(folder)
        assert status_of(*RESTORE, "p.zarr", *more) == 2
        assert status_of(*RESTORE, "p.zarr", "--out", "o.zarr", "--scale-out", "s.zarr") == 2
        assert names(folder) == before


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


@pytest.mark.parametrize(("pixel", "count"), [(0.2, 1), (0.1, 0), (None, 0)])
def test_pixel_sizes_that_differ_are_said_once(capsys, pixel, count):
    low, high = STACK, STACK // 2 + np.random.default_rng(1).integers(0, 9, STACK.shape).astype(np.uint16)
    for name, stack, size in (("low", low, 0.1), ("high", high, pixel)):
        save_stack(Path(f"{name}.tif"), Frames(stack, "TYX", Calibration(pixel_size=(size, size) if size else None)))
    assert train() == 0
    said = capsys.readouterr().err
    assert said.count("Pair low: The low image has pixels of 0.1 x 0.1 µm, the high one of 0.2 x 0.2 µm") == count
    assert said.count("pixels of") == count
