"""The summary and the report of a comparison."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from napari_care_losses.evaluation.statistics import summarize
from napari_care_losses.widgets.compare.results import TITLES, TRUTH
from napari_care_losses.widgets.compare.window.curves import from_centres
from napari_care_losses.widgets.compare.window.drawing import as_float
from napari_care_losses.widgets.layers.source_file import file_of, unsaved
from napari_care_losses.widgets.shared.copy_button import save_first

if TYPE_CHECKING:
    from collections.abc import Iterator

    from napari_care_losses.comparison.record import ComparisonRecord
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
        provenance=record_of(plan, path, index)[0].texts(),
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


def record_of(plan: ComparisonPlan, out: Path, shown: int) -> tuple[ComparisonRecord, str]:
    """Return what makes a comparison again, with frame `shown` as example, and what to do first."""
    from napari_care_losses.comparison.record import ComparisonRecord

    source = file_of(plan.source)
    truth = None if plan.truth_layer is None else file_of(plan.truth_layer)
    if truth is not None and truth.channel is not None and truth.channel != source.channel:
        # one option chooses the channel of both
        truth = unsaved(plan.truth_layer)
    files = {plan.source.name: source} | ({} if truth is None else {plan.truth_layer.name: truth})
    record = ComparisonRecord(
        source=source.path,
        methods=plan.methods,
        out=out.absolute() if out.parent != Path() else out,
        truth=None if truth is None else truth.path,
        parameters=plan.parameters,
        channel=source.channel,
        only=None if len(plan.indices) == len(plan.frames) else tuple(sorted(plan.indices)),
        shown=shown,
        reference=plan.reference,
        independent=plan.independent,
        aligned=plan.aligned,
    )
    return record, save_first({name: str(file.path) for name, file in files.items() if not file.is_saved})


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
