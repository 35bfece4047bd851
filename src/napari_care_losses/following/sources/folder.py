"""A folder into which image files arrive: each is one time point, or several."""

from __future__ import annotations

import math
import os
import re
import time
from bisect import bisect_right
from collections import OrderedDict
from itertools import islice
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from napari_care_losses.errors import InputError, OutputError
from napari_care_losses.following.source import Arrived, Layout
from napari_care_losses.following.sources.polling import PolledSource, State, state_of
from napari_care_losses.images.frames import UNNAMED
from napari_care_losses.io.ome_zarr_reader import is_zarr
from napari_care_losses.io.stacks import READ_SUFFIXES, ZARR_SUFFIX, read_stack, size_and_time
from napari_care_losses.io.tiff_reader import set_name
from napari_care_losses.io.whole_files import patiently
from napari_care_losses.restoration.folders import RESTORED_MARK

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from numpy.typing import NDArray

    from napari_care_losses.images.frames import Frames

SETTLE_SECONDS = 0.05
"""Seconds for which a file that was found must not change before it is read."""

SETTLE_GROWING = 0.5
"""The same of a file that was seen to change: copies over a network pause."""

PATIENCE = 10.0
"""Seconds after which a file that does not change and cannot be read is named."""

MOST_NAMED = 3
"""Most files that a note names."""

LARGEST_LOADED = 256 << 20
"""Bytes of a file of several frames that is loaded as a whole, since it is opened for each frame otherwise."""

LONGEST_LOOK = 0.1
"""Seconds that a look takes at most: of many files, some are taken at the next one."""

KEPT = 8
"""Most files that are kept opened: what was found in them, no handle."""


class _Seen(NamedTuple):
    """A file that is not taken yet: as it was found, since when it does not change, and why it cannot be taken."""

    state: State
    since: float
    settle: float
    problem: str = ""


class _Taken(NamedTuple):
    """A file that is taken, the number of its first frame, and by what it is known once it is renamed."""

    name: str
    start: int
    identity: tuple[int, State]


