"""The command ``restore``: one file into a file, or many into a folder."""

from __future__ import annotations

import argparse
import sys
from contextlib import nullcontext
from typing import TYPE_CHECKING

from napari_care_losses.cli.common import (
    add_channel,
    add_frames,
    add_only,
    add_restoration_parameters,
    given_parameters,
    path_option,
    run_with_bar,
    selected,
    stoppable,
)
from napari_care_losses.cli.follow import add_follow_options, follows, run_follow
from napari_care_losses.errors import FilesError, InputError

if TYPE_CHECKING:
    from collections.abc import Generator
    from contextlib import AbstractContextManager
    from pathlib import Path

    from distributed import Client

    from napari_care_losses.images.regions import Region
    from napari_care_losses.restoration.folders import FileProgress
    from napari_care_losses.restoration.parameters import RunOptions


def add_restore_options(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    from napari_care_losses.evaluation.intervals import LEVELS, USUAL_LEVEL
    from napari_care_losses.io.ome_zarr_reader import VERSIONS
    from napari_care_losses.io.stacks import NEW_SUFFIXES

    parser.add_argument("model", metavar="MODEL", help="A model file, or a name in the library.")
    parser.add_argument(
        "input",
        type=path_option,
        nargs="+",
        metavar="INPUT",
        help="TIFF, CZI, LIF or ND2 files, OME-Zarr images (https:// and s3:// too), or folders of them.",
    )
    parser.add_argument(
        "--out",
        type=path_option,
        required=True,
        help="The file to make, OME-Zarr where it ends in .zarr, else TIFF; a folder for several inputs.",
    )
    add_frames(parser)
    add_only(parser)
    parser.add_argument(
        "--region",
        type=_region,
        metavar="Y0:Y1,X0:X1",
        help="Only this part of every frame, in pixels, as the whole frame has it there.",
    )
    add_channel(parser)
    parser.add_argument(
        "--series",
        type=_series,
        metavar="N|all",
        help="Of files that hold several images, the one of this number, from 0, or all of them, into a folder.",
    )
    parser.add_argument(
        "--incomplete",
        action="store_true",
        help="Restore stacks of which frames are missing, and plates of which wells or fields are. Time points "
        "(or planes, channels) that are not whole are left out, and said. Without it they are refused.",
    )
    parser.add_argument("--scale-out", type=path_option, help="Also write the Laplace scale to this file.")
    parser.add_argument(
        "--interval-out",
        type=path_option,
        nargs=2,
        metavar=("LOWER", "UPPER"),
        help="Also write the lower and upper ends of intervals that hold the true grey level, for models that were "
        "calibrated on their validation images (all trained on clean images).",
    )
    parser.add_argument(
        "--interval",
        type=_percent,
        metavar="PERCENT",
        help=f"How many of the true grey levels they hold: {', '.join(f'{100 * each:g}' for each in LEVELS)} "
        f"({100 * USUAL_LEVEL:g}).",
    )
    parser.add_argument("--dtype", choices=("float32", "uint16", "uint8"), default="float32", help="Pixel type.")
    parser.add_argument(
        "--format", choices=tuple(NEW_SUFFIXES), help="Of the files in the folder (default: that of each input)."
    )
    parser.add_argument(
        "--ome-zarr",
        choices=VERSIONS,
        help=f"Version of OME-Zarr written (default: {VERSIONS[0]}; of a plate, that of the input).",
    )
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or mps.")
    parser.add_argument("--resume", action="store_true", help="Do only what a stopped run left out.")
    cluster = parser.add_mutually_exclusive_group()
    cluster.add_argument(
        "--scheduler", metavar="ADDRESS", help="Restore on the Dask cluster of this scheduler, into OME-Zarr."
    )
    cluster.add_argument("--workers", type=int, metavar="N", help="Restore in N processes, into OME-Zarr.")
    add_follow_options(parser)
    add_restoration_parameters(parser)


def run_restore(options: argparse.Namespace) -> None:
    """Restore one file into a file, several into a folder, or what is still being acquired."""
    from napari_care_losses.io.ome_zarr_plates import is_plate
    from napari_care_losses.io.remote.address import check_local

    for out in (options.out, *(options.interval_out or ())):
        check_local(out)
    if options.interval is not None and options.interval_out is None:
        raise InputError("--interval needs --interval-out LOWER UPPER, the two files to make.")
    if follows(options):
        run_follow(options)
        return
    options.input = _images(options.input, options.series, incomplete=options.incomplete)
    is_file = len(options.input) == 1 and not _is_folder(options.input[0]) and not _is_folder(options.out)
    parts = [name for name in ("channel", "only", "region") if vars(options)[name] is not None]
    if parts and (not is_file or is_plate(options.input[0])):
        raise InputError(f"--{parts[0]} chooses a part of one image: name a single image and the file to make.")
    if not is_file:
        _restore_files(options)
    elif is_plate(options.input[0]):
        _restore_plate(options)
    else:
        _restore_file(options)


def _percent(text: str) -> float:
    from napari_care_losses.evaluation.intervals import LEVELS

    known = {f"{100 * each:g}": each for each in LEVELS}
    if text not in known:
        raise argparse.ArgumentTypeError(f"expected one of {', '.join(known)}, found {text!r}")
    return known[text]


def _series(text: str) -> str:
    if text != "all" and not text.isdecimal():
        raise argparse.ArgumentTypeError(f"expected a number from 0, or all, found {text!r}")
    return text


def _region(text: str) -> Region:
    from napari_care_losses.images.regions import Region
    from napari_care_losses.images.selection import parse_ranges

    try:
        (y0, y1), (x0, x1) = (parse_ranges(part)[0] for part in text.split(","))
    except (InputError, ValueError):
        raise argparse.ArgumentTypeError(f"expected Y0:Y1,X0:X1 such as 0:256,128:512, found {text!r}") from None
    return Region(y0, y1, x0, x1)


def _images(inputs: list[Path], series: str | None, *, incomplete: bool) -> list[Path]:
    """Return the images that the inputs and ``--series`` name; folders stay folders without it."""
    from napari_care_losses.io.ome_zarr_plates import is_plate, read_plate
    from napari_care_losses.io.stacks import list_images

    if series is None:
        return inputs
    images: list[Path] = []
    for path in _files(inputs):
        found = list_images(path, incomplete=incomplete)
        if is_plate(path) and (missing := read_plate(path, incomplete=incomplete).missing):
            print(missing, file=sys.stderr)
        if series == "all" or (series == "0" and len(found) == 1):
            images += found
        elif path.is_file():
            # of a file, a preview has a number too
            images.append(path / series)
        elif int(series) < len(found):
            images.append(found[int(series)])
        else:
            raise InputError(f"{path} holds {len(found)} images, counted from 0: there is no image {series}.")
    return images


def _is_folder(path: Path) -> bool:
    """Return whether a path is a folder of files, and no OME-Zarr image."""
    from napari_care_losses.io.ome_zarr_reader import is_zarr
    from napari_care_losses.io.stacks import is_ome_zarr_name

    return path.is_dir() and not is_zarr(path) and not is_ome_zarr_name(path)


def _cluster(options: argparse.Namespace) -> AbstractContextManager[Client | None]:
    """Return the cluster to restore on, none where none was asked for."""
    if options.scheduler is None and options.workers is None:
        return nullcontext()
    from napari_care_losses.restoration.cluster.scheduler import connected

    return connected(scheduler=options.scheduler or "", workers=options.workers or 0)


def _run_options(options: argparse.Namespace, cluster: Client | None) -> RunOptions:
    from napari_care_losses.restoration.parameters import RunOptions

    return RunOptions(
        device=options.device,
        dtype=options.dtype,
        zarr_version=options.ome_zarr,
        resume=options.resume,
        cluster=cluster,
    )


def _restore_file(options: argparse.Namespace) -> None:
    from napari_care_losses.evaluation.intervals import USUAL_LEVEL
    from napari_care_losses.images.selection import Selection, chosen_stack, numbered
    from napari_care_losses.io.stacks import is_ome_zarr_name, read_stack
    from napari_care_losses.io.whole_files import check_folder
    from napari_care_losses.models.library import find_model

    for out in (options.out, *(options.interval_out or ())):
        check_folder(out)
    if options.format is not None and (options.format == "ome-zarr") != is_ome_zarr_name(options.out):
        raise InputError(f"--format {options.format} does not fit --out {options.out}: leave it out, or rename --out.")
    path = find_model(options.model)
    (source,) = options.input
    whole = read_stack(source, incomplete=options.incomplete)
    frames = selected(whole, options.frames, source, options.channel)
    selection = Selection(None if options.only is None else numbered(frames, options.only), options.region)
    from napari_care_losses.models.model import load_model
    from napari_care_losses.restoration.parameters import IntervalFiles
    from napari_care_losses.restoration.restore_stack import RestorationParameters
    from napari_care_losses.restoration.to_file import restore_to_file

    intervals = None
    if options.interval_out is not None:
        intervals = IntervalFiles(options.interval or USUAL_LEVEL, *options.interval_out)
    parameters = RestorationParameters(**given_parameters(options, RestorationParameters))
    with _cluster(options) as cluster:
        work = restore_to_file(
            frames,
            load_model(path),
            options.out,
            parameters,
            _run_options(options, cluster),
            source=source,
            scale_out=options.scale_out,
            selection=selection,
            channel=options.channel,
            intervals=intervals,
        )
        try:
            clipped, last = run_with_bar(work, "tile" if cluster is None else "frame")
        except KeyboardInterrupt:
            print("stopped: repeat the command with --resume to continue")
            raise
    if last is not None and last.note:
        print(last.note)
    if clipped:
        print(f"{clipped} pixels did not fit {options.dtype} and were clipped")
    made = chosen_stack(frames, selection)
    print(f"{options.out}: {len(made)} frames of {made.frame_shape[0]} x {made.frame_shape[1]} px")


def _check_single(options: argparse.Namespace, what: str) -> None:
    for name, given in (("--scale-out", options.scale_out), ("--interval-out", options.interval_out)):
        if given is not None:
            raise InputError(f"{name} is of a single image: restore the {what} one by one where you need it.")


def _restore_plate(options: argparse.Namespace) -> None:
    from napari_care_losses.io.ome_zarr_reader import group_metadata
    from napari_care_losses.models.library import find_model
    from napari_care_losses.restoration.parameters import RestorationParameters
    from napari_care_losses.restoration.plates import restore_plate

    _check_single(options, "fields")
    if options.format == "tiff":
        raise InputError(
            "A plate is restored into OME-Zarr: leave out --format, or restore its fields by --series all."
        )
    path, (source,) = find_model(options.model), options.input
    from napari_care_losses.models.model import load_model

    parameters = RestorationParameters(**given_parameters(options, RestorationParameters))
    with _cluster(options) as cluster:
        work = restore_plate(
            source,
            load_model(path),
            options.out,
            parameters,
            _run_options(options, cluster),
            selection=options.frames,
            incomplete=options.incomplete,
        )
        try:
            result, _ = run_with_bar(work, "field")
        except KeyboardInterrupt:
            print("stopped: repeat the command with --resume to continue")
            raise
    for note in result.notes:
        print(note, file=sys.stderr)
    if result.clipped:
        print(f"{result.clipped} pixels did not fit {options.dtype} and were clipped")
    kind = "plate" if "plate" in group_metadata(source) else "well"
    print(f"{options.out}: a {kind} of {result.fields} fields")


def _restore_files(options: argparse.Namespace) -> None:
    from napari_care_losses.models.library import find_model
    from napari_care_losses.restoration.folders import restore_files

    _check_single(options, "files")
    model_path = find_model(options.model)
    paths = _files(options.input)
    _make_folder(options.out)
    from napari_care_losses.models.model import load_model
    from napari_care_losses.restoration.parameters import RestorationParameters

    finished: list[FileProgress] = []
    with _cluster(options) as cluster:
        work = restore_files(
            paths,
            load_model(model_path),
            options.out,
            RestorationParameters(**given_parameters(options, RestorationParameters)),
            _run_options(options, cluster),
            model_name=model_path.stem,
            selection=options.frames,
            incomplete=options.incomplete,
            file_format=options.format or ("" if cluster is None else "ome-zarr"),
        )
        with stoppable(work) as stopped:
            _show_files(work, stopped, finished)
    failed = [report for report in finished if report.problem]
    clipped = sum(report.clipped for report in finished)
    if clipped:
        print(f"{clipped} pixels did not fit {options.dtype} and were clipped")
    print(f"{options.out}: {len(finished) - len(failed)} of {len(paths)} files restored, {len(failed)} failed")
    if stopped:
        print("stopped: repeat the command with --resume to continue")
        raise KeyboardInterrupt
    if failed:
        raise FilesError("; ".join(f"{report.path}: {_problem(report)}" for report in failed))


def _show_files(work: Generator[FileProgress, None, None], stopped: list[bool], finished: list[FileProgress]) -> None:
    """Show the progress and how every file ended."""
    from tqdm import tqdm

    with tqdm(disable=None, total=1.0, bar_format="{l_bar}{bar}| {elapsed}<{remaining} {postfix}") as bar:
        for report in work:
            if report.fraction == 1.0:
                finished.append(report)
                tqdm.write(f"{report.path}: {f'failed. {_problem(report)}' if report.problem else 'restored'}")
                if report.note:
                    tqdm.write(report.note)
                sys.stdout.flush()
            bar.set_postfix_str(f"{report.path.name}, {report.number + 1} of {report.total}", refresh=False)
            bar.update((report.number + report.fraction) / report.total - bar.n)
            if stopped:
                break


def _problem(report: FileProgress) -> str:
    """Return why a file failed, to be read after its name."""
    text, name = report.problem.removeprefix(f"{report.path}: "), f"{report.path} "
    return f"It {text.removeprefix(name)}" if text.startswith(name) else text


def _files(inputs: list[Path]) -> list[Path]:
    """Return the files named, those of folders in their place, sets of files once."""
    from napari_care_losses.io.stacks import whole_stacks
    from napari_care_losses.restoration.folders import stacks_in

    files: list[Path] = []
    for path in inputs:
        files += stacks_in(path) if _is_folder(path) else [path]
    return whole_stacks(files)


def _make_folder(folder: Path) -> None:
    from napari_care_losses.io.stacks import TIFF_SUFFIXES, ZARR_SUFFIX
    from napari_care_losses.io.whole_files import make_folder

    if folder.suffix.lower() in (*TIFF_SUFFIXES, ZARR_SUFFIX) or folder.is_file():
        raise InputError(f"Several files are restored into a folder: --out must name one, found {folder}.")
    make_folder(folder)
