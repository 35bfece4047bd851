"""Chunks of several frames are unpacked once, within bounds of memory, and never hide what has changed."""

from __future__ import annotations

import pickle
import threading
from concurrent.futures import ThreadPoolExecutor

import dask.array as da
import h5py
import numpy as np
import pytest
import zarr
from hypothesis import given
from hypothesis import strategies as st
from zarr.storage import MemoryStore, WrapperStore

from napari_care_losses.errors import UnreadableError
from napari_care_losses.images import chunk_cache
from napari_care_losses.images.axes import in_axes_of
from napari_care_losses.images.chunk_cache import cached, forget_chunks
from napari_care_losses.images.frames import Frames
from napari_care_losses.images.normalization import PercentileNormalization, stack_ranges
from napari_care_losses.images.regions import Region
from napari_care_losses.images.selection import part_of

STACK = np.random.default_rng(0).integers(1, 2**16, (10, 6, 8), np.uint16)


class Counted:
    """An array in chunks that notes every read and which chunks it unpacked."""

    def __init__(self, array, chunks):
        self.array, self.shape, self.dtype, self.chunks = array, array.shape, array.dtype, chunks
        self.reads, self.unpacked = [], []
        self.unreadable = ()

    def __getitem__(self, place):
        keys = place if isinstance(place, tuple) else (place,)
        spans = [np.arange(size) for size in self.shape]
        touched = [np.unique(span[key] // chunk) for span, key, chunk in zip(spans, keys, self.chunks, strict=False)]
        if any(step in touched[0] for step in self.unreadable):
            raise OSError("damaged")
        self.reads.append(place)
        self.unpacked += [tuple(map(int, cell)) for cell in np.stack(np.meshgrid(*touched), -1).reshape(-1, len(keys))]
        return self.array[place]


class CountingStore(WrapperStore[MemoryStore]):
    """A store that counts how often every chunk is fetched."""

    def __init__(self, store):
        super().__init__(store)
        self.fetched = []

    async def get(self, key, *args, **options):
        if not key.endswith(("zarr.json", ".zarray", ".zattrs")):
            self.fetched.append(key)
        return await super().get(key, *args, **options)


def stored(array, chunks, version=3):
    """Return a zarr array and its counting store."""
    store = CountingStore(MemoryStore())
    made = zarr.create_array(store, shape=array.shape, chunks=chunks, dtype=array.dtype, zarr_format=version)
    made[:] = array
    store.fetched.clear()
    return made, store


@pytest.mark.parametrize("version", [2, 3])
def test_every_chunk_of_a_zarr_array_is_unpacked_once(version):
    array, store = stored(STACK, (4, 6, 4), version)
    np.testing.assert_array_equal(list(Frames(array)), STACK)
    assert len(store.fetched) == len(set(store.fetched)) == 6


def test_every_block_of_a_dask_array_is_computed_once():
    computed = []

    def compute(block, block_info=None):
        computed.append(block_info[None]["chunk-location"])
        return block + np.uint16(1)

    lazy = da.from_array(STACK, chunks=((4, 1, 5), 3, 8)).map_blocks(compute, dtype=np.uint16, meta=STACK[:0])
    computed.clear()
    np.testing.assert_array_equal(list(Frames(lazy)), STACK + 1)
    assert sorted(computed) == [(i, j, 0) for i in range(3) for j in range(2)]


def test_hdf5_is_read_as_it_is(tmp_path):
    with h5py.File(tmp_path / "stack.h5", "w") as file:
        data = file.create_dataset("stack", data=STACK, chunks=(4, 6, 8), compression="gzip")
        np.testing.assert_array_equal(list(Frames(data)), STACK)
        np.testing.assert_array_equal(list(Frames(file.create_dataset("plain", data=STACK))), STACK)


def test_planes_between_the_frames_of_a_chunk():
    array = Counted(STACK.reshape(5, 2, 6, 8), (5, 1, 6, 8))
    np.testing.assert_array_equal(list(Frames(array)), STACK)
    assert array.unpacked == [(0, 0, 0, 0), (0, 1, 0, 0)]


def test_a_selection_and_other_axes_share_what_is_unpacked():
    array = Counted(STACK, (5, 6, 8))
    frames = Frames(array)
    np.testing.assert_array_equal(list(frames.select(1, 3)), STACK[1:3])
    np.testing.assert_array_equal(list(in_axes_of(frames, Frames(STACK[:, None]))), STACK)
    assert array.unpacked == [(0, 0, 0), (1, 0, 0)]


def test_axes_of_one_step_are_left_out():
    array = Counted(STACK[None, None, :, None], (1, 1, 5, 1, 6, 8))
    np.testing.assert_array_equal(list(Frames(array)), STACK)
    assert len(array.unpacked) == 2


def test_statistics_over_sampled_frames_unpack_every_chunk_once():
    array = Counted(np.repeat(STACK, 20, axis=0), (25, 6, 8))
    for _ in stack_ranges(Frames(array), PercentileNormalization()):
        pass
    assert array.unpacked == [(i, 0, 0) for i in range(8)]


def test_threads_that_read_the_same_chunk_wait_for_one_another():
    both = threading.Barrier(4)
    array = Counted(STACK, (10, 6, 8))
    frames = Frames(array)

    def read(index):
        both.wait()
        return frames[index]

    with ThreadPoolExecutor(4) as threads:
        np.testing.assert_array_equal(list(threads.map(read, range(4))), STACK[:4])
    assert array.unpacked == [(0, 0, 0)]


@given(st.data())
def test_any_place_reads_as_from_the_array(data):
    array = STACK.reshape(5, 2, 6, 8)
    cache = cached(Counted(array, (2, 2, 4, 3)))
    for _ in range(4):
        place = tuple(
            data.draw(st.integers(0, size - 1) | st.slices(size))
            for size in array.shape[: data.draw(st.integers(1, 4))]
        )
        np.testing.assert_array_equal(cache[place], array[place])


def test_a_frame_is_a_copy_that_may_be_changed():
    frames = Frames(Counted(STACK, (5, 6, 8)))
    frames[0][:] = 0
    assert frames[0].base is None
    np.testing.assert_array_equal(frames[0], STACK[0])


def test_a_window_is_read_alone_the_first_time():
    array = Counted(STACK, (5, 6, 4))
    cache = cached(array)
    for index in range(10):
        np.testing.assert_array_equal(cache[index, 1:3, 0:2], STACK[index, 1:3, 0:2])
    assert array.reads[0] == (0, slice(1, 3), slice(0, 2))
    # once for that, then once each
    assert array.unpacked == [(0, 0, 0), (0, 0, 0), (1, 0, 0)]
    np.testing.assert_array_equal(cache[7, 2:5, 1:3], STACK[7, 2:5, 1:3])
    np.testing.assert_array_equal(cache[7, 2:5, 5:8], STACK[7, 2:5, 5:8])
    assert array.reads[3:] == [(7, slice(2, 5), slice(5, 8))]


def test_a_part_of_every_frame_is_unpacked_with_the_others_of_its_chunk():
    array = Counted(STACK, (5, 3, 4))
    part = part_of(Frames(array), Region(0, 2, 5, 7))
    np.testing.assert_array_equal(list(part), STACK[:, 0:2, 5:7])
    assert array.unpacked == [(0, 0, 1), (0, 0, 1), (1, 0, 1)]


FRAME = STACK[0].nbytes


@pytest.mark.parametrize(("room", "steps"), [(8 * FRAME, 4), (5 * FRAME, 2), (3 * FRAME, 1), (0, 1)])
@pytest.mark.parametrize("bound", ["largest", "free"])
def test_no_more_frames_are_unpacked_than_there_is_room_for(room, steps, bound, monkeypatch):
    if bound == "largest":
        monkeypatch.setattr(chunk_cache, "LARGEST_KEPT", room)
    else:
        monkeypatch.setattr(chunk_cache, "free_memory", lambda: int(room / chunk_cache.MEMORY_SHARE))
    array = Counted(STACK, (10, 6, 8))
    frames = Frames(array)
    np.testing.assert_array_equal(list(frames), STACK)
    assert len(array.reads) == -(-10 // steps)
    kept = frames.pixels._blocks.values()
    assert sum(block.size for block in kept) <= room


def test_planes_between_frames_count_for_the_room(monkeypatch):
    monkeypatch.setattr(chunk_cache, "LARGEST_KEPT", 2 * 4 * FRAME)
    array = Counted(STACK.reshape(5, 2, 6, 8), (5, 1, 6, 8))
    np.testing.assert_array_equal(list(Frames(array)), STACK)
    # two steps of both planes
    assert len(array.reads) == 3 * 2


def test_memory_that_is_gone_since_is_not_taken(monkeypatch):
    array = Counted(STACK, (5, 6, 8))
    frames = Frames(array)
    assert len(frames[0]) == 6
    monkeypatch.setattr(chunk_cache, "free_memory", lambda: 0)
    np.testing.assert_array_equal(list(frames)[5:], STACK[5:])
    assert array.reads[1:] == [(index,) for index in range(5, 10)]


def test_blocks_used_longest_ago_make_room(monkeypatch):
    monkeypatch.setattr(chunk_cache, "LARGEST_KEPT", 4 * FRAME)
    array = Counted(STACK, (2, 6, 8))
    frames = Frames(array)
    for index in (0, 2, 1, 4, 1, 3):
        np.testing.assert_array_equal(frames[index], STACK[index])
    assert [chunk for chunk, _, _ in array.unpacked] == [0, 1, 2, 1]


def test_a_damaged_frame_leaves_its_neighbours_readable():
    array = Counted(STACK, (5, 6, 8))
    array.unreadable = [1]
    frames = Frames(array)
    np.testing.assert_array_equal(frames[4], STACK[4])
    with pytest.raises(UnreadableError, match=r"Frame 5 .*damaged"):
        frames[5]


def test_frames_that_cannot_be_read_together_are_read_alone():
    class Together(Counted):
        def __getitem__(self, place):
            if isinstance(place[0], slice):
                raise MemoryError
            return super().__getitem__(place)

    array = Together(STACK, (5, 6, 8))
    np.testing.assert_array_equal(list(Frames(array)), STACK)
    assert len(array.reads) == 10


@pytest.mark.parametrize("missing", [0.0, np.nan])
def test_frames_that_are_written_later_are_seen(missing):
    data = STACK.astype(np.float32)
    data[3:] = missing
    frames = Frames(Counted(data, (10, 6, 8)))
    np.testing.assert_array_equal(frames[2], STACK[2])
    data[3] = STACK[3]
    np.testing.assert_array_equal(frames[3], STACK[3])


@pytest.mark.parametrize("way", ["forgotten", "old"])
def test_pixels_that_are_changed_are_seen(way, monkeypatch):
    data = STACK.copy()
    frames = Frames(Counted(data, (10, 6, 8)))
    np.testing.assert_array_equal(frames[2], STACK[2])
    data += 1
    if way == "old":
        monkeypatch.setattr(chunk_cache, "KEPT_SECONDS", -1)
    else:
        forget_chunks()
    np.testing.assert_array_equal(frames[3], data[3])


def test_a_cache_goes_with_its_readers_and_travels_without_pixels():
    array = zarr.array(STACK, chunks=(5, 6, 8))
    before = len(chunk_cache._CACHES)
    cache = cached(array)
    assert cached(array) is cache
    assert len(chunk_cache._CACHES) == before + 1
    np.testing.assert_array_equal(cache[2], STACK[2])
    copy = pickle.loads(pickle.dumps(cache))
    np.testing.assert_array_equal(copy[2], STACK[2])
    del cache, copy
    assert len(chunk_cache._CACHES) == before


@pytest.mark.parametrize("chunks", [None, (1, 3, 8), (4, 8), "auto", (1, None, 8)])
def test_arrays_without_shared_chunks_are_left_alone(chunks):
    array = Counted(STACK, chunks)
    assert cached(array) is array
