"""A comparison of methods on a stack, from the input to the report."""

from __future__ import annotations

import hashlib
from contextlib import closing
from typing import TYPE_CHECKING, Any

from napari_care_losses.comparison.baselines import BASELINES, described_strength
from napari_care_losses.comparison.compare import INPUT, Compared, compare
from napari_care_losses.comparison.report.content import ComparisonReport, ReportImage, ReportOptions
from napari_care_losses.comparison.report.write import check_report, write_report
from napari_care_losses.errors import InputError
from napari_care_losses.evaluation.statistics import summarize
from napari_care_losses.images.axes import truth_of
from napari_care_losses.models.model import read_card
from napari_care_losses.restoration.parameters import RestorationParameters

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping, Sequence
    from pathlib import Path

    from napari_care_losses.comparison.compare import Method
    from napari_care_losses.images.frames import Frames


def compare_to_file(
    frames: Frames,
    methods: Sequence[Method],
    out: Path,
    *,
    truth: Frames | None = None,
    parameters: RestorationParameters | None = None,
    indices: Sequence[int] | None = None,
    options: ReportOptions | None = None,
) -> Generator[Compared, None, ComparisonReport]:
    """Compare methods on a stack, step by step as `compare`; write the report and return it.

    Only the images of one frame are kept in memory.

    Parameters
    ----------
    frames, methods, truth, parameters, indices
        As in `compare`.
    out : Path
        The page to make, ending in ``.html``; two CSV files are written beside it.
    options : ReportOptions, optional
        Title, settings to state besides those of the comparison, frame to show, and how to score and test. The default
        reference is the first model trained with the Laplace loss or, where there is none, the first method.

    Raises
    ------
    InputError
        If input, methods or paths cannot be used.
    ComputeError, OutputError
        If the device or the disk fails.
    """
    options = options or ReportOptions()
    shown, reference = options.frame_index, options.reference
    if out.suffix.lower() not in (".html", ".htm"):
        raise InputError(f"A report must end in .html, found {out}.")
    check_report(out)
    if not 0 <= shown < len(frames):
        raise InputError(f"Frame {shown} was to be shown, expected 0 to {len(frames) - 1}.")
    if indices is not None and shown not in indices:
        raise InputError(f"Frame {shown} was to be shown, but it is none of those that are compared.")
    if reference not in (None, INPUT, *(method.name for method in methods)):
        raise InputError(f"The reference {reference!r} is none of: {', '.join(method.name for method in methods)}.")
    truth = None if truth is None else truth_of(truth, frames)
    parameters = parameters or RestorationParameters()
    scores: dict[str, dict[int, dict[str, float]]] = {}
    images: list[ReportImage] = []
    notes: dict[str, str] = {}
    how: dict[str, Any] = {"parameters": parameters, "indices": indices, "aligned": options.aligned}
    with closing(compare(frames, methods, truth=truth, **how)) as steps:
        for step in steps:
            if step.image is not None and step.frame_index is not None:
                if step.scores:
                    scores.setdefault(step.method, {})[step.frame_index] = step.scores
                if step.note:
                    notes[step.method] = step.note
                if step.frame_index == shown:
                    images.append(ReportImage(step.method, step.image, step.scores))
            yield step
    reference = reference or default_reference(methods)
    scored = None if reference == INPUT and INPUT not in scores else reference
    known = vars(options) | {
        "reference": reference,
        "settings": {**options.settings, **settings_of(frames, methods, parameters)},
    }
    report = ComparisonReport(
        **known,
        images=images,
        truth=None if truth is None else truth[shown],
        rows=summarize(scores, reference=scored, independent=options.independent) if scores else [],
        scores=scores,
        notes=notes_of(methods, notes),
        pixel_size=frames.calibration.square_pixel,
    )
    write_report(out, report)
    return report


def default_reference(methods: Sequence[Method]) -> str:
    """Return the method that others are compared with: CARE's own loss, Laplace, or else the first one."""
    trained = (method for method in methods if method.model is not None and read_card(method.model).loss == "laplace")
    return next(trained, methods[0]).name


def settings_of(frames: Frames, methods: Sequence[Method], parameters: RestorationParameters) -> dict[str, str]:
    """Return what is needed to repeat a comparison, by title; raises `ModelFileError` if a model cannot be read."""
    height, width = frames.frame_shape
    settings = {"Frames": f"{len(frames)} of {height} \u00d7 {width} px, {frames.dtype}"}
    for method in methods:
        settings[f"Method {method.name}"] = _described(method)
    if any(method.model is not None for method in methods):
        for name, info in parameters.described().items():
            value = getattr(parameters, name)
            text = {True: "yes", False: "no"}[value] if isinstance(value, bool) else f"{value} {info.unit}".strip()
            settings[info.title] = info.none_means if value is None else text
    return settings


def notes_of(methods: Sequence[Method], notes: Mapping[str, str]) -> list[str]:
    """Return the notes on the input and the models' restorations; a baseline is described by its settings."""
    of_models = [f"{method.name}: {notes[method.name]}" for method in methods if method.model and method.name in notes]
    return [*([notes[INPUT]] if INPUT in notes else []), *of_models]


def _described(method: Method) -> str:
    if method.model is None:
        baseline = BASELINES[method.baseline]
        return f"{baseline.title}, {described_strength(method.strength)}; {baseline.source}"
    card = read_card(method.model)
    structure = f", trained on {card.structure}" if card.structure != "other" else ""
    steps = card.training.get("steps")
    length = f", {steps} steps" if steps is not None else ""
    digest = hashlib.sha256(method.model.read_bytes()).hexdigest()[:16]
    return f"{method.model.name}: {card.loss} loss, network {card.preset}{structure}{length}; SHA-256 {digest}\u2026"
