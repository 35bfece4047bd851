"""An OME-Zarr image that is being written: its time axis grows, or its chunks come one after the other."""

from __future__ import annotations

import math
import time
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_care_losses.errors import InputError
from napari_care_losses.following.source import Arrived, Layout
from napari_care_losses.following.sources.polling import PolledSource, State, state_of
from napari_care_losses.images.frames import Calibration, ImageMetadata
from napari_care_losses.io.ome_zarr_reader import group_metadata, is_zarr, open_ome_zarr
from napari_care_losses.io.written_frames import partial_path

if TYPE_CHECKING:
    from numpy.typing import NDArray

AHEAD = 16
"""Time points beyond the last one found that are looked for: programs that write side by side do not keep the order."""

SETTLE_SECONDS = 0.02
"""Seconds for which the file of a chunk must not change."""

SETTLE_SHARED = 0.5
"""The same of a chunk of several time points, which is written again for each of them."""

_METADATA = ("zarr.json", ".zarray", ".zattrs")


class OmeZarrSource(PolledSource):
    """An OME-Zarr image being written; a result of this package that is still partial too.

    A frame is complete once all its chunks are there. Of chunks that hold several time points, those that are still
    empty are not.

    Parameters
    ----------
    path : Path
        The image's group, which may not be there yet.
    """

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self._array: Any = None
        self._layout: Layout | None = None
        self._axes, self._folder = "", path
        self._metadata_state: tuple[State | None, ...] = ()
        self._times: set[int] = set()
        self._whole_below = 0
        self._seen: dict[int, tuple[tuple[State | None, ...], float]] = {}

    @property
    def layout(self) -> Layout | None:
        """As `napari_care_losses.following.source.Source`."""
        return self._layout

    def frame(self, number: int) -> NDArray[Any]:
        """Return a frame; of what is not there, the fill value."""
        assert self._layout is not None
        time_point, *inner = np.unravel_index(number, (number + 1, *self._layout.inner))
        at = dict(zip(self._layout.axes[1:-2], inner, strict=True)) | {"T": time_point}
        pixels = self._array[tuple(int(at.get(axis, 0)) for axis in self._axes[:-2])]
        if not is_zarr(self.path) and not self._moved():
            raise FileNotFoundError(f"{self.path} is no longer there")
        return np.asarray(pixels)

    def _look(self) -> Arrived:
        if self._layout is None:
            try:
                self._begin()
            except InputError as error:
                return Arrived(0, note=f"Waiting for its metadata. {error}" if self.path.exists() else "")
        assert self._layout is not None
        has_ended = not is_zarr(self.path)
        if has_ended and not self._moved():
            raise InputError(f"{self.path} is no longer there: was it moved, or its drive taken away?")
        self._refresh()
        if has_ended:
            self._times = set(range(self._array.shape[self._axes.index("T")]))
        else:
            self._find()
        size, count = self._layout.frames_per_time, max(self._times, default=-1) + 1
        while self._whole_below in self._times:
            self._whole_below += 1
        absent = (time for time in range(self._whole_below, count) if time not in self._times)
        missing = frozenset(number for time in absent for number in self._frames_of(time))
        return Arrived(count * size, missing=missing, has_ended=has_ended)

    def _begin(self) -> None:
        """Read the metadata, which come first."""
        import zarr

        if partial_path(self.path.with_suffix("")) == self.path and not group_metadata(self.path):
            self._folder = self.path / "0"
            array = zarr.open_array(self._folder, mode="r")
            names = getattr(array.metadata, "dimension_names", None)
            if not names:
                raise InputError(f"{self.path} does not name its axes: follow one of OME-Zarr 0.5.")
            self._axes = "".join(names).upper()
            calibration, metadata = Calibration(), ImageMetadata()
        else:
            image = open_ome_zarr(self.path)
            array, self._axes = image.levels[0], image.axes
            self._folder = Path(str(array.store.root))
            calibration, metadata = image.calibration, image.metadata
        if "T" not in self._axes:
            raise InputError(f"{self.path} has the axes {self._axes}: expected time, along which frames come.")
        self._array = array
        sizes = dict(zip(self._axes, map(int, array.shape), strict=True))
        inner = [axis for axis in self._axes[:-2] if axis != "T" and sizes[axis] > 1]
        self._layout = Layout(
            frame_shape=(sizes["Y"], sizes["X"]),
            dtype=array.dtype,
            axes="".join(["T", *inner, "YX"]),
            inner=tuple(sizes[axis] for axis in inner),
            calibration=calibration,
            metadata=metadata,
        )

    def _moved(self) -> bool:
        """Return whether a partial result is whole meanwhile, and take that instead."""
        whole = self.path.with_suffix("")
        if partial_path(whole) != self.path or not is_zarr(whole):
            return False
        self._folder, self.path = whole / self._folder.name, whole
        return True

    def _refresh(self) -> None:
        """Open the array again where its metadata have changed."""
        import zarr

        state = tuple(state_of(self._folder / name) for name in _METADATA)
        if state == self._metadata_state:
            return
        try:
            array = zarr.open_array(self._folder, mode="r")
        except Exception:  # noqa: BLE001 - half-written metadata raise errors of every kind; the next look sees them whole
            return
        if array.shape[1:] == self._array.shape[1:] or self._axes[0] != "T":
            self._array, self._metadata_state = array, state

    def _find(self) -> None:
        """Look for time points whose chunks have come."""
        along = self._axes.index("T")
        per_chunk = (self._array.shards or self._array.chunks)[along]
        settle = SETTLE_SECONDS if per_chunk == 1 else SETTLE_SHARED
        now, highest = time.monotonic(), max(self._times, default=-1)
        number = self._whole_below
        while number < min(highest + 1 + AHEAD * per_chunk, self._array.shape[along]):
            if number not in self._times:
                files = self._states(number // per_chunk)
                if None not in files:
                    highest = max(highest, number)
                    known = self._seen.get(number)
                    if known is None or known[0] != files:
                        self._seen[number] = (files, now)
                    elif now - known[1] >= settle:
                        # empty, it is looked at again once its chunk has changed
                        self._seen[number] = (files, math.inf)
                        if per_chunk == 1 or self._has_pixels(number):
                            self._times.add(number)
                            self._seen_since(self._frames_of(number), known[1])
            number += 1

    def _frames_of(self, time: int) -> range:
        """Return the numbers of the frames of a time point."""
        assert self._layout is not None
        return range(time * self._layout.frames_per_time, (time + 1) * self._layout.frames_per_time)

    def _states(self, place: int) -> tuple[State | None, ...]:
        """Return the states of all files of a chunk along time."""
        chunks, along = self._array.shards or self._array.chunks, self._axes.index("T")
        counts = [range(-(-size // chunk)) for size, chunk in zip(self._array.shape, chunks, strict=True)]
        counts[along] = range(place, place + 1)
        keys = (self._array.metadata.encode_chunk_key(coordinates) for coordinates in product(*counts))
        return tuple(state_of(self._folder / key) for key in keys)

    def _has_pixels(self, number: int) -> bool:
        """Return whether a time point in a chunk of several is written: not all fill value."""
        try:
            frames = [self.frame(one) for one in self._frames_of(number)]
        except Exception:  # noqa: BLE001 - of a chunk being written again
            return False
        return all(bool((frame != self._array.fill_value).any()) for frame in frames)
