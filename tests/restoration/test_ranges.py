"""The range of every frame: its own, the stack's, or one that follows bleaching."""

import numpy as np
import pytest
from fixtures.random_models import Spy

from napari_care_losses.cli.main import main
from napari_care_losses.errors import ParameterError
from napari_care_losses.images.frames import Frames
from napari_care_losses.images.normalization import (
    SAMPLED_FRAMES,
    FixedLevels,
    PercentileNormalization,
    Standardization,
    frame_range,
    stack_ranges,
)
from napari_care_losses.restoration.parameters import RestorationParameters
from napari_care_losses.restoration.ranges import chosen_normalization, estimate_ranges, frames_to_sample, smoothed

MODES = ("frame", "stack", "bleaching")
OFFSET = 100


class Places(Spy):
    """Notes time and plane of what is read, not the time alone."""

    def __getitem__(self, key):
        self.read.append(key)
        return self.stack[key]


def run(generator):
    """Return what a generator yielded and what it returned."""
    yielded = []
    while True:
        try:
            yielded.append(next(generator))
        except StopIteration as finished:
            return yielded, finished.value


def estimated(stack, mode="bleaching", axes="", normalization=None, **parameters):
    parameters = RestorationParameters(normalization=mode, **parameters)
    return run(estimate_ranges(Frames(stack, axes), parameters, normalization or PercentileNormalization()))


def ranges_of(stack, ranges):
    """Return the range (frames, 2) of every frame."""
    frames = Frames(stack)
    return np.array([ranges.of(index, frames[index]) for index in range(len(frames))])


def fading(frames=120, size=96, flash=None, decay=0.5, seed=0):
    """Return a noisy movie that fades by exp(-t / decay) over an offset, and the ranges it has in steady light."""
    rng = np.random.default_rng(seed)
    light = np.exp(-np.arange(frames) / (frames - 1) / decay)
    steady = rng.poisson(OFFSET + 900 * rng.random((size, size)) ** 4 * light[:, None, None])
    movie = OFFSET + (steady - OFFSET) * rng.normal(1, 0.06, (frames, 1, 1))
    if flash is not None:
        movie[flash] = OFFSET + 4 * (movie[flash] - OFFSET)
    return movie.astype(np.float32), np.percentile(steady, [2, 99.8], axis=(1, 2)).T


@pytest.mark.parametrize("frames", [12, 50, 120])
@pytest.mark.parametrize("decay", [0.3, 1.0, 100.0])
@pytest.mark.parametrize("has_flash", [False, True])
def test_bleaching_is_followed_and_jitter_is_not(frames, decay, has_flash):
    flash = 4 * frames // 10 if has_flash else None
    movie, expected = fading(frames, decay=decay, flash=flash)
    yielded, ranges = estimated(movie)
    assert yielded == list(range(1, min(frames, SAMPLED_FRAMES) + 1))
    own = np.array([frame_range(frame, PercentileNormalization()) for frame in movie])
    errors, own_errors = (
        np.diff(each - expected)[:, 0] / np.diff(expected)[:, 0] for each in (ranges_of(movie, ranges), own)
    )
    assert np.abs(errors).max() < 0.12
    assert np.median(np.abs(np.diff(errors))) < 0.4 * np.median(np.abs(np.diff(own_errors)))
    lows = ranges_of(movie, ranges)[:, 0] - expected[:, 0]
    assert np.abs(lows).max() < 0.03 * np.ptp(expected)


def test_a_flash_is_ignored_by_the_frames_around_it():
    quiet, lit = fading(frames=40)[0], fading(frames=40, flash=20)[0]
    without, with_flash = (ranges_of(movie, estimated(movie)[1]) for movie in (quiet, lit))
    np.testing.assert_allclose(with_flash, without, rtol=0.03)


@pytest.mark.parametrize("frames", [16, 40])
def test_an_object_that_stays_for_some_frames_does_not_move_the_range(frames):
    quiet, _ = fading(frames=frames)
    visited = quiet.copy()
    for visit in (slice(4, 7), slice(11, 13)):
        visited[visit, 20:30, 30:40] += 5000
    without, with_object = (ranges_of(movie, estimated(movie)[1]) for movie in (quiet, visited))
    np.testing.assert_allclose(with_object, without, rtol=0.06)


def test_a_dark_frame_is_ignored_too():
    movie = fading(frames=40)[0]
    dark = movie.copy()
    dark[20] = OFFSET
    without, with_dark = (ranges_of(each, estimated(each)[1]) for each in (movie, dark))
    np.testing.assert_allclose(with_dark, without, rtol=0.03)


