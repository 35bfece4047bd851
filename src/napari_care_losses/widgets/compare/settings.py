"""The settings of a comparison: image, ground truth, frames and methods."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from magicgui.widgets import CheckBox, ComboBox
from qtpy.QtCore import Signal
from qtpy.QtWidgets import QLabel, QVBoxLayout, QWidget

from napari_care_losses.comparison.compare import INPUT
from napari_care_losses.errors import InputError
from napari_care_losses.evaluation.metrics import ALIGNMENT_HELP
from napari_care_losses.images.axes import truth_of
from napari_care_losses.widgets.compare.method_chooser import MethodChooser
from napari_care_losses.widgets.compare.results import ComparisonPlan
from napari_care_losses.widgets.layers.conversion import AXIS_NAMES, layer_frames, shown_first, shown_index
from napari_care_losses.widgets.shared.form import Rows, fold, narrow, tooltip
from napari_care_losses.widgets.shared.layer_chooser import LayerChooser
from napari_care_losses.widgets.shared.layout import arrange
from napari_care_losses.widgets.shared.restoration_form import RestorationForm

if TYPE_CHECKING:
    from napari.components import ViewerModel


class ComparisonSettings(QWidget):
    """Chooses image, ground truth, frames and methods."""

    changed = Signal()
    """Any setting has changed."""

    def __init__(self, viewer: ViewerModel, *, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._viewer = viewer
        self._build()
        self.image.changed.connect(self._on_image_changed)
        self.truth.changed.connect(self._on_truth_changed)
        for signal in (self.methods.changed, self.form.changed):
            signal.connect(lambda *_: self.changed.emit())
        self._on_image_changed()
        self._on_truth_changed()

    def plan(self) -> ComparisonPlan:
        """Return the comparison that the settings describe.

        Raises
        ------
        InputError
            If something is missing or does not fit.
        """
        layer, truth_layer = self.image.value, self.truth.value
        if layer is None:
            raise InputError("Open an image first; File > Open Sample > CARE Losses has some to try.")
        if layer is truth_layer:
            raise InputError("Ground truth and image are the same layer: choose the long exposure as ground truth.")
        frames = layer_frames(layer)
        truth = None if truth_layer is None else truth_of(layer_frames(truth_layer), frames)
        if truth is not None and truth.shape != frames.shape:
            found, expected = (" x ".join(map(str, stack.shape)) for stack in (truth, frames))
            raise InputError(f"The ground truth is {found}, the image {expected}: they must show the same frames.")
        if self.methods.problem:
            raise InputError(self.methods.problem)
        shown = shown_index(layer, self._viewer.dims)
        return ComparisonPlan(
            source=layer,
            truth_layer=truth_layer,
            frames=frames,
            truth=truth,
            methods=tuple(self.methods.methods()),
            parameters=self.form.value(),
            indices=tuple(shown_first(shown, len(frames))) if self.which.value else (shown,),
            aligned=self.aligned.value,
            independent=self.fields.value,
            reference=self.methods.reference() or INPUT,
        )

    def _build(self) -> None:
        self.image = LayerChooser(self._viewer, "Image", "The noisy image or stack that every method restores.")
        self.truth = LayerChooser(
            self._viewer,
            "Ground truth",
            "A long exposure of the same fields of view, if you have one. It gives scores, statistical tests and the "
            "true resolution. Without it you can compare residuals, spectra and profiles.",
            none="none",
        )
        self.which = ComboBox(
            label="Frames",
            choices=[("all", True), ("only the frame shown", False)],
            tooltip=tooltip("Compare all frames, or only the frame shown. It comes first, then the nearest ones."),
        )
        self.fields = ComboBox(
            label="They are",
            choices=[("independent fields of view", True), ("one movie or z-stack", False)],
            tooltip=tooltip(
                "Independent fields of view can be tested statistically. Frames of one movie or planes of one z-stack "
                "cannot, however many there are."
            ),
        )
        for widget in (self.which, self.fields):
            narrow(widget)
        self.rows = Rows(self.image, self.truth, self.which, self.fields)
        self.methods = MethodChooser(self._viewer.theme)
        self.aligned = CheckBox(text="Align brightness before scoring", value=True, tooltip=tooltip(ALIGNMENT_HELP))
        self.form = RestorationForm()
        folded = fold("Restoration settings", self.form.native)
        parts = self.rows.native, QLabel("Methods"), self.methods, self.aligned.native, folded
        arrange(QVBoxLayout(self), *parts, spacing=6)

    def _on_image_changed(self) -> None:
        layer = self.image.value
        count = 1
        if layer is not None:
            axes = {AXIS_NAMES.get(axis.lower()) for axis in layer.axis_labels[:-2]}
            self.fields.value = axes.isdisjoint(("T", "Z"))
            with suppress(InputError):
                count = len(layer_frames(layer))
        self.which.native.setItemText(0, f"all {count}")
        for widget in (self.which, self.fields):
            widget.visible = count > 1
        self.changed.emit()

    def _on_truth_changed(self) -> None:
        self.aligned.visible = self.truth.value is not None
        self.changed.emit()
