"""The bar above the panels of a comparison: images or differences, brightness and contrast."""

from __future__ import annotations

from qtpy.QtCore import QSignalBlocker, Qt, Signal
from qtpy.QtWidgets import QCheckBox, QComboBox, QHBoxLayout, QLabel, QSizePolicy, QStackedWidget, QWidget
from superqt import QDoubleRangeSlider, QDoubleSlider

from napari_care_losses.widgets.shared.form import tooltip
from napari_care_losses.widgets.shared.layout import arrange, push_button

SMALLEST_SLIDER = 110
SMALLEST_WIDTH = 1e-6
"""Least width of a contrast range, as a share of the slider's range."""

LARGEST_DIFFERENCE = 4.0
"""End of the slider, in multiples of the suggested difference."""


class ComparisonBar(QWidget):
    """Chooses how the panels are drawn, with a ground truth or without one."""

    options_changed = Signal()
    """Other images are to be shown."""

    contrast_changed = Signal()
    """The same images are to be shown with another contrast."""

    whole_asked = Signal()
    """The whole image is to be shown."""

    def __init__(self, *, has_truth: bool, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.kind = QComboBox()
        self.kind.addItem("Images", False)
        self.kind.addItem("Differences to ground truth" if has_truth else "Residuals", True)
        self.kind.setToolTip(
            tooltip(
                "What every panel shows: the image, or by how much it is brighter (red) or darker (blue) than the "
                "ground truth. A perfect restoration is white everywhere."
                if has_truth
                else "What every panel shows: the image, or what was taken away from the input (red) and added to it "
                "(blue). A good restoration takes away noise only: structure seen here is lost signal."
            )
        )
        matching = "Scale and shift every image's grey levels to fit the {}. Off: grey levels as they are{}."
        own = ("ground truth", "; the ground truth then has a contrast of its own") if has_truth else ("input", "")
        self.matched = QCheckBox("Match brightness", checked=True, toolTip=tooltip(matching.format(*own)))
        about_auto = tooltip("Choose the contrast anew for every frame; it is one for all panels.")
        self.auto = QCheckBox("Auto", checked=True, toolTip=about_auto)
        self.limits_slider = QDoubleRangeSlider(Qt.Orientation.Horizontal)
        self.limits_slider.setToolTip(tooltip("Grey levels shown black and white, in all panels alike."))
        self.difference_slider = QDoubleSlider(Qt.Orientation.Horizontal)
        self.difference_slider.setToolTip(tooltip("The difference shown in full colour, in all panels alike."))
        self.sliders = QStackedWidget()
        for slider in (self.limits_slider, self.difference_slider):
            self.sliders.addWidget(slider)
        self.sliders.setMinimumWidth(SMALLEST_SLIDER)
        self.sliders.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self.text = QLabel()
        whole = push_button("Whole image", "Show the whole image in all panels.", self.whole_asked.emit)
        shown = QLabel("Show"), self.kind, self.matched
        contrast = QLabel("Contrast"), self.sliders, self.text, self.auto, whole
        arrange(QHBoxLayout(self), *shown, *contrast, growing=[self.sliders], spacing=8)
        self.kind.currentIndexChanged.connect(self._on_kind_changed)
        self.matched.toggled.connect(lambda _: self.options_changed.emit())
        self.auto.toggled.connect(lambda _: self.contrast_changed.emit())
        for slider in (self.limits_slider, self.difference_slider):
            slider.valueChanged.connect(self._on_moved)
        self._write()

    @property
    def is_difference(self) -> bool:
        """Whether differences are wanted."""
        return bool(self.kind.currentData())

    @property
    def is_matched(self) -> bool:
        """Whether images are to be brought to one brightness."""
        return self.matched.isChecked()

    @property
    def limits(self) -> tuple[float, float]:
        """Grey levels shown black and white."""
        low, high = (float(value) for value in self.limits_slider.value())
        return low, max(high, low + SMALLEST_WIDTH)

    @property
    def difference(self) -> float:
        """The difference shown in full colour."""
        return max(float(self.difference_slider.value()), SMALLEST_WIDTH)

    def suggest_limits(self, limits: tuple[float, float], span: tuple[float, float]) -> None:
        """Offer the grey levels of a frame, and show the best of them unless the user has chosen."""
        low, high = limits if self.auto.isChecked() else self.limits
        with QSignalBlocker(self.limits_slider):
            self.limits_slider.setRange(min(span[0], low), max(span[1], high))
            self.limits_slider.setValue((low, high))
        self._write()

    def suggest_difference(self, largest: float) -> None:
        """Offer the differences of a frame, and show the best of them unless the user has chosen."""
        value = largest if self.auto.isChecked() else self.difference
        with QSignalBlocker(self.difference_slider):
            self.difference_slider.setRange(0, max(LARGEST_DIFFERENCE * largest, value))
            self.difference_slider.setValue(value)
        self._write()

    def _on_kind_changed(self, _index: int) -> None:
        self.sliders.setCurrentIndex(int(self.is_difference))
        self._write()
        self.options_changed.emit()

    def _on_moved(self, _value: object) -> None:
        with QSignalBlocker(self.auto):
            self.auto.setChecked(False)
        self._write()
        self.contrast_changed.emit()

    def _write(self) -> None:
        low, high = self.limits
        self.text.setText(f"± {self.difference:.3g}" if self.is_difference else f"{low:.4g} to {high:.4g}")
