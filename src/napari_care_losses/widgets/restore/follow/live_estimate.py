"""The estimated PSNR of what is followed, with the exposure beside it."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, NamedTuple

from qtpy.QtCore import QObject, Signal

from napari_care_losses.errors import CareError
from napari_care_losses.models.model import load_model
from napari_care_losses.restoration.engines.choose import libraries
from napari_care_losses.widgets.background.worker import Job
from napari_care_losses.widgets.shared.events import SingleShot

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from numpy.typing import NDArray

    from napari_care_losses.evaluation.without_truth.estimated_psnr import EstimatedPsnr
    from napari_care_losses.following.camera.live_psnr import LivePsnr
    from napari_care_losses.restoration.parameters import RestorationParameters

PAUSE_S = 2.0
"""Least time between two estimates; the pause is also three times as long as an estimate takes."""

MOST_EXPOSURES = 5
"""Exposures whose estimates are shown side by side."""


class _Found(NamedTuple):
    """What came of an estimate, or why it cannot be made."""

    estimated: EstimatedPsnr | None
    exposure_ms: float | None
    problem: str = ""


class LiveEstimate(QObject):
    """Estimates the PSNR of a frame now and then, in the background, at once where the exposure has changed."""

    said = Signal(str)
    """The estimate in words."""

    estimated = Signal(object, object)
    """An `EstimatedPsnr`, and the exposure of its frame in ms, or None."""

    def __init__(self, *, parent: QObject) -> None:
        super().__init__(parent)
        self._frame: tuple[NDArray[Any], float | None] | None = None
        self._made: tuple[Path, RestorationParameters] | None = None
        self._live: LivePsnr | None = None
        self._by_exposure: dict[float, EstimatedPsnr] = {}
        self._last: float | None = None
        self._begun = 0.0
        self._job = Job(parent=self, libraries=libraries)
        self._job.reported.connect(self._on_reported)
        self._job.finished.connect(self._on_finished)
        self._pause = SingleShot(self, int(1000 * PAUSE_S), self._begin)

    @property
    def is_running(self) -> bool:
        """Whether an estimate is being made."""
        return self._job.is_running

    def restart(self, path: Path, parameters: RestorationParameters) -> None:
        """Begin anew, for frames that a model restores."""
        self._made, self._live, self._frame, self._by_exposure = (path, parameters), None, None, {}
        self._last = None
        self._pause.stop()
        self.said.emit("")

    def offer(self, frame: NDArray[Any], exposure_ms: float | None) -> None:
        """Offer the newest frame as it came (Y, X)."""
        self._frame = frame, exposure_ms
        is_new_exposure = exposure_ms is not None and exposure_ms != self._last
        if not self._job.is_running and (is_new_exposure or not self._pause.isActive()):
            self._begin()

    def stop(self) -> None:
        """Stop; what was said stays."""
        self._frame = None
        self._pause.stop()
        self._job.stop()

    def _begin(self) -> None:
        if self._frame is None or self._made is None or self._job.is_running:
            return
        (frame, exposure_ms), made = self._frame, self._made
        self._frame, self._begun, self._last = None, time.monotonic(), exposure_ms
        self._job.start(lambda: self._estimated(frame, exposure_ms, made))

    def _estimated(
        self, frame: NDArray[Any], exposure_ms: float | None, made: tuple[Path, RestorationParameters]
    ) -> Iterator[tuple[object, _Found]]:
        # imported here, in the background: opening the widget need not wait for it
        from napari_care_losses.following.camera.live_psnr import LivePsnr

        try:
            live = self._live = self._live or LivePsnr(load_model(made[0]), made[1])
            yield made, _Found(live.estimate(frame), exposure_ms)
        except CareError as error:
            yield made, _Found(None, exposure_ms, str(error))

    def _on_reported(self, report: tuple[object, _Found]) -> None:
        made, found = report
        if made is not self._made:
            return
        if found.estimated is None:
            self.said.emit(found.problem)
            return
        if found.exposure_ms is not None:
            self._by_exposure.pop(found.exposure_ms, None)
            self._by_exposure[found.exposure_ms] = found.estimated
        self.said.emit(_text(found.estimated, found.exposure_ms, self._by_exposure))
        self.estimated.emit(found.estimated, found.exposure_ms)

    def _on_finished(self, _outcome: object) -> None:
        if self._made is not None:
            self._pause.start(int(1000 * max(PAUSE_S, 3 * (time.monotonic() - self._begun))))


def _text(found: EstimatedPsnr, exposure_ms: float | None, by_exposure: dict[float, EstimatedPsnr]) -> str:
    """Return an estimate in words, and those of other exposures."""
    at = "" if exposure_ms is None else f" at {exposure_ms:g}\N{NO-BREAK SPACE}ms"
    said = f"PSNR about {found.psnr:.0f}\N{NO-BREAK SPACE}dB{at} (estimated, {found.interval()})."
    recent = sorted(list(by_exposure)[-MOST_EXPOSURES:], reverse=True)
    if len(recent) < 2:
        return said
    others = (f"{one:g}\N{NO-BREAK SPACE}ms {by_exposure[one].psnr:.1f}\N{NO-BREAK SPACE}dB" for one in recent)
    return f"{said}\nBy exposure: {', '.join(others)}."
