"""OME-Zarr images being written: resized, filled in any order, in chunks of several frames; partial results."""

import numpy as np
import pytest
import zarr
from fixtures.growing_files import create_image, frames_of, looked_at, stays

from napari_care_losses.errors import InputError
from napari_care_losses.following.growing_zarr import GrowingOmeZarrWriter
from napari_care_losses.following.source import Layout
from napari_care_losses.following.sources.ome_zarr import OmeZarrSource
from napari_care_losses.following.sources.open_source import open_source
from napari_care_losses.images.frames import Calibration


def test_of_an_array_of_full_length_the_frames_with_chunks_have_come(tmp_path):
    frames, path = frames_of(9), tmp_path / "movie.ome.zarr"
    create_image(path, (24, 28), shape=(9, 24, 28), chunks=(1, 12, 28))
    array, source = zarr.open_array(path / "0", mode="r+"), OmeZarrSource(path)
    for number in (0, 1, 3):
        array[number] = frames[number]
    array[4, :12] = frames[4, :12]  # one of its two chunks
    arrived = looked_at(source, 3)
    assert (arrived.count, arrived.missing) == (4, {2})
    stays(source, 3, 0.3)
    array[2], array[4] = frames[2], frames[4]
    assert looked_at(source, 5).missing == frozenset()
    for number in range(5):
        np.testing.assert_array_equal(source.frame(number), frames[number])
    assert source.layout.calibration == Calibration(pixel_size=(0.1, 0.1), time_step=2.0)


def test_channels_after_time_and_axes_of_one_step(tmp_path):
    frames, path = frames_of(6).reshape(3, 2, 24, 28), tmp_path / "movie.ome.zarr"
    create_image(path, (24, 28), axes="tczyx", shape=(0, 2, 1, 24, 28))
    source = OmeZarrSource(path)
    assert source.poll().count == 0
    array = zarr.open_array(path / "0", mode="r+")
    array.resize((3, 2, 1, 24, 28))
    array[:2, :, 0] = frames[:2]
    array[2, 0, 0] = frames[2, 0]
    looked_at(source, 4)
    stays(source, 4, 0.3)
    assert (source.layout.axes, source.layout.inner) == ("TCYX", (2,))
    np.testing.assert_array_equal(source.frame(3), frames[1, 1])


@pytest.mark.parametrize("options", [{"chunks": (4, 24, 28)}, {"chunks": (1, 24, 28), "shards": (4, 24, 28)}])
def test_empty_frames_of_a_chunk_of_several_have_not_come(tmp_path, options):
    frames, path = frames_of(6), tmp_path / "movie.ome.zarr"
    create_image(path, (24, 28), shape=(8, 24, 28), **options)
    array, source = zarr.open_array(path / "0", mode="r+"), OmeZarrSource(path)
    array[:2] = frames[:2]
    looked_at(source, 2)
    stays(source, 2)
    array[2:6] = frames[2:]
    looked_at(source, 6)
    for number in range(6):
        np.testing.assert_array_equal(source.frame(number), frames[number])


def test_our_own_result_is_followed_while_it_is_partial_and_until_it_is_whole(tmp_path):
    frames, out = frames_of(4).astype(np.float32), tmp_path / "restored.ome.zarr"
    layout = Layout(frame_shape=(24, 28), dtype=np.dtype("float32"))
    writer = GrowingOmeZarrWriter(out, layout, opening=1, job={}, resume=False)
    source = open_source(tmp_path / "restored.ome.zarr.partial")
    for number in range(3):
        writer.write(number, frames[number])
    looked_at(source, 3)
    assert not source.poll().has_ended
    writer.write(3, frames[3])
    writer.close_at(4, {})
    arrived = looked_at(source, 4)
    assert arrived.has_ended and arrived.count == 4
    np.testing.assert_array_equal(source.frame(3), frames[3])


def test_an_image_without_time_is_waited_for_with_a_reason(tmp_path):
    create_image(tmp_path / "a.ome.zarr", (24, 28), axes="zyx")
    assert "expected time" in OmeZarrSource(tmp_path / "a.ome.zarr").poll().note


def test_a_plate_is_refused(tmp_path):
    group = zarr.create_group(tmp_path / "plate.ome.zarr")
    group.attrs["ome"] = {"version": "0.5", "plate": {"rows": [], "columns": [], "wells": []}}
    with pytest.raises(InputError, match="is a plate"):
        open_source(tmp_path / "plate.ome.zarr")
