"""Frames of a running Micro-Manager core: its live image, and the sequences that it acquires."""

from __future__ import annotations

import logging
import sys
import weakref
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_care_losses.errors import InputError
from napari_care_losses.following.sources.received_frames import LiveFrames, SequenceFrames
from napari_care_losses.images.frames import Calibration

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from numpy.typing import NDArray
    from pymmcore_plus import CMMCorePlus
    from useq import MDAEvent

    from napari_care_losses.following.source import Arrived

NOT_INSTALLED = 'pymmcore-plus is not installed: pip install "napari-care-losses[acquisition]".'
NOT_RUNNING = (
    "No Micro-Manager core runs in this program: open napari-micromanager, or make a CMMCorePlus in this Python first."
)
CLOSED = "Micro-Manager was closed."

OUTER_AXES, INNER_AXES = "tpg", "cz"
"""Axes of a sequence that count as time, and those of one time point; names are those of useq."""

EXPOSURE_TAG = "Exposure-ms"
"""What some cameras write into the metadata of a frame."""


def running_core() -> CMMCorePlus | None:
    """Return the Micro-Manager core that runs in this program, the first one if there are several; None if none does.

    Nothing is started, and pymmcore-plus is not loaded where nobody has loaded it.

    Examples
    --------
    >>> from napari_care_losses.following.camera.simulated_microscope import simulated_microscope
    >>> core = simulated_microscope()
    >>> running_core() is not None
    True
    """
    # its `instance` would make a core where there is none
    module = sys.modules.get("pymmcore_plus.core._mmcore_plus")
    held = getattr(module, "_instance", None)
    core: CMMCorePlus | None = held() if isinstance(held, weakref.ref) else held
    return core


def found_core() -> CMMCorePlus:
    """Return the running core; raises `InputError` that says what to do where there is none."""
    core = running_core()
    if core is not None:
        return core
    require_acquisition()
    raise InputError(NOT_RUNNING)


def require_acquisition() -> None:
    """Load pymmcore-plus, or raise `InputError` where it is not installed.

    It sets the level of the root logger to DEBUG, by which every library would log all it does; that is undone.
    """
    root = logging.getLogger()
    level = root.level
    try:
        import pymmcore_plus  # noqa: F401
    except ImportError as error:
        raise InputError(NOT_INSTALLED) from error
    finally:
        root.setLevel(level)


@contextmanager
def no_search_for_adapters() -> Iterator[None]:
    """Make a core without the message that no device adapters were found."""
    logger = logging.getLogger("pymmcore-plus")
    before, logger.disabled = logger.disabled, True
    try:
        yield
    finally:
        logger.disabled = before


class LiveCamera(LiveFrames):
    """The live image of a Micro-Manager core: continuous mode, single snaps, and the newest frame of a sequence.

    It goes on when live mode is switched off and on again. Nothing is taken out of the core's buffer.

    Parameters
    ----------
    core : CMMCorePlus
        The core. It is not kept from being closed, which ends the source.
    """

    def __init__(self, core: CMMCorePlus) -> None:
        super().__init__(_camera(core), _calibration(core))
        self._core = weakref.ref(core)
        self._last: tuple[object, ...] | None = None
        self._exposure_ms: float | None = None
        self._look(is_stale=not core.isSequenceRunning())
        self._links = [
            _link(core.mda.events, "frameReady", self._on_frame),
            _link(core.events, "imageSnapped", self._on_snap),
        ]

    def poll(self) -> Arrived:
        """Look at the live image."""
        self._look()
        return super().poll()

    def wait(self, seconds: float) -> None:
        """Wait for frames, at most so long."""
        super().wait(min(seconds, 0.005))

    def close(self) -> None:
        """Let go of the core."""
        for cut in self._links:
            cut()
        super().close()

    def _look(self, *, is_stale: bool = False) -> None:
        """Take the newest frame of the buffer unless it is known; one that `is_stale` came before."""
        core = self._core()
        if core is None:
            self.end(CLOSED)
            return
        # a core that is being set up or closed by others raises errors of several kinds
        with suppress(RuntimeError, IndexError, ValueError):
            # Whether live mode is on is not asked: a core with cameras in Python forgets that it is, where another
            # thread asks just when it starts. The frame that stays in the buffer afterwards is known.
            if core.mda.is_running() or not core.getRemainingImageCount():
                return
            newest: Any = core.getLastImageAndMD()
            pixels, tags = newest[0], dict(newest[1])
            number = _number(tags)
            # cameras that do not count their frames are compared by the pixels
            stamp = (number, tags.get("ElapsedTime-ms")) if number is not None else (pixels.tobytes(),)
            if stamp == self._last:
                return
            if is_stale:
                self._last = stamp
                return
            before = None if self._last is None or number is None else self._last[0]
            missed = max(0, number - before - 1) if isinstance(before, int) and number is not None else 0
            self._last = stamp
            self.put(pixels, exposure_ms=self._exposure(core, tags), missed=missed)

    def _exposure(self, core: CMMCorePlus, tags: Mapping[str, Any]) -> float | None:
        """Return the exposure of the newest frame; None where it was changed while it may have been exposed."""
        if EXPOSURE_TAG in tags:
            return float(tags[EXPOSURE_TAG])
        before, self._exposure_ms = self._exposure_ms, float(core.getExposure())
        return self._exposure_ms if before in (None, self._exposure_ms) else None

    def _on_snap(self, *_: object) -> None:
        core = self._core()
        if core is not None and not core.mda.is_running():
            with suppress(RuntimeError, IndexError, ValueError):
                self.put(core.getImage(), exposure_ms=float(core.getExposure()))

    def _on_frame(self, pixels: NDArray[Any], event: MDAEvent, meta: Mapping[str, Any]) -> None:
        self.put(pixels, exposure_ms=_exposure_of(event, meta))


