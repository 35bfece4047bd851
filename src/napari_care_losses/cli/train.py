"""The command ``train``."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from napari_care_losses.cli.common import (
    add_channel,
    add_frames,
    add_only,
    add_parameters,
    add_training_parameters,
    given_parameters,
    path_option,
    selected,
    stoppable,
)
from napari_care_losses.errors import ComputeError, InputError, ParameterError

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from napari_care_losses.compute.distributed import Team
    from napari_care_losses.losses.base import Loss
    from napari_care_losses.models.model import Model
    from napari_care_losses.training.pairs import Pair
    from napari_care_losses.training.parameters import TrainingParameters
    from napari_care_losses.training.targets.base import Target
    from napari_care_losses.training.trainer import Trainer


def add_train_options(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    from napari_care_losses.losses.registry import LOSSES
    from napari_care_losses.models.model import STRUCTURE_NAMES
    from napari_care_losses.restoration.parameters import DEVICES
    from napari_care_losses.training.logs.parameters import LogParameters
    from napari_care_losses.training.pair_sources import PAIRINGS

    helps = {
        "--low": "Low-exposure stacks (TIFF, CZI, LIF, ND2, OME-Zarr), or their folder.",
        "--high": "High exposures of the same fields, or their folder; one image may be the truth of a whole movie. "
        "With --target shot, other noisy images of the same fields; with the others, none.",
    }
    for flag, text in helps.items():
        parser.add_argument(
            flag, type=path_option, nargs="+", required=flag == "--low", metavar="STACK", help=text, default=[]
        )
    parser.add_argument(
        "--pairing",
        choices=PAIRINGS,
        help="How to pair several files (default: by name, where the order given is the same).",
    )
    parser.add_argument(
        "--loss",
        choices=tuple(LOSSES),
        help="The training loss (default with --from: that of the model, or fft where that needs clean images).",
    )
    parser.add_argument(
        "--out", type=path_option, required=True, metavar="M.safetensors", help="The model file to make."
    )
    add_frames(parser)
    add_channel(parser)
    add_only(parser)
    parser.add_argument("--from", dest="start_from", metavar="MODEL", help="Start from this model's weights.")
    parser.add_argument("--structure", choices=STRUCTURE_NAMES, default="other", help="What the images show.")
    budget = parser.add_mutually_exclusive_group()
    for unit, kind in (("epochs", int), ("steps", int), ("minutes", float)):
        budget.add_argument(f"--{unit}", type=kind, help=f"Train this many {unit} (default: 100 epochs).")
    parser.add_argument("--device", choices=DEVICES, default="auto", help="Where to compute (default: auto).")
    parser.add_argument("--resume", action="store_true", help="Continue a stopped training.")
    add_parameters(parser, LogParameters)
    add_training_parameters(
        parser,
        recipe=None,
        recipe_default="robust; fine-tune with --from; that of the stopped training with --resume",
        defaults={
            "target": "clean; self without --high",
            "neighbours": "0; with --from those of the model; with --target neighbours 4",
        },
    )
    added: set[str] = set()
    for loss in LOSSES.values():
        # losses that share a parameter share its option
        add_parameters(parser, loss, skipped=added)
        added |= set(loss.described())


def run_train(options: argparse.Namespace) -> None:
    """Train a model on files."""
    from napari_care_losses.compute.distributed import joined
    from napari_care_losses.io.whole_files import check_folder
    from napari_care_losses.models.model import SUFFIX
    from napari_care_losses.training.logs.logged import train_and_log
    from napari_care_losses.training.logs.parameters import LogParameters
    from napari_care_losses.training.pair_checks import warnings_of_pairs
    from napari_care_losses.training.plans.record import TrainingRecord
    from napari_care_losses.training.targets.registry import TARGETS
    from napari_care_losses.training.trainer import Trainer

    if options.out.suffix != SUFFIX:
        raise InputError(f"--out must end in {SUFFIX}, found {options.out}.")
    check_folder(options.out)
    start_from = _starting_model(options)
    parameters = _parameters(options, start_from)
    target, loss = TARGETS[parameters.target], _loss(options, start_from, parameters.target)
    _check_stacks(options, target)
    files, pairs, left_out = _pairs(options, target, parameters)
    record = TrainingRecord(
        pairs=[(low.absolute(), None if high is None else high.absolute()) for low, high in files],
        loss=loss,
        parameters=parameters,
        out=options.out.absolute(),
        structure=options.structure,
        start_from=None if start_from is None else start_from.path,
        device=options.device,
        channel=options.channel,
        ranges=options.frames,
        only=None if options.only is None else [index for ends in sorted(options.only) for index in range(*ends)],
    )
    with joined(options.device) as team:
        trainer = Trainer(
            pairs,
            loss,
            parameters,
            structure=options.structure,
            start_from=start_from,
            device=options.device,
            team=team,
            provenance=record.texts(),
        )
        log = LogParameters(**given_parameters(options, LogParameters))
        reports = train_and_log(trainer, options.out, resume=options.resume, log=log)
        said = []
        if team.is_first:
            warnings = [*left_out, target.loss_remark(loss), *warnings_of_pairs(pairs, target.warnings)]
            said = [f"warning: {warning}" for warning in warnings if warning] + target.remarks(pairs)
        try:
            # a launcher passes Ctrl+C on to processes that the terminal has told of it already
            with stoppable(reports, insists=team.size > 1) as stopped:
                _show(reports, stopped, team, said)
            if not trainer.is_finished:
                raise KeyboardInterrupt
        except (ComputeError, KeyboardInterrupt):
            if team.is_first:
                print(_kept(trainer, options.out))
            raise
        if team.is_first:
            best = min(epoch.validation_loss for epoch in trainer.history)
            print(f"{options.out}: {trainer.step} steps, best validation loss {best:.5g}")


def _parameters(options: argparse.Namespace, start_from: Model | None) -> TrainingParameters:
    from napari_care_losses.training.parameters import (
        DEFAULT_NEIGHBOURS,
        DEFAULT_STEPS_PER_EPOCH,
        TrainingParameters,
    )

    given = vars(options)
    unit = next((unit for unit in ("epochs", "steps", "minutes") if given[unit] is not None), "epochs")
    settings = _recipe(options) | given_parameters(options, TrainingParameters)
    settings.setdefault("steps_per_epoch", DEFAULT_STEPS_PER_EPOCH[unit])
    settings.setdefault("target", "clean" if options.high else "self")
    of_model = start_from.card.care.neighbours if start_from else 0
    settings.setdefault("neighbours", of_model or (DEFAULT_NEIGHBOURS if settings["target"] == "neighbours" else 0))
    amount = 100 if given[unit] is None else given[unit]
    try:
        return TrainingParameters(**settings, budget=unit, amount=amount)
    except ParameterError as error:
        # the user knows the amount by the option that sets it
        raise ParameterError(str(error).replace("amount must", f"--{unit} must", 1)) from error


def _recipe(options: argparse.Namespace) -> dict[str, Any]:
    """Return the settings of the recipe; where none is chosen, those of the training to resume or the recommended."""
    from napari_care_losses.training.checkpoint import read_stopped, state_path
    from napari_care_losses.training.parameters import RECIPES, recommended_recipe

    state = state_path(options.out)
    if options.recipe is None and options.resume and state.is_file():
        stopped = read_stopped(state).parameters.to_dict()
        return {name: stopped[name] for name in RECIPES["paper"]}
    return RECIPES[options.recipe or recommended_recipe(from_model=bool(options.start_from))]


def _loss(options: argparse.Namespace, start_from: Model | None, target: str) -> Loss:
    from napari_care_losses.losses.registry import LOSSES
    from napari_care_losses.training.targets.registry import fine_tuning_loss

    every = {name for loss in LOSSES.values() for name in loss.described()}
    given = {name: value for name, value in vars(options).items() if name in every}
    if options.loss is not None:
        return LOSSES[options.loss].from_dict(given)
    if start_from is None:
        raise InputError("--loss is needed, unless --from names a model to take it from.")
    loss = fine_tuning_loss(start_from.card, target)
    return type(loss).from_dict({**loss.to_dict(), **given})


def _starting_model(options: argparse.Namespace) -> Model | None:
    from napari_care_losses.models.library import find_model
    from napari_care_losses.models.model import load_model

    if not options.start_from:
        return None
    model, preset = load_model(find_model(options.start_from)), vars(options).get("preset")
    if preset not in (None, model.card.preset):
        raise InputError(f"--preset {preset} does not fit --from, a {model.card.preset} model.")
    return model


def _check_stacks(options: argparse.Namespace, target: Target) -> None:
    if target.takes_high and not options.high:
        raise InputError(f"--target {target.name} needs --high: a second image of every field.")
    if options.high and not target.takes_high:
        raise InputError(f"--target {target.name} takes the --low images alone: leave --high out.")


def _pairs(
    options: argparse.Namespace, target: Target, parameters: TrainingParameters
) -> tuple[Sequence[tuple[Path, Path | None]], list[Pair], list[str]]:
    """Return files, their pairs or single images, and warnings: of what is left out, and about pixel sizes."""
    from napari_care_losses.images.selection import numbered
    from napari_care_losses.io.stacks import image_name
    from napari_care_losses.training.pair_checks import MAX_SHOWN, named_once, pixel_size_warning
    from napari_care_losses.training.pair_sources import PairSource, examples_of, listed_files, pair_files
    from napari_care_losses.training.pairs import check_sizes, pairs_from_frames, usable_pairs

    pairs: list[Pair] = []
    left_out: list[str] = []
    sizes: list[tuple[str, str]] = []
    files: Sequence[tuple[Path, Path | None]] = [(low, None) for low in listed_files(options.low)]
    left_over = ""
    if target.takes_high:
        files, left_over = pair_files(options.low, options.high, options.pairing)
    for low, high in files:
        name = image_name(low)
        lows, highs = PairSource(name, low, high).opened()
        lows = selected(lows, options.frames, low, options.channel)
        if highs is not None and high is not None:
            highs = selected(highs, options.frames, high, options.channel)
            sizes += [(name, warning)] if (warning := pixel_size_warning(lows, highs)) else []
        pairs += pairs_from_frames(
            lows,
            highs,
            name,
            places=examples_of(target, lows, None if options.only is None else numbered(lows, options.only)),
            left_out=left_out,
            neighbours=parameters.neighbours,
            along=parameters.neighbours_along,
        )
    pairs = usable_pairs(pairs, left_out, parameters.patch_size)
    more = [f"{len(left_out) - MAX_SHOWN} more are left out."] if len(left_out) > MAX_SHOWN else []
    lines = [*([left_over] if left_over else []), *(f"Left out: {reason}" for reason in left_out[:MAX_SHOWN]), *more]
    try:
        check_sizes(pairs, parameters.patch_size)
    except InputError as error:
        raise InputError(" ".join([str(error), *lines])) from error
    return files, pairs, [*lines, *named_once(sizes)]


def _kept(trainer: Trainer, out: Path) -> str:
    """Return a line on what a training that has ended early leaves, and how to go on."""
    from napari_care_losses.training.checkpoint import state_path
    from napari_care_losses.training.to_file import holds_weights_after

    state = state_path(out)
    if trainer.history:
        model = f"{out} holds the best model so far"
    elif trainer.step and holds_weights_after(out, trainer.step):
        model = f"{out} holds the weights after {trainer.step} steps, within the first epoch"
    elif out.exists():
        model = f"no epoch was complete, so {out}, which was there before, is unchanged"
    else:
        model = "no epoch was complete, so there is no model"
    if not trainer.step or not state.is_file():
        return f"stopped: {model}"
    return f"stopped: {model}; {state} holds the training: repeat the command with --resume to continue it"


def _show(reports: Iterator[Any], stopped: list[bool], team: Team, said: list[str]) -> None:
    """Show the progress in the first process of a team, and what is said once it trains; all stop at the same step."""
    from tqdm import tqdm

    from napari_care_losses.training.progress import Epoch, Preview, Step

    layout = "{l_bar}{bar}| {elapsed} {postfix}"
    with tqdm(total=1.0, disable=None if team.is_first else True, bar_format=layout) as bar:
        for report in reports:
            if isinstance(report, Epoch) and team.is_first:
                best = " best" if report.is_best else ""
                tqdm.write(
                    f"epoch {report.epoch} step {report.step} training {report.training_loss:.5f} "
                    f"validation {report.validation_loss:.5f} rate {report.learning_rate:.2e}{best}"
                )
                sys.stdout.flush()
            elif isinstance(report, Step):
                while said:
                    tqdm.write(f"napari-care-losses: {said.pop(0)}", file=sys.stderr)
                bar.update(report.fraction - bar.n)
                left = tqdm.format_interval(report.seconds_left)
                bar.set_postfix_str(f"step {report.step}, {report.steps_per_second:.2f}/s, {left} left", refresh=False)
            # all ask for the same reports: previews are the first process's alone
            if not isinstance(report, Preview) and team.any(bool(stopped)):
                break
