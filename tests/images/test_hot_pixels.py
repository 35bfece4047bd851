"""Hot pixels: those that the plain definition finds, bit by bit, in any image."""

import numpy as np
import pytest

from napari_care_losses.images.usable_pixels import _quantile, hot_pixels


def plainly(frame):
    """Return hot pixels by sorting all neighbours of all candidates."""
    levels = frame.astype(np.float32, copy=False)
    rows = np.abs(levels[:: -(-levels.shape[0] // 256), 1:-1] - _beside(levels[:: -(-levels.shape[0] // 256)]))
    rows = rows[rows > 0]
    if not rows.size:
        return np.empty(0, np.intp), np.empty(0, np.intp)
    few = rows[rows <= np.quantile(rows, 0.95)]
    noise = float(np.sqrt(np.mean(np.square(few), dtype=np.float64)))
    padded = np.pad(levels, 1, mode="reflect")
    found = np.nonzero(levels > np.minimum(padded[1:-1, :-2], padded[1:-1, 2:]) + np.float32(12 * noise))
    offsets = [(y, x) for y in (0, 1, 2) for x in (0, 1, 2) if (y, x) != (1, 1)]
    around = np.sort(np.stack([padded[found[0] + y, found[1] + x] for y, x in offsets]), axis=0)
    is_hot = levels[found] > around[-3] + 4.0 * (around[-3] - around[0]) + 12.0 * noise
    return found[0][is_hot], found[1][is_hot]


def _beside(levels):
    return (levels[:, :-2] + levels[:, 2:]) / 2


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
@pytest.mark.parametrize("seed", range(4))
def test_the_same_as_by_the_plain_definition(dtype, seed):
    rng = np.random.default_rng(seed)
    frame = rng.poisson(5 + 40 * (rng.random((60 + seed, 300)) > 0.97)).astype(dtype)
    for _ in range(20):
        frame[rng.integers(frame.shape[0]), rng.integers(frame.shape[1])] = 250
    frame[10, 10:13] = 240
    found = hot_pixels(frame)
    assert found[0].size >= 5
    for some, all_of_them in zip(found, plainly(frame), strict=True):
        np.testing.assert_array_equal(some, all_of_them)


@pytest.mark.parametrize("frame", [np.zeros((8, 8)), np.ones((3, 3), np.uint16), np.eye(9, dtype=np.uint8)])
def test_images_almost_without_noise(frame):
    for some, all_of_them in zip(hot_pixels(frame), plainly(frame), strict=True):
        np.testing.assert_array_equal(some, all_of_them)


@pytest.mark.parametrize("count", [1, 2, 3, 20, 21, 1000])
def test_the_quantile_is_numpy_s(count):
    rng = np.random.default_rng(count)
    for values in (rng.gamma(1, 3, count), rng.integers(0, 9, count)):
        values = values.astype(np.float32)
        for share in (0.0, 0.3, 0.95, 1.0):
            expected = np.quantile(values, share)
            assert _quantile(values, share) == expected
            assert _quantile(values, share).dtype == expected.dtype
