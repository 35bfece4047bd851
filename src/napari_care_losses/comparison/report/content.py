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
    """One image (Y, X) of the frame that a report shows, in grey levels of the input."""

    name: str
    image: NDArray[np.float32]
    scores: Mapping[str, float] = field(default_factory=dict)
    """Its metrics; empty without a truth."""


@dataclass(frozen=True, eq=False, kw_only=True)
class ReportOptions:
    """What a report is of, and how its scores were taken."""

    title: str = "Restorations compared"
    settings: Mapping[str, str] = field(default_factory=dict)
    """Whatever is needed to repeat the comparison, by title."""
    frame_index: int = 0
    """The frame whose images are shown."""
    reference: str | None = None
    """The method that the others are compared with."""
    independent: bool = False
    """Whether the frames are independent fields of view, not those of one movie: only then are methods tested."""
    aligned: bool = True
    """Whether each frame was aligned to the truth before PSNR and SSIM."""
    provenance: Mapping[str, str] = field(default_factory=dict)
    """How to compare again, as `napari_care_losses.provenance.Record.texts` gives it."""


@dataclass(frozen=True, eq=False, kw_only=True)
class ComparisonReport(ReportOptions):
    """What a report shows.

    The `images` are input, methods and, if there is one, the truth: one frame, all of one shape. The input is called
    `napari_care_losses.comparison.compare.INPUT`. The truth's image is the one without scores that equals `truth`; it
    may be left out, for the truth is shown in any case.
    """

    images: Sequence[ReportImage]
    truth: NDArray[np.float32] | None = None
    rows: Sequence[Row] = ()
    """What `napari_care_losses.evaluation.statistics.summarize` returns."""
    scores: Mapping[str, Mapping[int, Mapping[str, float]]] = field(default_factory=dict)
    """``scores[method][frame][metric]``."""
    notes: Sequence[str] = ()
    pixel_size: float | None = None
    """Width of a pixel in micrometres."""
    profile_line: tuple[tuple[float, float], tuple[float, float]] | None = None
    """Ends (y, x) of the line whose profile is shown, in pixels."""
