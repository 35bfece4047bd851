"""Other data for a layer that is in the viewer, shown or hidden."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from napari.layers import Image


def set_data(layer: Image, data: Any) -> None:
    """Give a layer other data.

    napari 0.9 keeps the extent of a hidden layer as it was: with more axes the viewer raises `IndexError`, with more
    frames the slider does not reach them. The layer counts as shown, without telling anyone, while its data is set.
    """
    if layer.visible:
        layer.data = data
        return
    with layer.events.visible.blocker():
        layer.visible = True
        try:
            layer.data = data
        finally:
            layer.visible = False
