"""What each command of the command line does; torch is loaded by those that need it."""

from __future__ import annotations

import json
import math
import signal
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from napari_care_losses.errors import ComputeError, InputError

if TYPE_CHECKING:
    import argparse
    from collections.abc import Generator, Iterator
    from pathlib import Path

    from napari_care_losses.comparison.compare import Method
    from napari_care_losses.compute.distributed import Team
    from napari_care_losses.errors import ForeignProgram
    from napari_care_losses.images.frames import Frames
    from napari_care_losses.losses.base import Loss
    from napari_care_losses.parameters import Parameters
    from napari_care_losses.training.trainer import Trainer


def train(options: argparse.Namespace) -> None:
    """Train a model on pairs of files."""
    from napari_care_losses.compute.distributed import joined
    from napari_care_losses.images.frames import in_order
    from napari_care_losses.io.stacks import bare_name, read_stack
    from napari_care_losses.io.whole_files import check_folder
    from napari_care_losses.models.library import find_model
    from napari_care_losses.models.model import SUFFIX, load_model
    from napari_care_losses.training.pair_checks import doubts_of
    from napari_care_losses.training.pairs import pairs_from_frames
    from napari_care_losses.training.parameters import RECIPES
    from napari_care_losses.training.to_file import train_to_file
    from napari_care_losses.training.trainer import DEFAULT_STEPS_PER_EPOCH, Trainer, TrainingParameters

    if options.out.suffix != SUFFIX:
        raise InputError(f"--out must end in {SUFFIX}, found {options.out}.")
    check_folder(options.out)
    if len(options.low) != len(options.high):
        raise InputError(f"Every --low needs its --high, found {len(options.low)} low and {len(options.high)} high.")
    given = vars(options)
    unit = next((unit for unit in ("epochs", "steps", "minutes") if given[unit] is not None), "epochs")
    settings = RECIPES[options.recipe] | given_parameters(options, TrainingParameters)
    settings.setdefault("steps_per_epoch", DEFAULT_STEPS_PER_EPOCH[unit])
    amount = 100 if given[unit] is None else given[unit]
    parameters = TrainingParameters(**settings, budget=unit, amount=amount)
    loss = _loss(options)
    start_from = load_model(find_model(options.start_from)) if options.start_from else None
    if start_from is not None and "preset" in given and given["preset"] != start_from.card.preset:
        raise InputError(f"--preset {given['preset']} does not fit --from, a {start_from.card.preset} model.")
    pairs = []
    for low, high in zip(options.low, options.high, strict=True):
        low_frames = read_stack(low)
        high_frames = in_order(read_stack(high), low_frames.axes)
        pairs += pairs_from_frames(
            selected(low_frames, options.frames, low), selected(high_frames, options.frames, high), bare_name(low)
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
        )
        reports = train_to_file(trainer, options.out, resume=options.resume)
        doubts = doubts_of(pairs) if team.is_first else []
        # a launcher passes Ctrl+C on to processes that the terminal has told of it already
        try:
            with stoppable(reports, insists=team.size > 1) as stopped:
                _show_training(reports, stopped, team, doubts)
            if not trainer.is_finished:
                raise KeyboardInterrupt
        except (ComputeError, KeyboardInterrupt):
            if team.is_first:
                print(_kept(trainer, options.out))
            raise
        if team.is_first:
            training = trainer.model().card.training
            best = training["best_validation_loss"]
            print(f"{options.out}: {training['steps']} steps, best validation loss {best:.5g}")


def _kept(trainer: Trainer, out: Path) -> str:
    """Return a line on what a training that has ended early leaves, and how to go on."""
    from napari_care_losses.training.checkpoint import state_path

    state = state_path(out)
    has_state = trainer.has_started and state.is_file()
    model = f"{out} holds the best model so far" if trainer.history else "no epoch was complete, so there is no model"
    goes_on = f"; {state} holds the training: repeat the command with --resume to continue it" if has_state else ""
    return f"stopped: {model}{goes_on}"


def _loss(options: argparse.Namespace) -> Loss:
    from napari_care_losses.losses.registry import LOSSES

    chosen = LOSSES[options.loss]
    every = {name for loss in LOSSES.values() for name in loss.described()}
    given = {name: value for name, value in vars(options).items() if name in every}
    return chosen.from_dict(given)


def _show_training(reports: Iterator[Any], stopped: list[bool], team: Team, doubts: list[str]) -> None:
    """Show the progress in the first process of a team, and doubts once it trains; all stop at the same step."""
    from tqdm import tqdm

    from napari_care_losses.training.trainer import Epoch, Step

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
                while doubts:
                    tqdm.write(f"napari-care-losses: warning: {doubts.pop(0)}", file=sys.stderr)
                bar.update(report.fraction - bar.n)
                left = tqdm.format_interval(report.seconds_left)
                bar.set_postfix_str(f"step {report.step}, {report.steps_per_second:.2f}/s, {left} left", refresh=False)
            if team.any(bool(stopped)):
                break


