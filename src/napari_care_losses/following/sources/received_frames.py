"""Frames that others hand over as they come: only the newest of a live image, all of a sequence."""

from __future__ import annotations

import threading
import time
from abc import ABC, abstractmethod
from collections import OrderedDict
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from napari_care_losses.compute.memory import free_memory
from napari_care_losses.following.source import Arrived, FrameGoneError, Layout
from napari_care_losses.images.frames import Calibration

if TYPE_CHECKING:
    from numpy.typing import NDArray

REACH = 3
"""Time points before and after a frame that a model may read as its neighbours; restored frames stay as long."""

SHARE_OF_MEMORY = 0.25
"""Part of the free memory that frames of a sequence may take while they wait."""

_EXPOSURES = 1024


class _Frame(NamedTuple):
    pixels: NDArray[Any]
    came: float


class ReceivedFrames(ABC):
    """A `napari_care_losses.following.source.Source` whose frames other threads hand over.

    Parameters
    ----------
    name : str
        What the user calls it.
    calibration : Calibration, optional
        Pixel size and steps.

    Attributes
    ----------
    is_changed : bool
        Whether frames of another size or type have come: following has ended, and may begin anew.
    """

    keeps_frames: bool

    def __init__(self, name: str, calibration: Calibration | None = None) -> None:
        self.name = name
        self.is_changed = False
        self._calibration = calibration or Calibration()
        self._layout: Layout | None = None
        self._has_ended, self._note = False, ""
        self._changed = threading.Condition()
        self._news = False
        self._exposures: OrderedDict[int, float] = OrderedDict()

    @property
    def layout(self) -> Layout | None:
        """What all frames have in common; None before the first one has come."""
        return self._layout

    @abstractmethod
    def poll(self) -> Arrived:
        """Return what has come."""

    @abstractmethod
    def frame(self, number: int) -> NDArray[Any]:
        """Return a frame (Y, X); raises `FrameGoneError` if it can no longer be had."""

    @abstractmethod
    def arrival(self, number: int) -> float | None:
        """Return when a frame came, in seconds of `time.monotonic`."""

    def exposure(self, number: int) -> float | None:
        """Return the exposure of a frame in ms; None where it is not known."""
        return self._exposures.get(number)

    def end(self, note: str = "") -> None:
        """Say that no more frames come; `note` says why, where the user should know."""
        with self._changed:
            self._has_ended, self._note = True, self._note or note
            self._wake()

    def wait(self, seconds: float) -> None:
        """Wait until frames come, at most so long."""
        with self._changed:
            self._changed.wait_for(lambda: self._news, seconds)
            self._news = False

    def close(self) -> None:
        """Let go of all frames."""
        self.end()

    def _wake(self) -> None:
        self._news = True
        self._changed.notify_all()

    def _fits(self, pixels: NDArray[Any], axes: str = "TYX", inner: tuple[int, ...] = ()) -> bool:
        """Return whether a frame is like those before; the first one says what they are like. Hold the lock."""
        if self._has_ended:
            return False
        shape, dtype = tuple(map(int, pixels.shape)), pixels.dtype
        if self._layout is None:
            if len(shape) != 2 or dtype.kind not in "buif":
                self._has_ended = True
                self._note = f"{self.name}: expected frames of grey levels (Y, X), found {dtype} of shape {shape}."
                return False
            self._layout = Layout(
                frame_shape=(shape[0], shape[1]), dtype=dtype, axes=axes, inner=inner, calibration=self._calibration
            )
        before = self._layout
        if (shape, dtype) != (before.frame_shape, before.dtype):
            self._has_ended = self.is_changed = True
            self._note = (
                f"Frames of {_size(shape)}, {dtype}, followed those of {_size(before.frame_shape)}, {before.dtype}."
            )
            return False
        return True

    def _keep_exposure(self, number: int, exposure_ms: float | None) -> None:
        if exposure_ms is not None:
            self._exposures[number] = exposure_ms
            if len(self._exposures) > _EXPOSURES:
                self._exposures.popitem(last=False)


class LiveFrames(ReceivedFrames):
    """A live image: only its newest frame can be had, the newest at the last look.

    That one stays until the next look: where frames come faster than a busy machine turns from looking to reading, none
    would ever be read. Parameters are those of `ReceivedFrames`.

    Examples
    --------
    >>> import numpy as np
    >>> live = LiveFrames("preview")
    >>> for level in range(3):
    ...     live.put(np.full((4, 4), level), exposure_ms=10.0)
    >>> arrived = live.poll()
    >>> arrived.count, arrived.oldest, int(live.frame(2).max()), live.exposure(2)
    (3, 2, 2, 10.0)
    """

    keeps_frames = False

    def __init__(self, name: str, calibration: Calibration | None = None) -> None:
        super().__init__(name, calibration)
        self._count = 0
        self._newest: _Frame | None = None
        self._looked_at: tuple[int, _Frame] | None = None

    def put(self, pixels: NDArray[Any], *, exposure_ms: float | None = None, missed: int = 0) -> None:
        """Hand over the newest frame (Y, X), which is copied.

        Parameters
        ----------
        pixels : array (Y, X)
            The frame.
        exposure_ms : float, optional
            Its exposure in ms.
        missed : int
            Frames that came since the one before and were never seen.
        """
        came, copied = time.monotonic(), np.array(pixels)
        with self._changed:
            if self._fits(copied):
                self._count += 1 + missed
                self._newest = _Frame(copied, came)
                self._keep_exposure(self._count - 1, exposure_ms)
            self._wake()

    def poll(self) -> Arrived:
        """Return what has come."""
        with self._changed:
            if self._newest is not None:
                self._looked_at = self._count - 1, self._newest
            return Arrived(self._count, max(0, self._count - 1), has_ended=self._has_ended, note=self._note)

    def frame(self, number: int) -> NDArray[Any]:
        """Return the frame (Y, X) that was newest at the last look; raises `FrameGoneError` for any other."""
        with self._changed:
            if self._looked_at is None or number != self._looked_at[0]:
                raise FrameGoneError(f"Frame {number} of {self.name} was replaced by a newer one.")
            return self._looked_at[1].pixels

    def arrival(self, number: int) -> float | None:
        """Return when that frame came, in seconds of `time.monotonic`."""
        with self._changed:
            return self._looked_at[1].came if self._looked_at is not None and number == self._looked_at[0] else None


