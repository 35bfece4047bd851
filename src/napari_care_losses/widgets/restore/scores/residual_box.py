"""The switch that shows the residual of the restoration."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

from qtpy.QtCore import QSignalBlocker
from qtpy.QtWidgets import QCheckBox

from napari_care_losses.widgets.background.worker import Job
from napari_care_losses.widgets.layers.conversion import layer_frames
from napari_care_losses.widgets.layers.restored_layers import pixels_of
from napari_care_losses.widgets.restore.scores.residual import (
    add_residual,
    find_residual,
    residual_limit,
    residual_stack,
)
from napari_care_losses.widgets.shared.form import tooltip

if TYPE_CHECKING:
    from collections.abc import Collection

    from napari.components import ViewerModel
    from napari.layers import Image

    from napari_care_losses.images.frames import Frames


@dataclass
class _Shown:
    """What a residual layer shows; its data read `done`, which grows."""

    source: Frames
    restored: Frames
    done: set[int]


class ResidualBox(QCheckBox):
    """Checked while the residual of the restoration is a visible layer.

    Parameters
    ----------
    viewer : ViewerModel
        Whose layers.
    """

    def __init__(self, viewer: ViewerModel) -> None:
        super().__init__("Show the residual (input minus restored)")
        self.setToolTip(
            tooltip(
                "A layer with what the restoration removed. It should be noise alone: structure in it is lost signal. "
                "Green is brighter in the input, pink is brighter in the restored image."
            )
        )
        self._viewer = viewer
        self._source: Image | None = None
        self._restored: Image | None = None
        self._index = 0
        self._done: set[int] = set()
        self._shown: WeakKeyDictionary[Image, _Shown] = WeakKeyDictionary()
        self._job = Job(parent=self)
        self._job.reported.connect(lambda found: self._add(*found))
        self._job.finished.connect(lambda _: self._sync())
        self.clicked.connect(self._on_clicked)
        viewer.layers.events.removed.connect(self._sync)
        self._sync()

    @property
    def is_running(self) -> bool:
        """Whether a layer is being made."""
        return self._job.is_running

    def show_frame(self, source: Image | None, restored: Image | None, index: int, done: Collection[int]) -> None:
        """Take the layers, the shown frame, and the frames that are restored."""
        self._source, self._restored, self._index, self._done = source, restored, index, set(done)
        layer = self._layer()
        if layer is not None:
            self._fill(layer)
        self._sync()

    def frame_done(self, index: int) -> None:
        """Note that a frame has been restored, also again."""
        self._done.add(index)
        layer = self._layer()
        if layer is not None:
            self._fill(layer, renewed=index)
        self._sync()

    def stop(self) -> None:
        """Stop making the layer."""
        self._job.stop()

    def _layer(self) -> Image | None:
        if self._source is None or self._restored is None:
            return None
        return find_residual(self._viewer, self._source, self._restored)

    def _fill(self, layer: Image, *, renewed: int | None = None) -> None:
        """Show the stacks as they are now."""
        assert self._source is not None and self._restored is not None
        source, restored = layer_frames(self._source), layer_frames(self._restored)
        shown = self._shown.get(layer)
        if shown is None or not (_is_same(shown.source, source) and _is_same(shown.restored, restored)):
            shown = _Shown(source, restored, set(self._done))
            layer.data = residual_stack(source, restored, shown.done)
            self._keep(layer, shown)
            return
        was_there = self._index in shown.done
        shown.done.intersection_update(self._done)
        shown.done.update(self._done)
        if layer.visible and (renewed == self._index or was_there != (self._index in shown.done)):
            layer.refresh(extent=False)

    def _keep(self, layer: Image, shown: _Shown) -> None:
        self._shown[layer] = shown
        layer.events.visible.connect(self._sync)

    def _on_clicked(self, is_checked: bool) -> None:
        layer, source, restored = self._layer(), self._source, self._restored
        if layer is not None:
            layer.visible = is_checked
        elif is_checked and source is not None and restored is not None and self._done and not self._job.is_running:
            frames, of_restored = layer_frames(source), layer_frames(restored)
            nearest = min(self._done, key=lambda index: abs(index - self._index))
            self._job.start(lambda: iter([(source, restored, residual_limit(frames, of_restored, nearest))]))

    def _add(self, source: Image, restored: Image, limit: float) -> None:
        # either may have been removed meanwhile
        if (source, restored) != (self._source, self._restored) or source not in self._viewer.layers:
            return
        frames, of_restored = layer_frames(source), layer_frames(restored)
        shown = _Shown(frames, of_restored, set(self._done))
        layer = add_residual(self._viewer, source, restored, residual_stack(frames, of_restored, shown.done), limit)
        self._keep(layer, shown)

    def _sync(self, _event: object = None) -> None:
        layer = self._layer()
        is_possible = self._source is not None and self._restored is not None and bool(self._done)
        self.setVisible(is_possible)
        with QSignalBlocker(self):
            self.setChecked(self._job.is_running or (layer is not None and layer.visible))


def _is_same(one: Frames, other: Frames) -> bool:
    return pixels_of(one.data) is pixels_of(other.data)
