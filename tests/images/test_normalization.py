import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from napari_care_losses.errors import InputError, ParameterError
from napari_care_losses.images.frames import Frames
from napari_care_losses.images.normalization import (
    SAMPLED_FRAMES,
    SAMPLED_PIXELS,
    PercentileNormalization,
    Range,
    frame_range,
    percentiles,
    stack_ranges,
)

DTYPES = [
    "bool",
    "uint8",
    "int8",
    "uint16",
    ">u2",
    "int32",
    ">i4",
    "uint32",
    "int64",
    "float16",
    "float32",
    ">f4",
    "f8",
]


def image_of(dtype, seed, shape=(24, 31)):
    rng = np.random.default_rng(seed)
    kind = np.dtype(dtype)
    if kind.kind == "b":
        return rng.random(shape) > 0.5
    if kind.kind in "iu":
        bounds = np.iinfo(kind)
        return rng.integers(bounds.min // 2, bounds.max, shape, dtype=kind.newbyteorder("=")).astype(kind)
    return rng.normal(100, 30, shape).astype(kind)


def run(generator):
    """Return what a generator yielded and what it returned."""
    yielded = []
    while True:
        try:
            yielded.append(next(generator))
        except StopIteration as finished:
            return yielded, finished.value


@given(st.sampled_from(DTYPES), st.integers(0, 50))
def test_undoing_gives_the_image_back(dtype, seed):
    image = image_of(dtype, seed)
    grey_levels = frame_range(image, PercentileNormalization())
    normalized = grey_levels.apply(image)
    assert normalized.dtype == np.float32
    assert normalized.dtype.isnative
    restored = grey_levels.undo(normalized)
    assert restored.dtype == np.float32
    largest = float(np.abs(image.astype(np.float64)).max())
    np.testing.assert_allclose(restored, image.astype(np.float64), rtol=0, atol=1e-6 * largest)


@given(st.sampled_from(DTYPES), st.floats(0, 50), st.floats(50, 100), st.integers(0, 50))
def test_a_frame_s_range_is_numpy_s_percentiles(dtype, low, high, seed):
    image = image_of(dtype, seed)
    found = frame_range(image, PercentileNormalization(low=low, high=high))
    exact = np.percentile(image.astype(np.float64), [low, high])
    np.testing.assert_allclose(found, exact, rtol=1e-6, atol=1e-6 * float(np.abs(exact).max()))


@given(
    hnp.arrays(st.sampled_from(["bool", "u1", "i1", "u2", ">u2", "i2"]), st.integers(1, 60)),
    st.floats(0, 100),
    st.floats(0, 100),
)
def test_counted_percentiles_are_numpy_s(pixels, one, other):
    low, high = sorted((one, other))
    exact = np.percentile(pixels.astype(np.float64), [low, high])
    np.testing.assert_allclose(percentiles(pixels, low, high), exact, rtol=1e-12, atol=1e-9)


@given(
    hnp.arrays(st.sampled_from(["f4", "f8", ">f4"]), st.integers(1, 60), elements=st.floats(-(2**20), 2**20, width=32)),
    st.floats(0, 100),
    st.floats(0, 100),
)
def test_selected_percentiles_are_numpy_s(pixels, one, other):
    low, high = sorted((one, other))
    before = pixels.copy()
    exact = np.percentile(pixels.astype(np.float64), [low, high])
    np.testing.assert_allclose(percentiles(pixels, low, high), exact, rtol=1e-12, atol=1e-6)
    np.testing.assert_array_equal(pixels, before)


def test_a_frame_counted_in_several_blocks_has_numpy_s_percentiles(monkeypatch):
    monkeypatch.setattr("napari_care_losses.images.normalization._BLOCK", 100)
    image = image_of("u2", 0)
    assert percentiles(image, 2, 99.8) == pytest.approx(np.percentile(image, [2, 99.8]))


def test_signed_integers_at_both_ends_do_not_overflow():
    image = np.array([[-128, 127]], np.int8)
    assert frame_range(image, PercentileNormalization(low=0, high=50)) == pytest.approx((-128, -0.5))


def test_large_integers_keep_their_small_differences():
    image = np.int32(2_000_000_000) + np.arange(100, dtype=np.int32).reshape(10, 10)
    normalized = frame_range(image, PercentileNormalization(low=0, high=100)).apply(image)
    np.testing.assert_allclose(normalized.ravel(), np.arange(100) / 99, atol=1e-6)


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_constant_image_becomes_zero_and_comes_back(dtype):
    image = np.full((8, 8), 1 if dtype == "bool" else 100).astype(dtype)
    grey_levels = frame_range(image, PercentileNormalization())
    normalized = grey_levels.apply(image)
    np.testing.assert_array_equal(normalized, np.zeros((8, 8)))
    np.testing.assert_array_equal(grey_levels.undo(normalized), image)


def test_nothing_is_clipped():
    normalized = Range(10.0, 20.0).apply(np.array([[0.0, 30.0]]))
    np.testing.assert_array_equal(normalized, [[-1, 2]])


def test_nan_and_infinity_are_refused_with_their_count():
    image = np.zeros((10, 10), np.float32)
    image[0, :3] = np.nan, np.inf, -np.inf
    with pytest.raises(InputError, match="3 of 100 pixels"):
        frame_range(image, PercentileNormalization())


def test_the_percentiles_are_bounded():
    with pytest.raises(ParameterError, match="low must lie between 0 and 50"):
        PercentileNormalization(low=60)
    with pytest.raises(ParameterError, match="high must lie between 50 and 100"):
        PercentileNormalization(high=101)


def test_every_channel_has_a_range_of_its_own():
    stack = np.random.default_rng(0).random((3, 2, 16, 16))
    stack[:, 1] = 1000 + 50 * stack[:, 1]
    yielded, ranges = run(stack_ranges(Frames(stack, "TCYX"), PercentileNormalization()))
    assert yielded == [1, 2, 3, 4, 5, 6]
    for channel in (0, 1):
        assert ranges[channel] == pytest.approx(np.percentile(stack[:, channel], [2, 99.8]))


class Counting:
    """A stack made frame by frame that knows which frames were read."""

    def __init__(self, shape):
        self.shape, self.dtype, self.read = shape, np.dtype(np.float32), []

    def __getitem__(self, key):
        (index,) = key
        self.read.append(index)
        rng = np.random.default_rng(index)
        return (100 + index + rng.normal(0, 20, self.shape[1:])).astype(np.float32)


def test_a_long_stack_is_sampled_one_frame_at_a_time():
    stack = Counting((4 * SAMPLED_FRAMES, 32, 32))
    sampling = stack_ranges(Frames(stack), PercentileNormalization())
    for count in (1, 2, 3):
        assert next(sampling) == count
        assert len(stack.read) == count
    yielded, ranges = run(sampling)
    assert yielded[-1] == SAMPLED_FRAMES
    assert (stack.read[0], stack.read[-1]) == (0, 4 * SAMPLED_FRAMES - 1)
    assert [index // 4 for index in stack.read] == list(range(SAMPLED_FRAMES)), "one out of each stretch of four"
    exact = np.percentile(np.stack([stack[(i,)] for i in range(stack.shape[0])]), [2, 99.8])
    np.testing.assert_allclose(ranges[0], exact, atol=0.02 * np.ptp(exact))


def test_a_short_stack_of_small_frames_is_used_whole():
    stack = image_of("u2", 0, (SAMPLED_FRAMES, 20, 30))
    _, ranges = run(stack_ranges(Frames(stack), PercentileNormalization()))
    assert ranges[0] == pytest.approx(np.percentile(stack, [2, 99.8]))


def test_the_sample_is_the_same_every_time(monkeypatch):
    monkeypatch.setattr("napari_care_losses.images.normalization.SAMPLED_PIXELS", 2_000)
    stack = np.random.default_rng(0).normal(size=(2 * SAMPLED_FRAMES, 20, 24))
    first, second = (run(stack_ranges(Frames(stack), PercentileNormalization())) for _ in range(2))
    assert first == second


@pytest.fixture(scope="module")
def bleaching():
    """Return a movie of blinking noise on structure that fades to a tenth."""
    rng, (y, x) = np.random.default_rng(0), np.mgrid[:120, :150]
    frames = []
    for index in range(240):
        structure = 400 * np.exp(-(np.sin(x / 9 + 0.01 * index) ** 2) / 0.05) * (1 + np.sin(y / 17))
        frames.append(rng.poisson(100 + structure * np.exp(-index / 100)).astype(np.uint16))
    return np.stack(frames)


@pytest.mark.parametrize("pixels", [4_000, 40_000, 400_000, SAMPLED_PIXELS])
def test_the_error_of_the_range_of_a_bleaching_movie_is_as_documented(bleaching, monkeypatch, pixels):
    monkeypatch.setattr("napari_care_losses.images.normalization.SAMPLED_PIXELS", pixels)
    _, ranges = run(stack_ranges(Frames(bleaching), PercentileNormalization()))
    for level, p in zip(ranges[0], (0.02, 0.998), strict=True):
        rank_in_frames = (bleaching <= level).mean(axis=(1, 2))
        from_pixels = math.sqrt(p * (1 - p) / min(pixels, SAMPLED_FRAMES * bleaching[0].size))
        from_frames = np.abs(np.diff(rank_in_frames)).sum() / SAMPLED_FRAMES
        # grey levels are whole numbers: the percentile lies somewhere among the pixels of its own
        lowest, highest = (bleaching < level).mean(), (bleaching <= math.ceil(level)).mean()
        error = max(0.0, lowest - p, p - highest)
        assert error < 3 * from_pixels + from_frames


@pytest.mark.parametrize("period", [2, 3, 4, 8, 16])
def test_periodic_structure_is_not_seen_at_one_phase(monkeypatch, period):
    monkeypatch.setattr("napari_care_losses.images.normalization.SAMPLED_PIXELS", SAMPLED_FRAMES * 15**2)
    t, y, x = np.ogrid[: 16 * SAMPLED_FRAMES, :120, :120]
    for phase in (t, y, x):
        stack = np.broadcast_to((phase % period).astype(np.float32), (16 * SAMPLED_FRAMES, 120, 120))
        _, ranges = run(stack_ranges(Frames(stack), PercentileNormalization()))
        assert ranges[0] == pytest.approx(np.percentile(stack[:16, :16, :16], [2, 99.8]))


@pytest.mark.parametrize("shape", [(100, 120), (1, 5000), (5000, 1), (3, 4000), (37, 251)])
def test_large_frames_are_sampled_from_everywhere(monkeypatch, shape):
    monkeypatch.setattr("napari_care_losses.images.normalization.SAMPLED_PIXELS", 2_000)
    assert SAMPLED_PIXELS >= 1_000_000
    samples = []

    def spy(sample, low, high, *, overwrites):
        samples.append(sample.copy())
        return percentiles(sample, low, high, overwrites=overwrites)

    monkeypatch.setattr("napari_care_losses.images.normalization.percentiles", spy)
    places = np.arange(math.prod(shape), dtype=np.float64).reshape(1, *shape)
    run(stack_ranges(Frames(np.repeat(places, 5, axis=0)), PercentileNormalization()))
    *_, sample = samples
    assert 1_500 < sample.size <= 2_000
    rows, columns = np.divmod(sample, shape[1])
    for found, size in ((rows, shape[0]), (columns, shape[1])):
        assert found.min() <= 0.05 * size
        assert found.max() >= 0.95 * size - 1
        assert found.mean() == pytest.approx((size - 1) / 2, abs=0.05 * size)


def test_a_sampled_frame_beyond_float32_is_named():
    stack = np.zeros((3, 8, 8))
    stack[2, 0, 0] = 1e300
    with pytest.raises(InputError, match="Frame 2: the pixels reach 1e\\+300"):
        run(stack_ranges(Frames(stack), PercentileNormalization()))


def test_pixels_outside_blank_frames_and_a_flash_do_not_count_for_the_range():
    stack = np.random.default_rng(0).normal(1000, 100, (12, 64, 64))
    expected = np.percentile(np.delete(stack, [2, 3, 7], axis=0), [2, 99.8])
    stack[2], stack[3], stack[7] = 0, np.nan, 50 * stack[7]
    _, ranges = run(stack_ranges(Frames(stack), PercentileNormalization()))
    assert ranges[0] == pytest.approx(expected)
    stack[:, :4], stack[:, :, -9:] = 0, np.nan
    _, ranges = run(stack_ranges(Frames(stack), PercentileNormalization()))
    usual = np.delete(stack, [2, 3, 7], axis=0)[:, 4:, :-9]
    assert ranges[0] == pytest.approx(np.percentile(usual, [2, 99.8]))
