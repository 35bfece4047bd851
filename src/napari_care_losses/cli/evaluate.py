"""The command ``evaluate``."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from napari_care_losses.cli.common import add_frames, path_option, scored_frames

if TYPE_CHECKING:
    import argparse


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
    print(f"{'frame':>7}" + "".join(f"{name + ' PSNR':>16}{'SSIM':>9}" for name in stacks))
    rows = [*((str(i), frame) for i, frame in enumerate(scores["frames"])), ("mean", scores["mean"])]
    for label, row in rows:
        print(f"{label:>7}" + "".join(f"{row[name]['psnr']:>16.3f}{row[name]['ssim']:>9.4f}" for name in stacks))
    levels = scores["mean"]["restored"]
    print(f"grey levels, restored against truth: slope {levels['slope']:.3f}, R2 {levels['r2']:.4f} (means)")
