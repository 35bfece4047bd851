"""A combo box that follows the model library."""

from __future__ import annotations

import math
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING

from napari.utils.notifications import show_error
from qtpy.QtCore import QSignalBlocker, Qt, Signal
from qtpy.QtWidgets import QComboBox, QFileDialog, QHBoxLayout, QLabel, QToolButton, QVBoxLayout, QWidget

from napari_care_losses.errors import CareError
from napari_care_losses.losses.registry import LOSSES
from napari_care_losses.models.library import LibraryEntry
from napari_care_losses.models.match import noise_seen
from napari_care_losses.models.model import SUFFIX, read_card, structure_named
from napari_care_losses.models.program import Program
from napari_care_losses.models.suggest import rank_models
from napari_care_losses.widgets.shared.form import scroll_past, tooltip
from napari_care_losses.widgets.shared.library_watch import LibraryWatch

if TYPE_CHECKING:
    from collections.abc import Callable

    from napari_care_losses.models.image_statistics import ImageStatistics
    from napari_care_losses.models.model import ModelCard
    from napari_care_losses.models.suggest import Match


class ModelChooser(QWidget):
    """Chooses a model of the library or a file, and says what it was trained on; follows what comes into the library.

    Parameters
    ----------
    none : str, optional
        Text of a first entry that stands for no model.
    follows : callable, optional
        Whether a model that has just come into the library is chosen; never by default.
    parent : QWidget, optional
        Parent widget.
    """

    changed = Signal()
    """Another model is chosen."""

    def __init__(
        self, *, none: str | None = None, follows: Callable[[], bool] | None = None, parent: QWidget | None = None
    ) -> None:
        super().__init__(parent)
        self._none = none
        self._follows = follows or (lambda: False)
        self._opened: list[LibraryEntry] = []
        self._was_chosen = False
        self._seen: set[Path] | None = None
        self._looked_at: list[ImageStatistics] = []
        self._library = LibraryWatch(parent=self)
        self._library.changed.connect(self.reload)
        self.combo = QComboBox()
        self.combo.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
        self.combo.setMinimumContentsLength(18)
        scroll_past(self.combo)
        self.combo.currentIndexChanged.connect(self._on_chosen)
        self.combo.activated.connect(self._on_activated)
        # small, for the names of models are long
        opening = QToolButton()
        opening.setText("…")
        opening.setToolTip(tooltip("Use a model file (.safetensors) that lies elsewhere."))
        opening.setAccessibleName("Open a model file")
        opening.clicked.connect(self._open)
        self.about = QLabel()
        self.about.setWordWrap(True)
        self._row, self._buttons = QHBoxLayout(), QHBoxLayout()
        self._row.addWidget(self.combo, 1)
        self._row.addWidget(opening)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(2)
        layout.addLayout(self._row)
        layout.addWidget(self.about)
        layout.addLayout(self._buttons)
        self.reload()

    @property
    def problem(self) -> str:
        """Why the library cannot be read; empty when it can."""
        return self._library.problem

    def add_button(self, button: QWidget) -> None:
        """Put a further button below."""
        self._buttons.addWidget(button, 1)

    def entry(self) -> LibraryEntry | None:
        """Return the chosen model."""
        entry = self.combo.currentData()
        return entry if isinstance(entry, LibraryEntry) else None

    def choose(self, name: str) -> None:
        """Choose a model by name, if it is there, as by hand."""
        self._was_chosen = True
        for index in range(self.combo.count()):
            entry = self.combo.itemData(index)
            if entry is not None and entry.name == name:
                self.combo.setCurrentIndex(index)
                return

    def suggest_for(self, image_name: str) -> None:
        """Choose a model of the structure that an image's name tells, unless one has been chosen."""
        structure, entry = structure_named(image_name), self.entry()
        if self._was_chosen or structure is None or (entry is not None and entry.card.structure == structure):
            return
        for index in range(self.combo.count()):
            entry = self.combo.itemData(index)
            if entry is not None and entry.card.structure == structure:
                self.combo.setCurrentIndex(index)
                return

    def sort_for(self, statistics: ImageStatistics) -> None:
        """Put the models first that were trained on images like this one; the choice stays."""
        self._looked_at = [statistics]
        chosen = self.entry()
        with QSignalBlocker(self.combo):
            self._fill(self._library.models())
            self.combo.setCurrentIndex(max(0, self._index(chosen)))

    def open_file(self, path: Path) -> None:
        """Add a model file to the choice and choose it.

        Raises
        ------
        ModelFileError
            If it is none of ours.
        """
        self._opened = [entry for entry in self._opened if entry.path != path]
        self._opened.append(LibraryEntry(path.name, path, False, read_card(path)))
        self.reload()
        self.choose(path.name)

    def reload(self) -> None:
        """Read the library again."""
        entries = self._library.models()
        chosen, seen = self.entry(), self._seen
        self._seen = {entry.path for entry in entries}
        new = [] if seen is None else [entry for entry in entries if entry.path not in seen]
        with QSignalBlocker(self.combo):
            self._fill(entries)
            self.combo.setCurrentIndex(max(0, self._index(chosen)))
        if new and self._follows():
            self.choose(new[0].name)
        self._on_chosen()

    def _fill(self, entries: list[LibraryEntry]) -> None:
        self.combo.clear()
        if self._none is not None:
            self.combo.addItem(self._none, None)
        for group in (
            self._opened,
            [entry for entry in entries if not entry.bundled],
            [entry for entry in entries if entry.bundled],
        ):
            if group and self.combo.count():
                self.combo.insertSeparator(self.combo.count())
            for match in rank_models(group, self._looked_at):
                self.combo.addItem(label(match.entry), match.entry)
                if self._looked_at:
                    tip = tooltip(_verdict(match))
                    self.combo.setItemData(self.combo.count() - 1, tip, Qt.ItemDataRole.ToolTipRole)

    def _index(self, chosen: LibraryEntry | None) -> int:
        if chosen is None:
            return 0
        entries = (self.combo.itemData(index) for index in range(self.combo.count()))
        return next((i for i, entry in enumerate(entries) if entry is not None and entry.path == chosen.path), 0)

    def _on_activated(self, _index: int) -> None:
        self._was_chosen = True

    def _on_chosen(self, _index: int = 0) -> None:
        entry = self.entry()
        self.about.setText("" if entry is None else describe(entry.card))
        self.about.setVisible(entry is not None)
        self.combo.setToolTip("" if entry is None else tooltip(f"{label(entry)}<br>{entry.path}"))
        self.changed.emit()

    def _open(self) -> None:
        name, _ = QFileDialog.getOpenFileName(self, "Open a model", "", f"Models (*{SUFFIX})")
        if name:
            try:
                self.open_file(Path(name))
            except CareError as error:
                show_error(str(error))


