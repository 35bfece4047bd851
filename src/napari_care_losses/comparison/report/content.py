"""What a comparison's report shows."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from napari_care_losses.evaluation.statistics import Row


@dataclass(frozen=True, eq=False)
class ReportImage:
    """One image of the frame that a report shows.

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


@dataclass(frozen=True, eq=False, kw_only=True)
class ReportOptions:
    """What a report is of, and how its scores were taken.

    Attributes
    ----------
    title : str
        Of the page.
    settings : mapping of str to str
        Whatever is needed to repeat the comparison, by title.
    frame_index : int
        The frame whose images are shown.
    reference : str, or None
        The method that the others are compared with.
    independent : bool
        Whether the frames are independent fields of view, not those of one movie: only then are methods tested.
    aligned : bool
        Whether each frame was aligned to the truth before PSNR and SSIM.
    """

    title: str = "Restorations compared"
    settings: Mapping[str, str] = field(default_factory=dict)
    frame_index: int = 0
    reference: str | None = None
    independent: bool = False
    aligned: bool = True


@dataclass(frozen=True, eq=False, kw_only=True)
class ComparisonReport(ReportOptions):
    """What a report shows.

    Attributes
    ----------
    images : sequence of ReportImage
        Input, methods and, if there is one, the truth: one frame, all of one shape. The input is called
        `napari_care_losses.comparison.compare.INPUT`. The truth's image is the one without scores that equals `truth`;
        it may be left out, for the truth is shown in any case.
    truth : (Y, X) array, or None
        The ground truth of that frame.
    rows : sequence of Row
        What `napari_care_losses.evaluation.statistics.summarize` returns.
    scores : mapping
        ``scores[method][frame][metric]``.
    notes : sequence of str
        What else the reader should know.
    pixel_size : float, or None
        Width of a pixel in micrometres.
    profile_line : pair of (y, x), or None
        Ends of the line whose profile is shown, in pixels.
    """

    images: Sequence[ReportImage]
    truth: NDArray[np.float32] | None = None
    rows: Sequence[Row] = ()
    scores: Mapping[str, Mapping[int, Mapping[str, float]]] = field(default_factory=dict)
    notes: Sequence[str] = ()
    pixel_size: float | None = None
    profile_line: tuple[tuple[float, float], tuple[float, float]] | None = None
