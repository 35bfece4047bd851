"""The command ``compare``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from napari_care_losses.cli.common import (
    add_channel,
    add_frames,
    add_only,
    add_restoration_parameters,
    given_parameters,
    one_channel,
    path_option,
    run_with_bar,
    selected,
)
from napari_care_losses.errors import InputError

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
        help="Model files, names in the library, or the baselines tv and nl-means; LABEL=METHOD names its row.",
    )
    parser.add_argument("--truth", type=path_option, help="The ground truth, such a file too.")
    parser.add_argument(
        "--out", type=path_option, required=True, help="The HTML page to make; two CSV files lie beside it."
    )
    add_frames(parser)
    add_only(parser)
    add_channel(parser)
    parser.add_argument("--show", type=int, help="The frame whose images are shown (default: the first one compared).")
    parser.add_argument(
        "--reference",
        metavar="METHOD",
        help="What others are compared with, a method by its label or input (default: a Laplace model if any).",
    )
    parser.add_argument(
        "--independent",
        action="store_true",
        help="The frames are independent fields of view, not a movie: adds paired t-tests.",
    )
    parser.add_argument("--unaligned", action="store_true", help="Raw scores, without the affine alignment.")
    add_restoration_parameters(parser)


def run_compare(options: argparse.Namespace) -> None:
    """Compare methods on a file and write the report."""
    from napari_care_losses.comparison.record import TITLE, ComparisonRecord
    from napari_care_losses.comparison.report.content import ReportOptions
    from napari_care_losses.comparison.to_file import compare_to_file
    from napari_care_losses.evaluation.statistics import table_text
    from napari_care_losses.images.selection import chosen_truth, numbered
    from napari_care_losses.io.stacks import read_stack
    from napari_care_losses.restoration.parameters import RestorationParameters

    whole = one_channel(read_stack(options.input), options.channel, options.input)
    frames = selected(whole, options.frames, options.input)
    indices = None if options.only is None else numbered(frames, options.only)
    inputs = {"Input": str(options.input), "Ground truth": str(options.truth) if options.truth else "none"}
    for chosen, words in ((options.frames, "frames"), (options.only, "of all frames")):
        if chosen is not None:
            inputs["Chosen"] = f"{words} " + ", ".join(f"{one} up to, not including, {end}" for one, end in chosen)
    truth = None
    if options.truth is not None:
        found = read_stack(options.truth)
        try:
            truth = chosen_truth(found, whole, channel=options.channel, ranges=options.frames)
        except InputError as error:
            raise InputError(f"{options.truth}: {error}") from error
    methods = _methods(options.methods)
    parameters = RestorationParameters(**given_parameters(options, RestorationParameters))
    first = 0 if indices is None else indices[0]
    chosen = {"reference": options.reference, "independent": options.independent, "aligned": not options.unaligned}
    record = ComparisonRecord(
        source=options.input.absolute(),
        methods=methods,
        out=options.out.absolute(),
        truth=None if options.truth is None else options.truth.absolute(),
        parameters=parameters,
        channel=options.channel,
        ranges=options.frames,
        only=indices,
        shown=options.show,
        **chosen,
    )
    report = ReportOptions(
        title=TITLE.format(options.input.name),
        settings=inputs,
        frame_index=first if options.show is None else options.show,
        provenance=record.texts(),
        **chosen,
    )
    work = compare_to_file(
        frames, methods, options.out, truth=truth, parameters=parameters, indices=indices, options=report
    )
    made, _ = run_with_bar(work, "step")
    if made.rows:
        print(table_text(made.rows), end="")
    print(options.out)


def _methods(given: list[str]) -> list[Method]:
    """Return the methods of these names; a name of both a baseline and a model is the baseline."""
    from napari_care_losses.comparison.baselines import BASELINES
    from napari_care_losses.comparison.compare import Method
    from napari_care_losses.models.library import find_model

    methods = []
    for name in given:
        label, equals, word = name.partition("=")
        # a file of that name, or a model
        if equals and not Path(name).is_file():
            methods.append(_method(label, word))
        elif name in BASELINES:
            methods.append(_method(name, name))
        else:
            path = find_model(name)
            # two files of one name in two folders go by their paths
            is_single = sum(one not in BASELINES and _stem(one) == path.stem for one in given) == 1
            methods.append(Method(path.stem if is_single else name, model=path))
    return methods


def _method(label: str, word: str) -> Method:
    from napari_care_losses.comparison.baselines import BASELINES
    from napari_care_losses.comparison.compare import Method
    from napari_care_losses.models.library import find_model

    return Method(label, baseline=word) if word in BASELINES else Method(label, model=find_model(word))


def _stem(name: str) -> str:
    from napari_care_losses.models.library import find_model

    return "" if "=" in name and not Path(name).is_file() else find_model(name).stem
