"""magicgui's choice of an image layer, with a default that suits noisy and clean images side by side."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from napari.layers import Image
from qtpy.compat import isalive

from napari_care_losses.training.pair_names import match_names
from napari_care_losses.widgets.layers.restored_layers import is_result
from napari_care_losses.widgets.shared.form import Choice

if TYPE_CHECKING:
    from napari.components import ViewerModel


class LayerChooser(Choice):
    """Chooses one of the viewer's image layers; `value` is the layer, or None.

    It follows the viewer that it is given: what napari offers to magicgui by itself are the layers of the window that
    a widget lies in, and a widget is asked before it is docked. `changed` is emitted for a new name, too.

    Parameters
    ----------
    viewer : ViewerModel
        Whose layers.
    label, help, none : str
        As in `Choice`. Without `none`, until the user chooses, the topmost visible layer that was not restored here is
        chosen whenever such a layer comes; where its name makes it the high exposure of another one, the low.
    """

    def __init__(self, viewer: ViewerModel, label: str, help: str, *, none: str | None = None) -> None:
        self._layers = viewer.layers
        self._originals: list[Image] = []
        super().__init__(
            label, help, none=none, annotation=Image, choices=lambda _: [(each.name, each) for each in self._images()]
        )
        events = viewer.layers.events
        for event in (events.inserted, events.removed, events.reordered, events.renamed):
            event.connect(self._follow)

    def _images(self) -> list[Image]:
        return [layer for layer in reversed(self._layers) if isinstance(layer, Image)]

    def _chosen_after(self, before: Image | None) -> Image | None:
        images = self._images()
        known, self._originals = self._originals, [layer for layer in images if not is_result(layer)]
        has_news = any(layer not in known for layer in self._originals)
        self.was_chosen &= before in images
        if before in images and (self.was_chosen or self._nullable or not has_news):
            return before
        return None if self._nullable else _suggested(self._originals or images)

    def _follow(self, event: Any) -> None:
        # the viewer outlives a widget whose dock is closed
        if not isalive(self.native):
            return
        self.reset_choices()
        if event.type == "renamed":
            self.changed.emit(self.value)


def _suggested(images: list[Image]) -> Image:
    offered = [layer for layer in images if layer.visible] or images
    by_name = {layer.name: layer for layer in offered}
    lows = {high: low for low, high in match_names(list(by_name)).pairs}
    return by_name[lows.get(offered[0].name, offered[0].name)]
