"""A combo box that follows the model library."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any

from magicgui.types import Separator
from napari.utils.notifications import show_error
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QFileDialog, QHBoxLayout, QToolButton, QWidget

from napari_care_losses.errors import CareError
from napari_care_losses.losses.registry import loss_title
from napari_care_losses.models.library import LibraryEntry, meant_name
from napari_care_losses.models.model import NOTE, SUFFIX, read_card
from napari_care_losses.models.program import Program
from napari_care_losses.widgets.shared.form import Choice, Rows, tooltip
from napari_care_losses.widgets.shared.library_watch import LibraryWatch
from napari_care_losses.widgets.shared.run_bar import show_text, text_line

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from napari_care_losses.models.model import ModelCard
    from napari_care_losses.restoration.rank_models import RankedModel


class ModelChooser(Choice):
    """Chooses a model of the library or a file, and says what it was trained on; follows what comes into the library.

    `value` is the `LibraryEntry`, or None.

    Parameters
    ----------
    label, help, none : str
        As in `Choice`.
    follows : callable, optional
        Whether a model that has just come into the library is chosen; never by default.

    Attributes
    ----------
    rows : Rows
        The chooser with a button that opens files, what the chosen model was trained on, and further buttons.
    """

    def __init__(
        self, label: str, help: str, *, none: str | None = None, follows: Callable[[], bool] | None = None
    ) -> None:
        self._help = help
        self._follows = follows or (lambda: False)
        self._opened: list[LibraryEntry] = []
        self._seen: set[Path] = set()
        self._ranked: dict[Path, RankedModel] = {}
        self._library = LibraryWatch()
        super().__init__(label, help, none=none, choices=lambda _: self._offered())
        # models have long names
        self.native.setMinimumWidth(0)
        self.native.setMinimumContentsLength(18)
        self.rows = Rows(self)
        self._library.setParent(self.rows.native)
        self._library.changed.connect(self.reload)
        # small, for the names of models are long
        opening = QToolButton()
        opening.setText("…")
        opening.setToolTip(tooltip("Use a model file (.safetensors) from another folder."))
        opening.setAccessibleName("Open a model file")
        opening.clicked.connect(self._open)
        self.native.parentWidget().layout().addWidget(opening)
        self.about = text_line()
        self._buttons = QHBoxLayout()
        self.rows.native.layout().addWidget(self.about)
        self.rows.native.layout().addLayout(self._buttons)
        self.changed.connect(self._show_about)
        self._show_about(self.value)

    @property
    def problem(self) -> str:
        """Why the library cannot be read; empty when it can."""
        return self._library.problem

    def add_button(self, button: QWidget) -> None:
        """Put a further button below."""
        self._buttons.addWidget(button, 1)

    def choose(self, name: str) -> None:
        """Choose a model by name, if it is there, as by hand; names are understood as by `find_model`."""
        self.was_chosen = True
        entries = self.entries
        meant = meant_name(name, [entry.name for entry in entries])
        found = next((entry for entry in entries if entry.name == meant), None)
        if found is not None:
            self.value = found

    @property
    def entries(self) -> list[LibraryEntry]:
        """The models offered."""
        return [entry for entry in self.choices if isinstance(entry, LibraryEntry)]

    def sort_by(self, ranked: Sequence[RankedModel], *, may_choose: bool = True) -> None:
        """Offer models in the order of `rank_models`; the best is chosen unless the user has chosen one."""
        self._ranked = {each.entry.path: each for each in ranked if each.estimate is not None}
        before = self.value
        with self.changed.blocked():
            self.reset_choices()
            if self._ranked and may_choose and not self.was_chosen:
                self.value = self.entries[0]
                self.was_chosen = False
        if self.value is not before:
            self.changed.emit(self.value)

    def open_file(self, path: Path) -> None:
        """Add a model file to the choice and choose it.

        Raises
        ------
        ModelFileError
            If it is no model file.
        """
        entry = LibraryEntry(path.name, path, False, read_card(path))
        # the texts of choices must differ, and with them the names
        self._opened = [entry, *(other for other in self._opened if other.name != entry.name)]
        self.reload()
        self.choose(path.name)

    def reload(self) -> None:
        """Read the library again."""
        with self.changed.blocked():
            seen = self._seen
            self.reset_choices()
            new = [entry for entry in self.entries if entry.path in self._seen - seen]
            if new and self._follows():
                self.choose(new[0].name)
        self.changed.emit(self.value)

    def reset_choices(self, *_: Any) -> None:
        """Offer the models that are there now."""
        super().reset_choices()
        for each in self._ranked.values():
            index = self.native.findText(label(each.entry))
            self.native.setItemData(index, tooltip(_verdict(each)), Qt.ItemDataRole.ToolTipRole)

    def _offered(self) -> list[tuple[str, Any]]:
        models = self._library.models()
        self._seen = {entry.path for entry in models}
        bundled = [entry for entry in models if entry.bundled]
        own = [entry for entry in models if not entry.bundled]
        everything, place = [*self._opened, *own, *bundled], list(self._ranked)
        best = sorted((entry for entry in everything if entry.path in place), key=lambda one: place.index(one.path))
        groups = ([entry for entry in group if entry.path not in place] for group in (self._opened, own, bundled))
        offered: list[tuple[str, Any]] = []
        for group in filter(None, (best, *groups)):
            if offered or self._nullable:
                offered.append(("", Separator))
            offered += [(label(entry), entry) for entry in group]
        return offered

    def _chosen_after(self, before: LibraryEntry | None) -> LibraryEntry | None:
        entries = self.entries
        first = None
        if not self._nullable:
            first = next((entry for entry in entries if entry.bundled), entries[0] if entries else None)
        return next((entry for entry in entries if before is not None and entry.path == before.path), first)

    def _show_about(self, entry: LibraryEntry | None) -> None:
        show_text(self.about, "" if entry is None else describe(entry.card))
        self.tooltip = tooltip(self._help if entry is None else f"{label(entry)}<br>{entry.path}")

    def _open(self) -> None:
        name, _ = QFileDialog.getOpenFileName(self.native, "Open a model", "", f"Models (*{SUFFIX})")
        if name:
            try:
                self.open_file(Path(name))
            except CareError as error:
                show_error(str(error))


def _verdict(ranked: RankedModel) -> str:
    found = ranked.estimate
    assert found is not None
    behind = f", {found.behind:.1f} dB behind the best" if found.behind else ", the best"
    return f"PSNR about {found.psnr:.1f} dB on this image (estimated){behind}"


def label(entry: LibraryEntry) -> str:
    """Return what the combo box shows for a model."""
    return f"{kind_of(entry)} — bundled" if entry.bundled else f"{entry.name} — {kind_of(entry)}"


def kind_of(entry: LibraryEntry) -> str:
    """Return loss and size of a model as shown to the user, its neighbouring frames and the structure it is for."""
    card = entry.card
    neighbours = card.architecture.neighbours
    more = [f"{neighbours} neighbours"] * bool(neighbours) + [card.structure] * (card.structure != "other")
    return " · ".join([loss_title(card.loss), card.preset, *more])


def _note(training: dict[str, Any]) -> str:
    note = training.get(NOTE)
    return f" {note}" if isinstance(note, str) else ""


def describe(card: ModelCard) -> str:
    """Return a sentence or two on what a model was trained on."""
    training = card.training
    if isinstance(card.architecture, Program):
        authors = training.get("authors")
        by = f", by {', '.join(map(str, authors))}" if isinstance(authors, list) and authors else ""
        shows = "" if card.structure == "other" else f" for {card.structure} images"
        origin = training.get("imported_from", "a package")
        return f"A network of another tool{shows}, imported from {origin}{by}.{_note(training)}"
    pairs, steps, seconds = (training.get(key) for key in ("pairs", "steps", "seconds"))
    text = "Trained on "
    # of images that are their own target, each is one
    unit = "" if card.target in {"self", "blind_spots", "neighbours"} else f"pair{'s' if pairs != 1 else ''} of "
    text += f"{pairs} {unit}" if isinstance(pairs, int) else ""
    text += "images" if card.structure == "other" else f"{card.structure} images"
    source = _sources(training.get("names"))
    text += f" ({source})" if source else ""
    text += f", {loss_title(card.loss)} loss, {card.preset} network"
    text += f", {steps:,} steps" if isinstance(steps, int) else ""
    text += f" in {seconds / 60:.0f} min" if isinstance(seconds, int | float) and seconds >= 60 else ""
    text += f", {_day(training.get('date'))}." if training.get("date") else "."
    origin = training.get("imported_from")
    text += f" Imported from {origin}." if isinstance(origin, str) else ""
    text += "".join(f" {sentence}" for sentence in (card.without_clean, card.around) if sentence)
    return text + _note(training)


def _sources(names: object) -> str:
    """Return the stacks that pairs came from, without the numbers of their frames."""
    stacks = sorted({str(name).partition("[")[0] for name in names}) if isinstance(names, list) else []
    return ", ".join(stacks[:2]) + (", ..." if len(stacks) > 2 else "")


def _day(text: object) -> str:
    try:
        return f"{date.fromisoformat(str(text)):%d %b %Y}".lstrip("0")
    except ValueError:
        return str(text)
