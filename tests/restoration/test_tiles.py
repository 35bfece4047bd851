"""Tiles: every pixel once, with its margin, all of one size, as few as can be; padding and cropping."""

import numpy as np
import pytest
from fixtures.random_models import TINY
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_care_losses.models.architecture import PRESETS, Architecture
from napari_care_losses.restoration.tiles import crop, largest_tile, pad, plan_tiles, smallest_tile, working_memory

ARCHITECTURES = st.builds(
    Architecture, depth=st.integers(1, 4), kernel_size=st.sampled_from([3, 5, 7]), filters=st.integers(1, 64)
)
SHAPES = st.tuples(st.integers(1, 500), st.integers(1, 500))
TILE_SIZES = st.integers(0, 300)


def padded(shape, architecture):
    return tuple(-(-size // architecture.block) * architecture.block for size in shape)


def read(tile):
    """Return (Y, X) of what a tile reads."""
    return tuple(span.stop - span.start for span in tile.source)


@settings(max_examples=60)
@given(SHAPES, ARCHITECTURES, TILE_SIZES)
def test_tiles_cover_every_pixel_once_with_their_margin(shape, architecture, tile_size):
    block, margin, whole = architecture.block, architecture.margin, padded(shape, architecture)
    covered = np.zeros(whole, int)
    for tile in plan_tiles(shape, architecture, tile_size):
        covered[tile.target] += 1
        for source, inner, target, size in zip(*tile, whole, strict=True):
            assert 0 <= source.start <= target.start < target.stop <= source.stop <= size
            assert source.start % block == 0
            assert (source.start + inner.start, source.start + inner.stop) == (target.start, target.stop)
            assert target.start - source.start >= min(margin, target.start)
            assert source.stop - target.stop >= min(margin, size - target.stop)
    np.testing.assert_array_equal(covered, 1)


@settings(max_examples=60)
@given(SHAPES, ARCHITECTURES, TILE_SIZES)
def test_all_tiles_of_a_frame_read_one_size_no_larger_than_asked(shape, architecture, tile_size):
    (height, width), *others = {read(tile) for tile in plan_tiles(shape, architecture, tile_size)}
    assert others == []
    for size, whole in zip((height, width), padded(shape, architecture), strict=True):
        assert size % architecture.block == 0
        assert size <= min(whole, max(tile_size, smallest_tile(architecture)))


@settings(max_examples=60)
@given(SHAPES, ARCHITECTURES, TILE_SIZES)
def test_tiles_are_as_few_and_as_small_as_can_be(shape, architecture, tile_size):
    block, margin = architecture.block, architecture.margin
    largest = max(tile_size, smallest_tile(architecture)) // block * block

    def reach(count, width):
        """Return how many pixels in a row `count` tiles restore: all they read but the margins between them."""
        return count * (width - 2 * margin) + 2 * margin

    tiles = plan_tiles(shape, architecture, tile_size)
    for axis, size in enumerate(padded(shape, architecture)):
        count, width = len({tile.target[axis].start for tile in tiles}), read(tiles[0])[axis]
        assert count == 1 or reach(count - 1, largest) < size
        assert reach(count, width) >= size or (count, width) == (1, size)
        assert count == 1 or reach(count, width - block) < size


def test_a_frame_no_larger_than_a_tile_is_one():
    ((source, inner, target),) = plan_tiles((61, 64), PRESETS["care"], 64)
    assert source == inner == target == (slice(0, 64), slice(0, 64))


@pytest.mark.parametrize("tile_size", [0, 1, 8, 30, 31])
def test_no_tile_is_smaller_than_three_margins(tile_size):
    assert (TINY.margin, smallest_tile(TINY)) == (10, 30)
    tiles = plan_tiles((200, 20), TINY, tile_size)
    assert read(tiles[0]) == (30, 20)
    assert len(tiles) == 18


@given(ARCHITECTURES, st.integers(0, 2**40))
def test_the_largest_tile_just_fits_the_memory(architecture, memory):
    width = largest_tile(architecture, memory)
    assert working_memory(architecture, width) <= memory < working_memory(architecture, width + 1)


def test_more_filters_take_more_memory():
    assert working_memory(PRESETS["care"], 512) == 2 * working_memory(PRESETS["lite"], 512)
    assert largest_tile(PRESETS["care"], 768 << 20) > 1000


@given(st.tuples(st.integers(1, 60), st.integers(1, 60)), st.sampled_from([2, 4, 8, 16]))
def test_cropping_undoes_padding(shape, block):
    image = np.random.default_rng(0).random(shape, np.float32)
    larger = pad(image, block)
    np.testing.assert_array_equal(larger[crop(shape, block)], image)
    assert larger.dtype == np.float32
    assert all(size % block == 0 and 0 <= size - given < block for size, given in zip(larger.shape, shape, strict=True))
    assert np.isin(larger, image).all()


@pytest.mark.parametrize("shape", [(17, 30), (18, 18), (33, 47)])
def test_padding_is_csbdeep_s(shape):
    """By reflection, half of it on either side, the odd pixel behind."""
    image = np.arange(np.prod(shape), dtype=np.float32).reshape(shape)
    missing = [-size % 16 for size in shape]
    expected = np.pad(image, [(m // 2, m - m // 2) for m in missing], mode="reflect")
    np.testing.assert_array_equal(pad(image, 16), expected)


@pytest.mark.parametrize("shape", [(1, 1), (3, 40), (17, 5), (16, 16)])
def test_a_very_narrow_image_is_mirrored_with_its_edge(shape):
    image = np.random.default_rng(0).random(shape, np.float32)
    missing = [-size % 16 for size in shape]
    expected = np.pad(image, [(m // 2, m - m // 2) for m in missing], mode="symmetric")
    np.testing.assert_array_equal(pad(image, 16), expected)
