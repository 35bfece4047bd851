"""TIFF files being written: by whole pages, as a block, half-written."""

import numpy as np
import pytest
import tifffile
from fixtures.growing_files import frames_of, looked_at, stays

from napari_care_losses.errors import InputError
from napari_care_losses.following.sources.tiff import TiffSource


def grown(path, tmp_path, source):
    """Write a finished file byte by byte in five steps; return how many frames were there after each."""
    data, counts = path.read_bytes(), []
    target = tmp_path / "grows.tif"
    for share in (0.3, 0.5, 0.75, 0.9, 1.0):
        with target.open("ab") as file:
            file.write(data[target.stat().st_size : int(share * len(data))])
        counts.append(source.poll().count)
    return counts


@pytest.mark.parametrize("options", [{}, {"compression": "zlib"}, {"bigtiff": True}, {"byteorder": ">"}])
def test_a_half_written_page_is_waited_for(tmp_path, options):
    frames = frames_of(4, (64, 64))
    for number, frame in enumerate(frames):
        tifffile.imwrite(tmp_path / "whole.tif", frame, append=number > 0, photometric="minisblack", **options)
        options.pop("byteorder", None)
        options.pop("bigtiff", None)
    source = TiffSource(tmp_path / "grows.tif")
    counts = grown(tmp_path / "whole.tif", tmp_path, source)
    assert counts == sorted(counts) and counts[0] < 4
    looked_at(source, 4)
    for number in range(4):
        np.testing.assert_array_equal(source.frame(number), frames[number])


def test_frames_of_a_movie_that_tifffile_is_writing_come_before_their_pages(tmp_path):
    frames, path = frames_of(5, (64, 64)), tmp_path / "movie.tif"
    source = TiffSource(path)
    with tifffile.TiffWriter(path) as tiff:
        for frame in frames[:3]:
            tiff.write(frame, contiguous=True, photometric="minisblack")
        tiff.filehandle.flush()
        assert looked_at(source, 3).count == 3
        np.testing.assert_array_equal(source.frame(2), frames[2])
        for frame in frames[3:]:
            tiff.write(frame, contiguous=True, photometric="minisblack")
    looked_at(source, 5)
    stays(source, 5)
    np.testing.assert_array_equal(source.frame(4), frames[4])


def test_a_hyperstack_of_imagej_has_channels_and_planes_of_a_time_point(tmp_path):
    frames = frames_of(12).reshape(3, 2, 2, 24, 28)
    tifffile.imwrite(
        tmp_path / "whole.tif", frames, imagej=True, metadata={"axes": "TZCYX", "finterval": 2.0, "unit": "um"}
    )
    data = (tmp_path / "whole.tif").read_bytes()
    path = tmp_path / "grows.tif"
    with tifffile.TiffFile(tmp_path / "whole.tif") as tiff:
        start = tiff.pages.first.dataoffsets[0]
    path.write_bytes(data[: start + frames[0].nbytes + 100])
    source = TiffSource(path)
    looked_at(source, 4)
    stays(source, 4, 0.3)
    path.write_bytes(data)
    looked_at(source, 12)
    assert (source.layout.axes, source.layout.inner) == ("TZCYX", (2, 2))
    assert source.layout.calibration.time_step == 2.0
    np.testing.assert_array_equal(source.frame(11), frames[2, 1, 1])


def test_pages_of_ome_come_by_channel_and_plane(tmp_path):
    frames = frames_of(8).reshape(4, 2, 24, 28)
    tifffile.imwrite(
        tmp_path / "movie.ome.tif",
        frames,
        metadata={"axes": "TCYX", "PhysicalSizeX": 0.1, "PhysicalSizeY": 0.1, "PhysicalSizeXUnit": "um"},
    )
    source = TiffSource(tmp_path / "movie.ome.tif")
    looked_at(source, 8)
    assert (source.layout.axes, source.layout.inner) == ("TCYX", (2,))
    assert source.layout.calibration.pixel_size == pytest.approx((0.1, 0.1))
    np.testing.assert_array_equal(source.frame(5), frames[2, 1])


def test_all_times_of_one_channel_first_are_refused(tmp_path):
    frames = frames_of(8).reshape(2, 4, 24, 28)
    tifffile.imwrite(tmp_path / "movie.ome.tif", frames, metadata={"axes": "CTYX"})
    with pytest.raises(InputError, match="all time points of one channel"):
        TiffSource(tmp_path / "movie.ome.tif").poll()


def test_pages_of_another_shape_are_left_out_and_said(tmp_path):
    path = tmp_path / "movie.tif"
    for number, shape in enumerate([(24, 28), (12, 14), (24, 28)]):
        tifffile.imwrite(path, frames_of(1, shape)[0], append=number > 0, photometric="minisblack")
    source = TiffSource(path)
    assert "1 pages of another shape were left out" in looked_at(source, 2).note


def test_a_shorter_file_is_another_one(tmp_path):
    path = tmp_path / "movie.tif"
    tifffile.imwrite(path, frames_of(3), photometric="minisblack")
    source = TiffSource(path)
    looked_at(source, 3)
    tifffile.imwrite(path, frames_of(1), photometric="minisblack")
    with pytest.raises(InputError, match="has become shorter"):
        source.poll()


def test_what_is_no_tiff_is_waited_for_with_a_reason(tmp_path):
    path = tmp_path / "movie.tif"
    path.write_bytes(b"II")
    source = TiffSource(path)
    assert source.poll().count == 0
    assert "Waiting for its first frame" in source.poll().note
