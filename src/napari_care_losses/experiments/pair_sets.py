"""Sets of pairs to train or test on: simulated, or files."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from napari_care_losses.errors import InputError
from napari_care_losses.images.axes import truth_of
from napari_care_losses.images.frames import Calibration, Frames
from napari_care_losses.images.selection import shared_frames
from napari_care_losses.io.ome_zarr_reader import is_zarr
from napari_care_losses.io.stacks import read_stack
from napari_care_losses.io.whole_files import is_same
from napari_care_losses.simulation.pairs_and_movies import STRUCTURES
from napari_care_losses.training.pair_sources import stack_files
from napari_care_losses.training.pairs import Pair, pairs_from_frames

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from napari_care_losses.simulation.pairs_and_movies import ImagingConditions


class Stacks(NamedTuple):
    """A low-exposure stack and the high-exposure stack of the same fields of view or time points."""

    low: Frames
    high: Frames

    def pairs(self, name: str, neighbours: int = 0) -> list[Pair]:
        """Return frame by frame pairs, with as many frames around each; raises `InputError` if there are none."""
        return pairs_from_frames(self.low, self.high, name, neighbours=neighbours)


@dataclass(frozen=True, kw_only=True)
class SimulatedSet:
    """Simulated pairs; their values raise `InputError` if they cannot be used."""

    structure: str
    low_ms: tuple[float, ...]
    """Low exposures in ms; of several, field i has number i modulo their count."""
    high_ms: float
    count: int
    """Fields of view, or time points of one movie."""
    is_movie: bool = False
    size: int = 512
    """Height and width of a frame in pixels."""
    seed: int
    """Random seed; field i has seed + i, so seeds of training and test sets must lie far apart."""
    brightness: float = 1.0
    """Factor on the light of both exposures."""

    def __post_init__(self) -> None:
        if self.structure not in STRUCTURES:
            raise InputError(f"structure must be one of {', '.join(STRUCTURES)}, found {self.structure!r}.")
        if not self.low_ms:
            raise InputError("low_ms must name at least one exposure, found none.")
        for name, value in (
            *(("low_ms", value) for value in self.low_ms),
            ("high_ms", self.high_ms),
            ("brightness", self.brightness),
        ):
            if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < math.inf:
                raise InputError(f"{name} must be a number above 0, found {value!r}.")
        for name, count, least in (
            ("fields or frames", self.count, 1),
            ("size", self.size, 16),
            ("seed", self.seed, 0),
        ):
            if isinstance(count, bool) or not isinstance(count, int) or count < least:
                raise InputError(f"{name} must be a whole number of at least {least}, found {count!r}.")

    @property
    def title(self) -> str:
        """Description for the user."""
        exposures = ", ".join(f"{value:g}" for value in self.low_ms)
        kind = "time points" if self.is_movie else "fields"
        dimmed = "" if self.brightness == 1 else f", {self.brightness:g} times as bright"
        return (
            f"{self.count} {kind} of simulated {self.structure}, {exposures} against {self.high_ms:g} ms{dimmed}, "
            f"{self.size} x {self.size} px, seed {self.seed}"
        )

    def smoke(self, count: int) -> SimulatedSet:
        """Return a small set of at most `count` pairs, for a smoke run."""
        return replace(self, count=min(self.count, count), size=min(self.size, 128))

    def identity(self) -> dict[str, Any]:
        """Return plain values that are equal for equal sets."""
        interval = {"interval_s": STRUCTURES[self.structure].interval_s} if self.is_movie else {}
        return {**vars(self), **interval, "low_ms": list(self.low_ms)}

    def stacks(self) -> Stacks:
        """Simulate it."""
        from napari_care_losses.simulation.pairs_and_movies import simulate_movie, simulate_pair

        shape, conditions = (self.size, self.size), self._conditions()
        if self.is_movie:
            low, high = simulate_movie(self.structure, self.count, shape, conditions[0], seed=self.seed)
        else:
            fields = [
                simulate_pair(self.structure, shape, conditions[i % len(conditions)], seed=self.seed + i)
                for i in range(self.count)
            ]
            low, high = (np.stack(images) for images in zip(*fields, strict=True))
        return self._stacked(low, high, is_movie=self.is_movie)

    def pairs(self, neighbours: int = 0) -> list[Pair]:
        """Simulate pairs to train on.

        With neighbours, every field is filmed for as many frames as the network reads, and its middle one is learnt
        from.
        """
        from napari_care_losses.simulation.pairs_and_movies import simulate_movie

        if self.is_movie or not neighbours:
            return self.stacks().pairs(self.title, neighbours)
        pairs, shape, conditions = [], (self.size, self.size), self._conditions()
        for field in range(self.count):
            filmed = simulate_movie(
                self.structure, 1 + neighbours, shape, conditions[field % len(conditions)], seed=self.seed + field
            )
            low, high = self._stacked(*filmed, is_movie=True)
            name = f"{self.title}, field {field}, frame "
            pairs += pairs_from_frames(low, high, name, places=[(neighbours // 2,)], neighbours=neighbours)
        return pairs

    def _conditions(self) -> list[ImagingConditions]:
        from napari_care_losses.simulation.pairs_and_movies import ImagingConditions

        return [
            ImagingConditions(low_ms=low_ms, high_ms=self.high_ms, brightness=self.brightness) for low_ms in self.low_ms
        ]

    def _stacked(self, low: NDArray[np.uint16], high: NDArray[np.uint16], *, is_movie: bool) -> Stacks:
        from napari_care_losses.simulation.microscope import Microscope

        interval_s = STRUCTURES[self.structure].interval_s if is_movie else None
        calibration = Calibration(pixel_size=(Microscope().pixel_size,) * 2, time_step=interval_s)
        return Stacks(Frames(low, "TYX", calibration), Frames(high, "TYX", calibration))


@dataclass(frozen=True, kw_only=True)
class FileSet:
    """Pairs in TIFF files: stacks, or folders of single frames, taken in the order of their names."""

    low: Path
    high: Path
    frames: tuple[int, int] | tuple[tuple[int, int], ...] | None = None
    """First frame and the one after the last, or several such ranges; all by default."""
    is_movie: bool = False
    """Whether the frames are time points of one movie, not independent fields of view."""

    def __post_init__(self) -> None:
        ranges = self._ranges
        twice = [shared for place, one in enumerate(ranges) for shared in shared_frames([one], ranges[:place])]
        if twice:
            raise InputError(f"frames {_range_text(twice)} of {self.low.name} are named twice.")

    @property
    def _ranges(self) -> list[tuple[int, int]]:
        ends = np.ravel(self.frames or ()).tolist()
        return list(zip(ends[::2], ends[1::2], strict=True))

    def shared_with(self, other: FileSet) -> str:
        """Return which frames of which file another set has too; empty if there are none."""
        for one, same in ((self.low, other.low), (self.high, other.high)):
            if is_same(one, same):
                found = shared_frames(self._ranges or [(0, math.inf)], other._ranges or [(0, math.inf)])
                whole = found == [(0, math.inf)]
                return f"{'all frames' if whole else f'frames {_range_text(found)}'} of {one.name}" if found else ""
        return ""

    @property
    def title(self) -> str:
        """Description for the user."""
        chosen = f", frames {_range_text(self._ranges)}" if self._ranges else ""
        kind = " (one movie)" if self.is_movie else ""
        return f"{self.low.name} against {self.high.name}{chosen}{kind}"

    def smoke(self, count: int) -> FileSet:
        """Return a small set of at most `count` pairs, for a smoke run."""
        start, stop = self._ranges[0] if self.frames else (0, count)
        return replace(self, frames=(start, min(stop, start + count)))

    def identity(self) -> dict[str, Any]:
        """Return plain values that are equal for equal, unchanged files; raises `InputError` if one is missing."""
        sides: dict[str, Any] = {}
        for name, path in (("low", self.low), ("high", self.high)):
            try:
                status = path.stat()
            except OSError as error:
                raise InputError(f"There is no file or folder {path}: {error.strerror or error}.") from error
            sides[name] = [str(path.resolve()), status.st_size, status.st_mtime_ns]
        return {
            **sides,
            "frames": None if self.frames is None else np.asarray(self.frames).tolist(),
            "is_movie": self.is_movie,
        }

    def stacks(self) -> Stacks:
        """Open it, lazily; raises `InputError` if it cannot be read, or low and high do not fit."""
        low = _opened(self.low)
        high = truth_of(_opened(self.high), low)
        if low.shape != high.shape:
            raise InputError(
                f"{self.low} and {self.high} must have the same shape, found {low.shape} and {high.shape}."
            )
        if self.frames is not None:
            try:
                low, high = (frames.select_ranges(self._ranges) for frames in (low, high))
            except InputError as error:
                raise InputError(f"{self.low}: {error}") from error
        return Stacks(low, high)

    def pairs(self, neighbours: int = 0) -> list[Pair]:
        """Read pairs to train on; raises `InputError` as `stacks` does, or if frames have no neighbours."""
        return self.stacks().pairs(self.title, neighbours)


PairSet = SimulatedSet | FileSet


class _Files:
    """Single-frame files as one array (N, Y, X), read when asked for."""

    def __init__(self, paths: list[Path]) -> None:
        self._paths = paths
        first = read_stack(paths[0])
        if len(first) != 1:
            raise InputError(f"A folder must hold single frames, found {len(first)} in {paths[0]}: name the stack.")
        self.shape, self.dtype = (len(paths), *first.frame_shape), first.dtype

    def __getitem__(self, place: tuple[int, ...]) -> NDArray[Any]:
        path = self._paths[place[0]]
        frames = read_stack(path)
        if len(frames) != 1 or frames.frame_shape != self.shape[1:]:
            raise InputError(f"{path} must hold one frame of {self.shape[1:]}, found {frames.shape}.")
        return frames[0]


def _range_text(ranges: Sequence[tuple[int, float]]) -> str:
    return ",".join(f"{start}:{'' if stop == math.inf else stop}" for start, stop in ranges)


def _opened(path: Path) -> Frames:
    if path.is_dir() and not is_zarr(path):
        return Frames(_Files(list(stack_files(path).values())), "TYX")
    return read_stack(path)
