import threading
from itertools import islice

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from napari_care_losses.images.frames import Frames
from napari_care_losses.images.partial_stack import NearestFirst, PartialStack


def partial(shape=(2, 3, 4, 5), done=()):
    """Return a stack over garbage, with frames that hold their own number."""
    stack = PartialStack(np.full(shape, 7e7, np.float32))
    for index in done:
        stack.fill(index, np.full(shape[-2:], index, np.float32))
    return stack


def test_missing_frames_read_as_nan_and_filled_ones_as_filled() -> None:
    stack = partial(done=(0, 4))
    assert stack.done == {0, 4}
    assert stack.missing == [1, 2, 3, 5]
    assert stack.count == 6
    frames = Frames(stack, "TZYX")
    for index in range(6):
        frame = frames[index]
        assert (frame == index).all() if index in (0, 4) else np.isnan(frame).all()


@given(
    key=st.tuples(
        st.one_of(st.integers(-2, 1), st.slices(2)),
        st.one_of(st.integers(-3, 2), st.slices(3)),
        st.one_of(st.integers(-4, 3), st.slices(4)),
        st.one_of(st.integers(-5, 4), st.slices(5)),
    ),
    length=st.integers(0, 4),
    done=st.sets(st.integers(0, 5)),
)
def test_every_way_of_slicing_is_numpys(key, length, done) -> None:
    stack = partial(done=done)
    whole = np.full(stack.shape, np.nan, np.float32)
    for index in done:
        whole[np.unravel_index(index, (2, 3))] = index
    np.testing.assert_array_equal(stack[key[:length]], whole[key[:length]])
    np.testing.assert_array_equal(stack[(..., *key[4 - length :])], whole[(..., *key[4 - length :])])
    np.testing.assert_array_equal(np.asarray(stack), whole)


def test_a_single_image_is_one_frame() -> None:
    stack = PartialStack(np.zeros((4, 5), np.float32))
    assert np.isnan(np.asarray(stack)).all()
    assert stack.missing == [0]
    stack.fill(0, np.ones((4, 5), np.float32))
    assert (stack[1:3, 2] == 1).all()
    assert stack.done == {0}
    stack.clear([0])
    assert np.isnan(stack[0, 0])


def test_fancy_indices_are_refused() -> None:
    with pytest.raises(IndexError, match="integers and slices"):
        partial()[[0, 1]]


def test_frames_come_from_the_shown_one_outward_and_follow_it() -> None:
    order = NearestFirst(range(10), shown=7)
    assert len(order) == 10
    running = iter(order)
    assert list(islice(running, 4)) == [7, 6, 8, 5]
    order.shown = 0
    assert list(running) == [0, 1, 2, 3, 4, 9]
    assert 3 in order
    assert 10 not in order


def test_the_look_may_move_from_another_thread() -> None:
    order = NearestFirst(range(200), shown=0)
    stop = threading.Event()

    def look_around() -> None:
        while not stop.is_set():
            for shown in (0, 199, 50):
                order.shown = shown

    thread = threading.Thread(target=look_around)
    thread.start()
    try:
        assert sorted(order) == list(range(200))
    finally:
        stop.set()
        thread.join()