class SequenceFrames(ReceivedFrames):
    """The frames of a sequence, kept in memory until they are restored, as `done` says.

    Where more wait than memory holds, the oldest go.

    Parameters
    ----------
    name, calibration
        As of `ReceivedFrames`.
    most_bytes : int, optional
        Memory that waiting frames may take; by default a quarter of what is free.

    Examples
    --------
    >>> import numpy as np
    >>> sequence = SequenceFrames("time-lapse", most_bytes=3 * 4 * 4)
    >>> for number in range(5):
    ...     sequence.put(number, np.full((4, 4), number, np.uint8))
    >>> arrived = sequence.poll()
    >>> arrived.count, arrived.oldest, int(sequence.frame(2).max())
    (5, 2, 2)
    """

    keeps_frames = True

    def __init__(self, name: str, calibration: Calibration | None = None, *, most_bytes: int | None = None) -> None:
        super().__init__(name, calibration)
        self.most_bytes = int(SHARE_OF_MEMORY * free_memory()) if most_bytes is None else most_bytes
        self._frames: dict[int, _Frame] = {}
        self._done: set[int] = set()
        self._count = self._oldest = self._bytes = 0
        self._missing: set[int] = set()

    def put(
        self,
        number: int,
        pixels: NDArray[Any],
        *,
        exposure_ms: float | None = None,
        axes: str = "TYX",
        inner: tuple[int, ...] = (),
    ) -> None:
        """Hand over a frame (Y, X), which is copied.

        Parameters
        ----------
        number : int
            Which one, as `Layout` counts them.
        pixels : array (Y, X)
            The frame.
        exposure_ms : float, optional
            Its exposure in ms.
        axes, inner
            As of `Layout`; those of the first frame count.
        """
        came, copied = time.monotonic(), np.array(pixels)
        with self._changed:
            is_new = number >= self._count or number in self._missing
            if self._fits(copied, axes, inner) and is_new and number >= self._oldest:
                self._missing.update(range(self._count, number))
                self._missing.discard(number)
                self._count = max(self._count, number + 1)
                self._frames[number] = _Frame(copied, came)
                self._bytes += copied.nbytes
                self._keep_exposure(number, exposure_ms)
                self._make_room()
            self._wake()

    def poll(self) -> Arrived:
        """Return what has come."""
        with self._changed:
            return Arrived(self._count, self._oldest, frozenset(self._missing), self._has_ended, self._note)

    def frame(self, number: int) -> NDArray[Any]:
        """Return a frame (Y, X); raises `FrameGoneError` if memory did not suffice to keep it, or it never came."""
        with self._changed:
            if number not in self._frames:
                raise FrameGoneError(f"Frame {number} of {self.name} is not kept any more, or never came.")
            return self._frames[number].pixels

    def arrival(self, number: int) -> float | None:
        """Return when a frame came, in seconds of `time.monotonic`; None once it is not kept any more."""
        with self._changed:
            return self._frames[number].came if number in self._frames else None

    def close(self) -> None:
        """Let go of all frames."""
        super().close()
        with self._changed:
            self._frames.clear()
            self._bytes = 0

    def done(self, number: int) -> None:
        """Say that a frame is restored: it goes once all that may need it as a neighbour are, too."""
        with self._changed:
            self._done.add(number)
            reach = REACH * (1 if self._layout is None else self._layout.frames_per_time)
            for near in range(max(0, number - reach), number + reach + 1):
                if near in self._done and self._done.issuperset(range(max(0, near - reach), near + reach + 1)):
                    self._drop(near)

    def _make_room(self) -> None:
        while self._bytes > self.most_bytes and len(self._frames) > 1:
            oldest = min(self._frames, key=lambda number: (number not in self._done, number))
            self._drop(oldest)
            if oldest not in self._done:
                self._oldest = oldest + 1
                self._missing = {number for number in self._missing if number > oldest}

    def _drop(self, number: int) -> None:
        frame = self._frames.pop(number, None)
        if frame is not None:
            self._bytes -= frame.pixels.nbytes


def _size(shape: tuple[int, ...]) -> str:
    return f"{' x '.join(map(str, shape))} px"
