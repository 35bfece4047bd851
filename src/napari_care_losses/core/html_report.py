"""A comparison as one HTML page that needs nothing else, and its scores as CSV beside it."""

from __future__ import annotations

from base64 import b64encode
from dataclasses import dataclass, field
from html import escape
from io import BytesIO
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from napari_care_losses.core.atomic import replacing
from napari_care_losses.core.statistics import table_text

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from napari_care_losses.core.statistics import Row


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
        Input, methods and, last, the truth if there is one: one frame, all of one shape. The input is called
        `napari_care_losses.core.comparison.INPUT`; the truth's panel is told by its image being `truth`, and may be
        left out.
    truth : (Y, X) array, or None
        The ground truth of that frame.
    rows : sequence of Row
        What `napari_care_losses.core.statistics.summarize` returns.
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
    scores_path = path.with_suffix(".csv")
    for target, content in (
        (scores_path, _scores_csv(report)),
        (path.with_name(f"{path.stem}_summary.csv"), table_text(report.rows, separator=",")),
        (path, _page(report)),
    ):
        with replacing(target) as temporary:
            temporary.write_text(content, encoding="utf-8")
    return scores_path


def _scores_csv(report: ComparisonReport) -> str:
    metrics = list(dict.fromkeys(name for rows in report.scores.values() for row in rows.values() for name in row))
    lines = [",".join(["frame", "method", *metrics])]
    for method, rows in report.scores.items():
        for frame, row in rows.items():
            lines.append(
                ",".join([str(frame), method, *(f"{row[name]:.6g}" if name in row else "" for name in metrics)])
            )
    return "\n".join(lines) + "\n"


def _page(report: ComparisonReport) -> str:
    low, high = np.percentile(report.panels[-1].image, (0.1, 99.9))
    figures = "".join(
        f'<figure><img src="{_png(panel.image, low, high)}" alt><figcaption>{escape(panel.name)}</figcaption></figure>'
        for panel in report.panels
    )
    table = escape(table_text(report.rows))
    title = escape(report.title)
    return (
        f'<!DOCTYPE html><html lang="en"><head><meta charset="utf-8"><title>{title}</title></head>'
        f"<body><h1>{title}</h1>{figures}<pre>{table}</pre></body></html>"
    )


def _png(image: NDArray[np.float32], low: float, high: float) -> str:
    grey = (255 * np.clip((image - low) / max(high - low, 1e-12), 0, 1)).astype(np.uint8)
    buffer = BytesIO()
    Image.fromarray(grey).save(buffer, format="PNG")
    return f"data:image/png;base64,{b64encode(buffer.getvalue()).decode()}"