def test_between_sampled_frames_the_range_is_interpolated():
    movie, _ = fading(frames=4 * SAMPLED_FRAMES, size=24)
    _, ranges = estimated(movie)
    levels = ranges_of(movie, ranges)
    steps = np.abs(np.diff(levels[:, 1]))
    assert steps.max() < 0.03 * np.ptp(levels[:, 1])
    assert (np.diff(levels[:, 1]) < 0).mean() > 0.95


def test_a_steady_movie_has_about_the_stack_s_range():
    movie = np.random.default_rng(0).gamma(2, 100, (20, 60, 60))
    _, (ranges) = estimated(movie)
    _, shared = estimated(movie, "stack")
    expected = shared.of(0, movie[0])
    np.testing.assert_allclose(ranges_of(movie, ranges), np.tile(expected, (20, 1)), rtol=0.1)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("dtype", ["uint8", "float32"])
def test_a_constant_movie_keeps_its_level(mode, dtype):
    movie = np.full((5, 16, 16), 7, dtype)
    _, ranges = estimated(movie, mode)
    for index, frame in enumerate(movie):
        grey_levels = ranges.of(index, frame)
        assert grey_levels == pytest.approx((7, 7))
        assert grey_levels.width == 1
        np.testing.assert_array_equal(grey_levels.undo(grey_levels.apply(frame)), frame)


@pytest.mark.parametrize("axes", ["TZCYX", "CTZYX", "ZCTYX", "TCZYX", "1C1TZYX"])
def test_planes_share_a_course_and_channels_do_not(axes):
    rng = np.random.default_rng(0)
    plane_gain = np.array([1, 5, 2.0])
    light = np.exp(-np.arange(8) / 4)
    # C, T, Z, Y, X: the second channel does not fade
    stack = 100 + 50 * rng.random((2, 8, 3, 20, 20)) * plane_gain[:, None, None]
    stack[0] = 100 + (stack[0] - 100) * light[:, None, None, None]
    arranged = np.moveaxis(stack, range(3), [axes.replace("1", "").index(axis) for axis in "CTZ"])
    arranged = np.expand_dims(arranged, [place for place, axis in enumerate(axes) if axis == "1"])
    frames = Frames(arranged, axes)
    yielded, ranges = estimated(arranged, axes=axes)
    assert (
        yielded[-1]
        == 2 * 8 * 3
        == frames_to_sample(frames, RestorationParameters(normalization="bleaching"), PercentileNormalization())
    )
    found = {}
    for index in range(len(frames)):
        place = dict(zip(axes, frames.position(index), strict=False))
        found.setdefault((place["C"], place["T"]), set()).add(ranges.of(index, frames[index]))
    assert all(len(shared) == 1 for shared in found.values())
    for channel in (0, 1):
        widths = np.array([found[channel, time].copy().pop().width for time in range(8)])
        expected = np.diff(np.percentile(stack[channel], [2, 99.8], axis=(1, 2, 3)), axis=0)[0]
        np.testing.assert_allclose(widths, expected, rtol=0.03)


@pytest.mark.parametrize(("shape", "axes"), [((20, 20), "YX"), ((9, 20, 20), "ZYX"), ((2, 5, 20, 20), "TZYX")])
@pytest.mark.parametrize("percentiles", [{}, {"low_percentile": 0, "high_percentile": 90}])
def test_stacks_without_time_have_one_range(shape, axes, percentiles):
    stack = np.random.default_rng(0).gamma(2, 100, shape)
    for mode in ("stack", "bleaching"):
        _, ranges = estimated(stack, mode, axes, **percentiles)
        normalization = chosen_normalization(RestorationParameters(**percentiles), PercentileNormalization())
        _, expected = run(stack_ranges(Frames(stack, axes), normalization))
        frames = Frames(stack, axes)
        assert {ranges.of(index, frames[index]) for index in range(len(frames))} == {expected[0]}


