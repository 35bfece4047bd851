"""Which frames are restored, which part of them, and of which layers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from magicgui.widgets import CheckBox, ComboBox, LineEdit
from napari.layers import Image
from qtpy.QtCore import QObject, Signal

from napari_care_losses.errors import InputError
from napari_care_losses.images.selection import Selection, frames_in, parse_ranges
from napari_care_losses.restoration.preview.window import visible_part
from napari_care_losses.widgets.layers.conversion import layer_frames
from napari_care_losses.widgets.layers.restored_layers import is_result
from napari_care_losses.widgets.restore.preview.visible_region import (
    camera_of,
    frame_obstacle,
    shown_frame,
    view_events,
    view_obstacle,
    visible_region,
)
from napari_care_losses.widgets.shared.closing import CloseGuard
from napari_care_losses.widgets.shared.events import Links, SingleShot
from napari_care_losses.widgets.shared.form import Rows, narrow, tooltip

if TYPE_CHECKING:
    from napari.components import ViewerModel
    from qtpy.QtWidgets import QWidget

    from napari_care_losses.images.frames import Frames

ALL, SHOWN, NUMBERED = "all", "shown", "numbered"
"""Which frames."""

EXAMPLE = "0:2,3:10"

FRAMES_HELP = (
    "Which frames to restore. The result lies on the input: where a frame is not restored, the input shows through. "
    "Frames that are restored later come into the same layer."
)
NUMBERS_HELP = (
    "A:B is frame A up to, not including, B, counted from 0 as beside the slider; commas separate several. They are "
    "counted along time, or along the planes where there is no time."
)
VIEW_HELP = (
    "Restore only the part of the frames that you see, into a layer of that size on its place. The pixels are those "
    "that the whole frame would have there."
)
LAYERS_HELP = "Restore the images that are selected in the list of layers, too, one after the other."
NO_LAYERS = "Select more images in the list, with Ctrl and a click."

FOLLOW_MS = 30
"""Time without another move of the view after which one is followed."""


class FrameChoice(QObject):
    """Chooses which frames are restored, which part of them, and whether other layers are restored, too.

    Parameters
    ----------
    viewer : ViewerModel
        Whose slider, view and selected layers count.
    parent : QWidget
        When it is closed, the viewer is no longer followed.
    """

    changed = Signal()
    """Something else is chosen, by the user or by a move of the view."""

    def __init__(self, viewer: ViewerModel, *, parent: QWidget) -> None:
        super().__init__(parent)
        self._viewer = viewer
        choices = [("every frame", ALL), ("the shown frame", SHOWN), ("by number", NUMBERED)]
        self.frames = narrow(ComboBox(label="Frames", choices=choices, tooltip=tooltip(FRAMES_HELP)))
        self.numbers = narrow(LineEdit(label="Numbers", tooltip=tooltip(NUMBERS_HELP)))
        self.numbers.native.setPlaceholderText(EXAMPLE)
        self.in_view = CheckBox(text="Only what is in view", tooltip=tooltip(VIEW_HELP))
        self.other_layers = CheckBox(text="Also the other selected layers")
        self.rows = Rows(self.frames, self.numbers, self.in_view, self.other_layers)
        self._following = SingleShot(self, FOLLOW_MS, self._on_moved)
        self._links = Links()
        for emitter in (*view_events(viewer), viewer.dims.events.ndisplay):
            self._links.add(emitter, self._on_move)
        for name in ("center", "zoom"):
            self._links.add(getattr(camera_of(viewer).events, name), self._on_move)
        self._links.add(viewer.layers.selection.events.changed, self._on_selected)
        CloseGuard(parent).closed.connect(self._close)
        self.rows.changed.connect(self._on_changed)
        self._on_changed()

    def layers(self, image: Image) -> list[Image]:
        """Return the layers to restore: an image, and the other selected ones if they are asked for."""
        others = self._others(image) if self.other_layers.value else []
        return [image, *others]

    def selection(self, layer: Image) -> Selection:
        """Return what of a layer is to be restored.

        Raises
        ------
        InputError
            If that cannot be told, or nothing of the layer is chosen.
        """
        frames = layer_frames(layer)
        indices = self._indices(layer, frames)
        region = None
        if self.in_view.value:
            if problem := view_obstacle(self._viewer):
                raise InputError(f"What is in view of {layer.name} cannot be told: {problem}.")
            visible = visible_region(self._viewer, layer)
            region = None if visible is None else visible_part(frames.frame_shape, visible)
            if region is None:
                raise InputError(f"{layer.name} is out of view: move the view onto it, or restore whole frames.")
        is_whole = region is None or region.shape == frames.frame_shape
        is_all = indices is None or len(indices) == len(frames)
        return Selection(None if is_all else indices, None if is_whole else region)

    def set_image(self, image: Image | None) -> None:
        """Offer what an image allows."""
        count = len(self._others(image)) if image is not None else 0
        self.other_layers.enabled = count > 0
        names = f"the {count} other selected layers" if count > 1 else "the other selected layer"
        self.other_layers.text = f"Also {names}" if count else "Also the other selected layers"
        self.other_layers.tooltip = tooltip(LAYERS_HELP if count else f"{LAYERS_HELP} {NO_LAYERS}")

    def _indices(self, layer: Image, frames: Frames) -> tuple[int, ...] | None:
        if self.frames.value == ALL:
            return None
        if self.frames.value == SHOWN:
            if problem := frame_obstacle(self._viewer):
                raise InputError(f"Which frame is shown cannot be told: {problem}.")
            index = shown_frame(layer, self._viewer.dims)
            if index is None:
                raise InputError(f"The slider stands outside of {layer.name}: move it onto one of its frames.")
            return (index,)
        if not self.numbers.value.strip():
            raise InputError(f"Write the numbers of the frames, such as {EXAMPLE}.")
        try:
            return frames_in(frames, parse_ranges(self.numbers.value))
        except InputError as error:
            raise InputError(f"{layer.name}: {error}") from error

    def _others(self, image: Image) -> list[Image]:
        chosen = self._viewer.layers.selection
        layers = [layer for layer in reversed(self._viewer.layers) if isinstance(layer, Image) and layer in chosen]
        return [layer for layer in layers if layer is not image and not is_result(layer)]

    def _on_changed(self) -> None:
        self.numbers.visible = self.frames.value == NUMBERED
        self.changed.emit()

    def _on_move(self, _event: object) -> None:
        if self.frames.value == SHOWN or self.in_view.value:
            self._following.start()

    def _on_moved(self) -> None:
        self.changed.emit()

    def _on_selected(self, _event: object) -> None:
        # a layer that comes or goes changes the selection, and many may come or go at once
        self._following.start(0)

    def _close(self) -> None:
        self._following.stop()
        self._links.cut()
