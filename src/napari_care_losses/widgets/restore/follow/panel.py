"""The panel that follows an acquisition: frames are restored as they come."""

from __future__ import annotations

import time
from collections import deque
from typing import TYPE_CHECKING, Any

from magicgui.widgets import CheckBox, ComboBox
from qtpy.QtCore import Signal
from qtpy.QtWidgets import QVBoxLayout, QWidget

from napari_care_losses.errors import CareError
from napari_care_losses.following.camera.micro_manager import running_core
from napari_care_losses.models.library import quicker_model
from napari_care_losses.restoration.engines.choose import libraries
from napari_care_losses.widgets.background.worker import Job, Outcome
from napari_care_losses.widgets.layers.conversion import new_array
from napari_care_losses.widgets.restore.follow.layers import FollowedLayers
from napari_care_losses.widgets.restore.follow.live_estimate import LiveEstimate
from napari_care_losses.widgets.restore.follow.sources import LAYER, LIVE, SEQUENCE, follow_source
from napari_care_losses.widgets.restore.follow.texts import (
    EXPOSURE_HELP,
    NOTHING_TO_SAVE,
    PSNR_HELP,
    QUICK_HELP,
    SOURCE_HELP,
    START_HELP,
    STAYS,
    STOP_HELP,
    WAITING,
    WORDS,
    end_text,
    progress_text,
)
from napari_care_losses.widgets.restore.follow.work import FollowReport, followed
from napari_care_losses.widgets.restore.panels.save import SaveButton
from napari_care_losses.widgets.shared.closing import CloseGuard
from napari_care_losses.widgets.shared.events import Links, SingleShot
from napari_care_losses.widgets.shared.form import Rows, narrow, tooltip
from napari_care_losses.widgets.shared.layout import arrange
from napari_care_losses.widgets.shared.number_edit import NumberEdit
from napari_care_losses.widgets.shared.run_bar import RunBar, show_text, text_line

if TYPE_CHECKING:
    from napari.components import ViewerModel
    from napari.layers import Image
    from qtpy.QtGui import QShowEvent

    from napari_care_losses.models.library import LibraryEntry
    from napari_care_losses.restoration.parameters import RestorationParameters
    from napari_care_losses.widgets.restore.follow.sources import Followed

LOOK_MS = 500
"""Time between two looks at the core's exposure."""

PAUSE, LONGEST_PAUSE_S = 2.0, 0.25
"""Time between two drawings, relative to what one takes, and at most: the viewer stays free for the rest."""

RATE_SECONDS = 3.0
"""Time over which the frame rate is counted."""


