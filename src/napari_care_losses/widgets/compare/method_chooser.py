"""A list of models and baselines to tick; it follows the model library."""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari.utils.theme import get_theme
from qtpy.QtCore import QDir, QSignalBlocker, Qt, Signal
from qtpy.QtWidgets import QSizePolicy, QTreeWidget, QTreeWidgetItem, QVBoxLayout, QWidget

from napari_care_losses.comparison.baselines import BASELINES
from napari_care_losses.comparison.compare import Method
from napari_care_losses.losses.registry import loss_title
from napari_care_losses.models.library import BUNDLED_LOSSES, LibraryEntry, meant_name
from napari_care_losses.widgets.compare.results import TITLES
from napari_care_losses.widgets.shared.form import tooltip
from napari_care_losses.widgets.shared.layout import arrange
from napari_care_losses.widgets.shared.library_watch import LibraryWatch
from napari_care_losses.widgets.shared.model_chooser import describe, kind_of, label

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from qtpy.QtGui import QShowEvent

FIRST_BASELINE = "tv"

SHORT_NAMES = {"tv": "TV", "nl-means": "NL-means"}
"""Names of baselines above a panel."""

MOST_ROWS = 12
"""Shown without scrolling: all bundled models and one of the user's own."""

Choice = LibraryEntry | str
"""A model of the library, or the name of a baseline."""


