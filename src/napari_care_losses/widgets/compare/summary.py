"""The result of a comparison in the dock: a table, its explanation, and buttons to use it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from magicgui.widgets import CheckBox
from qtpy.QtCore import Signal
from qtpy.QtWidgets import QGridLayout, QGroupBox, QLabel, QVBoxLayout, QWidget

from napari_care_losses.comparison.compare import INPUT
from napari_care_losses.evaluation.bootstrap import FEWEST_FRAMES
from napari_care_losses.widgets.compare.results import TITLES
from napari_care_losses.widgets.compare.tables import SummaryTable
from napari_care_losses.widgets.shared.copy_button import CopyButton
from napari_care_losses.widgets.shared.form import tooltip
from napari_care_losses.widgets.shared.layout import arrange, push_button
from napari_care_losses.widgets.shared.run_bar import show_text

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from napari_care_losses.evaluation.statistics import Row
    from napari_care_losses.widgets.compare.results import ComparisonResults


WITHOUT_TRUTH = (
    "Without a ground truth: the PSNR that is estimated, and the resolution of each image alone, true or not. In the "
    "panels, look at the residuals (structure in them is lost signal), the spectrum and a profile."
)
"""What the table is of then, and what to look at besides."""


DISAGREEMENT_HELP = (
    "Add a layer with the standard deviation of the models' restorations in every pixel, each first brought to the "
    "input's brightness. Of a single model, that of four restorations: of the frame as it is, and flipped along Y, X "
    "and both. Where it is large, do not trust details; where it is small, all may still be wrong alike."
)


class ComparisonSummary(QGroupBox):
    """The result box; hidden until there is a comparison."""

    panels_asked = Signal()
    copy_asked = Signal()
    layers_asked = Signal()
    export_asked = Signal()
    disagreement_asked = Signal()

    def __init__(self, *, parent: QWidget | None = None) -> None:
        super().__init__("Result", parent)
        self.table = SummaryTable()
        self.more = CheckBox(text="More metrics", tooltip=tooltip("Show all metrics. The report has them in any case."))
        self.more.changed.connect(self.table.show_all)
        self.about, self.reason = QLabel(wordWrap=True), QLabel(wordWrap=True)
        all_images, table = "The window with all images side by side.", "Means, spreads, differences and tests"
        report = "One HTML page with pictures, table and settings, and the scores of every frame as CSV beside it."
        self.panels = push_button("Open panels", all_images, self.panels_asked.emit)
        self.export = push_button("Export report…", report, self.export_asked.emit)
        self.copy = push_button("Copy table", f"{table}, for a spreadsheet.", self.copy_asked.emit)
        self.layers = push_button("Add as layers", "Put every restored stack into the viewer.", self.layers_asked.emit)
        self.again = CopyButton("Copy what makes this comparison again, as a command or as Python.")
        self.again.setText("Copy settings")
        self.disagreement = push_button("Add disagreement", DISAGREEMENT_HELP, self.disagreement_asked.emit)
        buttons = QGridLayout()
        for place, button in enumerate((self.panels, self.export, self.copy, self.layers)):
            buttons.addWidget(button, *divmod(place, 2))
        buttons.addWidget(self.again, 2, 0)
        buttons.addWidget(self.disagreement, 2, 1)
        parts = self.table, self.more.native, self.about, buttons, self.reason
        arrange(QVBoxLayout(self), *parts, spacing=6, margins=(2, 4, 2, 4))
        self.clear()

    def clear(self) -> None:
        """Remove the table."""
        self.table.setRowCount(0)
        self.table.hide()
        self.more.native.hide()
        show_text(self.about, "")

    def show_rows(self, rows: Sequence[Row], results: ComparisonResults, *, colours: Mapping[str, str]) -> None:
        """Show the table."""
        plan = results.plan
        self.table.show_rows(rows, reference=plan.reference, colours=colours)
        self.table.setVisible(bool(rows))
        self.more.native.setVisible(bool(rows))
        reference = TITLES.get(plan.reference, plan.reference)
        count = max((row.count for row in rows), default=0)
        about = [results.notes[INPUT]] if INPUT in results.notes else []
        about += [] if plan.truth is not None else [WITHOUT_TRUTH]
        about += [about_table(count, reference=reference, independent=plan.independent)] if count else []
        show_text(self.about, " ".join(about))

    def set_state(
        self, results: ComparisonResults | None, *, is_running: bool, is_exporting: bool, has_layer: bool
    ) -> None:
        """Enable the buttons that can do something, and say why the others cannot."""
        self.setVisible(results is not None)
        is_there = results is not None and bool(results.frames_done())
        has_scores = self.table.rowCount() > 0
        self.panels.setEnabled(results is not None)
        self.copy.setEnabled(has_scores)
        self.layers.setEnabled(is_there and not is_running and has_layer)
        self.export.setEnabled(is_there and not is_exporting)
        has_model = results is not None and any(method.model is not None for method in results.plan.methods)
        self.disagreement.setEnabled(self.layers.isEnabled() and has_model and not is_exporting)
        reasons = []
        if not is_there:
            reasons = ["No frame has been restored by every method yet."] if is_running else ["Nothing was restored."]
        elif is_running:
            reasons = ["Layers can be added when the comparison has ended."]
        elif not has_layer:
            reasons = ["The layer of the image was removed: restored layers cannot be placed."]
        show_text(self.reason, " ".join(reasons))


def about_table(count: int, *, reference: str, independent: bool) -> str:
    """Return an explanation of the numbers of the table, and of what can be concluded from them."""
    if count == 1:
        return "One frame: no spread and no test. Compare several fields of view before you choose a method."
    if independent:
        return (
            f"Mean ± standard deviation over {count} fields of view; p: paired, two-sided t-test against {reference}."
        )
    text = f"Mean ± standard deviation over {count} frames. Frames of one movie are not independent: no p-value"
    if count < FEWEST_FRAMES:
        return f"{text}, and fewer than {FEWEST_FRAMES} frames give no interval."
    return f"{text}; in brackets the 95 % interval of the difference to {reference} (block bootstrap over time)."
