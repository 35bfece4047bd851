"""What can be followed: the chosen layer, and the camera of a running Micro-Manager core."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from napari_care_losses.errors import InputError
from napari_care_losses.following.camera.micro_manager import CameraSequence, LiveCamera, found_core
from napari_care_losses.following.sources.growing_array import GrowingArray
from napari_care_losses.following.sources.received_frames import LiveFrames
from napari_care_losses.widgets.layers.conversion import layer_frames
from napari_care_losses.widgets.shared.events import Links

if TYPE_CHECKING:
    from napari.components import ViewerModel
    from napari.layers import Image
    from numpy.typing import NDArray

    from napari_care_losses.following.sources.received_frames import ReceivedFrames
    from napari_care_losses.images.frames import Frames

LAYER, LIVE, SEQUENCE = "layer", "live", "sequence"
"""What is followed."""

SAMPLED = 4096
"""Pixels by which it is noticed that a frame was changed in place."""


class Followed:
    """A source that is followed, its links to the viewer, and the layer that it is shown in.

    Attributes
    ----------
    source : ReceivedFrames
        Where frames come from.
    layer : Image or None
        The layer that is followed; None of a camera.
    is_live : bool
        Whether each frame replaces the one before.
    """

    def __init__(self, source: ReceivedFrames, layer: Image | None) -> None:
        self.source, self.layer = source, layer
        self.is_live = not source.keeps_frames
        self._links = Links()

    def close(self) -> None:
        """Let go of source and layer."""
        self._links.cut()
        self.source.close()


class FollowedLayer(Followed):
    """A layer whose data grow or are replaced.

    Of an image (Y, X), each frame replaces the one before, by other data or in place; a stack grows, or is filled.

    Raises
    ------
    InputError
        If the layer cannot be restored, or is a stack whose first axis is not time.
    """

    def __init__(self, viewer: ViewerModel, layer: Image) -> None:
        frames = layer_frames(layer)
        is_live = not frames.leading_shape
        name = layer.name
        super().__init__(LiveFrames(name, frames.calibration) if is_live else GrowingArray(name, frames), layer)
        self._links.add(viewer.layers.events.removed, self._on_removed)
        self._links.add(layer.events.data, self._on_data)
        self._shown: tuple[Any, bytes] = (None, b"") if is_live else self._sampled(frames)
        if is_live:
            # of a frame that is changed in place, only this tells
            self._links.add(layer.events.set_data, self._on_data)
            self._on_data()

    def _on_removed(self, event: Any) -> None:
        if event.value is self.layer:
            self.source.end(f"{self.source.name} was removed.")

    def _on_data(self, _event: object = None) -> None:
        try:
            frames = layer_frames(self.layer)
            if isinstance(self.source, GrowingArray):
                self._grow(frames)
            elif frames.leading_shape:
                self.source.end(f"{self.source.name} has become a stack.")
                self.source.is_changed = True
            else:
                self._put(frames[0])
        except InputError as error:
            self.source.end(str(error))

    def _grow(self, frames: Frames) -> None:
        before, self._shown = self._shown, self._sampled(frames)
        # a frame of zeros had not come yet
        was_there = before[0] is not self._shown[0] and any(before[1])
        if was_there and before[1] != self._shown[1]:
            self.source.end(
                f"{self.source.name} was replaced by another stack. A live image has to be one frame (Y, X); a stack "
                "that grows keeps its first frames."
            )
        else:
            self.source.grow(frames)

    def _sampled(self, frames: Frames) -> tuple[Any, bytes]:
        """Return the data, and of an array in memory a sample of the first frame."""
        data = self.layer.data
        return data, _sample(frames[0]) if isinstance(data, np.ndarray) else b""

    def _put(self, pixels: NDArray[Any]) -> None:
        sample = _sample(pixels)
        if self._shown[0] is not self.layer.data or self._shown[1] != sample:
            self._shown = self.layer.data, sample
            self.source.put(pixels)


def _sample(pixels: NDArray[Any]) -> bytes:
    return pixels.ravel()[:: max(1, pixels.size // SAMPLED)].tobytes()


def follow_source(kind: str, viewer: ViewerModel, layer: Image | None) -> Followed:
    """Return what is to be followed.

    Raises
    ------
    InputError
        If it cannot be followed; the text says what to do.
    """
    if kind == LAYER:
        if layer is None:
            raise InputError("Choose an image above: the layer in which your acquisition shows its frames.")
        return FollowedLayer(viewer, layer)
    core = found_core()
    return Followed(LiveCamera(core) if kind == LIVE else CameraSequence(core), None)