class FollowPanel(QWidget):
    """Follows a layer that grows or is replaced, or a camera, with the model and the settings chosen above."""

    changed = Signal()
    """Following has begun or ended."""

    frame_shown = Signal(int)
    """This frame is restored and shown."""

    def __init__(self, viewer: ViewerModel) -> None:
        super().__init__()
        self._viewer = viewer
        self._image: Image | None = None
        self._entry: LibraryEntry | None = None
        self._parameters: RestorationParameters | None = None
        self._is_held_up = False
        self._followed: Followed | None = None
        self._layers: FollowedLayers | None = None
        self._made: tuple[LibraryEntry, RestorationParameters] | None = None
        self._is_again = self._stays = False
        self._newest: FollowReport | None = None
        self._restored_at: deque[float] = deque()
        self._delay: float | None = None
        self._error = ""
        self.kind = narrow(ComboBox(label="Follow", choices=[(WORDS[LAYER], LAYER)], tooltip=tooltip(SOURCE_HELP)))
        self.exposure = narrow(
            NumberEdit(label="Exposure", unit="ms", min=0.001, max=1e6, value=10, tooltip=tooltip(EXPOSURE_HELP))
        )
        self.quick = CheckBox(value=True, tooltip=tooltip(QUICK_HELP))
        self.rows = Rows(self.kind, self.quick, self.exposure)
        self.run_bar = RunBar("Follow", "Stop", start_help=START_HELP, stop_help=STOP_HELP, has_progress=False)
        self.psnr = text_line(PSNR_HELP)
        self.save = SaveButton()
        self.save.setText("Save followed frames as…")
        arrange(QVBoxLayout(self), self.rows.native, self.run_bar, self.psnr, self.save, spacing=6)
        self.estimate = LiveEstimate(parent=self)
        self._job = Job(
            parent=self, libraries=lambda: libraries(self._parameters.engine, self._entry.card.architecture)
        )
        # many frames may be restored between two drawings, of which the newest is shown
        self._showing = SingleShot(self, 0, self._show)
        self._drawing = SingleShot(self, 0, self._on_drawn)
        self._shown_at = self._show_from = 0.0
        self._links = Links()
        self._looking = SingleShot(self, LOOK_MS, self._look)
        self._connect()
        self._look()

    @property
    def is_running(self) -> bool:
        """Whether something is followed."""
        return self._job.is_running or self._is_again

    @property
    def layer(self) -> Image | None:
        """The layer with what is restored, once there is one."""
        return None if self._layers is None else self._layers.layer

    def set_job(
        self,
        image: Image | None,
        entry: LibraryEntry | None,
        parameters: RestorationParameters | None,
        *,
        is_held_up: bool,
    ) -> None:
        """Set what is followed with what and how, and whether something else is being restored meanwhile.

        While a live image is followed, another model or other settings restore it from the next frame on. A sequence
        stays with those it began with.
        """
        self._image, self._entry, self._parameters, self._is_held_up = image, entry, parameters, is_held_up
        self._reconsider()

    def _reconsider(self) -> None:
        """Restore from here on with what is wanted now, if that can be."""
        running, self._stays = self._followed, False
        if self._job.is_running and running is not None and not self._job.is_stopping:
            wanted = self._wanted(running)
            if wanted is not None and wanted != self._made:
                self._stays, self._is_again = not running.is_live, running.is_live
                if self._is_again:
                    self._job.stop()
        self._update()

    def _wanted(self, running: Followed) -> tuple[LibraryEntry, RestorationParameters] | None:
        """Return the model and the settings to restore with; None where there are none."""
        if self._entry is None or self._parameters is None:
            return None
        quicker = quicker_model(self._entry) if running.is_live and self.quick.value else None
        return quicker or self._entry, self._parameters

    def close_for_good(self) -> None:
        """Stop, and let go of layer and camera."""
        self._is_again = False
        self._links.cut()
        for timer in (self._looking, self._showing, self._drawing):
            timer.stop()
        self.estimate.stop()
        self._job.stop()
        if self._followed is not None:
            self._followed.close()

    def showEvent(self, event: QShowEvent | None) -> None:
        """Look for a camera when the panel is unfolded."""
        super().showEvent(event)
        self._look()

    def _connect(self) -> None:
        self._links.add(self._viewer.layers.events.removed, lambda event: event.value is self.layer and self._update())
        self.kind.changed.connect(self._update)
        self.quick.changed.connect(self._reconsider)
        self.exposure.changed.connect(self._set_exposure)
        self.run_bar.started.connect(self._on_started)
        self.run_bar.stopped.connect(self._stop)
        self.save.said.connect(self.run_bar.say)
        self.estimate.said.connect(lambda text: show_text(self.psnr, text))
        self._job.reported.connect(self._on_report)
        self._job.failed.connect(self._on_failed)
        self._job.finished.connect(self._on_finished)
        CloseGuard(self).closed.connect(self.close_for_good)

    def _look(self) -> None:
        """Follow the core: whether there is one, and its exposure."""
        core = running_core()
        kinds = (LAYER,) if core is None and self.kind.value == LAYER else (LAYER, LIVE, SEQUENCE)
        if len(self.kind.choices) != len(kinds):
            with self.kind.changed.blocked():
                self.kind.choices = [(WORDS[kind], kind) for kind in kinds]
        exposure = self._exposure_of(core)
        self.exposure.visible = exposure is not None and self.kind.value == LIVE
        if exposure is not None and not self.exposure.native.hasFocus() and exposure != self.exposure.value:
            with self.exposure.changed.blocked():
                self.exposure.value = exposure
        if self.isVisible():
            self._looking.start()

    def _exposure_of(self, core: Any) -> float | None:
        try:
            return None if core is None or not core.getCameraDevice() else float(core.getExposure())
        except (RuntimeError, ValueError):
            # it is being set up, or closed
            return None

    def _set_exposure(self, exposure_ms: float) -> None:
        core = running_core()
        try:
            if core is None or core.mda.is_running():
                return
            is_live = core.isSequenceRunning()
            if is_live:
                # most cameras take another exposure only while they stand still
                core.stopSequenceAcquisition()
            core.setExposure(exposure_ms)
            if is_live:
                core.startContinuousSequenceAcquisition()
        except (RuntimeError, ValueError) as error:
            self.run_bar.say(f"The camera does not take this exposure: {error}")

    def _problem(self) -> str:
        if self._is_held_up:
            return "Frames are being restored: wait for them, or stop it."
        if self._entry is None:
            return "Choose a model above."
        if self._parameters is None:
            return "The settings above do not go together."
        if self.kind.value == LAYER and self._image is None:
            return "Choose an image above: the layer in which your acquisition shows its frames."
        return ""

    def _update(self, _event: object = None) -> None:
        self.kind.enabled = not self.is_running
        quicker = None if self._entry is None or self.kind.value == SEQUENCE else quicker_model(self._entry)
        self.quick.visible = quicker is not None
        if quicker is not None:
            self.quick.text = f"A live image with {quicker.name}, the quickest"
        self.exposure.visible = self.kind.value == LIVE and self._exposure_of(running_core()) is not None
        reason = "" if self.is_running else self._problem()
        self.run_bar.set_state(is_running=self.is_running, is_stopping=self._job.is_stopping, reason=reason)
        is_saved = self.layer in self._viewer.layers and not self.is_running
        self.save.offer(self.layer if is_saved else None, NOTHING_TO_SAVE)

    def _on_started(self) -> None:
        if self.is_running or self._problem():
            self._update()
            return
        try:
            self._followed = follow_source(self.kind.value, self._viewer, self._image)
        except CareError as error:
            self.run_bar.say(str(error))
            return
        self._layers = None
        self._start()

    def _start(self) -> None:
        running = self._followed
        assert running is not None
        wanted = self._wanted(running)
        assert wanted is not None
        entry, parameters = wanted
        self._made, self._is_again, self._error, self._newest = (entry, parameters), False, "", None
        self._delay, self._stays = None, False
        self._restored_at.clear()
        name = running.source.name
        if self._layers is None:
            self._layers = FollowedLayers(self._viewer, entry, name, running.layer)
        else:
            self._layers.rename(entry, name)
        self.estimate.restart(entry.path, parameters)
        self.run_bar.say("Starting…")
        source, keeps = running.source, running.layer is None
        self._job.start(
            lambda: followed(source, entry.path, parameters, _new_block, keeps_originals=keeps),
            title=f"Following {name}",
        )
        self._update()
        self.changed.emit()

    def _stop(self) -> None:
        self._is_again = False
        self._job.stop()
        self.run_bar.say("Stopping…")
        self._update()

    def _on_report(self, report: FollowReport) -> None:
        if report.progress.frame is None:
            # what is shown stays the newest frame
            self._newest = report if self._newest is None else self._newest
            self._say(report)
            return
        self._newest, self._delay = report, report.progress.delay
        now = time.monotonic()
        self._restored_at.append(now)
        while self._restored_at[0] < now - RATE_SECONDS:
            self._restored_at.popleft()
        if not self._showing.isActive():
            self._showing.start(round(1000 * max(0.0, self._show_from - now)))

    def _on_drawn(self) -> None:
        now = time.monotonic()
        self._show_from = now + min(PAUSE * (now - self._shown_at), LONGEST_PAUSE_S)

    def _show(self) -> None:
        report, layers, running = self._newest, self._layers, self._followed
        if report is None or layers is None or running is None or report.progress.frame is None:
            return
        self._shown_at = time.monotonic()
        layers.show(report)
        self._drawing.start()
        if layers.is_gone:
            self._error = "Stopped: the restored layer was removed."
            self._is_again = False
            self._job.stop()
            return
        number = report.progress.frame.index
        if report.progress.original is not None:
            self.estimate.offer(report.progress.original, running.source.exposure(number))
        self._say(report)
        self.frame_shown.emit(number)

    def _say(self, report: FollowReport) -> None:
        progress = report.progress
        if self._job.is_stopping:
            return
        if not progress.restored:
            kind = self.kind.value
            self.run_bar.say(WAITING[kind] if not progress.arrived else "Preparing the model for the first frame…")
            return
        text = progress_text(report, self._rate(), self._delay)
        self.run_bar.say(f"{text}\n{STAYS}" if self._stays else text)

    def _rate(self) -> float | None:
        """Return the restored frames a second; None where too few have come."""
        if len(self._restored_at) < 3:
            return None
        seconds = self._restored_at[-1] - self._restored_at[0]
        is_recent = time.monotonic() - self._restored_at[-1] < RATE_SECONDS
        return (len(self._restored_at) - 1) / seconds if seconds and is_recent else None

    def _on_failed(self, error: Exception) -> None:
        self._is_again = False
        self._error = f"Stopped: {error}"

    def _on_finished(self, outcome: Outcome) -> None:
        running, layers, newest = self._followed, self._layers, self._newest
        assert running is not None
        self._showing.stop()
        if newest is not None and layers is not None and not layers.is_gone:
            layers.show(newest)
        if self._is_again:
            self._start()
            return
        note = running.source.poll().note
        is_changed = running.source.is_changed and outcome is Outcome.DONE
        running.close()
        if is_changed and self._begin_anew(running):
            return
        self._followed = None
        self.estimate.stop()
        if layers is not None:
            layers.hand_over()
        self.run_bar.say(self._error or end_text(newest, outcome, note))
        self._update()
        self.changed.emit()

    def _begin_anew(self, running: Followed) -> bool:
        """Follow frames of another size into other layers; return whether that can be done."""
        if self._layers is not None:
            self._layers.hand_over()
        try:
            self._followed = follow_source(self.kind.value, self._viewer, running.layer or self._image)
        except CareError as error:
            self._error = f"Stopped: {error}"
            return False
        self._layers = None
        self._start()
        return True


def _new_block(shape: tuple[int, ...]) -> Any:
    """Return room for frames in a temporary file, which the memory caches."""
    return new_array(shape, largest_in_memory=0)
