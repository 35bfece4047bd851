"""Arrays that grow along time, or are filled frame by frame."""

import time

import dask.array as da
import numpy as np
import pytest
import zarr

from napari_care_losses.errors import InputError
from napari_care_losses.following.source import FrameGoneError
from napari_care_losses.following.sources.growing_array import GrowingArray
from napari_care_losses.images.frames import Frames


def movie(times, **options):
    return Frames(1 + np.arange(times, dtype=np.uint16)[:, None, None] * np.ones((1, 4, 6), np.uint16), **options)


def test_an_array_that_is_replaced_by_longer_ones_is_followed():
    source = GrowingArray("movie", movie(3))
    assert source.poll().count == 3
    assert source.arrival(2) is None, "it was there from the first"
    before = time.monotonic()
    source.grow(movie(5))
    assert source.poll().count == 5
    assert source.arrival(2) is None
    assert before <= source.arrival(3) <= source.arrival(4) <= time.monotonic()
    assert (source.frame(4) == 5).all()
    with pytest.raises(FrameGoneError):
        source.frame(5)


@pytest.mark.parametrize(
    "other",
    [
        Frames(np.ones((9, 5, 6), np.uint16)),
        Frames(np.ones((9, 4, 6), np.uint8)),
        movie(2),
        Frames(np.ones((9, 2, 4, 6))),
    ],
    ids=["size", "type", "shorter", "axes"],
)
def test_an_array_of_another_kind_ends_it(other):
    source = GrowingArray("movie", movie(3))
    source.grow(other)
    arrived = source.poll()
    assert arrived.has_ended
    assert source.is_changed
    assert "movie" in arrived.note


@pytest.mark.parametrize("kind", ["numpy", "zarr", "dask"])
def test_an_array_made_in_full_is_followed_as_it_is_filled(kind, tmp_path):
    if kind == "numpy":
        written = shown = np.zeros((200, 4, 6), np.uint16)
    else:
        written = zarr.create_array(tmp_path / "a.zarr", shape=(200, 4, 6), chunks=(1, 4, 6), dtype="uint16")
        shown = da.from_zarr(tmp_path / "a.zarr") if kind == "dask" else written
    for number in range(120):
        written[number] = number + 1
    source = GrowingArray("movie", Frames(shown))
    assert source.poll().count == 120
    written[120] = 7
    # a dark frame among others has come, too
    written[122] = 7
    assert source.poll().count == 123
    assert (source.frame(120) == 7).all()
    assert source.arrival(119) is None
    assert source.arrival(120) is not None
    written[199] = 7
    assert source.poll().count == 200


def test_chunks_of_several_frames_are_read_anew(tmp_path):
    written = zarr.create_array(tmp_path / "a.zarr", shape=(8, 4, 6), chunks=(8, 4, 6), dtype="uint16")
    written[0] = 5
    source = GrowingArray("movie", Frames(written))
    assert source.poll().count == 1
    written[1] = 6
    assert source.poll().count == 2
    assert (source.frame(1) == 6).all()


def test_nothing_filled_yet_is_no_frame():
    source = GrowingArray("movie", Frames(np.zeros((5, 4, 6), np.uint16)))
    assert source.poll().count == 0


def test_channels_of_each_time_point_are_counted():
    source = GrowingArray("movie", Frames(np.ones((3, 2, 4, 6), np.uint16), "TCYX"))
    assert source.layout.inner == (2,)
    assert source.poll().count == 6


def test_a_stack_whose_first_axis_is_not_time_is_refused():
    with pytest.raises(InputError, match="time as the first axis of a stack that grows, found the axes ZYX"):
        GrowingArray("stack", Frames(np.ones((3, 4, 6)), "ZYX"))
