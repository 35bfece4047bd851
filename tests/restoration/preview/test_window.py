"""What of a frame a preview restores, in which tiles and which order."""

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from napari_care_losses.images.regions import Region, cells
from napari_care_losses.models.architecture import PRESETS, Architecture
from napari_care_losses.restoration.preview.window import (
    LARGEST_WINDOW,
    WIDTHS,
    choose_window,
    cut,
    plan_window,
    richest_cell,
    tile_width,
)

SHAPES = st.tuples(st.integers(1, 1500), st.integers(1, 1500))
PLACES = st.floats(-300, 1800)
CURSORS = st.none() | st.tuples(PLACES, PLACES)
ARCHITECTURES = st.builds(Architecture, depth=st.integers(1, 4), kernel_size=st.sampled_from([3, 5, 7]))


@st.composite
def regions(draw):
    """Return what is visible: first and last y, first and last x."""
    y, x = sorted(draw(st.tuples(PLACES, PLACES))), sorted(draw(st.tuples(PLACES, PLACES)))
    return (*y, *x)


@st.composite
def windows(draw, largest=LARGEST_WINDOW):
    """Return the shape of a frame and a window in it."""
    shape = draw(SHAPES)
    y0, x0 = (draw(st.integers(0, size - 1)) for size in shape)
    y1, x1 = (
        draw(st.integers(start + 1, min(size, start + largest))) for start, size in zip((y0, x0), shape, strict=True)
    )
    return shape, Region(y0, y1, x0, x1)


def seen(visible, shape):
    """Return which pixels of each axis are visible, by looking at each: more than its edge must show."""
    for first, last, size in zip(visible[::2], visible[1::2], shape, strict=True):
        places = np.arange(size)
        yield places[(places + 0.5 > first) & (places - 0.5 < last) & (first < last)]


@settings(max_examples=300)
@given(SHAPES, regions(), CURSORS)
@example((10, 20), (2.5, 7.5, -0.5, 19.5), None).via("edges exactly between two pixels, and of the frame")
@example((10, 20), (2.5, 2.5, 0.0, 9.0), None).via("no height, between two pixels")
@example((10, 20), (0.0, 9.0, 3.2, 3.2), None).via("no width, within a pixel")
@example((10, 20), (0.49999999999999994, 1.5000000000000002, 0.0, 9.0), None).via("edges that rounding steps over")
@example((1500, 20), (99.5, 1499.5, 0.0, 9.0), (99.5, 0.0)).via("the cursor on such an edge")
def test_the_window_is_what_is_visible_or_the_largest_at_the_cursor(shape, visible, cursor):
    window = choose_window(shape, visible, cursor)
    parts = list(seen(visible, shape))
    if any(len(part) == 0 for part in parts):
        assert window is None
        return
    is_inside = cursor is not None and all(
        part[0] - 0.5 <= at < part[-1] + 0.5 for at, part in zip(cursor, parts, strict=True)
    )
    for axis, part in enumerate(parts):
        start, stop = window[2 * axis : 2 * axis + 2]
        assert part[0] <= start < stop <= part[-1] + 1
        assert stop - start == min(len(part), LARGEST_WINDOW)
        if is_inside:
            assert start - 0.5 <= cursor[axis] < stop - 0.5


def test_the_window_at_the_cursor_is_clamped_and_stays_near():
    whole = (0.0, 2047.0, 0.0, 2047.0)
    assert choose_window((2048, 2048), whole, (3.0, 2047.0)) == Region(0, 512, 1536, 2048)
    window = choose_window((2048, 2048), whole, (1000.0, 900.0))
    assert window.shape == (512, 512)
    assert abs((window.y0 + window.y1) / 2 - 1000) <= 64
    assert abs((window.x0 + window.x1) / 2 - 900) <= 64


def test_a_cursor_outside_leaves_the_middle():
    assert choose_window((2048, 2048), (0, 2047, 0, 2047), (-5.0, 100.0)) == Region(768, 1280, 768, 1280)
    assert choose_window((2048, 2048), (0, 2047, 0, 2047)) == Region(768, 1280, 768, 1280)


@pytest.mark.parametrize("visible", [(-9, -1, 0, 5), (0, 5, 30, 40), (-0.6, -0.5, 0, 5), (0, 5, 19.5, 30)])
def test_a_frame_out_of_view_has_no_window(visible):
    assert choose_window((10, 20), visible) is None


