"""``restore --follow``: what is still being acquired, restored as it comes."""

from __future__ import annotations

import argparse
import sys
from contextlib import closing
from typing import TYPE_CHECKING

from napari_care_losses.cli.common import given_parameters, stoppable
from napari_care_losses.compute.steps import Steps
from napari_care_losses.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Generator
    from pathlib import Path
    from threading import Event

    from napari_care_losses.following.progress import FollowProgress

_NOT_HERE = (
    "frames",
    "only",
    "region",
    "channel",
    "series",
    "incomplete",
    "scale_out",
    "interval_out",
    "scheduler",
    "workers",
)


def add_follow_options(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    group = parser.add_argument_group(
        "while it is acquired",
        "INPUT is a TIFF file or OME-Zarr image that is being written, or a folder into which files arrive; --out is "
        "OME-Zarr. The newest frame is restored first. Ctrl+C ends it once what came is restored, pressed again at "
        "once; --resume goes on where it was stopped or killed.",
    )
    group.add_argument("--follow", action="store_true", help="Restore frames as they come.")
    group.add_argument("--until", type=_number, metavar="N", help="End after N time points (default: do not end).")
    group.add_argument(
        "--idle", type=_seconds, metavar="SECONDS", help="End after so many seconds without a new frame."
    )


def follows(options: argparse.Namespace) -> bool:
    """Return whether a source is to be followed; raises `InputError` for options that do not go together."""
    if not options.follow:
        if options.until is not None or options.idle is not None:
            raise InputError("--until and --idle say when following ends: add --follow.")
        return False
    given = [f"--{name.replace('_', '-')}" for name in _NOT_HERE if getattr(options, name) not in (None, False)]
    if given:
        raise InputError(f"{', '.join(given)} cannot be used while frames come: leave it out, or leave out --follow.")
    if len(options.input) > 1:
        raise InputError(f"One source can be followed at a time, found {len(options.input)}: start a run for each.")
    if options.format == "tiff":
        raise InputError("While frames come, only OME-Zarr can grow: leave out --format tiff.")
    return True


def run_follow(options: argparse.Namespace) -> None:
    """Restore a growing source into an OME-Zarr that grows."""
    from threading import Event

    from napari_care_losses.io.stacks import ZARR_SUFFIX
    from napari_care_losses.io.whole_files import check_folder, is_same, overlap
    from napari_care_losses.io.written_frames import partial_path
    from napari_care_losses.models.library import find_model

    check_folder(options.out)
    (path,) = options.input
    is_within = path.suffix.lower() in (ZARR_SUFFIX, partial_path(path).suffix) and overlap(path, options.out)
    if is_within or is_same(path, options.out) or is_same(path, partial_path(options.out)):
        raise InputError(f"The result would overwrite its input {path}: choose another name.")
    model_path = find_model(options.model)
    from napari_care_losses.following.progress import FollowOptions
    from napari_care_losses.following.sources.open_source import open_source
    from napari_care_losses.following.to_file import follow_to_file, order_path
    from napari_care_losses.models.model import load_model
    from napari_care_losses.restoration.parameters import RestorationParameters, RunOptions

    follow = FollowOptions(until=options.until, idle=options.idle, device=options.device)
    parameters = RestorationParameters(**given_parameters(options, RestorationParameters))
    run = RunOptions(dtype=options.dtype, zarr_version=options.ome_zarr, resume=options.resume)
    enough, order = Event(), order_path(options.out)
    with closing(open_source(path, order=order, resumes=options.resume, skipped=[options.out])) as source:
        work = follow_to_file(source, load_model(model_path), options.out, parameters, run, follow, enough=enough)
        try:
            clipped, last = _show(work, enough)
        except KeyboardInterrupt:
            print("stopped: repeat the command with --resume to continue")
            raise
    if clipped:
        print(f"{clipped} pixels did not fit {options.dtype} and were clipped")
    _say(options.out, path, last)


def _show(work: Generator[FollowProgress, None, int], enough: Event) -> tuple[int, FollowProgress | None]:
    """Show the progress; the first Ctrl+C lets no more frames in, the second ends it at once."""
    from tqdm import tqdm

    from napari_care_losses.following.delays import shown

    steps, progress, note = Steps(work), None, ""
    with stoppable(work) as stopped, tqdm(disable=None, unit="frame", bar_format="{desc}") as bar:
        for progress in steps:
            if stopped and not enough.is_set():
                enough.set()
                tqdm.write(f"no more frames are taken, {progress.waiting} are still restored", file=sys.stderr)
            if progress.note != note:
                note = progress.note
                tqdm.write(note, file=sys.stderr)
            delay = "" if progress.delay is None else f", delay {shown(progress.delay)}"
            if progress.frame is not None or not progress.arrived:
                text = f"{progress.restored} of {progress.arrived} frames restored, {progress.waiting} waiting{delay}"
                bar.set_description_str(text if progress.arrived else "waiting for the first frame", refresh=False)
                bar.update()
    return steps.result, progress


def _say(out: Path, path: Path, last: FollowProgress | None) -> None:
    from napari_care_losses.following.to_file import log_path

    if last is None or last.layout is None or not last.restored:
        raise InputError(f"No whole time point came from {path}: nothing was restored.")
    height, width = last.layout.frame_shape
    print(f"{out}: {last.restored} frames of {height} x {width} px, log in {log_path(out)}")
    if len(last.delays):
        print(f"{len(last.delays)} frames came meanwhile: {last.delays}")


def _number(text: str) -> int:
    if not text.isdecimal() or not int(text):
        raise argparse.ArgumentTypeError(f"expected a number from 1, found {text!r}")
    return int(text)


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1.0
    if not 0 < seconds < 1e9:
        raise argparse.ArgumentTypeError(f"expected seconds above 0, found {text!r}")
    return seconds
