"""A truth that is the stack itself is told of, and no other."""

import numpy as np
import pytest

from napari_care_losses.errors import InputError
from napari_care_losses.images.axes import check_distinct, truth_of
from napari_care_losses.images.frames import Frames

MOVIE = np.random.default_rng(0).integers(0, 999, (4, 5, 6)).astype(np.uint16)
WITH_GAPS = np.where(MOVIE < 200, np.nan, MOVIE)


def check(stack, truth, indices=None):
    frames = Frames(stack)
    check_distinct(frames, truth_of(Frames(truth), frames), indices)


@pytest.mark.parametrize(
    ("stack", "truth"),
    [
        (MOVIE, MOVIE),
        (MOVIE, MOVIE.astype(np.float32)[:, None]),
        (MOVIE[0], MOVIE[:1]),
        (WITH_GAPS, WITH_GAPS.copy()),
    ],
)
def test_the_same_images_are_no_truth(stack, truth):
    with pytest.raises(InputError, match="The stack and its ground truth hold the same images"):
        check(stack, truth)


def test_the_first_frame_of_a_movie_is_no_truth_of_it():
    with pytest.raises(InputError, match="The ground truth of all frames is frame 0 of the stack itself"):
        check(MOVIE, MOVIE[0], [2, 0, 1])


@pytest.mark.parametrize(
    ("stack", "truth"),
    [
        (MOVIE, MOVIE + 1),
        (MOVIE, np.concatenate([MOVIE[:3], MOVIE[:1]])),
        (MOVIE, MOVIE[0] + 1),
        # of another number of frames, which is said elsewhere
        (MOVIE, MOVIE[:2]),
        (MOVIE[:2], MOVIE),
        (MOVIE, MOVIE[:, :3]),
    ],
)
def test_other_images_are_not_called_the_same(stack, truth):
    check(stack, truth)


def test_only_the_frames_that_are_judged_count():
    truth = np.concatenate([MOVIE[:3], MOVIE[:1]])
    check(MOVIE, truth, [2, 3])
    with pytest.raises(InputError, match="the same images"):
        check(MOVIE, truth, [1, 2])
