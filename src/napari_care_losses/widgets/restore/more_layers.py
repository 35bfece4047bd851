"""What is added beside the restored layer: the uncertainty, and intervals that hold the true grey level."""

from __future__ import annotations

from typing import TYPE_CHECKING

from magicgui.widgets import CheckBox, ComboBox
from qtpy.QtCore import Signal
from qtpy.QtWidgets import QHBoxLayout, QVBoxLayout, QWidget

from napari_care_losses.evaluation.intervals import LEVELS, USUAL_LEVEL
from napari_care_losses.widgets.layers.filling import can_give
from napari_care_losses.widgets.layers.restored_layers import UNCERTAINTY, interval_kinds
from napari_care_losses.widgets.shared.form import tooltip

if TYPE_CHECKING:
    from napari_care_losses.models.library import LibraryEntry

UNCERTAINTY_HELP = (
    "A second layer with the expected error of every pixel, in grey levels (the scale of a Laplace distribution: half "
    "of the true values lie within 0.69 times it)."
)
NO_UNCERTAINTY = "Only models trained with the Laplace loss give an uncertainty."
INTERVAL_HELP = (
    "Two more layers, the lower and the upper end of an interval for every pixel. It promises that so many of the true "
    "grey levels, those of a long exposure, lie within, over images like the ones that the model was calibrated on. "
    "For single pixels or structures, and for images of another sample, microscope or exposure, it promises nothing: "
    "then calibrate a model on pairs of your own, by training it further on them."
)
NO_INTERVAL = (
    "This model has no intervals. They come from the validation images of a training on clean images; of the bundled "
    "models, those trained with the Laplace loss have them."
)


class MoreLayers(QWidget):
    """Chooses which layers are added beside the restored one."""

    changed = Signal()
    """Something else is chosen."""

    def __init__(self) -> None:
        super().__init__()
        self.uncertainty = CheckBox(text="Also add the uncertainty")
        self.interval = CheckBox(text="Also add the interval that holds")
        choices = [(f"{100 * level:g} %", level) for level in LEVELS]
        self.level = ComboBox(choices=choices, value=USUAL_LEVEL, tooltip=tooltip(INTERVAL_HELP))
        self._entry: LibraryEntry | None = None
        row, column = QHBoxLayout(), QVBoxLayout(self)
        row.addWidget(self.interval.native)
        row.addWidget(self.level.native)
        row.addStretch(1)
        column.setContentsMargins(0, 0, 0, 0)
        column.addWidget(self.uncertainty.native)
        column.addLayout(row)
        for widget in (self.uncertainty, self.interval, self.level):
            widget.changed.connect(self._on_change)
        self.show_model(None)

    @property
    def ends(self) -> tuple[str, str]:
        """The kinds of the layers of the interval that is chosen."""
        return interval_kinds(self.level.value)

    @property
    def kinds(self) -> list[str]:
        """The kinds of layers that are asked for, of those that the model can give."""
        asked = [UNCERTAINTY] if self.uncertainty.value else []
        asked += self.ends if self.interval.value else ()
        return [kind for kind in asked if self._entry is not None and can_give(self._entry, kind)]

    def show_model(self, entry: LibraryEntry | None) -> None:
        """Offer what a model can give, and say why it cannot give the rest."""
        self._entry = entry
        can_tell = entry is not None and can_give(entry, UNCERTAINTY)
        self.uncertainty.enabled = can_tell
        self.uncertainty.tooltip = tooltip(UNCERTAINTY_HELP if can_tell else NO_UNCERTAINTY)
        intervals = None if entry is None else entry.card.intervals
        self.interval.enabled = intervals is not None
        self.level.enabled = intervals is not None and bool(self.interval.value)
        text = NO_INTERVAL if intervals is None else f"{INTERVAL_HELP} {intervals.describe()}"
        self.interval.tooltip = tooltip(text)

    def _on_change(self, _value: object) -> None:
        self.show_model(self._entry)
        self.changed.emit()
