"""What several commands share: kinds of options, chosen frames, folders, Ctrl+C."""

from __future__ import annotations

import argparse
import os
import signal
import sys
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from napari_care_losses.compute.interrupts import interrupts
from napari_care_losses.compute.steps import Steps
from napari_care_losses.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Collection, Generator, Iterator, Mapping, Sequence

    from napari_care_losses.images.frames import Frames
    from napari_care_losses.parameters import Parameters


def add_parameters(
    parser: argparse.ArgumentParser,
    owner: type[Parameters],
    skipped: Collection[str] = (),
    defaults: Mapping[str, str] = MappingProxyType({}),
) -> None:
    """Add one option a parameter of `owner`; those not given are absent from the namespace.

    The help gives the default of a parameter, or what `defaults` says of it.
    """
    for name, info in owner.described().items():
        if name in skipped:
            continue
        flag = "--" + name.replace("_", "-")
        default = getattr(owner(), name)
        default = info.none_number if default is None else default
        unit = f" {info.unit}" if info.unit else ""
        shown = info.none_means if default == info.none_number else f"{default}{unit}"
        text = f"{info.help} (default: {defaults.get(name, shown)})".replace("%", "%%")
        if isinstance(default, bool):
            parser.add_argument(flag, action=argparse.BooleanOptionalAction, default=argparse.SUPPRESS, help=text)
        else:
            choices = {"choices": info.choices} if info.choices else {"metavar": type(default).__name__.upper()}
            parser.add_argument(flag, type=type(default), default=argparse.SUPPRESS, help=text, **choices)


def add_restoration_parameters(parser: argparse.ArgumentParser) -> None:
    """Add the options of a restoration, those by which earlier versions called them too."""
    from napari_care_losses.restoration.parameters import RestorationParameters

    add_parameters(parser, RestorationParameters)
    for flag, choice in (("--half-resolution", "half"), ("--no-half-resolution", "ignore")):
        parser.add_argument(
            flag,
            dest="correlated_noise",
            action="store_const",
            const=choice,
            default=argparse.SUPPRESS,
            help=f"The same as --correlated-noise {choice}.",
        )


def add_training_parameters(
    parser: argparse.ArgumentParser,
    *,
    recipe: str | None,
    recipe_default: str,
    defaults: Mapping[str, str] = MappingProxyType({}),
    skipped: Collection[str] = (),
) -> None:
    """Add the options of a training but for its budget: a recipe, with its default and that in words, and the rest.

    `defaults` says what is taken for a parameter that is not given, where it is not the class's default; `skipped` are
    no options.
    """
    from napari_care_losses.training.parameters import RECIPES, TrainingParameters

    parser.add_argument(
        "--recipe",
        choices=tuple(RECIPES),
        default=recipe,
        help=f"Training settings that belong together (default: {recipe_default}).",
    )
    of_recipes = dict.fromkeys(RECIPES["paper"], "that of the recipe")
    add_parameters(
        parser, TrainingParameters, skipped={"budget", "amount", *skipped}, defaults={**of_recipes, **defaults}
    )


def add_frames(parser: argparse.ArgumentParser) -> None:
    """Add the option for some of the frames."""
    parser.add_argument(
        "--frames",
        type=_frame_ranges,
        metavar="A:B,...",
        help="Only frames A up to, not including, B, counted from 0; several ranges are separated by commas.",
    )


def add_channel(parser: argparse.ArgumentParser) -> None:
    """Add the option for a single channel."""
    parser.add_argument("--channel", type=int, metavar="N", help="Only this channel, counted from 0.")


def add_only(parser: argparse.ArgumentParser) -> None:
    """Add the option for some frames as part of the whole stack."""
    parser.add_argument(
        "--only",
        type=_frame_ranges,
        metavar="A:B,...",
        help="Only these frames, counted over all axes in front, as part of the stack: ranges, noise and neighbouring "
        "frames are those of the whole stack. With --frames they are those of the chosen frames alone.",
    )


def _frame_ranges(text: str) -> list[tuple[int, int]]:
    from napari_care_losses.images.selection import parse_ranges

    try:
        return parse_ranges(text)
    except InputError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def path_option(text: str) -> Path:
    """Return a path whose existence can be checked, or an address; there may be no file."""
    from napari_care_losses.io.remote.address import is_address, located

    if is_address(text):
        try:
            return located(text)
        except InputError as error:
            raise argparse.ArgumentTypeError(str(error)) from None
    try:
        os.stat(text)
    except (FileNotFoundError, NotADirectoryError):
        pass
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise argparse.ArgumentTypeError(f"{text[:100]!r} cannot be looked at: {reason}") from None
    return Path(text)


def given_parameters(options: argparse.Namespace, owner: type[Parameters]) -> dict[str, Any]:
    """Return those parameters of `owner` that were given as options."""
    return {name: value for name, value in vars(options).items() if name in owner.described()}


def selected(
    frames: Frames, selection: Sequence[tuple[int, int]] | None, path: Path, channel: int | None = None
) -> Frames:
    """Return the frames selected, all of them without a selection; `path` is named where they are not there.

    What the file has to say of itself is printed.
    """
    if frames.note:
        print(frames.note, file=sys.stderr)
    frames = one_channel(frames, channel, path)
    if selection is None:
        return frames
    try:
        return frames.select_ranges(selection)
    except InputError as error:
        raise InputError(f"{path}: {error}") from error


def one_channel(frames: Frames, channel: int | None, path: Path) -> Frames:
    """Return one channel of a stack, or all of it without a number; `path` is named where it is not there."""
    from napari_care_losses.images.selection import channel_of

    if channel is None:
        return frames
    try:
        return channel_of(frames, channel)
    except InputError as error:
        raise InputError(f"{path}: {error}") from error


def scored_frames(frames: Frames, selection: Sequence[tuple[int, int]] | None, path: Path) -> Frames:
    """Return the frames selected to be scored; a stack with just as many as selected is taken whole."""
    if selection is not None and frames.selectable == sum(stop - start for start, stop in selection):
        return frames
    return selected(frames, selection, path)


@contextmanager
def stoppable(work: Generator[Any, Any, Any], *, insists: bool = False) -> Iterator[list[bool]]:
    """Let Ctrl+C, or Ctrl+Break on Windows, end `work` between two steps, so that its state can be saved.

    Pressed again, it ends at once, unless `insists` says that it must come to the end of its step.
    """
    stopped: list[bool] = []

    def stop(*_: object) -> None:
        stopped.append(True)
        if not insists:
            for number in before:
                signal.signal(number, signal.default_int_handler)

    before = {number: signal.signal(number, stop) for number in interrupts()}
    try:
        yield stopped
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        work.close()


def run_with_bar(work: Generator[Any, None, Any], unit: str) -> tuple[Any, Any]:
    """Show the progress of `work`, whose reports have `done` and `total`; return its result and its last report.

    Ctrl+C ends it between two reports.
    """
    from tqdm import tqdm

    steps, report = Steps(work), None
    with stoppable(work) as stopped, tqdm(disable=None, unit=unit) as bar:
        for report in steps:
            bar.total = report.total
            bar.update(report.done - bar.n)
            if stopped:
                raise KeyboardInterrupt
    return steps.result, report
