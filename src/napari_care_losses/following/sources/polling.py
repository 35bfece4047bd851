"""What files that are looked at again and again have in common: when frames came, how often they are looked at."""

from __future__ import annotations

import os
import time
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from numpy.typing import NDArray

    from napari_care_losses.following.source import Arrived, Layout

SHORTEST_WAIT = 0.005
"""Seconds between two looks at least."""

SHARE = 0.1
"""Share of the time that looking takes at most: folders of many files, and slow drives, are looked at less often."""

State = tuple[int, int]
"""Bytes and time of the last change, in nanoseconds."""


class PolledSource(ABC):
    """A source on a disk, of which frames stay available.

    Parameters
    ----------
    path : Path
        The file or folder.
    """

    keeps_frames = True

    def __init__(self, path: Path) -> None:
        self.path, self.name = path, str(path)
        self._came: dict[int, float] = {}
        self._seen_first: dict[int, float] = {}
        self._counted, self._cost, self._is_first, self._is_behind = 0, 0.0, True, False

    @property
    @abstractmethod
    def layout(self) -> Layout | None:
        """As `napari_care_losses.following.source.Source`."""

    @abstractmethod
    def _look(self) -> Arrived:
        """Look at what is there now."""

    def _seen_since(self, numbers: Iterable[int], since: float) -> None:
        """Note when frames were seen first that count from this look on: what settles takes part of the delay."""
        self._seen_first |= dict.fromkeys(numbers, since)

    @abstractmethod
    def frame(self, number: int) -> NDArray[Any]:
        """As `napari_care_losses.following.source.Source`."""

    def poll(self) -> Arrived:
        """Look at what is there now, and note when new frames came.

        Raises
        ------
        InputError
            If it cannot be followed any longer.
        """
        # what it costs is less than a step of `monotonic` on Windows
        began, clock = time.monotonic(), time.perf_counter()
        arrived = self._look()
        if not self._is_first:
            for number in range(self._counted, arrived.count):
                self._came.setdefault(number, self._seen_first.get(number, began))
        self._seen_first.clear()
        if arrived.count == self._counted:
            # what opening a new frame costs is no reason to look at the next one later
            self._cost = time.perf_counter() - clock
        self._counted = max(self._counted, arrived.count)
        self._is_first = self._is_first and (self._is_behind or not arrived.count)
        return arrived

    def arrival(self, number: int) -> float | None:
        """Return when a frame was seen first, in seconds of `time.monotonic`; None if it was there from the first."""
        return self._came.get(number)

    def wait(self, seconds: float) -> None:
        """Wait until the next look, at most so long."""
        time.sleep(min(seconds, max(SHORTEST_WAIT, self._cost / SHARE)))

    def close(self) -> None:  # noqa: B027 - a source has it
        """Nothing is kept open: what is being written can be moved and replaced."""


def state_of(path: str | Path) -> State | None:
    """Return bytes and time of a file's last change; None where there is none."""
    try:
        status = os.stat(path)
    except OSError:
        return None
    return status.st_size, status.st_mtime_ns
