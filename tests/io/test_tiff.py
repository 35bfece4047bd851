import os

import numpy as np
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_care_losses.errors import InputError
from napari_care_losses.images.frames import Calibration, Frames
from napari_care_losses.io.stacks import save_stack
from napari_care_losses.io.tiff_reader import read_tiff
from napari_care_losses.io.tiff_writer import TiffStackWriter

CALIBRATION = Calibration(pixel_size=(0.1, 0.2), z_step=0.5, time_step=0.4)


@settings(max_examples=25, deadline=None)
@given(
    axes=st.sampled_from(["YX", "TYX", "ZYX", "CYX", "TZYX", "CTYX", "TZCYX"]),
    dtype=st.sampled_from(["uint8", "uint16", "int16", "float32", "float64", ">u2"]),
    seed=st.integers(0, 99),
)
def test_what_is_written_is_read_again(tmp_path_factory, axes, dtype, seed):
    rng = np.random.default_rng(seed)
    array = rng.integers(0, 100, (*rng.integers(2, 4, len(axes) - 2), 17, 23)).astype(dtype)
    path = tmp_path_factory.mktemp("tiff") / "stack.tif"
    save_stack(path, Frames(array, axes, CALIBRATION))
    frames = read_tiff(path)
    assert frames.axes == axes
    np.testing.assert_array_equal(np.stack(list(frames)).reshape(array.shape), array)
    assert frames.calibration.pixel_size == pytest.approx((0.1, 0.2))
    assert frames.calibration.time_step == (0.4 if "T" in axes else None)
    assert frames.calibration.z_step == (0.5 if "Z" in axes else None)


@pytest.mark.parametrize(
    ("options", "axes"),
    [
        ({"imagej": True, "metadata": {"axes": "TYX", "unit": "um", "finterval": 0.4}, "resolution": (5, 10)}, "TYX"),
        ({"ome": True, "metadata": {"axes": "ZYX"}}, "ZYX"),
        ({"compression": "zlib"}, "TYX"),
        ({"compression": "lzw", "predictor": True}, "TYX"),
        ({"compression": "zstd"}, "TYX"),
        ({"bigtiff": True}, "TYX"),
        ({"tile": (16, 16)}, "TYX"),
    ],
)
def test_reads_the_kinds_of_tiff_a_microscope_writes(tmp_path, options, axes):
    array = np.arange(3 * 32 * 48, dtype=np.uint16).reshape(3, 32, 48)
    tifffile.imwrite(tmp_path / "a.tif", array, photometric="minisblack", **options)
    frames = read_tiff(tmp_path / "a.tif")
    assert frames.axes == axes
    np.testing.assert_array_equal(np.stack(list(frames)), array)
    if "imagej" in options:
        assert frames.calibration == Calibration(pixel_size=(0.1, 0.2), time_step=0.4)


@pytest.mark.parametrize(("dtype", "stored"), [("bool", "uint8"), ("float16", "float32"), ("int64", None)])
def test_types_that_ome_tiff_lacks_are_stored_as_wider_ones_or_refused(tmp_path, dtype, stored):
    frames = Frames(np.eye(8).astype(dtype))
    if stored is None:
        with pytest.raises(InputError, match="cannot store pixels of int64"):
            save_stack(tmp_path / "a.tif", frames)
        assert not list(tmp_path.iterdir())
        return
    save_stack(tmp_path / "a.tif", frames)
    assert read_tiff(tmp_path / "a.tif").dtype == stored
    np.testing.assert_array_equal(read_tiff(tmp_path / "a.tif")[0], np.eye(8))


def test_thousands_of_strips_are_read_as_one_page(tmp_path):
    array = np.arange(2 * 64 * 16, dtype=np.uint16).reshape(2, 64, 16)
    tifffile.imwrite(tmp_path / "a.tif", array, photometric="minisblack", rowsperstrip=1)
    frames = read_tiff(tmp_path / "a.tif")
    assert frames.data.chunks == (1, 64, 16)
    np.testing.assert_array_equal(np.stack(list(frames)), array)


def test_errors_tell_what_is_wrong(tmp_path):
    (tmp_path / "text.tif").write_text("no image")
    tifffile.imwrite(tmp_path / "rgb.tif", np.zeros((8, 8, 3), np.uint8), photometric="rgb")
    tifffile.imwrite(tmp_path / "cut.tif", np.zeros((50, 64, 64), np.uint16))
    (tmp_path / "cut.tif").write_bytes((tmp_path / "cut.tif").read_bytes()[:200])
    for name, message in (
        ("none", "no file"),
        ("text", "cannot be read"),
        ("rgb", "RGB"),
        ("cut", "cannot be read|damaged"),
    ):
        with pytest.raises(InputError, match=message):
            list(read_tiff(tmp_path / f"{name}.tif"))


def test_no_reader_takes_a_partial_file_for_a_whole_one(tmp_path):
    frames = Frames(np.ones((3, 8, 8), np.float32))
    stack = TiffStackWriter(tmp_path / "out.tif", frames, job={}, resume=False)
    stack.write(0, frames[0])
    partial = tmp_path / "out.tif.partial"
    assert partial.read_bytes()[:4] == bytes(4)
    for read in (tifffile.imread, lambda path: list(read_tiff(path))):
        with pytest.raises((tifffile.TiffFileError, InputError)):
            read(partial)
    for index in (1, 2):
        stack.write(index, frames[index])
    stack.close()
    assert tifffile.imread(tmp_path / "out.tif").shape == (3, 8, 8)


def test_a_partial_file_that_was_cut_is_not_continued(tmp_path):
    frames = Frames(np.ones((3, 8, 8), np.float32))
    stack = TiffStackWriter(tmp_path / "out.tif", frames, job={}, resume=False)
    stack.write(0, frames[0])
    stack.suspend()
    os.truncate(tmp_path / "out.tif.partial", 400)
    again = TiffStackWriter(tmp_path / "out.tif", frames, job={}, resume=True)
    assert again.done == set()
    again.discard()


@pytest.mark.parametrize("shape", [(3, 1, 1), (3, 1, 40), (3, 40, 1), (1, 1), (4, 3, 5)])
def test_images_of_a_single_row_or_pixel_are_read(tmp_path, shape):
    array = np.arange(np.prod(shape), dtype=np.uint16).reshape(shape)
    tifffile.imwrite(tmp_path / "a.tif", array, photometric="minisblack")
    save_stack(tmp_path / "b.tif", Frames(array))
    for name in "ab":
        np.testing.assert_array_equal(np.stack(list(read_tiff(tmp_path / f"{name}.tif"))).reshape(shape), array)
