"""A comparison as one HTML page that needs nothing else, and its scores as CSV beside it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari_care_losses.comparison.report.page import page
from napari_care_losses.comparison.report.tables import scores_csv, summary_csv
from napari_care_losses.io.whole_files import replacing

if TYPE_CHECKING:
    from pathlib import Path

    from napari_care_losses.comparison.report.content import ComparisonReport


def write_report(path: Path, report: ComparisonReport) -> Path:
    """Write a comparison as one HTML page, with two CSV files beside it.

    ``name.html`` needs no other file. ``name.csv``, whose path is returned, holds the scores of every image,
    ``name_summary.csv`` the table. Existing files are replaced once the new ones are whole.

    Raises
    ------
    InputError
        If the folder does not exist, or the images cannot be shown together.
    OutputError
        If a file cannot be written.
    """
    text = page(report)
    scores_path = path.with_suffix(".csv")
    for target, content in (
        (scores_path, scores_csv(report.scores)),
        (path.with_name(f"{path.stem}_summary.csv"), summary_csv(report.rows)),
        (path, text),
    ):
        with replacing(target) as temporary:
            temporary.write_text(content, encoding="utf-8")
    return scores_path