class CameraSequence(SequenceFrames):
    """The frames of the next sequence that a Micro-Manager core acquires, or of the one that it is acquiring.

    Every frame is copied as it comes, and kept until it is restored; the acquisition waits for nothing. Time points,
    positions and grid count as time, one after the other. It ends with the sequence.

    Parameters
    ----------
    core : CMMCorePlus
        The core. It is not kept from being closed, which ends the source.
    most_bytes : int, optional
        As of `SequenceFrames`.
    """

    def __init__(self, core: CMMCorePlus, *, most_bytes: int | None = None) -> None:
        super().__init__(_camera(core), _calibration(core), most_bytes=most_bytes)
        self._core = weakref.ref(core)
        self._places: _Places | None = None
        events = core.mda.events
        self._links = [
            _link(events, "frameReady", self._on_frame),
            _link(events, "sequenceFinished", self._on_finished),
        ]

    def poll(self) -> Arrived:
        """Return what has come."""
        if self._core() is None:
            self.end(CLOSED)
        return super().poll()

    def close(self) -> None:
        """Let go of the core."""
        for cut in self._links:
            cut()
        super().close()

    def _on_frame(self, pixels: NDArray[Any], event: MDAEvent, meta: Mapping[str, Any]) -> None:
        places = self._places
        if places is None:
            places = self._places = _Places(event)
        number = places.number(event)
        if number is not None:
            exposure = _exposure_of(event, meta)
            self.put(number, pixels, exposure_ms=exposure, axes=places.axes, inner=places.inner)

    def _on_finished(self, *_: object) -> None:
        if self._places is not None:
            self.end(self._places.note)


class _Places:
    """Where the frames of a sequence belong: numbers as of `Layout`, from the first time point on that was seen."""

    def __init__(self, first: MDAEvent) -> None:
        sizes = {str(axis): int(size) for axis, size in _sizes(first).items() if size > 1 and str(axis) in first.index}
        order = [axis for axis in first.index if axis in sizes]
        self._outer = [axis for axis in order if axis in OUTER_AXES]
        self._inner = [axis for axis in order if axis in INNER_AXES]
        # events of unknown axes, or without a sequence, are numbered as they come
        self._is_counted = not order or set(order) != {*self._outer, *self._inner} or "cam" in first.index
        if self._is_counted:
            self._inner = []
        self._sizes, self._came = sizes, 0
        self.inner = tuple(sizes[axis] for axis in self._inner)
        self.axes = f"T{''.join(self._inner).upper()}YX"
        self._begin = 0
        if not self._is_counted:
            # of the first time point, the beginning may have been missed
            is_whole = all(first.index[axis] == 0 for axis in self._inner)
            self._begin = self._outer_place(first) + (not is_whole)
        self.note = f"Followed from time point {self._begin} of the sequence on." if self._begin else ""

    def number(self, event: MDAEvent) -> int | None:
        """Return the number of a frame; None of one before the first whole time point."""
        if self._is_counted:
            self._came += 1
            return self._came - 1
        place = self._outer_place(event) - self._begin
        within = 0
        for axis, size in zip(self._inner, self.inner, strict=True):
            within = within * size + int(event.index[axis])
        return None if place < 0 else place * int(np.prod(self.inner, dtype=int)) + within

    def _outer_place(self, event: MDAEvent) -> int:
        place = 0
        for axis in self._outer:
            place = place * self._sizes[axis] + int(event.index[axis])
        return place


def _sizes(event: MDAEvent) -> Mapping[str, int]:
    sequence: Any = event.sequence
    with suppress(AttributeError, TypeError, ValueError):
        return {str(getattr(axis, "value", axis)): size for axis, size in sequence.sizes.items()}
    return {}


def _exposure_of(event: MDAEvent, meta: Mapping[str, Any]) -> float | None:
    found = meta.get("exposure_ms") or event.exposure
    return float(found) if found else None


def _number(tags: Mapping[str, Any]) -> int | None:
    with suppress(KeyError, ValueError):
        return int(tags["ImageNumber"])
    return None


def _camera(core: CMMCorePlus) -> str:
    """Return the name of the core's camera; raises `InputError` where it has none."""
    name = core.getCameraDevice()
    if not name:
        raise InputError("The running Micro-Manager core has no camera: load a configuration first.")
    return str(name)


def _calibration(core: CMMCorePlus) -> Calibration:
    size = float(core.getPixelSizeUm())
    return Calibration(pixel_size=(size, size)) if size > 0 else Calibration()


def _link(events: Any, name: str, slot: Callable[..., None]) -> Callable[[], None]:
    """Call a slot at a signal of a core, in the thread that emits it; return what cuts the link."""
    signal = getattr(events, name)
    # A signal of Qt would call it in the main thread, later: the library of the signal itself knows of a direct way.
    qt = getattr(sys.modules.get(type(signal).__module__), "Qt", None)
    if qt is None:
        signal.connect(slot)
    else:
        signal.connect(slot, qt.ConnectionType.DirectConnection)

    def cut() -> None:
        # found anew: the closure keeps the object of the signals, without which Qt crashes, but not the core
        with suppress(TypeError, RuntimeError, ValueError):
            getattr(events, name).disconnect(slot)

    return cut