@settings(max_examples=200)
@given(SHAPES, regions(), CURSORS, CURSORS)
def test_a_window_is_kept_while_it_is_visible_and_holds_the_cursor(shape, visible, cursor, moved):
    current = choose_window(shape, visible, cursor)
    later = choose_window(shape, visible, moved, current)
    if current is None:
        assert later is None
        return
    afresh = choose_window(shape, visible, moved)
    assert later in (current, afresh)
    holds = (
        moved is not None and current.y0 <= moved[0] < current.y1 - 0.5 and current.x0 <= moved[1] < current.x1 - 0.5
    )
    if holds:
        assert later == current


def test_a_window_that_is_no_longer_visible_is_replaced():
    current = Region(0, 512, 0, 512)
    assert choose_window((2048, 2048), (100, 1500, 0, 1500), None, current) != current
    assert choose_window((2048, 2048), (0, 300, 0, 1500), None, current).shape == (301, 512)


@settings(max_examples=100)
@given(windows(), ARCHITECTURES, st.sampled_from(WIDTHS), st.booleans())
def test_tiles_cover_the_window_with_their_margins(given_window, architecture, width, has_cursor):
    shape, window = given_window
    block, margin = architecture.block, architecture.margin
    padded = [-(-size // block) * block for size in shape]
    offset = [(whole - size) // 2 for whole, size in zip(padded, shape, strict=True)]
    covered = np.zeros(padded, bool)
    tiles = plan_window(window, shape, architecture, width, (window.y0, window.x0) if has_cursor else None)
    for tile in tiles:
        assert not covered[tile.target].any()
        covered[tile.target] = True
        for source, inner, target, size in zip(*tile, padded, strict=True):
            assert 0 <= source.start <= target.start < target.stop <= source.stop <= size
            assert source.start % block == source.stop % block == 0
            assert (source.start + inner.start, source.start + inner.stop) == (target.start, target.stop)
            assert target.start - source.start >= min(margin, target.start)
            assert source.stop - target.stop >= min(margin, size - target.stop)
    rows, columns = window.slices
    assert covered[
        rows.start + offset[0] : rows.stop + offset[0], columns.start + offset[1] : columns.stop + offset[1]
    ].all()


@settings(max_examples=100)
@given(st.lists(windows(), min_size=2, max_size=2), ARCHITECTURES, st.sampled_from(WIDTHS[:2]))
def test_tiles_of_all_windows_read_one_size_and_come_from_one_grid(given_windows, architecture, width):
    (shape, one), (_, other) = given_windows
    other = Region(0, min(shape[0], other.shape[0]), 0, min(shape[1], other.shape[1]))
    tiles = [tile for window in (one, other) for tile in plan_window(window, shape, architecture, width)]
    assert len({tuple(span.stop - span.start for span in tile.source) for tile in tiles}) == 1
    grid = {str(cut(cell, shape, architecture, width)) for cell in cells(shape, width)}
    assert {str(tile) for tile in tiles} <= grid


def test_tiles_come_from_the_cursor_outward():
    cursor = (700.0, 650.0)
    tiles = plan_window(Region(512, 1024, 512, 1024), (2048, 2048), PRESETS["care"], 128, cursor)
    assert len(tiles) == 16
    nearest = [
        np.hypot(*(max(span.start - at, at - span.stop + 1, 0) for span, at in zip(tile.target, cursor, strict=True)))
        for tile in tiles
    ]
    assert nearest == sorted(nearest)
    assert nearest[0] == 0
    assert nearest[-1] > 200


def test_a_fast_network_takes_the_window_at_once_and_a_slow_one_takes_small_tiles():
    assert tile_width(PRESETS["lite"], on_cpu=True) == LARGEST_WINDOW
    assert tile_width(PRESETS["care"], on_cpu=True) == 128
    assert tile_width(PRESETS["care"], on_cpu=False) == LARGEST_WINDOW
    assert tile_width(Architecture(depth=4, kernel_size=7, filters=128), on_cpu=True) == 128
    (tile,) = plan_window(Region(5, 105, 7, 17), (2048, 2048), PRESETS["lite"], LARGEST_WINDOW)
    assert tile.target == (slice(5, 105), slice(7, 17))
    assert tile.source[0].stop < 300


def test_the_richest_cell_is_that_of_structure_not_of_a_hot_pixel():
    frame = np.random.default_rng(0).poisson(20, (300, 400)).astype(np.uint16)
    frame[140:250, 260:380] += (40 * (np.arange(120) // 12 % 2)).astype(np.uint16)
    frame[10, 10] = 60_000
    assert richest_cell(frame, 80.0) == Region(128, 256, 256, 384)
    assert richest_cell(np.zeros((3, 2), bool), 1.0) == Region(0, 3, 0, 2)
