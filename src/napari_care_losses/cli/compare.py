"""The command ``compare``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari_care_losses.cli.common import (
    add_frames,
    add_restoration_parameters,
    given_parameters,
    path_option,
    run_with_bar,
    scored_frames,
    selected,
)

if TYPE_CHECKING:
    import argparse

    from napari_care_losses.comparison.compare import Method


def add_compare_options(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    parser.add_argument(
        "input", type=path_option, metavar="INPUT", help="A TIFF, CZI, LIF or ND2 file, or an OME-Zarr image."
    )
    parser.add_argument(
        "--methods",
        nargs="+",
        required=True,
        metavar="METHOD",
        help="Model files, names in the library, or the baselines tv and nl-means.",
    )
    parser.add_argument("--truth", type=path_option, help="The ground truth, such a file too.")
    parser.add_argument(
        "--out", type=path_option, required=True, help="The HTML page to make; two CSV files lie beside it."
    )
    add_frames(parser)
    parser.add_argument("--show", type=int, default=0, help="The frame whose images are shown, among those chosen (0).")
    parser.add_argument("--reference", metavar="METHOD", help="What others are compared with (a Laplace model if any).")
    parser.add_argument(
        "--independent",
        action="store_true",
        help="The frames are independent fields of view, not a movie: adds paired t-tests.",
    )
    parser.add_argument("--unaligned", action="store_true", help="Raw scores, without the affine alignment.")
    add_restoration_parameters(parser)


def run_compare(options: argparse.Namespace) -> None:
    """Compare methods on a file and write the report."""
    from napari_care_losses.comparison.report.content import ReportOptions
    from napari_care_losses.comparison.to_file import compare_to_file
    from napari_care_losses.evaluation.statistics import table_text
    from napari_care_losses.images.axes import truth_of
    from napari_care_losses.io.stacks import read_stack
    from napari_care_losses.restoration.parameters import RestorationParameters

    whole = read_stack(options.input)
    frames = selected(whole, options.frames, options.input)
    inputs = {"Input": str(options.input), "Ground truth": str(options.truth) if options.truth else "none"}
    if options.frames is not None:
        inputs["Chosen"] = "frames " + ", ".join(f"{one} up to, not including, {end}" for one, end in options.frames)
    truth = None
    if options.truth is not None:
        truth = scored_frames(truth_of(read_stack(options.truth), whole), options.frames, options.truth)
    work = compare_to_file(
        frames,
        _methods(options.methods),
        options.out,
        truth=truth,
        parameters=RestorationParameters(**given_parameters(options, RestorationParameters)),
        options=ReportOptions(
            title=f"Restorations of {options.input.name} compared",
            settings=inputs,
            frame_index=options.show,
            reference=options.reference,
            independent=options.independent,
            aligned=not options.unaligned,
        ),
    )
    report, _ = run_with_bar(work, "step")
    if report.rows:
        print(table_text(report.rows), end="")
    print(options.out)


def _methods(given: list[str]) -> list[Method]:
    """Return the methods of these names; a name of both a baseline and a model is the baseline."""
    from napari_care_losses.comparison.baselines import BASELINES
    from napari_care_losses.comparison.compare import Method
    from napari_care_losses.models.library import find_model

    methods = []
    for name in given:
        if name in BASELINES:
            methods.append(Method(name, baseline=name))
        else:
            path = find_model(name)
            # two files of one name in two folders go by their paths
            is_single = sum(one not in BASELINES and find_model(one).stem == path.stem for one in given) == 1
            methods.append(Method(path.stem if is_single else name, model=path))
    return methods
