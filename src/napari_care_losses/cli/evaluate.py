"""The command ``evaluate``."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from napari_care_losses.cli.common import add_frames, path_option, scored_frames

if TYPE_CHECKING:
    import argparse
    from collections.abc import Mapping

    from napari_care_losses.evaluation.score import Score


def add_evaluate_options(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    parser.add_argument("--restored", type=path_option, required=True, help="The restored stack.")
    parser.add_argument("--truth", type=path_option, required=True, help="Its ground truth.")
    parser.add_argument("--input", type=path_option, help="Score the unrestored stack too.")
    add_frames(parser)
    parser.add_argument("--unaligned", action="store_true", help="Raw scores, without the affine alignment.")
    parser.add_argument("--json", action="store_true", help="Print one JSON object.")


def run_evaluate(options: argparse.Namespace) -> None:
    """Score stacks against their ground truth."""
    from napari_care_losses.evaluation.metrics import METRICS
    from napari_care_losses.evaluation.stack_scores import evaluate
    from napari_care_losses.images.axes import check_distinct, in_axes_of, truth_of
    from napari_care_losses.io.stacks import read_stack
    from napari_care_losses.io.untrusted_files import nan_as_null

    restored = read_stack(options.restored)
    whole = truth_of(read_stack(options.truth), restored)
    given = [("restored", options.restored, restored)]
    if options.input is not None:
        given.append(("input", options.input, read_stack(options.input)))
    truth = scored_frames(whole, options.frames, options.truth)
    stacks = {name: scored_frames(in_axes_of(stack, whole), options.frames, path) for name, path, stack in given}
    check_distinct(stacks["restored"], truth)
    scores = evaluate(stacks, truth, aligned=not options.unaligned)
    if options.json:
        print(json.dumps(nan_as_null(scores)))
        return
    _print_table(scores, METRICS)
    levels = scores["mean"]["restored"]
    print(f"grey levels, restored against truth: slope {levels['slope']:.3f}, R2 {levels['r2']:.4f} (means)")


def _print_table(scores: Mapping[str, Any], shown: Mapping[str, Score]) -> None:
    """Print a line a frame, with some of the scores of every stack."""
    stacks = list(scores["mean"])
    titles = [
        f"{stack} {score.title}" if score is next(iter(shown.values())) else score.title
        for stack in stacks
        for score in shown.values()
    ]
    widths = [max(len(title), 7) + 2 for title in titles]
    print(f"{'frame':>7}" + "".join(f"{title:>{width}}" for title, width in zip(titles, widths, strict=True)))
    for label, row in (*((str(i), frame) for i, frame in enumerate(scores["frames"])), ("mean", scores["mean"])):
        texts = [score.text(row[stack][name]) for stack in stacks for name, score in shown.items()]
        print(f"{label:>7}" + "".join(f"{text:>{width}}" for text, width in zip(texts, widths, strict=True)))
