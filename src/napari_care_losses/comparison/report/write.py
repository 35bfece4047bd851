"""A comparison as one HTML page that needs nothing else, and its scores as CSV beside it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari_care_losses.comparison.report.page import page
from napari_care_losses.comparison.report.tables import scores_csv, summary_csv
from napari_care_losses.errors import OutputError
from napari_care_losses.io.whole_files import check_replaceable, replacing

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
        If a file cannot be written; the others are.
    """
    page_path, scores_path, summary_path = report_files(path)
    problems = []
    for target, content in (
        (scores_path, scores_csv(report.scores)),
        (summary_path, summary_csv(report.rows)),
        (page_path, page(report)),
    ):
        # one that another program has open keeps the others from nothing
        try:
            with replacing(target) as temporary:
                temporary.write_text(content, encoding="utf-8")
        except OutputError as error:
            problems.append(error)
    if problems:
        raise problems[0]
    return scores_path


def report_files(path: Path) -> tuple[Path, Path, Path]:
    """Return the files of a report: its page, the scores of every image, the table.

    Examples
    --------
    >>> from pathlib import Path
    >>> [file.name for file in report_files(Path("actin.html"))]
    ['actin.html', 'actin.csv', 'actin_summary.csv']
    """
    return path, path.with_suffix(".csv"), path.with_name(f"{path.stem}_summary.csv")


def check_report(path: Path) -> None:
    """Check that a report can be written, as `napari_care_losses.io.whole_files.check_replaceable` does.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     check_report(Path(folder) / "actin.html")
    """
    for file in report_files(path):
        check_replaceable(file)