class FolderSource(PolledSource):
    """A folder into which image files of any format arrive that is read; see `PolledSource`.

    Files that come together are sorted by their names, numbers in these by their value. A file is taken once it does
    not change any more and can be read whole. Files of another shape than the first are left out, and named.

    Parameters
    ----------
    folder : Path
        The folder, which may not be there yet.
    order : Path, optional
        A file that notes which files were taken in which order, so that a run that is resumed counts alike.
    resumes : bool
        Whether the files noted there are taken first, in that order.
    skipped : iterable of Path
        What in the folder is no input, such as the result.
    """

    def __init__(
        self, folder: Path, *, order: Path | None = None, resumes: bool = False, skipped: Iterable[Path] = ()
    ) -> None:
        super().__init__(folder)
        self._order, self._skipped = order, {path.name for path in skipped}
        self._resumes, self._is_begun = resumes, False
        self._layout: Layout | None = None
        self._count = 0
        self._seen: dict[str, _Seen] = {}
        self._taken: list[_Taken] = []
        self._places: dict[str, int] = {}
        self._others: dict[str, str] = {}
        self._opened: OrderedDict[str, Frames] = OrderedDict()
        self._loaded: dict[str, list[NDArray[Any]]] = {}

    @property
    def layout(self) -> Layout | None:
        """As `napari_care_losses.following.source.Source`."""
        return self._layout

    def frame(self, number: int) -> NDArray[Any]:
        """Return a frame of the file that holds it."""
        assert self._layout is not None
        file = self._taken[bisect_right(self._taken, number, key=lambda taken: taken.start) - 1]
        if file.name in self._loaded:
            return self._loaded[file.name][number - file.start]
        # what is kept of it is let go when it has been read: its file is closed then
        frames = self._opened.pop(file.name, None) or read_stack(self.path / file.name)
        numbers = _numbers(frames, self._layout)
        if len(frames) == 1 or math.prod(frames.shape) * frames.dtype.itemsize > LARGEST_LOADED:
            return frames[numbers[number - file.start]]
        self._loaded = {file.name: [frames[one] for one in numbers]}
        return self._loaded[file.name][number - file.start]

    def _look(self) -> Arrived:
        try:
            found = self._listed()
        except FileNotFoundError:
            if self._is_begun:
                raise InputError(f"{self.path} is no longer there: was it moved, or its drive taken away?") from None
            return Arrived(0)
        except OSError as error:
            raise InputError(f"{self.path} cannot be looked into: {error.strerror or error}.") from error
        if not self._is_begun:
            self._begin()
        now, self._is_behind = time.monotonic(), False
        for name in sorted(found - self._places.keys(), key=natural):
            self._look_at(name, now)
            if time.monotonic() - now > LONGEST_LOOK:
                self._is_behind = True
                break
        self._seen = {name: seen for name, seen in self._seen.items() if name in found and name not in self._places}
        return Arrived(self._count, note=self._note(now))

    def _listed(self) -> set[str]:
        """Return the names in the folder that may be images and are not taken yet."""
        with os.scandir(self.path) as entries:
            names = {entry.name for entry in entries} - self._places.keys() - self._skipped
        endings = (*READ_SUFFIXES, ZARR_SUFFIX)
        return {
            name
            for name in names
            if name.lower().endswith(endings) and not name.startswith(".") and RESTORED_MARK not in name
        }

    def _look_at(self, name: str, now: float) -> None:
        """Take a file if it does not change any more and is whole."""
        if set_name(self.path / name):
            raise InputError(
                f"{self.path} holds files of one plane each that make an image together ({name}): restore it once it "
                "is finished, or let the microscope write one stack."
            )
        state, seen = self._state(name), self._seen.get(name)
        if state is None or not state[0]:
            return
        if seen is None or seen.state != state:
            self._seen[name] = _Seen(state, now, SETTLE_SECONDS if seen is None else SETTLE_GROWING)
        elif now - seen.since >= seen.settle and not self._is_renamed(name, state):
            try:
                before = self._count
                self._take(name, state)
                self._seen_since(range(before, self._count), seen.since)
            except OSError:
                # on Windows a file that is being written cannot be opened
                return
            except InputError as error:
                self._seen[name] = seen._replace(settle=2 * (now - seen.since), problem=str(error))

    def _take(self, name: str, state: State) -> None:
        """Open a file and count its frames; raises `InputError` if it is not whole."""
        frames = read_stack(self.path / name)
        if is_zarr(self.path / name) and frames.note:
            raise InputError(frames.note)
        layout = _layout(frames)
        like = self._layout = self._layout or layout
        if (layout.axes, layout.inner, layout.frame_shape) != (like.axes, like.inner, like.frame_shape):
            self._others[name] = f"{' x '.join(map(str, frames.shape))} {frames.axes}"
            self._skipped.add(name)
            return
        if self._order is not None:
            _note(self._order, f"{len(frames)} {name}")
        self._add(name, len(frames), state)
        self._keep(name, frames)

    def _add(self, name: str, count: int, state: State) -> None:
        self._places[name] = len(self._taken)
        self._taken.append(_Taken(name, self._count, (os.stat(self.path / name).st_ino, state)))
        self._count += count

    def _begin(self) -> None:
        """Take the files that a run that is resumed took, or start their list afresh."""
        self._is_begun = True
        if self._order is not None and self._resumes:
            for line in _noted(self._order):
                self._take_again(line)
        elif self._order is not None:
            self._order.unlink(missing_ok=True)

    def _take_again(self, line: str) -> None:
        """Take a file that the run that is resumed has taken."""
        count, _, name = line.partition(" ")
        state = self._state(name)
        if state is None:
            raise InputError(
                f"{self.path / name}, which the stopped run followed, is no longer there: put it back, or leave out "
                "--resume to start afresh."
            )
        self._layout = self._layout or _layout(read_stack(self.path / name))
        self._add(name, int(count), state)

    def _is_renamed(self, name: str, state: State) -> bool:
        """Return whether a file is one that was taken under another name, and take note of the new one."""
        identity = (os.stat(self.path / name).st_ino, state)
        for place, taken in enumerate(self._taken):
            if identity[0] and taken.identity == identity and not (self.path / taken.name).exists():
                self._taken[place] = taken._replace(name=name)
                self._places[name] = place
                return True
        return False

    def _state(self, name: str) -> State | None:
        path = self.path / name
        try:
            return size_and_time(path) if path.suffix.lower() == ZARR_SUFFIX else state_of(path)
        except (OSError, ValueError):
            return None

    def _keep(self, name: str, frames: Frames) -> None:
        self._opened[name] = frames
        if len(self._opened) > KEPT:
            self._opened.popitem(last=False)

    def _note(self, now: float) -> str:
        parts = []
        if self._others:
            like = self._taken[0].name
            named = ", ".join(f"{name} ({shape})" for name, shape in islice(self._others.items(), MOST_NAMED))
            more = ", ..." * (len(self._others) > MOST_NAMED)
            parts.append(f"Left out, for their frames are others than those of {like}: {named}{more}.")
        parts += [
            f"{name} is still incomplete: {seen.problem}"
            for name, seen in self._seen.items()
            if seen.problem and now - seen.since > PATIENCE
        ][:MOST_NAMED]
        return " ".join(parts)


def natural(name: str) -> list[tuple[int, int, str]]:
    """Return what sorts names by the value of the numbers in them.

    Examples
    --------
    >>> sorted(["t10.tif", "t9.tif", "T1.tif"], key=natural)
    ['T1.tif', 't9.tif', 't10.tif']
    """
    parts = re.split(r"([0-9]+)", name.casefold())
    return [(0, int(part), "") if part.isdigit() else (1, 0, part) for part in parts if part]


def _numbers(frames: Frames, layout: Layout) -> list[int]:
    """Return the numbers of a file's frames in the order of the source: one time point after the other."""
    places = np.arange(len(frames)).reshape(frames.leading_shape)
    order = sorted(range(places.ndim), key=lambda axis: layout.axes.find(frames.axes[axis]))
    return [int(number) for number in places.transpose(order).ravel()]


def _layout(frames: Frames) -> Layout:
    sizes = dict(zip(frames.axes, frames.shape, strict=True))
    inner = [axis for axis in frames.axes[:-2] if axis not in ("T", UNNAMED)]
    return Layout(
        frame_shape=frames.frame_shape,
        dtype=frames.dtype,
        axes="".join(["T", *inner, "YX"]),
        inner=tuple(sizes[axis] for axis in inner),
        calibration=frames.calibration,
        metadata=frames.metadata,
    )


def _noted(order: Path) -> list[str]:
    """Return the files that a stopped run took; a line that its end cut short does not count."""
    if not order.is_file():
        return []
    whole = order.read_bytes().rpartition(b"\n")[0]
    order.write_bytes(whole + b"\n" * bool(whole))
    return whole.decode("utf-8", "surrogateescape").split("\n") if whole else []


def _note(order: Path, line: str) -> None:
    try:
        with patiently(order.open, "ab") as file:
            file.write(f"{line}\n".encode("utf-8", "surrogateescape"))
    except OSError as error:
        raise OutputError(f"{order} cannot be written: {error.strerror or error}.") from error
