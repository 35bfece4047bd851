"""The command ``evaluate``."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from napari_care_losses.cli.common import add_frames, path_option, scored_frames
from napari_care_losses.errors import InputError

if TYPE_CHECKING:
    import argparse
    from collections.abc import Mapping

    from napari_care_losses.evaluation.score import Score


def add_evaluate_options(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    parser.add_argument("--restored", type=path_option, required=True, help="The restored stack.")
    parser.add_argument("--truth", type=path_option, help="Its ground truth. Without it, the resolution is measured.")
    parser.add_argument(
        "--input",
        type=path_option,
        help="Score the unrestored stack too, how well it could be restored at best, and how much of each frame "
        "contradicts it.",
    )
    parser.add_argument(
        "--interval",
        type=path_option,
        nargs=2,
        metavar=("LOWER", "UPPER"),
        help="The ends of its intervals, of restore --interval-out: how many true grey levels they hold.",
    )
    add_frames(parser)
    parser.add_argument("--unaligned", action="store_true", help="Raw scores, without the affine alignment.")
    parser.add_argument("--json", action="store_true", help="Print one JSON object.")


def run_evaluate(options: argparse.Namespace) -> None:
    """Score stacks against their ground truth, or measure them without one."""
    from napari_care_losses.evaluation.metrics import METRICS
    from napari_care_losses.evaluation.stack_scores import add_contradictions, add_truth_limit, evaluate, measure
    from napari_care_losses.evaluation.truth_limit import TRUTH_LIMIT_SCORES
    from napari_care_losses.evaluation.uncertainty import COVERAGE_SCORES, add_coverage
    from napari_care_losses.evaluation.without_truth.contradictions import CONTRADICTION_SCORES
    from napari_care_losses.evaluation.without_truth.single_image import SINGLE_IMAGE_SCORES
    from napari_care_losses.images.axes import check_distinct, in_axes_of, truth_of
    from napari_care_losses.io.stacks import read_stack
    from napari_care_losses.io.untrusted_files import nan_as_null

    if options.interval is not None and options.truth is None:
        raise InputError("--interval needs --truth: what intervals hold is told by the true grey levels.")
    restored = read_stack(options.restored)
    whole = restored if options.truth is None else truth_of(read_stack(options.truth), restored)
    given = [("restored", options.restored, restored)]
    if options.input is not None:
        given.append(("input", options.input, read_stack(options.input)))
    stacks = {name: scored_frames(in_axes_of(stack, whole), options.frames, path) for name, path, stack in given}
    metrics = SINGLE_IMAGE_SCORES if options.truth is None else METRICS
    shown: Mapping[str, Score] = {**metrics, **TRUTH_LIMIT_SCORES, **CONTRADICTION_SCORES, **COVERAGE_SCORES}
    if options.truth is None:
        scores = measure(stacks)
    else:
        truth = scored_frames(whole, options.frames, options.truth)
        check_distinct(stacks["restored"], truth)
        scores = evaluate(stacks, truth, aligned=not options.unaligned)
        if options.input is not None:
            add_truth_limit(scores, stacks["input"], truth)
        if options.interval is not None:
            lower, upper = (
                scored_frames(in_axes_of(read_stack(path), whole), options.frames, path) for path in options.interval
            )
            add_coverage(scores, stacks["restored"], (lower, upper), truth, aligned=not options.unaligned)
    if options.input is not None:
        add_contradictions(scores, stacks["input"], stacks["restored"])
    if options.json:
        print(json.dumps(nan_as_null(scores)))
        return
    _print_table(scores, shown)
    if options.truth is None:
        return
    levels = scores["mean"]["restored"]
    print(f"grey levels, restored against truth: slope {levels['slope']:.3f}, R2 {levels['r2']:.4f} (means)")


def _print_table(scores: Mapping[str, Any], shown: Mapping[str, Score]) -> None:
    """Print a line a frame, with those of some scores that every stack has."""
    stacks = list(scores["mean"])
    cells = [(stack, name) for stack in stacks for name in shown if name in scores["mean"][stack]]
    titles = {(stack, name): f"{stack} {shown[name].label}" for stack, name in cells}
    lines = [["frame", *titles.values()]]
    for label, row in (*((str(i), frame) for i, frame in enumerate(scores["frames"])), ("mean", scores["mean"])):
        lines.append([label, *(shown[name].text(row[stack][name]) for stack, name in cells)])
    widths = [max(7, *map(len, column)) for column in zip(*lines, strict=True)]
    for line in lines:
        print("  ".join(text.rjust(width) for text, width in zip(line, widths, strict=True)))