class TestStatisticsOfADataset:
    """A model may need those of all frames; unless the user says otherwise, it gets them."""

    STACK = np.random.default_rng(0).gamma(2, 100, (6, 20, 20)) * np.arange(1, 7)[:, None, None]
    LEVELS = np.percentile(STACK, [1, 99])
    MEAN = (STACK.mean(), STACK.mean() + STACK.std())

    @pytest.mark.parametrize(
        ("normalization", "expected"),
        [
            (PercentileNormalization(low=1, high=99, of_dataset=True), LEVELS),
            (Standardization(of_dataset=True), MEAN),
        ],
    )
    def test_all_frames_have_the_range_of_all_pixels(self, normalization, expected):
        yielded, ranges = estimated(self.STACK, "auto", normalization=normalization)
        np.testing.assert_allclose(ranges_of(self.STACK, ranges), np.tile(expected, (6, 1)), rtol=1e-12)
        assert yielded[-1] == 6 == frames_to_sample(Frames(self.STACK), RestorationParameters(), normalization)

    def test_channels_have_their_own(self):
        stack = self.STACK.reshape(3, 2, 20, 20)
        _, ranges = estimated(stack, "auto", "TCYX", normalization=Standardization(of_dataset=True))
        frames = Frames(stack, "TCYX")
        for channel in (0, 1):
            pixels = stack[:, channel]
            for time in range(3):
                found = ranges.of(2 * time + channel, frames[2 * time + channel])
                np.testing.assert_allclose(found, (pixels.mean(), pixels.mean() + pixels.std()), rtol=1e-12)

    @pytest.mark.parametrize("mode", MODES)
    def test_what_the_user_asks_for_is_done(self, mode):
        expected = ranges_of(self.STACK, estimated(self.STACK, mode)[1])
        found = estimated(self.STACK, mode, normalization=PercentileNormalization(of_dataset=True))[1]
        np.testing.assert_array_equal(ranges_of(self.STACK, found), expected)

    @pytest.mark.parametrize("normalization", [PercentileNormalization(), Standardization(), FixedLevels()])
    def test_for_other_models_every_frame_has_its_own(self, normalization):
        _, ranges = estimated(self.STACK, "auto", normalization=normalization)
        expected = [frame_range(frame, normalization) for frame in self.STACK]
        np.testing.assert_allclose(ranges_of(self.STACK, ranges), expected, rtol=1e-12)

    def test_other_percentiles_are_those_of_all_pixels_too(self):
        normalization = PercentileNormalization(of_dataset=True)
        _, ranges = estimated(self.STACK, "auto", normalization=normalization, low_percentile=1, high_percentile=99)
        np.testing.assert_allclose(ranges_of(self.STACK, ranges), np.tile(self.LEVELS, (6, 1)), rtol=1e-12)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(
    ("shape", "axes"),
    [((3, 6, 6), "TYX"), ((170, 6, 6), "TYX"), ((40, 30, 6, 6), "TZYX"), ((30, 2, 4, 6, 6), "TCZYX"), ((6, 6), "YX")],
)
def test_no_more_frames_are_read_than_sampled(mode, shape, axes):
    spy = Places(np.random.default_rng(0).random(shape))
    parameters = RestorationParameters(normalization=mode)
    frames = Frames(spy, axes)
    expected = frames_to_sample(frames, parameters, PercentileNormalization())
    assert expected <= min(len(frames), SAMPLED_FRAMES * (2 if "C" in axes else 1))
    sampling = estimate_ranges(frames, parameters, PercentileNormalization())
    assert spy.read == []
    for count, read in enumerate(sampling, 1):
        assert read == len(spy.read) == count
    assert len(spy.read) == expected


def test_many_planes_are_sampled_alike_at_every_time():
    spy = Places(np.random.default_rng(0).random((40, 30, 6, 6)))
    run(estimate_ranges(Frames(spy), RestorationParameters(normalization="bleaching"), PercentileNormalization()))
    planes = {}
    for time, plane in spy.read:
        planes.setdefault(time, []).append(plane)
    assert len(planes) == 10
    assert {0, 39} <= set(planes)
    assert len({tuple(each) for each in planes.values()}) == 1
    assert len(set(planes[0])) == 5


def test_the_sample_is_the_same_every_time():
    movie = np.random.default_rng(0).random((170, 8, 8))
    first, second = (ranges_of(movie, estimated(movie)[1]) for _ in range(2))
    np.testing.assert_array_equal(first, second)


def test_a_selection_is_followed_from_its_own_start():
    movie, _ = fading(frames=30)
    selected = Frames(movie).select(10, 25)
    ranges = run(
        estimate_ranges(selected, RestorationParameters(normalization="bleaching"), PercentileNormalization())
    )[1]
    _, alone = estimated(movie[10:25])
    for index in range(15):
        assert ranges.of(index, selected[index]) == pytest.approx(alone.of(index, movie[10 + index]))


