"""The settings of a training: loss, network, starting weights, budget, device and the model's name."""

from __future__ import annotations

import sys
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from magicgui.widgets import ComboBox, LineEdit
from qtpy.QtCore import Signal
from qtpy.QtWidgets import QVBoxLayout, QWidget

from napari_care_losses.errors import CareError
from napari_care_losses.losses.registry import LOSSES
from napari_care_losses.models.library import free_name
from napari_care_losses.models.model import STRUCTURE_NAMES, structure_named
from napari_care_losses.training.logs.parameters import LogParameters
from napari_care_losses.training.parameters import (
    DEFAULT_NEIGHBOURS,
    DEFAULT_STEPS_PER_EPOCH,
    RECIPES,
    DeviceParameters,
    TrainingParameters,
    recommended_recipe,
)
from napari_care_losses.training.targets.registry import TARGETS, suited_loss
from napari_care_losses.widgets.shared.form import ParameterForm, Rows, line_up, narrow, tooltip
from napari_care_losses.widgets.shared.layout import arrange
from napari_care_losses.widgets.shared.model_chooser import ModelChooser
from napari_care_losses.widgets.shared.run_bar import show_text, text_line
from napari_care_losses.widgets.train.loss_form import LossForm

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

AMOUNTS = {"epochs": 100.0, "steps": 2000.0, "minutes": 5.0}
"""Budgets offered first: the epochs of the paper, or what a computer without a graphics card trains in minutes."""

UNITS = {"epochs": "epochs", "steps": "steps", "minutes": "min"}

START = TrainingParameters(
    preset="lite",
    budget="minutes",
    amount=AMOUNTS["minutes"],
    steps_per_epoch=DEFAULT_STEPS_PER_EPOCH["minutes"],
    **RECIPES[recommended_recipe(from_model=False)],
)
"""The first values of the form."""

CUSTOM = "custom"
RECIPE_WORDS = {
    "robust": "robust (recommended)",
    "fine-tune": "fine-tune (robust, from a model)",
    "paper": "paper (as CARE trains)",
    CUSTOM: "custom (set under More settings)",
}
RECIPE_HELP = (
    "Robust: patches from everywhere in the images, varied in brightness, size and noise, and averaged weights, so "
    "that the model also works on images unlike those it was trained on. Fine-tune: the same with a lower learning "
    "rate, to start from a model. Paper: as CARE trains. The values are under More settings; Recipe shows custom where "
    "they differ from every recipe."
)

NEIGHBOURS_OF_MODEL = "The model to start from reads as many."

FIXED_BY_MODEL = "The network is that of the model to start from."


