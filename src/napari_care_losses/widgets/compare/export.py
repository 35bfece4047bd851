"""The summary and the report of a comparison."""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari_care_losses.evaluation.statistics import summarize
from napari_care_losses.widgets.compare.results import TITLES, TRUTH
from napari_care_losses.widgets.compare.window.curves import from_centres
from napari_care_losses.widgets.compare.window.drawing import as_float

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from napari_care_losses.evaluation.statistics import Row
    from napari_care_losses.widgets.compare.results import ComparisonPlan, ComparisonResults, Scores
    from napari_care_losses.widgets.compare.window.image_panel import Line


def summary_of(scores: Scores, plan: ComparisonPlan) -> list[Row]:
    """Return the summary of scores; tests and intervals take time."""
    reference = plan.reference if plan.reference in scores else None
    return summarize(scores, reference=reference, independent=plan.independent)


def export(results: ComparisonResults, path: Path, index: int, line: Line) -> Iterator[Path]:
    """Write the report of a comparison with frame `index` as example; yields the path of the page.

    Raises
    ------
    InputError
        If the folder does not exist, or input or truth cannot be read.
    ModelFileError
        If a model cannot be read any more.
    OutputError
        If a file cannot be written.
    """
    # imported here: the pictures need libraries that take long to load
    from napari_care_losses.comparison.report.content import ComparisonReport, ReportImage
    from napari_care_losses.comparison.report.write import write_report
    from napari_care_losses.comparison.to_file import notes_of

    plan, scores = results.plan, results.copied_scores()
    names = [name for name in plan.names if results.is_done(name, index)]
    images = {name: as_float(results.image(name, index)) for name in names}
    of_frame = results.frame_scores(index)
    report = ComparisonReport(
        title=f"Restorations of {plan.source.name} compared",
        images=[
            ReportImage(TITLES[TRUTH] if name == TRUTH else name, images[name], of_frame.get(name, {}))
            for name in names
        ],
        truth=images.get(TRUTH),
        rows=summary_of(scores, plan),
        scores=scores,
        settings=settings(plan),
        notes=notes_of(plan.methods, results.notes),
        frame_index=index,
        pixel_size=plan.frames.calibration.square_pixel,
        profile_line=from_centres(line),
        reference=plan.reference if plan.reference in scores else None,
        independent=plan.independent,
        aligned=plan.aligned,
    )
    write_report(path, report)
    yield path


def settings(plan: ComparisonPlan) -> dict[str, str]:
    """Return the settings needed to repeat a comparison, by title; raises a `ModelFileError` as `export`."""
    from napari_care_losses.comparison.to_file import settings_of

    kind = "independent fields of view" if plan.independent else "one movie or z-stack"
    compared, count = len(plan.indices), len(plan.frames)
    known = {
        "Image": f"{plan.source.name}, {' x '.join(map(str, plan.frames.shape))}, {plan.frames.dtype}",
        TITLES[TRUTH]: "none" if plan.truth_layer is None else plan.truth_layer.name,
    }
    known |= settings_of(plan.frames, plan.methods, plan.parameters)
    known["Frames"] = f"{compared} of {count} ({kind})" if count > 1 else "1"
    return known
