import numpy as np
import pytest
from fixtures.foreign_arrays import OnDevice, Stored
from hypothesis import given
from hypothesis import strategies as st

from napari_care_losses.errors import InputError
from napari_care_losses.images.axes import in_axes_of, named_axes_only, truth_of
from napari_care_losses.images.frames import Calibration, Frames

AXES = ["YX", "TYX", "ZYX", "CYX", "TZYX", "CTYX", "TCYX", "TZCYX", "CZTYX"]


def counted(axes):
    shape = tuple(range(2, 2 + len(axes)))
    return np.arange(np.prod(shape)).reshape(shape)


class Spy:
    """An array that notes what is read of it."""

    def __init__(self, array):
        self.array, self.shape, self.dtype, self.read = array, array.shape, array.dtype, []

    def __getitem__(self, key):
        self.read.append(key)
        return self.array[key]


@pytest.mark.parametrize("axes", AXES)
def test_frames_come_in_c_order(axes):
    array = counted(axes)
    frames = Frames(array, axes)
    assert len(frames) == np.prod(array.shape[:-2])
    np.testing.assert_array_equal(np.stack(list(frames)), array.reshape(-1, *array.shape[-2:]))


@given(st.sampled_from(AXES), st.integers(0, 20), st.integers(0, 20))
def test_select_is_slicing_along_time_or_z(axes, start, stop):
    array = counted(axes)
    frames = Frames(array, axes)
    if not 0 <= start < stop <= frames.selectable:
        with pytest.raises(InputError, match=f"{start}:{stop}"):
            frames.select(start, stop)
        return
    where = [slice(None)] * array.ndim
    first = next((i for i, axis in enumerate(axes[:-2]) if axis != "C"), None)
    if first is not None:
        where[first] = slice(start, stop)
    chosen = frames.select(start, stop)
    expected = array[tuple(where)]
    assert chosen.shape == expected.shape
    np.testing.assert_array_equal(np.stack(list(chosen)).reshape(expected.shape), expected)


def test_selecting_twice_counts_from_the_selection():
    frames = Frames(np.arange(10)[:, None, None] * np.ones((1, 2, 2)))
    assert [frame[0, 0] for frame in frames.select(2, 8).select(1, 3)] == [3, 4]


def test_only_the_frame_asked_for_is_read():
    spy = Spy(np.zeros((4, 3, 8, 8)))
    Frames(spy, "TCYX")[7]
    assert spy.read == [(2, 1)]


def test_the_channel_of_a_frame_is_returned():
    frames = Frames(np.zeros((2, 3, 4, 4)), "TCYX")
    assert [frames.channel(i) for i in range(6)] == [0, 1, 2, 0, 1, 2]
    assert Frames(np.zeros((2, 4, 4))).channel(1) == 0


@pytest.mark.parametrize(
    ("array", "axes", "message"),
    [
        (np.zeros(5), "", r"shape \(5,\)"),
        (np.zeros((2,) * 6), "", "up to three axes"),
        (np.zeros((4, 4, 3), np.uint8), "YXS", "RGB"),
        (np.zeros((2, 4, 4)), "TTYX", "do not describe"),
        (np.zeros((2, 2, 4, 4)), "TTYX", "do not describe"),
        (np.zeros((4, 4), complex), "", "real numbers"),
        (np.zeros((4, 4), object), "", "real numbers"),
        (np.zeros((0, 4, 4)), "", "empty"),
    ],
)
def test_refuses_what_is_no_stack_of_grey_frames(array, axes, message):
    with pytest.raises(InputError, match=message):
        Frames(array, axes)


def test_indexing_ends_as_a_sequence_does():
    with pytest.raises(IndexError):
        Frames(np.zeros((2, 4, 4)))[2]


FIELD = np.arange(4 * 5 * 6.0).reshape(4, 5, 6)


