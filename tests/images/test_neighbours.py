"""Which frames lie around a frame, and that each is read once."""

from collections import Counter

import numpy as np
import pytest
from fixtures.random_models import Spy

from napari_care_losses.errors import InputError
from napari_care_losses.images.frames import Frames
from napari_care_losses.images.neighbours import (
    NeighbourReader,
    along_neighbours,
    neighbour_axis,
    neighbour_indices,
)


def numbered(axes, *sizes):
    """Frames whose pixels are noise around 1000 times their number."""
    count = int(np.prod(sizes))
    noise = np.random.default_rng(0).random((count, 16, 20))
    return Frames((1000 * np.arange(count)[:, None, None] + noise).reshape(*sizes, 16, 20), axes)


def numbers(images):
    return [round(float(np.median(image)) / 1000) for image in images]


def test_time_comes_before_planes():
    assert neighbour_axis(numbered("TZYX", 3, 2)) == "T"
    assert neighbour_axis(numbered("TZYX", 1, 2)) == "Z"
    assert neighbour_axis(numbered("TZYX", 3, 2), "z") == "Z"


@pytest.mark.parametrize(
    ("frames", "along", "said"),
    [
        (Frames(np.zeros((8, 8))), "auto", r"along time \(T\) or the planes \(Z\) are needed.* a model of single"),
        (numbered("CYX", 3), "auto", "CYX of 3 x 16 x 20"),
        (numbered("ZYX", 3), "t", r"along time \(T\) are needed"),
        (numbered("TZYX", 3, 1), "z", r"along the planes \(Z\) are needed"),
    ],
)
def test_a_stack_without_neighbours_is_refused(frames, along, said):
    with pytest.raises(InputError, match=said):
        neighbour_axis(frames, along)


@pytest.mark.parametrize("steps", [2, 3, 4, 9])
@pytest.mark.parametrize("count", [2, 4, 6])
def test_ends_are_reflected_as_numpy_does(steps, count):
    frames, half = numbered("TYX", steps), count // 2
    # one frame repeats along a reflection's axis as long as the reflection is, so pad step by step
    expected = np.arange(steps)
    while len(expected) < steps + 2 * half:
        more = min(half - (len(expected) - steps) // 2, len(expected) - 1)
        expected = np.pad(expected, more, mode="reflect")
    found = [neighbour_indices(frames, index, count, "T") for index in range(steps)]
    assert found == [tuple(expected[index : index + count + 1].tolist()) for index in range(steps)]


def test_neighbours_are_of_the_same_channel_and_plane():
    frames = numbered("TZCYX", 5, 3, 2)
    places = np.arange(30).reshape(5, 3, 2)
    assert neighbour_indices(frames, int(places[2, 1, 1]), 4, "T") == tuple(places[:, 1, 1].tolist())
    assert neighbour_indices(frames, int(places[2, 1, 1]), 2, "Z") == tuple(places[2, :, 1].tolist())


def test_frames_that_are_not_selected_are_neighbours_too():
    part = numbered("TYX", 9).select_ranges([(3, 4), (7, 9)])
    assert [neighbour_indices(part, index, 2, "T") for index in range(3)] == [(2, 3, 4), (6, 7, 8), (7, 8, 7)]
    read = NeighbourReader(part, 2).read(0)
    assert numbers([*read.around, read.source]) == [2, 4, 3]


@pytest.mark.parametrize("axes", ["TYX", "TCYX", "ZTYX"])
def test_each_frame_is_read_once_and_few_are_kept(axes):
    frames = numbered(axes, *({"T": 12, "C": 2, "Z": 3}[axis] for axis in axes[:-2]))
    spy = Spy(frames.data.reshape(-1, 16, 20))
    spied = Frames(Indexed(frames.data, spy), axes)
    reader = NeighbourReader(spied, 4, "t")
    for index in along_neighbours(spied, "T"):
        read = reader.read(index)
        expected = neighbour_indices(spied, index, 4, "T")
        assert numbers(read.channels(read.source)) == list(expected)
        assert len(reader._kept) <= 10
    assert set(Counter(spy.read).values()) == {1}
    assert len(spy.read) == len(frames)


class Indexed:
    """An array of several leading axes whose frames are read from a spied row of them."""

    def __init__(self, data, spy):
        self.shape, self.dtype, self._spy = data.shape, data.dtype, spy

    def __getitem__(self, place):
        return self._spy[(int(np.ravel_multi_index(place, self.shape[:-2])),)]


def test_from_a_frame_outward_each_is_read_once_too():
    """The order in which a viewer asks for them."""
    spy = Spy(numbered("TYX", 30).data)
    reader = NeighbourReader(Frames(spy, "TYX"), 4)
    for offset in range(1, 16):
        reader.read(15 - offset)
        if offset < 15:
            reader.read(15 + offset)
    assert max(Counter(spy.read).values()) == 1


def test_what_is_unusable_of_a_neighbour_is_taken_from_the_next_nearer_frame():
    frames = numbered("TYX", 7)
    data = frames.data.copy()
    # blank, one corner without a value, all without a value
    data[1], data[2, :4, :4], data[4] = 0, np.nan, np.nan
    read = NeighbourReader(Frames(data, "TYX"), 6).read(3)
    assert numbers(read.around) == [0, 2, 2, 3, 5, 6]
    np.testing.assert_array_equal(read.around[2][:4, :4], data[3, :4, :4])
    np.testing.assert_array_equal(read.around[1][:4, :4], data[3, :4, :4])
    np.testing.assert_array_equal(read.around[2][4:], data[2, 4:])
    assert all(np.isfinite(image).all() for image in read.around)
