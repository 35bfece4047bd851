import threading
from copy import deepcopy
from itertools import islice

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.ndimage import median_filter

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


IDIOMS = {
    "max": lambda a: a.max(),
    "mean along an axis": lambda a: a.mean(axis=0),
    "copy": lambda a: a.copy(),
    "astype": lambda a: a.astype(np.float64),
    "reshape": lambda a: a.reshape(-1, 5),
    "ravel": lambda a: a.ravel(),
    "T": lambda a: a.T,
    "size": lambda a: a.size,
    "nbytes": lambda a: a.nbytes,
    "len": len,
    "iteration": lambda a: [frame.sum() for frame in a],
    "comparison": lambda a: a > 2,
    "equality": lambda a: a == 3,
    "mask": lambda a: a[a > 2],
    "mask of frames": lambda a: a[np.array([True, False])],
    "list": lambda a: a[[1, 0, 1]],
    "new axis": lambda a: a[np.newaxis, 0],
    "integers": lambda a: a[-1, 2, 3, 4],
    "arithmetic": lambda a: 2 * a - a / 3 + a**2,
    "negative": lambda a: -a,
    "number first": lambda a: 7 - a,
    "with an array": lambda a: np.ones(5) * a,
    "reduction": lambda a: np.add.reduce(a, axis=1),
    "into an array": lambda a: np.sqrt(a, out=np.zeros(a.shape, np.float32)),
    "asarray": np.asarray,
    "array of integers": lambda a: np.nan_to_num(np.array(a, dtype=np.float64)).astype(int),
    "np.max": np.max,
    "np.percentile": lambda a: np.percentile(a, [1, 50]),
    "np.where": lambda a: np.where(a > 2, a, 0),
    "np.stack": lambda a: np.stack([a, a]),
    "np.clip": lambda a: np.clip(a, 1, 3),
    "clip": lambda a: a.clip(1, 3),
    "np.moveaxis": lambda a: np.moveaxis(a, 0, -1),
    "std": lambda a: np.std(a),
    "isnan": lambda a: np.isnan(a).any(),
    "median filter": lambda a: median_filter(a, size=3),
    "tolist": lambda a: a[0, 0].tolist(),
    "deepcopy": deepcopy,
}


@pytest.mark.parametrize("done", [range(6), (0, 4)], ids=["whole", "partial"])
@pytest.mark.parametrize("idiom", IDIOMS)
def test_idioms_of_arrays_give_what_an_array_gives(idiom: str, done) -> None:
    stack = partial(done=done)
    whole = np.stack([np.full((4, 5), index if index in done else np.nan, np.float32) for index in range(6)])
    np.testing.assert_array_equal(IDIOMS[idiom](stack), IDIOMS[idiom](whole.reshape(2, 3, 4, 5)))


def test_a_stack_changes_by_being_filled_only() -> None:
    stack = partial(done=(0,))
    before = np.asarray(stack)
    for change in (
        lambda: stack.__setitem__(0, 1),
        lambda: stack.sort(),
        lambda: stack.__isub__(90),
        lambda: np.add(before, 1, out=stack),
    ):
        with pytest.raises((TypeError, AttributeError)):
            change()
    np.testing.assert_array_equal(stack, before)


def test_what_no_array_has_is_missing_and_read_by_nobody() -> None:
    stack = partial()
    assert not hasattr(stack, "compute")
    assert not hasattr(stack, "__dask_graph__")
    for key in ((0, 0, 0, 0, 0), "frame", 9):
        with pytest.raises(IndexError):
            stack[key]


def test_frames_come_from_the_shown_one_outward_and_follow_it() -> None:
    order = NearestFirst(range(10), shown=7)
    assert len(order) == 10
    running = iter(order)
    assert list(islice(running, 4)) == [7, 6, 8, 5]
    order.shown = 0
    assert list(running) == [0, 1, 2, 3, 4, 9]
    assert 3 in order
    assert 10 not in order


def test_the_shown_frame_may_be_set_from_another_thread() -> None:
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