@pytest.mark.parametrize("mode", MODES)
def test_pixels_without_a_value_and_blank_frames_do_not_count(mode):
    movie = np.random.default_rng(0).random((12, 30, 30)) + 5
    expected = estimated(movie, mode)[1].of(3, movie[3])
    movie[:, :2], movie[6], movie[7] = np.nan, np.nan, 0
    masked = np.ma.masked_invalid(movie[3])
    assert estimated(movie, mode)[1].of(3, masked) == pytest.approx(expected, abs=0.01)


@pytest.mark.parametrize("mode", ["stack", "bleaching"])
def test_a_flash_has_its_own_range_but_not_a_frame_with_a_bright_object(mode):
    movie = np.random.default_rng(0).gamma(2, 100, (20, 40, 40))
    movie[8] *= 100
    movie[12, :8, :8] *= 100
    _, ranges = estimated(movie, mode)
    assert ranges.of(8, movie[8]) == frame_range(movie[8], PercentileNormalization())
    assert ranges.of(12, movie[12]) == ranges.shared(12)
    usual = np.delete(movie, [8, 12], axis=0)
    assert ranges.of(3, movie[3]) == pytest.approx(np.percentile(usual, [2, 99.8]), rel=0.1)


@pytest.mark.parametrize("mode", MODES)
def test_the_user_s_percentiles_are_used_and_the_model_s_where_there_are_none(mode):
    frame = np.random.default_rng(0).gamma(2, 100, (64, 64))
    movie = np.stack([frame] * 4)
    for given, expected in (
        ({}, (10, 95)),
        ({"low_percentile": 0}, (0, 95)),
        ({"high_percentile": 99.9}, (10, 99.9)),
        ({"low_percentile": 5, "high_percentile": 80}, (5, 80)),
    ):
        _, ranges = estimated(movie, mode, normalization=PercentileNormalization(low=10, high=95), **given)
        assert ranges.of(1, frame) == pytest.approx(np.percentile(frame, expected), rel=0.01)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"low_percentile": -0.5}, "low_percentile must lie between 0 and 50 %, or be -1"),
        ({"low_percentile": 51}, "low_percentile must lie between 0 and 50 %"),
        ({"high_percentile": 20}, "high_percentile must lie between 50 and 100 %, or be -1"),
        ({"high_percentile": 100.5}, "high_percentile must lie between 50 and 100 %"),
        ({"low_percentile": 50, "high_percentile": 50}, "low_percentile must be below high_percentile"),
        ({"low_percentile": float("nan")}, "low_percentile must lie between"),
    ],
)
def test_impossible_percentiles_are_refused(values, message):
    with pytest.raises(ParameterError, match=message):
        RestorationParameters(**values)


def test_a_user_s_percentile_at_the_model_s_other_is_refused():
    with pytest.raises(ParameterError, match="The low percentile must be below the high one"):
        chosen_normalization(RestorationParameters(low_percentile=50), PercentileNormalization(low=2, high=50))


def test_the_command_line_lists_the_ranges_and_their_defaults(capsys):
    with pytest.raises(SystemExit):
        main(["restore", "--help"])
    shown = " ".join(capsys.readouterr().out.split())
    assert "{auto,frame,stack,bleaching}" in shown
    for option in ("--low-percentile", "--high-percentile"):
        assert "(default: as the model)" in shown[shown.rindex(option) :].split(" --", 1)[0]


def test_smoothing_leaves_a_line_as_it_is():
    times = np.array([0, 1, 4, 5, 9, 12, 13, 20.0])
    for values in (3 * times - 7, np.zeros(8), 1e-9 * times, 1e9 + times):
        np.testing.assert_allclose(smoothed(times, values), values, rtol=1e-9, atol=1e-12)


def test_a_single_outlier_on_a_line_is_removed():
    times = np.arange(30.0)
    values = 2 * times
    values[12] += 100
    np.testing.assert_allclose(smoothed(times, values), 2 * times, atol=1e-6)


@pytest.mark.parametrize("count", [3, 4, 5, 10, 50])
def test_smoothing_is_finite_and_between_the_values_roughly(count):
    rng = np.random.default_rng(count)
    for _ in range(20):
        values = rng.standard_t(1, count)
        curve = smoothed(np.arange(count) * 1.0, values)
        assert np.isfinite(curve).all()
        assert np.abs(curve).max() <= 3 * np.abs(values).max()
