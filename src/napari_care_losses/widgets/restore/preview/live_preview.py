"""The visible part of the shown frame, restored at once and laid over the image."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QObject, Signal

from napari_care_losses.errors import InputError
from napari_care_losses.restoration.engines.choose import libraries
from napari_care_losses.restoration.preview.window import LARGEST_WINDOW, choose_window
from napari_care_losses.widgets.background.preloading import Preloading
from napari_care_losses.widgets.background.worker import LatestJob
from napari_care_losses.widgets.layers.conversion import PLACING, layer_frames
from napari_care_losses.widgets.restore.preview.overlay import PreviewedFrame, PreviewOverlay
from napari_care_losses.widgets.restore.preview.visible_region import (
    camera_of,
    cursor_place,
    obstacle,
    projected_frames,
    shown_frame,
    view_events,
    visible_region,
)
from napari_care_losses.widgets.restore.preview.work import (
    Complete,
    Previewers,
    PreviewRequest,
    Quick,
    modified,
    preview_note,
    previewed,
    tile_note,
)
from napari_care_losses.widgets.shared.closing import CloseGuard
from napari_care_losses.widgets.shared.events import Links, SingleShot

if TYPE_CHECKING:
    from collections.abc import Callable

    from napari.components import ViewerModel
    from napari.layers import Image
    from qtpy.QtWidgets import QWidget

    from napari_care_losses.images.frames import Frames
    from napari_care_losses.models.library import LibraryEntry
    from napari_care_losses.restoration.parameters import RestorationParameters
    from napari_care_losses.restoration.preview.previewer import PreviewTile

DELAY_MS = 30
"""Time without another move after which one is followed."""

REST_MS = 250
"""Time for which the cursor must rest before the window follows it."""


class LivePreview(QObject):
    """Restores what the viewer shows of a layer whenever slider, camera, cursor, model or settings move.

    When its parent, the dock or the viewer is closed, the preview goes.
    """

    said = Signal(str)
    """What the preview does, or why it does nothing, in a line; may be empty."""

    painted = Signal(float)
    """Restored pixels are laid over the image: seconds since the move that asked for them."""

    switched_off = Signal()
    """The user has switched the preview off by deleting its layer."""

    def __init__(self, viewer: ViewerModel, *, parent: QWidget) -> None:
        super().__init__(parent)
        Preloading(parent=parent, libraries=libraries)
        self._viewer = viewer
        self._source: Image | None = None
        self._frames: Frames | None = None
        self._entry: LibraryEntry | None = None
        self._parameters: RestorationParameters | None = None
        self.is_enabled = False
        """Whether the preview is switched on."""
        self._is_finished: Callable[[int], bool] = lambda _: False
        self._problem = ""
        self._version = 0
        self._request: PreviewRequest | None = None
        self._cursor: tuple[float, float] | None = None
        self._moved = self._asked = 0.0
        self._has_painted = False
        self._previewers = Previewers()
        self._quick_model = ""
        self._overlay = PreviewOverlay(viewer)
        self._job = LatestJob(parent=self, delay_ms=0, libraries=self._libraries)
        self._job.reported.connect(self._on_report)
        self._job.failed.connect(lambda error: self.said.emit(f"Preview: {error}"))
        self._delay = SingleShot(self, DELAY_MS, self._follow)
        self._rest = SingleShot(self, REST_MS, self._on_rest)
        # later: within the event of a removal, no layer must be removed
        self._removal = SingleShot(self, 0, self._on_removal)
        self._links, self._source_links = Links(), Links()
        self._connect()
        CloseGuard(parent).closed.connect(self.close)
        links, overlay = (self._links, self._source_links), self._overlay
        # not a method of this object, which is gone by then
        self.destroyed.connect(lambda: _end(links, overlay))

    @property
    def is_running(self) -> bool:
        """Whether restored pixels are still to come."""
        return self._delay.isActive() or self._job.is_running

    @property
    def layer(self) -> Image | None:
        """The layer that the preview lies in, once there is one."""
        return self._overlay.layer

    def set_source(
        self, layer: Image | None, entry: LibraryEntry | None, parameters: RestorationParameters | None
    ) -> None:
        """Set what is restored, with what and how; None where there is nothing to preview."""
        if layer is not self._source:
            self._source_links.cut()
            self._overlay.remove()
            self._source = layer
            if layer is not None:
                self._connect_source(layer)
            self._read_frames()
        elif (entry, parameters) == (self._entry, self._parameters):
            return
        self._entry, self._parameters = entry, parameters
        self.refresh()

    def set_enabled(self, is_enabled: bool) -> None:
        """Switch the preview on, or off: its layer goes."""
        if is_enabled == self.is_enabled:
            return
        self.is_enabled = is_enabled
        if is_enabled:
            self.refresh()
            return
        self._pause("")
        # called once, in the thread: it returns None
        free = self._previewers.close
        self._job.request(lambda: iter(free, None))

    def set_finished(self, is_finished: Callable[[int], bool]) -> None:
        """Set which frames, by index, need no preview because they are restored."""
        self._is_finished = is_finished
        self.refresh()

    def refresh(self, _event: object = None) -> None:
        """Preview what is shown now."""
        if not self.is_enabled:
            return
        if not self._delay.isActive():
            self._moved = time.perf_counter()
        self._delay.start()

    def close(self) -> None:
        """End the preview for good."""
        self.is_enabled = False
        for timer in (self._delay, self._rest, self._removal):
            timer.stop()
        self._job.cancel()
        _end((self._links, self._source_links), self._overlay)
        self._source = self._frames = None
        if not self._job.is_running:
            self._previewers.close()

    def _libraries(self) -> tuple[str, ...]:
        if self._entry is None or self._parameters is None:
            return ()
        # as the preview is made: never in 8 bits
        engine = self._parameters.engine.replace("openvino-int8", "openvino")
        return libraries(engine, self._entry.card.architecture)

    def _connect(self) -> None:
        for emitter in view_events(self._viewer):
            self._links.add(emitter, self.refresh)
        self._links.add(self._viewer.dims.events.ndisplay, self._on_ndisplay)
        for name in ("center", "zoom"):
            self._links.add(getattr(camera_of(self._viewer).events, name), self._on_rest)
        self._links.add(self._viewer.cursor.events.position, self._on_cursor)
        self._links.add(self._viewer.layers.events.removed, self._on_removed)

    def _connect_source(self, layer: Image) -> None:
        for event in (layer.events.visible, layer.events.projection_mode):
            self._source_links.add(event, self.refresh)
        self._source_links.add(layer.events.data, self._on_data)
        for name in PLACING:
            self._source_links.add(getattr(layer.events, name), self._on_placed)

    def _read_frames(self) -> None:
        """Read the frames of the layer, and forget those of another and what is being made of them."""
        self._frames, self._problem, self._cursor, self._request = None, "", None, None
        self._version += 1
        if self._source is not None:
            try:
                self._frames = layer_frames(self._source)
            except InputError as error:
                self._problem = str(error)

    def _on_ndisplay(self, _event: object) -> None:
        self.refresh()
        if self.is_enabled and self._viewer.dims.ndisplay != 2:
            # at once, before the preview is drawn as a volume
            self._follow()

    def _on_cursor(self, _event: object) -> None:
        if self.is_enabled:
            self._rest.start()

    def _on_rest(self, _event: object = None) -> None:
        if self._source is not None and self.is_enabled:
            self._cursor = cursor_place(self._viewer, self._source) or self._cursor
        self.refresh()

    def _on_data(self, _event: object) -> None:
        self._overlay.remove()
        self._read_frames()
        self.refresh()

    def _on_placed(self, _event: object) -> None:
        self._overlay.remove()
        self._request = None
        self.refresh()

    def _on_removed(self, event: Any) -> None:
        if event.value is self._source or event.value is self._overlay.layer:
            self._removal.start()

    def _on_removal(self) -> None:
        layers = self._viewer.layers
        if self._source is not None and self._source not in layers:
            self.set_source(None, self._entry, self._parameters)
            self._pause("")
        elif self._overlay.layer is not None and self._overlay.layer not in layers:
            self.set_enabled(False)
            self.switched_off.emit()

    def _follow(self) -> None:
        """Restore what is shown now, unless it is there or under way."""
        source, entry, parameters = self._source, self._entry, self._parameters
        if source is None or entry is None or parameters is None:
            self._pause("")
            return
        if problem := self._problem or obstacle(self._viewer, source):
            self._pause(f"Preview: {problem}.")
            return
        frames, index, window = self._frames, shown_frame(source, self._viewer.dims), None
        assert frames is not None
        region = visible_region(self._viewer, source)
        if index is not None and region is not None:
            shown = PreviewedFrame(source, entry, index, (self._version, entry.path, modified(entry.path), parameters))
            current = self._request.window if self._request is not None else None
            window = choose_window(frames.frame_shape, region, self._cursor, current)
        if index is None or region is None or window is None:
            self._rest_upon("Preview: the image is out of view.")
        elif self._is_finished(index):
            self._overlay.forget(index)
            self._rest_upon("")
        else:
            y0, y1, x0, x1 = region
            is_part = max(y1 - y0, x1 - x0) > LARGEST_WINDOW and max(frames.frame_shape) > LARGEST_WINDOW
            self._ask(PreviewRequest(shown, window, is_part, projected_frames(source, self._viewer.dims)), frames)

    def _ask(self, request: PreviewRequest, frames: Frames) -> None:
        if request == self._request:
            return
        self._request, self._asked, self._has_painted, self._quick_model = request, self._moved, False, ""
        previewers, cursor, parameters = self._previewers, self._cursor, self._parameters
        assert parameters is not None
        self._job.request(lambda: previewed(previewers, frames, request, cursor, parameters))

    def _rest_upon(self, text: str) -> None:
        """Wait for another move."""
        self._job.cancel()
        self._request = None
        self.said.emit(text)

    def _pause(self, text: str) -> None:
        """Wait until there is something to preview."""
        self._delay.stop()
        self._rest_upon(text)
        self._overlay.remove()

    def _on_report(self, report_of_request: tuple[PreviewRequest, PreviewTile | Quick | Complete | str]) -> None:
        request, report = report_of_request
        if request is not self._request or request.shown.source not in self._viewer.layers:
            return
        seconds = time.perf_counter() - self._asked
        if isinstance(report, str):
            self.said.emit(f"Preview: {report}")
        elif isinstance(report, Complete):
            self._overlay.settle_contrast(report.limits)
            self.said.emit(preview_note(request, seconds, report.note))
        elif isinstance(report, Quick):
            self._quick_model = report.model
            self._on_tile(request, report.tile, seconds, is_quick=True)
        else:
            self._on_tile(request, report, seconds)

    def _on_tile(self, request: PreviewRequest, tile: PreviewTile, seconds: float, *, is_quick: bool = False) -> None:
        if text := tile_note(request, tile, self._quick_model, is_quick=is_quick):
            self.said.emit(text)
        if tile.image is None or tile.position is None:
            return
        self._overlay.paint(request.shown, request.window, tile.position, tile.image, is_quick=is_quick)
        if not self._has_painted:
            self._has_painted = True
            self.painted.emit(seconds)


def _end(links: tuple[Links, ...], overlay: PreviewOverlay) -> None:
    for each in links:
        each.cut()
    overlay.remove()
