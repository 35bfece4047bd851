"""Movies that grow while they are filled."""

import threading

import numpy as np
import pytest

from napari_care_losses.images.frames import Frames
from napari_care_losses.widgets.layers.partial_movie import PartialMovie


def zeros(shape):
    return np.zeros(shape, np.float32)


def test_it_reads_like_the_array_that_is_there():
    rng = np.random.default_rng(0)
    whole = rng.random((7, 2, 3, 4), np.float32)
    # three time points to a block
    movie = PartialMovie((2,), (3, 4), zeros, block_bytes=3 * 2 * 3 * 4 * 4)
    expected = np.full_like(whole, np.nan)
    for number in (13, 0, 5, 6):
        place = divmod(number, 2)
        movie.fill(number, whole[place])
        expected[place] = whole[place]
    assert movie.shape == (7, 2, 3, 4)
    assert len(movie) == 7
    assert movie.done == {0, 5, 6, 13}
    assert (movie.ndim, movie.size, movie.nbytes) == (4, 168, 672)
    for key in [
        (0, 0, slice(None), slice(None)),
        (slice(0, 7, 3), 1),
        (-1, 1, slice(1, 3), slice(0, 4, 2)),
        slice(2, 4),
        ...,
        (..., 0),
        np.array([0, 6]),
    ]:
        np.testing.assert_array_equal(movie[key], expected[key], err_msg=str(key))
    np.testing.assert_array_equal(np.asarray(movie), expected)
    np.testing.assert_array_equal(movie + 1, expected + 1)
    np.testing.assert_array_equal(Frames(movie, "TCYX")[13], whole[6, 1])
    with pytest.raises(IndexError):
        movie[7]
    assert movie[7:].shape == (0, 2, 3, 4)


def test_it_grows_by_what_is_filled():
    movie = PartialMovie((), (2, 2), zeros)
    assert movie.shape == (0, 2, 2)
    assert np.asarray(movie).shape == (0, 2, 2)
    movie.fill(4, np.ones((2, 2)))
    assert movie.shape == (5, 2, 2)
    movie.fill(1, np.ones((2, 2)))
    assert movie.shape == (5, 2, 2)


def test_room_that_cannot_be_had_leaves_what_is_there():
    def no_more(shape):
        if made:
            raise OSError("no space")
        made.append(shape)
        return zeros(shape)

    made = []
    movie = PartialMovie((), (2, 2), no_more, block_bytes=16)
    movie.fill(0, np.ones((2, 2)))
    with pytest.raises(OSError, match="no space"):
        movie.fill(1, np.ones((2, 2)))
    assert movie.shape == (1, 2, 2)
    assert (movie[0] == 1).all()


def test_it_can_be_read_while_it_is_filled():
    movie = PartialMovie((), (8, 8), zeros, block_bytes=8 * 8 * 4 * 4)

    def fill():
        for number in range(400):
            movie.fill(number, np.full((8, 8), number, np.float32))

    thread = threading.Thread(target=fill)
    thread.start()
    while thread.is_alive() or len(movie) < 400:
        if len(movie):
            last = movie[-1]
            assert np.isnan(last).all() or (last == last[0, 0]).all()
            assert len(movie.done) <= 400
    thread.join()
    assert (movie[399] == 399).all()