@contextmanager
def stoppable(work: Generator[Any, Any, Any] | Iterator[Any], *, insists: bool = False) -> Iterator[list[bool]]:
    """Let Ctrl+C end `work` between two steps, so that its state can be saved.

    Pressed again, it ends at once, unless `insists` says that it must come to the end of its step.
    """
    stopped: list[bool] = []

    def stop(*_: object) -> None:
        stopped.append(True)
        if not insists:
            signal.signal(signal.SIGINT, signal.default_int_handler)

    before = signal.signal(signal.SIGINT, stop)
    try:
        yield stopped
    finally:
        signal.signal(signal.SIGINT, before)
        work.close()  # type: ignore[union-attr]


def evaluate(options: argparse.Namespace) -> None:
    """Score stacks against their ground truth."""
    from napari_care_losses.evaluation import stack_scores as evaluation
    from napari_care_losses.io.stacks import read_stack

    whole = read_stack(options.truth)
    truth = _evaluated(whole, whole.axes, options.frames, options.truth)
    stacks = {
        name: _evaluated(read_stack(path), whole.axes, options.frames, path)
        for name, path in (("restored", options.restored), ("input", options.input))
        if path is not None
    }
    _check_distinct(stacks["restored"], truth)
    scores = evaluation.evaluate(stacks, truth, aligned=not options.unaligned)
    if options.json:
        print(json.dumps(_finite(scores)))
        return
    print(f"{'frame':>7}" + "".join(f"{name + ' PSNR':>16}{'SSIM':>9}" for name in stacks))
    rows = [*((str(i), frame) for i, frame in enumerate(scores["frames"])), ("mean", scores["mean"])]
    for label, row in rows:
        print(f"{label:>7}" + "".join(f"{row[name]['psnr']:>16.3f}{row[name]['ssim']:>9.4f}" for name in stacks))
    levels = scores["mean"]["restored"]
    print(f"grey levels, restored against truth: slope {levels['slope']:.3f}, R2 {levels['r2']:.4f} (means)")


def compare(options: argparse.Namespace) -> None:
    """Compare methods on a file and write the report."""
    from tqdm import tqdm

    from napari_care_losses.comparison.report.content import ReportOptions
    from napari_care_losses.comparison.to_file import compare_to_file
    from napari_care_losses.evaluation.statistics import table_text
    from napari_care_losses.io.stacks import read_stack
    from napari_care_losses.restoration.parameters import RestorationParameters

    whole = read_stack(options.input)
    frames = selected(whole, options.frames, options.input)
    inputs = {"Input": str(options.input), "Ground truth": str(options.truth) if options.truth else "none"}
    if options.frames is not None:
        inputs["Chosen"] = f"frames {options.frames[0]} up to, not including, {options.frames[1]}"
    truth = None
    if options.truth is not None:
        truth = _evaluated(read_stack(options.truth), whole.axes, options.frames, options.truth)
        _check_distinct(frames, truth)
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
    with stoppable(work) as stopped, tqdm(disable=None, unit="step") as bar:
        while not stopped:
            try:
                step = next(work)
            except StopIteration as finished:
                report = finished.value
                break
            bar.total = step.total
            bar.update(step.done - bar.n)
        else:
            raise KeyboardInterrupt
    if report.rows:
        print(table_text(report.rows), end="")
    print(options.out)


def _methods(given: list[str]) -> list[Method]:
    """Return the methods called by these names; a baseline comes before a model of its name."""
    from napari_care_losses.comparison.baselines import BASELINES
    from napari_care_losses.comparison.compare import Method
    from napari_care_losses.models.library import find_model

    methods = []
    for name in given:
        if name in BASELINES:
            methods.append(Method(name, baseline=name))
        else:
            path = find_model(name)
            # two files of one name in two folders are told apart by their paths
            is_single = sum(one not in BASELINES and find_model(one).stem == path.stem for one in given) == 1
            methods.append(Method(path.stem if is_single else name, model=path))
    return methods


def _evaluated(frames: Frames, axes: str, selection: tuple[int, int] | None, path: Path) -> Frames:
    """Return the frames to be scored, counted by these axes; a stack with just as many as selected is taken whole."""
    from napari_care_losses.images.frames import in_order

    frames = in_order(frames, axes)
    if selection is not None and frames.selectable == selection[1] - selection[0]:
        return frames
    return selected(frames, selection, path)


def _check_distinct(frames: Frames, truth: Frames) -> None:
    """Check that a stack and its truth are not the same images throughout."""
    import numpy as np

    if all(np.array_equal(frame, clean) for frame, clean in zip(frames, truth, strict=False)):
        raise InputError("The stack and its ground truth hold the same images: choose two different files.")