@pytest.mark.parametrize(
    ("truth", "stack"),
    [
        (FIELD[0], FIELD[:1]),
        (FIELD[:1], FIELD[0]),
        (FIELD, FIELD[:, None]),
        (FIELD[:, None], FIELD),
        (FIELD, FIELD[None]),
        (FIELD[None, None, :, None], FIELD),
        (FIELD, FIELD[None, None, :, None]),
    ],
)
def test_axes_of_one_step_make_no_other_field(truth, stack):
    stack = Frames(stack)
    fitting = truth_of(Frames(truth), stack)
    assert (fitting.axes, fitting.shape) == (stack.axes, stack.shape)
    np.testing.assert_array_equal(list(fitting), list(stack))


def test_axes_are_reordered_and_selections_kept():
    array = counted("TZYX")
    swapped = Frames(array.swapaxes(0, 1), "ZTYX").select(1, 3)
    fitting = in_axes_of(swapped, Frames(array[:, 1:], "TZYX"))
    assert fitting.axes == "TZYX"
    np.testing.assert_array_equal(np.stack(list(fitting)), array[:, 1:].reshape(-1, *array.shape[-2:]))


def test_one_frame_is_the_truth_of_a_movie_and_of_nothing_else():
    movie, channels = Frames(FIELD), Frames(FIELD, "CYX")
    assert truth_of(Frames(FIELD[0]), movie).shape == (4, 5, 6)
    assert all(np.array_equal(frame, FIELD[0]) for frame in truth_of(Frames(FIELD[0]), movie))
    assert len(truth_of(Frames(FIELD[0]), channels)) == 1
    assert truth_of(Frames(FIELD[0, :4]), movie).frame_shape == (4, 6)
    assert truth_of(Frames(FIELD[:3]), movie).shape == (3, 5, 6)


def test_several_ranges_are_one_stack():
    frames = Frames(np.arange(10)[:, None, None] * np.ones((1, 2, 2)), calibration=Calibration(time_step=2.0))
    chosen = frames.select_ranges([(0, 2), (3, 6)])
    assert [frame[0, 0] for frame in chosen] == [0, 1, 3, 4, 5]
    assert chosen.calibration.time_step is None
    assert [frame[0, 0] for frame in chosen.select(1, 4)] == [1, 3, 4]
    assert [frame[0, 0] for frame in chosen.select_ranges([(0, 1), (4, 5)])] == [0, 5]
    assert frames.select_ranges([(2, 4), (4, 6)]) == frames.select(2, 6)
    with pytest.raises(InputError, match="9:11"):
        frames.select_ranges([(0, 2), (9, 11)])


@pytest.mark.parametrize(
    "kind", [OnDevice, lambda array: Stored(array, (1, 5, 6)), lambda array: Stored(array, (3, 5, 6))]
)
def test_arrays_of_other_libraries_read_as_those_of_numpy(kind):
    frames = Frames(kind(FIELD.astype(np.float32)))
    assert frames.dtype == np.float32
    np.testing.assert_array_equal(list(frames), FIELD)
    np.testing.assert_array_equal(list(in_axes_of(frames, Frames(FIELD[:, None]))), FIELD)


def test_further_axes_of_one_step_are_kept_and_count_nothing():
    array = counted("TZYX")[:, None, :, None]
    frames = Frames(array[None])
    assert (frames.axes, frames.shape) == ("1T1Z1YX", (1, *array.shape))
    np.testing.assert_array_equal(list(frames.select(1, 2)), array[1, 0, :, 0])
    named = named_axes_only(frames.select(1, 2))
    assert (named.axes, named.shape) == ("TZYX", (1, 3, 4, 5))
    np.testing.assert_array_equal(list(named), array[1, 0, :, 0])
    with pytest.raises(InputError, match="do not describe"):
        Frames(array[:, [0, 0]], "T1ZCYX")


@pytest.mark.parametrize(("shape", "axis"), [((1, 3, 4, 5), 1), ((3, 1, 4, 5), 0), ((1, 1, 4, 5), 0)])
def test_frames_are_selected_along_the_axis_that_has_several(shape, axis):
    frames = Frames(np.zeros(shape))
    assert frames.selected_axis == axis
    assert frames.select(0, 1).shape[axis] == 1
