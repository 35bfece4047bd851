"""Chooses a training loss, with its own parameters and its equation."""

from __future__ import annotations

import inspect
import re
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import QComboBox, QVBoxLayout, QWidget

from napari_care_losses.errors import CareError
from napari_care_losses.losses.registry import LOSSES
from napari_care_losses.widgets.shared.form import ParameterForm, make_rows, scroll_past, tooltip

if TYPE_CHECKING:
    from collections.abc import Mapping

    from napari_care_losses.losses.base import Loss

SYMBOLS = {
    r"\mathcal{F}": "F",
    r"\sigma_1": "&sigma;₁",
    r"\sigma_2": "&sigma;₂",
    r"\sigma": "&sigma;",
    r"\lambda": "&lambda;",
    r"\alpha": "&alpha;",
    r"\mu": "&mu;",
    r"\sum": "&sum;",
    r"\log": "log",
    r"\cdot": "·",
}
"""The LaTeX commands in the losses' docstrings, as rich text."""


class LossForm(QWidget):
    """A combo box of the losses, above the parameters of the chosen one."""

    changed = Signal()
    """Another loss is chosen, or a parameter has changed."""

    def __init__(self, *, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.combo = QComboBox()
        self.combo.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
        scroll_past(self.combo)
        self._forms: dict[str, ParameterForm[Loss]] = {}
        rows = make_rows()
        self.rows: list[Any] = [rows]
        rows.addRow("Loss", self.combo)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addLayout(rows)
        for index, (name, kind) in enumerate(LOSSES.items()):
            self.combo.addItem(kind.title, name)
            self.combo.setItemData(index, tooltip(explain(kind)), Qt.ItemDataRole.ToolTipRole)
            form: ParameterForm[Loss] = ParameterForm(kind)
            form.changed.connect(lambda: self.changed.emit())
            layout.addWidget(form.native)
            self._forms[name] = form
            self.rows.append(form)
        self.combo.currentIndexChanged.connect(self._on_chosen)
        self._on_chosen()

    def name(self) -> str:
        """Return the name of the chosen loss."""
        return str(self.combo.currentData())

    def form(self) -> ParameterForm[Loss]:
        """Return the form of the chosen loss's parameters."""
        return self._forms[self.name()]

    def choose(self, name: str) -> None:
        """Choose a loss by its name."""
        self.combo.setCurrentIndex(self.combo.findData(name))

    def show_loss(self, name: str, parameters: Mapping[str, Any]) -> None:
        """Show the loss that a model was trained with; nothing changes if the loss is unknown."""
        with suppress(CareError):
            if name in self._forms:
                self._forms[name].set_value(LOSSES[name].from_dict(parameters))
                self.choose(name)

    def value(self) -> Loss:
        """Return the loss.

        Raises
        ------
        InputError
            If its parameters do not fit together.
        """
        return self.form().value()

    def _on_chosen(self, _index: int = 0) -> None:
        name = self.name()
        for other, form in self._forms.items():
            form.visible = other == name and bool(LOSSES[name].described())
        self.combo.setToolTip(tooltip(explain(LOSSES[name])))
        self.changed.emit()


def explain(kind: type[Loss]) -> str:
    """Return a loss's docstring, without its example, as rich text: the equation in characters Qt can show."""
    text = (inspect.getdoc(kind) or "").partition("\n\nExamples\n")[0]
    paragraphs = [" ".join(paragraph.split()) for paragraph in text.split("\n\n")]
    return "<br>".join(_readable(text) for text in paragraphs)


def _readable(text: str) -> str:
    text = re.sub(r":math:`([^`]*)`", r"\1", text).removeprefix(".. math:: ").replace("``", "")
    text = re.sub(r"\\frac\{((?:[^{}]|\{[^{}]*\})*)\}\{((?:[^{}]|\{[^{}]*\})*)\}", _fraction, text)
    for command, symbol in SYMBOLS.items():
        text = text.replace(command, symbol)
    text = re.sub(r"_\{([^}]*)\}|_(\w)", lambda match: f"<sub>{match[1] or match[2]}</sub>", text)
    text = re.sub(r"\^\{([^}]*)\}|\^(\w)", lambda match: f"<sup>{match[1] or match[2]}</sup>", text)
    return text


def _fraction(match: re.Match[str]) -> str:
    above, below = match[1].strip(), match[2].strip()
    return f"{above} / {below}" if " " not in below else f"{above} / ({below})"
