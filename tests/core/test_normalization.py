import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from napari_care_losses.core.errors import InputError, ParameterError
from napari_care_losses.core.frames import Frames
from napari_care_losses.core.normalization import (
    SAMPLED_FRAMES,
    SAMPLED_PIXELS,
    Normalization,
    Range,
    frame_range,
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
    grey_levels = frame_range(image, Normalization())
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
    found = frame_range(image, Normalization(low=low, high=high))
    exact = np.percentile(image.astype(np.float64), [low, high])
    np.testing.assert_allclose(found, exact, rtol=1e-6, atol=1e-6 * float(np.abs(exact).max()))


def test_signed_integers_at_both_ends_do_not_overflow():
    image = np.array([[-128, 127]], np.int8)
    assert frame_range(image, Normalization(low=0, high=50)) == pytest.approx((-128, -0.5))


def test_large_integers_keep_their_small_differences():
    image = np.int32(2_000_000_000) + np.arange(100, dtype=np.int32).reshape(10, 10)
    normalized = frame_range(image, Normalization(low=0, high=100)).apply(image)
    np.testing.assert_allclose(normalized.ravel(), np.arange(100) / 99, atol=1e-6)


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_constant_image_becomes_zero_and_comes_back(dtype):
    image = np.full((8, 8), 1 if dtype == "bool" else 100).astype(dtype)
    grey_levels = frame_range(image, Normalization())
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
        frame_range(image, Normalization())


def test_the_percentiles_are_bounded():
    with pytest.raises(ParameterError, match="low must lie between 0 and 50"):
        Normalization(low=60)
    with pytest.raises(ParameterError, match="high must lie between 50 and 100"):
        Normalization(high=101)


def test_every_channel_has_a_range_of_its_own():
    stack = np.random.default_rng(0).random((3, 2, 16, 16))
    stack[:, 1] = 1000 + 50 * stack[:, 1]
    yielded, ranges = run(stack_ranges(Frames(stack, "TCYX"), Normalization()))
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
    sampling = stack_ranges(Frames(stack), Normalization())
    for count in (1, 2, 3):
        assert next(sampling) == count
        assert len(stack.read) == count
    yielded, ranges = run(sampling)
    assert yielded[-1] == SAMPLED_FRAMES
    assert stack.read == list(range(0, 4 * SAMPLED_FRAMES, 4))
    exact = np.percentile(np.stack([stack[(i,)] for i in range(stack.shape[0])]), [2, 99.8])
    np.testing.assert_allclose(ranges[0], exact, atol=0.02 * np.ptp(exact))


def test_large_frames_are_sampled_on_a_grid(monkeypatch):
    monkeypatch.setattr("napari_care_losses.core.normalization.SAMPLED_PIXELS", 2_000)
    assert SAMPLED_PIXELS >= 1_000_000
    stack = np.random.default_rng(0).normal(size=(5, 100, 120))
    _, ranges = run(stack_ranges(Frames(stack), Normalization()))
    sampled = stack[:, ::6, ::6]
    assert sampled.size <= 2_000
    assert ranges[0] == pytest.approx(np.percentile(sampled, [2, 99.8]))
    np.testing.assert_allclose(ranges[0], np.percentile(stack, [2, 99.8]), atol=0.8)


def test_a_sampled_frame_with_nan_is_named():
    stack = np.zeros((3, 8, 8))
    stack[2, 0, 0] = np.nan
    with pytest.raises(InputError, match="Frame 2: 1 of 64 pixels"):
        run(stack_ranges(Frames(stack), Normalization()))
