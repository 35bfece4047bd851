"""A second noisy image as the target: another shot, or the next frame of a movie."""

import numpy as np
import pytest

from napari_care_losses.errors import InputError
from napari_care_losses.images.frames import Frames
from napari_care_losses.images.line_fit import fit_line
from napari_care_losses.images.noise.change import changed_share, symmetric_map
from napari_care_losses.training.pairs import Pair, Share, pairs_from_frames
from napari_care_losses.training.targets.next_frame import NextFrame
from napari_care_losses.training.targets.shot import Shot
from napari_care_losses.training.targets.two_shots import TwoShots

SIZE = 192
WHOLE = (slice(None), slice(None))


def cells(seed=0, count=30):
    """Photons of some round cells."""
    rng = np.random.default_rng(seed)
    y, x = np.indices((SIZE, SIZE))
    places = rng.uniform(0, SIZE, (count, 2))
    return 2 + 10 * sum(np.exp(-((y - top) ** 2 + (x - left) ** 2) / 50) for top, left in places)


def shot(photons, seed, gain=2.0, offset=30.0):
    return gain * np.random.default_rng(seed).poisson(photons) + offset


def test_levels_are_matched_without_flattening():
    """Another exposure and offset: least squares, to a noisy image, would flatten."""
    first, second = shot(cells(), 0), shot(cells() * 2.5, 1, gain=2.0, offset=70.0)
    gain, offset = symmetric_map(second, first)
    assert gain == pytest.approx(0.4, rel=0.03)
    assert offset == pytest.approx(30 - 0.4 * 70, abs=1.5)
    assert fit_line(second, first)[0] < 0.9 * gain
    assert symmetric_map(second, -first)[0] == 0


@pytest.mark.parametrize("either_way", [False, True])
def test_patches_have_equal_grey_levels(either_way):
    pair = Pair(shot(cells(), 0), shot(cells() * 2.5, 1, offset=70.0), "cells")
    draws, rng = TwoShots(Share(pair, WHOLE, False), SIZE, either_way=either_way), np.random.default_rng(0)
    drawn = [draws.draw(0, 0, rng, augmented=True) for _ in range(12)]
    truth = 2 * cells() + 30
    for images in drawn:
        for image in images:
            assert fit_line(truth, image)[0] == pytest.approx(1, abs=0.05)
    # the first frame is the input always, or about every other time
    as_input = sum(np.array_equal(given, pair.low) for given, _ in drawn)
    assert as_input == 12 if not either_way else 2 < as_input < 10


def test_what_changes_is_told_from_noise():
    assert changed_share(shot(cells(), 0), shot(cells(), 1)) < 0.03
    # it bleaches: no structure changes
    assert changed_share(shot(cells(), 0), shot(0.8 * cells(), 1)) < 0.03
    moved = [changed_share(shot(cells(), 0), shot(np.roll(cells(), by, 0), 1)) for by in (1, 3, 6)]
    assert 0 < moved[0] < moved[1] < moved[2]
    assert changed_share(shot(cells(), 0), shot(cells(1), 1)) > 0.6


def test_frames_are_taken_two_by_two_along_time():
    target = NextFrame()
    assert target.places(Frames(np.zeros((5, 8, 8)))) == [(0, 1), (2, 3)]
    assert target.places(Frames(np.zeros((4, 8, 8))).select(1, 4)) == [(0, 1)]
    # channels and planes of their own
    stack = Frames(np.zeros((2, 3, 8, 8)), "CTYX")
    assert target.places(stack) == [(0, 1), (3, 4)]
    assert target.places(Frames(np.zeros((2, 3, 8, 8)), "TZYX")) == [(0, 3), (1, 4), (2, 5)]
    # frames that do not follow one another are no neighbours
    assert target.places(Frames(np.zeros((9, 8, 8))).select_ranges([(0, 1), (4, 6), (8, 9)])) == [(1, 2)]


@pytest.mark.parametrize(
    ("stack", "said"),
    [
        (Frames(np.zeros((8, 8))), "movie of at least two frames"),
        (Frames(np.zeros((5, 8, 8)), "ZYX"), "along time"),
        (Frames(np.zeros((9, 8, 8))).select_ranges([(0, 1), (4, 5)]), "neighbouring frames"),
    ],
)
def test_stacks_without_neighbours_in_time_are_refused(stack, said):
    with pytest.raises(InputError, match=said):
        NextFrame().places(stack)


def test_a_movie_gives_pairs_of_its_frames():
    movie = Frames(np.random.default_rng(0).random((4, 8, 8)))
    pairs = pairs_from_frames(movie, None, "movie", places=NextFrame().places(movie))
    assert [pair.name for pair in pairs] == ["movie[0]", "movie[2]"]
    np.testing.assert_array_equal(pairs[1].second, movie[3])


def test_the_next_frame_is_refused_where_all_moves_and_says_how_much():
    still = [Pair(shot(cells(), seed), shot(cells(), seed + 9), f"{seed}") for seed in range(2)]
    NextFrame().check(still)
    assert NextFrame().warnings(still[0]) == []
    assert NextFrame().remarks(still)[0].startswith("About ")
    moving = Pair(shot(cells(), 0), shot(np.roll(cells(), 5, 0), 1), "moving")
    assert "will be blurred" in NextFrame().warnings(moving)[0]
    with pytest.raises(InputError, match="of the structure changes to the next frame"):
        NextFrame().check([Pair(shot(cells(), 0), shot(cells(1), 1), "other")])


def test_a_noisier_second_shot_is_no_reason_for_doubt():
    low, high = shot(4 * cells(), 0), shot(cells(), 1)
    assert Shot().warnings(Pair(low, high, "cells")) == []
    assert Shot().remarks([Pair(low, high, "cells")]) == [
        "The second shot is 0.25 times as bright as the first: its grey levels are brought to the first's."
    ]
    assert Shot().remarks([Pair(high, shot(cells(), 2), "cells")]) == []
    moved = Pair(low, np.roll(high, 5, 0), "moved")
    assert "register them" in Shot().warnings(moved)[0]


def test_shots_that_differ_in_what_they_show_are_named():
    first = shot(cells(), 0)
    some = cells() + np.where(np.indices((SIZE, SIZE))[1] < SIZE // 4, cells(1) - cells(), 0)
    assert "% of the structure changes between the shots" in Shot().warnings(Pair(first, shot(some, 1), "some"))[0]
    assert Shot().warnings(Pair(first, shot(cells(1), 1), "other"))