def _finite(value: Any) -> Any:
    """Replace infinities and NaN, which JSON has no word for, by null."""
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def models(options: argparse.Namespace) -> None:
    """List the library; for an image with the best match first."""
    from napari_care_losses.io.stacks import read_stack
    from napari_care_losses.models.library import list_models
    from napari_care_losses.models.suggest import measure_frames, rank_models
    from napari_care_losses.models.user_folder import library_folder

    entries = list_models()
    measured = [] if options.image is None else measure_frames(read_stack(options.image))
    rows: list[dict[str, Any]] = [
        {
            "name": entry.name,
            "structure": entry.card.structure,
            "loss": entry.card.loss,
            "preset": entry.card.preset,
            "bundled": entry.bundled,
            "path": str(entry.path),
            **({"distance": round(far, 2) if math.isfinite(far) else None, "reasons": reasons} if measured else {}),
        }
        for entry, far, reasons in rank_models(entries, measured)
    ]
    if options.json:
        print(json.dumps(rows))
        return
    for row in rows:
        kind = "bundled" if row["bundled"] else "yours"
        line = f"{row['name']:<28}{row['structure']:<14}{row['loss']:<10}{row['preset']:<8}{kind:<9}"
        if measured:
            match = "not known" if row["distance"] is None else f"{row['distance']:.1f} "
            if row["distance"] is not None:
                match += "differs" if row["reasons"] else "matches"
            line += f"{match:<14}"
        print(f"{line}{row['path']}")
    if measured and rows:
        print(f"{rows[0]['name']}: {' '.join(rows[0]['reasons']) or 'trained on images like this one.'}")
    print(f"your models: {library_folder()}")


def import_model(options: argparse.Namespace) -> None:
    """Add a foreign model to the library."""
    from napari_care_losses.errors import UnagreedProgramError
    from napari_care_losses.interchange.import_model import ImportParameters, import_model
    from napari_care_losses.models.model import read_card

    def agrees(program: ForeignProgram) -> bool:
        if options.run_its_code:
            print(program)
        return bool(options.run_its_code)

    try:
        parameters = ImportParameters(
            structure=options.structure,
            low_percentile=options.low_percentile,
            high_percentile=options.high_percentile,
        )
        made = import_model(options.path, options.name, parameters, agrees=agrees)
    except UnagreedProgramError as error:
        raise InputError(
            f"{error.program} Nothing of it has been run. If you trust its authors, repeat the command with "
            "--run-its-code."
        ) from error
    card = read_card(made)
    print(f"{made.stem}: {card.structure}, {card.loss} loss, {card.preset} network; {made}")


def export_model(options: argparse.Namespace) -> None:
    """Pack a model for other tools."""
    from napari_care_losses.interchange.bioimageio.export import export_bioimageio
    from napari_care_losses.io.whole_files import check_folder
    from napari_care_losses.models.library import find_model, makers_of
    from napari_care_losses.models.model import load_model

    if options.out.suffix != ".zip":
        raise InputError(f"--out must end in .zip, found {options.out}.")
    check_folder(options.out)
    path = find_model(options.model)
    author, usual_license = makers_of(path)
    authors, license = options.author or [author], options.license or usual_license
    export_bioimageio(load_model(path), options.out, name=path.stem, authors=authors, license=license)
    print(f"{options.out}: by {', '.join(authors)}, licence {license}")


def simulate(options: argparse.Namespace) -> None:
    """Write simulated pairs."""
    from napari_care_losses.images.frames import Calibration, Frames
    from napari_care_losses.io.stacks import save_stack
    from napari_care_losses.simulation.pairs_and_movies import (
        ImagingConditions,
        Microscope,
        simulate_movie,
        simulate_pairs,
    )

    simulated = (simulate_movie if options.structure == "dendra" else simulate_pairs)(
        options.structure,
        options.count,
        (options.size, options.size),
        ImagingConditions(low_ms=options.low_ms, high_ms=options.high_ms),
        seed=options.seed,
    )
    try:
        options.out.mkdir(exist_ok=True)
    except OSError as error:
        raise InputError(f"The folder {options.out} cannot be made: {error.strerror or error}.") from error
    pixel = Microscope().pixel_size
    for name, stack in zip(("low", "high"), simulated, strict=True):
        path = options.out / f"{name}.tif"
        save_stack(path, Frames(stack, "TYX", Calibration(pixel_size=(pixel, pixel))))
        print(path)


def demo(options: argparse.Namespace) -> None:
    """Run the demo."""
    from napari_care_losses.cli.demo import run_demo

    run_demo(options.out, opens_viewer=not options.no_viewer)


def given_parameters(options: argparse.Namespace, owner: type[Parameters]) -> dict[str, Any]:
    """Return those parameters of `owner` that were given as options."""
    return {name: value for name, value in vars(options).items() if name in owner.described()}


def selected(frames: Frames, selection: tuple[int, int] | None, path: Path) -> Frames:
    """Return the frames selected, all of them without a selection; `path` is named where they are not there."""
    if selection is None:
        return frames
    try:
        return frames.select(*selection)
    except InputError as error:
        raise InputError(f"{path}: {error}") from error
