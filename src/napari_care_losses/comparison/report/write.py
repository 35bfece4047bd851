"""A comparison as one HTML page that needs nothing else, and its scores as CSV beside it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from napari_care_losses.comparison.report.page import page
from napari_care_losses.comparison.report.tables import scores_csv, summary_csv
from napari_care_losses.io.whole_files import replacing

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

    from napari_care_losses.evaluation.statistics import Row


@dataclass(frozen=True, eq=False)
class Panel:
    """One image of the frame shown.

    Attributes
    ----------
    name : str
        Its label.
    image : (Y, X) float32
        In grey levels of the input.
    scores : dict of str to float
        Its metrics; empty without a truth.
    """

    name: str
    image: NDArray[np.float32]
    scores: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class ComparisonReport:
    """What a report shows.

    Attributes
    ----------
    title : str
        Of the page.
    panels : sequence of Panel
        Input, methods and, if there is one, the truth: one frame, all of one shape. The input is called
        `napari_care_losses.comparison.compare.INPUT`. The truth's panel is the one without scores whose image equals
        `truth`; it may be left out, for the truth is shown in any case.
    truth : (Y, X) array, or None
        The ground truth of that frame.
    rows : sequence of Row
        What `napari_care_losses.evaluation.statistics.summarize` returns.
    scores : mapping
        ``scores[method][frame][metric]``.
    settings : mapping of str to str
        Whatever is needed to repeat the comparison, by title.
    notes : sequence of str
        What else the reader should know.
    frame_index : int
        The frame shown.
    pixel_size : float, or None
        Width of a pixel in micrometres.
    profile_line : pair of (y, x), or None
        Ends of the line whose profile is shown, in pixels.
    reference : str, or None
        The method that the rows compare with.
    independent : bool
        Whether the frames are independent (different fields of view), as `summarize` was told.
    aligned : bool
        Whether scores were taken after alignment.
    """

    title: str
    panels: Sequence[Panel]
    truth: NDArray[np.float32] | None = None
    rows: Sequence[Row] = ()
    scores: Mapping[str, Mapping[int, Mapping[str, float]]] = field(default_factory=dict)
    settings: Mapping[str, str] = field(default_factory=dict)
    notes: Sequence[str] = ()
    frame_index: int = 0
    pixel_size: float | None = None
    profile_line: tuple[tuple[float, float], tuple[float, float]] | None = None
    reference: str | None = None
    independent: bool = False
    aligned: bool = True


def write_report(path: Path, report: ComparisonReport) -> Path:
    """Write a comparison as one HTML page, with two CSV files beside it.

    ``name.html`` needs no other file. ``name.csv`` holds the scores of every image, ``name_summary.csv`` the table.

    Parameters
    ----------
    path : Path
        The page to make; existing files are replaced once the new ones are whole.
    report : ComparisonReport
        What to show.

    Returns
    -------
    Path
        The CSV file of every image's scores.

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
