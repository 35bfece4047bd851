"""Chooses a training loss, with its own parameters and its equation."""

from __future__ import annotations

import inspect
import re
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from magicgui.widgets import ComboBox
from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import QVBoxLayout, QWidget

from napari_care_losses.errors import CareError
from napari_care_losses.losses.registry import LOSSES
from napari_care_losses.widgets.shared.form import ParameterForm, Rows, narrow, tooltip
from napari_care_losses.widgets.shared.layout import arrange

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
    r"\epsilon": "&epsilon;",
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
        self.combo = narrow(
            ComboBox(label="Loss", choices=[(kind.title, name) for name, kind in LOSSES.items()]), "Loss"
        )
        self.rows = Rows(self.combo)
        self.forms: dict[str, ParameterForm[Loss]] = {name: ParameterForm(kind) for name, kind in LOSSES.items()}
        arrange(QVBoxLayout(self), self.rows.native, *(form.native for form in self.forms.values()))
        for index, (name, form) in enumerate(self.forms.items()):
            help = tooltip(explain(LOSSES[name]))
            self.combo.native.setItemData(index, help, Qt.ItemDataRole.ToolTipRole)
            form.changed.connect(lambda: self.changed.emit())
        self.combo.changed.connect(self._on_chosen)
        self._on_chosen(self.combo.value)

    @property
    def form(self) -> ParameterForm[Loss]:
        """The form of the chosen loss's parameters."""
        return self.forms[self.combo.value]

    def show_loss(self, name: str, parameters: Mapping[str, Any]) -> None:
        """Show the loss that a model was trained with; nothing changes if the loss is unknown."""
        with suppress(CareError):
            if name in self.forms:
                self.forms[name].set_value(LOSSES[name].from_dict(parameters))
                self.combo.value = name

    def value(self) -> Loss:
        """Return the loss.

        Raises
        ------
        InputError
            If its parameters do not fit together.
        """
        return self.form.value()

    def _on_chosen(self, name: str) -> None:
        for other, form in self.forms.items():
            form.visible = other == name and bool(LOSSES[name].described())
        self.combo.tooltip = tooltip(explain(LOSSES[name]))
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
    return re.sub(r"\^\{([^}]*)\}|\^(\w)", lambda match: f"<sup>{match[1] or match[2]}</sup>", text)


def _fraction(match: re.Match[str]) -> str:
    above, below = match[1].strip(), match[2].strip()
    return f"{above} / {below}" if " " not in below else f"{above} / ({below})"