class MethodChooser(QWidget):
    """Ticks models of the library and baselines; at first one model of each bundled loss, and `FIRST_BASELINE`."""

    changed = Signal()
    """Other methods are ticked."""

    def __init__(self, theme: str, *, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._was_ticked_by_hand = False
        self._library = LibraryWatch(parent=self)
        self._library.changed.connect(self.reload)
        self._items: list[tuple[QTreeWidgetItem, Choice]] = []
        self.tree = QTreeWidget(headerHidden=True, rootIsDecorated=False, indentation=10, itemsExpandable=False)
        self.tree.setTextElideMode(Qt.TextElideMode.ElideMiddle)
        self.tree.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.tree.setSizePolicy(QSizePolicy.Policy.Preferred, QSizePolicy.Policy.Fixed)
        self.tree.setAccessibleName("Methods")
        self.tree.itemChanged.connect(self._on_item_changed)
        arrange(QVBoxLayout(self), self.tree)
        self.set_theme(theme)
        self.reload()

    @property
    def problem(self) -> str:
        """Why nothing can be compared; empty if something can."""
        return "" if self.choices() else self._library.problem or "Tick at least one method."

    def choices(self) -> list[Choice]:
        """Return the ticked models and baselines, in the order of the list."""
        return [choice for item, choice in self._items if item.checkState(0) == Qt.CheckState.Checked]

    def methods(self) -> list[Method]:
        """Return the ticked methods, with short unique names."""
        choices = self.choices()
        return [
            Method(name, baseline=choice) if isinstance(choice, str) else Method(name, model=choice.path)
            for name, choice in zip(short_names(choices), choices, strict=True)
        ]

    def reference(self) -> str | None:
        """Return the name of the ticked model of the Laplace loss, against which the others are tested, or None."""
        named = zip(self.methods(), self.choices(), strict=True)
        laplace = (method.name for method, choice in named if method.model and choice.card.loss == "laplace")
        return next(laplace, None)

    def set_theme(self, name: str) -> None:
        """Use the colours of one of napari's themes, which do not style the check boxes of lists."""
        theme = get_theme(name)
        images = f"theme_{theme.id}"
        check = f"image: url({images}:/check.svg);" if QDir.searchPaths(images) else ""
        self.tree.setStyleSheet(
            "QTreeView::indicator { width: 10px; height: 10px; border-radius: 2px;"
            f" border: 1px solid {theme.highlight.as_hex()}; background-color: {theme.background.as_hex()}; }}"
            f"QTreeView::indicator:checked {{ {check} background-color: {theme.current.as_hex()}; }}"
        )

    def tick(self, names: Iterable[str]) -> None:
        """Tick these models and baselines and no others, as by hand; names are understood as by `find_model`."""
        self._was_ticked_by_hand = True
        there = {choice if isinstance(choice, str) else choice.name for _, choice in self._items}
        self._set_ticked({meant_name(name, there) for name in names})

    def showEvent(self, event: QShowEvent | None) -> None:
        """Fit the height, because now the rows have the style of the viewer."""
        super().showEvent(event)
        self._fit_height()

    def reload(self) -> None:
        """Read the library again; ticks are kept."""
        entries = self._library.models()
        ticked = {_key(choice) for choice in self.choices()}
        with QSignalBlocker(self.tree):
            self._items.clear()
            self.tree.clear()
            self._add_group("Your models", [entry for entry in entries if not entry.bundled], ticked)
            self._add_group("Bundled models", [entry for entry in entries if entry.bundled], ticked)
            self._add_group("Without training", list(BASELINES), ticked)
        self._fit_height()
        if self._was_ticked_by_hand:
            self.changed.emit()
        else:
            self._set_ticked(suggested([choice for _, choice in self._items if not isinstance(choice, str)]))

    def _add_group(self, title: str, choices: Sequence[Choice], ticked: set[str]) -> None:
        if not choices:
            return
        group = QTreeWidgetItem([title])
        group.setFlags(Qt.ItemFlag.ItemIsEnabled)
        font = group.font(0)
        font.setBold(True)
        group.setFont(0, font)
        self.tree.addTopLevelItem(group)
        for choice in choices:
            item = QTreeWidgetItem([_label(choice)])
            item.setFlags(Qt.ItemFlag.ItemIsEnabled | Qt.ItemFlag.ItemIsUserCheckable | Qt.ItemFlag.ItemIsSelectable)
            item.setToolTip(0, tooltip(_about(choice)))
            _tick(item, _key(choice) in ticked)
            group.addChild(item)
            self._items.append((item, choice))
        group.setExpanded(True)

    def _fit_height(self) -> None:
        rows = len(self._items) + self.tree.topLevelItemCount()
        row = self.tree.sizeHintForRow(0)
        self.tree.setFixedHeight(row * min(rows, MOST_ROWS) + 2 * self.tree.frameWidth() + 4)

    def _set_ticked(self, names: set[str]) -> None:
        with QSignalBlocker(self.tree):
            for item, choice in self._items:
                _tick(item, (choice if isinstance(choice, str) else choice.name) in names)
        self.changed.emit()

    def _on_item_changed(self, _item: QTreeWidgetItem, _column: int) -> None:
        self._was_ticked_by_hand = True
        self.changed.emit()


def suggested(entries: Sequence[LibraryEntry]) -> set[str]:
    """Return what is compared at first: a model of each of the paper's losses, and TV."""
    models: dict[str, str] = {}
    # Bundled models first: they were trained alike, so that comparing them compares the losses.
    for entry in sorted(entries, key=lambda entry: not entry.bundled):
        if entry.card.loss in BUNDLED_LOSSES:
            models.setdefault(entry.card.loss, entry.name)
    return {FIRST_BASELINE, *models.values()}


def short_names(choices: Sequence[Choice]) -> list[str]:
    """Return short unique names; a bundled model has the name of its loss if that is unique."""
    ways = [_ways_to_name(choice) for choice in choices]
    names = [way[0] for way in ways]
    for step in range(1, max((len(way) for way in ways), default=0)):
        taken = [name for name in names if names.count(name) > 1]
        names = [way[min(step, len(way) - 1)] if name in taken else name for name, way in zip(names, ways, strict=True)]
    # two models of one name, one of them bundled; or a model that is called like the input or the truth
    taken = [*TITLES]
    for place, name in enumerate(names):
        number = 1
        while names[place] in taken:
            number += 1
            names[place] = f"{name} ({number})"
        taken.append(names[place])
    return names


def _ways_to_name(choice: Choice) -> list[str]:
    if isinstance(choice, str):
        return [SHORT_NAMES.get(choice, BASELINES[choice].title)]
    if not choice.bundled:
        return [choice.name]
    loss, card = loss_title(choice.card.loss), choice.card
    neighbours = card.architecture.neighbours
    size = f"{card.preset}, {neighbours} neighbours" if neighbours else card.preset
    return [loss, f"{loss} ({size})", choice.name]


def _label(choice: Choice) -> str:
    if isinstance(choice, str):
        return BASELINES[choice].title
    # the heading says that it is bundled
    return kind_of(choice) if choice.bundled else label(choice)


def _about(choice: Choice) -> str:
    if isinstance(choice, str):
        return f"{BASELINES[choice].source}. Its strength is that of least estimated error, chosen in each frame."
    return f"{label(choice)}<br>{describe(choice.card)}<br>{choice.path}"


def _tick(item: QTreeWidgetItem, is_ticked: bool) -> None:
    item.setCheckState(0, Qt.CheckState.Checked if is_ticked else Qt.CheckState.Unchecked)


def _key(choice: Choice) -> str:
    return choice if isinstance(choice, str) else str(choice.path)