class TrainingSettings(QWidget):
    """All that a training needs besides pairs.

    Parameters
    ----------
    names_in_use : callable
        Returns names that a new model must not have, besides those of the library.
    """

    changed = Signal()
    """Any setting has changed."""

    neighbours_changed = Signal(int, str)
    """The number of neighbouring frames or their axis may have changed; both."""

    def __init__(self, names_in_use: Callable[[], set[str]], *, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._names_in_use = names_in_use
        # what the user has chosen: loss, structure, epoch length
        self._own: set[str] = set()
        # the loss that did not suit what the network learns from, and the one shown in its place
        self._replaced = "", ""
        self._build()
        self._connect()
        self._on_start_chosen()
        self.suggest_name()

    def _build(self) -> None:
        self.loss = LossForm()
        self.structure = ComboBox(
            label="Structure",
            choices=STRUCTURE_NAMES,
            value=STRUCTURE_NAMES[-1],
            tooltip=tooltip("What the images show. It is stored in the model, so that you can find the model later."),
        )
        self.start_from = ModelChooser(
            "Start",
            "Adapt a trained model to your images (fine-tuning), which needs less training. The loss of the model "
            "is used too, unless you have chosen one.",
            none="from scratch",
        )
        self.recipe = ComboBox(
            label="Recipe",
            choices=[(words, name) for name, words in RECIPE_WORDS.items()],
            tooltip=tooltip(RECIPE_HELP),
        )
        disable_choice(self.recipe, CUSTOM, "Shown where the values under More settings differ from every recipe.")
        self.form = ParameterForm(TrainingParameters, apart=("target",))
        # above the images that it asks for
        self.target = self.form.editors["target"]
        self.neighbours = self.form.editors["neighbours"]
        # as many before as after
        self.neighbours.step = 2
        self.loss_note = text_line()
        self.form.set_value(START)
        self.form.editors["budget"].tooltip = tooltip(
            TrainingParameters.described()["budget"].help
            + " The paper: 100 epochs of 400 steps with the care network, about 5 hours without a graphics card."
        )
        self._show_recipe()
        self._set_budget_unit()
        self.device = ParameterForm(DeviceParameters)
        # training itself reports any other device that is missing
        never, why = ("cuda", "No Mac has it.") if sys.platform == "darwin" else ("mps", "Only Macs have it.")
        disable_choice(self.device.editors["device"], never, why)
        self.log = ParameterForm(LogParameters)
        self.name = LineEdit(
            label="Model name", tooltip=tooltip("Name of the model in the library, where Restore finds it.")
        )
        for widget in (self.structure, self.recipe, self.name):
            narrow(widget)
        structure, recipe, name = Rows(self.structure), Rows(self.recipe), Rows(self.name)
        rows = [structure, self.start_from.rows, recipe, self.form, self.device, self.log, name]
        arrange(QVBoxLayout(self), self.loss, self.loss_note, *(each.native for each in rows))
        line_up(self.loss.rows, *self.loss.forms.values(), *rows)

    def _connect(self) -> None:
        self.loss.changed.connect(self._on_kind_changed)
        self.loss.combo.native.activated.connect(lambda _: self._own.add("loss"))
        self.target.changed.connect(lambda _: self._own.add("target"))
        self.target.changed.connect(self._suit_loss)
        self.target.changed.connect(self._on_target)
        for name in ("neighbours", "neighbours_along"):
            self.form.editors[name].changed.connect(lambda _: self._tell_neighbours())
        self.structure.changed.connect(lambda _: self._own.add("structure"))
        self.structure.changed.connect(self._on_kind_changed)
        self.start_from.changed.connect(self._on_start_chosen)
        self.recipe.changed.connect(self._on_recipe_chosen)
        self.form.editors["budget"].changed.connect(self._on_budget_chosen)
        self.form.editors["steps_per_epoch"].changed.connect(lambda _: self._own.add("epoch length"))
        self.form.changed.connect(self._on_form_changed)
        self.name.changed.connect(lambda: self.changed.emit())

    def start_path(self) -> Path | None:
        """Return the model to start from."""
        return None if self.start_from.value is None else self.start_from.value.path

    def suggest_name(self, *, replacing: bool = False) -> None:
        """Fill in a free name; a name typed by the user stays unless `replacing`."""
        if self.name.native.isModified() and not replacing:
            return
        shows = "" if self.structure.value == STRUCTURE_NAMES[-1] else f"{self.structure.value}-"
        stem = f"my-{shows}{self.loss.combo.value}"
        # without a library nothing can be trained, which is said elsewhere
        with suppress(CareError):
            stem = free_name(stem, self._names_in_use())
        self.name.value = stem
        self.name.native.setModified(False)

    def suggest_target(self, name: str) -> None:
        """Choose what to learn from; what the user has chosen stays."""
        if "target" not in self._own and self.target.value != name:
            self.target.value = name
            self._own.discard("target")

    def suggest_structure(self, names: Iterable[str]) -> None:
        """Choose the structure found in the first of these names, "other" without one; one chosen by the user stays."""
        found = next(filter(None, map(structure_named, names)), STRUCTURE_NAMES[-1])
        if "structure" in self._own or found == self.structure.value:
            return
        with self.structure.changed.blocked():
            self.structure.value = found
        self._on_kind_changed()

    def _show_recipe(self) -> None:
        """Show the recipe that the values of the form belong to."""
        shown = {name: editor.value for name, editor in self.form.editors.items()}
        matching = (name for name, values in RECIPES.items() if shown == shown | values)
        with self.recipe.changed.blocked():
            self.recipe.value = next(matching, CUSTOM)
        # the list offers what can be chosen
        combo = self.recipe.native
        combo.view().setRowHidden(combo.findData(CUSTOM), self.recipe.value != CUSTOM)

    def _on_recipe_chosen(self, name: str) -> None:
        self.form.set_values(RECIPES[name])
        self._show_recipe()
        self.changed.emit()

    def _on_budget_chosen(self, budget: str) -> None:
        values: dict[str, Any] = {"amount": AMOUNTS[budget]}
        if "epoch length" not in self._own:
            values["steps_per_epoch"] = DEFAULT_STEPS_PER_EPOCH[budget]
        self.form.set_values(values)
        self._set_budget_unit()

    def _on_form_changed(self) -> None:
        self._show_recipe()
        self._show_loss_note()
        self.changed.emit()

    def _on_target(self, target: str) -> None:
        """Follow with the neighbouring frames, where there must be some or none."""
        if target == "neighbours" and not self.neighbours.value:
            self.neighbours.value = DEFAULT_NEIGHBOURS
        elif target == "next":
            self.neighbours.value = 0

    def _tell_neighbours(self) -> None:
        self.neighbours_changed.emit(self.neighbours.value, self.form.editors["neighbours_along"].value)

    def _set_budget_unit(self) -> None:
        self.form.editors["amount"].unit = UNITS[self.form.editors["budget"].value]

    def _show_loss_note(self) -> None:
        """Say where the loss does not suit what the network learns from."""
        show_text(self.loss_note, TARGETS[self.target.value].loss_remark(LOSSES[self.loss.combo.value]()))

    def _suit_loss(self) -> None:
        """Choose a loss that suits what the network learns from; one chosen by the user stays."""
        if "loss" in self._own:
            return
        shown, (before, suited) = self.loss.combo.value, self._replaced
        wanted = before if shown == suited else shown
        suited = suited_loss(self.target.value, LOSSES[wanted]()).name
        self._replaced = ("", "") if suited == wanted else (wanted, suited)
        self.loss.combo.value = suited

    def _on_kind_changed(self) -> None:
        self.suggest_name()
        self._show_loss_note()
        self.changed.emit()

    def _on_start_chosen(self) -> None:
        entry = self.start_from.value
        if entry is not None and "loss" not in self._own:
            self.loss.show_loss(entry.card.loss, entry.card.loss_parameters)
            self._replaced = "", ""
            self._suit_loss()
            self._show_loss_note()
        preset = self.form.editors["preset"]
        preset.enabled = entry is None
        preset.tooltip = tooltip(FIXED_BY_MODEL if entry else TrainingParameters.described()["preset"].help)
        self._follow_model(0 if entry is None else entry.card.architecture.neighbours)
        fitting, other = (recommended_recipe(from_model=starts) for starts in (entry is not None, entry is None))
        if self.recipe.value == other:
            self.form.set_values(RECIPES[fitting])
            self._show_recipe()
        self.changed.emit()

    def _follow_model(self, number: int) -> None:
        """Take the neighbouring frames of the model to start from, if it has some."""
        was_of_model = not self.neighbours.enabled
        self.neighbours.enabled = not number
        help = TrainingParameters.described()["neighbours"].help
        self.neighbours.tooltip = tooltip(NEIGHBOURS_OF_MODEL if number else help)
        if number or was_of_model:
            self.neighbours.value = number


def disable_choice(combo: ComboBox, choice: str, why: str) -> None:
    """Show a choice of a combo box that the user cannot take, with the reason as tooltip."""
    item = combo.native.model().item(combo.native.findData(choice))
    item.setEnabled(False)
    item.setToolTip(tooltip(why))
