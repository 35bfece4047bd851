"""The table of training pairs, with buttons to add and remove them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QSignalBlocker, Signal
from qtpy.QtWidgets import QGridLayout, QVBoxLayout, QWidget

from napari_care_losses.errors import InputError
from napari_care_losses.training.pair_sources import first_listing
from napari_care_losses.training.pairs import size_problem
from napari_care_losses.training.targets.registry import TARGETS
from napari_care_losses.widgets.background.worker import LatestJob
from napari_care_losses.widgets.shared.events import Links, SingleShot
from napari_care_losses.widgets.shared.form import Rows, tooltip
from napari_care_losses.widgets.shared.layer_chooser import LayerChooser
from napari_care_losses.widgets.shared.layout import arrange, push_button
from napari_care_losses.widgets.shared.run_bar import show_text, text_line
from napari_care_losses.widgets.train.pairs.folder_dialog import FoldersDialog
from napari_care_losses.widgets.train.pairs.grid import PairGrid
from napari_care_losses.widgets.train.pairs.row import (
    LayerMatches,
    PairCheck,
    PairRow,
    check_pairs,
    is_original,
    match_layers,
    new_matches,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari.components import ViewerModel
    from napari.layers import Image

    from napari_care_losses.training.pair_sources import PairSource


class PairTable(QWidget):
    """Pairs of the viewer's layers, chosen by hand or matched by name, and of files from two folders."""

    changed = Signal()
    """A row was added, removed, changed or checked."""

    def __init__(self, viewer: ViewerModel, *, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._viewer = viewer
        self.rows: list[PairRow] = []
        self._target = "clean"
        self._around: tuple[int, str] = (0, "auto")
        self._is_closed = False
        self.folders: FoldersDialog | None = None
        self._checks = LatestJob(parent=self)
        self._checks.reported.connect(self._on_check)
        self._checks.failed.connect(self._on_check_failed)
        self._being_checked: list[PairRow] = []
        self._suggested: PairRow | None = None
        self._is_settling = self._is_interrupted = False
        self._found: tuple[list[tuple[Image, Image]], str] | None = None
        self._build()
        # many layers may come or go at once
        self._following = SingleShot(self, 0, self._follow)
        self._links = Links()
        for name in ("inserted", "removed", "renamed"):
            self._links.add(getattr(viewer.layers.events, name), self._on_layers)
        self.add_row()

    def add_row(self) -> PairRow:
        """Add a row without layers and return it."""
        row = PairRow(self._on_row_changed, target=self._target)
        self._append([row])
        self.table.setCurrentCell(len(self.rows) - 1, 1)
        return row

    def add_files(self, pairs: Sequence[PairSource]) -> None:
        """Add pairs of files; they are checked in the background."""
        self._drop([row for row in self.rows if row.is_empty or row is self._suggested])
        self._append([PairRow(self._on_row_changed, pair) for pair in pairs])

    def set_target(self, target: str) -> None:
        """Learn from this: images of another kind are dropped, those that stay are checked anew."""
        is_alone, was_alone = (not TARGETS[name].takes_high for name in (target, self._target))
        self._target = target
        # the files of a pair are no noisy images alone, and the reverse
        self._drop(
            [
                row
                for row in self.rows
                if (row.has_files and is_alone != was_alone) or (row is self._suggested and not is_alone)
            ]
        )
        for row in self.rows:
            row.set_target(target)
        self.high.visible = not is_alone
        self.low.label = "Image" if is_alone else "Low"
        self.table.set_alone(is_alone)
        self.match_button.setVisible(not is_alone)
        self.add_button.setText("Add image" if is_alone else "Add pair")
        self.folders_button.setText("From folder…" if is_alone else "From folders…")
        if not self.rows:
            self.add_row()
        self._refresh()
        self._check_rows()
        self._suggest()

    def set_neighbours(self, number: int, along: str) -> None:
        """Learn from so many frames around each frame too, as in `PairSource`: all images are checked anew."""
        if (number, along) == self._around:
            return
        self._around = (number, along)
        for row in self.rows:
            row.set_neighbours(number, along)
        self._refresh()
        self._check_rows()

    def match_by_name(self) -> None:
        """Add the pairs that the viewer's layers form by their names."""
        self._found = None
        matches = self._matches()
        self._drop([row for row in self.rows if row.is_empty])
        rows = [PairRow(self._on_row_changed, target=self._target) for _ in matches.new]
        for row, layers in zip(rows, matches.new, strict=True):
            row.choose(*layers)
        self._append(rows)
        show_text(self.note, matches.result)

    def remove_selected(self) -> None:
        """Remove the selected rows."""
        self._drop([self.rows[number] for number in self.table.selected_numbers()])
        if not self.rows:
            self.add_row()

    def remove_all(self) -> None:
        """Remove every row; one empty row stays."""
        self._drop(list(self.rows))
        self.add_row()

    def open_folders(self) -> None:
        """Ask for two folders of files."""
        self.folders = FoldersDialog(self._target, parent=self)
        self.folders.chosen.connect(self.add_files)
        self.folders.open()

    def pairs(self, *, any_size: bool = False) -> list[PairSource]:
        """Return the pairs of all rows; with `any_size` also those smaller than a patch of the chosen size.

        Raises
        ------
        InputError
            If there is no row, or one cannot be used.
        """
        is_alone = not TARGETS[self._target].takes_high
        if self.is_empty:
            if is_alone:
                raise InputError("Choose a noisy image to train on.")
            raise InputError(
                "Choose a low and a high exposure to train on. If there are no clean images, choose another way to "
                "learn under Learn from."
            )
        for number, row in enumerate(self.rows, 1):
            if row.is_empty:
                what = "image" if is_alone else "low and its high exposure"
                raise InputError(f"Row {number} is empty: choose its {what}, or remove it.")
            if row.is_checked and not row.is_usable and not row.exclusion and not (any_size and row.refusal):
                which = f"row {number}, " if len(self.rows) > 1 else ""
                raise InputError(f"Replace or remove {which}the pair marked {row.verdict}")
        unchecked = sum(not row.is_checked for row in self.rows)
        if unchecked:
            raise InputError(f"{unchecked} of {len(self.rows)} pairs are still being checked.")
        return [row.source for row in self.rows if row.source is not None and not row.problem]

    @property
    def is_empty(self) -> bool:
        """Whether nothing has been chosen yet."""
        return all(row.is_empty for row in self.rows)

    @property
    def is_untouched(self) -> bool:
        """Whether the user has chosen nothing yet."""
        return self.is_empty or self.rows == [self._suggested]

    @property
    def has_no_pair(self) -> bool:
        """Whether there are images in the viewer, but no two of one height and width."""
        sizes = [tuple(layer.data.shape[-2:]) for layer in self._viewer.layers if is_original(layer)]
        return bool(sizes) and len(set(sizes)) == len(sizes)

    @property
    def is_checking(self) -> bool:
        """Whether pairs are being checked in the background."""
        return self._checks.is_running

    def mark_left_out(self, patch_size: int) -> None:
        """Mark the pairs that a training leaves out, blank or smaller than a patch; refuse those too small for one."""
        shapes = [shape for row in self.rows for shape in row.image_shapes]
        some_fit = any(min(shape) >= patch_size for shape in shapes)
        is_refused = bool(shapes and size_problem(shapes, patch_size))
        for number, row in enumerate(self.rows):
            own, exclusion, refusal = row.image_shapes, "", ""
            if some_fit and row.is_blank:
                exclusion = f"Left out: {row.problem}"
            elif some_fit and own and min(own[0]) < patch_size:
                exclusion = f"Left out: smaller than a patch of {patch_size} px."
            elif is_refused and own:
                refusal = size_problem(own, patch_size)
            if (exclusion, refusal) != (row.exclusion, row.refusal):
                row.exclusion, row.refusal = exclusion, refusal
                self.table.show_row(number, row)
                if row is self._current():
                    self._show_details()

    def stop(self) -> None:
        """Stop the work in the background and disconnect from the layers, when the dock is closed."""
        if self._is_closed:
            return
        self._is_closed = True
        self._checks.cancel()
        self._following.stop()
        for chooser in (self.low, self.high):
            chooser.changed.disconnect(self._on_chosen)
        self._links.cut()
        for row in self.rows:
            row.release()

    def _build(self) -> None:
        self.table = PairGrid()
        self.table.setToolTip(
            tooltip("✓ usable, ⚠ usable with a warning, ✗ not usable. Choose the layers of the selected row below.")
        )
        self.table.currentCellChanged.connect(lambda *_: self._show_details())
        self.table.itemSelectionChanged.connect(self._update_buttons)
        self.table.delete_pressed.connect(self.remove_selected)
        self.low, self.high = (
            LayerChooser(self._viewer, label, help, none="choose…")
            for label, help in (
                ("Low", "The noisy image: short exposure or little light."),
                (
                    "High",
                    "The same field of view at a long exposure, or another noisy shot: what the model learns from.",
                ),
            )
        )
        self.low.changed.connect(self._on_chosen)
        self.high.changed.connect(self._on_chosen)
        self.verdict, self.note = text_line(), text_line()
        self.choosers = Rows(self.low, self.high)
        grid = QGridLayout(spacing=4)
        for place, button in enumerate(self._buttons()):
            grid.addWidget(button, *divmod(place, 3))
        arrange(QVBoxLayout(self), self.table, self.choosers.native, self.verdict, grid, self.note)

    def _buttons(self) -> list[QWidget]:
        self.add_button = push_button(
            "Add pair", "Add a pair of layers. Each frame of a stack is one pair.", self.add_row
        )
        self.match_button = push_button("Match by name", "", self.match_by_name)
        self.folders_button = push_button(
            "From folders…",
            "Add the image files of two folders, one of low and one of high exposures. They are read when the training "
            "starts, and need not be open in the viewer.",
            self.open_folders,
        )
        self.remove_button = push_button(
            "Remove", "Remove the selected pairs from the table (Del).", self.remove_selected
        )
        self.clear_button = push_button("Remove all", "Empty the table.", self.remove_all)
        return [self.add_button, self.match_button, self.folders_button, self.remove_button, self.clear_button]

    def _append(self, rows: Sequence[PairRow]) -> None:
        start = len(self.rows)
        self.rows += rows
        for row in rows if self._around[0] else ():
            row.set_neighbours(*self._around)
        self._refresh()
        if rows:
            self.table.setCurrentCell(start, 1)
        self._check_rows()

    def _drop(self, rows: Sequence[PairRow]) -> None:
        # what is shown of the current row would change with each
        with QSignalBlocker(self.table):
            for row in rows:
                row.release()
                number = self.rows.index(row)
                del self.rows[number]
                self.table.removeRow(number)
        self._refresh()

    def _refresh(self) -> None:
        """Update every row."""
        twins = first_listing([row.source for row in self.rows])
        for row, twin in zip(self.rows, twins, strict=True):
            row.twin = None if twin is None else twin + 1
        self.table.show_rows(self.rows)
        self._show_details()
        self._update_buttons()
        self.changed.emit()

    def _show_details(self) -> None:
        """Show the layers and the verdict of the current row."""
        row = self._current()
        self.choosers.visible = row is not None and not row.has_files
        if row is not None and not row.has_files:
            for chooser, layer in zip((self.low, self.high), row.layers, strict=True):
                with chooser.changed.blocked():
                    chooser.value = layer if layer in chooser.choices else None
        show_text(self.verdict, "" if row is None else row.verdict)

    def _update_buttons(self) -> None:
        is_fresh = len(self.rows) == 1 and self.rows[0].is_empty
        self.add_button.setEnabled(not any(row.is_empty for row in self.rows))
        self.remove_button.setEnabled(bool(self.table.selected_numbers()) and not is_fresh)
        self.clear_button.setEnabled(not is_fresh)
        matches = self._matches()
        self.match_button.setEnabled(bool(matches.new))
        self.match_button.setToolTip(tooltip(matches.about))

    def _current(self) -> PairRow | None:
        number = self.table.currentRow()
        return self.rows[number] if 0 <= number < len(self.rows) else None

    def _matches(self) -> LayerMatches:
        # matching names takes long: once for many changes of the rows
        if self._found is None:
            self._found = match_layers(self._viewer.layers)
        return new_matches(*self._found, (row.layers for row in self.rows))

    def _check_rows(self) -> None:
        self._is_interrupted = False
        self._being_checked = [row for row in self.rows if not (row.is_examined or row.problem)]
        numbered = [(number, row.source) for number, row in enumerate(self._being_checked) if row.source is not None]
        if numbered:
            self._checks.request(lambda: check_pairs(numbered))
        else:
            self._checks.cancel()

    def _on_check(self, check: PairCheck | None) -> None:
        if check is not None:
            self._settle(self._being_checked[check.number], check)

    def _on_check_failed(self, error: Exception) -> None:
        for number, row in enumerate(self._being_checked):
            if not row.is_checked:
                self._settle(row, PairCheck(number, problem=f"Cannot be checked: {error}"))

    def _settle(self, row: PairRow, check: PairCheck) -> None:
        self._is_settling = True
        row.settle(check)
        self._is_settling = False

    def _on_row_changed(self, row: PairRow) -> None:
        if row not in self.rows:
            return
        if row is self._suggested and not self._is_settling:
            self._suggested = None
        if self._is_settling:
            # Only this row has changed: with many pairs, updating all of them each time would be slow.
            self.table.show_row(self.rows.index(row), row)
            if row is self._current():
                self._show_details()
            self.changed.emit()
            return
        self._refresh()
        self._check_rows()

    def _on_chosen(self) -> None:
        row, chosen = self._current(), (self.low.value, self.high.value)
        if row is not None and not row.has_files and chosen != row.layers:
            row.choose(*chosen)

    def _on_layers(self, event: Any) -> None:
        self._found = None
        if event.type == "removed" and [row for row in self.rows if row.let_go(event.value)]:
            # what is still reported would be of the pairs as they were
            self._checks.cancel()
            self._is_interrupted = True
        self._following.start()

    def _follow(self) -> None:
        self._refresh()
        if self._is_interrupted:
            self._check_rows()
        self._suggest()

    def _suggest(self) -> None:
        """Choose the viewer's only image, where one is needed and nothing is chosen yet."""
        images = [layer for layer in self._viewer.layers if is_original(layer)]
        if len(images) == 1 and self.is_empty and not TARGETS[self._target].takes_high:
            row = self.rows[0]
            row.choose(images[0], None)
            self._suggested = row
