"""A combo box that follows the viewer's image layers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari.layers import Image
from qtpy.QtCore import QSignalBlocker, Signal
from qtpy.QtWidgets import QComboBox, QWidget

from napari_care_losses.training.pair_names import match_names
from napari_care_losses.widgets.layers.restored_layers import is_result
from napari_care_losses.widgets.shared.form import scroll_past

if TYPE_CHECKING:
    from napari.components import ViewerModel


class LayerChooser(QComboBox):
    """Chooses one of the viewer's image layers.

    Parameters
    ----------
    viewer : ViewerModel
        Whose layers.
    none : str, optional
        Text of a first entry that stands for no layer. Without it, until the user chooses, the topmost visible layer
        that was not restored here is chosen whenever such a layer comes; where its name makes it the high exposure of
        another one, the low.
    parent : QWidget, optional
        Parent widget.
    """

    changed = Signal()
    """Another layer is chosen, or it was renamed."""

    def __init__(self, viewer: ViewerModel, *, none: str | None = None, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._layers = viewer.layers
        self._none = none
        self._was_chosen_by_hand = False
        self._originals: list[Image] = []
        self.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
        self.setMinimumContentsLength(8)
        scroll_past(self)
        self.currentIndexChanged.connect(self.changed)
        self.activated.connect(self._on_activated)
        for event in (self._layers.events.inserted, self._layers.events.removed, self._layers.events.reordered):
            event.connect(self._reload)
        self._reload()

    def layer(self) -> Image | None:
        """Return the chosen layer."""
        layer = self.currentData()
        return layer if isinstance(layer, Image) else None

    def choose(self, layer: Image | None) -> None:
        """Choose a layer, as by hand."""
        self._was_chosen_by_hand = True
        self.setCurrentIndex(self._index(layer))

    def _on_activated(self, _index: int) -> None:
        self._was_chosen_by_hand = True

    def _reload(self, _event: object = None) -> None:
        images = [layer for layer in reversed(self._layers) if isinstance(layer, Image)]
        known, self._originals = self._originals, [layer for layer in images if not is_result(layer)]
        has_news = any(layer not in known for layer in self._originals)
        before = self.layer()
        with QSignalBlocker(self):
            self.clear()
            if self._none is not None:
                self.addItem(self._none, None)
            for layer in images:
                layer.events.name.connect(self._rename)
                self.addItem(layer.name, layer)
            self._was_chosen_by_hand &= before in images
            stays = self._was_chosen_by_hand or self._none is not None or not has_news
            is_kept = before is not None and before in images and stays
            self.setCurrentIndex(self._index(before if is_kept else self._default()))
        if self.layer() is not before:
            self.changed.emit()

    def _default(self) -> Image | None:
        if self._none is not None or not self._originals:
            return None
        offered = [layer for layer in self._originals if layer.visible] or self._originals
        by_name = {layer.name: layer for layer in offered}
        lows = {high: low for low, high in match_names(list(by_name)).pairs}
        return by_name[lows.get(offered[0].name, offered[0].name)]

    def _rename(self, _event: object = None) -> None:
        for index in range(self.count()):
            layer = self.itemData(index)
            if layer is not None:
                self.setItemText(index, layer.name)
        self.changed.emit()

    def _index(self, layer: Image | None) -> int:
        return next((i for i in range(self.count()) if self.itemData(i) is layer), -1)
