"""magicgui's choice of an image layer, with a default that suits noisy and clean images side by side."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from napari.layers import Image
from qtpy.compat import isalive

from napari_care_losses.training.pair_names import match_names
from napari_care_losses.widgets.layers.restored_layers import is_result
from napari_care_losses.widgets.shared.events import SingleShot
from napari_care_losses.widgets.shared.form import Choice

if TYPE_CHECKING:
    from napari.components import ViewerModel


class LayerChooser(Choice):
    """Chooses one of the viewer's image layers; `value` is the layer, or None.

    It follows the viewer that it is given: what napari offers to magicgui by itself are the layers of the window that
    a widget lies in, and a widget is asked before it is docked. `changed` is emitted for a new name, too. Many layers
    that come or go at once are followed once: when the viewer turns to its events again, or the choice is asked for.

    Parameters
    ----------
    viewer : ViewerModel
        Whose layers.
    label, help, none : str
        As in `Choice`. Without `none`, until the user chooses, the topmost visible layer that was not restored here is
        chosen whenever such a layer comes; where its name makes it the high exposure of another one, the low.
    """

    # magicgui asks for the value of a widget that it still makes
    _is_stale = _is_renamed = False

    def __init__(self, viewer: ViewerModel, label: str, help: str, *, none: str | None = None) -> None:
        self._layers = viewer.layers
        self._originals: list[Image] = []
        super().__init__(
            label, help, none=none, annotation=Image, choices=lambda _: [(each.name, each) for each in self._images()]
        )
        self._following = SingleShot(self.native, 0, self._follow)
        events = viewer.layers.events
        for event in (events.inserted, events.removed, events.reordered, events.renamed):
            event.connect(self._on_layers)

    def get_value(self) -> Image | None:
        """Return the choice among the layers that are there now."""
        self._follow()
        return super().get_value()

    @property
    def choices(self) -> tuple[Image | None, ...]:
        """The layers that are there now."""
        self._follow()
        return super().choices

    @choices.setter
    def choices(self, choices: Any) -> None:
        Choice.choices.fset(self, choices)

    def _images(self) -> list[Image]:
        return [layer for layer in reversed(self._layers) if isinstance(layer, Image)]

    def _chosen_after(self, before: Image | None) -> Image | None:
        images = self._images()
        known, self._originals = set(self._originals), [layer for layer in images if not is_result(layer)]
        has_news = not known.issuperset(self._originals)
        self.was_chosen &= before in images
        if before in images and (self.was_chosen or self._nullable or not has_news):
            return before
        return None if self._nullable else _suggested(self._originals or images)

    def _on_layers(self, event: Any) -> None:
        # the viewer outlives a widget whose dock is closed
        if isalive(self.native):
            self._is_stale, self._is_renamed = True, self._is_renamed or event.type == "renamed"
            self._following.start()

    def _follow(self) -> None:
        if not self._is_stale:
            return
        is_renamed, self._is_stale, self._is_renamed = self._is_renamed, False, False
        self._following.stop()
        self.reset_choices()
        if is_renamed:
            self.changed.emit(self.value)


def _suggested(images: list[Image]) -> Image:
    offered = [layer for layer in images if layer.visible] or images
    by_name = {layer.name: layer for layer in offered}
    lows = {high: low for low, high in match_names(list(by_name)).pairs}
    return by_name[lows.get(offered[0].name, offered[0].name)]