def _verdict(match: Match) -> str:
    if match.reasons:
        return match.reasons[0]
    return (
        "Trained on images like this one." if math.isfinite(match.distance) else "Does not say what it was trained on."
    )


def label(entry: LibraryEntry) -> str:
    """Return what the combo box shows for a model."""
    return f"{kind_of(entry)} — bundled" if entry.bundled else f"{entry.name} — {kind_of(entry)}"


def kind_of(entry: LibraryEntry) -> str:
    """Return structure, loss and size of a model as shown to the user."""
    return f"{entry.card.structure} · {loss_title(entry.card.loss)} · {entry.card.preset}"


def loss_title(name: str) -> str:
    """Return the name of a loss as shown to the user."""
    return LOSSES[name].title if name in LOSSES else name


def describe(card: ModelCard) -> str:
    """Return a sentence or two on what a model was trained on."""
    training = card.training
    if isinstance(card.architecture, Program):
        authors = training.get("authors")
        by = f", by {', '.join(map(str, authors))}" if isinstance(authors, list) and authors else ""
        shows = "" if card.structure == "other" else f" for {card.structure} images"
        return f"A network of another tool{shows}, imported from {training.get('imported_from', 'a package')}{by}."
    pairs, steps, seconds = (training.get(key) for key in ("pairs", "steps", "seconds"))
    text = "Trained on "
    text += f"{pairs} pair{'s' if pairs != 1 else ''} of " if isinstance(pairs, int) else ""
    text += "images of an unnamed structure" if card.structure == "other" else f"{card.structure} images"
    source = _sources(training.get("names"))
    text += f" ({source})" if source else ""
    text += f", {loss_title(card.loss)} loss, {card.preset} network"
    text += f", {steps:,} steps" if isinstance(steps, int) else ""
    text += f" in {seconds / 60:.0f} min" if isinstance(seconds, int | float) and seconds >= 60 else ""
    text += f", {_day(training.get('date'))}." if training.get("date") else "."
    origin = training.get("imported_from")
    text += f" Imported from {origin}." if isinstance(origin, str) else ""
    noise = noise_seen(card.statistics)
    return text + (f" Noise of its images: {noise} of their range." if noise else " It does not store their noise.")


def _sources(names: object) -> str:
    """Return the stacks that pairs came from, without the numbers of their frames."""
    stacks = sorted({str(name).partition("[")[0] for name in names}) if isinstance(names, list) else []
    return ", ".join(stacks[:2]) + (", ..." if len(stacks) > 2 else "")


def _day(text: object) -> str:
    try:
        return f"{date.fromisoformat(str(text)):%d %b %Y}".lstrip("0")
    except ValueError:
        return str(text)
