"""A table of training pairs: every row says what it is and whether it can be used."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import QFrame, QHBoxLayout, QLabel, QPushButton, QToolButton, QVBoxLayout, QWidget

from napari_care_losses.core.errors import InputError
from napari_care_losses.widgets.form import make_rows, tooltip
from napari_care_losses.widgets.layer_chooser import LayerChooser
from napari_care_losses.widgets.layers import layer_frames

if TYPE_CHECKING:
    from napari.components import ViewerModel
    from napari.layers import Image

    from napari_care_losses.core.frames import Frames


class ChosenPair(NamedTuple):
    """A row of the table that can be used."""

    name: str
    low: Frames
    high: Frames


def check_pair(low: Image | None, high: Image | None) -> ChosenPair:
    """Return the pair two layers make.

    Only one frame is read: training looks at all of them.

    Raises
    ------
    InputError
        If they make none.
    """
    if low is None or high is None:
        raise InputError("Choose a low and a high exposure.")
    if low is high:
        raise InputError("The same layer twice: choose the two exposures of one field of view.")
    pair = ChosenPair(low.name, layer_frames(low), layer_frames(high))
    if pair.low.shape != pair.high.shape:
        raise InputError(f"Different shapes: {_shape(pair.low)} and {_shape(pair.high)}.")
    first_low, first_high = pair.low[0], pair.high[0]
    if np.array_equal(first_low, first_high):
        raise InputError("Low and high hold the same image: choose the two exposures.")
    for which, frame in (("low", first_low), ("high", first_high)):
        if frame.min() == frame.max():
            raise InputError(f"The {which} image is constant: there is nothing to learn from it.")
    return pair


class PairTable(QWidget):
    """Rows of two layer choosers.

    Parameters
    ----------
    viewer : ViewerModel
        Whose layers.
    parent : QWidget, optional
        Parent widget.
    """

    changed = Signal()
    """A row was added, removed or changed."""

    def __init__(self, viewer: ViewerModel, *, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._viewer = viewer
        self.rows: list[PairRow] = []
        self.add_button = QPushButton("Add pair")
        self.add_button.setToolTip(tooltip("Add another field of view. Stacks count as many pairs: one a frame."))
        self.add_button.clicked.connect(self.add_row)
        self._list = QVBoxLayout()
        self._list.setSpacing(4)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addLayout(self._list)
        layout.addWidget(self.add_button, alignment=Qt.AlignmentFlag.AlignLeft)
        self.add_row()

    def add_row(self) -> PairRow:
        """Add a row and return it."""
        row = PairRow(self._viewer)
        row.changed.connect(self._on_changed)
        row.removed.connect(lambda: self.remove_row(row))
        self.rows.append(row)
        self._list.addWidget(row)
        self._on_changed()
        return row

    def remove_row(self, row: PairRow) -> None:
        """Remove a row."""
        self.rows.remove(row)
        self._list.removeWidget(row)
        row.setParent(None)
        row.deleteLater()
        self._on_changed()

    def pairs(self) -> list[ChosenPair]:
        """Return the pairs of all rows.

        Raises
        ------
        InputError
            If there is no row, or one cannot be used.
        """
        if not self.rows:
            raise InputError("Add a pair of a low and a high exposure to learn from.")
        pairs = []
        for row in self.rows:
            if row.pair is None:
                raise InputError(f"Choose other layers for, or remove, the pair marked ✗ ({row.problem})")
            pairs.append(row.pair)
        used = [(id(pair.low.data), id(pair.high.data)) for pair in pairs]
        if len(set(used)) < len(used):
            raise InputError("A pair is listed twice: remove one of them.")
        return pairs

    def _on_changed(self) -> None:
        for row in self.rows:
            row.remove_button.setEnabled(len(self.rows) > 1)
        self.changed.emit()


class PairRow(QFrame):
    """Two layer choosers and a line on whether they make a pair."""

    changed = Signal()
    removed = Signal()

    def __init__(self, viewer: ViewerModel, *, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.pair: ChosenPair | None = None
        self.problem = ""
        self.low, self.high = (LayerChooser(viewer, none="choose…") for _ in range(2))
        self.low.setToolTip(tooltip("The noisy image: short exposure or little light."))
        self.high.setToolTip(tooltip("The same field of view at a long exposure: what the model learns to give."))
        self.remove_button = QToolButton()
        self.remove_button.setText("✕")
        self.remove_button.setToolTip(tooltip("Remove this pair."))
        self.remove_button.clicked.connect(self.removed)
        self.verdict = QLabel()
        self.verdict.setWordWrap(True)
        layers = make_rows()
        layers.addRow("Low", self.low)
        layers.addRow("High", self.high)
        top = QHBoxLayout()
        top.addLayout(layers, 1)
        top.addWidget(self.remove_button, alignment=Qt.AlignmentFlag.AlignTop)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(2)
        layout.addLayout(top)
        layout.addWidget(self.verdict)
        self.low.changed.connect(self._check)
        self.high.changed.connect(self._check)
        self._check()

    def choose(self, low: Image, high: Image) -> None:
        """Choose both layers, as by hand."""
        self.low.choose(low)
        self.high.choose(high)

    def _check(self) -> None:
        try:
            self.pair, self.problem = check_pair(self.low.layer(), self.high.layer()), ""
        except InputError as error:
            self.pair, self.problem = None, str(error)
        self.verdict.setText(f"✗ {self.problem}" if self.pair is None else f"✓ {_describe(self.pair)}")
        self.changed.emit()


def _describe(pair: ChosenPair) -> str:
    count, (height, width) = len(pair.low), pair.low.frame_shape
    return f"{count} frame{'s' if count > 1 else ''} of {height} x {width} px"


def _shape(frames: Frames) -> str:
    return " x ".join(map(str, frames.shape))
